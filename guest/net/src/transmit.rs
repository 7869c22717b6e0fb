//! Frames that go out, to a device or to ourselves.

use alloc::vec::Vec;

use crate::addresses::Reach;
use crate::bytes::{Header, put_u16};
use crate::checksum::Sum;
use crate::frame::{Gso, GsoKind, OutFrame, PartialChecksum};
use crate::ingress::Arrival;
use crate::interface::{InterfaceId, Mac, Offloads};
use crate::packet::Packet;
use crate::socket::Handle;
use crate::stack::{Connection, Socket, Stack};
use crate::tcp::{Emission, Limits, Tcp, Tuple};
use crate::wire::ip::{IpHeader, Sending};
use crate::wire::tcp::{CHECKSUM, Flags, Segment};
use crate::wire::{ethernet, ip};

impl Stack {
    /// Whether an interface may have something to send.
    #[must_use]
    pub fn wants_transmit(&self, id: InterfaceId) -> bool {
        id != InterfaceId::LOOPBACK
            && self
                .link(id)
                .is_some_and(|link| !link.packets.is_empty() || !link.ready.is_empty())
    }

    /// Gives what is to be sent to `sink`, frame by frame, until there is no more or it says false:
    /// then the device is full, and the frame comes again in the next call.
    pub fn transmit(&mut self, id: InterfaceId, sink: &mut dyn FnMut(OutFrame<'_>) -> bool) {
        if id == InterfaceId::LOOPBACK {
            return;
        }
        while let Some(link) = self.link_mut(id) {
            if let Some(packet) = link.packets.pop_front() {
                if !sink(packet.frame()) {
                    if let Some(link) = self.link_mut(id) {
                        link.packets.push_front(packet);
                    }
                    return;
                }
                self.count_sent(id, packet.len());
                self.drop_packet(packet);
                continue;
            }
            let Some(handle) = link.ready.pop_front() else {
                return;
            };
            if !self.transmit_socket(id, handle, sink) {
                if let Some(link) = self.link_mut(id) {
                    link.ready.push_front(handle);
                }
                return;
            }
        }
    }

    /// What is sent to ourselves is received, too.
    fn count_looped(&mut self, length: usize) {
        self.count_sent(InterfaceId::LOOPBACK, length);
        if let Some(link) = self.link_mut(InterfaceId::LOOPBACK) {
            link.interface.counters.rx_frames += 1;
            link.interface.counters.rx_bytes += length as u64;
        }
    }

    fn count_sent(&mut self, id: InterfaceId, length: usize) {
        if let Some(link) = self.link_mut(id) {
            link.interface.counters.tx_frames += 1;
            link.interface.counters.tx_bytes += length as u64;
        }
    }

    /// One frame of a connection; false if the device is full.
    fn transmit_socket(
        &mut self,
        id: InterfaceId,
        handle: Handle,
        sink: &mut dyn FnMut(OutFrame<'_>) -> bool,
    ) -> bool {
        self.refresh_path(handle);
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return true;
        };
        tcp.queued = false;
        let Some(path) = tcp.path.filter(|path| path.interface == id) else {
            self.settle(handle);
            return true;
        };
        let Some(link) = self.links.get(id.0 as usize) else {
            return true;
        };
        let (offloads, own) = (link.interface.config.offloads, link.interface.config.mac);
        let limits = limits(&offloads, &tcp.tuple);
        let hop_limit = match tcp.common.options.hop_limit {
            0 => link.interface.hop_limit,
            wish => wish,
        };
        let Some(emission) = tcp.next_segment(self.now, limits) else {
            self.settle(handle);
            return true;
        };
        let Some(mac) = self.resolve(id, path.next_hop) else {
            self.wait_for(id, path.next_hop, handle);
            return true;
        };
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return true;
        };
        let length = {
            let mut header = Header::new();
            let frame = frame(
                tcp,
                &emission,
                &mut header,
                (mac, own, hop_limit),
                &offloads,
            );
            if !sink(frame) {
                tcp.queued = true;
                return false;
            }
            frame.len()
        };
        tcp.sent(&emission, self.now);
        self.count_sent(id, length);
        self.settle(handle);
        true
    }

    fn wait_for(&mut self, id: InterfaceId, hop: core::net::IpAddr, handle: Handle) {
        if self.neighbours.wait_socket(id, hop, handle)
            && let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle)
        {
            tcp.queued = true;
        }
    }

    /// Whether something waits to be delivered to ourselves.
    pub(crate) fn has_looped(&self) -> bool {
        !self.looped.is_empty()
            || self
                .links
                .first()
                .is_some_and(|link| !link.ready.is_empty())
    }

    /// Delivers one packet to ourselves; whether there was one.
    pub(crate) fn deliver_looped(&mut self) -> bool {
        if let Some((id, packet)) = self.looped.pop_front() {
            self.count_looped(packet.len());
            self.input_looped(id, packet.as_slice());
            self.drop_packet(packet);
            return true;
        }
        let Some(handle) = self
            .links
            .first_mut()
            .and_then(|link| link.ready.pop_front())
        else {
            return false;
        };
        self.loop_socket(handle);
        true
    }

    fn input_looped(&mut self, id: InterfaceId, bytes: &[u8]) {
        if let Some(packet) = ip::parse(bytes) {
            let arrival = Arrival {
                interface: id,
                valid: true,
                segment_size: None,
                reach: Reach::Local,
            };
            self.input_packet(&packet, arrival);
        }
    }

    /// A segment of a connection to ourselves, straight into the other end.
    fn loop_socket(&mut self, handle: Handle) {
        self.refresh_path(handle);
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return;
        };
        tcp.queued = false;
        let is_loopback = tcp
            .path
            .is_some_and(|path| path.interface == InterfaceId::LOOPBACK);
        let emission = tcp.next_segment(self.now, Limits { largest: 0 });
        let Some(emission) = emission.filter(|_| is_loopback) else {
            return self.settle(handle);
        };
        let tuple = Tuple {
            local: tcp.tuple.remote,
            remote: tcp.tuple.local,
        };
        tcp.sent(&emission, self.now);
        let length = emission.segment.length;
        self.count_looped(length + 54);
        let other = match self.connections.get(&tuple) {
            Some(Connection::Open(other)) if *other != handle => Some(*other),
            _ => None,
        };
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return;
        };
        if length > 0 && other.is_some() {
            // The buffer is lent to the delivery, which does not touch its owner.
            let ring = tcp.lend_buffer();
            for (segment, payload) in halves(&emission, ring.slices(emission.offset, length)) {
                self.input_segment(tuple, &segment, payload, InterfaceId::LOOPBACK);
            }
            if let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) {
                tcp.return_buffer(ring);
            }
        } else {
            let [one, other] = tcp.payload(&emission);
            let payload: Vec<u8> = [one, other].concat();
            self.input_segment(tuple, &emission.segment, &payload, InterfaceId::LOOPBACK);
        }
        self.settle(handle);
    }

    /// Sends a segment that belongs to no connection any more.
    pub(crate) fn send_control(
        &mut self,
        tuple: &Tuple,
        segment: &Segment,
        scope: Option<InterfaceId>,
    ) {
        let wish = crate::addresses::Wish {
            source: Some(tuple.local.address),
            interface: scope.filter(|_| crate::address::is_link_local(tuple.remote.address)),
        };
        let Ok(path) = self.path(tuple.remote.address, wish, self.now) else {
            return;
        };
        let header = IpHeader {
            source: tuple.local.address,
            destination: tuple.remote.address,
            protocol: ip::TCP,
            hop_limit: self.hop_limit(path.interface),
            traffic_class: 0,
        };
        let mut headers = Header::new();
        let sending = Sending {
            dont_fragment: true,
            ..Sending::default()
        };
        header.push_to(&mut headers, segment.header_len(), sending);
        let start = headers.len();
        segment.push_to(&mut headers, (tuple.local.port, tuple.remote.port), 0);
        let mut sum = Sum::pseudo(
            header.source,
            header.destination,
            ip::TCP,
            segment.header_len(),
        );
        sum.add(headers.as_slice().get(start..).unwrap_or(&[]));
        put_u16(
            headers.as_mut_slice(),
            start + usize::from(CHECKSUM),
            sum.finish(),
        );
        self.enqueue(&path, header.destination, Packet::new(&headers, 0));
    }
}

/// A segment whose payload lies in two pieces, as two.
fn halves<'a>(
    emission: &Emission,
    [one, other]: [&'a [u8]; 2],
) -> impl Iterator<Item = (Segment, &'a [u8])> + use<'a> {
    let whole = emission.segment;
    let split = !other.is_empty();
    let first = Segment {
        length: one.len(),
        flags: if split {
            whole.flags.without(Flags::FIN)
        } else {
            whole.flags
        },
        ..whole
    };
    let second = Segment {
        seq: whole.seq.plus(one.len()),
        length: other.len(),
        flags: whole.flags.without(Flags::URG),
        ..whole
    };
    let second = split.then_some((second, other));
    core::iter::once((first, one)).chain(second)
}

fn limits(offloads: &Offloads, tuple: &Tuple) -> Limits {
    let is_v4 = tuple.remote.address.is_ipv4();
    let cuts = if is_v4 {
        offloads.tso_v4
    } else {
        offloads.tso_v6
    };
    let most = if offloads.tso_max == 0 {
        65_535
    } else {
        (offloads.tso_max as usize).min(65_535)
    };
    // IPv4's length counts its header, IPv6's does not; the frame's limit counts both.
    let headers = ethernet::HEADER + if is_v4 { 20 } else { 40 };
    Limits {
        largest: if cuts && offloads.tx_checksum {
            most.saturating_sub(headers)
        } else {
            0
        },
    }
}

/// The frame of a segment, its headers in `header`.
fn frame<'a>(
    tcp: &'a Tcp,
    emission: &Emission,
    header: &'a mut Header,
    (mac, own, hop_limit): (Mac, Mac, u8),
    offloads: &Offloads,
) -> OutFrame<'a> {
    let (tuple, segment) = (&tcp.tuple, &emission.segment);
    let is_v4 = tuple.remote.address.is_ipv4();
    let kind = if is_v4 {
        ethernet::IPV4
    } else {
        ethernet::IPV6
    };
    header.push(&ethernet::header(mac, own, kind));
    let ip_header = IpHeader {
        source: tuple.local.address,
        destination: tuple.remote.address,
        protocol: ip::TCP,
        hop_limit,
        traffic_class: tcp.common.options.traffic_class,
    };
    let length = segment.header_len() + segment.length;
    let sending = Sending {
        id: segment.seq.0,
        dont_fragment: true,
        ..Sending::default()
    };
    ip_header.push_to(header, length, sending);
    let start = header.len();
    let payload = tcp.payload(emission);
    let mut sum = Sum::pseudo(ip_header.source, ip_header.destination, ip::TCP, length);
    segment.push_to(header, (tuple.local.port, tuple.remote.port), 0);
    let mut partial = None;
    let checksum = if offloads.tx_checksum {
        partial = Some(PartialChecksum {
            start: crate::bytes::length16(start),
            offset: CHECKSUM,
        });
        sum.partial()
    } else {
        sum.add(header.as_slice().get(start..).unwrap_or(&[]));
        sum.add(payload[0]);
        sum.add(payload[1]);
        sum.finish()
    };
    put_u16(
        header.as_mut_slice(),
        start + usize::from(CHECKSUM),
        checksum,
    );
    let kind = if is_v4 {
        GsoKind::TcpV4
    } else {
        GsoKind::TcpV6
    };
    OutFrame {
        header: header.as_slice(),
        payload,
        checksum: partial,
        gso: emission.gso.map(|size| Gso { kind, size }),
    }
}
