//! Frames that are right enough to get somewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use guest_net::{Gso, GsoKind, OutFrame, RxMeta};

use crate::script::Script;

pub(super) const OWN_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(super) const PEER_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(super) const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
pub(super) const PEER_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);

/// What the stack has sent: the last packet, and of the last TCP segment what an answer needs.
#[derive(Default)]
pub(super) struct Seen {
    packet: Vec<u8>,
    tcp: Option<Segment>,
}

#[derive(Clone, Copy)]
struct Segment {
    v6: bool,
    ports: (u16, u16),
    seq: u32,
    ack: u32,
    stamp: u32,
}

impl Seen {
    pub(super) fn note(&mut self, frame: &OutFrame<'_>) {
        let mut bytes = vec![0; frame.len().min(200)];
        frame.copy_to(&mut bytes);
        let Some(packet) = bytes.get(14..) else {
            return;
        };
        let v6 = packet.first().is_some_and(|first| first >> 4 == 6);
        let (start, protocol) = if v6 { (40, 6) } else { (20, 9) };
        if packet.get(protocol) == Some(&6)
            && let Some(tcp) = packet.get(start..).filter(|tcp| tcp.len() >= 20)
        {
            let half = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
            let word = |at: usize| u32::from(half(at)) << 16 | u32::from(half(at + 2));
            let length = u32::try_from(frame.len() - 14 - start).unwrap_or(0);
            let space = length.saturating_sub(u32::from(tcp[12] >> 4) * 4)
                + u32::from(tcp[13] & 1)
                + u32::from(tcp[13] >> 1 & 1);
            self.tcp = Some(Segment {
                v6,
                ports: (half(0), half(2)),
                seq: word(4).wrapping_add(space),
                ack: word(8),
                stamp: if tcp.len() >= 28 { word(24) } else { 0 },
            });
        }
        self.packet = packet.to_vec();
    }
}

/// Where frames come from.
pub(super) struct Source<'s, 'd> {
    pub(super) script: &'s mut Script<'d>,
    pub(super) seen: &'s Seen,
}

fn sum(pieces: &[&[u8]]) -> u16 {
    let mut total = 0_u32;
    for piece in pieces {
        for pair in piece.chunks(2) {
            total += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        }
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

impl Source<'_, '_> {
    pub(super) fn frame(mut self, kind: u8) -> (Vec<u8>, RxMeta) {
        let ways = self.script.byte().unwrap_or(0);
        let meta = RxMeta {
            checksum_valid: ways & 7 != 7,
            gso: (ways & 8 != 0).then_some(Gso {
                kind: GsoKind::TcpV4,
                size: u16::from(ways) * 8,
            }),
        };
        let frame = match kind {
            0 => self.anything(),
            1 => self.ip(ways),
            2 | 3 => self.answer(ways),
            4 => self.connection(ways),
            5 => self.problem(ways),
            6 => self.neighbour(ways),
            7 => self.arp(),
            _ => self.fragment(ways),
        };
        (frame, meta)
    }

    fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        frame.extend(kind.to_be_bytes());
        frame.extend(payload);
        frame
    }

    fn anything(&mut self) -> Vec<u8> {
        let kind = [0x800, 0x86dd, 0x806, 5][usize::from(self.script.byte().unwrap_or(0) % 4)];
        let length = usize::from(self.script.byte().unwrap_or(0));
        Self::ethernet(kind, self.script.bytes(length))
    }

    fn packet(
        v6: bool,
        to: Option<IpAddr>,
        protocol: u8,
        fragment: u16,
        payload: &[u8],
    ) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
        if v6 {
            let mut bytes = vec![0x60, 0, 0, 0];
            bytes.extend(length.to_be_bytes());
            bytes.extend([protocol, 255]);
            bytes.extend(PEER_V6.octets());
            match to {
                Some(IpAddr::V6(to)) => bytes.extend(to.octets()),
                _ => bytes.extend(OWN_V6.octets()),
            }
            bytes.extend(payload);
            return Self::ethernet(0x86dd, &bytes);
        }
        let mut bytes = vec![0x45, 0];
        bytes.extend(length.saturating_add(20).to_be_bytes());
        bytes.extend([0, 1]);
        bytes.extend(fragment.to_be_bytes());
        bytes.extend([64, protocol, 0, 0]);
        bytes.extend(PEER_V4.octets());
        match to {
            Some(IpAddr::V4(to)) => bytes.extend(to.octets()),
            _ => bytes.extend(OWN_V4.octets()),
        }
        let check = sum(&[&bytes]).to_be_bytes();
        bytes[10..12].copy_from_slice(&check);
        bytes.extend(payload);
        Self::ethernet(0x800, &bytes)
    }

    fn ip(&mut self, ways: u8) -> Vec<u8> {
        let protocol =
            [17, 17, 1, 2, 6, 58, 0, 43, 60, 99][usize::from(self.script.byte().unwrap_or(0)) % 10];
        let to: Option<IpAddr> = match ways >> 4 & 3 {
            0 => Some(Ipv4Addr::BROADCAST.into()),
            1 => Some(Ipv4Addr::new(224, 0, 0, 1).into()),
            _ => None,
        };
        let length = usize::from(self.script.byte().unwrap_or(0));
        let mut payload = self.script.bytes(length).to_vec();
        if protocol == 17 && payload.len() >= 8 {
            let length = u16::try_from(payload.len()).unwrap_or(0);
            payload[4..6].copy_from_slice(&length.to_be_bytes());
        }
        Self::packet(ways & 16 != 0, to, protocol, 0, &payload)
    }

    /// A segment for the connection that spoke last, near the numbers that it expects.
    fn answer(&mut self, ways: u8) -> Vec<u8> {
        let Some(seen) = self.seen.tcp else {
            return self.connection(ways);
        };
        let near = |number: u64| (number as i16 >> (number & 15)) as u32;
        let seq = seen.ack.wrapping_add(near(self.script.number::<2>()));
        let ack = seen.seq.wrapping_add(near(self.script.number::<2>()));
        let flags = self.script.byte().unwrap_or(0);
        let flags = if ways & 16 == 0 {
            flags & 0x39 | 16
        } else {
            flags
        };
        let seq = if seen.ack == 0 {
            self.script.number::<4>() as u32
        } else {
            seq
        };
        self.segment((seen.ports.1, seen.ports.0), (seq, ack), flags, seen)
    }

    fn segment(
        &mut self,
        ports: (u16, u16),
        (seq, ack): (u32, u32),
        flags: u8,
        seen: Segment,
    ) -> Vec<u8> {
        let mut options = Vec::new();
        let choice = self.script.byte().unwrap_or(0);
        if choice & 1 == 0 {
            options.extend([1, 1, 8, 10]);
            options.extend((7 + u32::from(choice)).to_be_bytes());
            options.extend(seen.stamp.to_be_bytes());
        }
        if choice & 2 != 0 {
            let start = ack.wrapping_add(self.script.number::<1>() as u32 * 256);
            options.extend([1, 1, 5, 10]);
            options.extend(start.to_be_bytes());
            options.extend(start.wrapping_add(u32::from(choice) * 16).to_be_bytes());
        }
        if flags & 2 != 0 {
            options.extend([2, 4, choice, 0xb4, 4, 2, 1, 3, 3, choice % 16, 1, 1]);
        }
        if choice & 4 != 0 {
            options = self.script.bytes(usize::from(choice & 0x28)).to_vec();
        }
        options.truncate(40);
        while options.len() % 4 != 0 {
            options.push(0);
        }
        let mut bytes = Vec::new();
        bytes.extend(ports.0.to_be_bytes());
        bytes.extend(ports.1.to_be_bytes());
        bytes.extend(seq.to_be_bytes());
        bytes.extend(ack.to_be_bytes());
        bytes.extend([(5 + options.len() as u8 / 4) << 4, flags]);
        let window = if choice & 8 != 0 {
            0xffff
        } else {
            u16::from(choice)
        };
        bytes.extend(window.to_be_bytes());
        bytes.extend([0, 0, 0, choice >> 3]);
        bytes.extend(&options);
        bytes.resize(
            bytes.len() + usize::from(choice) * usize::from(choice & 16),
            choice,
        );
        Self::packet(seen.v6, None, 6, 0, &bytes)
    }

    fn connection(&mut self, ways: u8) -> Vec<u8> {
        let ports = (
            u16::from(self.script.byte().unwrap_or(0)) + 1,
            u16::from(ways >> 4),
        );
        let seq = self.script.number::<2>() as u32;
        let seen = Segment {
            v6: ways & 4 != 0,
            ports,
            seq: 0,
            ack: 0,
            stamp: 0,
        };
        self.segment(ports, (seq, 0), 2, seen)
    }

    /// An ICMP message, mostly about what the stack has sent.
    fn problem(&mut self, ways: u8) -> Vec<u8> {
        let v6 = ways & 16 != 0;
        let mut message = vec![
            self.script.byte().unwrap_or(0),
            self.script.byte().unwrap_or(0) % 16,
            0,
            0,
        ];
        message.extend(self.script.bytes(4));
        message.resize(8, 0);
        if ways & 32 == 0 {
            message.extend(&self.seen.packet);
        } else {
            message.extend(self.script.bytes(64));
        }
        Self::icmp(v6, None, message)
    }

    fn icmp(v6: bool, to: Option<IpAddr>, mut message: Vec<u8>) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap_or(0).to_be_bytes();
        let destination = match to {
            Some(IpAddr::V6(to)) => to.octets(),
            _ => OWN_V6.octets(),
        };
        let pseudo = [&PEER_V6.octets()[..], &destination, &length, &[0, 0, 0, 58]].concat();
        let check = sum(&[if v6 { &pseudo } else { &[] }, &message]);
        message[2..4].copy_from_slice(&check.to_be_bytes());
        Self::packet(v6, to, if v6 { 58 } else { 1 }, 0, &message)
    }

    /// Neighbour discovery and group queries.
    fn neighbour(&mut self, ways: u8) -> Vec<u8> {
        let mut message = vec![130 + ways % 8, 0, 0, 0, ways, 0, 0, 9];
        match ways >> 4 & 3 {
            0 => message.extend(OWN_V6.octets()),
            1 => message.extend(PEER_V6.octets()),
            _ => {}
        }
        let length = usize::from(self.script.byte().unwrap_or(0));
        message.extend(self.script.bytes(length));
        let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        Self::icmp(true, (ways & 64 != 0).then_some(all.into()), message)
    }

    fn arp(&mut self) -> Vec<u8> {
        let choice = self.script.byte().unwrap_or(0);
        let mut bytes = vec![0, 1, 8, 0, 6, 4, 0, 1 + (choice & 1)];
        bytes.extend([2, 0, 0, 0, 0, choice | 1]);
        bytes.extend([10, 0, 0, if choice & 2 == 0 { 1 } else { choice }]);
        bytes.extend([0; 6]);
        bytes.extend(OWN_V4.octets());
        Self::ethernet(0x806, &bytes)
    }

    fn fragment(&mut self, ways: u8) -> Vec<u8> {
        let at = self.script.number::<2>() as u16;
        let length = usize::from(self.script.byte().unwrap_or(0));
        let payload = self.script.bytes(length);
        if ways & 16 == 0 {
            return Self::packet(false, None, 17, at & 0x3fff, payload);
        }
        let mut bytes = vec![17, 0];
        bytes.extend(at.to_be_bytes());
        bytes.extend([0, 0, 0, ways & 3]);
        bytes.extend(payload);
        Self::packet(true, None, 44, 0, &bytes)
    }
}
