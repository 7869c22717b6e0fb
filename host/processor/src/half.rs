//! Lower halves of vector registers, written at once: a processor waits where a read has more bytes than the last write
//! to them, until that has come to its cache, and with it all that was before.
#![expect(unsafe_code, reason = "moves between general and vector registers")]

use std::arch::x86_64::{
    __m128i, _mm_castpd_si128, _mm_castps_si128, _mm_castsi128_pd, _mm_castsi128_ps,
    _mm_cvtsi64_si128, _mm_move_sd, _mm_move_ss,
};
use std::mem::transmute;

/// Bytes of a half.
const BYTES: usize = 16;

/// A number, and behind it nothing.
#[inline(always)]
#[must_use]
pub fn of_number(number: u64) -> [u8; BYTES] {
    // SAFETY: SSE2 is on every x86-64 processor.
    bytes(unsafe { alone(number) })
}

/// A number of 4 or 8 bytes, and behind it what `rest` has there.
#[inline(always)]
#[must_use]
pub fn with_number<const COUNT: usize>(rest: [u8; BYTES], number: u64) -> [u8; BYTES] {
    const { assert!(COUNT == 4 || COUNT == 8) };
    // SAFETY: both are 16 bytes, of any value.
    let rest = unsafe { transmute::<[u8; BYTES], __m128i>(rest) };
    // SAFETY: SSE2 is on every x86-64 processor.
    bytes(unsafe { merged::<COUNT>(rest, number) })
}

#[inline]
#[target_feature(enable = "sse2")]
fn alone(number: u64) -> __m128i {
    _mm_cvtsi64_si128(number as i64)
}

/// By moves, none of which calculates.
#[inline]
#[target_feature(enable = "sse2")]
fn merged<const COUNT: usize>(rest: __m128i, number: u64) -> __m128i {
    let number = alone(number);
    if COUNT == 4 {
        let (rest, number) = (_mm_castsi128_ps(rest), _mm_castsi128_ps(number));
        _mm_castps_si128(_mm_move_ss(rest, number))
    } else {
        let (rest, number) = (_mm_castsi128_pd(rest), _mm_castsi128_pd(number));
        _mm_castpd_si128(_mm_move_sd(rest, number))
    }
}

#[inline(always)]
const fn bytes(half: __m128i) -> [u8; BYTES] {
    // SAFETY: both are 16 bytes, of any value.
    unsafe { transmute(half) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_nothing_or_the_rest_behind_it() {
        let rest = u128::from_le_bytes([0x11; BYTES]);
        let whole = 0x8899_aabb_ccdd_eeff;
        assert_eq!(u128::from_le_bytes(of_number(whole)), u128::from(whole));
        let with_eight = u128::from_le_bytes(with_number::<8>(rest.to_le_bytes(), whole));
        assert_eq!(with_eight, rest >> 64 << 64 | u128::from(whole));
        let with_four = u128::from_le_bytes(with_number::<4>(rest.to_le_bytes(), whole));
        assert_eq!(with_four, rest >> 32 << 32 | 0xccdd_eeff);
    }
}
