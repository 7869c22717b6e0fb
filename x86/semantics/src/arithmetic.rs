//! Sums, differences and what is made from them.

use crate::{Flags, Size};

/// The carry out of each bit of a sum.
#[inline]
const fn carries(a: u64, b: u64, sum: u64) -> u64 {
    a & b | (a | b) & !sum
}

/// The borrow into each bit above of a difference.
#[inline]
const fn borrows(a: u64, b: u64, difference: u64) -> u64 {
    !a & b | (!a | b) & difference
}

/// `ADD`.
#[inline]
#[must_use]
pub const fn add(size: Size, a: u64, b: u64) -> (u64, Flags) {
    add_with_carry(size, a, b, false)
}

/// `ADC`.
#[inline]
#[must_use]
pub const fn add_with_carry(size: Size, a: u64, b: u64, carry: bool) -> (u64, Flags) {
    let sum = size.cut(a.wrapping_add(b).wrapping_add(carry as u64));
    (sum, Flags::of(size, sum, carries(a, b, sum)))
}

/// `SUB`, and `CMP` without its result.
#[inline]
#[must_use]
pub const fn subtract(size: Size, a: u64, b: u64) -> (u64, Flags) {
    subtract_with_borrow(size, a, b, false)
}

/// `SBB`.
#[inline]
#[must_use]
pub const fn subtract_with_borrow(size: Size, a: u64, b: u64, borrow: bool) -> (u64, Flags) {
    let difference = size.cut(a.wrapping_sub(b).wrapping_sub(borrow as u64));
    (
        difference,
        Flags::of(size, difference, borrows(a, b, difference)),
    )
}

/// `INC`: `CF` stays.
#[inline]
#[must_use]
pub const fn increment(size: Size, a: u64, before: Flags) -> (u64, Flags) {
    let (sum, flags) = add(size, a, 1);
    (sum, flags.with_carry(before.carry()))
}

/// `DEC`: `CF` stays.
#[inline]
#[must_use]
pub const fn decrement(size: Size, a: u64, before: Flags) -> (u64, Flags) {
    let (difference, flags) = subtract(size, a, 1);
    (difference, flags.with_carry(before.carry()))
}

/// `NEG`.
#[inline]
#[must_use]
pub const fn negate(size: Size, a: u64) -> (u64, Flags) {
    subtract(size, 0, a)
}

/// `ADCX`: only `CF` changes.
#[inline]
#[must_use]
pub const fn add_carry_only(size: Size, a: u64, b: u64, before: Flags) -> (u64, Flags) {
    let (sum, flags) = add_with_carry(size, a, b, before.carry());
    (sum, before.with_carry(flags.carry()))
}

/// `ADOX`: only `OF` changes, which is the carry.
#[inline]
#[must_use]
pub const fn add_overflow_only(size: Size, a: u64, b: u64, before: Flags) -> (u64, Flags) {
    let (sum, flags) = add_with_carry(size, a, b, before.overflow());
    (sum, before.with_overflow(flags.carry()))
}
