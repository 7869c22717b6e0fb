//! The start by the PVH boot protocol, as QEMU, Firecracker, Xen and others do it
//! (Xen's `docs/misc/pvh.pandoc` and `include/public/arch-x86/hvm/start_info.h`).
//!
//! A note in the image names the entry. It is reached in 32-bit protected mode without paging,
//! `ebx` holding the physical address of the start information. The code here makes the same
//! page tables that a Husk monitor would make, and goes on at the kernel's ordinary entry.

use core::arch::global_asm;

use guest_abi::boot::{BootInfo, MAGIC, RAM_RANGES_MAX, RamRange, SEGMENTS_MAX, Segment, VERSION};
use guest_abi::layout::{self, BOOT_FRAMES, FRAMES_BASE, KERNEL_BASE, KERNEL_IMAGE, KERNEL_SPAN};

use zerocopy::FromBytes;

use super::acpi::{self, Acpi};
use super::command_line::CommandLine;
use super::frames::FRAME;
use super::ranges::{self, Range};
use super::tables;

/// What an address of the image is in physical memory: add this.
const PHYSICAL: i64 = KERNEL_IMAGE as i64 - KERNEL_BASE as i64;
/// Places in the first page tables: root, frames' pointers, their directories, image's pointers,
/// image's directory.
const FRAMES: u64 = 0x1000;
const DIRECTORIES: u64 = 0x2000;
const IMAGE: u64 = 0x6000;
const IMAGE_DIRECTORY: u64 = 0x7000;
const TABLES_SIZE: u64 = 0x8000;
const _: () = assert!(BOOT_FRAMES == 4 << 30);

const fn index(linear: u64, level: u64) -> u64 {
    ((linear >> (12 + 9 * (level - 1))) % 512) * 8
}

global_asm!(
    ".pushsection .note.Xen, \"a\", @note",
    ".balign 4",
    ".long 4",
    ".long 8",
    // XEN_ELFNOTE_PHYS32_ENTRY
    ".long 18",
    ".asciz \"Xen\"",
    ".quad husk_pvh_entry + {physical}",
    ".popsection",
    ".pushsection .bss.husk_boot_tables, \"aw\", @nobits",
    ".balign 4096",
    "husk_boot_tables:",
    ".skip {size}",
    ".popsection",
    ".pushsection .rodata.husk_boot_gdt, \"a\"",
    ".balign 8",
    "husk_boot_gdt:",
    ".quad 0, 0",
    ".quad 0x00af9b000000ffff",
    ".quad 0x00cf93000000ffff",
    "husk_boot_gdt_pointer:",
    ".word 31",
    ".long husk_boot_gdt + {physical}",
    ".popsection",
    ".pushsection .text.husk_pvh, \"ax\"",
    ".code32",
    ".globl husk_pvh_entry",
    "husk_pvh_entry:",
    "cld",
    "movl %ebx, %esi",
    "movl $(husk_boot_tables + {physical}), %edi",
    "leal ({frames} + 3)(%edi), %eax",
    "movl %eax, (%edi)",
    "movl %eax, {root_frames}(%edi)",
    "leal ({image} + 3)(%edi), %eax",
    "movl %eax, {root_image}(%edi)",
    "leal ({image_directory} + 3)(%edi), %eax",
    "movl %eax, ({image} + {image_pointer})(%edi)",
    "leal ({directories} + 3)(%edi), %eax",
    "movl %eax, {frames}(%edi)",
    "addl $0x1000, %eax",
    "movl %eax, ({frames} + 8)(%edi)",
    "addl $0x1000, %eax",
    "movl %eax, ({frames} + 16)(%edi)",
    "addl $0x1000, %eax",
    "movl %eax, ({frames} + 24)(%edi)",
    "leal {directories}(%edi), %ebx",
    "movl $0x83, %eax",
    "movl $2048, %ecx",
    "2:",
    "movl %eax, (%ebx)",
    "addl $8, %ebx",
    "addl $0x200000, %eax",
    "loop 2b",
    "leal ({image_directory} + {image_first})(%edi), %ebx",
    "movl $({start} + 0x83), %eax",
    "movl ${image_pages}, %ecx",
    "3:",
    "movl %eax, (%ebx)",
    "addl $8, %ebx",
    "addl $0x200000, %eax",
    "loop 3b",
    // Physical address extension, the tables, long mode with no-execute, paging.
    "movl %cr4, %eax",
    "orl $0x20, %eax",
    "movl %eax, %cr4",
    "movl %edi, %cr3",
    "movl $0xc0000080, %ecx",
    "rdmsr",
    "orl $0x901, %eax",
    "wrmsr",
    "movl %cr0, %eax",
    "orl $0x80010023, %eax",
    "movl %eax, %cr0",
    "lgdtl husk_boot_gdt_pointer + {physical}",
    "ljmpl $0x10, $(husk_pvh_long + {physical})",
    ".code64",
    "husk_pvh_long:",
    "movl $0x18, %eax",
    "movl %eax, %ss",
    "movabsq $_start, %rax",
    "xorl %edi, %edi",
    "movl %esi, %esi",
    "jmpq *%rax",
    ".popsection",
    physical = const PHYSICAL,
    size = const TABLES_SIZE,
    frames = const FRAMES,
    directories = const DIRECTORIES,
    image = const IMAGE,
    image_directory = const IMAGE_DIRECTORY,
    root_frames = const index(FRAMES_BASE, 4),
    root_image = const index(KERNEL_BASE, 4),
    image_pointer = const index(KERNEL_BASE, 3),
    image_first = const index(KERNEL_BASE, 2),
    image_pages = const KERNEL_SPAN >> 21,
    start = const KERNEL_IMAGE,
    options(att_syntax)
);

/// `hvm_start_info`, version 1.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes)]
struct StartInfo {
    magic: u32,
    version: u32,
    _flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    _reserved: u32,
}

/// An entry of its memory map.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes)]
struct MapEntry {
    start: u64,
    length: u64,
    kind: u32,
    _reserved: u32,
}

/// An entry of its list of modules.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes)]
struct ModuleEntry {
    start: u64,
    length: u64,
    _command_line: u64,
    _reserved: u64,
}

const START_MAGIC: u32 = 0x336e_c578;
const KIND_RAM: u32 = 1;
/// Below, firmware keeps things of its own.
const LOW: u64 = 1 << 20;
/// Most ranges of free memory below.
const LOW_MAX: usize = 4;
/// Most entries of the map, and modules, that are looked at.
const ENTRIES_MAX: u32 = 64;

/// Reads physical memory that the first page tables show. Whether it does.
fn read(physical: u64, into: &mut [u8]) -> bool {
    let end = physical.checked_add(into.len() as u64);
    if !end.is_some_and(|end| end <= BOOT_FRAMES) {
        return false;
    }
    let from = tables::pointer(physical);
    // SAFETY: the range is shown (checked above); what is not memory there reads as something.
    unsafe { core::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
    true
}

fn read_value<T: FromBytes>(physical: u64) -> Option<T> {
    let mut bytes = [0; 64];
    let bytes = bytes.get_mut(..size_of::<T>())?;
    read(physical, bytes).then(|| T::read_from_bytes(bytes).ok())?
}

/// What another monitor, or firmware, says of the machine.
#[derive(Debug)]
pub(super) struct Machine {
    /// Physical memory.
    pub(super) ram: [RamRange; RAM_RANGES_MAX],
    /// Memory in use: modules.
    pub(super) taken: [Range; MODULES_MAX],
    /// The command line.
    pub(super) command_line: CommandLine,
    /// What its ACPI tables say.
    pub(super) acpi: Acpi,
    /// A page below 1 MiB that nobody uses.
    pub(super) low_page: Option<u64>,
}

/// Most modules that are kept.
pub(super) const MODULES_MAX: usize = 4;

/// Reads the start information at a physical address; before the first page tables are gone.
pub(super) fn machine(start_info: u64) -> Option<Machine> {
    let info: StartInfo =
        read_value(start_info).filter(|info: &StartInfo| info.magic == START_MAGIC)?;
    let mut machine = Machine {
        ram: [RamRange::default(); RAM_RANGES_MAX],
        taken: [Range::default(); MODULES_MAX],
        command_line: CommandLine::read(info.command_line, read),
        acpi: acpi::read(info.rsdp, &read),
        low_page: None,
    };
    let mut low = [Range::default(); LOW_MAX];
    let mut free_low = low.iter_mut();
    let entries = if info.version >= 1 {
        info.memory_map_entries
    } else {
        0
    };
    let mut free = machine.ram.iter_mut();
    for number in 0..entries.min(ENTRIES_MAX) {
        let at = info.memory_map + u64::from(number) * size_of::<MapEntry>() as u64;
        let entry: MapEntry = read_value(at)?;
        let end = entry.start.checked_add(entry.length)?;
        let start = entry.start.max(LOW);
        if entry.kind == KIND_RAM
            && entry.start < LOW
            && let Some(range) = free_low.next()
        {
            *range = Range {
                start: entry.start,
                end: end.min(LOW),
            };
        }
        if entry.kind == KIND_RAM && start < end {
            *free.next()? = RamRange {
                start,
                length: end - start,
            };
        }
    }
    for (number, slot) in (0..info.modules.min(ENTRIES_MAX)).zip(&mut machine.taken) {
        let at = info.module_list + u64::from(number) * size_of::<ModuleEntry>() as u64;
        let entry: ModuleEntry = read_value(at)?;
        *slot = Range {
            start: entry.start,
            end: entry.start.checked_add(entry.length)?,
        };
    }
    machine.low_page = low_page(&low, &mut machine.taken);
    Some(machine)
}

/// The last whole page of free memory below 1 MiB: of what firmware calls free, the first pages
/// have most often been somebody's. Not that at zero.
fn low_page(low: &[Range], taken: &mut [Range]) -> Option<u64> {
    let mut found = None;
    for range in low {
        ranges::without(*range, taken, |part| {
            let page = (part.end & !(FRAME - 1)).checked_sub(FRAME);
            found = found.max(page.filter(|page| *page > 0 && *page >= part.start));
        });
    }
    found
}

/// The boot information that a Husk monitor would have given.
pub(super) fn boot_information(machine: &Machine) -> BootInfo {
    let memory: u64 = machine.ram.iter().map(|range| range.length).sum();
    let feature = core::arch::x86_64::__cpuid(1);
    let area = core::arch::x86_64::__cpuid_count(0xd, 0).ebx;
    BootInfo {
        magic: MAGIC,
        version: VERSION,
        // Until it is known which others there are.
        vcpus: 1,
        ram_span: layout::RAM_SPAN,
        memory_limit: memory,
        config_length: 0,
        devices: 0,
        segment_count: 0,
        entry: 0,
        started_tsc: crate::time::tsc(),
        entropy: super::cpu::entropy(),
        hwcap: u64::from(feature.edx),
        hwcap2: HWCAP2_FSGSBASE,
        signal_stack_min: u64::from(area) + SIGNAL_FRAME,
        large_pages_are_dear: 0,
        ram: machine.ram,
        segments: [Segment::default(); SEGMENTS_MAX],
    }
}

/// Bit of `AT_HWCAP2`: programs may use the FSGSBASE instructions.
const HWCAP2_FSGSBASE: u64 = 2;
/// Bytes of a signal frame beside the vector state, generously.
const SIGNAL_FRAME: u64 = 2048;
