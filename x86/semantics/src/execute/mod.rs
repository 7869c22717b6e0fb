//! Whole instructions: what they do to registers and memory.
//!
//! [`execute`] finds the handler of an instruction's mnemonic in its family (a file each) and runs it on
//! a [`Step`]: the registers, the memory and the decoded instruction, with operands to be read and
//! written. An instruction that raises an exception has changed no register, but that a repeated string
//! instruction has done some of its steps; `rip` stays where it is then. What pushes several values may have
//! written some of them.

mod arithmetic;
mod bits;
mod control;
mod data;
mod far;
mod operand;
mod segment;
mod shift;
mod stack;
mod string;
mod tables;

use std::sync::OnceLock;

use iced_x86::{Instruction, Mnemonic};

use crate::{Cpu, Exception, Memory};

/// One instruction under way.
pub(crate) struct Step<'a> {
    pub(crate) cpu: &'a mut Cpu,
    pub(crate) memory: &'a mut dyn Memory,
    pub(crate) instruction: &'a Instruction,
    /// Where it goes on.
    next: u64,
}

/// What an instruction does.
type Handler = fn(&mut Step<'_>) -> Result<(), Exception>;

/// The families, each of which knows its own.
const FAMILIES: [fn(Mnemonic) -> Option<Handler>; 9] = [
    data::handler,
    segment::handler,
    arithmetic::handler,
    shift::handler,
    bits::handler,
    string::handler,
    stack::handler,
    control::handler,
    far::handler,
];

/// Handlers by mnemonic.
fn handlers() -> &'static [Option<Handler>] {
    static TABLE: OnceLock<Vec<Option<Handler>>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let find = |mnemonic| FAMILIES.iter().find_map(|family| family(mnemonic));
        Mnemonic::values().map(find).collect()
    })
}

/// Whether [`execute`] knows instructions of this name.
#[must_use]
pub fn knows(mnemonic: Mnemonic) -> bool {
    handlers()[mnemonic as usize].is_some()
}

/// Executes one instruction, which was decoded at `cpu.rip`.
///
/// # Errors
/// The exception that it raises; `#UD`, too, for instructions that are not known here.
pub fn execute(
    cpu: &mut Cpu,
    memory: &mut dyn Memory,
    instruction: &Instruction,
) -> Result<(), Exception> {
    let handler = handlers()[instruction.mnemonic() as usize];
    let handler = handler.ok_or(Exception::InvalidOpcode)?;
    let next = instruction.next_ip() & cpu.code_size().mask();
    cpu.interrupt_shadow = false;
    let mut step = Step {
        cpu,
        memory,
        instruction,
        next,
    };
    let done = handler(&mut step);
    let next = step.next;
    match done {
        Ok(()) => cpu.rip = next,
        // Those that are reported after their instruction.
        Err(Exception::Breakpoint | Exception::Overflow) => cpu.rip = next,
        Err(_) => {}
    }
    done
}
