//! Where everything lies in the test kernel's memory, and the selectors of its tables.
//!
//! All of it is in the first megabyte, so that real mode reaches it. What the cases change lies
//! in tables of its own that are set back before each case.

/// Where the image is loaded: the entry, the cases, the tables as they are before each case.
pub(crate) const IMAGE: u32 = 0x10_0000;

/// The interrupt vector table of real mode.
pub(crate) const IVT: u32 = 0;
/// The global descriptor table while a case runs.
pub(crate) const GDT: u32 = 0x2000;
/// How many descriptors the GDT has.
pub(crate) const GDT_ENTRIES: u32 = 64;
/// The local descriptor table while a case runs.
pub(crate) const LDT: u32 = 0x2800;
/// How many descriptors the LDT has.
pub(crate) const LDT_ENTRIES: u32 = 16;
/// The interrupt descriptor table of protected mode, with 256 gates.
pub(crate) const IDT: u32 = 0x3000;
/// The interrupt descriptor table of long mode, with 256 gates.
pub(crate) const IDT_LONG: u32 = 0x4000;
/// How many vectors of each interrupt table a case may change.
pub(crate) const CHANGEABLE_VECTORS: u32 = 0x50;

/// The 32-bit TSS that is loaded before a case.
pub(crate) const TSS: u32 = 0x5000;
/// The 64-bit TSS that is loaded before a case in long mode.
pub(crate) const TSS_LONG: u32 = 0x5100;
/// The 32-bit TSS of the task that captures a double fault in protected mode.
pub(crate) const TSS_CAPTURE: u32 = 0x5200;
/// A second 32-bit task.
pub(crate) const TSS_OTHER: u32 = 0x5280;
/// A 16-bit task.
pub(crate) const TSS_16: u32 = 0x5300;
/// A second 16-bit task.
pub(crate) const TSS_OTHER_16: u32 = 0x5340;
/// The end of the task state segments.
pub(crate) const TSS_END: u32 = 0x5380;
/// Where the I/O permission bitmap starts in a TSS.
pub(crate) const IO_MAP: u32 = 0x68;
/// The last byte of a TSS with a bitmap for 128 ports, and the byte of ones after it.
pub(crate) const TSS_LIMIT: u32 = IO_MAP + 0x10;

/// The test kernel itself, also the real-mode segment of its code and variables.
pub(crate) const RUNTIME: u32 = 0x1_0000;
/// Its code that enters real mode and comes back from it.
pub(crate) const RUNTIME_16: u32 = 0x1_6000;
/// Its code that enters 64-bit mode and comes back from it.
pub(crate) const RUNTIME_64: u32 = 0x1_8000;
/// One entry per vector for 32-bit gates.
pub(crate) const STUBS: u32 = 0x1_2000;
/// One entry per vector for 16-bit gates.
pub(crate) const STUBS_GATE_16: u32 = 0x1_2800;
/// One entry per vector for tasks.
pub(crate) const STUBS_TASK: u32 = 0x1_3000;
/// One entry per vector for 64-bit gates.
pub(crate) const STUBS_64: u32 = 0x1_3800;
/// One entry per vector of real mode.
pub(crate) const STUBS_REAL: u32 = 0x1_4000;
/// The distance of two entries.
pub(crate) const STUB_STRIDE: u32 = 8;
/// The test kernel's own stack.
pub(crate) const HOME_STACK: u32 = 0xdf00;
/// Its stack in real mode.
pub(crate) const REAL_STACK: u32 = 0x1_dff0;
/// What was captured: see `runtime::saved`.
pub(crate) const SAVED: u32 = 0x1_e000;
/// The record of the case that runs: see `record`.
pub(crate) const RECORD: u32 = 0x1_e800;

/// A case's code.
pub(crate) const CODE: u32 = 0x2_0000;
/// A case's data; some bytes at its start are set back before each case.
pub(crate) const DATA: u32 = 0x3_0000;
/// How many bytes of the data are set back.
pub(crate) const DATA_BYTES: u32 = 0x100;
/// The ends of the stacks of the privilege levels, as cases start with them.
pub(crate) const STACKS: [u32; 4] = [0x3_7000, 0x3_5000, 0x3_6000, 0x3_9000];
/// The ends of the stacks that the task state segments name for levels 0 to 2.
pub(crate) const INNER_STACKS: [u32; 3] = [0x3_b000, 0x3_5800, 0x3_6800];
/// The ends of the stacks of the interrupt stack table's first two entries.
pub(crate) const IST: [u32; 2] = [0x3_e000, 0x3_f000];
/// The end of the capturing task's stack.
pub(crate) const CAPTURE_STACK: u32 = 0x3_d000;

/// Physical pages that the window maps, one after the other.
pub(crate) const PAGES: u32 = 0x4_0000;

/// Page tables: the PML4.
pub(crate) const PML4: u32 = 0x6_0000;
/// The page-directory-pointer table of the first 512 GiB.
pub(crate) const PDPT: u32 = 0x6_1000;
/// The page-directory-pointer table of the windows far away.
pub(crate) const PDPT_FAR: u32 = 0x6_2000;
/// The four page-directory pointers of PAE paging.
pub(crate) const PDPT_PAE: u32 = 0x6_3000;
/// The page directory of the first gigabyte.
pub(crate) const PD: u32 = 0x6_4000;
/// The page table of the first 2 MiB.
pub(crate) const PT: u32 = 0x6_5000;
/// The page directory of the window.
pub(crate) const PD_WINDOW: u32 = 0x6_6000;
/// The page table of the window.
pub(crate) const PT_WINDOW: u32 = 0x6_7000;
/// 32-bit paging: the page directory.
pub(crate) const PD_LEGACY: u32 = 0x6_8000;
/// 32-bit paging: the page table of the first 4 MiB.
pub(crate) const PT_LEGACY: u32 = 0x6_9000;
/// 32-bit paging: the page table of the window.
pub(crate) const PT_LEGACY_WINDOW: u32 = 0x6_a000;
/// The end of the page tables.
pub(crate) const TABLES_END: u32 = 0x6_b000;

/// Linear addresses with page tables of their own, in every kind of paging.
pub(crate) const WINDOW: u32 = 0x4000_0000;
/// The window's alias with an entry of the PML4 of its own.
pub(crate) const WINDOW_FAR: u64 = 0x80_0000_0000;

/// Selectors of the GDT.
pub(crate) mod selector {
    /// Flat 32-bit code of the test kernel itself.
    pub(crate) const HOME_CODE: u16 = 0x08;
    /// Flat data of the test kernel itself.
    pub(crate) const HOME_DATA: u16 = 0x10;
    /// 64-bit code of the test kernel itself.
    pub(crate) const HOME_CODE_64: u16 = 0x18;
    /// 16-bit code on the way to real mode.
    pub(crate) const HOME_CODE_16: u16 = 0x20;
    /// Data as real mode has it.
    pub(crate) const HOME_DATA_16: u16 = 0x28;
    /// The 32-bit TSS.
    pub(crate) const TSS: u16 = 0x30;
    /// The LDT.
    pub(crate) const LDT: u16 = 0x38;
    /// The 64-bit TSS.
    pub(crate) const TSS_LONG: u16 = 0x48;
    /// The TSS of the task that captures double faults.
    pub(crate) const TSS_CAPTURE: u16 = 0x58;
    /// The TSS of a second 32-bit task.
    pub(crate) const TSS_OTHER: u16 = 0x60;
    /// The TSS of a 16-bit task.
    pub(crate) const TSS_16: u16 = 0x68;
    /// The TSS of a second 16-bit task.
    pub(crate) const TSS_OTHER_16: u16 = 0x70;
    /// Flat 32-bit code by privilege level.
    pub(crate) const CODE_32: [u16; 4] = [0x80, 0xd1, 0xe2, 0x93];
    /// Flat data by privilege level.
    pub(crate) const DATA_32: [u16; 4] = [0x88, 0xd9, 0xea, 0x9b];
    /// 16-bit code of levels 0 and 3, whose base is the case's code.
    pub(crate) const CODE_16: [u16; 2] = [0xa0, 0xb3];
    /// 16-bit data of levels 0 and 3, whose base is the case's data.
    pub(crate) const DATA_16: [u16; 2] = [0xa8, 0xbb];
    /// 64-bit code of levels 0 and 3.
    pub(crate) const CODE_64: [u16; 2] = [0xc0, 0xcb];
    /// Conforming flat 32-bit code of level 0.
    pub(crate) const CONFORMING_32: u16 = 0xf0;
    /// Conforming 64-bit code of level 0.
    pub(crate) const CONFORMING_64: u16 = 0xf8;
    /// The first of the descriptors that cases make.
    pub(crate) const TEST: u16 = 0x100;
    /// The first selector outside of the GDT's limit.
    pub(crate) const OUTSIDE: u16 = 0x200;
}
