//! Frames that come in, down to the protocol they carry.

use core::net::{IpAddr, Ipv4Addr};

use crate::addresses::Reach;
use crate::frame::RxMeta;
use crate::interface::InterfaceId;
use crate::reassembly;
use crate::stack::Stack;
use crate::tcp::{Endpoint, Tuple};
use crate::time::Nanos;
use crate::timers::Timer;
use crate::wire::ip::{IpHeader, Packet};
use crate::wire::{ethernet, icmp, ip, tcp};

/// What is known of a packet besides its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) interface: InterfaceId,
    /// Checksums are known to be right.
    pub(crate) valid: bool,
    /// Payload of each segment it was put together from.
    pub(crate) segment_size: Option<u16>,
    pub(crate) reach: Reach,
}

impl Stack {
    /// Takes a frame that a device received.
    pub fn receive(&mut self, id: InterfaceId, frame: &[u8], meta: &RxMeta, now: Nanos) {
        self.advance(now);
        let Some(link) = self.link_mut(id) else {
            return;
        };
        let own = link.interface.config.mac;
        let counters = &mut link.interface.counters;
        counters.rx_frames += 1;
        counters.rx_bytes += frame.len() as u64;
        let Some(parsed) = ethernet::parse(frame) else {
            counters.rx_errors += 1;
            return;
        };
        counters.multicast += u64::from(parsed.destination.is_multicast());
        if !link.interface.up || parsed.destination != own && !parsed.destination.is_multicast() {
            counters.rx_dropped += 1;
            return;
        }
        match parsed.kind {
            ethernet::ARP => self.input_arp(id, parsed.payload),
            ethernet::IPV4 | ethernet::IPV6 => {
                let is_v4 = parsed.kind == ethernet::IPV4;
                self.input_frame(id, parsed.payload, meta, is_v4);
            }
            _ => self.count_dropped(id),
        }
    }

    fn input_frame(&mut self, id: InterfaceId, bytes: &[u8], meta: &RxMeta, is_v4: bool) {
        let packet = ip::parse(bytes).filter(|packet| packet.header.source.is_ipv4() == is_v4);
        let Some(packet) = packet else {
            return self.count_error(id);
        };
        // Whoever says to be this machine is not, on a link (RFC 1122, 3.2.1.3).
        if is_martian(&packet.header) || self.is_local(packet.header.source) {
            return self.count_dropped(id);
        }
        let arrival = Arrival {
            interface: id,
            valid: meta.checksum_valid,
            segment_size: meta.gso.map(|gso| gso.size),
            reach: Reach::Unicast,
        };
        self.input_packet(&packet, arrival);
    }

    pub(crate) fn count_error(&mut self, id: InterfaceId) {
        if let Some(link) = self.link_mut(id) {
            link.interface.counters.rx_errors += 1;
        }
    }

    pub(crate) fn count_dropped(&mut self, id: InterfaceId) {
        if let Some(link) = self.link_mut(id) {
            link.interface.counters.rx_dropped += 1;
        }
    }

    /// Whether a packet is for us, and how.
    fn arrival_reach(&self, id: InterfaceId, to: IpAddr) -> Option<Reach> {
        if self.is_local(to) {
            return Some(Reach::Local);
        }
        let interface = self.interface(id)?;
        match to {
            _ if to.is_multicast() => interface.is_member(to).then_some(Reach::Multicast),
            IpAddr::V4(v4) if interface.is_broadcast(v4) => Some(Reach::Broadcast),
            // Before there is an address, a DHCP server may speak to the one it is going to give.
            IpAddr::V4(_) => self.is_configuring(id).then_some(Reach::Broadcast),
            IpAddr::V6(_) => None,
        }
    }

    pub(crate) fn input_packet(&mut self, packet: &Packet<'_>, mut arrival: Arrival) {
        let Some(reach) = self.arrival_reach(arrival.interface, packet.header.destination) else {
            return self.count_dropped(arrival.interface);
        };
        arrival.reach = reach;
        let Some(fragment) = packet.fragment else {
            return self.input_whole(packet, arrival);
        };
        let id = reassembly::Id::new(&packet.header, fragment.id);
        let whole = self
            .reassembly
            .insert(id, fragment, packet.payload, self.now);
        let (mut at, wanted) = (self.reassembly_at, self.reassembly.deadline());
        self.timers.schedule(Timer::Reassembly, &mut at, wanted);
        self.reassembly_at = at;
        if let Some(payload) = whole {
            let rebuilt =
                crate::packet::Packet::with(&packet.header, ip::Sending::default(), &payload);
            let whole = Packet {
                header: packet.header,
                fragment: None,
                payload: &payload,
                whole: rebuilt.as_slice(),
            };
            arrival.valid = false;
            self.input_whole(&whole, arrival);
        }
    }

    pub(crate) fn tick_reassembly(&mut self) {
        self.reassembly_at = Nanos::MAX;
        self.reassembly.expire(self.now);
        let (mut at, wanted) = (Nanos::MAX, self.reassembly.deadline());
        self.timers.schedule(Timer::Reassembly, &mut at, wanted);
        self.reassembly_at = at;
    }

    fn input_whole(&mut self, packet: &Packet<'_>, arrival: Arrival) {
        let header = &packet.header;
        let taken_raw = self.input_raw(packet, arrival);
        let is_v4 = header.source.is_ipv4();
        match header.protocol {
            ip::TCP => self.input_tcp(packet, arrival),
            ip::UDP => self.input_udp(packet, arrival),
            ip::ICMP if is_v4 => self.input_icmp(packet, arrival),
            ip::ICMPV6 if !is_v4 => self.input_icmp(packet, arrival),
            ip::IGMP if is_v4 => self.input_igmp(packet, arrival),
            59 => {}
            _ if taken_raw => {}
            _ => self.complain(packet, arrival, icmp::Problem::Protocol),
        }
    }

    fn input_tcp(&mut self, packet: &Packet<'_>, arrival: Arrival) {
        let header = &packet.header;
        if arrival.reach != Reach::Local {
            return self.count_dropped(arrival.interface);
        }
        let Some(mut parsed) = tcp::parse(header, packet.payload, arrival.valid) else {
            return self.count_error(arrival.interface);
        };
        if let Some(size) = arrival.segment_size.filter(|size| *size > 0) {
            parsed.segment.count = parsed.payload.len().div_ceil(usize::from(size)).max(1);
        }
        let tuple = Tuple {
            local: Endpoint::new(header.destination, parsed.destination),
            remote: Endpoint::new(header.source, parsed.source),
        };
        if parsed.source == 0 || parsed.destination == 0 {
            return;
        }
        self.input_segment(tuple, &parsed.segment, parsed.payload, arrival.interface);
    }
}

/// Addresses that cannot come from a link.
fn is_martian(header: &IpHeader) -> bool {
    let is_wrong_source = match header.source {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast() || v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_multicast() || v6.is_loopback() || v6.to_ipv4_mapped().is_some(),
    };
    let is_wrong_destination = match header.destination {
        IpAddr::V4(v4) => v4.is_loopback() || v4 == Ipv4Addr::UNSPECIFIED,
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.to_ipv4_mapped().is_some(),
    };
    is_wrong_source || is_wrong_destination
}
