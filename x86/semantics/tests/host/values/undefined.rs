//! Flags that the manuals leave undefined, each from its instruction's page (SDM vol. 2, "Flags
//! Affected").

use x86_semantics::{Flags, Size};

pub(crate) const CARRY: u64 = 1 << 0;
pub(crate) const PARITY: u64 = 1 << 2;
pub(crate) const ADJUST: u64 = 1 << 4;
pub(crate) const ZERO: u64 = 1 << 6;
pub(crate) const SIGN: u64 = 1 << 7;
pub(crate) const OVERFLOW: u64 = 1 << 11;
pub(crate) const ALL: u64 = Flags::MASK;

/// What is undefined of a case: flags, or with the result if it is `None`.
pub(crate) type Undefined = Box<dyn Fn(Size, [u64; 3]) -> Option<u64>>;

/// The same flags always.
pub(crate) fn always(flags: u64) -> impl Fn(Size, [u64; 3]) -> Option<u64> + Copy {
    move |_, _| Some(flags)
}

/// The count in `cl` as the instruction looks at it.
fn count(size: Size, cl: u64) -> u32 {
    cl as u32 & size.count_mask()
}

/// Shifts by `cl`: those flags, unless nothing is shifted; `OF` but for one; `CF` where all bits go.
pub(crate) fn shift(flags: u64) -> impl Fn(Size, [u64; 3]) -> Option<u64> {
    move |size, [_, cl, _]| {
        let count = count(size, cl);
        let overflow = if count == 1 { 0 } else { OVERFLOW };
        let carry = if count >= size.bits() { CARRY } else { 0 };
        Some(if count == 0 {
            0
        } else {
            flags | overflow | carry
        })
    }
}

/// Rotations by `cl`: `OF` but for one.
pub(crate) fn rotation(size: Size, [_, cl, _]: [u64; 3]) -> Option<u64> {
    let count = count(size, cl);
    Some(if count > 1 { OVERFLOW } else { 0 })
}

/// `SHLD` and `SHRD`: everything where the count exceeds the operand.
pub(crate) fn double_shift(size: Size, values: [u64; 3]) -> Option<u64> {
    let count = count(size, values[1]);
    if count > size.bits() {
        return None;
    }
    shift(ADJUST)(size, values).map(|flags| {
        // Of as many as there are, `CF` is the last bit shifted out.
        if count == size.bits() {
            flags & !CARRY
        } else {
            flags
        }
    })
}
