//! Numbers of x87 with all 64 bits of precision, and arithmetic with them by integers, rounded to nearest.
//!
//! Only usual ones: normal numbers and zeros, whose results are such, too. What they do is what IEEE 754 says, and
//! nothing but `PE` can be raised. Formats: SDM vol. 1, 4.2 and 4.8; `C1`: SDM vol. 1, 8.1.3.3.

use std::cmp::Ordering;
use std::hint::select_unpredictable;

const SIGN: u16 = 1 << 15;
/// What is added to an exponent, and the largest of a number that is finite.
const BIAS: i32 = 0x3fff;
const LARGEST: i32 = 0x7ffe;
/// The bit before the point, which all normal numbers have set.
const INTEGER: u64 = 1 << 63;
/// What is half of the last place, among the bits behind it.
const HALF: u64 = 1 << 63;

/// A normal number, or zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    /// Sign and exponent as a register has them; the exponent of zero is zero.
    head: u16,
    mantissa: u64,
}

/// A result, and what became of it when it was rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rounded<T> {
    pub(crate) value: T,
    /// What lay behind its last place: it is not exact (`PE`) unless this is zero.
    pub(crate) behind: u64,
    /// It is larger than the exact one, without signs (`C1`).
    pub(crate) is_up: bool,
}

/// How a number is rounded that has no place for its fraction, as in the control word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    Nearest,
    Down,
    Up,
    ToZero,
}

impl<T> Rounded<T> {
    const fn exact(value: T) -> Self {
        Self {
            value,
            behind: 0,
            is_up: false,
        }
    }

    #[inline(always)]
    pub(crate) fn map<U>(self, map: impl FnOnce(T) -> U) -> Rounded<U> {
        Rounded {
            value: map(self.value),
            behind: self.behind,
            is_up: self.is_up,
        }
    }
}

/// Whether what lies behind the last place makes it one more: it is more than half, or half and the last is odd.
#[inline(always)]
const fn rounds_up(last: u64, behind: u64) -> bool {
    behind | last & 1 > HALF
}

/// Whether an exponent is neither zero nor the largest there is.
#[inline(always)]
const fn is_between(head: u16) -> bool {
    // With the largest the sign would change.
    head.wrapping_add(1) & !SIGN & !1 != 0
}

impl Number {
    /// From a register: its lower 64 bits, and the rest.
    #[inline(always)]
    pub(crate) fn from_register(mantissa: u64, head: u16) -> Option<Self> {
        let is_zero = head & !SIGN == 0 && mantissa == 0;
        let number = Self { head, mantissa };
        (is_zero || number.is_normal()).then_some(number)
    }

    /// From two registers with normal numbers.
    #[inline(always)]
    pub(crate) const fn normals(a: (u64, u16), b: (u64, u16)) -> Option<[Self; 2]> {
        if !is_between(a.1) || !is_between(b.1) || a.0 & b.0 & INTEGER == 0 {
            return None;
        }
        let first = Self {
            head: a.1,
            mantissa: a.0,
        };
        let second = Self {
            head: b.1,
            mantissa: b.0,
        };
        Some([first, second])
    }

    /// Whether it is not zero.
    #[inline(always)]
    const fn is_normal(self) -> bool {
        is_between(self.head) && self.mantissa & INTEGER != 0
    }

    /// Nothing or the sign's bit.
    const fn sign(self) -> u16 {
        self.head & SIGN
    }

    const fn exponent(self) -> i32 {
        (self.head & !SIGN) as i32
    }

    /// As a register has it.
    #[inline(always)]
    pub(crate) const fn to_register(self) -> (u64, u16) {
        (self.mantissa, self.head)
    }

    /// From single precision.
    #[inline(always)]
    pub(crate) fn from_single(bits: u32) -> Option<Self> {
        let exponent = bits as i32 >> 23 & 0xff;
        Self::from_parts(bits >> 31 != 0, exponent, 0xff, u64::from(bits) << 40)
    }

    /// From double precision.
    #[inline(always)]
    pub(crate) fn from_double(bits: u64) -> Option<Self> {
        let exponent = (bits >> 52) as i32 & 0x7ff;
        Self::from_parts(bits >> 63 != 0, exponent, 0x7ff, bits << 11)
    }

    /// From an exponent of a narrower format, and a fraction below the bit that is implied.
    #[inline(always)]
    fn from_parts(is_negative: bool, exponent: i32, infinite: i32, fraction: u64) -> Option<Self> {
        let sign = if is_negative { SIGN } else { 0 };
        let is_zero = exponent == 0 && fraction & !INTEGER == 0;
        if is_zero {
            return Some(Self::zero(sign));
        }
        (exponent != 0 && exponent != infinite).then_some(Self {
            head: sign | (exponent - infinite / 2 + BIAS) as u16,
            mantissa: fraction | INTEGER,
        })
    }

    /// From a whole number.
    #[inline(always)]
    pub(crate) const fn from_integer(number: i64) -> Self {
        let sign = if number < 0 { SIGN } else { 0 };
        let magnitude = number.unsigned_abs();
        if magnitude == 0 {
            return Self::zero(0);
        }
        let zeros = magnitude.leading_zeros();
        Self {
            head: sign | (BIAS + 63 - zeros as i32) as u16,
            mantissa: magnitude << zeros,
        }
    }

    const fn zero(sign: u16) -> Self {
        Self {
            head: sign,
            mantissa: 0,
        }
    }

    const fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    #[inline(always)]
    pub(crate) const fn negated(self) -> Self {
        Self {
            head: self.head ^ SIGN,
            ..self
        }
    }

    /// A result from 128 bits of which the first is set. `None`: there is no such usual number.
    #[inline(always)]
    fn rounded(sign: u16, exponent: i32, high: u64, low: u64) -> Option<Rounded<Self>> {
        // What is too small or too large is left alone.
        let is_usual = (exponent as u32).wrapping_sub(1) < LARGEST as u32;
        if !is_usual {
            return None;
        }
        Self::with_head(exponent as u16 | sign, high, low)
    }

    /// The same whose sign and exponent are known, and usual.
    #[inline(always)]
    fn with_head(head: u16, high: u64, low: u64) -> Option<Rounded<Self>> {
        let is_up = rounds_up(high, low);
        let mantissa = high.wrapping_add(u64::from(is_up));
        // What becomes a place longer, once in as many times as there are numbers, is left alone, too.
        (mantissa & INTEGER != 0).then_some(Rounded {
            value: Self { head, mantissa },
            behind: low,
            is_up,
        })
    }

    #[inline(always)]
    pub(crate) fn times(self, other: Self) -> Option<Rounded<Self>> {
        if self.is_zero() || other.is_zero() {
            let sign = self.sign() ^ other.sign();
            return Some(Rounded::exact(Self::zero(sign)));
        }
        self.normal_times(other)
    }

    /// Of normal numbers.
    #[inline(always)]
    pub(crate) fn normal_times(self, other: Self) -> Option<Rounded<Self>> {
        let product = u128::from(self.mantissa) * u128::from(other.mantissa);
        let is_wide = product >> 127 != 0;
        let product = product << u32::from(!is_wide);
        let summed = self.head.wrapping_add(other.head);
        let head = summed.wrapping_sub(BIAS as u16 - u16::from(is_wide));
        // Signs add up as they should, unless a carry or a borrow of the exponents comes in.
        let is_sign_right = (head ^ self.head ^ other.head) & SIGN == 0;
        if !is_sign_right || !is_between(head) {
            return None;
        }
        Self::with_head(head, (product >> 64) as u64, product as u64)
    }

    /// One of two, without a jump that depends on which: which of two numbers is larger, nobody can predict, as with
    /// carries and with bits that make a result longer.
    #[inline(always)]
    fn either(condition: bool, a: Self, b: Self) -> Self {
        Self {
            head: select_unpredictable(condition, a.head, b.head),
            mantissa: select_unpredictable(condition, a.mantissa, b.mantissa),
        }
    }

    #[inline(always)]
    pub(crate) fn plus(self, other: Self) -> Option<Rounded<Self>> {
        if self.is_zero() || other.is_zero() {
            // The sign of zero depends on both.
            let only = if self.is_zero() { other } else { self };
            return (!only.is_zero()).then_some(Rounded::exact(only));
        }
        self.normal_plus(other)
    }

    /// Of normal numbers.
    #[inline(always)]
    pub(crate) fn normal_plus(self, other: Self) -> Option<Rounded<Self>> {
        let distance = self.exponent() - other.exponent();
        let is_less = distance < 0;
        let large = Self::either(is_less, other, self);
        let small = Self::either(is_less, self, other);
        // The smaller one at the larger one's point, and what lies behind its last place.
        let (high, low) = match distance.unsigned_abs() {
            distance @ 0..64 => (
                small.mantissa >> distance,
                small.mantissa << 1 << (63 - distance),
            ),
            64 => (0, small.mantissa),
            65 => (0, small.mantissa >> 1 | small.mantissa & 1),
            // Whatever it is, it is less than a quarter.
            _ => (0, 1),
        };
        if (self.head ^ other.head) & SIGN == 0 {
            let (sum, carries) = large.mantissa.overflowing_add(high);
            // By nothing or by one place to the right, with what carries before it; the last bit is not lost.
            let carry = u64::from(carries);
            let both = (u128::from(sum) << 64 | u128::from(low)) >> carry;
            let head = large.head + carry as u16;
            if !is_between(head) {
                return None;
            }
            let (sum, behind) = ((both >> 64) as u64 | carry << 63, both as u64 | low & carry);
            Self::with_head(head, sum, behind)
        } else {
            // Where exponents are the same, the other may be larger, and there is nothing behind.
            let (behind, borrows) = 0_u64.overflowing_sub(low);
            let difference = large.mantissa.wrapping_sub(high);
            let is_other = large.mantissa < high;
            let difference = select_unpredictable(
                is_other,
                difference.wrapping_neg(),
                difference.wrapping_sub(u64::from(borrows)),
            );
            let sign = u16::from(is_other) << 15;
            let large = Self {
                head: large.head ^ sign,
                ..large
            };
            large.shifted_up(difference, behind)
        }
    }

    /// A difference, with its first bit where it belongs.
    #[inline(always)]
    fn shifted_up(self, difference: u64, behind: u64) -> Option<Rounded<Self>> {
        // At most one place is lost unless the numbers were next to each other, and then there is nothing behind.
        let zeros = difference.leading_zeros();
        if zeros == 64 {
            let is_zero = behind == 0;
            return if is_zero {
                Some(Rounded::exact(Self::zero(0)))
            } else {
                Self::rounded(self.sign(), self.exponent() - 64, behind, 0)
            };
        }
        let high = difference << zeros | behind >> 1 >> (63 - zeros);
        Self::rounded(
            self.sign(),
            self.exponent() - zeros as i32,
            high,
            behind << zeros,
        )
    }

    #[inline(always)]
    pub(crate) fn over(self, other: Self) -> Option<Rounded<Self>> {
        if other.is_zero() {
            return None;
        }
        if self.is_zero() {
            let sign = self.sign() ^ other.sign();
            return Some(Rounded::exact(Self::zero(sign)));
        }
        self.normal_over(other)
    }

    /// Of normal numbers.
    #[inline(always)]
    pub(crate) fn normal_over(self, other: Self) -> Option<Rounded<Self>> {
        // The first bit of the quotient is set in either case.
        let is_less = self.mantissa < other.mantissa;
        let dividend = u128::from(self.mantissa) << (63 + u32::from(is_less));
        let divisor = u128::from(other.mantissa);
        let quotient = dividend / divisor;
        let rest = dividend - quotient * divisor;
        let behind = match (2 * rest).cmp(&divisor) {
            _ if rest == 0 => 0,
            Ordering::Less => 1,
            Ordering::Equal => HALF,
            Ordering::Greater => HALF | 1,
        };
        let exponent = self.exponent() - other.exponent() + BIAS - i32::from(is_less);
        let sign = self.sign() ^ other.sign();
        Self::rounded(sign, exponent, quotient as u64, behind)
    }

    #[inline(always)]
    pub(crate) fn compare(self, other: Self) -> Ordering {
        if self.is_zero() && other.is_zero() {
            return Ordering::Equal;
        }
        if self.sign() != other.sign() {
            return other.sign().cmp(&self.sign());
        }
        // Signs are the same.
        let magnitudes = (self.head, self.mantissa).cmp(&(other.head, other.mantissa));
        if self.sign() == 0 {
            magnitudes
        } else {
            magnitudes.reverse()
        }
    }

    /// In single precision; `None`: it is not usual there.
    #[inline(always)]
    pub(crate) fn to_single(self) -> Option<Rounded<u32>> {
        let narrow = self.narrowed::<24>(0xff)?;
        let sign = u32::from(self.sign()) << 16;
        Some(narrow.map(|value| value as u32 | sign))
    }

    /// In double precision, likewise.
    #[inline(always)]
    pub(crate) fn to_double(self) -> Option<Rounded<u64>> {
        let narrow = self.narrowed::<53>(0x7ff)?;
        Some(narrow.map(|value| value | u64::from(self.sign()) << 48))
    }

    /// Exponent and fraction with so many bits of precision.
    #[inline(always)]
    fn narrowed<const PRECISION: u32>(self, infinite: i32) -> Option<Rounded<u64>> {
        if self.is_zero() {
            return Some(Rounded::exact(0));
        }
        let exponent = self.exponent() - BIAS + infinite / 2;
        let (kept, behind) = (
            self.mantissa >> (64 - PRECISION),
            self.mantissa << PRECISION,
        );
        let is_up = rounds_up(kept, behind);
        // The bit before the point, and a carry into it, count for the exponent.
        let whole = ((exponent as u64) << (PRECISION - 1)).wrapping_add(kept + u64::from(is_up));
        let value = whole.wrapping_sub(1 << (PRECISION - 1));
        let is_usual =
            (1..infinite).contains(&exponent) && (value >> (PRECISION - 1)) < infinite as u64;
        is_usual.then_some(Rounded {
            value,
            behind,
            is_up,
        })
    }

    /// As a whole number; `None`: it does not fit into 64 bits.
    #[inline(always)]
    pub(crate) fn to_integer(self, rounding: Rounding) -> Option<Rounded<i64>> {
        // Bits behind the point.
        let fraction = 63 - (self.exponent() - BIAS);
        let (kept, behind) = match fraction {
            _ if self.is_zero() => (0, 0),
            ..1 => return None,
            1..64 => (self.mantissa >> fraction, self.mantissa << (64 - fraction)),
            64 => (0, self.mantissa),
            _ => (0, 1),
        };
        let is_negative = self.sign() != 0;
        let is_up = match rounding {
            Rounding::Nearest => rounds_up(kept, behind),
            Rounding::Down => is_negative && behind != 0,
            Rounding::Up => !is_negative && behind != 0,
            Rounding::ToZero => false,
        };
        let magnitude = i64::try_from(kept + u64::from(is_up)).ok()?;
        Some(Rounded {
            value: if is_negative { -magnitude } else { magnitude },
            behind,
            is_up,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: f64) -> Number {
        Number::from_double(value.to_bits()).unwrap()
    }

    fn exact(value: f64) -> Option<Rounded<Number>> {
        Some(Rounded::exact(number(value)))
    }

    #[test]
    fn exact_results_are_those_of_double_precision() {
        assert_eq!(number(1.5).plus(number(2.25)), exact(3.75));
        assert_eq!(number(1.5).plus(number(-1.5)), exact(0.0));
        assert_eq!(number(1.25).plus(number(-1.5)), exact(-0.25));
        assert_eq!(number(-1.25).plus(number(1.5)), exact(0.25));
        assert_eq!(number(-3.0).times(number(0.5)), exact(-1.5));
        assert_eq!(number(-0.0).times(number(7.0)), exact(-0.0));
        assert_eq!(number(21.0).over(number(-3.0)), exact(-7.0));
        assert_eq!(number(1.0).over(number(0.0)), None);
        assert_eq!(number(0.0).plus(number(-0.0)), None);
    }

    #[test]
    fn what_does_not_fit_is_rounded_to_nearest_or_even() {
        let tiny = number(f64::EPSILON / 4096.0);
        let one = number(1.0);
        let tie = one.plus(tiny).unwrap();
        assert_eq!((tie.value, tie.behind, tie.is_up), (one, HALF, false));
        let more = one
            .plus(tiny)
            .and_then(|_| number(1.5).times(tiny))
            .unwrap();
        let up = one.plus(more.value).unwrap();
        assert_eq!((up.value.mantissa, up.is_up), (INTEGER | 1, true));
        let third = one.over(number(3.0)).unwrap();
        assert_eq!(third.value.mantissa, 0xaaaa_aaaa_aaaa_aaab);
        assert!(third.behind != 0 && third.is_up);
    }

    #[test]
    fn what_is_not_usual_is_nobodys() {
        for bits in [f64::NAN, f64::INFINITY, f64::MIN_POSITIVE / 2.0] {
            assert_eq!(Number::from_double(bits.to_bits()), None);
        }
        let large = Number::from_register(u64::MAX, 0x7ffe).unwrap();
        assert_eq!(large.plus(large), None);
        assert_eq!(large.to_double(), None);
        let small = Number::from_register(INTEGER, 1).unwrap();
        assert_eq!(small.times(small), None);
        assert_eq!(large.times(large.negated()), None);
        // The last place carries to before the first.
        let below = Number::from_register(u64::MAX, 0x3ffe).unwrap();
        assert_eq!(below.plus(number(f64::EPSILON / 8192.0)), None);
        // Without the bit before the point.
        assert_eq!(Number::from_register(1, 5), None);
    }

    #[test]
    fn narrower_formats_and_whole_numbers_are_rounded() {
        let largest = number(f64::MAX).to_double().unwrap();
        assert_eq!(largest.value, f64::MAX.to_bits());
        assert_eq!(number(f64::MAX).to_single(), None);
        let third = number(1.0 / 3.0).to_single().unwrap();
        assert_eq!(third.value, (1.0_f32 / 3.0).to_bits());
        for (rounding, value) in [
            (Rounding::Nearest, -2),
            (Rounding::Down, -3),
            (Rounding::Up, -2),
            (Rounding::ToZero, -2),
        ] {
            let rounded = number(-2.5).to_integer(rounding).unwrap();
            assert_eq!((rounded.value, rounded.behind), (value, HALF));
        }
        assert_eq!(Number::from_integer(i64::MIN), number(-(2.0_f64.powi(63))));
        assert_eq!(
            Number::from_integer(i64::MIN).to_integer(Rounding::Nearest),
            None
        );
    }

    #[test]
    fn zeros_are_equal_and_signs_count() {
        assert_eq!(number(0.0).compare(number(-0.0)), Ordering::Equal);
        assert_eq!(number(-2.0).compare(number(-1.0)), Ordering::Less);
        assert_eq!(number(0.0).compare(number(-1.0)), Ordering::Greater);
        assert_eq!(number(2.0).compare(number(0.0)), Ordering::Greater);
    }
}
