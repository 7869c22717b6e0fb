//! Registers and memory together: segments, the stack, accesses in the program's name.

use iced_x86::Register;
use x86_paging::{Access, Kind};
use x86_state::Segment;

use crate::cpu::{CodeSize, has_base, segment};
use crate::descriptor::Rights;
use crate::{Cpu, Exception, Memory, Size};

/// Rights of a segment: it is code, and conforming; it is data that can be written.
const CODE: u16 = 3 << 2;
const WRITABLE: u16 = 1 << 1;
/// Stack pointer, in the order of encoding.
const RSP: usize = 4;

/// A virtual CPU and the memory that it sees.
pub(crate) struct Processor<'a> {
    pub(crate) cpu: &'a mut Cpu,
    pub(crate) memory: &'a mut dyn Memory,
}

impl Processor<'_> {
    /// The linear address of so many bytes in a segment, if the segment allows the access.
    pub(crate) fn linear(
        &self,
        name: Register,
        offset: u64,
        bytes: u64,
        writes: bool,
    ) -> Result<u64, Exception> {
        linear(self.cpu, name, offset, bytes, writes)
    }

    /// The linear address of an offset, whatever the segment allows.
    pub(crate) fn unchecked(&self, name: Register, offset: u64) -> u64 {
        let base = segment(&self.cpu.segments, name).map_or(0, |segment| segment.base);
        if self.cpu.code_size() == CodeSize::Quad {
            let base = if has_base(name) { base } else { 0 };
            base.wrapping_add(offset)
        } else {
            base.wrapping_add(offset) & 0xffff_ffff
        }
    }

    /// Whether the I/O privilege level allows what only some programs may: ports, `CLI`.
    pub(crate) const fn may_use_ports(&self) -> bool {
        self.cpu.level() as u64 <= self.cpu.system_flags >> 12 & 3
    }

    /// Reads memory in the program's name. With `for_writing` it is written next.
    pub(crate) fn read_at(
        &mut self,
        address: u64,
        size: Size,
        for_writing: bool,
    ) -> Result<u64, Exception> {
        let kind = if for_writing { Kind::Write } else { Kind::Read };
        let privilege = self.cpu.privilege();
        self.demand_aligned(address, size)?;
        self.memory.read(address, size, Access { kind, privilege })
    }

    /// Writes memory in the program's name.
    pub(crate) fn write_at(
        &mut self,
        address: u64,
        size: Size,
        value: u64,
    ) -> Result<(), Exception> {
        self.demand_aligned(address, size)?;
        let privilege = self.cpu.privilege();
        self.memory.write(address, size, value, privilege)
    }

    /// Replaces a value in memory in the program's name, if it is still the old one.
    pub(crate) fn exchange_at(
        &mut self,
        address: u64,
        size: Size,
        old_and_new: (u64, u64),
    ) -> Result<bool, Exception> {
        self.demand_aligned(address, size)?;
        let privilege = self.cpu.privilege();
        self.memory.exchange(address, size, old_and_new, privilege)
    }

    /// A program may ask to be told of accesses that are not aligned (SDM vol. 3, 6.15, interrupt 17). Processors look
    /// before they look for the page, whatever the manual says of the order (seen on both makers').
    const fn demand_aligned(&self, address: u64, size: Size) -> Result<(), Exception> {
        if self.cpu.checks_alignment() && !address.is_multiple_of(size.bytes() as u64) {
            return Err(Exception::Alignment);
        }
        Ok(())
    }

    pub(crate) fn stack(&self) -> u64 {
        self.cpu.general[RSP] & self.cpu.stack_mask()
    }

    pub(crate) fn set_stack(&mut self, value: u64) {
        let mask = self.cpu.stack_mask();
        let kept = if mask == 0xffff { !mask } else { 0 };
        let stack = &mut self.cpu.general[RSP];
        *stack = *stack & kept | value & mask;
    }

    pub(crate) fn push(&mut self, size: Size, value: u64) -> Result<(), Exception> {
        let to = self.stack().wrapping_sub(size.bytes().into()) & self.cpu.stack_mask();
        let address = self.linear(Register::SS, to, size.bytes().into(), true)?;
        self.write_at(address, size, size.cut(value))?;
        self.set_stack(to);
        Ok(())
    }

    /// What is on top, without taking it.
    pub(crate) fn top(&mut self, size: Size) -> Result<u64, Exception> {
        self.nth(size, 0)
    }

    /// The value behind `number` others of its size, without taking it.
    pub(crate) fn nth(&mut self, size: Size, number: u64) -> Result<u64, Exception> {
        self.above(size, number * u64::from(size.bytes()))
    }

    /// The value so many bytes above the top of the stack.
    pub(crate) fn above(&mut self, size: Size, distance: u64) -> Result<u64, Exception> {
        let bytes = u64::from(size.bytes());
        let at = self.stack().wrapping_add(distance) & self.cpu.stack_mask();
        let address = self.linear(Register::SS, at, bytes, false)?;
        self.read_at(address, size, false)
    }

    /// Takes so many bytes.
    pub(crate) fn drop_top(&mut self, bytes: u64) {
        self.set_stack(self.stack().wrapping_add(bytes));
    }

    /// The selector in a segment register.
    pub(crate) fn selector(&self, name: Register) -> Result<u64, Exception> {
        let segment = segment(&self.cpu.segments, name);
        let segment = segment.ok_or(Exception::InvalidOpcode)?;
        Ok(segment.selector.into())
    }
}

/// The linear address of so many bytes at an offset in a segment, if the segment allows the access.
///
/// # Errors
/// `#SS` or `#GP`, where it does not.
pub fn linear(
    cpu: &Cpu,
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
    let segment = segment(&cpu.segments, name).ok_or(Exception::InvalidOpcode)?;
    if cpu.code_size() == CodeSize::Quad {
        let base = if has_base(name) { segment.base } else { 0 };
        let address = base.wrapping_add(offset);
        let last = address.wrapping_add(bytes - 1);
        return if is_canonical(address) && is_canonical(last) {
            Ok(address)
        } else {
            Err(refused)
        };
    }
    // What was code in protected mode allows everything in real mode.
    let is_code_of_real_mode = name == Register::CS && !cpu.is_protected();
    let rights = if is_code_of_real_mode {
        segment.rights & !CODE | WRITABLE
    } else {
        segment.rights
    };
    let segment = Segment { rights, ..*segment };
    if allows(&segment, offset, bytes, writes) {
        Ok(segment.base.wrapping_add(offset) & 0xffff_ffff)
    } else {
        Err(refused)
    }
}

/// Whether an address of 48 bits, with its sign in the rest (SDM vol. 1, 3.3.7.1).
#[must_use]
pub const fn is_canonical(address: u64) -> bool {
    (address as i64) << 16 >> 16 == address as i64
}

/// Whether a segment allows an access (SDM vol. 3, 5.3 and 5.4).
pub(crate) fn allows(segment: &Segment, offset: u64, bytes: u64, writes: bool) -> bool {
    let rights = Rights(segment.rights);
    let last = offset + (bytes - 1);
    let limit = u64::from(segment.limit);
    let is_within = if rights.expands_down() {
        let top = if rights.is_big() { 0xffff_ffff } else { 0xffff };
        offset > limit && last <= top
    } else {
        // Whether the end of a whole address space is one is the processor's choice (5.3).
        segment.limit == u32::MAX || last <= limit
    };
    let is_right = if writes {
        rights.is_writable()
    } else {
        rights.is_readable()
    };
    rights.is_present() && is_within && is_right
}
