//! Packets that the stack makes itself: to whom they go, and neighbours that are asked for it.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::address;
use crate::bytes::Header;
use crate::error::{Error, Result};
use crate::interface::{InterfaceId, Mac};
use crate::neighbour::{Due, Resolution, Waiting};
use crate::packet::Packet;
use crate::route::Path;
use crate::socket::Handle;
use crate::stack::{Socket, Stack};
use crate::wire::ip::{Fragment, IpHeader, Sending};
use crate::wire::{arp, ethernet, icmp, ip, ipv6, ndp};

/// Packets that may wait for a device.
const MOST_QUEUED: usize = 2_048;

impl Stack {
    /// Sends a packet whose payload is complete, in fragments if it must be.
    pub(crate) fn send_ip(
        &mut self,
        path: &Path,
        header: &IpHeader,
        mut sending: Sending,
        payload: &[u8],
    ) {
        sending.id = self.random.next_u32();
        let mtu = usize::from(path.mtu);
        if header.len() + payload.len() <= mtu {
            let packet = Packet::with(header, sending, payload);
            self.enqueue(path, header.destination, packet);
            return;
        }
        for packet in fragments(header, sending, payload, mtu) {
            self.enqueue(path, header.destination, packet);
        }
    }

    /// Gives a packet to the interface, or lets it wait for the neighbour.
    pub(crate) fn enqueue(&mut self, path: &Path, destination: IpAddr, packet: Packet) {
        if path.interface == InterfaceId::LOOPBACK {
            self.looped.push_back((InterfaceId::LOOPBACK, packet));
            return;
        }
        let Some(link) = self.link(path.interface) else {
            return self.drop_packet(packet);
        };
        let is_broadcast = matches!(destination, IpAddr::V4(v4) if link.interface.is_broadcast(v4));
        if destination.is_multicast() {
            self.push_frame(path.interface, address::multicast_mac(destination), packet);
        } else if is_broadcast {
            self.push_frame(path.interface, Mac::BROADCAST, packet);
        } else {
            self.enqueue_unicast(path, packet);
        }
    }

    fn enqueue_unicast(&mut self, path: &Path, packet: Packet) {
        let (id, hop) = (path.interface, path.next_hop);
        match self.resolve(id, hop) {
            Some(mac) => self.push_frame(id, mac, packet),
            None => {
                if let Some(dropped) = self.neighbours.wait_packet(id, hop, packet) {
                    self.drop_packet(dropped);
                }
            }
        }
    }

    /// The neighbour's Ethernet address; if it is not known, it is being asked for.
    pub(crate) fn resolve(&mut self, id: InterfaceId, hop: IpAddr) -> Option<Mac> {
        let resolution = self.neighbours.resolve(id, hop, self.now);
        for waiting in self.neighbours.take_evicted() {
            self.fail_waiting(waiting);
        }
        match resolution {
            Resolution::Known(mac) => Some(mac),
            Resolution::Wait => None,
            Resolution::Probe(mac) => {
                self.ask(id, hop, Some(mac));
                self.schedule_neighbours();
                Some(mac)
            }
            Resolution::Ask => {
                self.ask(id, hop, None);
                self.schedule_neighbours();
                None
            }
        }
    }

    fn push_frame(&mut self, id: InterfaceId, mac: Mac, mut packet: Packet) {
        let Some(link) = self.link_mut(id) else {
            return;
        };
        if link.packets.len() >= MOST_QUEUED || !link.interface.up {
            link.interface.counters.tx_dropped += 1;
            return self.drop_packet(packet);
        }
        let kind = match packet.as_slice().first().map(|first| first >> 4) {
            Some(4) => ethernet::IPV4,
            _ => ethernet::IPV6,
        };
        packet.address(mac, link.interface.config.mac, kind);
        link.packets.push_back(packet);
    }

    /// A packet is gone: its sender may send more.
    pub(crate) fn drop_packet(&mut self, packet: Packet) {
        let Some((handle, length)) = packet.owner else {
            return;
        };
        self.memory.credit(length);
        if let Some(Socket::Datagram(datagram)) = self.sockets.get_mut(handle)
            && datagram.credit_sending(length)
        {
            self.note_changed(handle);
        }
    }

    /// Asks for a neighbour: everybody, or itself.
    fn ask(&mut self, id: InterfaceId, hop: IpAddr, mac: Option<Mac>) {
        match hop {
            IpAddr::V4(target) => {
                let source = self.own_address_near(id, hop);
                let (Some(IpAddr::V4(source)), Some(link)) = (source, self.link(id)) else {
                    return;
                };
                let sender = (link.interface.config.mac, source);
                let request = arp::Packet {
                    is_request: true,
                    sender,
                    target: (Mac::default(), target),
                };
                self.send_arp(id, mac.unwrap_or(Mac::BROADCAST), &request);
            }
            IpAddr::V6(target) => {
                let (Some(source), Some(group)) =
                    (self.own_address_near(id, hop), address::solicited_node(hop))
                else {
                    return;
                };
                let Some(own) = self.link(id).map(|link| link.interface.config.mac) else {
                    return;
                };
                let message = ndp::neighbour(ndp::NEIGHBOUR_SOLICITATION, 0, target, own);
                let (to, to_mac) = match mac {
                    Some(mac) => (hop, mac),
                    None => (group, address::multicast_mac(group)),
                };
                self.send_discovery(id, (source, to), to_mac, &message);
            }
        }
    }

    fn own_address_near(&self, id: InterfaceId, hop: IpAddr) -> Option<IpAddr> {
        let addresses = &self.interface(id)?.addresses;
        let near = addresses.iter().find(|own| own.covers(hop));
        let any = addresses
            .iter()
            .find(|own| own.address.is_ipv4() == hop.is_ipv4());
        near.or(any).map(|own| own.address)
    }

    pub(crate) fn send_arp(&mut self, id: InterfaceId, to: Mac, packet: &arp::Packet) {
        let mut header = Header::new();
        packet.push_to(&mut header);
        let mut frame = Packet::new(&header, 0);
        if let Some(link) = self.link_mut(id) {
            frame.address(to, link.interface.config.mac, ethernet::ARP);
            if link.packets.len() < MOST_QUEUED && link.interface.up {
                link.packets.push_back(frame);
            }
        }
    }

    /// Sends a message of neighbour discovery, which never leaves the link.
    pub(crate) fn send_discovery(
        &mut self,
        id: InterfaceId,
        (source, to): (IpAddr, IpAddr),
        mac: Mac,
        message: &[u8],
    ) {
        let header = IpHeader {
            source,
            destination: to,
            protocol: ip::ICMPV6,
            hop_limit: 255,
            traffic_class: 0,
        };
        let mut message = Vec::from(message);
        icmp::fill_checksum(&header, &mut message);
        let packet = Packet::with(&header, Sending::default(), &message);
        self.push_frame(id, mac, packet);
    }

    /// Goes on with those who waited for a neighbour.
    pub(crate) fn wake_waiting(&mut self, id: InterfaceId, mac: Mac, waiting: Waiting) {
        for packet in waiting.packets {
            self.push_frame(id, mac, packet);
        }
        for handle in waiting.sockets {
            self.requeue(handle);
        }
    }

    pub(crate) fn requeue(&mut self, handle: Handle) {
        if let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) {
            tcp.queued = false;
            self.settle(handle);
        }
    }

    /// Tells those who waited that nobody is there.
    pub(crate) fn fail_waiting(&mut self, waiting: Waiting) {
        for packet in waiting.packets {
            if let Some((handle, _)) = packet.owner
                && let Some(socket) = self.sockets.get_mut(handle)
            {
                socket.common_mut().error = Some(Error::HostUnreachable);
                self.note_changed(handle);
            }
            self.drop_packet(packet);
        }
        for handle in waiting.sockets {
            if let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) {
                tcp.queued = false;
                tcp.unreachable(Error::HostUnreachable, self.now, &mut self.memory);
                self.settle(handle);
            }
        }
    }

    pub(crate) fn tick_neighbours(&mut self) {
        self.neighbours_at = crate::time::Nanos::MAX;
        let (due, _) = self.neighbours.tick(self.now);
        for due in due {
            match due {
                Due::Ask(id, address, mac) => self.ask(id, address, mac),
                Due::Failed(waiting) => self.fail_waiting(waiting),
            }
        }
        self.schedule_neighbours();
    }

    /// Checks that a datagram may be sent this way at all.
    pub(crate) fn check_size(
        path: &Path,
        header: usize,
        payload: usize,
        dont_fragment: bool,
    ) -> Result<()> {
        let total = header + payload;
        let fits =
            total <= usize::from(u16::MAX) && (!dont_fragment || total <= usize::from(path.mtu));
        fits.then_some(()).ok_or(Error::MessageSize)
    }
}

/// Cuts a payload into packets that fit (RFC 791, 3.2; RFC 8200, 4.5).
pub(crate) fn fragments<'a>(
    header: &'a IpHeader,
    sending: Sending,
    payload: &'a [u8],
    mtu: usize,
) -> impl Iterator<Item = Packet> + use<'a> {
    let extra = if header.source.is_ipv6() {
        ipv6::FRAGMENT_HEADER
    } else {
        0
    };
    let room = mtu.saturating_sub(header.len() + extra).max(8);
    let size = room - room % 8;
    let count = payload.len().div_ceil(size);
    payload.chunks(size).enumerate().map(move |(at, chunk)| {
        let fragment = Some(Fragment {
            id: sending.id,
            offset: at * size,
            more: at + 1 < count,
        });
        Packet::with(
            header,
            Sending {
                fragment,
                ..sending
            },
            chunk,
        )
    })
}
