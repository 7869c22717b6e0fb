//! What programs call on sockets of datagrams.

use core::net::{IpAddr, SocketAddr};

use crate::addresses::{Reach, Wish};
use crate::bytes::{Header, put_u16};
use crate::checksum::Sum;
use crate::egress;
use crate::error::{Error, Result};
use crate::frame::PartialChecksum;
use crate::interface::InterfaceId;
use crate::packet::Packet;
use crate::route::Path;
use crate::socket::{DatagramInfo, Handle, Kind, Message};
use crate::stack::{Socket, Stack};
use crate::time::Nanos;
use crate::wire::ip::{IpHeader, Sending};
use crate::wire::{ethernet, icmp, ip, udp};

/// What a datagram is sent with.
#[derive(Clone, Copy, Debug)]
struct Outgoing {
    kind: Kind,
    path: Path,
    header: IpHeader,
    ports: (u16, u16),
    reach: Reach,
    dont_fragment: bool,
    header_included: bool,
    loops: bool,
}

impl Stack {
    /// Sends a datagram of `length` bytes, which `fill` writes. An echo socket's is a whole ICMP
    /// message, whose identifier and checksum are set here; a raw socket's what follows the IP header,
    /// or with it.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] while the buffer is full, [`Error::MessageSize`], and what the route or
    /// an earlier datagram gives.
    pub fn send_datagram(
        &mut self,
        handle: Handle,
        message: &Message,
        length: usize,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
        now: Nanos,
    ) -> Result<usize> {
        self.advance(now);
        let socket = self.sockets.get_mut(handle).ok_or(Error::BadHandle)?;
        let Socket::Datagram(datagram) = socket else {
            return Err(Error::NotSupported);
        };
        if let Some(error) = datagram.common.error.take() {
            return Err(error);
        }
        if datagram.common.write_closed {
            return Err(Error::Pipe);
        }
        if datagram.send_room() == 0 {
            datagram.starved = true;
            return Err(Error::WouldBlock);
        }
        let outgoing = self.outgoing(handle, message)?;
        let transport = match outgoing.kind {
            Kind::Datagram => udp::HEADER,
            _ => 0,
        };
        if outgoing.kind == Kind::Echo && length < icmp::HEADER {
            return Err(Error::Invalid);
        }
        let ip_len = if outgoing.header_included {
            0
        } else {
            outgoing.header.len()
        };
        Self::check_size(
            &outgoing.path,
            ip_len,
            transport + length,
            outgoing.dont_fragment,
        )?;
        self.memory.charge(length)?;
        let packet = build(&outgoing, length, fill, self.random.next_u32());
        let packet = packet.inspect_err(|_| self.memory.credit(length))?;
        self.dispatch(handle, &outgoing, packet, length);
        Ok(length)
    }

    /// Hands over what was built, in fragments if it must be.
    fn dispatch(&mut self, handle: Handle, outgoing: &Outgoing, mut packet: Packet, length: usize) {
        let (path, header) = (&outgoing.path, &outgoing.header);
        let fits = packet.as_slice().len() <= usize::from(path.mtu);
        if let Some(Socket::Datagram(datagram)) = self.sockets.get_mut(handle) {
            datagram.charge_sending(length);
        }
        packet.owner = Some((handle, length));
        let group = matches!(outgoing.reach, Reach::Multicast | Reach::Broadcast);
        if group && outgoing.loops && path.interface != InterfaceId::LOOPBACK {
            let mut copy = packet.clone();
            copy.owner = None;
            self.looped.push_back((path.interface, copy));
        }
        let offload = self
            .link(path.interface)
            .is_some_and(|link| link.interface.config.offloads.tx_checksum);
        let is_local = path.interface == InterfaceId::LOOPBACK;
        if outgoing.kind == Kind::Datagram && !(fits && is_local) {
            complete_udp(&mut packet, header, offload && fits);
        }
        if fits || is_local {
            self.enqueue(path, header.destination, packet);
            return;
        }
        let sending = Sending {
            id: self.random.next_u32(),
            ..Sending::default()
        };
        let payload = packet
            .as_slice()
            .get(header.len()..)
            .unwrap_or(&[])
            .to_vec();
        let owner = packet.owner.take();
        let mut pieces: alloc::vec::Vec<Packet> =
            egress::fragments(header, sending, &payload, usize::from(path.mtu)).collect();
        if let Some(last) = pieces.last_mut() {
            last.owner = owner;
        }
        for piece in pieces {
            self.enqueue(path, header.destination, piece);
        }
    }

    fn outgoing(&mut self, handle: Handle, message: &Message) -> Result<Outgoing> {
        let Some(Socket::Datagram(datagram)) = self.sockets.get(handle) else {
            return Err(Error::BadHandle);
        };
        let to = message
            .to
            .map(crate::address::unmapped)
            .or(datagram.common.remote);
        let to = to.ok_or(Error::DestinationRequired)?;
        let to = self.destination(handle, to)?;
        self.bind_ephemeral(handle, to.ip())?;
        let Some(Socket::Datagram(datagram)) = self.sockets.get(handle) else {
            return Err(Error::BadHandle);
        };
        let (common, options) = (&datagram.common, &datagram.common.options);
        let reach = self.reach(to.ip());
        if reach == Reach::Broadcast && !options.broadcast {
            return Err(Error::Access);
        }
        if datagram.kind == Kind::Datagram && to.port() == 0 {
            return Err(Error::Invalid);
        }
        let is_group = matches!(reach, Reach::Multicast | Reach::Broadcast);
        let scope = scope_of(to).or(options.interface);
        let multicast = options
            .multicast_interface
            .filter(|_| reach == Reach::Multicast);
        let own = common.local.ip();
        let own = (!own.is_unspecified() && !own.is_multicast() && own.is_ipv4() == to.is_ipv4())
            .then_some(own);
        let wish = Wish {
            source: message
                .source
                .filter(|source| !source.is_unspecified())
                .or(own),
            interface: message.interface.or(scope).or(multicast),
        };
        if wish.source.is_some_and(|source| !self.is_local(source)) {
            return Err(Error::AddressNotAvailable);
        }
        let path = self.path(to.ip(), wish, self.now)?;
        let default = if is_group {
            options.multicast_hop_limit
        } else {
            options.hop_limit
        };
        let hop_limit = message.hop_limit.unwrap_or(default);
        let header = IpHeader {
            source: path.source,
            destination: to.ip(),
            protocol: datagram.protocol(to.is_ipv4()),
            hop_limit: if hop_limit == 0 {
                self.hop_limit(path.interface)
            } else {
                hop_limit
            },
            traffic_class: message.traffic_class.unwrap_or(options.traffic_class),
        };
        Ok(Outgoing {
            kind: datagram.kind,
            path,
            header,
            ports: (common.local.port(), to.port()),
            reach,
            dont_fragment: options.dont_fragment,
            header_included: options.header_included
                && to.is_ipv4()
                && matches!(datagram.kind, Kind::Raw(_)),
            loops: options.multicast_loop || reach == Reach::Broadcast,
        })
    }

    /// Gives the next datagram to `take`, whole; it stays in the queue when it is only looked at.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if there is none, and what became of a datagram sent before.
    pub fn receive_datagram(
        &mut self,
        handle: Handle,
        peek: bool,
        take: &mut dyn FnMut(&[u8], &DatagramInfo),
    ) -> Result<()> {
        let socket = self.sockets.get_mut(handle).ok_or(Error::BadHandle)?;
        let Socket::Datagram(datagram) = socket else {
            return Err(Error::NotSupported);
        };
        if let Some(error) = datagram.common.error.take() {
            return Err(error);
        }
        let Some(first) = datagram.queue.front() else {
            if datagram.common.read_closed {
                take(&[], &no_datagram(datagram.common.local));
                return Ok(());
            }
            return Err(Error::WouldBlock);
        };
        let mut info = first.info;
        info.from = datagram.common.shown(info.from);
        take(&first.bytes, &info);
        if !peek {
            datagram.pop(&mut self.memory);
        }
        Ok(())
    }
}

/// What is said of the end of what was shut down.
fn no_datagram(local: SocketAddr) -> DatagramInfo {
    DatagramInfo {
        from: SocketAddr::new(crate::address::unspecified(local.ip()), 0),
        to: local.ip(),
        interface: InterfaceId::LOOPBACK,
        hop_limit: 0,
        traffic_class: 0,
        at: Nanos::ZERO,
    }
}

/// The interface that an address names.
pub(crate) fn scope_of(address: SocketAddr) -> Option<InterfaceId> {
    match address {
        SocketAddr::V6(v6) => InterfaceId::from_index(v6.scope_id()),
        SocketAddr::V4(_) => None,
    }
}

fn build(
    outgoing: &Outgoing,
    length: usize,
    fill: &mut dyn FnMut(&mut [u8]) -> usize,
    id: u32,
) -> Result<Packet> {
    let mut headers = Header::new();
    let header = &outgoing.header;
    let sending = Sending {
        id,
        dont_fragment: outgoing.dont_fragment,
        ..Sending::default()
    };
    let transport = if outgoing.kind == Kind::Datagram {
        udp::HEADER
    } else {
        0
    };
    if !outgoing.header_included {
        header.push_to(&mut headers, transport + length, sending);
    }
    let start = headers.len();
    if outgoing.kind == Kind::Datagram {
        let (from, to) = outgoing.ports;
        udp::push(&mut headers, from, to, length);
    }
    let mut packet = Packet::new(&headers, length);
    let bytes = packet.bytes_mut();
    let at = bytes.len();
    bytes.resize(at + length, 0);
    let room = bytes.get_mut(at..).unwrap_or(&mut []);
    if fill(room) < length {
        return Err(Error::Invalid);
    }
    let message = bytes.get_mut(ethernet::HEADER + start..).unwrap_or(&mut []);
    match outgoing.kind {
        Kind::Echo => finish_echo(header, outgoing.ports.0, message)?,
        // ICMPv6's checksum is ours to set (RFC 3542, 3.1).
        Kind::Raw(ip::ICMPV6) if header.source.is_ipv6() => {
            put_u16(message, 2, 0);
            icmp::fill_checksum(header, message);
        }
        Kind::Raw(_) if outgoing.header_included => check_included(header.source, message)?,
        _ => {}
    }
    Ok(packet)
}

/// An echo request is all that such a socket may send.
fn finish_echo(header: &IpHeader, id: u16, message: &mut [u8]) -> Result<()> {
    let request = if header.source.is_ipv4() {
        icmp::ECHO_REQUEST_V4
    } else {
        icmp::ECHO_REQUEST_V6
    };
    let is_request = message.first() == Some(&request) && message.get(1) == Some(&0);
    is_request.then_some(()).ok_or(Error::Invalid)?;
    put_u16(message, 4, id);
    put_u16(message, 2, 0);
    icmp::fill_checksum(header, message);
    Ok(())
}

/// A header that the program made: what it leaves open is filled in (raw(7)).
fn check_included(source: IpAddr, packet: &mut [u8]) -> Result<()> {
    let length = packet.len();
    let (IpAddr::V4(source), Some(first)) = (source, packet.first().copied()) else {
        return Err(Error::Invalid);
    };
    let header = usize::from(first & 0xf) * 4;
    if first >> 4 != 4 || header < 20 || length < header {
        return Err(Error::Invalid);
    }
    put_u16(packet, 2, crate::bytes::length16(length));
    if crate::bytes::get_u32(packet, 12) == Some(0) {
        crate::bytes::put(packet, 12, &source.octets());
    }
    put_u16(packet, 10, 0);
    let sum = crate::checksum::checksum(packet.get(..header).unwrap_or(&[]));
    put_u16(packet, 10, sum);
    Ok(())
}

/// The checksum, or what a device needs to complete it.
pub(crate) fn complete_udp(packet: &mut Packet, header: &IpHeader, offload: bool) {
    let start = ethernet::HEADER + header.len();
    let bytes = packet.bytes_mut();
    let length = bytes.len().saturating_sub(start);
    let mut sum = Sum::pseudo(header.source, header.destination, ip::UDP, length);
    let Some(datagram) = bytes.get_mut(start..) else {
        return;
    };
    if offload {
        put_u16(datagram, 6, sum.partial());
        packet.checksum = Some(PartialChecksum {
            start: crate::bytes::length16(start),
            offset: 6,
        });
        return;
    }
    sum.add(datagram);
    let checksum = sum.finish();
    put_u16(datagram, 6, if checksum == 0 { 0xffff } else { checksum });
}
