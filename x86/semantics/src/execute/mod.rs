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
mod control_registers;
mod data;
mod far;
mod fast_calls;
mod model_specific;
mod operand;
mod ports;
mod segment;
mod shift;
mod stack;
mod string;
mod system;
mod virtual_interrupts;

pub use operand::linear_address;

use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use iced_x86::{Instruction, Mnemonic};

use crate::processor::Processor;
use crate::{Cpu, Exception, Memory, System};

/// One instruction under way.
pub(crate) struct Step<'a> {
    processor: Processor<'a>,
    pub(crate) instruction: &'a Instruction,
    /// Where it goes on.
    next: u64,
}

impl<'a> Deref for Step<'a> {
    type Target = Processor<'a>;

    fn deref(&self) -> &Processor<'a> {
        &self.processor
    }
}

impl<'a> DerefMut for Step<'a> {
    fn deref_mut(&mut self) -> &mut Processor<'a> {
        &mut self.processor
    }
}

impl Step<'_> {
    /// What is around the processor.
    fn system(&mut self) -> Result<&mut dyn System, Exception> {
        self.memory.system().ok_or(Exception::InvalidOpcode)
    }
}

/// What an instruction does.
type Handler = fn(&mut Step<'_>) -> Result<(), Exception>;

/// The families, each of which knows its own.
const FAMILIES: [fn(Mnemonic) -> Option<Handler>; 14] = [
    data::handler,
    segment::handler,
    arithmetic::handler,
    shift::handler,
    bits::handler,
    string::handler,
    stack::handler,
    control::handler,
    far::handler,
    system::handler,
    control_registers::handler,
    model_specific::handler,
    fast_calls::handler,
    ports::handler,
];

/// Of these, those that need what is around the processor.
const SYSTEM_FAMILIES: [fn(Mnemonic) -> Option<Handler>; 4] = [
    control_registers::handler,
    model_specific::handler,
    fast_calls::handler,
    ports::handler,
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

/// Whether those of this name need what is around the processor ([`crate::System`]), or do what only
/// systems do.
#[must_use]
pub fn needs_system(mnemonic: Mnemonic) -> bool {
    let mut families = SYSTEM_FAMILIES.iter();
    families.any(|family| family(mnemonic).is_some()) || system::handler(mnemonic).is_some()
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
    let next = instruction.next_ip() & cpu.code_size().following();
    cpu.interrupt_shadow = false;
    let mut step = Step {
        processor: Processor { cpu, memory },
        instruction,
        next,
    };
    handler(&mut step)?;
    let next = step.next;
    step.cpu.rip = next;
    Ok(())
}
