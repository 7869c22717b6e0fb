//! The state of the first virtual CPU at a kernel's entry.

use machine_memory::GuestMemory;
use x86_state::{Control, CpuState, Segment, Segments, Table};

use crate::error::BootError;
use crate::guest::{GDT, PAGE_TABLES, STACK};

/// Selectors, as the Linux boot protocol wants them (`__BOOT_CS`, `__BOOT_DS`).
const CODE: u16 = 0x10;
const DATA: u16 = 0x18;
const TASK: u16 = 0x20;

/// Access rights (SDM vol. 3, 3.4.5): present, granular, and what the segment is.
const CODE_64: u16 = 0xa09b;
const CODE_32: u16 = 0xc09b;
const DATA_32: u16 = 0xc093;
/// A busy task state segment; the processor does not run without.
const TASK_BUSY: u16 = 0x008b;
const TASK_LIMIT: u32 = 0x67;

const CR0_PE: u64 = 1;
/// Always one.
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

/// What a kernel finds in its registers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Registers {
    pub(crate) rip: u64,
    pub(crate) rax: u64,
    pub(crate) rbx: u64,
    pub(crate) rsi: u64,
}

/// Long mode; the first 4 GiB are mapped to themselves.
pub(crate) fn long_mode(memory: &GuestMemory, registers: Registers) -> Result<CpuState, BootError> {
    memory.write(PAGE_TABLES, &identity())?;
    let control = Control {
        cr0: CR0_PE | CR0_ET | CR0_PG,
        cr3: PAGE_TABLES,
        cr4: CR4_PAE,
        efer: EFER_LME | EFER_LMA,
        xcr0: 1,
        ..Control::default()
    };
    state(memory, CODE_64, control, registers)
}

/// Protected mode without paging.
pub(crate) fn protected_mode(
    memory: &GuestMemory,
    registers: Registers,
) -> Result<CpuState, BootError> {
    let control = Control {
        cr0: CR0_PE | CR0_ET,
        xcr0: 1,
        ..Control::default()
    };
    state(memory, CODE_32, control, registers)
}

fn state(
    memory: &GuestMemory,
    code: u16,
    control: Control,
    registers: Registers,
) -> Result<CpuState, BootError> {
    let data = flat(DATA, DATA_32);
    let task = Segment {
        selector: TASK,
        base: 0,
        limit: TASK_LIMIT,
        rights: TASK_BUSY,
    };
    // The descriptor of a task in long mode has two entries; the second, above, is zero.
    let gdt = [
        0,
        0,
        descriptor(code, 0xf_ffff),
        descriptor(DATA_32, 0xf_ffff),
        descriptor(TASK_BUSY, TASK_LIMIT),
        0,
    ];
    let bytes: Vec<u8> = gdt.into_iter().flat_map(u64::to_le_bytes).collect();
    memory.write(GDT, &bytes)?;
    let mut general = [0; 16];
    let [rax, _, _, rbx, rsp, _, rsi, ..] = &mut general;
    (*rax, *rbx, *rsp, *rsi) = (registers.rax, registers.rbx, STACK, registers.rsi);
    Ok(CpuState {
        general,
        rip: registers.rip,
        // Bit 1 is always one.
        rflags: 2,
        segments: Segments {
            cs: flat(CODE, code),
            ds: data,
            es: data,
            fs: data,
            gs: data,
            ss: data,
            tr: task,
            ldt: Segment::default(),
        },
        gdt: Table {
            base: GDT,
            limit: 47,
        },
        idt: Table::default(),
        control,
        // As after reset (SDM vol. 3, table 10-1).
        debug: [0, 0, 0, 0, 0xffff_0ff0, 0x400],
        ..CpuState::default()
    })
}

const fn flat(selector: u16, rights: u16) -> Segment {
    Segment {
        selector,
        base: 0,
        limit: u32::MAX,
        rights,
    }
}

/// A descriptor with base 0; `limit` in the unit that `rights` says.
const fn descriptor(rights: u16, limit: u32) -> u64 {
    let (rights, limit) = (rights as u64, limit as u64);
    rights << 40 | (limit & 0xf_0000) << 32 | limit & 0xffff
}

/// Page tables that map 4 GiB with large pages: the root, its one table, four directories.
fn identity() -> Vec<u8> {
    const PAGE: u64 = 4096;
    const PRESENT_WRITABLE: u64 = 3;
    const LARGE: u64 = 1 << 7;
    const ENTRIES: usize = 512;
    let table = |index: u64| (PAGE_TABLES + index * PAGE) | PRESENT_WRITABLE;
    let mut entries = vec![table(1)];
    entries.resize(ENTRIES, 0);
    entries.extend((2..6).map(table));
    entries.resize(2 * ENTRIES, 0);
    entries.extend((0..2048_u64).map(|page| page << 21 | LARGE | PRESENT_WRITABLE));
    entries.into_iter().flat_map(u64::to_le_bytes).collect()
}
