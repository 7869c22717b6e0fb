//! Products and quotients. `SF`, `ZF`, `AF` and `PF` are undefined after products, all six after
//! quotients.

use crate::{Flags, Size};

/// A quotient that does not fit, or a division by zero: `#DE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DivideError;

const fn flags(size: Size, low: u64, is_longer: bool) -> Flags {
    Flags::of_logic(size, low).with_carry_and_overflow(is_longer, is_longer)
}

/// `MUL`: the low and the high half of the product.
#[inline]
#[must_use]
pub const fn multiply(size: Size, a: u64, b: u64) -> (u64, u64, Flags) {
    let product = a as u128 * b as u128;
    let (low, high) = halves(size, product);
    (low, high, flags(size, low, high != 0))
}

/// `IMUL`: the low and the high half of the product. With two or three operands, the low half alone.
#[inline]
#[must_use]
pub const fn multiply_signed(size: Size, a: u64, b: u64) -> (u64, u64, Flags) {
    let product = size.signed(a) as i128 * size.signed(b) as i128;
    let (low, high) = halves(size, product as u128);
    let is_longer = size.signed(low) as i128 != product;
    (low, high, flags(size, low, is_longer))
}

const fn halves(size: Size, product: u128) -> (u64, u64) {
    let low = size.cut(product as u64);
    (low, size.cut((product >> size.bits()) as u64))
}

/// `DIV`: quotient and remainder of `high:low`.
///
/// # Errors
/// When there is no quotient of this size.
#[inline]
pub const fn divide(
    size: Size,
    high: u64,
    low: u64,
    divisor: u64,
) -> Result<(u64, u64), DivideError> {
    // With a larger high half the quotient has more bits.
    if divisor <= high {
        return Err(DivideError);
    }
    if high == 0 {
        return Ok((low / divisor, low % divisor));
    }
    let dividend = (high as u128) << size.bits() | low as u128;
    let divisor = divisor as u128;
    Ok(((dividend / divisor) as u64, (dividend % divisor) as u64))
}

/// `IDIV`: quotient and remainder of `high:low`, rounded towards zero.
///
/// # Errors
/// When there is no quotient of this size.
#[inline]
pub const fn divide_signed(
    size: Size,
    high: u64,
    low: u64,
    divisor: u64,
) -> Result<(u64, u64), DivideError> {
    let dividend = (size.signed(high) as i128) << size.bits() | low as i128;
    let divisor = size.signed(divisor) as i128;
    // The smallest number by minus one overflows here, and has no quotient at any size.
    let Some(quotient) = dividend.checked_div(divisor) else {
        return Err(DivideError);
    };
    let cut = size.cut(quotient as u64);
    if size.signed(cut) as i128 != quotient {
        return Err(DivideError);
    }
    let remainder = dividend - quotient * divisor;
    Ok((cut, size.cut(remainder as u64)))
}
