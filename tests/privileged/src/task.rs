//! Task state segments as bytes (SDM vol. 3, 8.2.1, 8.6, 8.7).

use crate::layout::{self, selector};

/// Offsets of fields in a 32-bit TSS.
pub(crate) mod field {
    /// The root of the page tables.
    pub(crate) const CR3: u32 = 0x1c;
    /// The instruction pointer.
    pub(crate) const EIP: u32 = 0x20;
    /// The flags.
    pub(crate) const EFLAGS: u32 = 0x24;
    /// The eight general registers.
    pub(crate) const GENERAL: u32 = 0x28;
    /// The six segment registers, 4 bytes apart.
    pub(crate) const SEGMENTS: u32 = 0x48;
    /// The selector of the LDT.
    pub(crate) const LDT: u32 = 0x60;
    /// The debug trap bit.
    pub(crate) const TRAP: u32 = 0x64;
}

/// Offsets of fields in a 16-bit TSS.
pub(crate) mod field_16 {
    /// The instruction pointer.
    pub(crate) const IP: u32 = 0x0e;
    /// The flags.
    pub(crate) const FLAGS: u32 = 0x10;
    /// The eight general registers.
    pub(crate) const GENERAL: u32 = 0x12;
    /// The four segment registers, 2 bytes apart.
    pub(crate) const SEGMENTS: u32 = 0x22;
}

struct Segment {
    bytes: Vec<u8>,
}

impl Segment {
    fn new(size: u32) -> Self {
        Self {
            bytes: vec![0; size as usize],
        }
    }

    fn put(&mut self, offset: u32, bytes: &[u8]) {
        self.bytes[offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    fn put_32(&mut self, offset: u32, value: u32) {
        self.put(offset, &value.to_le_bytes());
    }

    fn put_16(&mut self, offset: u32, value: u16) {
        self.put(offset, &value.to_le_bytes());
    }

    /// All ports are closed, but 0x40 to 0x47.
    fn put_io_map(&mut self) {
        self.put_32(0x64, layout::IO_MAP << 16);
        self.put(layout::IO_MAP, &[0xff; 0x11]);
        self.put(layout::IO_MAP + 8, &[0]);
    }
}

/// The task that a case runs in.
pub(crate) fn first() -> Vec<u8> {
    let mut segment = Segment::new(layout::TSS_LIMIT + 1);
    put_stacks(&mut segment);
    segment.put_io_map();
    segment.bytes
}

fn put_stacks(segment: &mut Segment) {
    let stacks = [
        selector::HOME_DATA,
        selector::DATA_32[1],
        selector::DATA_32[2],
    ];
    for ((offset, stack), selector) in (4..).step_by(8).zip(layout::INNER_STACKS).zip(stacks) {
        segment.put_32(offset, stack);
        segment.put_16(offset + 4, selector);
    }
}

/// The TSS of long mode.
pub(crate) fn long() -> Vec<u8> {
    let mut segment = Segment::new(layout::TSS_LIMIT + 1);
    for (offset, stack) in (4..).step_by(8).zip(layout::INNER_STACKS) {
        segment.put_32(offset, stack);
    }
    for (offset, stack) in (0x24..).step_by(8).zip(layout::IST) {
        segment.put_32(offset, stack);
    }
    segment.put_io_map();
    segment.bytes
}

/// A task that captures `vector` of another.
pub(crate) fn capture(vector: u32) -> Vec<u8> {
    let mut segment = Segment::new(0x68);
    let entry = layout::STUBS_TASK + vector * layout::STUB_STRIDE;
    segment.put_32(field::EIP, entry);
    segment.put_32(field::EFLAGS, 2);
    segment.put_32(field::GENERAL + 4 * 4, layout::CAPTURE_STACK);
    let data = selector::HOME_DATA;
    let segments = [data, selector::HOME_CODE, data, data, data, data];
    for (offset, selector) in (field::SEGMENTS..).step_by(4).zip(segments) {
        segment.put_16(offset, selector);
    }
    segment.put_32(0x64, 0x68 << 16);
    segment.bytes
}

/// A 32-bit task of a case, at level 0; its code starts at an offset of the case's.
pub(crate) fn other(offset: u32) -> Vec<u8> {
    let mut segment = Segment::new(0x68);
    put_stacks(&mut segment);
    segment.put_32(field::EIP, layout::CODE + offset);
    segment.put_32(field::EFLAGS, 2);
    for (number, place) in (0..8).zip((field::GENERAL..).step_by(4)) {
        segment.put_32(place, 0x1234_0000 + number);
    }
    segment.put_32(field::GENERAL + 4 * 4, layout::STACKS[0] - 0x100);
    let (code, data) = (selector::CODE_32[0], selector::DATA_32[0]);
    let segments = [data, code, data, data, 0, 0];
    for (place, selector) in (field::SEGMENTS..).step_by(4).zip(segments) {
        segment.put_16(place, selector);
    }
    segment.put_32(0x64, 0x68 << 16);
    segment.bytes
}

/// A 16-bit task of a case, at level 0; its code starts at an offset of the case's.
pub(crate) fn small(offset: u16) -> Vec<u8> {
    let mut segment = Segment::new(0x2c);
    segment.put_16(2, 0xb000);
    segment.put_16(4, selector::DATA_16[0]);
    segment.put_16(field_16::IP, offset);
    segment.put_16(field_16::FLAGS, 2);
    for (number, place) in (0..8).zip((field_16::GENERAL..).step_by(2)) {
        segment.put_16(place, 0x5670 + number);
    }
    segment.put_16(field_16::GENERAL + 4 * 2, 0x6f00);
    let (code, data) = (selector::CODE_16[0], selector::DATA_16[0]);
    for (place, selector) in (field_16::SEGMENTS..)
        .step_by(2)
        .zip([data, code, data, data])
    {
        segment.put_16(place, selector);
    }
    segment.bytes
}
