//! Descriptor tables, and the segment registers that are loaded from them (SDM vol. 3, 3.4 and 5.5 to 5.7).

use iced_x86::Register;
use x86_paging::{Access, Kind, Privilege};
use x86_state::Segment;

use super::Step;
use crate::cpu::{CodeSize, segment_mut};
use crate::descriptor::Descriptor;
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
pub(super) const fn is_null(selector: u16) -> bool {
    selector & !LEVEL == 0
}

/// The level in whose name a selector is used.
pub(super) const fn requested_level(selector: u16) -> u8 {
    (selector & LEVEL) as u8
}

/// What an error code says of a selector (SDM vol. 3, 6.13).
pub(super) const fn error_code(selector: u16) -> u32 {
    (selector & !LEVEL) as u32
}

/// A descriptor where it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) descriptor: Descriptor,
    address: u64,
}

impl Step<'_> {
    /// The descriptor that a selector names, which is not null; `None` beyond the table's end.
    pub(super) fn descriptor(&mut self, selector: u16) -> Result<Option<Found>, Exception> {
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

    /// As [`Step::descriptor`], of one that has to be there.
    pub(super) fn needed_descriptor(&mut self, selector: u16) -> Result<Found, Exception> {
        let found = self.descriptor(selector)?;
        found.ok_or(Exception::Protection(error_code(selector)))
    }

    /// Notes in the table that a segment was loaded.
    pub(super) fn mark(&mut self, found: &mut Found) -> Result<(), Exception> {
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

    /// Loads a segment register other than `CS`.
    pub(super) fn load_segment(&mut self, name: Register, selector: u16) -> Result<(), Exception> {
        let loaded = if !self.cpu.is_protected() {
            self.paragraph(name, selector)?
        } else if name == Register::SS {
            self.stack_segment(selector)?
        } else {
            self.data_segment(selector)?
        };
        let segment = segment_mut(&mut self.cpu.segments, name).ok_or(Exception::InvalidOpcode)?;
        *segment = loaded;
        if name == Register::SS {
            self.cpu.interrupt_shadow = true;
        }
        Ok(())
    }

    /// A segment that a selector names by its place: in real and virtual-8086 mode.
    pub(super) fn paragraph(&self, name: Register, selector: u16) -> Result<Segment, Exception> {
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
        let requested = requested_level(selector);
        if is_null(selector) {
            let allowed = self.cpu.code_size() == CodeSize::Quad && level < 3 && requested == level;
            return if allowed {
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

    /// The stack of a return to code at the same level, which is 64-bit code or not.
    pub(super) fn stack_to_return_to(
        &mut self,
        selector: u16,
        code: u16,
        to_long: bool,
    ) -> Result<Segment, Exception> {
        let level = requested_level(code);
        if is_null(selector) && !(to_long && level < 3 && requested_level(selector) == level) {
            return Err(Exception::Protection(0));
        }
        self.stack_segment(selector)
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
pub(super) fn unusable(selector: u16) -> Segment {
    Segment {
        selector,
        ..Segment::default()
    }
}
