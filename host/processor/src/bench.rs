//! Where instructions are tried.

use std::io;
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::area::Area;
use crate::trap::{self, Handlers};
use crate::{End, Extended, Mode, Registers};

/// There is one bench in a process.
static IN_USE: Mutex<()> = Mutex::new(());

/// Flags that code may be given and that are compared: the arithmetic ones, `DF`, `AC`, `ID`.
const FLAGS: u64 = 0x0024_0cd5;
/// The flags that are always there.
const FLAGS_FIXED: u64 = 0x202;

/// The place where instructions are tried. Others wait until it is free.
#[derive(Debug)]
pub struct Bench {
    area: Area,
    _handlers: Handlers,
    _in_use: MutexGuard<'static, ()>,
    /// The stack for signals is this thread's.
    _thread: PhantomData<*const ()>,
}

impl Bench {
    /// Waits for the bench, and readies it.
    ///
    /// # Errors
    /// When the host gives no pages that can be written and executed, or none below 2 GiB.
    pub fn new() -> io::Result<Self> {
        let in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Self {
            area: Area::new()?,
            _handlers: Handlers::new()?,
            _in_use: in_use,
            _thread: PhantomData,
        })
    }

    /// The code to run from now on.
    ///
    /// # Panics
    /// If it is longer than 4,032 bytes.
    pub fn load(&mut self, mode: Mode, code: &[u8]) {
        self.area.load(mode, code);
    }

    /// Memory that the code reaches at [`crate::MEMORY`].
    pub fn memory(&mut self) -> &mut [u8] {
        self.area.memory()
    }

    /// Runs what was loaded; the registers are those at its end. The code must leave x87 and vector
    /// registers alone.
    pub fn run(&mut self, registers: &mut Registers) -> End {
        self.run_with(registers, None)
    }

    /// The same with x87, SSE and AVX state. For hosts with XSAVE, which all with AVX have.
    pub fn run_extended(&mut self, registers: &mut Registers, extended: &mut Extended) -> End {
        let end = self.run_with(registers, Some(extended));
        *extended = self.area.extended();
        end
    }

    fn run_with(&mut self, registers: &mut Registers, extended: Option<&Extended>) -> End {
        let given = Registers {
            general: registers.general,
            flags: registers.flags & FLAGS | FLAGS_FIXED,
        };
        let done = self.area.run(&given, extended);
        let (end, mut there) = trap::take().unwrap_or((End::Done, done));
        there.flags &= FLAGS;
        *registers = there;
        end
    }
}
