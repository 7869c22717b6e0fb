//! TCP segments (RFC 9293, 3.1) and their options (RFC 7323, RFC 2018).

use super::ip::{IpHeader, TCP};
use crate::bytes::{Header, array, get_u8, get_u16, get_u32};
use crate::checksum::Sum;
use crate::seq::{Range, Seq};

pub(crate) const HEADER: usize = 20;
/// Where the checksum is.
pub(crate) const CHECKSUM: u16 = 16;

/// Control bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(pub(crate) u8);

impl Flags {
    pub(crate) const FIN: Self = Self(1);
    pub(crate) const SYN: Self = Self(2);
    pub(crate) const RST: Self = Self(4);
    pub(crate) const PSH: Self = Self(8);
    pub(crate) const ACK: Self = Self(16);
    pub(crate) const URG: Self = Self(32);

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// Options of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) mss: Option<u16>,
    pub(crate) window_scale: Option<u8>,
    pub(crate) sack_permitted: bool,
    /// The sender's clock, and the echo of ours.
    pub(crate) timestamps: Option<(u32, u32)>,
    pub(crate) sack: [Range; 4],
    pub(crate) sack_count: usize,
}

impl Options {
    pub(crate) fn sack_blocks(&self) -> &[Range] {
        self.sack.get(..self.sack_count).unwrap_or(&[])
    }

    fn push_sack(&mut self, range: Range) {
        if let Some(place) = self.sack.get_mut(self.sack_count) {
            *place = range;
            self.sack_count += 1;
        }
    }

    pub(crate) const fn len(&self) -> usize {
        let mss = if self.mss.is_some() { 4 } else { 0 };
        let scale = if self.window_scale.is_some() { 4 } else { 0 };
        let permitted = if self.sack_permitted { 4 } else { 0 };
        let timestamps = if self.timestamps.is_some() { 12 } else { 0 };
        let sack = if self.sack_count > 0 {
            4 + 8 * self.sack_count
        } else {
            0
        };
        mss + scale + permitted + timestamps + sack
    }

    fn push_to(&self, into: &mut Header) {
        if let Some(mss) = self.mss {
            into.push(&[2, 4]);
            into.push_u16(mss);
        }
        if self.sack_permitted {
            into.push(&[1, 1, 4, 2]);
        }
        if let Some((value, echo)) = self.timestamps {
            into.push(&[1, 1, 8, 10]);
            into.push_u32(value);
            into.push_u32(echo);
        }
        if let Some(scale) = self.window_scale {
            into.push(&[1, 3, 3, scale]);
        }
        if self.sack_count > 0 {
            into.push(&[1, 1, 5]);
            into.push_u8(u8::try_from(2 + 8 * self.sack_count).unwrap_or(2));
            for (start, end) in self.sack_blocks() {
                into.push_u32(start.0);
                into.push_u32(end.0);
            }
        }
    }
}

/// A segment, but for ports and payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) seq: Seq,
    pub(crate) ack: Seq,
    pub(crate) flags: Flags,
    /// As in the header, unscaled.
    pub(crate) window: u16,
    pub(crate) urgent: u16,
    pub(crate) options: Options,
    /// Bytes of payload.
    pub(crate) length: usize,
    /// How many segments it was on the wire.
    pub(crate) count: usize,
}

impl Segment {
    /// Sequence numbers it takes.
    pub(crate) fn space(&self) -> usize {
        let bit = |flag| usize::from(self.flags.has(flag));
        self.length + bit(Flags::SYN) + bit(Flags::FIN)
    }

    /// Where it ends.
    pub(crate) fn end(&self) -> Seq {
        self.seq.plus(self.space())
    }

    /// Bytes of its header.
    pub(crate) const fn header_len(&self) -> usize {
        HEADER + self.options.len()
    }

    /// The header, with this for a checksum.
    pub(crate) fn push_to(&self, into: &mut Header, ports: (u16, u16), checksum: u16) {
        into.push_u16(ports.0);
        into.push_u16(ports.1);
        into.push_u32(self.seq.0);
        into.push_u32(self.ack.0);
        let words = u8::try_from(self.header_len() / 4).unwrap_or(5);
        into.push(&[words << 4, self.flags.0]);
        into.push_u16(self.window);
        into.push_u16(checksum);
        into.push_u16(self.urgent);
        self.options.push_to(into);
    }
}

/// A segment with what it came with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parsed<'a> {
    pub(crate) source: u16,
    pub(crate) destination: u16,
    pub(crate) segment: Segment,
    pub(crate) payload: &'a [u8],
}

pub(crate) fn parse<'a>(ip: &IpHeader, bytes: &'a [u8], valid: bool) -> Option<Parsed<'a>> {
    let header = usize::from(get_u8(bytes, 12)? >> 4) * 4;
    let payload = bytes.get(header.max(HEADER)..)?;
    if header < HEADER {
        return None;
    }
    if !valid {
        let mut sum = Sum::pseudo(ip.source, ip.destination, TCP, bytes.len());
        sum.add(bytes);
        if sum.finish() != 0 {
            return None;
        }
    }
    let segment = Segment {
        seq: Seq(get_u32(bytes, 4)?),
        ack: Seq(get_u32(bytes, 8)?),
        flags: Flags(get_u8(bytes, 13)? & 0x3f),
        window: get_u16(bytes, 14)?,
        urgent: get_u16(bytes, 18)?,
        options: options(bytes.get(HEADER..header)?),
        length: payload.len(),
        count: 1,
    };
    Some(Parsed {
        source: get_u16(bytes, 0)?,
        destination: get_u16(bytes, 2)?,
        segment,
        payload,
    })
}

/// The options that are known, up to the first that makes no sense.
fn options(mut bytes: &[u8]) -> Options {
    let mut found = Options::default();
    while let Some((&kind, rest)) = bytes.split_first() {
        match kind {
            0 => break,
            1 => bytes = rest,
            _ => {
                let length = usize::from(rest.first().copied().unwrap_or(0));
                let Some((option, rest)) = bytes.split_at_checked(length.max(2)) else {
                    break;
                };
                if length < 2 {
                    break;
                }
                one_option(&mut found, kind, option);
                bytes = rest;
            }
        }
    }
    found
}

fn one_option(found: &mut Options, kind: u8, option: &[u8]) {
    match (kind, option.len()) {
        (2, 4) => found.mss = get_u16(option, 2),
        (3, 3) => found.window_scale = get_u8(option, 2).map(|scale| scale.min(14)),
        (4, 2) => found.sack_permitted = true,
        (5, _) => {
            let blocks = option.get(2..).unwrap_or(&[]).as_chunks::<8>().0;
            for block in blocks {
                let edge = |at| array(block, at).map_or(Seq(0), |b| Seq(u32::from_be_bytes(b)));
                found.push_sack((edge(0), edge(4)));
            }
        }
        (8, 10) => found.timestamps = get_u32(option, 2).zip(get_u32(option, 6)),
        _ => {}
    }
}
