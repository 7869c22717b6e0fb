//! Bytes as a program's instructions, by the host's processor and by the interpreter (`engine_emulate`): both come to the
//! same registers, flags, vectors and memory, or to the same exception.
//!
//! A program runs instruction by instruction: each on the host from where the interpreter was, and by the interpreter
//! one by one; what goes on without a change from outside, by blocks, too. What cannot run on the host, or is not the
//! same on all processors, is passed over and counted ([`instructions_tally`]): [`harmless`] says what that is, and
//! [`reach`] moves operands to the memory that both have.

mod compare;
mod guest;
mod harmless;
mod input;
mod reach;
mod space;
mod tally;
#[cfg(test)]
mod tests;

use host_processor::{Bench, CODE, End, Mode};
use iced_x86::Mnemonic;
use oracle::Numbers;

use crate::script::Script;
use compare::Case;
use guest::{CODE_SIZE, Guest, Side};
use harmless::Trial;
use space::Space;
pub use tally::instructions_tally;

/// Most instructions of a program.
const MOST: usize = 40;
/// Does nothing.
const NOP: u8 = 0x90;

/// Runs the program that the input describes, both ways.
///
/// # Panics
/// When the interpreter does, or when the two differ.
pub fn instructions(data: &[u8]) {
    oracle::with_bench(|bench| match Space::of_process() {
        Some(space) => Program::new(data, space).run(bench, &mut Script::new(data)),
        None => println!("SKIPPED: the process has memory below the bench"),
    });
}

/// A program, and how far it is.
struct Program {
    mode: Mode,
    space: Space,
    numbers: Numbers,
    guest: Guest,
    /// Where the next instruction begins in the code.
    at: u64,
    side: Side,
    /// What goes on by itself from an earlier state on.
    stretch: Option<Stretch>,
}

/// Instructions that follow each other.
struct Stretch {
    from: u64,
    before: Side,
    text: String,
}

impl Program {
    fn new(data: &[u8], space: Space) -> Self {
        let start = input::Start::new(&mut Script::new(data));
        Self {
            mode: start.mode,
            space,
            numbers: start.numbers,
            guest: Guest::new(start.mode),
            at: 0,
            side: start.side,
            stretch: None,
        }
    }

    fn run(&mut self, bench: &mut Bench, script: &mut Script<'_>) {
        let _ = input::Start::new(script);
        for _ in 0..MOST {
            let Some((mut bytes, made)) = input::next(script, self.mode) else {
                break;
            };
            if self.at + bytes.len() as u64 > CODE_SIZE {
                break;
            }
            match harmless::look(self.mode, &bytes, CODE + self.at) {
                Ok(mut trial) => {
                    script.bytes(trial.length.saturating_sub(made));
                    if let Err(why) = self.try_one(bench, &mut trial, &mut bytes) {
                        tally::count(why);
                        self.pass();
                    }
                }
                Err(why) => tally::count(why),
            }
        }
        self.pass();
    }

    /// Runs one both ways.
    fn try_one(
        &mut self,
        bench: &mut Bench,
        trial: &mut Trial,
        bytes: &mut [u8],
    ) -> Result<(), &'static str> {
        let mut before = self.side.clone();
        let code = (&mut *trial, &mut *bytes);
        let is_changed =
            reach::arrange(self.space, self.mode, code, &mut before, &mut self.numbers)?;
        self.check_values(trial, &before)?;
        if is_changed {
            self.pass();
            self.side = before;
        }
        let bytes = &bytes[..trial.length];
        let there = self.on_host(bench, bytes);
        self.guest.load(self.at, bytes);
        let (end, rip, here) = self.guest.step(self.at, &self.side);
        let case = Case {
            mode: self.mode,
            instruction: &trial.instruction,
            before: &self.side,
            is_open: trial.is_open,
        };
        let mut done = compare::compare(&case, (there.0, &there.1), (end, &here));
        let next = CODE
            + self.at
            + if end == End::Done {
                trial.length as u64
            } else {
                0
            };
        if done.is_ok() && rip != next && !is_trap(trial) {
            done = Err(format!("it goes on at {rip:x}, not {next:x}"));
        }
        if let Err(difference) = done {
            panic!("{difference}: {}", self.describe(trial, bytes));
        }
        self.tell(trial, end);
        self.go_on(trial, bytes, end, here);
        Ok(())
    }

    /// What depends on values in memory: no single steps, no nested tasks, no bits of MXCSR that AMD's have.
    fn check_values(&self, trial: &Trial, side: &Side) -> Result<(), &'static str> {
        use Mnemonic as M;
        const REFUSED: u64 = 0x4100;
        const MISALIGNED: u64 = 1 << 17;
        let refused = match trial.instruction.mnemonic() {
            M::Popf | M::Popfd | M::Popfq => REFUSED,
            M::Ldmxcsr | M::Vldmxcsr => MISALIGNED,
            _ => return Ok(()),
        };
        match reach::first_value(self.mode, &trial.instruction, side) {
            Some(value) if value & refused != 0 => Err("not tried: flags that are not for both"),
            _ => Ok(()),
        }
    }

    /// Behind instructions that do nothing, so that it lies where it does for the interpreter.
    fn on_host(&self, bench: &mut Bench, bytes: &[u8]) -> (End, Side) {
        let mut code = vec![NOP; self.at as usize];
        code.extend(bytes);
        bench.load(self.mode, &code);
        bench.memory().copy_from_slice(&self.side.memory);
        let (mut registers, mut extended) = (self.side.registers, self.side.extended);
        let end = bench.run_extended(&mut registers, &mut extended);
        let memory = bench.memory().to_vec();
        let side = Side {
            registers,
            extended,
            memory,
        };
        (end, side)
    }

    /// Counts what was compared.
    fn tell(&self, trial: &Trial, end: End) {
        tally::count(match (self.mode, end) {
            (_, _) if trial.is_refused => "compared: refused",
            (Mode::Long, End::Done) => "compared: done, 64-bit",
            (Mode::Protected, End::Done) => "compared: done, 32-bit",
            (_, End::Raised { vector: 14, .. }) => "compared: page faults",
            (_, End::Raised { vector: 13, .. }) => "compared: general protection",
            (_, End::Raised { vector: 6, .. }) => "compared: invalid opcodes",
            (_, End::Raised { vector: 17, .. }) => "compared: alignment checks",
            (
                _,
                End::Raised {
                    vector: 16 | 19, ..
                },
            ) => "compared: floating-point exceptions",
            _ => "compared: other exceptions",
        });
        if !trial.is_refused {
            tally::compared(trial.instruction.code());
        }
    }

    /// Goes on behind it: where it came to, or as it was before an exception.
    fn go_on(&mut self, trial: &Trial, bytes: &[u8], end: End, here: Side) {
        let at = self.at;
        if end != End::Done {
            self.pass();
            self.at = at + bytes.len() as u64;
            return;
        }
        let text = format!("{:02x?} {}; ", bytes, trial.instruction);
        let before = std::mem::replace(&mut self.side, here);
        let stretch = self.stretch.get_or_insert_with(|| Stretch {
            from: at,
            before,
            text: String::new(),
        });
        stretch.text.push_str(&text);
        self.at += bytes.len() as u64;
    }

    /// Ends a stretch: by blocks it comes to the same.
    fn pass(&mut self) {
        let Some(stretch) = self.stretch.take() else {
            return;
        };
        let (end, rip, side) = self.guest.run(stretch.from, self.at, &stretch.before);
        let is_there = Guest::is_end(end) && rip == CODE + self.at;
        assert!(
            is_there && side == self.side,
            "by blocks it comes to {end:x?} at {rip:x}, {:x?}, not {:x?}: {:?} {} from {:x?}",
            side.registers,
            self.side.registers,
            self.mode,
            stretch.text,
            stretch.before.registers,
        );
        tally::count("stretches by blocks");
    }

    fn describe(&self, trial: &Trial, bytes: &[u8]) -> String {
        let Trial {
            instruction,
            is_refused,
            ..
        } = trial;
        let (mode, registers) = (self.mode, &self.side.registers);
        let image = &self.side.extended.bytes;
        let vectors: Vec<_> = (0..instruction.op_count())
            .map(|operand| instruction.op_register(operand))
            .filter(|register| register.is_vector_register())
            .map(|register| (register, self.side.extended.vector(register.number())))
            .collect();
        format!(
            "{instruction} ({:?}, refused: {is_refused}, {mode:?}, {bytes:02x?} at {:x}) from {registers:x?} {vectors:02x?} \
             mxcsr {:02x?}, x87 {:02x?}",
            instruction.code(),
            self.at,
            &image[24..28],
            &image[..160],
        )
    }
}

/// Whether its exception comes after it.
fn is_trap(trial: &Trial) -> bool {
    matches!(
        trial.instruction.mnemonic(),
        Mnemonic::Int3 | Mnemonic::Into
    )
}
