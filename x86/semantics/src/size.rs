//! Sizes of operands.

/// The size of an operand of the integer instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Size {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Word,
    /// 32 bits.
    Double,
    /// 64 bits.
    Quad,
}

impl Size {
    /// All of them, the smallest first.
    pub const ALL: [Self; 4] = [Self::Byte, Self::Word, Self::Double, Self::Quad];

    /// Number of bits.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u32 {
        8 << self as u32
    }

    /// Number of bytes.
    #[inline]
    #[must_use]
    pub const fn bytes(self) -> u32 {
        1 << self as u32
    }

    /// All bits.
    #[inline]
    #[must_use]
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// The highest bit, which is the sign.
    #[inline]
    #[must_use]
    pub const fn sign(self) -> u64 {
        1 << (self.bits() - 1)
    }

    /// The bits of this size.
    #[inline]
    #[must_use]
    pub const fn cut(self, value: u64) -> u64 {
        value & self.mask()
    }

    /// The value as a signed number of this size.
    #[inline]
    #[must_use]
    pub const fn signed(self, value: u64) -> i64 {
        let unused = 64 - self.bits();
        ((value << unused) as i64) >> unused
    }

    /// Bits of a shift's count that are looked at (SDM vol. 2, `SAL/SAR/SHL/SHR`).
    #[inline]
    #[must_use]
    pub const fn count_mask(self) -> u32 {
        match self {
            Self::Quad => 63,
            _ => 31,
        }
    }
}
