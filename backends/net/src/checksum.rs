//! The Internet checksum (RFC 1071).

use std::net::IpAddr;

/// A sum that is being made of pieces, all but the last of even length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes.
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut sum = words.iter().fold(self.0, |sum, word| {
            sum.wrapping_add(u64::from(u32::from_be_bytes(*word)))
        });
        for (number, byte) in rest.iter().enumerate() {
            let shift = if number % 2 == 0 { 8 } else { 0 };
            sum = sum.wrapping_add(u64::from(*byte) << shift);
        }
        // Never near an overflow before the next piece.
        Self((sum & 0xffff_ffff) + (sum >> 32))
    }

    /// Adds a sum.
    #[must_use]
    pub const fn add_word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// The sum so far, not inverted.
    #[must_use]
    pub const fn folded(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    /// What belongs into a header.
    #[must_use]
    pub const fn finish(self) -> u16 {
        !self.folded()
    }
}

/// The pseudo header's sum (RFC 9293, 3.1; RFC 8200, 8.1).
#[must_use]
pub fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Sum {
    let of = |sum: Sum, address: IpAddr| match address {
        IpAddr::V4(address) => sum.with(&address.octets()),
        IpAddr::V6(address) => sum.with(&address.octets()),
    };
    let sum = of(of(Sum::default(), source), destination);
    sum.with(&(length as u32).to_be_bytes())
        .add_word(u16::from(protocol))
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]
mod tests {
    use super::*;

    /// The example of RFC 1071, 3.
    #[test]
    fn the_example_of_the_standard() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().with(&bytes).folded(), 0xddf2);
        let pieces = Sum::default().with(&bytes[..2]).with(&bytes[2..]);
        assert_eq!(pieces.folded(), 0xddf2);
    }

    #[test]
    fn an_odd_end_counts_as_if_followed_by_zero() {
        let sum = |bytes: &[u8]| Sum::default().with(bytes).folded();
        assert_eq!(sum(&[1, 2, 3]), sum(&[1, 2, 3, 0]));
        assert_eq!(sum(&[1, 2, 3, 4, 5]), sum(&[1, 2, 3, 4, 5, 0]));
    }
}
