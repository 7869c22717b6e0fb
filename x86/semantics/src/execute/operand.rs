//! Operands: where they are, and how they are read and written.

use iced_x86::{Instruction, OpKind, Register};

use super::Step;
use crate::cpu::{CodeSize, has_base};
use crate::processor::linear;
use crate::{Cpu, Exception, Size};

/// Where an operand is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// Bits of a general register.
    Register {
        number: usize,
        shift: u32,
        size: Size,
    },
    /// A linear address.
    Memory { address: u64, size: Size },
}

impl Place {
    pub(super) const fn size(self) -> Size {
        match self {
            Self::Register { size, .. } | Self::Memory { size, .. } => size,
        }
    }
}

/// The size of so many bytes.
pub(super) const fn size_of(bytes: usize) -> Option<Size> {
    Some(match bytes {
        1 => Size::Byte,
        2 => Size::Word,
        4 => Size::Double,
        8 => Size::Quad,
        _ => return None,
    })
}

/// Where a general register is; `None` for others.
pub(super) fn general(register: Register) -> Option<Place> {
    let size = size_of(register.size())?;
    if !register.is_gpr() {
        return None;
    }
    let number = register.number();
    let (number, shift) = match (size, number) {
        // `ah ch dh bh`, and from `spl` on the numbers are four too many.
        (Size::Byte, 4..8) => (number - 4, 8),
        (Size::Byte, 8..) => (number - 4, 0),
        _ => (number, 0),
    };
    Some(Place::Register {
        number,
        shift,
        size,
    })
}

impl Step<'_> {
    /// The segment of the memory operand.
    pub(super) fn memory_segment(&self) -> Register {
        segment_of(self.cpu, self.instruction)
    }

    /// The general register of a place, as it is now.
    pub(super) fn register(&self, register: Register) -> u64 {
        match general(register) {
            Some(Place::Register {
                number,
                shift,
                size,
            }) => size.cut(self.cpu.general[number] >> shift),
            _ => 0,
        }
    }

    /// Sets a general register: 32 bits clear the upper half, fewer leave the rest.
    pub(super) fn set_register(&mut self, register: Register, value: u64) {
        if let Some(Place::Register {
            number,
            shift,
            size,
        }) = general(register)
        {
            self.put(number, shift, size, value);
        }
    }

    fn put(&mut self, number: usize, shift: u32, size: Size, value: u64) {
        let general = &mut self.cpu.general[number];
        *general = match size {
            Size::Quad | Size::Double => size.cut(value),
            _ => *general & !(size.mask() << shift) | size.cut(value) << shift,
        };
    }

    /// The offset of a memory operand in its segment.
    pub(super) fn offset(&self, operand: u32) -> Result<u64, Exception> {
        offset(self.cpu, self.instruction, operand)
    }

    /// The bits of an address that count for the memory operand.
    pub(super) fn address_mask(&self) -> u64 {
        let (base, index) = (
            self.instruction.memory_base(),
            self.instruction.memory_index(),
        );
        let register = if base == Register::None { index } else { base };
        let bytes = match register {
            Register::None => self.instruction.memory_displ_size() as usize,
            register => register.size(),
        };
        size_of(bytes).unwrap_or(Size::Quad).mask()
    }

    /// Where an operand is that is a register or in memory.
    pub(super) fn place(&self, operand: u32, writes: bool) -> Result<Place, Exception> {
        if self.instruction.op_kind(operand) == OpKind::Register {
            let register = self.instruction.op_register(operand);
            return general(register).ok_or(Exception::InvalidOpcode);
        }
        let bytes = self.instruction.memory_size().size();
        let size = size_of(bytes).ok_or(Exception::InvalidOpcode)?;
        let offset = self.offset(operand)?;
        let segment = self.memory_segment();
        let address = self.linear(segment, offset, u64::from(size.bytes()), writes)?;
        Ok(Place::Memory { address, size })
    }

    /// What is there. With `for_writing` it is written next.
    pub(super) fn load(&mut self, place: Place, for_writing: bool) -> Result<u64, Exception> {
        match place {
            Place::Register {
                number,
                shift,
                size,
            } => Ok(size.cut(self.cpu.general[number] >> shift)),
            Place::Memory { address, size } => self.read_at(address, size, for_writing),
        }
    }

    /// Puts a value there.
    pub(super) fn store(&mut self, place: Place, value: u64) -> Result<(), Exception> {
        match place {
            Place::Register {
                number,
                shift,
                size,
            } => self.put(number, shift, size, value),
            Place::Memory { address, size } => {
                self.write_at(address, size, size.cut(value))?;
            }
        }
        Ok(())
    }

    /// An operand's size: that of its register or memory; of an immediate, that of the first operand.
    pub(super) fn size(&self, operand: u32) -> Size {
        let bytes = match self.instruction.op_kind(operand) {
            OpKind::Register => self.instruction.op_register(operand).size(),
            OpKind::Memory => self.instruction.memory_size().size(),
            _ if operand > 0 => return self.size(0),
            _ => 0,
        };
        size_of(bytes).unwrap_or(Size::Quad)
    }

    /// An operand's value: of a register, memory, or an immediate as the first operand's size has it.
    pub(super) fn read(&mut self, operand: u32) -> Result<u64, Exception> {
        match self.instruction.op_kind(operand) {
            OpKind::Register | OpKind::Memory => {
                let place = self.place(operand, false)?;
                self.load(place, false)
            }
            _ => Ok(self.size(0).cut(self.instruction.immediate(operand))),
        }
    }

    /// Writes an operand.
    pub(super) fn write(&mut self, operand: u32, value: u64) -> Result<(), Exception> {
        let place = self.place(operand, true)?;
        self.store(place, value)
    }

    /// Replaces an operand's value by what `change` makes of it, in one step if the instruction is
    /// locked; `change` may be asked several times then. What else it says is of the last time.
    pub(super) fn update<T>(
        &mut self,
        operand: u32,
        mut change: impl FnMut(Size, u64) -> (u64, T),
    ) -> Result<T, Exception> {
        let place = self.place(operand, true)?;
        loop {
            let old = self.load(place, true)?;
            let (new, more) = change(place.size(), old);
            match place {
                Place::Memory { address, size } if self.instruction.has_lock_prefix() => {
                    if !self.exchange_at(address, size, (old, size.cut(new)))? {
                        continue;
                    }
                }
                _ => self.store(place, new)?,
            }
            return Ok(more);
        }
    }
}

/// The linear address of so many bytes of a memory operand, if its segment allows the access.
///
/// # Errors
/// `#SS` or `#GP`, where it does not.
pub fn linear_address(
    cpu: &Cpu,
    instruction: &Instruction,
    operand: u32,
    bytes: u64,
    writes: bool,
) -> Result<u64, Exception> {
    let offset = offset(cpu, instruction, operand)?;
    linear(cpu, segment_of(cpu, instruction), offset, bytes, writes)
}

/// The segment of the memory operand. In 64-bit code prefixes other than those for `FS` and `GS` say nothing.
fn segment_of(cpu: &Cpu, instruction: &Instruction) -> Register {
    let named = instruction.memory_segment();
    if cpu.code_size() != CodeSize::Quad || has_base(named) {
        return named;
    }
    match instruction.memory_base() {
        Register::RSP | Register::RBP | Register::ESP | Register::EBP => Register::SS,
        _ => Register::DS,
    }
}

fn offset(cpu: &Cpu, instruction: &Instruction, operand: u32) -> Result<u64, Exception> {
    let register = |register: Register, _, _| match general(register) {
        Some(Place::Register {
            number,
            shift,
            size,
        }) => Some(size.cut(cpu.general[number] >> shift)),
        // The segment's base is added later, and `rip` is in the displacement already.
        _ => Some(0),
    };
    let offset = instruction.virtual_address(operand, 0, register);
    offset.ok_or(Exception::InvalidOpcode)
}
