//! Copies from and to the program's memory that survive any address.
//!
//! A copy that meets a page which is not there, or may not be accessed, ends with the
//! address. The caller decides whether the page can be brought in (then it tries
//! again) or the program gets `EFAULT`. The same for exchanging a word in one step.
#![expect(unsafe_code, reason = "the program's memory is reached by address")]

use core::arch::naked_asm;

use crate::LinearAddress;

/// A page could not be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The first address that could not be accessed.
    pub address: LinearAddress,
    /// Whether it was to be written.
    pub write: bool,
    /// The host could not give the page.
    pub no_memory: bool,
}

/// Copies from the program.
///
/// # Errors
/// [`Fault`] at the first byte that cannot be read; bytes before it have been copied.
pub fn read(from: LinearAddress, into: &mut [u8]) -> Result<(), Fault> {
    copy_in(into.as_mut_ptr(), from, into.len())
}

/// Copies to the program.
///
/// # Errors
/// [`Fault`] at the first byte that cannot be written; bytes before it have been copied.
pub fn write(into: LinearAddress, from: &[u8]) -> Result<(), Fault> {
    copy_out(into, from.as_ptr(), from.len())
}

pub(crate) fn copy_in(into: *mut u8, from: LinearAddress, length: usize) -> Result<(), Fault> {
    if !from.is_user_range(length as u64) {
        return Err(Fault {
            address: from,
            write: false,
            no_memory: false,
        });
    }
    let source = core::ptr::with_exposed_provenance(from.0 as usize);
    // SAFETY: `into` is valid for `length` bytes (callers in this crate), `source` may be
    // anything outside the kernel (checked): `copy` stops at a page that does not answer.
    let rest = unsafe { copy(into, source, length) };
    fault_at(from, length - rest, rest, false)
}

pub(crate) fn copy_out(into: LinearAddress, from: *const u8, length: usize) -> Result<(), Fault> {
    if !into.is_user_range(length as u64) {
        return Err(Fault {
            address: into,
            write: true,
            no_memory: false,
        });
    }
    let target = core::ptr::with_exposed_provenance_mut(into.0 as usize);
    // SAFETY: as in `copy_in`, with the roles exchanged.
    let rest = unsafe { copy(target, from, length) };
    fault_at(into, length - rest, rest, true)
}

fn fault_at(start: LinearAddress, done: usize, rest: usize, write: bool) -> Result<(), Fault> {
    if rest == 0 {
        return Ok(());
    }
    Err(Fault {
        address: LinearAddress(start.0 + done as u64),
        write,
        no_memory: take_no_memory(),
    })
}

/// Whether the host could not give the page that the last copy met.
fn take_no_memory() -> bool {
    #[cfg(kernel_build)]
    let noted = crate::area::area()
        .no_memory
        .swap(0, core::sync::atomic::Ordering::Relaxed);
    #[cfg(not(kernel_build))]
    let noted = 0;
    noted != 0
}

/// Copies forwards; returns how many bytes were left when a page did not answer.
///
/// # Safety
/// The kernel's side must be valid for `length` bytes, the other must not be the kernel's.
#[unsafe(naked)]
unsafe extern "C" fn copy(into: *mut u8, from: *const u8, length: usize) -> usize {
    naked_asm!(
        "mov rcx, rdx",
        ".globl husk_user_copy",
        "husk_user_copy:",
        "rep movsb",
        ".globl husk_user_copy_end",
        "husk_user_copy_end:",
        "mov rax, rcx",
        "ret",
    )
}

/// Replaces 32 bits of the program's, in one step, if they are `expected`; what they were.
///
/// # Errors
/// [`Fault`] when they cannot be written.
pub fn compare_exchange(at: LinearAddress, expected: u32, new: u32) -> Result<u32, Fault> {
    let fault = Fault {
        address: at,
        write: true,
        no_memory: false,
    };
    if !at.is_user_range(4) {
        return Err(fault);
    }
    let word = core::ptr::with_exposed_provenance_mut(at.0 as usize);
    // SAFETY: `word` lies outside the kernel (checked); `exchange` stops at a page that does not
    // answer.
    let result = unsafe { exchange(word, expected, new) };
    if result >> 32 != 0 {
        let no_memory = take_no_memory();
        return Err(Fault { no_memory, ..fault });
    }
    Ok(result as u32)
}

/// As `lock cmpxchg`; bit 32 of the result: a page did not answer.
///
/// # Safety
/// The word must not be the kernel's.
#[unsafe(naked)]
unsafe extern "C" fn exchange(word: *mut u32, expected: u32, new: u32) -> u64 {
    naked_asm!(
        "mov eax, esi",
        "mov ecx, 1",
        ".globl husk_user_exchange",
        "husk_user_exchange:",
        "lock cmpxchg [rdi], edx",
        "mov ecx, 0",
        ".globl husk_user_exchange_end",
        "husk_user_exchange_end:",
        "mov eax, eax",
        "shl rcx, 32",
        "or rax, rcx",
        "ret",
    )
}

/// Where a fault at `rip` continues, if it happened in a copy or an exchange.
#[cfg(kernel_build)]
pub(crate) fn fixup(rip: u64) -> Option<u64> {
    unsafe extern "C" {
        safe static husk_user_copy: u8;
        safe static husk_user_copy_end: u8;
        safe static husk_user_exchange: u8;
        safe static husk_user_exchange_end: u8;
    }
    let ranges = [
        (&raw const husk_user_copy, &raw const husk_user_copy_end),
        (
            &raw const husk_user_exchange,
            &raw const husk_user_exchange_end,
        ),
    ];
    let found = ranges
        .into_iter()
        .map(|(start, end)| (start.addr() as u64, end.addr() as u64))
        .find(|(start, end)| rip >= *start && rip < *end);
    found.map(|(_, end)| end)
}
