//! Single numbers, computed by the language's own operators where nobody can tell the difference.
//!
//! As in `usual.rs`, but without a stub: sums, differences, products, quotients and roots of ordinary numbers, rounded
//! to nearest, are what IEEE 754 says, whoever works them out. For engines that have the operands at hand;
//! what has no result here is for [`execute`](crate::execute()).

use std::hint::cold_path;

use x86_semantics::Flags;

use crate::registers::Vectors;
use crate::usual::{is_far, is_finite, is_full, is_normal};

/// `CF` and `ZF`.
const CARRY: u64 = 1;
const ZERO: u64 = 1 << 6;

/// What is computed from two numbers.
pub trait Scalar {
    /// Whether the first operand matters.
    const USES_FIRST: bool = true;

    /// Whether a result of zero is exact, by the operands without their signs.
    fn is_zero_exact(a: u64, b: u64) -> bool;
    /// Of single precision.
    fn single(a: f32, b: f32) -> f32;
    /// Of double precision.
    fn double(a: f64, b: f64) -> f64;
}

macro_rules! scalar {
    ($($(#[$doc:meta])* $name:ident: |$a:pat_param, $b:pat_param| $result:expr, |$c:pat_param, $d:pat_param| $zero:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub struct $name;

            impl Scalar for $name {
                #[inline(always)]
                fn is_zero_exact($c: u64, $d: u64) -> bool {
                    $zero
                }

                #[inline(always)]
                fn single($a: f32, $b: f32) -> f32 {
                    $result
                }

                #[inline(always)]
                fn double($a: f64, $b: f64) -> f64 {
                    $result
                }
            }
        )*
    };
}

// Sums and differences of numbers that are not denormal are zero only if that is exact.
scalar! {
    /// Sums.
    Add: |a, b| a + b, |_, _| true;
    /// Differences.
    Subtract: |a, b| a - b, |_, _| true;
    /// Products.
    Multiply: |a, b| a * b, |a, b| a == 0 || b == 0;
    /// Quotients.
    Divide: |a, b| a / b, |a, b| a == 0 && b != 0;
}

/// Roots of the second.
#[derive(Debug)]
pub struct Root;

impl Scalar for Root {
    const USES_FIRST: bool = false;

    #[inline(always)]
    fn is_zero_exact(_: u64, b: u64) -> bool {
        b == 0
    }

    #[inline(always)]
    fn single(_: f32, b: f32) -> f32 {
        b.sqrt()
    }

    #[inline(always)]
    fn double(_: f64, b: f64) -> f64 {
        b.sqrt()
    }
}

/// Whether no operand is denormal; most are not zero, either.
#[inline(always)]
fn are_full<O: Scalar, const BYTES: usize>(a: u64, b: u64) -> bool {
    cold_path();
    let is_full = |bits| is_full::<BYTES>(magnitude::<BYTES>(bits));
    is_full(b) && (!O::USES_FIRST || is_full(a))
}

/// Whether a result is zero and nothing else could be.
#[inline(always)]
fn is_exact_zero<O: Scalar, const BYTES: usize>(result: u64, a: u64, b: u64) -> bool {
    cold_path();
    let size = |bits| magnitude::<BYTES>(bits);
    size(result) == 0 && O::is_zero_exact(size(a), size(b))
}

/// The bits of a number of 4 or 8 bytes without its sign.
#[inline(always)]
const fn magnitude<const BYTES: usize>(bits: u64) -> u64 {
    if BYTES == 4 {
        bits & 0x7fff_ffff
    } else {
        bits << 1 >> 1
    }
}

impl Vectors {
    /// The result for two numbers of 4 or 8 bytes as bits, if it raises nothing that was not raised before.
    #[inline(always)]
    #[must_use]
    pub fn scalar<O: Scalar, const BYTES: usize>(&self, a: u64, b: u64) -> Option<u64> {
        const { assert!(BYTES == 4 || BYTES == 8) };
        let are_normal = is_normal::<BYTES>(b) && (!O::USES_FIRST || is_normal::<BYTES>(a));
        if !are_normal && !are_full::<O, BYTES>(a, b) || !self.raises_nothing_new() {
            return None;
        }
        let result = if BYTES == 4 {
            let number = O::single(f32::from_bits(a as u32), f32::from_bits(b as u32));
            u64::from(number.to_bits())
        } else {
            O::double(f64::from_bits(a), f64::from_bits(b)).to_bits()
        };
        let is_plain = is_far::<BYTES>(result) || is_exact_zero::<O, BYTES>(result, a, b);
        is_plain.then_some(result)
    }

    /// The whole number of 4 or 8 bytes that is next to a number on the way to zero, likewise.
    #[inline(always)]
    #[must_use]
    pub fn truncated<const BYTES: usize, const TO: usize>(&self, bits: u64) -> Option<u64> {
        const { assert!(TO == 4 || TO == 8) };
        // Single precision is exact in double precision.
        let number = if BYTES == 4 {
            f64::from(f32::from_bits(bits as u32))
        } else {
            f64::from_bits(bits)
        };
        let limit = if TO == 4 { 2_147_483_648.0 } else { 9.2e18 };
        if !(number.abs() < limit && self.raises_nothing_new()) {
            return None;
        }
        let whole = number as i64 as u64;
        Some(if TO == 4 { whole & 0xffff_ffff } else { whole })
    }

    /// A whole number of 4 or 8 bytes as a number of double precision, likewise.
    #[inline(always)]
    #[must_use]
    pub fn converted<const FROM: usize>(&self, whole: u64) -> Option<u64> {
        const { assert!(FROM == 4 || FROM == 8) };
        if FROM == 4 {
            return Some(f64::from(whole as u32 as i32).to_bits());
        }
        self.raises_nothing_new()
            .then(|| (whole as i64 as f64).to_bits())
    }
}

/// The flags of comparing two numbers of 4 or 8 bytes, if they are such that nothing is raised.
#[inline(always)]
#[must_use]
pub fn compared<const BYTES: usize>(a: u64, b: u64) -> Option<Flags> {
    let is_usual = |bits: u64| {
        let size = magnitude::<BYTES>(bits);
        is_full::<BYTES>(size) && is_finite::<BYTES>(size)
    };
    if !is_usual(a) || !is_usual(b) {
        return None;
    }
    let (is_less, is_equal) = if BYTES == 4 {
        let (a, b) = (f32::from_bits(a as u32), f32::from_bits(b as u32));
        (a < b, a == b)
    } else {
        let (a, b) = (f64::from_bits(a), f64::from_bits(b));
        (a < b, a == b)
    };
    let carry = if is_less { CARRY } else { 0 };
    let zero = if is_equal { ZERO } else { 0 };
    Some(Flags::from_bits(carry | zero))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As after an instruction whose result was rounded.
    fn vectors() -> Vectors {
        let mut vectors = Vectors::default();
        vectors.operands.raised = 1 << 5;
        vectors
    }

    #[test]
    fn ordinary_numbers_have_results() {
        let vectors = vectors();
        let sum = vectors.scalar::<Add, 8>(1.5f64.to_bits(), 0.1f64.to_bits());
        assert_eq!(sum, Some(1.6f64.to_bits()));
        let quotient = vectors.scalar::<Divide, 4>(1f32.to_bits().into(), 3f32.to_bits().into());
        assert_eq!(quotient, Some((1f32 / 3.0).to_bits().into()));
        let root = vectors.scalar::<Root, 8>(f64::NAN.to_bits(), 2f64.to_bits());
        assert_eq!(root, Some(2f64.sqrt().to_bits()));
        let none = vectors.scalar::<Subtract, 8>(2f64.to_bits(), 2f64.to_bits());
        assert_eq!(none, Some(0));
        let none = vectors.scalar::<Multiply, 8>((-0f64).to_bits(), 2f64.to_bits());
        assert_eq!(none, Some(1 << 63));
    }

    #[test]
    fn what_raises_something_has_none() {
        let (nan, tiny, big) = (f64::NAN.to_bits(), 1, f64::MAX.to_bits());
        let (one, small) = (1f64.to_bits(), f64::MIN_POSITIVE.to_bits());
        let all = vectors();
        assert_eq!(all.scalar::<Add, 8>(nan, one), None);
        assert_eq!(all.scalar::<Add, 8>(one, tiny), None);
        assert_eq!(all.scalar::<Add, 8>(big, big), None);
        assert_eq!(all.scalar::<Multiply, 8>(small, small), None);
        assert_eq!(all.scalar::<Divide, 8>(one, 0), None);
        assert_eq!(all.scalar::<Divide, 8>(0, 0), None);
        assert_eq!(all.scalar::<Root, 8>(one, (-1f64).to_bits()), None);
        // The first rounding has to be noted.
        assert_eq!(Vectors::default().scalar::<Add, 8>(one, one), None);
    }

    #[test]
    fn whole_numbers_come_and_go() {
        let vectors = vectors();
        let bits = |number: f64| number.to_bits();
        assert_eq!(vectors.truncated::<8, 8>(bits(-3.9)), Some(-3i64 as u64));
        assert_eq!(vectors.truncated::<8, 4>(bits(-3.9)), Some(0xffff_fffd));
        assert_eq!(vectors.truncated::<8, 4>(bits(3e9)), None);
        assert_eq!(vectors.truncated::<8, 8>(bits(1e19)), None);
        assert_eq!(vectors.truncated::<8, 8>(bits(f64::NAN)), None);
        let half = u64::from(2.5f32.to_bits());
        assert_eq!(vectors.truncated::<4, 4>(half), Some(2));
        assert_eq!(vectors.converted::<4>(0xffff_ffff), Some(bits(-1.0)));
        assert_eq!(
            vectors.converted::<8>(1 << 62),
            Some(bits(4.611_686_018_427_388e18))
        );
    }

    #[test]
    fn comparisons_set_flags() {
        let bits = |number: f64| number.to_bits();
        let flags = |a, b| compared::<8>(bits(a), bits(b)).map(|flags| flags.bits());
        assert_eq!(flags(1.0, 2.0), Some(CARRY));
        assert_eq!(flags(2.0, 1.0), Some(0));
        assert_eq!(flags(0.0, -0.0), Some(ZERO));
        assert_eq!(flags(f64::NAN, 1.0), None);
        assert_eq!(flags(f64::INFINITY, 1.0), None);
    }
}
