//! x87 and vector instructions.

use iced_x86::Instruction;
use x86_vector::Operand;

use super::super::vectors::{self, Eight, Four, Half, Ten, Two, Whole};
use super::super::width::{Absolute, Based, InFs, InGs, Indexed, Scaled};
use super::macros::way;
use super::operands::{Way, memory};
use crate::blocks::{General, Op, Run};
use crate::mode::Mode;

/// A function for each size of an operand in memory.
macro_rules! bytes {
    ($bytes:expr, |$B:ident| $function:expr) => {
        match $bytes {
            2 => {
                type $B = Two;
                Some($function as Run<'_>)
            }
            4 => {
                type $B = Four;
                Some($function as Run<'_>)
            }
            8 => {
                type $B = Eight;
                Some($function as Run<'_>)
            }
            10 => {
                type $B = Ten;
                Some($function as Run<'_>)
            }
            16 => {
                type $B = Half;
                Some($function as Run<'_>)
            }
            32 => {
                type $B = Whole;
                Some($function as Run<'_>)
            }
            _ => None,
        }
    };
}

pub(super) fn vector<'a>(
    op: &mut Op<'a>,
    instruction: &Instruction,
    mode: Mode,
) -> Option<Run<'a>> {
    let prepared = op.more.vector?;
    let operand = prepared.operand()?;
    let simple = prepared.simple().filter(|_| mode.has_vectors);
    let is_plain = prepared.is_plain() && mode.has_vectors;
    // With these, x87 is available, too.
    let is_quick = prepared.is_quick() && mode.has_vectors;
    if let Some(simple) = simple {
        op.first = *General::ALL.get(usize::from(simple.register))?;
        op.second = *General::ALL.get(usize::from(simple.from))?;
    }
    let (Operand::Read(bytes) | Operand::Write(bytes)) = operand else {
        if is_quick && let Some(run) = x86_vector::on_stack(instruction, vectors::Quick) {
            let other = prepared.beside();
            (op.index, op.value) = (other.offset, other.bit.into());
            op.wide = instruction.ip();
            return Some(run);
        }
        return Some(match simple {
            Some(simple) => match (simple.bytes, simple.cleared) {
                (32, _) => vectors::copy_whole as Run<'_>,
                (_, 32) => vectors::copy::<Half, 32> as Run<'_>,
                _ => vectors::copy::<Half, 16> as Run<'_>,
            },
            None if is_plain => vectors::plain as Run<'_>,
            None => vectors::registers as Run<'_>,
        });
    };
    op.value = if prepared.is_aligned() {
        i32::from(bytes) - 1
    } else {
        0
    };
    let way = memory(op, instruction, mode.size, false)?;
    // The operand's offset is remembered, which is its address where the segment begins at zero.
    let is_quick = is_quick && !matches!(way, Way::InFs | Way::InGs);
    match operand {
        Operand::Write(_) if simple.is_some() => {
            bytes!(bytes, |B| way!(way, |A| vectors::store::<B, A>))
        }
        Operand::Read(_) if simple.is_some_and(|simple| simple.cleared == 16) => {
            bytes!(bytes, |B| way!(way, |A| vectors::load::<B, A, 16>))
        }
        Operand::Read(_) if simple.is_some() => {
            bytes!(bytes, |B| way!(way, |A| vectors::load::<B, A, 32>))
        }
        Operand::Read(_) if is_plain => {
            bytes!(bytes, |B| way!(way, |A| vectors::read_plain::<B, A>))
        }
        // No other instructions have operands of this size, but those with decimal digits, which are not quick.
        Operand::Write(10) if is_quick => Some(way!(way, |A| vectors::pop_whole::<A> as Run<'_>)),
        Operand::Read(10) if is_quick => Some(way!(way, |A| vectors::push_whole::<A> as Run<'_>)),
        Operand::Write(_) if is_quick => {
            bytes!(bytes, |B| way!(way, |A| vectors::quick_write::<B, A>))
        }
        Operand::Read(_) if is_quick => {
            bytes!(bytes, |B| way!(way, |A| vectors::quick_read::<B, A>))
        }
        Operand::Write(_) => bytes!(bytes, |B| way!(way, |A| vectors::write::<B, A>)),
        _ => bytes!(bytes, |B| way!(way, |A| vectors::read::<B, A>)),
    }
}
