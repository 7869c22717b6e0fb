//! Descriptor tables, and the segment registers that are loaded from them (SDM vol. 3, 3.4 and 5.5 to 5.7).

use iced_x86::Register;
use x86_paging::{Access, Kind, Privilege};
use x86_state::Segment;

use crate::cpu::{CodeSize, segment_mut};
use crate::descriptor::{Descriptor, Rights};
use crate::processor::{Processor, is_canonical};
use crate::{Exception, Size};

/// Limit and rights of segments in virtual-8086 mode (SDM vol. 3, 21.2.1).
const LIMIT_8086: u32 = 0xffff;
const RIGHTS_8086: u16 = 0xf3;

/// Of a selector: the index in its table; which table; the level in whose name it is used.
const INDEX: u16 = !7;
const LOCAL: u16 = 1 << 2;
const LEVEL: u16 = 3;
/// Bytes of a descriptor, and where in it is what is marked.
const DESCRIPTOR_SIZE: u64 = 8;
const MARKED: u64 = 4;

/// Whether a selector names nothing.
pub(crate) const fn is_null(selector: u16) -> bool {
    selector & !LEVEL == 0
}

/// The level in whose name a selector is used.
pub(crate) const fn requested_level(selector: u16) -> u8 {
    (selector & LEVEL) as u8
}

/// What an error code says of a selector (SDM vol. 3, 6.13).
pub(crate) const fn error_code(selector: u16) -> u32 {
    (selector & !LEVEL) as u32
}

/// A descriptor where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) descriptor: Descriptor,
    pub(crate) address: u64,
}

impl Processor<'_> {
    /// The descriptor that a selector names, which is not null; `None` beyond the table's end.
    pub(crate) fn descriptor(&mut self, selector: u16) -> Result<Option<Found>, Exception> {
        let (base, limit) = if selector & LOCAL == 0 {
            (self.cpu.gdt.base, u32::from(self.cpu.gdt.limit))
        } else {
            let local = &self.cpu.segments.ldt;
            // One that is not usable has no limit.
            if local.rights == 0 {
                return Ok(None);
            }
            (local.base, local.limit)
        };
        let offset = u64::from(selector & INDEX);
        if offset + (DESCRIPTOR_SIZE - 1) > limit.into() {
            return Ok(None);
        }
        let address = self.cpu.linear_mask() & base.wrapping_add(offset);
        let access = Access {
            kind: Kind::Read,
            privilege: Privilege::Implicit,
        };
        let descriptor = Descriptor(self.memory.read(address, Size::Quad, access)?);
        Ok(Some(Found {
            descriptor,
            address,
        }))
    }

    /// The second half of a descriptor of the system's in long mode; `None` beyond the table's end, or
    /// when it is none.
    pub(crate) fn second_half(
        &mut self,
        selector: u16,
        found: Found,
    ) -> Result<Option<u64>, Exception> {
        /// Bits of its type, which are zero.
        const TYPE: u64 = 0x1f << 40;
        if self.descriptor(selector.wrapping_add(8))?.is_none() {
            return Ok(None);
        }
        let high = self.read_table(found.address.wrapping_add(8), Size::Quad)?;
        Ok((high & TYPE == 0).then_some(high))
    }

    /// As [`Processor::descriptor`], of one that has to be there.
    pub(crate) fn needed_descriptor(&mut self, selector: u16) -> Result<Found, Exception> {
        let found = self.descriptor(selector)?;
        found.ok_or(Exception::Protection(error_code(selector)))
    }

    /// Notes in the table that a segment was loaded.
    pub(crate) fn mark(&mut self, found: &mut Found) -> Result<(), Exception> {
        while !found.descriptor.is_accessed() {
            let (old, new) = (found.descriptor, found.descriptor.accessed());
            let upper = |descriptor: Descriptor| descriptor.0 >> (8 * MARKED);
            let address = found.address.wrapping_add(MARKED);
            let halves = (upper(old), upper(new));
            let privilege = Privilege::Implicit;
            let done = self
                .memory
                .exchange(address, Size::Double, halves, privilege)?;
            found.descriptor = if done {
                new
            } else {
                let kind = Kind::Read;
                let access = Access { kind, privilege };
                Descriptor(self.memory.read(found.address, Size::Quad, access)?)
            };
        }
        Ok(())
    }

    /// Writes what only the processor itself looks at.
    pub(crate) fn write_table(
        &mut self,
        address: u64,
        size: Size,
        value: u64,
    ) -> Result<(), Exception> {
        let address = address & self.cpu.linear_mask();
        let value = size.cut(value);
        self.memory.write(address, size, value, Privilege::Implicit)
    }

    /// Whether the processor itself may write there.
    pub(crate) fn demand_writable(&mut self, address: u64) -> Result<(), Exception> {
        let access = Access {
            kind: Kind::Write,
            privilege: Privilege::Implicit,
        };
        let address = address & self.cpu.linear_mask();
        self.memory.read(address, Size::Byte, access)?;
        Ok(())
    }

    /// The upper half of a base, in 64-bit code, from the second half of its descriptor.
    pub(crate) fn high_of_base(&mut self, selector: u16, found: Found) -> Result<u64, Exception> {
        if self.cpu.code_size() != CodeSize::Quad {
            return Ok(0);
        }
        let refused = Exception::Protection(error_code(selector));
        let high = self.second_half(selector, found)?.ok_or(refused)? << 32;
        let base = found.descriptor.segment(selector).base | high;
        if is_canonical(base) {
            Ok(high)
        } else {
            Err(refused)
        }
    }

    /// Sets bits of a descriptor's rights in its table.
    pub(crate) fn set_rights(&mut self, found: Found, rights: u16) -> Result<(), Exception> {
        let (address, privilege) = (found.address.wrapping_add(MARKED), Privilege::Implicit);
        loop {
            let kind = Kind::Write;
            let access = Access { kind, privilege };
            let old = self.memory.read(address, Size::Double, access)?;
            let new = old | u64::from(rights) << 8;
            if self
                .memory
                .exchange(address, Size::Double, (old, new), privilege)?
            {
                return Ok(());
            }
        }
    }

    /// Sets a segment register.
    pub(crate) fn set_segment(&mut self, name: Register, to: Segment) {
        if let Some(segment) = segment_mut(&mut self.cpu.segments, name) {
            *segment = to;
        }
    }

    /// Loads a segment register other than `CS`. Alone: a stack segment comes without its pointer, and interrupts
    /// wait for that (SDM vol. 3, 6.8.3).
    pub(crate) fn load_alone(&mut self, name: Register, selector: u16) -> Result<(), Exception> {
        self.load_segment(name, selector)?;
        self.cpu.interrupt_shadow = name == Register::SS;
        Ok(())
    }

    /// Loads a segment register other than `CS`.
    pub(crate) fn load_segment(&mut self, name: Register, selector: u16) -> Result<(), Exception> {
        let loaded = if !self.cpu.is_protected() {
            self.paragraph(name, selector)?
        } else if name == Register::SS {
            self.stack_segment(selector)?
        } else {
            self.data_segment(selector)?
        };
        let segment = segment_mut(&mut self.cpu.segments, name).ok_or(Exception::InvalidOpcode)?;
        *segment = loaded;
        Ok(())
    }

    /// A segment that a selector names by its place: in real and virtual-8086 mode.
    pub(crate) fn paragraph(&self, name: Register, selector: u16) -> Result<Segment, Exception> {
        let segments = &self.cpu.segments;
        let before = crate::cpu::segment(segments, name).ok_or(Exception::InvalidOpcode)?;
        let base = u64::from(selector) << 4;
        let (limit, rights) = if self.cpu.is_virtual_8086() {
            (LIMIT_8086, RIGHTS_8086)
        } else {
            (before.limit, before.rights)
        };
        Ok(Segment {
            selector,
            base,
            limit,
            rights,
        })
    }

    fn stack_segment(&mut self, selector: u16) -> Result<Segment, Exception> {
        let level = self.cpu.level();
        self.stack_segment_at(selector, level, self.cpu.code_size() == CodeSize::Quad)
    }

    /// A stack segment for code at a level, which is 64-bit code or not.
    pub(crate) fn stack_segment_at(
        &mut self,
        selector: u16,
        level: u8,
        is_long: bool,
    ) -> Result<Segment, Exception> {
        let requested = requested_level(selector);
        if is_null(selector) {
            return if is_long && level < 3 && requested == level {
                Ok(unusable(selector))
            } else {
                Err(Exception::Protection(0))
            };
        }
        let code = error_code(selector);
        let mut found = self.needed_descriptor(selector)?;
        let rights = found.descriptor.rights();
        if requested != level || rights.level() != level || !rights.is_writable() {
            return Err(Exception::Protection(code));
        }
        if !rights.is_present() {
            return Err(Exception::Stack(code));
        }
        self.mark(&mut found)?;
        Ok(found.descriptor.segment(selector))
    }

    /// Takes the data segments away that an outer level may not have (SDM vol. 3, 5.8.6).
    pub(crate) fn hide_segments(&mut self, level: u8) {
        for name in [Register::ES, Register::FS, Register::GS, Register::DS] {
            let Some(segment) = segment_mut(&mut self.cpu.segments, name) else {
                continue;
            };
            let rights = Rights(segment.rights);
            if !rights.is_conforming() && rights.level() < level {
                // Its base stays, which for `FS` and `GS` counts in 64-bit code.
                (segment.selector, segment.rights) = (0, 0);
            }
        }
    }

    fn data_segment(&mut self, selector: u16) -> Result<Segment, Exception> {
        if is_null(selector) {
            return Ok(unusable(selector));
        }
        let code = error_code(selector);
        let mut found = self.needed_descriptor(selector)?;
        let rights = found.descriptor.rights();
        let level = self.cpu.level().max(requested_level(selector));
        let is_allowed = rights.is_conforming() || level <= rights.level();
        if !rights.is_readable() || !is_allowed {
            return Err(Exception::Protection(code));
        }
        if !rights.is_present() {
            return Err(Exception::NotPresent(code));
        }
        self.mark(&mut found)?;
        Ok(found.descriptor.segment(selector))
    }
}

/// What a segment register has that nothing can be reached by.
pub(crate) fn unusable(selector: u16) -> Segment {
    Segment {
        selector,
        ..Segment::default()
    }
}
