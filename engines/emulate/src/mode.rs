//! What blocks of decoded code depend on beside its bytes.

use x86_semantics::{CodeSize, Cpu};
use x86_state::Segment;

/// Rights of a segment: present, data or code that can be read; data that can be written; grows down; code; code of
/// 64 bits.
const PRESENT: u16 = 1 << 7;
const NOT_SYSTEM: u16 = 1 << 4;
const CODE: u16 = 1 << 3;
const DOWN: u16 = 1 << 2;
const WRITABLE: u16 = 1 << 1;

/// How code is decoded, and whether segments can be looked over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mode {
    pub(crate) size: CodeSize,
    /// The stack has the size of the code, and all that is addressed without a prefix for `FS` or `GS` lies at
    /// its offset, of 64 or 32 bits.
    pub(crate) is_flat: bool,
    /// Vector registers are available.
    pub(crate) has_vectors: bool,
}

impl Mode {
    pub(crate) fn of(cpu: &Cpu) -> Self {
        let size = cpu.code_size();
        let segments = &cpu.segments;
        let is_flat = match size {
            // Each access is looked at.
            _ if cpu.checks_alignment() => false,
            CodeSize::Quad => true,
            CodeSize::Double => {
                let data = [&segments.ds, &segments.es, &segments.ss];
                data.into_iter().all(is_flat_data)
                    && cpu.stack_mask() == 0xffff_ffff
                    && is_everything(&segments.cs)
                    && segments.cs.rights & WRITABLE != 0
            }
            CodeSize::Word => false,
        };
        Self {
            size,
            is_flat,
            has_vectors: x86_vector::are_available(cpu),
        }
    }

    /// As a number below 16.
    pub(crate) const fn number(self) -> u64 {
        self.size as u64 | (self.is_flat as u64) << 2 | (self.has_vectors as u64) << 3
    }

    /// Bits of an offset.
    pub(crate) const fn address_mask(self) -> u64 {
        self.size.mask()
    }
}

const fn is_everything(segment: &Segment) -> bool {
    segment.base == 0 && segment.limit == u32::MAX && segment.rights & PRESENT != 0
}

const fn is_flat_data(segment: &Segment) -> bool {
    let kind = segment.rights & (NOT_SYSTEM | CODE | DOWN | WRITABLE);
    is_everything(segment) && kind == NOT_SYSTEM | WRITABLE
}
