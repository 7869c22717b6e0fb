//! The Internet checksum (RFC 1071).

use core::net::IpAddr;

/// A sum of 16-bit words that goes on over several pieces, each of even length but the last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    total: u64,
    /// The bytes so far were odd in number: the next one is a low byte.
    odd: bool,
}

impl Sum {
    /// That of the pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1).
    pub(crate) fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Self {
        let mut sum = Self::default();
        for address in [source, destination] {
            match address {
                IpAddr::V4(v4) => sum.add(&v4.octets()),
                IpAddr::V6(v6) => sum.add(&v6.octets()),
            }
        }
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        sum.add(&length.to_be_bytes());
        sum.add(&[0, protocol]);
        sum
    }

    /// Goes on over these bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let piece = sum_of(bytes);
        let piece = if self.odd { piece.swap_bytes() } else { piece };
        self.total = self.total.saturating_add(u64::from(piece));
        self.odd ^= bytes.len() % 2 == 1;
    }

    /// The sum so far, folded to 16 bits: what a device that completes a checksum starts from.
    pub(crate) fn partial(self) -> u16 {
        fold(self.total)
    }

    /// The checksum.
    pub(crate) fn finish(self) -> u16 {
        !self.partial()
    }
}

/// The checksum of some bytes.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    !sum_of(bytes)
}

/// Sums words in whatever order of bytes is the machine's, eight bytes at a time.
fn sum_of(bytes: &[u8]) -> u16 {
    let mut total: u64 = 0;
    let (chunks, rest) = bytes.as_chunks::<8>();
    let (blocks, tail) = chunks.as_chunks::<4>();
    for [a, b, c, d] in blocks {
        total += halves(*a) + halves(*b) + halves(*c) + halves(*d);
    }
    for chunk in tail {
        total += halves(*chunk);
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    total += halves(last);
    u16::from_be(fold(total))
}

/// Both halves of a word added, so that many of them fit a sum.
fn halves(bytes: [u8; 8]) -> u64 {
    let word = u64::from_ne_bytes(bytes);
    (word & 0xffff_ffff) + (word >> 32)
}

fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    u16::try_from(total).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slow(bytes: &[u8]) -> u16 {
        let mut total = 0_u64;
        for pair in bytes.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            total += u64::from(u16::from_be_bytes([pair[0], low]));
        }
        !fold(total)
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&bytes), !0xddf2);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces(bytes: Vec<u8>, cut: u8) {
            prop_assert_eq!(checksum(&bytes), slow(&bytes));
            let (one, other) = bytes.split_at(usize::from(cut).min(bytes.len()));
            let mut sum = Sum::default();
            sum.add(one);
            sum.add(other);
            prop_assert_eq!(sum.finish(), slow(&bytes));
        }
    }

    use std::vec::Vec;
}
