//! Runs a case both ways. Where manuals leave something open, it is left out here, and only here.

use host_processor::{Bench, End, MEMORY, Mode};
use iced_x86::{Formatter as _, IntelFormatter};
use x86_semantics::{Exception, Flags, execute};

use super::generate::Case;
use oracle::{Pages, end_of, is_undefined, may_differ, open_pushed, program, undefined_flags};

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
    if may_differ(&case.instruction, end, end_of(done)) {
        return true;
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
    let cl = case.registers.general[1] as u8;
    if done.is_err() || is_undefined(&case.instruction, cl, cpu.flags.zero()) {
        return true;
    }
    let count = if case.mode == Mode::Long { 16 } else { 8 };
    let (there, here) = (&registers.general[..count], &cpu.general[..count]);
    assert_eq!(there, here, "{}: registers", describe(case));
    let differing =
        (registers.flags ^ cpu.rflags()) & COMPARED & !undefined_flags(&case.instruction, cl);
    let flags = (registers.flags & COMPARED, cpu.rflags() & COMPARED);
    assert_eq!(differing, 0, "{}: flags {flags:x?}", describe(case));
    // A push ends at the stack's last bytes.
    let open = open_pushed(&case.instruction);
    let top = cpu.general[4].wrapping_sub(MEMORY) as usize + 4;
    if open > 0 && (4..=pages.0.len()).contains(&top) {
        pages.0[top - open..top].copy_from_slice(&bench.memory()[top - open..top]);
    }
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
