//! Runs a case both ways. Where manuals leave something open, it is left out here, and only here.

use host_processor::{Bench, End, Mode};
use iced_x86::{Formatter as _, IntelFormatter, Mnemonic, RflagsBits};
use x86_semantics::{Cpu, Exception, Flags, Size, execute};

use super::generate::Case;
use super::pages::Pages;
use super::program::program;

/// Flags that are compared: the arithmetic ones, and `DF`.
pub(crate) const COMPARED: u64 = Flags::MASK | 1 << 10;

/// Panics where they differ; whether the host has the instruction.
pub(crate) fn run(bench: &mut Bench, case: &Case) -> bool {
    bench.load(case.mode, &case.bytes);
    bench.memory().copy_from_slice(&case.memory);
    let mut registers = case.registers;
    let end = bench.run(&mut registers);

    let mut cpu = program(case.mode, case.instruction.ip(), &case.registers);
    let mut pages = Pages(case.memory.clone());
    let done = execute(&mut cpu, &mut pages, &case.instruction);
    if matches!(end, End::Raised { vector: 6, .. }) && done.is_ok() {
        return false;
    }
    let same_end = match done {
        Ok(()) => end == End::Done,
        Err(exception) => is_same(end, exception),
    };
    assert!(
        same_end,
        "{}: the host ends in {end:x?}, not {done:x?}",
        describe(case)
    );
    if done.is_err() || is_undefined(case, &cpu) {
        return true;
    }
    let count = if case.mode == Mode::Long { 16 } else { 8 };
    let (there, here) = (&registers.general[..count], &cpu.general[..count]);
    assert_eq!(there, here, "{}: registers", describe(case));
    let differing = (registers.flags ^ cpu.rflags()) & COMPARED & !undefined(case);
    let flags = (registers.flags & COMPARED, cpu.rflags() & COMPARED);
    assert_eq!(differing, 0, "{}: flags {flags:x?}", describe(case));
    let same = bench.memory() == pages.0.as_slice();
    assert!(same, "{}: memory", describe(case));
    true
}

/// Whether an exception is the one that the host raised.
pub(crate) fn is_same(end: End, exception: Exception) -> bool {
    let End::Raised {
        vector,
        error,
        address,
    } = end
    else {
        return false;
    };
    let place = match exception {
        Exception::Page { address, .. } => address,
        _ => 0,
    };
    (vector, error, address)
        == (
            exception.vector(),
            exception.error_code().unwrap_or(0),
            place,
        )
}

/// Flags that are undefined.
fn undefined(case: &Case) -> u64 {
    let bits = case.instruction.rflags_undefined();
    let flag = |bit, flag| if bits & bit != 0 { flag } else { 0 };
    let known = flag(RflagsBits::CF, 1 << 0)
        | flag(RflagsBits::PF, 1 << 2)
        | flag(RflagsBits::AF, 1 << 4)
        | flag(RflagsBits::ZF, 1 << 6)
        | flag(RflagsBits::SF, 1 << 7)
        | flag(RflagsBits::OF, 1 << 11);
    known | undefined_by_count(case)
}

/// What depends on the count as the processor looks at it: the carry where all bits are shifted out,
/// the overflow of rotations by more than one.
fn undefined_by_count(case: &Case) -> u64 {
    let bits = operand_bits(case);
    let count = u32::from(shift_count(case)) & if bits == 64 { 63 } else { 31 };
    match case.instruction.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal | Mnemonic::Shr if count >= bits => 1 << 0,
        Mnemonic::Rol | Mnemonic::Ror | Mnemonic::Rcl | Mnemonic::Rcr if count > 1 => 1 << 11,
        _ => 0,
    }
}

fn operand_bits(case: &Case) -> u32 {
    let instruction = &case.instruction;
    let memory = instruction.memory_size().size();
    8 * (if memory > 0 {
        memory
    } else {
        instruction.op0_register().size()
    }) as u32
}

/// The count of a shift: its last operand, or `cl`.
fn shift_count(case: &Case) -> u8 {
    let instruction = &case.instruction;
    let last = instruction.op_count().saturating_sub(1);
    instruction
        .try_immediate(last)
        .map_or(case.registers.general[1] as u8, |count| count as u8)
}

/// Whether nothing can be said of the result: a double shift of 16 bits by more; the place of a bit where
/// there is none.
fn is_undefined(case: &Case, done: &Cpu) -> bool {
    match case.instruction.mnemonic() {
        Mnemonic::Shld | Mnemonic::Shrd => {
            operand_bits(case) == Size::Word.bits() && shift_count(case) & 31 > 16
        }
        Mnemonic::Bsf | Mnemonic::Bsr => done.flags.zero(),
        _ => false,
    }
}

fn describe(case: &Case) -> String {
    let mut text = String::new();
    let mut formatter = IntelFormatter::new();
    formatter.format(&case.instruction, &mut text);
    let Case {
        mode,
        bytes,
        registers,
        ..
    } = case;
    format!("{text} ({mode:?}, {bytes:x?}) of {registers:x?}")
}
