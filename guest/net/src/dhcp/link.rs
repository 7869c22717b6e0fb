//! The client of an interface: its messages as packets, its lease as addresses and routes.

use alloc::boxed::Box;
use alloc::string::String;
use core::net::{IpAddr, Ipv4Addr};

use super::{Client, Event, Lease};
use crate::addresses::Wish;
use crate::bytes::Header;
use crate::error::{Error, Result};
use crate::interface::{InterfaceAddress, InterfaceId};
use crate::packet::Packet;
use crate::route::{Route, RouteOrigin};
use crate::stack::Stack;
use crate::time::Nanos;
use crate::timers::Timer;
use crate::wire::ip::{self, IpHeader, Sending};
use crate::wire::udp;

const SERVER: u16 = 67;
const CLIENT: u16 = 68;

impl Stack {
    /// Lets an interface get its IPv4 address, routes and more by DHCP; `name` is what it calls itself.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the interface.
    pub fn start_dhcp(&mut self, id: InterfaceId, name: Option<&str>, now: Nanos) -> Result<()> {
        self.advance(now);
        let transaction = self.random.next_u32();
        let link = self.link_mut(id).ok_or(Error::NotFound)?;
        let mac = link.interface.config.mac;
        link.dhcp = Some(Box::new(Client::new(
            mac,
            name.map(String::from),
            transaction,
            now,
        )));
        self.schedule_dhcp(id);
        Ok(())
    }

    /// What DHCP has brought an interface.
    #[must_use]
    pub fn lease(&self, id: InterfaceId) -> Option<&Lease> {
        self.link(id)?.dhcp.as_ref()?.lease()
    }

    fn schedule_dhcp(&mut self, id: InterfaceId) {
        let Some(link) = self.links.get_mut(id.0 as usize) else {
            return;
        };
        let wanted = link
            .dhcp
            .as_ref()
            .map_or(Nanos::MAX, |client| client.deadline());
        self.timers
            .schedule(Timer::Dhcp(id), &mut link.dhcp_at, wanted);
    }

    pub(crate) fn tick_dhcp(&mut self, id: InterfaceId) {
        let now = self.now;
        let Some(link) = self.link_mut(id) else {
            return;
        };
        link.dhcp_at = Nanos::MAX;
        let Some(client) = &mut link.dhcp else { return };
        let (event, message) = client.tick(now);
        self.apply_lease(id, event);
        if let Some((message, server)) = message {
            self.send_dhcp(id, &message, server);
        }
        self.schedule_dhcp(id);
    }

    /// Whether an interface waits for an address.
    pub(crate) fn is_configuring(&self, id: InterfaceId) -> bool {
        let client = self.link(id).and_then(|link| link.dhcp.as_ref());
        client.is_some_and(|client| client.lease().is_none())
    }

    /// Takes a datagram for the client; whether it was one.
    pub(crate) fn take_dhcp(&mut self, id: InterfaceId, datagram: &udp::Datagram<'_>) -> bool {
        let now = self.now;
        if (datagram.source, datagram.destination) != (SERVER, CLIENT) {
            return false;
        }
        let Some(client) = self.link_mut(id).and_then(|link| link.dhcp.as_mut()) else {
            return false;
        };
        let event = client.input(datagram.payload, now);
        self.apply_lease(id, event);
        self.schedule_dhcp(id);
        true
    }

    fn apply_lease(&mut self, id: InterfaceId, event: Event) {
        match event {
            Event::None => {}
            Event::Lost(lease) => {
                let _ = self.remove_address(id, IpAddr::V4(lease.address));
                self.remove_leased_routes(id);
            }
            Event::Granted => {
                if let Some(lease) = self.lease(id).cloned() {
                    self.take_lease(id, &lease);
                }
            }
        }
    }

    fn remove_leased_routes(&mut self, id: InterfaceId) {
        let is_leased = |route: &Route| route.interface == id && route.origin == RouteOrigin::Dhcp;
        let _ = self.remove_routes(is_leased);
    }

    fn take_lease(&mut self, id: InterfaceId, lease: &Lease) {
        let address = InterfaceAddress::new(IpAddr::V4(lease.address), lease.prefix);
        let _ = self.add_address(id, address);
        if let Some(mtu) = lease.mtu {
            let own = self
                .interface(id)
                .map_or(mtu, |interface| interface.config.mtu);
            let _ = self.set_mtu(id, mtu.min(own));
        }
        self.remove_leased_routes(id);
        if let Some(router) = lease.routers.first() {
            let _ = self.add_route(Route {
                destination: InterfaceAddress::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
                gateway: Some(IpAddr::V4(*router)),
                interface: id,
                metric: 100,
                source: Some(IpAddr::V4(lease.address)),
                origin: RouteOrigin::Dhcp,
            });
        }
    }

    fn send_dhcp(&mut self, id: InterfaceId, message: &[u8], server: Option<Ipv4Addr>) {
        let to = IpAddr::V4(server.unwrap_or(Ipv4Addr::BROADCAST));
        let own = self
            .lease(id)
            .map_or(Ipv4Addr::UNSPECIFIED, |lease| lease.address);
        let wish = Wish {
            source: Some(IpAddr::V4(own)),
            interface: Some(id),
        };
        let Ok(path) = self.path(to, wish, self.now) else {
            return;
        };
        let header = IpHeader {
            source: IpAddr::V4(own),
            destination: to,
            protocol: ip::UDP,
            hop_limit: 64,
            traffic_class: 0,
        };
        let mut headers = Header::new();
        header.push_to(
            &mut headers,
            udp::HEADER + message.len(),
            Sending::default(),
        );
        udp::push(&mut headers, CLIENT, SERVER, message.len());
        let mut packet = Packet::new(&headers, message.len());
        packet.bytes_mut().extend_from_slice(message);
        crate::datagram_calls::complete_udp(&mut packet, &header, false);
        self.enqueue(&path, to, packet);
    }
}
