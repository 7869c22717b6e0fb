//! Instructions of x87.
//!
//! Most name one or two registers, and have only these loaded, if all is as usual: the registers that are
//! read are not empty, the one that is pushed is, and all exceptions are masked. Otherwise, and for the
//! others, the whole state is loaded, and the host's processor does all that can happen: exceptions that are
//! not masked wait in the status word then, as on a processor, and nothing is raised before the
//! next instruction.

use host_processor::stub::{Slot, Stack, Stub, Stubs};
use iced_x86::{Instruction, Register};
use x86_semantics::{CodeSize, Cpu, Exception, Flags, segment};

use crate::numeric::{EXCEPTIONS, Numeric, ON_TOP, PUSHED, STACK_FAULT};
use crate::prepared::{Handler, Prepared};
use crate::run::Step;

/// Exceptions that keep a store from being done: invalid operation, overflow, underflow.
const NOT_STORED: u16 = 1 << 0 | 1 << 3 | 1 << 4;
/// Where C0 to C3 are in the status word: three, and one further up.
const CONDITIONS_SHIFT: u32 = 8;
const LAST_SHIFT: u32 = 14 - 3;

/// What does an instruction that works so on the stack.
pub(crate) fn handler(stack: Stack) -> Option<Handler> {
    Some(match (stack.inputs, stack.pops, stack.pushes) {
        (0, 0, true) => some::<0, 0, true>,
        (1, 0, false) => some::<1, 0, false>,
        (1, 1, false) => some::<1, 1, false>,
        (1, 0, true) => some::<1, 0, true>,
        (2, 0, false) => some::<2, 0, false>,
        (2, 1, false) => some::<2, 1, false>,
        (2, 2, false) => some::<2, 2, false>,
        _ => return None,
    })
}

/// Conditions as four bits.
pub(crate) const fn pack(conditions: u16) -> u16 {
    conditions >> CONDITIONS_SHIFT & 7 | conditions >> LAST_SHIFT & 8
}

/// And back.
const fn unpack(conditions: u16) -> u16 {
    (conditions & 7) << CONDITIONS_SHIFT | (conditions & 8) << LAST_SHIFT
}

/// The registers of an instruction by their physical numbers.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    pub(crate) top: usize,
    pub(crate) other: usize,
    pub(crate) pushed: usize,
}

impl Places {
    pub(crate) fn of(prepared: &Prepared, numeric: &Numeric) -> Self {
        Self {
            top: numeric.top(),
            other: numeric.physical(prepared.at[0].x87_number()),
            pushed: numeric.physical(7),
        }
    }
}

/// Whether what an instruction reads has something, and what it pushes has a place.
pub(crate) const fn are_usual(
    prepared: &Prepared,
    numeric: &Numeric,
    inputs: u8,
    pushes: bool,
) -> bool {
    (inputs < 1 || !numeric.is_empty(ON_TOP))
        && (inputs < 2 || !numeric.is_empty(prepared.beside()))
        && (!pushes || numeric.is_empty(PUSHED))
}

/// Runs an instruction on the registers that it names.
fn some<const INPUTS: u8, const POPS: u8, const PUSHES: bool>(
    prepared: &Prepared,
    step: &mut Step<'_>,
) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    let numeric = &step.vectors.numeric;
    let places = Places::of(prepared, numeric);
    if !numeric.is_masked() || !are_usual(prepared, numeric, INPUTS, PUSHES) {
        return unusual(prepared, step);
    }
    let operand = step.operand(prepared)?;
    if quickly(prepared, step, operand)? {
        return Ok(());
    }
    let vectors = &mut *step.vectors;
    vectors.operands.control = vectors.numeric.control();
    vectors.operands.clear = !vectors.numeric.conditions() & (EXCEPTIONS | STACK_FAULT);
    let slots = [places.top, places.other, places.pushed, 0];
    let slots = slots.map(|physical| Slot::x87(physical as u8));
    prepared.stub()?.run(&mut vectors.operands, slots);
    if let Some(address) = operand.filter(|_| prepared.writes_memory()) {
        step.write_memory(prepared, address)?;
    }
    let numeric = &mut step.vectors.numeric;
    let kept = !unpack(prepared.conditions());
    let status = step.vectors.operands.status;
    let set = status & (!kept | EXCEPTIONS | STACK_FAULT);
    numeric.set_conditions(numeric.conditions() & kept | set);
    if PUSHES {
        numeric.push();
    }
    for _ in 0..POPS {
        numeric.pop();
    }
    remember(step, operand);
    if prepared.writes_flags() {
        step.cpu.flags = Flags::from_bits(step.vectors.operands.flags);
    }
    Ok(())
}

/// Does it without the host's instruction, if that can be. What is read from memory is in the buffer.
pub(crate) fn quickly(
    prepared: &Prepared,
    step: &mut Step<'_>,
    operand: Option<u64>,
) -> Result<bool, Exception> {
    let before = step.vectors.numeric;
    let other = prepared.beside();
    if !prepared
        .quick
        .is_some_and(|quick| quick(step.vectors, other))
    {
        return Ok(false);
    }
    if let Some(address) = operand.filter(|_| prepared.writes_memory())
        && let Err(exception) = step.write_memory(prepared, address)
    {
        // What writes memory has changed no register.
        step.vectors.numeric = before;
        return Err(exception);
    }
    remember(step, operand);
    if prepared.writes_flags() {
        step.take_flags();
    }
    Ok(true)
}

/// Where the last instruction was, and its operand, if it has one: offsets in their segments, and in real mode
/// linear addresses.
pub(crate) fn remember(step: &mut Step<'_>, operand: Option<u64>) {
    let (cpu, instruction) = (&*step.cpu, step.instruction);
    let numeric = &mut step.vectors.numeric;
    numeric.instruction = instruction.ip();
    if !cpu.is_protected() {
        numeric.instruction = numeric.instruction.wrapping_add(cpu.segments.cs.base);
    }
    if let Some(address) = operand {
        numeric.data = address.wrapping_sub(base(cpu, instruction));
    }
}

/// What is to be subtracted from a linear address.
fn base(cpu: &Cpu, instruction: &Instruction) -> u64 {
    let is_long = cpu.code_size() == CodeSize::Quad;
    let has_prefix = instruction.segment_prefix() != Register::None;
    if !cpu.is_protected() || is_long && !has_prefix {
        return 0;
    }
    let name = instruction.memory_segment();
    if is_long && !matches!(name, Register::FS | Register::GS) {
        return 0;
    }
    segment(&cpu.segments, name).map_or(0, |segment| segment.base)
}

/// Does with the whole state what is only prepared for some registers.
#[cold]
pub(crate) fn unusual(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    let stubs = Stubs::new().map_err(|_| Exception::InvalidOpcode)?;
    let stub = stubs.x87(step.instruction);
    run(prepared, step, stub.ok_or(Exception::InvalidOpcode)?)
}

/// Runs an instruction on the whole state.
pub(crate) fn whole(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    run(prepared, step, prepared.stub()?)
}

fn run(prepared: &Prepared, step: &mut Step<'_>, stub: Stub) -> Result<(), Exception> {
    step.deliver()?;
    let operand = step.operand(prepared)?;
    let vectors = &mut *step.vectors;
    let mut image = vectors.operands.image;
    vectors.put_x87(&mut image);
    vectors.operands.image = image;
    vectors.operands.flags = step.cpu.flags.bits();
    stub.run(&mut vectors.operands, [Slot::default(); 4]);
    let image = vectors.operands.image;
    let mut after = vectors.numeric;
    after.take(&image);
    let raised = after.conditions() & !after.control() & NOT_STORED;
    match operand.filter(|_| prepared.writes_memory()) {
        Some(address) if raised == 0 => step.write_memory(prepared, address)?,
        Some(address) => step.look(address, prepared.memory_bytes.into())?,
        None => {}
    }
    let before = step.vectors.numeric;
    step.vectors.take_x87(&image);
    let numeric = &mut step.vectors.numeric;
    (numeric.opcode, numeric.data) = (before.opcode, before.data);
    remember(step, operand);
    if prepared.writes_flags() {
        step.cpu.flags = Flags::from_bits(step.vectors.operands.flags);
    }
    Ok(())
}
