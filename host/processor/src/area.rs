//! The pages at a fixed address below 2 GiB, and the way in and out.
//!
//! Fixed, since neither way has a register to spare: everything is addressed absolutely.
#![expect(unsafe_code, reason = "maps pages and touches them")]

use std::arch::global_asm;
use std::ffi::c_void;
use std::io;
use std::mem::offset_of;
use std::ptr;
use std::slice;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use crate::{Extended, Mode, Registers};

const PAGE: usize = 0x1000;
/// Where registers are kept.
const AREA: usize = 0x2000_0000;
/// Where the code lies.
pub const CODE: u64 = CODE_PAGE as u64;
const CODE_PAGE: usize = AREA + PAGE;
/// Where the code's memory lies.
pub const MEMORY: u64 = (AREA + 2 * PAGE) as u64;
/// Bytes of it; no page follows.
pub const MEMORY_SIZE: usize = 2 * PAGE;
const SIZE: usize = 2 * PAGE + MEMORY_SIZE;

/// Selectors of user code in Linux, by which the width is chosen.
const SELECTOR_PROTECTED: u32 = 0x23;
pub(crate) const SELECTOR_LONG: u16 = 0x33;
/// Far jump in 32-bit code, to an offset and a selector.
const JUMP_FAR: u8 = 0xea;
/// `jmp qword ptr [absolute]` in 64-bit code.
const JUMP_TO_SLOT: [u8; 3] = [0xff, 0x24, 0x25];
/// Where 32-bit code comes back to 64-bit code.
const RETURN: usize = CODE_PAGE + PAGE - 16;
/// Most bytes of code.
const CODE_MAX: usize = PAGE - 64;

/// The first page.
#[repr(C)]
struct Kept {
    general: [u64; 16],
    flags: u64,
    host_stack: u64,
    /// Where the way in ends.
    entry: u64,
    /// Where the way out begins.
    leave: u64,
    far_offset: u32,
    far_selector: u32,
    /// Whether `extended` is loaded and stored, too.
    with_extended: u64,
    host_mxcsr: u32,
    host_control: u32,
    _unused: [u8; EXTENDED - 0xb8],
    extended: Extended,
}

/// Where it lies in the page.
const EXTENDED: usize = 0x400;

// The addresses below.
const _: () = {
    assert!(AREA == 0x2000_0000);
    assert!(offset_of!(Kept, flags) == 0x80);
    assert!(offset_of!(Kept, host_stack) == 0x88);
    assert!(offset_of!(Kept, entry) == 0x90);
    assert!(offset_of!(Kept, far_offset) == 0xa0);
    assert!(offset_of!(Kept, with_extended) == 0xa8);
    assert!(offset_of!(Kept, host_mxcsr) == 0xb0);
    assert!(offset_of!(Kept, host_control) == 0xb4);
    assert!(offset_of!(Kept, extended) == EXTENDED);
};

global_asm!(
    ".pushsection .text.husk_processor",
    ".globl husk_processor_enter, husk_processor_far, husk_processor_leave, husk_processor_back",
    "husk_processor_enter:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    // 32-bit code needs data segments; 64-bit code does not look at them.
    "mov eax, 0x2b",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "mov qword ptr [0x20000088], rsp",
    "stmxcsr dword ptr [0x200000b0]",
    "fnstcw word ptr [0x200000b4]",
    "cmp qword ptr [0x200000a8], 0",
    "je 2f",
    "mov eax, 7",
    "xor edx, edx",
    "xrstor64 [0x20000400]",
    "2:",
    "push qword ptr [0x20000080]",
    "popfq",
    "mov rax, qword ptr [0x20000000]",
    "mov rcx, qword ptr [0x20000008]",
    "mov rdx, qword ptr [0x20000010]",
    "mov rbx, qword ptr [0x20000018]",
    "mov rsp, qword ptr [0x20000020]",
    "mov rbp, qword ptr [0x20000028]",
    "mov rsi, qword ptr [0x20000030]",
    "mov rdi, qword ptr [0x20000038]",
    "mov r8, qword ptr [0x20000040]",
    "mov r9, qword ptr [0x20000048]",
    "mov r10, qword ptr [0x20000050]",
    "mov r11, qword ptr [0x20000058]",
    "mov r12, qword ptr [0x20000060]",
    "mov r13, qword ptr [0x20000068]",
    "mov r14, qword ptr [0x20000070]",
    "mov r15, qword ptr [0x20000078]",
    "jmp qword ptr [0x20000090]",
    "husk_processor_far:",
    "jmp fword ptr [0x200000a0]",
    "husk_processor_leave:",
    "mov qword ptr [0x20000000], rax",
    "mov qword ptr [0x20000008], rcx",
    "mov qword ptr [0x20000010], rdx",
    "mov qword ptr [0x20000018], rbx",
    "mov qword ptr [0x20000020], rsp",
    "mov qword ptr [0x20000028], rbp",
    "mov qword ptr [0x20000030], rsi",
    "mov qword ptr [0x20000038], rdi",
    "mov qword ptr [0x20000040], r8",
    "mov qword ptr [0x20000048], r9",
    "mov qword ptr [0x20000050], r10",
    "mov qword ptr [0x20000058], r11",
    "mov qword ptr [0x20000060], r12",
    "mov qword ptr [0x20000068], r13",
    "mov qword ptr [0x20000070], r14",
    "mov qword ptr [0x20000078], r15",
    "mov rsp, qword ptr [0x20000088]",
    "pushfq",
    "pop qword ptr [0x20000080]",
    "husk_processor_back:",
    "mov rsp, qword ptr [0x20000088]",
    "push 0x202",
    "popfq",
    "cmp qword ptr [0x200000a8], 0",
    "je 2f",
    "mov eax, 7",
    "xor edx, edx",
    "xsave64 [0x20000400]",
    // What a function finds as its caller left it (System V ABI): empty stack, control bits.
    "fninit",
    "2:",
    "fldcw word ptr [0x200000b4]",
    "ldmxcsr dword ptr [0x200000b0]",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    ".popsection",
);

unsafe extern "C" {
    fn husk_processor_enter();
    fn husk_processor_far();
    fn husk_processor_leave();
    fn husk_processor_back();
}

/// Where a handler goes on that has taken the registers itself.
pub(crate) fn back() -> u64 {
    husk_processor_back as *const () as u64
}

/// Whether an address lies in the code.
pub(crate) fn is_code(address: u64) -> bool {
    (CODE_PAGE..CODE_PAGE + PAGE).contains(&(address as usize))
}

/// The pages. There is one set in a process.
#[derive(Debug)]
pub(crate) struct Area(());

impl Area {
    /// Maps the pages, whose only owner the caller is.
    pub(crate) fn new() -> io::Result<Self> {
        let all = ProtFlags::READ | ProtFlags::WRITE | ProtFlags::EXEC;
        let flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE;
        let at: *mut c_void = ptr::with_exposed_provenance_mut(AREA);
        // SAFETY: with FIXED_NOREPLACE nothing that is there is replaced.
        unsafe { mmap_anonymous(at, SIZE, all, flags) }?;
        let mut area = Self(());
        area.kept().leave = husk_processor_leave as *const () as u64;
        Ok(area)
    }

    fn kept(&mut self) -> &mut Kept {
        // SAFETY: the page is mapped, aligned, zero or written by us, and ours alone, since there is
        // one `Area` and it is borrowed.
        unsafe { &mut *ptr::with_exposed_provenance_mut(AREA) }
    }

    /// The code's memory.
    pub(crate) fn memory(&mut self) -> &mut [u8] {
        let start = ptr::with_exposed_provenance_mut(MEMORY as usize);
        // SAFETY: as for `kept`; the code has ended.
        unsafe { slice::from_raw_parts_mut(start, MEMORY_SIZE) }
    }

    fn code(&mut self) -> &mut [u8] {
        let start = ptr::with_exposed_provenance_mut(CODE_PAGE);
        // SAFETY: as for `kept`.
        unsafe { slice::from_raw_parts_mut(start, PAGE) }
    }

    /// Writes the code, and the way out behind it.
    pub(crate) fn load(&mut self, mode: Mode, code: &[u8]) {
        assert!(code.len() <= CODE_MAX, "{} bytes are too many", code.len());
        let slot = (AREA + offset_of!(Kept, leave)) as u32;
        let mut out = JUMP_TO_SLOT.to_vec();
        out.extend(slot.to_le_bytes());
        let page = self.code();
        page[RETURN - CODE_PAGE..][..out.len()].copy_from_slice(&out);
        if mode == Mode::Protected {
            out = vec![JUMP_FAR];
            out.extend((RETURN as u32).to_le_bytes());
            out.extend(SELECTOR_LONG.to_le_bytes());
        }
        page[..code.len()].copy_from_slice(code);
        page[code.len()..][..out.len()].copy_from_slice(&out);
        let kept = self.kept();
        kept.far_offset = CODE_PAGE as u32;
        kept.far_selector = SELECTOR_PROTECTED;
        kept.entry = match mode {
            Mode::Protected => husk_processor_far as *const () as u64,
            Mode::Long => CODE,
        };
    }

    /// Runs what was loaded.
    pub(crate) fn run(&mut self, registers: &Registers, extended: Option<&Extended>) -> Registers {
        let kept = self.kept();
        kept.general = registers.general;
        kept.flags = registers.flags;
        kept.with_extended = extended.is_some().into();
        if let Some(extended) = extended {
            kept.extended = extended.loadable();
        }
        // SAFETY: the code was loaded with its way out behind it, and is trusted (see the crate's
        // documentation); the way in and out keeps what the System V ABI wants kept, but for
        // `ds`, `es` and `ss`, at which nothing looks in 64-bit code. The host's stack is not touched
        // in between, since `rsp` is the code's and signals have a stack of their own.
        unsafe { husk_processor_enter() };
        Registers {
            general: kept.general,
            flags: kept.flags,
        }
    }

    /// The extended state as the last run left it, if it was given one.
    pub(crate) fn extended(&mut self) -> Extended {
        self.kept().extended
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: nobody uses the pages any more: the only owner goes.
        let _ = unsafe { rustix::mm::munmap(ptr::with_exposed_provenance_mut(AREA), SIZE) };
    }
}
