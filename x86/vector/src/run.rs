//! Runs the host's instruction in place of a guest's: its operands before, its results after.

use iced_x86::Instruction;
use x86_paging::{Access, Kind};
use x86_semantics::{Cpu, Exception, Flags, Memory, Size};

use crate::address::address;
use crate::available::{self, Uses};
use crate::float;
use crate::prepared::{Handler, Prepared};
use crate::registers::{Vectors, array};

/// One instruction under way.
pub(crate) struct Step<'a> {
    pub(crate) vectors: &'a mut Vectors,
    pub(crate) cpu: &'a mut Cpu,
    pub(crate) memory: Reach<'a>,
    pub(crate) instruction: &'a Instruction,
}

/// Where the memory operand is.
pub(crate) enum Reach<'a> {
    /// It is looked for.
    Memory(&'a mut dyn Memory),
    /// Whoever executes the instruction found it at this address, and brings and takes it in the buffer.
    Given {
        /// Linear.
        address: u64,
        /// It is to be written.
        is_written: bool,
    },
}

/// What an instruction does with its memory operand.
pub(crate) const NONE: u8 = 0;
pub(crate) const READS: u8 = 1;
pub(crate) const WRITES: u8 = 2;

/// Bytes of the largest image.
const LARGEST: usize = 832;

/// `rax`, `rcx` and `rdx`.
const RAX: usize = 0;
const RCX: usize = 1;
const RDX: usize = 2;

impl Step<'_> {
    /// The linear address of a memory operand of so many bytes, which has to be a multiple of them where the
    /// instruction says so.
    #[inline]
    pub(crate) fn address(&self, prepared: &Prepared, writes: bool) -> Result<u64, Exception> {
        if let Reach::Given { address, .. } = self.memory {
            return Ok(address);
        }
        let bytes = u64::from(prepared.memory_bytes);
        let operand = prepared.memory_operand();
        let address = address(self.cpu, self.instruction, operand, bytes, writes)?;
        if prepared.is_aligned() && address & (bytes - 1) != 0 {
            return Err(Exception::Protection(0));
        }
        prepared.check_alignment(self.cpu, address)?;
        Ok(address)
    }

    /// Reads bytes in the program's name.
    #[inline]
    pub(crate) fn read(&mut self, address: u64, into: &mut [u8]) -> Result<(), Exception> {
        let access = Access {
            kind: Kind::Read,
            privilege: self.cpu.privilege(),
        };
        match &mut self.memory {
            Reach::Memory(memory) => memory.read_bytes(address, into, access),
            Reach::Given { .. } => {
                into.copy_from_slice(&self.vectors.operands.memory[..into.len()]);
                Ok(())
            }
        }
    }

    /// Reads a number in the program's name.
    #[inline]
    pub(crate) fn read_number(&mut self, address: u64, size: Size) -> Result<u64, Exception> {
        let access = Access {
            kind: Kind::Read,
            privilege: self.cpu.privilege(),
        };
        match &mut self.memory {
            Reach::Memory(memory) => memory.read(address, size, access),
            Reach::Given { .. } => {
                let number = u64::from_le_bytes(array(&self.vectors.operands.memory));
                Ok(size.cut(number))
            }
        }
    }

    /// Writes a number, likewise.
    #[inline]
    pub(crate) fn write_number(
        &mut self,
        address: u64,
        size: Size,
        number: u64,
    ) -> Result<(), Exception> {
        let privilege = self.cpu.privilege();
        match &mut self.memory {
            Reach::Memory(memory) => memory.write(address, size, size.cut(number), privilege),
            Reach::Given { is_written, .. } => {
                *is_written = true;
                self.vectors.operands.memory[..8].copy_from_slice(&number.to_le_bytes());
                Ok(())
            }
        }
    }

    /// Writes bytes in the program's name.
    #[inline]
    pub(crate) fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Exception> {
        let privilege = self.cpu.privilege();
        match &mut self.memory {
            Reach::Memory(memory) => memory.write_bytes(address, bytes, privilege),
            Reach::Given { is_written, .. } => {
                *is_written = true;
                self.vectors.operands.memory[..bytes.len()].copy_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Reads bytes that are written next.
    pub(crate) fn read_for_writing(
        &mut self,
        address: u64,
        into: &mut [u8],
    ) -> Result<(), Exception> {
        let access = Access {
            kind: Kind::Write,
            privilege: self.cpu.privilege(),
        };
        match &mut self.memory {
            Reach::Memory(memory) => memory.read_bytes(address, into, access),
            Reach::Given { .. } => Ok(()),
        }
    }

    /// Looks whether bytes may be written, without doing so.
    pub(crate) fn look(&mut self, address: u64, bytes: usize) -> Result<(), Exception> {
        let mut there = [0; LARGEST];
        self.read_for_writing(address, &mut there[..bytes.min(LARGEST)])
    }

    /// Reads the memory operand to its buffer. What is as long as a general register goes the way that most
    /// reads go.
    #[inline]
    pub(crate) fn read_memory(&mut self, prepared: &Prepared) -> Result<u64, Exception> {
        let address = self.address(prepared, false)?;
        let access = Access {
            kind: Kind::Read,
            privilege: self.cpu.privilege(),
        };
        let Reach::Memory(memory) = &mut self.memory else {
            return Ok(address);
        };
        let buffer = &mut self.vectors.operands.memory;
        if let Some(size) = prepared.number_size() {
            let number = memory.read(address, size, access)?;
            buffer[..8].copy_from_slice(&number.to_le_bytes());
        } else {
            let into = &mut buffer[..usize::from(prepared.memory_bytes)];
            memory.read_bytes(address, into, access)?;
        }
        Ok(address)
    }

    /// Writes the memory operand from its buffer.
    #[inline]
    pub(crate) fn write_memory(
        &mut self,
        prepared: &Prepared,
        address: u64,
    ) -> Result<(), Exception> {
        let privilege = self.cpu.privilege();
        let memory = match &mut self.memory {
            Reach::Memory(memory) => memory,
            Reach::Given { is_written, .. } => {
                *is_written = true;
                return Ok(());
            }
        };
        let buffer = &self.vectors.operands.memory;
        if let Some(size) = prepared.number_size() {
            let number = u64::from_le_bytes(array(buffer));
            return memory.write(address, size, size.cut(number), privilege);
        }
        let bytes = &buffer[..usize::from(prepared.memory_bytes)];
        memory.write_bytes(address, bytes, privilege)
    }

    /// Reads the memory operand if there is one that is read; its address, if there is one.
    pub(crate) fn operand(&mut self, prepared: &Prepared) -> Result<Option<u64>, Exception> {
        if prepared.reads_memory() {
            self.read_memory(prepared).map(Some)
        } else if prepared.writes_memory() {
            self.address(prepared, true).map(Some)
        } else {
            Ok(None)
        }
    }

    /// General registers that it reads.
    fn give(&mut self, prepared: &Prepared) {
        let (general, operands) = (&self.cpu.general, &mut self.vectors.operands);
        if let Some(number) = prepared.general() {
            operands.general = general[number];
        }
        if prepared.has_lengths() {
            operands.accumulator = general[RAX];
            operands.data = general[RDX];
        }
    }

    /// Flags that it wrote.
    #[inline]
    pub(crate) fn take_flags(&mut self) {
        self.cpu.flags = Flags::from_bits(self.vectors.operands.flags);
    }

    /// The general register that it wrote, if it wrote one.
    #[inline]
    pub(crate) fn take_general(&mut self, prepared: &Prepared) {
        if let Some(number) = prepared.general().filter(|_| prepared.writes_general()) {
            self.cpu.general[number] = self.vectors.operands.general;
        }
    }

    /// General registers and flags that it wrote, and what using MMX means for x87.
    fn take(&mut self, prepared: &Prepared) {
        self.take_general(prepared);
        if prepared.writes_flags() {
            self.take_flags();
        }
        if prepared.gives_index() {
            self.cpu.general[RCX] = self.vectors.operands.counter;
        }
        if prepared.is_mmx() {
            self.vectors.numeric.enter_mmx();
            if let Some(number) = prepared.mmx_written() {
                self.vectors.operands.x87[number][8..10].fill(0xff);
            }
        }
    }
}

/// Runs the stub. `MEMORY` is what it does with memory, `FLOAT` whether MXCSR counts, `MORE` whether there is
/// anything but vector registers and memory.
pub(crate) fn run<const MEMORY: u8, const FLOAT: bool, const MORE: bool>(
    prepared: &Prepared,
    step: &mut Step<'_>,
) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    if MORE && prepared.is_mmx() {
        step.deliver()?;
    }
    run_checked::<MEMORY, FLOAT, MORE>(prepared, step)
}

/// The same for vector registers alone, by an instruction of which the unit is known.
fn run_known<const MEMORY: u8, const FLOAT: bool, const USES: u8>(
    prepared: &Prepared,
    step: &mut Step<'_>,
) -> Result<(), Exception> {
    available::check_known::<USES>(step.cpu)?;
    run_checked::<MEMORY, FLOAT, false>(prepared, step)
}

#[inline(always)]
fn run_checked<const MEMORY: u8, const FLOAT: bool, const MORE: bool>(
    prepared: &Prepared,
    step: &mut Step<'_>,
) -> Result<(), Exception> {
    let address = match MEMORY {
        READS => step.read_memory(prepared)?,
        WRITES => step.address(prepared, true)?,
        _ => 0,
    };
    if MORE {
        step.give(prepared);
    }
    let stub = prepared.stub()?;
    if FLOAT {
        if MEMORY == WRITES {
            // A page fault comes before what the numbers raise.
            step.look(address, prepared.memory_bytes.into())?;
        }
        float::run(stub, prepared, step)?;
    } else {
        stub.run(&mut step.vectors.operands, prepared.at);
    }
    if MEMORY == WRITES {
        step.write_memory(prepared, address)?;
    }
    if MORE {
        step.take(prepared);
    }
    Ok(())
}

/// What runs an instruction's stub.
pub(crate) fn handler(prepared: &Prepared, is_float: bool, has_more: bool) -> Handler {
    let memory = if prepared.reads_memory() {
        READS
    } else if prepared.writes_memory() {
        WRITES
    } else {
        NONE
    };
    match (prepared.uses, has_more) {
        (Uses::Sse, false) => of_vectors::<{ Uses::Sse as u8 }>(memory, is_float),
        (Uses::Avx, false) => of_vectors::<{ Uses::Avx as u8 }>(memory, is_float),
        _ if is_float => of_more::<true>(memory),
        _ => of_more::<false>(memory),
    }
}

fn of_vectors<const USES: u8>(memory: u8, is_float: bool) -> Handler {
    match (memory, is_float) {
        (READS, false) => run_known::<READS, false, USES>,
        (READS, true) => run_known::<READS, true, USES>,
        (WRITES, false) => run_known::<WRITES, false, USES>,
        (WRITES, true) => run_known::<WRITES, true, USES>,
        (_, false) => run_known::<NONE, false, USES>,
        (_, true) => run_known::<NONE, true, USES>,
    }
}

fn of_more<const FLOAT: bool>(memory: u8) -> Handler {
    match memory {
        READS => run::<READS, FLOAT, true>,
        WRITES => run::<WRITES, FLOAT, true>,
        _ => run::<NONE, FLOAT, true>,
    }
}
