//! Shifts and rotations.

use iced_x86::Mnemonic;

use super::arithmetic::one;
use super::{Handler, Step};
use crate::shift::{
    left, left_double, right, right_double, right_signed, rotate_left, rotate_left_carry,
    rotate_right, rotate_right_carry,
};
use crate::{Exception, Flags, Size};

pub(super) fn handler(mnemonic: Mnemonic) -> Option<Handler> {
    Some(match mnemonic {
        Mnemonic::Shl | Mnemonic::Sal => |step| by(step, left),
        Mnemonic::Shr => |step| by(step, right),
        Mnemonic::Sar => |step| by(step, right_signed),
        Mnemonic::Rol => |step| by(step, rotate_left),
        Mnemonic::Ror => |step| by(step, rotate_right),
        Mnemonic::Rcl => |step| by(step, rotate_left_carry),
        Mnemonic::Rcr => |step| by(step, rotate_right_carry),
        Mnemonic::Shld => |step| double(step, left_double),
        Mnemonic::Shrd => |step| double(step, right_double),
        Mnemonic::Shlx => |step| without_flags(step, left),
        Mnemonic::Shrx => |step| without_flags(step, right),
        Mnemonic::Sarx => |step| without_flags(step, right_signed),
        Mnemonic::Rorx => |step| without_flags(step, rotate_right),
        _ => return None,
    })
}

type Shift = fn(Size, u64, u32, Flags) -> (u64, Flags);

/// The count in an operand: `cl`, or an immediate.
fn count(step: &mut Step<'_>, operand: u32) -> Result<u32, Exception> {
    Ok(step.read(operand)? as u32 & 0xff)
}

fn by(step: &mut Step<'_>, shift: Shift) -> Result<(), Exception> {
    let count = count(step, 1)?;
    one(step, |size, value, before| {
        shift(size, value, count, before)
    })
}

fn double(
    step: &mut Step<'_>,
    shift: fn(Size, u64, u64, u32, Flags) -> (u64, Flags),
) -> Result<(), Exception> {
    let (other, count) = (step.read(1)?, count(step, 2)?);
    one(step, |size, value, before| {
        shift(size, value, other, count, before)
    })
}

fn without_flags(step: &mut Step<'_>, shift: Shift) -> Result<(), Exception> {
    let (value, count) = (step.read(1)?, count(step, 2)?);
    let (result, _) = shift(step.size(0), value, count, step.cpu.flags);
    step.write(0, result)
}
