//! The arithmetic flags, worked out when they are asked for.

use crate::Size;

const CARRY: u64 = 1 << 0;
const PARITY: u64 = 1 << 2;
const ADJUST: u64 = 1 << 4;
const ZERO: u64 = 1 << 6;
const SIGN: u64 = 1 << 7;
const OVERFLOW: u64 = 1 << 11;

/// Bits of `Flags::carries`.
const OUT: u32 = 63;
const INTO_SIGN: u32 = 62;
const OUT_OF_3: u32 = 3;
/// Where `carries` has what tells the result's low byte from one with the parity that is meant, and
/// whether the sign is the other one.
const PARITY_SHIFT: u32 = 8;
const SIGN_TURNED: u64 = 1;
/// A result that is not zero, has no sign, and whose low byte has even parity.
const SOME: u64 = 1 << 8;

/// `CF`, `PF`, `AF`, `ZF`, `SF` and `OF`.
///
/// Kept as the result of the last operation and the carries of its bits, of which three matter: out
/// of the highest bit, into it, and out of bit 3. The overflow is where the first two differ.
#[derive(Clone, Copy, Debug)]
pub struct Flags {
    /// With its sign in all higher bits.
    result: u64,
    carries: u64,
}

impl Default for Flags {
    /// None is set.
    fn default() -> Self {
        Self::from_bits(0)
    }
}

impl Flags {
    /// All six (`RFLAGS` bits 0, 2, 4, 6, 7 and 11).
    pub const MASK: u64 = CARRY | PARITY | ADJUST | ZERO | SIGN | OVERFLOW;

    /// Of an operation with this result, whose bits carried like this.
    #[inline]
    #[must_use]
    pub const fn of(size: Size, result: u64, carries: u64) -> Self {
        let top = carries << (64 - size.bits()) & (3 << INTO_SIGN);
        Self {
            result: size.signed(result) as u64,
            carries: top | carries & (1 << OUT_OF_3),
        }
    }

    /// Of an operation without carries: `CF`, `OF` and `AF` are clear.
    #[inline]
    #[must_use]
    pub const fn of_logic(size: Size, result: u64) -> Self {
        Self {
            result: size.signed(result) as u64,
            carries: 0,
        }
    }

    /// As they stand in `RFLAGS`.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        let result = if bits & ZERO == 0 { SOME } else { 0 };
        let mut carries = 0;
        if bits & SIGN != 0 {
            carries |= SIGN_TURNED;
        }
        if bits & PARITY == 0 {
            carries |= 1 << PARITY_SHIFT;
        }
        if bits & ADJUST != 0 {
            carries |= 1 << OUT_OF_3;
        }
        Self { result, carries }.with_carry_and_overflow(bits & CARRY != 0, bits & OVERFLOW != 0)
    }

    /// As they stand in `RFLAGS`; all other bits are zero.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.carry() as u64
            | (self.parity() as u64) << 2
            | (self.adjust() as u64) << 4
            | (self.zero() as u64) << 6
            | (self.sign() as u64) << 7
            | (self.overflow() as u64) << 11
    }

    /// `CF`.
    #[inline]
    #[must_use]
    pub const fn carry(self) -> bool {
        self.carries >> OUT != 0
    }

    /// `PF`: the result's low byte has an even number of ones.
    #[inline]
    #[must_use]
    pub const fn parity(self) -> bool {
        ((self.result ^ self.carries >> PARITY_SHIFT) as u8).count_ones() & 1 == 0
    }

    /// `AF`.
    #[inline]
    #[must_use]
    pub const fn adjust(self) -> bool {
        self.carries >> OUT_OF_3 & 1 != 0
    }

    /// `ZF`.
    #[inline]
    #[must_use]
    pub const fn zero(self) -> bool {
        self.result == 0
    }

    /// `SF`.
    #[inline]
    #[must_use]
    pub const fn sign(self) -> bool {
        (self.result >> 63 ^ self.carries & SIGN_TURNED) != 0
    }

    /// `OF`.
    #[inline]
    #[must_use]
    pub const fn overflow(self) -> bool {
        (self.carries ^ self.carries << 1) >> OUT != 0
    }

    /// With another `CF`; the rest stays.
    #[inline]
    #[must_use]
    pub const fn with_carry(self, carry: bool) -> Self {
        self.with_carry_and_overflow(carry, self.overflow())
    }

    /// With another `CF` and `OF`; the rest stays.
    #[inline]
    #[must_use]
    pub const fn with_carry_and_overflow(self, carry: bool, overflow: bool) -> Self {
        let top = (carry as u64) << OUT | ((carry != overflow) as u64) << INTO_SIGN;
        Self {
            result: self.result,
            carries: self.carries & !(3 << INTO_SIGN) | top,
        }
    }

    /// With another `OF`; the rest stays.
    #[inline]
    #[must_use]
    pub const fn with_overflow(self, overflow: bool) -> Self {
        self.with_carry_and_overflow(self.carry(), overflow)
    }

    /// With another `AF`; the rest stays.
    #[inline]
    #[must_use]
    pub const fn with_adjust(self, adjust: bool) -> Self {
        Self {
            result: self.result,
            carries: self.carries & !(1 << OUT_OF_3) | (adjust as u64) << OUT_OF_3,
        }
    }

    /// With another `ZF`; the rest stays.
    #[inline]
    #[must_use]
    pub const fn with_zero(self, zero: bool) -> Self {
        let zero = if zero { ZERO } else { 0 };
        Self::from_bits(self.bits() & !ZERO | zero)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_set_of_flags_can_be_kept() {
        for number in 0..64_u64 {
            let places = [0, 2, 4, 6, 7, 11];
            let bit = |at: usize| (number >> at & 1) << places[at];
            let bits = (0..6).map(bit).sum::<u64>();
            let flags = Flags::from_bits(bits);
            assert_eq!(flags.bits(), bits);
            for on in [false, true] {
                let set = |mask: u64| if on { bits | mask } else { bits & !mask };
                assert_eq!(flags.with_carry(on).bits(), set(CARRY));
                assert_eq!(flags.with_overflow(on).bits(), set(OVERFLOW));
                assert_eq!(flags.with_adjust(on).bits(), set(ADJUST));
                assert_eq!(flags.with_zero(on).bits(), set(ZERO));
            }
        }
    }
}
