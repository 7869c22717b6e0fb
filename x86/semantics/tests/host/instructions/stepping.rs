//! Runs programs both ways: on the host, and one instruction after the other.

use host_processor::{Bench, CODE, End, MEMORY_SIZE, Mode, Registers};
use iced_x86::{Decoder, DecoderOptions};
use x86_semantics::{CodeSize, Cpu, Exception, execute};

use super::compare::{COMPARED, is_same};
use super::tables::{Tables, World};
use oracle::Pages;
use oracle::program;

/// Instructions that a program may take.
const STEPS_MAX: usize = 1000;
/// What the memory has before.
const FILLED: u8 = 0x5a;

/// Runs code both ways, which has to end alike: at its last byte in the same state, or in the same
/// exception. How the host ended.
pub(crate) fn check(
    bench: &mut Bench,
    mode: Mode,
    code: &[u8],
    given: &Registers,
    tables: &Tables,
) -> End {
    bench.load(mode, code);
    bench.memory().fill(FILLED);
    let mut registers = *given;
    let end = bench.run(&mut registers);

    let pages = Pages(vec![FILLED; MEMORY_SIZE]);
    let mut world = World { pages, tables };
    let mut cpu = program(mode, CODE, given);
    tables.install(&mut cpu);
    let done = run(&mut cpu, &mut world, code, mode);
    let what = format!("{mode:?} {code:x?} of {given:x?}");
    match (end, done) {
        (End::Done, Ok(())) => {}
        (End::Raised { .. }, Err(exception)) => {
            let alike = is_same(end, exception);
            assert!(
                alike,
                "{what}: {end:x?}, not {exception:x?} at {:x}",
                cpu.rip
            );
            return end;
        }
        _ => panic!("{what}: {end:x?}, not {done:x?} at {:x}", cpu.rip),
    }
    let count = if mode == Mode::Long { 16 } else { 8 };
    let general = (&cpu.general[..count], &registers.general[..count]);
    assert_eq!(general.0, general.1, "{what}");
    let flags = (cpu.rflags() & COMPARED, registers.flags & COMPARED);
    assert_eq!(flags.0, flags.1, "{what}");
    assert!(world.pages.0 == bench.memory(), "{what}: memory");
    end
}

/// Executes code from `rip` on to its end.
fn run(cpu: &mut Cpu, world: &mut World<'_>, code: &[u8], mode: Mode) -> Result<(), Exception> {
    let last = match mode {
        Mode::Protected => CodeSize::Double,
        Mode::Long => CodeSize::Quad,
    };
    for _ in 0..STEPS_MAX {
        let base = match cpu.code_size() {
            CodeSize::Quad => 0,
            _ => cpu.segments.cs.base,
        };
        let at = base.wrapping_add(cpu.rip).wrapping_sub(CODE) as usize;
        if at == code.len() && cpu.code_size() == last {
            return Ok(());
        }
        let rest = code.get(at..).expect("it stays in the code");
        let bits = cpu.code_size().bits();
        let mut decoder = Decoder::with_ip(bits, rest, cpu.rip, DecoderOptions::NONE);
        execute(cpu, world, &decoder.decode())?;
    }
    panic!("{code:x?} does not end");
}
