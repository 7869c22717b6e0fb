//! Operands: where they are, and how they are read and written.

use iced_x86::{OpKind, Register};
use x86_paging::{Access, Kind};
use x86_state::Segment;

use super::Step;
use crate::cpu::{CodeSize, has_base, segment};
use crate::descriptor::Rights;
use crate::{Exception, Size};

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
        let register = |register: Register, _, _| {
            // The segment's base is added later, and `rip` is in the displacement already.
            Some(if register.is_segment_register() {
                0
            } else {
                self.register(register)
            })
        };
        let offset = self.instruction.virtual_address(operand, 0, register);
        offset.ok_or(Exception::InvalidOpcode)
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

    /// The linear address of so many bytes in a segment, if the segment allows the access.
    pub(super) fn linear(
        &self,
        name: Register,
        offset: u64,
        bytes: u64,
        writes: bool,
    ) -> Result<u64, Exception> {
        let refused = if name == Register::SS {
            Exception::Stack(0)
        } else {
            Exception::Protection(0)
        };
        let segment = segment(&self.cpu.segments, name).ok_or(Exception::InvalidOpcode)?;
        if self.cpu.code_size() == CodeSize::Quad {
            let base = if has_base(name) { segment.base } else { 0 };
            let address = base.wrapping_add(offset);
            let last = address.wrapping_add(bytes - 1);
            return if is_canonical(address) && is_canonical(last) {
                Ok(address)
            } else {
                Err(refused)
            };
        }
        if allows(segment, offset, bytes, writes) {
            Ok(segment.base.wrapping_add(offset) & 0xffff_ffff)
        } else {
            Err(refused)
        }
    }

    /// Reads memory in the program's name. With `for_writing` it is written next.
    pub(super) fn read_at(
        &mut self,
        address: u64,
        size: Size,
        for_writing: bool,
    ) -> Result<u64, Exception> {
        let kind = if for_writing { Kind::Write } else { Kind::Read };
        let privilege = self.cpu.privilege();
        self.memory.read(address, size, Access { kind, privilege })
    }

    /// Writes memory in the program's name.
    pub(super) fn write_at(
        &mut self,
        address: u64,
        size: Size,
        value: u64,
    ) -> Result<(), Exception> {
        let privilege = self.cpu.privilege();
        self.memory.write(address, size, value, privilege)
    }

    /// Replaces a value in memory in the program's name, if it is still the old one.
    pub(super) fn exchange_at(
        &mut self,
        address: u64,
        size: Size,
        old_and_new: (u64, u64),
    ) -> Result<bool, Exception> {
        let privilege = self.cpu.privilege();
        self.memory.exchange(address, size, old_and_new, privilege)
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
        let segment = self.instruction.memory_segment();
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

/// Whether an address of 48 bits, with its sign in the rest.
pub(super) const fn is_canonical(address: u64) -> bool {
    (address as i64) << 16 >> 16 == address as i64
}

/// Whether a segment allows an access (SDM vol. 3, 5.3 and 5.4).
fn allows(segment: &Segment, offset: u64, bytes: u64, writes: bool) -> bool {
    let rights = Rights(segment.rights);
    let last = offset + (bytes - 1);
    let limit = u64::from(segment.limit);
    let is_within = if rights.expands_down() {
        let top = if rights.is_big() { 0xffff_ffff } else { 0xffff };
        offset > limit && last <= top
    } else {
        last <= limit
    };
    let is_right = if writes {
        rights.is_writable()
    } else {
        rights.is_readable()
    };
    rights.is_present() && is_within && is_right
}
