//! Conditions of jumps, moves and `SETcc` (SDM vol. 1, appendix B).

use crate::Flags;

/// A condition on the flags, by its number in opcodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Condition {
    /// `OF`.
    Overflow,
    /// Not `OF`.
    NoOverflow,
    /// `CF`.
    Below,
    /// Not `CF`.
    AboveOrEqual,
    /// `ZF`.
    Equal,
    /// Not `ZF`.
    NotEqual,
    /// `CF` or `ZF`.
    BelowOrEqual,
    /// Neither `CF` nor `ZF`.
    Above,
    /// `SF`.
    Sign,
    /// Not `SF`.
    NoSign,
    /// `PF`.
    Parity,
    /// Not `PF`.
    NoParity,
    /// `SF` and `OF` differ.
    Less,
    /// `SF` and `OF` are alike.
    GreaterOrEqual,
    /// `ZF`, or `SF` and `OF` differ.
    LessOrEqual,
    /// Not `ZF`, and `SF` and `OF` are alike.
    Greater,
}

impl Condition {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::Overflow,
        Self::NoOverflow,
        Self::Below,
        Self::AboveOrEqual,
        Self::Equal,
        Self::NotEqual,
        Self::BelowOrEqual,
        Self::Above,
        Self::Sign,
        Self::NoSign,
        Self::Parity,
        Self::NoParity,
        Self::Less,
        Self::GreaterOrEqual,
        Self::LessOrEqual,
        Self::Greater,
    ];

    /// Whether it holds.
    #[inline]
    #[must_use]
    pub const fn holds(self, flags: Flags) -> bool {
        let plain = match self as u8 >> 1 {
            0 => flags.overflow(),
            1 => flags.carry(),
            2 => flags.zero(),
            3 => flags.carry() || flags.zero(),
            4 => flags.sign(),
            5 => flags.parity(),
            6 => flags.sign() != flags.overflow(),
            _ => flags.zero() || flags.sign() != flags.overflow(),
        };
        plain != (self as u8 & 1 != 0)
    }
}
