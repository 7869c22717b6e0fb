//! Decimal adjustments (not in 64-bit code).

use crate::multiply::DivideError;
use crate::{Flags, Size};

/// `DAA`: `al` after a sum of two packed digits. `OF` is undefined.
#[must_use]
pub const fn after_add_packed(al: u64, before: Flags) -> (u64, Flags) {
    let adjust = al & 0xf > 9 || before.adjust();
    let carry = al > 0x99 || before.carry();
    let more = (if adjust { 6 } else { 0 }) + if carry { 0x60 } else { 0 };
    let result = Size::Byte.cut(al + more);
    packed(result, carry, adjust)
}

/// `DAS`: `al` after a difference of two packed digits. `OF` is undefined.
#[must_use]
pub const fn after_subtract_packed(al: u64, before: Flags) -> (u64, Flags) {
    let adjust = al & 0xf > 9 || before.adjust();
    let is_over = al > 0x99 || before.carry();
    let less = (if adjust { 6 } else { 0 }) + if is_over { 0x60 } else { 0 };
    let carry = is_over || adjust && al < 6;
    let result = Size::Byte.cut(al.wrapping_sub(less));
    packed(result, carry, adjust)
}

const fn packed(result: u64, carry: bool, adjust: bool) -> (u64, Flags) {
    let flags = Flags::of_logic(Size::Byte, result).with_adjust(adjust);
    (result, flags.with_carry_and_overflow(carry, false))
}

/// `AAA`: `ax` after a sum of two digits. `OF`, `SF`, `ZF` and `PF` are undefined.
#[must_use]
pub const fn after_add(ax: u64, before: Flags) -> (u64, Flags) {
    let adjust = ax & 0xf > 9 || before.adjust();
    let sum = if adjust {
        Size::Word.cut(ax + 0x106)
    } else {
        ax
    };
    unpacked(sum & 0xff0f, adjust)
}

/// `AAS`: `ax` after a difference of two digits. `OF`, `SF`, `ZF` and `PF` are undefined.
#[must_use]
pub const fn after_subtract(ax: u64, before: Flags) -> (u64, Flags) {
    let adjust = ax & 0xf > 9 || before.adjust();
    let difference = if adjust {
        Size::Word.cut(ax.wrapping_sub(0x106))
    } else {
        ax
    };
    unpacked(difference & 0xff0f, adjust)
}

const fn unpacked(ax: u64, adjust: bool) -> (u64, Flags) {
    let flags = Flags::of_logic(Size::Byte, ax & 0xff).with_adjust(adjust);
    (ax, flags.with_carry_and_overflow(adjust, false))
}

/// `AAM`: `ax` of a product in `al`, in digits of this base. `OF`, `AF` and `CF` are undefined.
///
/// # Errors
/// For base zero.
pub const fn after_multiply(al: u64, base: u64) -> Result<(u64, Flags), DivideError> {
    if base == 0 {
        return Err(DivideError);
    }
    let (high, low) = (al / base, al % base);
    Ok((high << 8 | low, Flags::of_logic(Size::Byte, low)))
}

/// `AAD`: `ax` of two digits of this base, before a division. `OF`, `AF` and `CF` are undefined.
#[must_use]
pub const fn before_divide(ax: u64, base: u64) -> (u64, Flags) {
    let al = Size::Byte.cut((ax & 0xff) + (ax >> 8) * base);
    (al, Flags::of_logic(Size::Byte, al))
}
