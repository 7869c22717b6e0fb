//! Who is on the link: ARP, neighbour discovery, and what routers advertise.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use crate::address;
use crate::interface::{InterfaceAddress, InterfaceId, Mac};
use crate::route::{Route, RouteOrigin};
use crate::stack::Stack;
use crate::time::Nanos;
use crate::timers::Timer;
use crate::wire::arp;
use crate::wire::ip::IpHeader;
use crate::wire::ndp::{self, Advertisement, Prefix};

const ALL_NODES: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
const ALL_ROUTERS: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2));
/// How often and how many times routers are asked (RFC 4861, 10).
const SOLICITATION_INTERVAL: Nanos = Nanos::from_secs(4);
const MOST_SOLICITATIONS: u8 = 3;
/// Of each kind, so that no router fills our memory.
const MOST_PREFIXES: usize = 16;
const MOST_SERVERS: usize = 8;

impl Stack {
    pub(crate) fn input_arp(&mut self, id: InterfaceId, bytes: &[u8]) {
        let Some(packet) = arp::parse(bytes) else {
            return self.count_error(id);
        };
        let Some(link) = self.link(id) else { return };
        let own = link.interface.config.mac;
        let (mac, address) = packet.sender;
        let target = packet.target.1;
        let is_ours = link.interface.has_address(IpAddr::V4(target));
        if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
            // Somebody asks whether the address is free (RFC 5227).
            if !(is_ours && packet.is_request && address.is_unspecified()) {
                return;
            }
        } else if !link.interface.has_address(IpAddr::V4(address)) {
            let near = link
                .interface
                .addresses
                .iter()
                .any(|a| a.covers(IpAddr::V4(address)));
            let news = (!packet.is_request, is_ours && near);
            let waiting = self
                .neighbours
                .learn((id, IpAddr::V4(address)), mac, news, self.now);
            self.wake_waiting(id, mac, waiting);
        }
        if is_ours && packet.is_request {
            let answer = arp::Packet {
                is_request: false,
                sender: (own, target),
                target: packet.sender,
            };
            self.send_arp(id, mac, &answer);
        }
    }

    /// Says who has a new address, so that old knowledge is corrected.
    pub(crate) fn announce(&mut self, id: InterfaceId, new: IpAddr) {
        let Some(link) = self.link(id) else { return };
        let own = link.interface.config.mac;
        if id == InterfaceId::LOOPBACK {
            return;
        }
        match new {
            IpAddr::V4(v4) => {
                let sender = (own, v4);
                let packet = arp::Packet {
                    is_request: true,
                    sender,
                    target: (Mac::default(), v4),
                };
                self.send_arp(id, Mac::BROADCAST, &packet);
            }
            IpAddr::V6(v6) => {
                let message = ndp::neighbour(ndp::NEIGHBOUR_ADVERTISEMENT, 0x20, v6, own);
                let mac = address::multicast_mac(ALL_NODES);
                self.send_discovery(id, (new, ALL_NODES), mac, &message);
                if let Some(group) = address::solicited_node(new) {
                    self.report_group(id, group, true);
                }
            }
        }
    }

    pub(crate) fn input_discovery(
        &mut self,
        header: &IpHeader,
        kind: u8,
        bytes: &[u8],
        id: InterfaceId,
    ) {
        if kind == crate::multicast::MLD_QUERY {
            return self.answer_query(id, false);
        }
        // Nobody beyond the link can send these (RFC 4861, 7.1).
        if header.hop_limit != 255 || id == InterfaceId::LOOPBACK {
            return;
        }
        match ndp::parse(kind, bytes) {
            Some(ndp::Message::Solicit { target, source }) => {
                self.input_solicitation(header, id, target, source);
            }
            Some(ndp::Message::Advertise {
                target,
                mac: Some(mac),
                solicited,
                overriding,
            }) => {
                let neighbour = (id, IpAddr::V6(target));
                let is_ours = self
                    .interface(id)
                    .is_some_and(|i| i.has_address(neighbour.1));
                if !is_ours && (overriding || solicited) {
                    let waiting =
                        self.neighbours
                            .learn(neighbour, mac, (solicited, false), self.now);
                    self.wake_waiting(id, mac, waiting);
                }
            }
            Some(ndp::Message::Router(advertisement)) => {
                let accepts = self
                    .interface(id)
                    .is_some_and(|i| i.config.accept_advertisements);
                if accepts && address::is_link_local(header.source) {
                    self.input_advertisement(header.source, id, &advertisement);
                }
            }
            _ => {}
        }
    }

    fn input_solicitation(
        &mut self,
        header: &IpHeader,
        id: InterfaceId,
        target: Ipv6Addr,
        source: Option<Mac>,
    ) {
        let Some(interface) = self.interface(id) else {
            return;
        };
        let own = interface.config.mac;
        if !interface.has_address(IpAddr::V6(target)) {
            return;
        }
        let asker = header.source;
        let (to, mac, flags) = match source {
            Some(mac) if !asker.is_unspecified() => {
                let waiting = self
                    .neighbours
                    .learn((id, asker), mac, (false, true), self.now);
                self.wake_waiting(id, mac, waiting);
                (asker, mac, 0x60)
            }
            None if !asker.is_unspecified() => {
                let Some(mac) = self.resolve(id, asker) else {
                    return;
                };
                (asker, mac, 0x60)
            }
            _ => (ALL_NODES, address::multicast_mac(ALL_NODES), 0x20),
        };
        let message = ndp::neighbour(ndp::NEIGHBOUR_ADVERTISEMENT, flags, target, own);
        self.send_discovery(id, (IpAddr::V6(target), to), mac, &message);
    }

    pub(crate) fn start_soliciting(&mut self, id: InterfaceId) {
        let now = self.now;
        if let Some(link) = self.link_mut(id) {
            link.solicitations = 0;
        }
        self.schedule_router(id, now);
    }

    fn schedule_router(&mut self, id: InterfaceId, wanted: Nanos) {
        let Some(link) = self.links.get_mut(id.0 as usize) else {
            return;
        };
        self.timers
            .schedule(Timer::Router(id), &mut link.router_at, wanted);
    }

    /// Asks for routers, and forgets those that have not been heard of for too long.
    pub(crate) fn tick_router(&mut self, id: InterfaceId) {
        let now = self.now;
        let Some(link) = self.link_mut(id) else {
            return;
        };
        link.router_at = Nanos::MAX;
        if link.solicitations < MOST_SOLICITATIONS {
            link.solicitations += 1;
            let source = IpAddr::V6(link.interface.link_local());
            let message = ndp::router_solicitation(link.interface.config.mac);
            let mac = address::multicast_mac(ALL_ROUTERS);
            self.send_discovery(id, (source, ALL_ROUTERS), mac, &message);
            self.schedule_router(id, now + SOLICITATION_INTERVAL);
        }
        let until = |route: &Route| match route.origin {
            RouteOrigin::Advertisement(until) if route.interface == id => Some(until),
            _ => None,
        };
        self.routes
            .remove(|route| until(route).is_some_and(|until| until <= now));
        if let Some(next) = self.routes.list().iter().filter_map(until).min() {
            self.schedule_router(id, next);
        }
    }

    fn input_advertisement(&mut self, router: IpAddr, id: InterfaceId, news: &Advertisement) {
        if let Some(link) = self.link_mut(id) {
            link.solicitations = MOST_SOLICITATIONS;
            if news.hop_limit > 0 {
                link.interface.hop_limit = news.hop_limit;
            }
            if let Some(mtu) = news.mtu.and_then(|mtu| u16::try_from(mtu).ok())
                && mtu >= 1_280
                && mtu <= link.interface.config.mtu
            {
                link.interface.config.mtu = mtu;
            }
            for server in &news.dns_servers {
                if !link.dns_servers.contains(server) && link.dns_servers.len() < MOST_SERVERS {
                    link.dns_servers.push(*server);
                }
            }
        }
        if let Some(mac) = news.source {
            let waiting = self
                .neighbours
                .learn((id, router), mac, (false, true), self.now);
            self.wake_waiting(id, mac, waiting);
        }
        let default = InterfaceAddress::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
        self.renew_route(id, default, Some(router), u32::from(news.lifetime));
        let prefixes: Vec<Prefix> = news.prefixes.iter().take(MOST_PREFIXES).copied().collect();
        for prefix in prefixes {
            self.take_prefix(id, prefix);
        }
    }

    fn take_prefix(&mut self, id: InterfaceId, prefix: Prefix) {
        if prefix.address.is_unicast_link_local()
            || prefix.address.is_multicast()
            || prefix.length > 128
        {
            return;
        }
        let network = InterfaceAddress::new(IpAddr::V6(prefix.address), prefix.length);
        if prefix.on_link {
            self.renew_route(id, network, None, prefix.valid);
        }
        let Some(link) = self.link(id) else { return };
        let count = link.interface.addresses.len();
        if prefix.autonomous && prefix.length == 64 && prefix.valid > 0 && count < MOST_PREFIXES {
            let own = address::from_prefix_and_mac(prefix.address, link.interface.config.mac);
            // The network's route comes and goes by advertisements, so the address brings none.
            let _ = self.add_address(id, InterfaceAddress::new(IpAddr::V6(own), 128));
        }
    }

    /// A route of which a router says how many seconds it is good for.
    fn renew_route(
        &mut self,
        id: InterfaceId,
        to: InterfaceAddress,
        gateway: Option<IpAddr>,
        seconds: u32,
    ) {
        let is_same = |route: &Route| {
            matches!(route.origin, RouteOrigin::Advertisement(_))
                && route.interface == id
                && route.gateway == gateway
                && route.destination == to
        };
        self.routes.remove(is_same);
        let count = self.routes.list().len();
        if seconds == 0 || count >= 4 * MOST_PREFIXES {
            return;
        }
        let until = self.now + Nanos::from_secs(u64::from(seconds));
        let _ = self.routes.add(Route {
            destination: to,
            gateway,
            interface: id,
            metric: 1_024,
            source: None,
            origin: RouteOrigin::Advertisement(until),
        });
        self.schedule_router(id, until);
    }
}
