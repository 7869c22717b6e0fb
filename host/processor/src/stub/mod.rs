//! Single instructions on vector and x87 registers, run by the host's processor for an interpreter.
//!
//! A [`Stub`] is a few instructions of machine code around the one that is wanted: it loads that one's
//! registers from [`Operands`], runs it, and stores the register that it wrote. The registers' numbers are
//! not part of it: the caller says with each run which [`Slot`]s take part, so that one stub serves all
//! instructions of one form, that is, of one opcode and immediate ([`Stubs::vector`], [`Stubs::x87`]).
//!
//! A memory operand is [`Operands::memory`], a general register [`Operands::general`]; exceptions of
//! floating-point numbers are masked while it runs. So a stub raises nothing and touches nothing
//! else, whatever is in the operands: running one is safe.
//!
//! The code lies in one area of the process, made with the first [`Stubs`] and never given back: a stub may
//! be kept for as long as anybody likes. It is written through one mapping and executed through another, so
//! that no system call is made later. No form is there twice, which bounds the area.

mod area;
mod emit;
mod form;
mod run;
mod stack;

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use iced_x86::Instruction;

use area::CodeArea;
use form::{Family, Form, Key};
pub use form::{host_has, knows};
pub use run::{Operands, Slot, Stub};
pub use stack::Stack;

/// The stubs of the process.
struct Shared {
    area: CodeArea,
    made: HashMap<Key, Stub>,
}

static SHARED: Mutex<Option<Shared>> = Mutex::new(None);

fn shared() -> MutexGuard<'static, Option<Shared>> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where stubs come from: all of these are the same place.
#[derive(Debug)]
pub struct Stubs(());

impl Stubs {
    /// Opens it; the first time makes the area, with the only system calls that there are.
    ///
    /// # Errors
    /// When the host gives no memory that can be executed.
    pub fn new() -> io::Result<Self> {
        let mut shared = shared();
        if shared.is_none() {
            *shared = Some(Shared {
                area: CodeArea::new()?,
                made: HashMap::new(),
            });
        }
        Ok(Self(()))
    }

    /// The stub of an instruction on vector registers or on MMX's; `None` where the host lacks it, or it
    /// does something else than to read registers and memory, and to write one of them (and flags).
    ///
    /// Its operands in order are the slots of a run. The slot after them, the fourth, is that of `xmm0` for
    /// those that mean it without naming it.
    #[must_use]
    pub fn vector(&self, instruction: &Instruction) -> Option<Stub> {
        Self::find(Family::Vector, instruction)
    }

    /// The stub of an instruction on x87 registers, which loads and stores all of them
    /// ([`Operands::image`]).
    #[must_use]
    pub fn x87(&self, instruction: &Instruction) -> Option<Stub> {
        Self::find(Family::X87, instruction)
    }

    /// The stub of an instruction on x87 registers that loads and stores only those which take part, in a
    /// tenth of the time: its slots are the top of the stack, another register, and where one is
    /// pushed. `None` for those that have none of this kind.
    ///
    /// Registers that are read must not be empty, and what is pushed must have a place. Whether exceptions
    /// are masked is not looked at: [`Operands::status`] says what was raised.
    #[must_use]
    pub fn stack(&self, instruction: &Instruction) -> Option<(Stub, Stack)> {
        let stack = Stack::of(instruction)?;
        Some((Self::find(Family::Stack(stack), instruction)?, stack))
    }

    fn find(family: Family, instruction: &Instruction) -> Option<Stub> {
        let mut shared = shared();
        let shared = shared.as_mut()?;
        let key = Key::of(family, instruction);
        if let Some(stub) = shared.made.get(&key) {
            return Some(*stub);
        }
        let form = Form::of(family, instruction)?;
        let stub = shared.area.add(&emit::code(&form)?)?;
        shared.made.insert(key, stub);
        Some(stub)
    }
}
