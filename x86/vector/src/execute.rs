//! Does what was prepared.

use iced_x86::Instruction;
use x86_semantics::{Cpu, Exception, Memory};

use crate::prepared::Prepared;
use crate::registers::Vectors;
use crate::run::{Reach, Step};

/// Does an instruction, of which `prepared` says how. The instruction pointer is left to the caller.
///
/// # Errors
/// The exception that it raises. No register has changed then, but the flags of `MXCSR` as the exception
/// sets them; of those that work element by element, the elements that were done before it.
#[inline]
pub fn execute(
    prepared: &Prepared,
    vectors: &mut Vectors,
    cpu: &mut Cpu,
    memory: &mut dyn Memory,
    instruction: &Instruction,
) -> Result<(), Exception> {
    let mut step = Step {
        vectors,
        cpu,
        memory: Reach::Memory(memory),
        instruction,
    };
    (prepared.handler)(prepared, &mut step)
}

/// Does an instruction whose memory operand the caller has found at this linear address: what is read is in
/// [`Vectors::operand`], and what is written is there afterwards. Only for those that
/// [say where](Prepared::operand) it is. The segment, the alignment and the rights of pages are the caller's affair,
/// before. Whether there is something to be written.
///
/// # Errors
/// As for [`execute`].
#[inline]
pub fn execute_given(
    prepared: &Prepared,
    vectors: &mut Vectors,
    cpu: &mut Cpu,
    address: u64,
    instruction: &Instruction,
) -> Result<bool, Exception> {
    let mut step = Step {
        vectors,
        cpu,
        memory: Reach::Given {
            address,
            is_written: false,
        },
        instruction,
    };
    (prepared.handler)(prepared, &mut step)?;
    Ok(matches!(
        step.memory,
        Reach::Given {
            is_written: true,
            ..
        }
    ))
}
