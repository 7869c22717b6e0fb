//! Single bits, their number and their places; BMI1 and BMI2, `POPCNT`, `CRC32`.

use crate::{Flags, Size};

/// The polynomial of `CRC32`, its bits turned round (SDM vol. 2, `CRC32`).
const CASTAGNOLI: u32 = 0x82f6_3b78;

/// `BSF`: the place of the lowest one, or `None` for zero, after which the destination is as before.
/// Only `ZF` is defined.
#[inline]
#[must_use]
pub const fn scan_forward(size: Size, a: u64) -> (Option<u64>, Flags) {
    let place = if a == 0 {
        None
    } else {
        Some(a.trailing_zeros() as u64)
    };
    (place, Flags::of_logic(size, a))
}

/// `BSR`: the place of the highest one, or `None` for zero, after which the destination is as before.
/// Only `ZF` is defined.
#[inline]
#[must_use]
pub const fn scan_reverse(size: Size, a: u64) -> (Option<u64>, Flags) {
    let place = if a == 0 {
        None
    } else {
        Some(63 - a.leading_zeros() as u64)
    };
    (place, Flags::of_logic(size, a))
}

const fn counted(size: Size, a: u64, count: u32) -> (u64, Flags) {
    let flags = Flags::of_logic(size, count as u64);
    (count as u64, flags.with_carry_and_overflow(a == 0, false))
}

/// `TZCNT`: zeros below the lowest one. `CF` and `ZF` are defined.
#[inline]
#[must_use]
pub const fn trailing_zeros(size: Size, a: u64) -> (u64, Flags) {
    let count = if a == 0 {
        size.bits()
    } else {
        a.trailing_zeros()
    };
    counted(size, a, count)
}

/// `LZCNT`: zeros above the highest one. `CF` and `ZF` are defined.
#[inline]
#[must_use]
pub const fn leading_zeros(size: Size, a: u64) -> (u64, Flags) {
    counted(size, a, a.leading_zeros() - (64 - size.bits()))
}

/// `POPCNT`.
#[inline]
#[must_use]
pub const fn count_ones(a: u64) -> (u64, Flags) {
    let zero = if a == 0 { 1 << 6 } else { 0 };
    (a.count_ones() as u64, Flags::from_bits(zero))
}

/// `BT`: the bit at `place`, modulo the size, in `CF`; the rest stays (`OF`, `SF`, `AF` and `PF` are
/// undefined).
#[inline]
#[must_use]
pub const fn test(size: Size, a: u64, place: u64, before: Flags) -> Flags {
    before.with_carry(a & single(size, place) != 0)
}

/// The bit at `place`, modulo the size, which `BTS` sets, `BTR` clears and `BTC` turns.
#[inline]
#[must_use]
pub const fn single(size: Size, place: u64) -> u64 {
    1 << (place & (size.bits() as u64 - 1))
}

/// `BSWAP`; of 16 bits, whose result is undefined, it is zero, as processors do it.
#[inline]
#[must_use]
pub const fn swap_bytes(size: Size, a: u64) -> u64 {
    match size {
        Size::Byte | Size::Word => 0,
        Size::Double | Size::Quad => reverse_bytes(size, a),
    }
}

/// The bytes in the other order, as `MOVBE` moves them.
#[inline]
#[must_use]
pub const fn reverse_bytes(size: Size, a: u64) -> u64 {
    a.swap_bytes() >> (64 - size.bits())
}

/// `ANDN`: `!a & b`.
#[inline]
#[must_use]
pub const fn and_not(size: Size, a: u64, b: u64) -> (u64, Flags) {
    let result = !a & b;
    (result, Flags::of_logic(size, result))
}

/// `BEXTR`: as many bits as bits 8 to 15 of `control` say, from the place that bits 0 to 7 say.
#[inline]
#[must_use]
pub const fn extract(size: Size, a: u64, control: u64) -> (u64, Flags) {
    let (start, length) = (control as u32 & 0xff, (control >> 8) as u32 & 0xff);
    let rest = if start < size.bits() { a >> start } else { 0 };
    let result = rest & low_bits(length);
    let zero = if result == 0 { 1 << 6 } else { 0 };
    (result, Flags::from_bits(zero))
}

/// So many ones from below.
const fn low_bits(count: u32) -> u64 {
    if count < 64 {
        (1 << count) - 1
    } else {
        u64::MAX
    }
}

/// `BLSI`: the lowest one alone. `CF` is whether there is one.
#[inline]
#[must_use]
pub const fn lowest(size: Size, a: u64) -> (u64, Flags) {
    let result = a & size.cut(a.wrapping_neg());
    let flags = Flags::of_logic(size, result);
    (result, flags.with_carry_and_overflow(a != 0, false))
}

/// `BLSMSK`: ones up to the lowest one. `CF` is whether there is none.
#[inline]
#[must_use]
pub const fn up_to_lowest(size: Size, a: u64) -> (u64, Flags) {
    let result = a ^ size.cut(a.wrapping_sub(1));
    let flags = Flags::of_logic(size, result);
    (result, flags.with_carry_and_overflow(a == 0, false))
}

/// `BLSR`: all but the lowest one. `CF` is whether there is none.
#[inline]
#[must_use]
pub const fn without_lowest(size: Size, a: u64) -> (u64, Flags) {
    let result = a & size.cut(a.wrapping_sub(1));
    let flags = Flags::of_logic(size, result);
    (result, flags.with_carry_and_overflow(a == 0, false))
}

/// `BZHI`: as many bits as bits 0 to 7 of `count` say. `CF` is whether that is more than there are.
#[inline]
#[must_use]
pub const fn zero_high(size: Size, a: u64, count: u64) -> (u64, Flags) {
    let count = count as u32 & 0xff;
    let result = a & low_bits(count);
    let flags = Flags::of_logic(size, result);
    let exceeds = count >= size.bits();
    (result, flags.with_carry_and_overflow(exceeds, false))
}

/// `PDEP`: the low bits of `a`, at the places where `mask` has ones.
#[inline]
#[must_use]
pub const fn deposit(mut a: u64, mut mask: u64) -> u64 {
    let mut result = 0;
    while mask != 0 {
        let place = mask & mask.wrapping_neg();
        if a & 1 != 0 {
            result |= place;
        }
        a >>= 1;
        mask &= mask - 1;
    }
    result
}

/// `PEXT`: the bits of `a` at the places where `mask` has ones, next to each other.
#[inline]
#[must_use]
pub const fn gather(a: u64, mut mask: u64) -> u64 {
    let (mut result, mut at) = (0, 0);
    while mask != 0 {
        let place = mask & mask.wrapping_neg();
        if a & place != 0 {
            result |= 1 << at;
        }
        at += 1;
        mask &= mask - 1;
    }
    result
}

/// `CRC32`: the sum `before` with a value of some size behind it.
#[inline]
#[must_use]
pub const fn checksum(size: Size, before: u32, value: u64) -> u32 {
    let (mut sum, mut at) = (before, 0);
    while at < size.bits() {
        sum ^= (value >> at) as u32 & 0xff;
        let mut step = 0;
        while step < 8 {
            sum = sum >> 1 ^ if sum & 1 == 0 { 0 } else { CASTAGNOLI };
            step += 1;
        }
        at += 8;
    }
    sum
}
