//! Runs a case both ways. Where manuals leave something open, it is left out here, and only here.

use host_processor::stub::host_has;
use host_processor::{Bench, End, Extended, MEMORY, Mode};
use iced_x86::{Formatter as _, IntelFormatter};
use x86_semantics::{Exception, Flags};
use x86_vector::{Unit, Vectors, execute};

use crate::generate::Case;
use crate::images;
use oracle::{
    Pages, VECTOR_PARTS, end_of, is_image, left_out, may_differ, may_fault, open_conditions,
    open_mxcsr, program,
};

/// `CR4` and `XCR0` as programs of Linux have them: all that there is, enabled.
const CR4: u64 = 1 << 9 | 1 << 10 | 1 << 18;
const XCR0: u64 = 7;

/// Whether the host has the instruction.
///
/// # Errors
/// What differs.
pub(crate) fn run(bench: &mut Bench, unit: &mut Unit, case: &Case) -> Result<bool, String> {
    if images::has_more(case) {
        return Ok(true);
    }
    bench.load(case.mode, &case.bytes);
    bench.memory().copy_from_slice(&case.memory);
    let (mut registers, mut extended) = (case.registers, case.extended);
    let end = bench.run_extended(&mut registers, &mut extended);

    let mut cpu = program(case.mode, case.instruction.ip(), &case.registers);
    cpu.control.cr4 = CR4;
    cpu.control.xcr0 = XCR0;
    let mut pages = Pages(case.memory.clone());
    let mut vectors = Vectors::from_xsave(&case.extended.bytes);
    let Some(prepared) = unit.prepare(&case.instruction) else {
        let is_missing = !host_has(case.instruction.code());
        return is_missing.then_some(false).ok_or("not prepared".into());
    };
    let done = execute(
        &prepared,
        &mut vectors,
        &mut cpu,
        &mut pages,
        &case.instruction,
    );
    if matches!(end, End::Raised { vector: 6, .. }) && done.is_ok() {
        return Ok(false);
    }
    if may_fault(&case.instruction) && done.is_ok() && matches!(end, End::Raised { vector: 14, .. })
    {
        return Ok(true);
    }
    if may_differ(&case.instruction, end, end_of(done)) {
        return Ok(true);
    }
    let same_end = match done {
        Ok(()) => end == End::Done,
        Err(exception) => is_same(case, end, exception),
    };
    let what = describe(case);
    if !same_end {
        return Err(format!("the host ends in {end:x?}, not {done:x?}: {what}"));
    }
    let count = if case.mode == Mode::Long { 16 } else { 8 };
    let (there, here) = (&registers.general[..count], &cpu.general[..count]);
    if there != here {
        return Err(format!("registers {there:x?}, not {here:x?}: {what}"));
    }
    let flags = (registers.flags & Flags::MASK, cpu.rflags() & Flags::MASK);
    if flags.0 != flags.1 {
        return Err(format!("flags {:x}, not {:x}: {what}", flags.0, flags.1));
    }
    compare_memory(case, bench.memory(), pages.0).map_err(|error| format!("{error}: {what}"))?;
    compare_state(case, &extended, &vectors).map_err(|error| format!("{error}: {what}"))?;
    Ok(true)
}

/// Images have the pointers of x87, which are left out, and the bits that MXCSR has, which are fewer here.
fn compare_memory(case: &Case, there: &[u8], mut here: Vec<u8>) -> Result<(), String> {
    let start = (case.place - MEMORY) as usize;
    for range in left_out(&case.instruction) {
        let range = start + range.start..start + range.end;
        if range.end <= here.len() {
            here[range.clone()].copy_from_slice(&there[range]);
        }
    }
    if there == here {
        return Ok(());
    }
    Err(format!(
        "memory (operand at {start}){}",
        difference(there, &here)
    ))
}

/// The first byte that differs, and those from there.
fn difference(there: &[u8], here: &[u8]) -> String {
    let at = there
        .iter()
        .zip(here)
        .position(|(there, here)| there != here);
    let at = at.unwrap_or(0);
    let end = (at + 16).min(there.len());
    format!(
        " at {at}: {:x?}, not {:x?}",
        &there[at..end],
        &here[at..end]
    )
}

fn compare_state(case: &Case, there: &Extended, here: &Vectors) -> Result<(), String> {
    let here = here.to_xsave();
    let mut there = there.bytes;
    let before = &case.extended.bytes;
    let mxcsr = u16::from_le_bytes([before[24], before[25]]);
    let open = open_mxcsr(&case.instruction, mxcsr, here[24]);
    there[24] = there[24] & !open | here[24] & open;
    let open = open_conditions(&case.instruction);
    there[3] = there[3] & !open | here[3] & open;
    for (name, range) in VECTOR_PARTS {
        if there[range.clone()] != here[range.clone()] {
            let text = difference(&there[range.clone()], &here[range.clone()]);
            let before = &before[range.start..range.end.min(range.start + 16)];
            return Err(format!("{name}{text} (before {before:x?})"));
        }
    }
    for number in 0..8 {
        let at = 32 + 16 * number;
        let (there, here) = (&there[at..at + 10], &here[at..at + 10]);
        if there != here {
            return Err(format!("st{number} {there:x?}, not {here:x?}"));
        }
    }
    Ok(())
}

/// Whether an exception is the one that the host raised.
fn is_same(case: &Case, end: End, exception: Exception) -> bool {
    let End::Raised {
        vector,
        error,
        address,
    } = end
    else {
        return false;
    };
    let place = match exception {
        // Some read images from their end, or in parts.
        Exception::Page { address: place, .. }
            if is_image(&case.instruction) && place >> 12 == address >> 12 =>
        {
            address
        }
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

fn describe(case: &Case) -> String {
    let mut text = String::new();
    let mut formatter = IntelFormatter::new();
    formatter.format(&case.instruction, &mut text);
    let Case {
        mode,
        bytes,
        registers,
        extended,
        ..
    } = case;
    let info = &case.instruction;
    let vectors: Vec<_> = (0..info.op_count())
        .filter(|operand| info.op_kind(*operand) == iced_x86::OpKind::Register)
        .map(|operand| info.op_register(operand))
        .filter(|register| register.is_vector_register())
        .map(|register| format!("{register:?} {:x?}", extended.vector(register.number())))
        .collect();
    let general = &registers.general;
    let place = (case.place - MEMORY) as usize;
    let image = case
        .memory
        .get(place + 512..place + 576)
        .filter(|_| is_image(&case.instruction));
    format!(
        "{text} ({mode:?}, {bytes:x?}) of {general:x?} {vectors:?} x87 {:x?}, header {image:x?}",
        &extended.bytes[..160]
    )
}
