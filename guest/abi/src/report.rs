//! How a machine ends, and what it counted.

use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

/// Bytes of text in a report.
pub const TEXT_MAX: usize = 2048;

/// The program ended by itself; `value` is its status.
pub const KIND_EXITED: u32 = 1;
/// A signal ended the program; `value` is its number.
pub const KIND_SIGNALED: u32 = 2;
/// The program could not be started; `value` is the Linux error number, the text says why.
pub const KIND_NOT_STARTED: u32 = 3;
/// The machine's memory is used up; `value` is zero.
pub const KIND_OUT_OF_MEMORY: u32 = 4;
/// The kernel found a fault of its own; the text is its report.
pub const KIND_PANIC: u32 = 5;

/// Written by the kernel; `kind` last.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct ReportPage {
    /// One of the `KIND_` constants; zero: still running.
    pub kind: AtomicU32,
    /// Meaning depends on `kind`.
    pub value: AtomicU32,
    /// Length of `text` in bytes.
    pub text_length: AtomicU32,
    /// Not used.
    pub reserved: AtomicU32,
    /// Time-stamp counter when the program's first instruction ran.
    pub first_instruction_tsc: AtomicU64,
    /// System calls of the program.
    pub system_calls: AtomicU64,
    /// Of these, the ones that came in by a trap (the rest by a patched site).
    pub trapped_system_calls: AtomicU64,
    /// System call sites patched.
    pub patched_sites: AtomicU64,
    /// Faults of the program that the kernel served.
    pub page_faults: AtomicU64,
    /// Requests to file systems of the host.
    pub requests: AtomicU64,
    /// Text for people, UTF-8.
    pub text: [AtomicU8; TEXT_MAX],
}
