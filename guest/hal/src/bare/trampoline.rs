//! The first instructions of the processors beside the first: from real mode to the kernel.
//!
//! They are copied to a page below 1 MiB, which is never handed out: [`layout::TRAMPOLINE`] with a
//! Husk monitor, elsewhere one of low memory that the memory map calls free. Page tables of their
//! own show that page where it lies, not writable, and the kernel's image; the kernel's tables show
//! the program there.
//!
//! [`layout::TRAMPOLINE`]: guest_abi::layout::TRAMPOLINE

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use super::frames::FRAME;
use super::{memory, processors};

static PAGE: AtomicU64 = AtomicU64::new(0);

// Registers after a start-up message: `cs` is the page, divided by 16, and `ip` zero.
global_asm!(
    ".pushsection .rodata.husk_trampoline, \"a\"",
    ".balign 16",
    ".globl husk_trampoline",
    "husk_trampoline:",
    ".code16",
    "cli",
    "cld",
    "movw %cs, %ax",
    "movw %ax, %ds",
    "xorl %ebx, %ebx",
    "movw %ax, %bx",
    "shll $4, %ebx",
    "lgdtl husk_trampoline_gdt - husk_trampoline",
    "movl %cr0, %eax",
    // Protection on; caches too, which a reset leaves off.
    "andl $0x9fffffff, %eax",
    "orl $1, %eax",
    "movl %eax, %cr0",
    "ljmpl *(husk_trampoline_to_protected - husk_trampoline)",
    ".code32",
    "husk_trampoline_protected:",
    "movw $0x18, %ax",
    "movw %ax, %ds",
    "movw %ax, %es",
    "movw %ax, %ss",
    // Physical address extension, the tables, long mode with no-execute, paging.
    "movl %cr4, %eax",
    "orl $0x20, %eax",
    "movl %eax, %cr4",
    "movl (husk_trampoline_root - husk_trampoline)(%ebx), %eax",
    "movl %eax, %cr3",
    "movl $0xc0000080, %ecx",
    "rdmsr",
    "orl $0x901, %eax",
    "wrmsr",
    "movl %cr0, %eax",
    "orl $0x80010022, %eax",
    "movl %eax, %cr0",
    "ljmpl *(husk_trampoline_to_long - husk_trampoline)(%ebx)",
    ".code64",
    "husk_trampoline_long:",
    "movl %ebx, %ebx",
    "jmpq *(husk_trampoline_to_kernel - husk_trampoline)(%rbx)",
    ".balign 8",
    // Null, 32-bit code, 64-bit code at 0x10, data at 0x18.
    "husk_trampoline_segments:",
    ".quad 0, 0x00cf9b000000ffff, 0x00af9b000000ffff, 0x00cf93000000ffff",
    "husk_trampoline_gdt:",
    ".word 31",
    ".globl husk_trampoline_base",
    "husk_trampoline_base:",
    ".long husk_trampoline_segments - husk_trampoline",
    ".globl husk_trampoline_to_protected",
    "husk_trampoline_to_protected:",
    ".long husk_trampoline_protected - husk_trampoline",
    ".word 0x08",
    ".globl husk_trampoline_to_long",
    "husk_trampoline_to_long:",
    ".long husk_trampoline_long - husk_trampoline",
    ".word 0x10",
    ".balign 8",
    ".globl husk_trampoline_root",
    "husk_trampoline_root:",
    ".quad 0",
    ".globl husk_trampoline_to_kernel",
    "husk_trampoline_to_kernel:",
    ".quad 0",
    ".globl husk_trampoline_end",
    "husk_trampoline_end:",
    ".popsection",
    options(att_syntax)
);

unsafe extern "C" {
    safe static husk_trampoline: u8;
    safe static husk_trampoline_base: u8;
    safe static husk_trampoline_to_protected: u8;
    safe static husk_trampoline_to_long: u8;
    safe static husk_trampoline_root: u8;
    safe static husk_trampoline_to_kernel: u8;
    safe static husk_trampoline_end: u8;
}

/// The code as it is in the image.
fn code() -> &'static [u8] {
    let start = &raw const husk_trampoline;
    let length = (&raw const husk_trampoline_end).addr() - start.addr();
    // SAFETY: the bytes between the two symbols are constants of the image.
    unsafe { core::slice::from_raw_parts(start, length) }
}

/// The page it was copied to.
pub(super) fn page() -> u64 {
    PAGE.load(Ordering::Relaxed)
}

/// Copies it to the page at a physical address below 1 MiB, which nobody else uses.
///
/// # Panics
/// When the page tables for it are not to be had below 4 GiB.
pub(super) fn prepare(page: u64) {
    let root = memory::trampoline_root(page).expect("page tables for the first instructions");
    let root = u32::try_from(root).expect("the first frames lie below 4 GiB");
    let place = memory::map_device(page, FRAME).expect("room to see the trampoline");
    for (offset, byte) in code().iter().enumerate() {
        place.write(offset, *byte);
    }
    let offset = |symbol: *const u8| symbol.addr() - (&raw const husk_trampoline).addr();
    // What is an offset in the image becomes an address.
    for field in [
        &raw const husk_trampoline_base,
        &raw const husk_trampoline_to_protected,
        &raw const husk_trampoline_to_long,
    ] {
        add(&place, offset(field), page as u32);
    }
    place.write(offset(&raw const husk_trampoline_root), root);
    let kernel = processors::arrives as *const () as usize as u64;
    place.write(offset(&raw const husk_trampoline_to_kernel), kernel);
    PAGE.store(page, Ordering::Relaxed);
}

/// Adds to a value of 32 bits, wherever it lies.
fn add(place: &crate::hardware::Registers, offset: usize, addend: u32) {
    let bytes = [0, 1, 2, 3].map(|part| place.read::<u8>(offset + part));
    let sum = u32::from_le_bytes(bytes).wrapping_add(addend);
    for (part, byte) in sum.to_le_bytes().into_iter().enumerate() {
        place.write(offset + part, byte);
    }
}
