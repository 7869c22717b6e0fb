//! Shifts and rotations. Counts are as the instruction has them; of zero, nothing changes.
//!
//! `OF` is undefined for counts other than one, `AF` after every shift, `CF` where more bits are shifted
//! out than there are, all results where a double shift of 16 bits has a larger count.

use crate::{Flags, Size};

const fn bit(value: u64, at: u32) -> bool {
    value >> at & 1 != 0
}

const fn is_negative(size: Size, value: u64) -> bool {
    value & size.sign() != 0
}

/// The bit below the sign.
const fn second(size: Size, value: u64) -> bool {
    bit(value, size.bits() - 2)
}

const fn shifted(size: Size, result: u64, carry: bool, overflow: bool) -> (u64, Flags) {
    let flags = Flags::of_logic(size, result);
    (result, flags.with_carry_and_overflow(carry, overflow))
}

/// `SHL`.
#[inline]
#[must_use]
pub const fn left(size: Size, a: u64, count: u32, before: Flags) -> (u64, Flags) {
    let count = count & size.count_mask();
    if count == 0 {
        return (a, before);
    }
    let result = size.cut(a << count);
    let carry = count <= size.bits() && bit(a, size.bits() - count);
    shifted(size, result, carry, carry != is_negative(size, result))
}

/// `SHR`.
#[inline]
#[must_use]
pub const fn right(size: Size, a: u64, count: u32, before: Flags) -> (u64, Flags) {
    let count = count & size.count_mask();
    if count == 0 {
        return (a, before);
    }
    let overflow = count == 1 && is_negative(size, a);
    shifted(size, a >> count, bit(a, count - 1), overflow)
}

/// `SAR`.
#[inline]
#[must_use]
pub const fn right_signed(size: Size, a: u64, count: u32, before: Flags) -> (u64, Flags) {
    let count = count & size.count_mask();
    if count == 0 {
        return (a, before);
    }
    let signed = size.signed(a);
    let carry = bit((signed >> (count - 1)) as u64, 0);
    shifted(size, size.cut((signed >> count) as u64), carry, false)
}

/// `SHLD`: the bits that come in are the highest of `b`.
#[inline]
#[must_use]
pub const fn left_double(size: Size, a: u64, b: u64, count: u32, before: Flags) -> (u64, Flags) {
    let count = count & size.count_mask();
    if count == 0 {
        return (a, before);
    }
    let bits = size.bits();
    // `a`, `b` and for counts beyond them `a` again.
    let three = ((a as u128) << bits | b as u128) << if bits == 64 { 0 } else { bits };
    let three = if bits == 64 { three } else { three | a as u128 };
    let length = if bits == 64 { 128 } else { 3 * bits };
    let result = size.cut((three >> (length - bits - count)) as u64);
    let carry = (three >> (length - count)) & 1 != 0;
    let overflow = is_negative(size, a) != is_negative(size, result);
    shifted(size, result, carry, overflow)
}

/// `SHRD`: the bits that come in are the lowest of `b`.
#[inline]
#[must_use]
pub const fn right_double(size: Size, a: u64, b: u64, count: u32, before: Flags) -> (u64, Flags) {
    let count = count & size.count_mask();
    if count == 0 {
        return (a, before);
    }
    let bits = size.bits();
    let two = (b as u128) << bits | a as u128;
    let three = if bits == 64 {
        two
    } else {
        (a as u128) << (2 * bits) | two
    };
    let result = size.cut((three >> count) as u64);
    let carry = (three >> (count - 1)) & 1 != 0;
    let overflow = is_negative(size, a) != is_negative(size, result);
    shifted(size, result, carry, overflow)
}

const fn rotated(result: u64, carry: bool, overflow: bool, before: Flags) -> (u64, Flags) {
    (result, before.with_carry_and_overflow(carry, overflow))
}

/// `ROL`: only `CF` and `OF` change.
#[inline]
#[must_use]
pub const fn rotate_left(size: Size, a: u64, count: u32, before: Flags) -> (u64, Flags) {
    let count = count & size.count_mask();
    if count == 0 {
        return (a, before);
    }
    let result = turn(size, a, count % size.bits());
    let carry = bit(result, 0);
    rotated(result, carry, carry != is_negative(size, result), before)
}

/// `ROR`: only `CF` and `OF` change.
#[inline]
#[must_use]
pub const fn rotate_right(size: Size, a: u64, count: u32, before: Flags) -> (u64, Flags) {
    let count = count & size.count_mask();
    if count == 0 {
        return (a, before);
    }
    let result = turn(size, a, size.bits() - count % size.bits());
    let carry = is_negative(size, result);
    rotated(result, carry, carry != second(size, result), before)
}

/// A rotation to the left by as many bits as there are, or fewer.
const fn turn(size: Size, a: u64, count: u32) -> u64 {
    let twice = (a as u128) << size.bits() | a as u128;
    size.cut((twice >> (size.bits() - count)) as u64)
}

/// Positions by which the carry and the operand turn together.
const fn turns_with_carry(size: Size, count: u32) -> u32 {
    (count & size.count_mask()) % (size.bits() + 1)
}

/// `RCL`: only `CF` and `OF` change.
#[inline]
#[must_use]
pub const fn rotate_left_carry(size: Size, a: u64, count: u32, before: Flags) -> (u64, Flags) {
    let count = turns_with_carry(size, count);
    if count == 0 {
        return (a, before);
    }
    let (result, carry) = turn_with_carry(size, a, count, before.carry());
    rotated(result, carry, carry != is_negative(size, result), before)
}

/// `RCR`: only `CF` and `OF` change.
#[inline]
#[must_use]
pub const fn rotate_right_carry(size: Size, a: u64, count: u32, before: Flags) -> (u64, Flags) {
    let count = turns_with_carry(size, count);
    if count == 0 {
        return (a, before);
    }
    let left = size.bits() + 1 - count;
    let (result, carry) = turn_with_carry(size, a, left, before.carry());
    let overflow = is_negative(size, result) != second(size, result);
    rotated(result, carry, overflow, before)
}

/// A rotation to the left of the carry with the operand below it.
const fn turn_with_carry(size: Size, a: u64, count: u32, carry: bool) -> (u64, bool) {
    let (bits, all) = (size.bits(), (carry as u128) << size.bits() | a as u128);
    let turned = all << count | all >> (bits + 1 - count);
    (size.cut(turned as u64), turned >> bits & 1 != 0)
}
