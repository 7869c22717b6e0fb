//! The tables of the processor as they are before each case.

use crate::descriptor::{self as descriptor, CODE, CONFORMING, DATA, at_level, flat, gate};
use crate::layout::{self, selector};
use crate::task;

/// Page-table entry: present, writable, accessed, dirty; of the supervisor.
pub(crate) const SUPERVISOR: u64 = 0x63;
/// Page-table entry: present, writable, accessed, for everybody.
pub(crate) const TABLE: u64 = 0x27;

/// Bytes at a place of memory, of which the test kernel sets back some before each case.
pub(crate) struct Table {
    pub(crate) address: u32,
    pub(crate) bytes: Vec<u8>,
    /// Offsets and lengths.
    pub(crate) set_back: Vec<(u32, u32)>,
}

impl Table {
    fn new(address: u32, length: u32) -> Self {
        Self {
            address,
            bytes: vec![0; length as usize],
            set_back: Vec::new(),
        }
    }

    pub(crate) fn put(&mut self, address: u32, bytes: &[u8]) {
        let start = (address - self.address) as usize;
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
    }

    fn put_entry(&mut self, table: u32, index: u32, entry: u64) {
        self.put(table + index * 8, &entry.to_le_bytes());
    }

    fn put_legacy_entry(&mut self, table: u32, index: u32, entry: u32) {
        self.put(table + index * 4, &entry.to_le_bytes());
    }

    /// Has entries `first..end` of a table in it set back.
    fn set_back(&mut self, table: u32, first: u32, end: u32, size: u32) {
        let start = table - self.address + first * size;
        self.set_back.push((start, (end - first) * size));
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Table> {
    let mut tables = vec![
        vectors(),
        descriptors(),
        local_descriptors(),
        gates(),
        long_gates(),
        tasks(),
        data(),
    ];
    tables.push(pages());
    tables
}

fn stub(table: u32, vector: u32) -> u32 {
    table + vector * layout::STUB_STRIDE
}

fn vectors() -> Table {
    let mut table = Table::new(layout::IVT, 0x400);
    for vector in 0..256 {
        let offset = stub(layout::STUBS_REAL, vector) - layout::RUNTIME;
        let entry = offset | (layout::RUNTIME >> 4) << 16;
        table.put_legacy_entry(layout::IVT, vector, entry);
    }
    table.set_back(layout::IVT, 0, layout::CHANGEABLE_VECTORS, 4);
    table
}

fn descriptors() -> Table {
    let mut table = Table::new(layout::GDT, layout::GDT_ENTRIES * 8);
    let mut put = |selector: u16, descriptor: u64| {
        table.put_entry(layout::GDT, u32::from(selector) >> 3, descriptor);
    };
    let (small_code, small_data) = (0xffff, 0xffff);
    put(selector::HOME_CODE, flat(CODE, 0));
    put(selector::HOME_DATA, flat(DATA, 0));
    put(selector::HOME_CODE_64, descriptor::long_code(CODE, 0));
    let home_16 = descriptor::segment(layout::RUNTIME, small_code, CODE, 0);
    put(selector::HOME_CODE_16, home_16);
    put(
        selector::HOME_DATA_16,
        descriptor::segment(0, small_data, DATA, 0),
    );
    put(
        selector::LDT,
        system(layout::LDT, layout::LDT_ENTRIES * 8 - 1, descriptor::LDT),
    );
    let tasks = [
        (
            selector::TSS,
            layout::TSS,
            layout::TSS_LIMIT,
            descriptor::TSS,
        ),
        (
            selector::TSS_LONG,
            layout::TSS_LONG,
            layout::TSS_LIMIT,
            descriptor::TSS,
        ),
        (
            selector::TSS_CAPTURE,
            layout::TSS_CAPTURE,
            0x67,
            descriptor::TSS,
        ),
        (
            selector::TSS_OTHER,
            layout::TSS_OTHER,
            0x67,
            descriptor::TSS,
        ),
        (selector::TSS_16, layout::TSS_16, 0x2b, descriptor::TSS_16),
        (
            selector::TSS_OTHER_16,
            layout::TSS_OTHER_16,
            0x2b,
            descriptor::TSS_16,
        ),
    ];
    for (selector, base, limit, access) in tasks {
        put(selector, system(base, limit, access));
    }
    for level in 0..4u8 {
        put(selector::CODE_32[usize::from(level)], flat(CODE, level));
        put(selector::DATA_32[usize::from(level)], flat(DATA, level));
    }
    for (index, level) in [0u8, 3].into_iter().enumerate() {
        let code = at_level(CODE, level);
        put(
            selector::CODE_16[index],
            descriptor::segment(layout::CODE, small_code, code, 0),
        );
        let data = at_level(DATA, level);
        put(
            selector::DATA_16[index],
            descriptor::segment(layout::DATA, small_data, data, 0),
        );
        put(selector::CODE_64[index], descriptor::long_code(CODE, level));
    }
    put(selector::CONFORMING_32, flat(CONFORMING, 0));
    put(
        selector::CONFORMING_64,
        descriptor::long_code(CONFORMING, 0),
    );
    table.set_back(layout::GDT, 0, layout::GDT_ENTRIES, 8);
    table
}

fn system(base: u32, limit: u32, access: u8) -> u64 {
    descriptor::segment(base, limit, access, 0)
}

/// In the LDT: data and 32-bit code of level 0, the same of level 3.
fn local_descriptors() -> Table {
    let mut table = Table::new(layout::LDT, layout::LDT_ENTRIES * 8);
    let entries = [flat(DATA, 0), flat(CODE, 0), flat(DATA, 3), flat(CODE, 3)];
    for (index, entry) in (0..).zip(entries) {
        table.put_entry(layout::LDT, index, entry);
    }
    table.set_back(layout::LDT, 0, layout::LDT_ENTRIES, 8);
    table
}

/// Interrupt gates, of which a program may call 0xff; a double fault is a task's.
fn gates() -> Table {
    let mut table = Table::new(layout::IDT, 0x800);
    for vector in 0..256 {
        let access = if vector == 0xff { 0x60 } else { 0 } | descriptor::INTERRUPT;
        let offset = stub(layout::STUBS, vector);
        let entry = match vector {
            8 => gate(selector::TSS_CAPTURE, 0, descriptor::TASK, 0),
            _ => gate(selector::HOME_CODE, offset, access, 0),
        };
        table.put_entry(layout::IDT, vector, entry);
    }
    table.set_back(layout::IDT, 0, layout::CHANGEABLE_VECTORS, 8);
    table
}

/// Interrupt gates, of which a program may call 0xff; a double fault has a stack of its own.
fn long_gates() -> Table {
    let mut table = Table::new(layout::IDT_LONG, 0x1000);
    for vector in 0..256 {
        let access = if vector == 0xff { 0x60 } else { 0 } | descriptor::INTERRUPT;
        let offset = u64::from(stub(layout::STUBS_64, vector));
        let stack = u8::from(vector == 8);
        let entry = descriptor::long_gate(selector::HOME_CODE_64, offset, access, stack);
        table.put(layout::IDT_LONG + vector * 16, &entry);
    }
    table.set_back(layout::IDT_LONG, 0, layout::CHANGEABLE_VECTORS, 16);
    table
}

fn tasks() -> Table {
    let mut table = Table::new(layout::TSS, layout::TSS_END - layout::TSS);
    table.put(layout::TSS, &task::first());
    table.put(layout::TSS_LONG, &task::long());
    table.put(layout::TSS_CAPTURE, &task::capture(8));
    table.put(layout::TSS_OTHER, &task::other(0));
    table.put(layout::TSS_16, &task::small(0));
    table.put(layout::TSS_OTHER_16, &task::small(0));
    table.set_back(layout::TSS, 0, layout::TSS_END - layout::TSS, 1);
    table
}

/// Bytes that all differ.
fn data() -> Table {
    let mut table = Table::new(layout::DATA, layout::DATA_BYTES);
    table.bytes = (0..=255).collect();
    table.set_back(layout::DATA, 0, layout::DATA_BYTES, 1);
    table
}

/// The first 2 MiB are where they are; the windows show pages from `PAGES` on, for everybody.
fn pages() -> Table {
    let mut table = Table::new(layout::PML4, layout::TABLES_END - layout::PML4);
    let to = |table: u32| u64::from(table) | TABLE;
    for index in [1, 2, 255, 256, 511] {
        table.put_entry(layout::PML4, index, to(layout::PDPT_FAR));
    }
    table.put_entry(layout::PML4, 0, to(layout::PDPT));
    table.put_entry(layout::PDPT, 0, to(layout::PD));
    table.put_entry(layout::PDPT, 1, to(layout::PD_WINDOW));
    table.put_entry(layout::PDPT, 3, to(layout::PD_WINDOW));
    table.put_entry(layout::PDPT_FAR, 0, to(layout::PD_WINDOW));
    table.put_entry(layout::PDPT_FAR, 511, to(layout::PD_WINDOW));
    for (index, directory) in [
        (0, layout::PD),
        (1, layout::PD_WINDOW),
        (3, layout::PD_WINDOW),
    ] {
        table.put_entry(layout::PDPT_PAE, index, u64::from(directory) | 1);
    }
    table.put_entry(layout::PD, 0, to(layout::PT));
    table.put_entry(layout::PD_WINDOW, 0, to(layout::PT_WINDOW));
    table.put_entry(layout::PD_WINDOW, 511, to(layout::PT_WINDOW));
    for page in 0..512 {
        table.put_entry(layout::PT, page, u64::from(page) << 12 | SUPERVISOR);
    }
    for page in (0..16).chain([511]) {
        let entry = (u64::from(layout::PAGES) + (u64::from(page % 16) << 12)) | TABLE;
        table.put_entry(layout::PT_WINDOW, page, entry);
    }
    legacy_pages(&mut table);
    changeable_pages(&mut table);
    table
}

fn legacy_pages(table: &mut Table) {
    for (index, next) in [
        (0, layout::PT_LEGACY),
        (256, layout::PT_LEGACY_WINDOW),
        (1023, layout::PT_LEGACY_WINDOW),
    ] {
        table.put_legacy_entry(layout::PD_LEGACY, index, next | 0x27);
    }
    for page in 0..1024 {
        table.put_legacy_entry(layout::PT_LEGACY, page, page << 12 | 0x63);
    }
    for page in (0..16).chain([1023]) {
        let entry = (layout::PAGES + ((page % 16) << 12)) | 0x27;
        table.put_legacy_entry(layout::PT_LEGACY_WINDOW, page, entry);
    }
}

fn changeable_pages(table: &mut Table) {
    table.set_back(layout::PML4, 0, 4, 8);
    table.set_back(layout::PML4, 255, 257, 8);
    table.set_back(layout::PML4, 511, 512, 8);
    for pointers in [layout::PDPT, layout::PDPT_FAR, layout::PDPT_PAE, layout::PD] {
        table.set_back(pointers, 0, 4, 8);
    }
    for windows in [layout::PD_WINDOW, layout::PT_WINDOW] {
        table.set_back(windows, 0, 16, 8);
        table.set_back(windows, 511, 512, 8);
    }
    table.set_back(layout::PT, 0x20, 0x40, 8);
    table.set_back(layout::PD_LEGACY, 0, 4, 4);
    table.set_back(layout::PD_LEGACY, 256, 260, 4);
    table.set_back(layout::PD_LEGACY, 1023, 1024, 4);
    table.set_back(layout::PT_LEGACY, 0x20, 0x40, 4);
    table.set_back(layout::PT_LEGACY_WINDOW, 0, 16, 4);
    table.set_back(layout::PT_LEGACY_WINDOW, 1023, 1024, 4);
}
