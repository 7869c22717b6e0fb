//! Frames of the guest, taken apart. Everything is checked against the frame's length.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::checksum::{self, Sum};
use crate::network::Source;

pub(super) const ETHERNET: usize = 14;
pub(super) const KIND_V4: u16 = 0x0800;
pub(super) const KIND_ARP: u16 = 0x0806;
pub(super) const KIND_V6: u16 = 0x86dd;

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMP_V6: u8 = 58;

/// Longest headers: Ethernet, IPv4 and TCP, each with all options.
pub(super) const HEADERS_MAX: usize = ETHERNET + 60 + 60;

/// The first bytes of a frame.
pub(super) struct Front {
    bytes: [u8; HEADERS_MAX],
    length: usize,
}

impl Front {
    pub(super) fn of(frame: &dyn Source) -> Self {
        let mut bytes = [0; HEADERS_MAX];
        let length = frame.peek(&mut bytes);
        Self { bytes, length }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    pub(super) fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        array(self.bytes(), at)
    }

    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.bytes().get(at).copied()
    }

    pub(super) fn word(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_be_bytes)
    }

    pub(super) fn long(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_be_bytes)
    }
}

/// Bytes of a slice as an array.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// An IP packet's header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    /// Where in the frame its payload begins, and how long that is.
    pub(super) start: usize,
    pub(super) length: usize,
}

/// What can be wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    Malformed,
    Checksum,
    Fragment,
}

pub(super) fn v4(front: &Front, frame: usize) -> Result<Packet, Bad> {
    let header = usize::from(front.byte(ETHERNET).ok_or(Bad::Malformed)? & 0xf) * 4;
    let is_v4 = front.byte(ETHERNET).is_some_and(|first| first >> 4 == 4);
    let whole = front.bytes().get(ETHERNET..ETHERNET + header);
    let (true, true, Some(whole)) = (is_v4, header >= 20, whole) else {
        return Err(Bad::Malformed);
    };
    if Sum::default().with(whole).folded() != 0xffff {
        return Err(Bad::Checksum);
    }
    let total = usize::from(front.word(ETHERNET + 2).ok_or(Bad::Malformed)?);
    let fragment = front.word(ETHERNET + 6).ok_or(Bad::Malformed)?;
    if total < header || ETHERNET + total > frame {
        return Err(Bad::Malformed);
    }
    // More follow, or it is not the first.
    if fragment & 0x3fff != 0 {
        return Err(Bad::Fragment);
    }
    let address = |at| {
        front
            .array(at)
            .map(|octets: [u8; 4]| Ipv4Addr::from(octets))
    };
    Ok(Packet {
        source: IpAddr::V4(address(ETHERNET + 12).ok_or(Bad::Malformed)?),
        destination: IpAddr::V4(address(ETHERNET + 16).ok_or(Bad::Malformed)?),
        protocol: front.byte(ETHERNET + 9).ok_or(Bad::Malformed)?,
        start: ETHERNET + header,
        length: total - header,
    })
}

pub(super) fn v6(front: &Front, frame: usize) -> Result<Packet, Bad> {
    let length = usize::from(front.word(ETHERNET + 4).ok_or(Bad::Malformed)?);
    let is_v6 = front.byte(ETHERNET).is_some_and(|first| first >> 4 == 6);
    if !is_v6 || ETHERNET + 40 + length > frame {
        return Err(Bad::Malformed);
    }
    let address = |at| {
        front
            .array(at)
            .map(|octets: [u8; 16]| Ipv6Addr::from(octets))
    };
    Ok(Packet {
        source: IpAddr::V6(address(ETHERNET + 8).ok_or(Bad::Malformed)?),
        destination: IpAddr::V6(address(ETHERNET + 24).ok_or(Bad::Malformed)?),
        protocol: front.byte(ETHERNET + 6).ok_or(Bad::Malformed)?,
        start: ETHERNET + 40,
        length,
    })
}

impl Packet {
    /// Whether the checksum over payload and pseudo header is right. `frame` is whole.
    pub(super) fn is_intact(&self, frame: &dyn Source, front: &Front) -> bool {
        let pseudo = match self.protocol {
            ICMP => Sum::default(),
            protocol => checksum::pseudo(self.source, self.destination, protocol, self.length),
        };
        // The sum of the frame begins with Ethernet's and IP's headers, of even length.
        let before = front.bytes().get(..self.start).unwrap_or_default();
        let before = Sum::default().with(before).folded();
        let sum = pseudo.add_word(frame.sum(self.start + self.length));
        sum.add_word(!before).folded() == 0xffff
    }

    /// Its payload, at most `most` bytes of it.
    pub(super) fn payload(&self, frame: &dyn Source, most: usize) -> Vec<u8> {
        let length = self.length.min(most);
        let mut bytes = vec![0; self.start + length];
        let got = frame.peek(&mut bytes);
        bytes.truncate(got);
        bytes.drain(..self.start.min(got));
        bytes
    }
}

pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
pub(super) const PSH: u8 = 8;
pub(super) const ACK: u8 = 16;

/// A TCP segment's header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) source: u16,
    pub(super) destination: u16,
    pub(super) sequence: u32,
    pub(super) acknowledged: u32,
    pub(super) flags: u8,
    pub(super) window: u16,
    pub(super) mss: Option<u16>,
    pub(super) shift: Option<u8>,
    /// Where in the frame its payload begins, and how long that is.
    pub(super) start: usize,
    pub(super) length: usize,
}

impl Segment {
    pub(super) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What it takes of the sequence numbers.
    pub(super) fn span(&self) -> u32 {
        let marks = u32::from(self.has(SYN)) + u32::from(self.has(FIN));
        self.length as u32 + marks
    }
}

pub(super) fn segment(front: &Front, packet: &Packet) -> Option<Segment> {
    let at = packet.start;
    let header = usize::from(front.byte(at + 12)? >> 4) * 4;
    if header < 20 || header > packet.length {
        return None;
    }
    let mut segment = Segment {
        source: front.word(at)?,
        destination: front.word(at + 2)?,
        sequence: front.long(at + 4)?,
        acknowledged: front.long(at + 8)?,
        flags: front.byte(at + 13)?,
        window: front.word(at + 14)?,
        mss: None,
        shift: None,
        start: at + header,
        length: packet.length - header,
    };
    if segment.has(SYN) {
        let options = front.bytes().get(at + 20..at + header)?;
        read_options(options, &mut segment);
    }
    Some(segment)
}

fn read_options(mut options: &[u8], segment: &mut Segment) {
    while let [kind, rest @ ..] = options {
        let length = match (*kind, rest.first()) {
            (0, _) => return,
            (1, _) => 1,
            (_, Some(&length)) if length >= 2 => usize::from(length),
            _ => return,
        };
        match (*kind, options.get(2..length).unwrap_or_default()) {
            (2, &[high, low]) => segment.mss = Some(u16::from_be_bytes([high, low])),
            (3, &[shift]) => segment.shift = Some(shift.min(14)),
            _ => {}
        }
        options = options.get(length..).unwrap_or_default();
    }
}

/// A UDP header, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram {
    pub(super) source: u16,
    pub(super) destination: u16,
    /// Bytes of payload, which begins 8 behind the packet's start.
    pub(super) length: usize,
}

pub(super) fn datagram(front: &Front, packet: &Packet) -> Option<Datagram> {
    let length = usize::from(front.word(packet.start + 4)?);
    (length >= 8 && length <= packet.length).then_some(())?;
    Some(Datagram {
        source: front.word(packet.start)?,
        destination: front.word(packet.start + 2)?,
        length: length - 8,
    })
}
