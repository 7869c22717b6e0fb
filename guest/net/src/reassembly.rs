//! Packets that come in fragments (RFC 791, 3.2; RFC 8200, 4.5). Those that overlap are refused
//! whole (RFC 5722); what may wait is bounded in number, bytes and time.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::time::Nanos;
use crate::wire::ip::{Fragment, IpHeader};

/// Which packet a fragment is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    id: u32,
}

impl Id {
    pub(crate) const fn new(header: &IpHeader, id: u32) -> Self {
        Self {
            source: header.source,
            destination: header.destination,
            protocol: header.protocol,
            id,
        }
    }
}

#[derive(Debug)]
struct Partial {
    id: Id,
    until: Nanos,
    bytes: Vec<u8>,
    /// What is there, in order and apart.
    pieces: Vec<(usize, usize)>,
    total: Option<usize>,
    refused: bool,
}

/// Packets of which something is missing.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    list: Vec<Partial>,
    bytes: usize,
}

const MOST: usize = 64;
const MOST_BYTES: usize = 2 << 20;
const MOST_PIECES: usize = 128;
const LARGEST: usize = 65_535;
const PATIENCE: Nanos = Nanos::from_secs(30);

impl Reassembly {
    /// Takes a fragment; returns the payload if that was the last.
    pub(crate) fn insert(
        &mut self,
        id: Id,
        fragment: Fragment,
        data: &[u8],
        now: Nanos,
    ) -> Option<Vec<u8>> {
        let end = fragment.offset.checked_add(data.len())?;
        if end > LARGEST || data.is_empty() || fragment.more && !data.len().is_multiple_of(8) {
            return None;
        }
        let at = self.position(id, now);
        let before = self.list.get(at)?.bytes.len();
        let partial = self.list.get_mut(at)?;
        partial.insert(fragment, end, data);
        self.bytes = self.bytes + partial.bytes.len() - before;
        if partial.is_complete() {
            let partial = self.list.remove(at);
            self.bytes = self.bytes.saturating_sub(partial.bytes.len());
            return Some(partial.bytes);
        }
        while self.bytes > MOST_BYTES && !self.list.is_empty() {
            self.remove_oldest();
        }
        None
    }

    fn position(&mut self, id: Id, now: Nanos) -> usize {
        if let Some(at) = self.list.iter().position(|partial| partial.id == id) {
            return at;
        }
        if self.list.len() >= MOST {
            self.remove_oldest();
        }
        self.list.push(Partial {
            id,
            until: now + PATIENCE,
            bytes: Vec::new(),
            pieces: Vec::new(),
            total: None,
            refused: false,
        });
        self.list.len() - 1
    }

    /// They stand in the order in which they began.
    fn remove_oldest(&mut self) {
        let old = self.list.remove(0);
        self.bytes = self.bytes.saturating_sub(old.bytes.len());
    }

    pub(crate) fn expire(&mut self, now: Nanos) {
        while self
            .list
            .first()
            .is_some_and(|partial| partial.until <= now)
        {
            self.remove_oldest();
        }
    }

    pub(crate) fn deadline(&self) -> Nanos {
        self.list
            .first()
            .map_or(Nanos::MAX, |partial| partial.until)
    }
}

impl Partial {
    fn insert(&mut self, fragment: Fragment, end: usize, data: &[u8]) {
        let start = fragment.offset;
        if self.refused || self.pieces.contains(&(start, end)) {
            return;
        }
        let overlaps = self.pieces.iter().any(|(s, e)| *s < end && start < *e);
        let is_beyond = self
            .total
            .is_some_and(|total| end > total || !fragment.more && end != total);
        let is_short = !fragment.more && self.pieces.iter().any(|(_, e)| *e > end);
        if overlaps || is_beyond || is_short || self.pieces.len() >= MOST_PIECES {
            self.refused = true;
            self.bytes = Vec::new();
            return;
        }
        if !fragment.more {
            self.total = Some(end);
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        crate::bytes::put(&mut self.bytes, start, data);
        let at = self.pieces.partition_point(|(s, _)| *s < start);
        self.pieces.insert(at, (start, end));
    }

    fn is_complete(&self) -> bool {
        let covered: usize = self.pieces.iter().map(|(start, end)| end - start).sum();
        !self.refused && self.total == Some(covered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ip::UDP;
    use proptest::prelude::*;

    fn id(id: u32) -> Id {
        let address = "192.0.2.1".parse().unwrap();
        Id {
            source: address,
            destination: address,
            protocol: UDP,
            id,
        }
    }

    proptest! {
        #[test]
        fn fragments_in_any_order_make_the_packet(length in 1_usize..4_000, order: u64) {
            let data: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut pieces: Vec<(usize, &[u8])> = data.chunks(512).enumerate().collect();
            let count = pieces.len();
            pieces.sort_by_key(|(at, _)| order.rotate_left(*at as u32 * 7));
            let mut reassembly = Reassembly::default();
            let mut whole = None;
            for (at, piece) in pieces {
                let fragment = Fragment { id: 0, offset: at * 512, more: at + 1 < count };
                prop_assert!(whole.is_none());
                whole = reassembly.insert(id(1), fragment, piece, Nanos::ZERO);
            }
            prop_assert_eq!(whole, Some(data));
            prop_assert_eq!(reassembly.bytes, 0);
        }

        #[test]
        fn memory_is_bounded(pieces: Vec<(u8, u16, bool, u16)>) {
            let mut reassembly = Reassembly::default();
            for (number, offset, more, length) in pieces {
                let fragment = Fragment { id: 0, offset: usize::from(offset & 0xfff8), more };
                reassembly.insert(id(u32::from(number)), fragment, &std::vec![0; usize::from(length)], Nanos::ZERO);
                let held: usize = reassembly.list.iter().map(|partial| partial.bytes.len()).sum();
                prop_assert_eq!(held, reassembly.bytes);
                prop_assert!(held <= MOST_BYTES && reassembly.list.len() <= MOST);
            }
        }
    }

    #[test]
    fn what_overlaps_is_refused() {
        let mut reassembly = Reassembly::default();
        let piece = |offset, more| Fragment {
            id: 0,
            offset,
            more,
        };
        assert_eq!(
            reassembly.insert(id(1), piece(0, true), &[1; 16], Nanos::ZERO),
            None
        );
        assert_eq!(
            reassembly.insert(id(1), piece(8, true), &[2; 16], Nanos::ZERO),
            None
        );
        assert_eq!(
            reassembly.insert(id(1), piece(16, false), &[3; 8], Nanos::ZERO),
            None
        );
        reassembly.expire(PATIENCE);
        assert_eq!(reassembly.deadline(), Nanos::MAX);
    }
}
