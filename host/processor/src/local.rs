//! The process's local descriptor table (modify_ldt(2)), for code that loads segment registers.
#![expect(unsafe_code, reason = "a system call that no library wraps")]

use std::io;
use std::mem::size_of;

use crate::Bench;

/// What kind of segment it is (SDM vol. 3, table 3-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LocalKind {
    /// Data up to the limit.
    Data,
    /// Data above the limit.
    DataDown,
    /// Code. The host's kernel allows no conforming code.
    Code,
}

/// A segment of privilege level 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalSegment {
    /// What kind.
    pub kind: LocalKind,
    /// Linear address of its first byte.
    pub base: u32,
    /// The last offset, in bytes or in pages of 4 KiB: 20 bits.
    pub limit: u32,
    /// The limit is in pages.
    pub in_pages: bool,
    /// 32-bit code, a 32-bit stack; otherwise 16-bit.
    pub is_big: bool,
    /// Data that may not be written, code that may not be read.
    pub is_restricted: bool,
    /// There is none, in spite of all this.
    pub is_absent: bool,
}

/// As modify_ldt(2) takes it.
#[repr(C)]
struct UserDescriptor {
    number: u32,
    base: u32,
    limit: u32,
    bits: u32,
}

/// What modify_ldt(2) is to do.
const READ: libc::c_long = 0;
const WRITE: libc::c_long = 0x11;
/// Most segments of a table, and bytes of each (`asm/ldt.h`).
const SEGMENTS_MAX: usize = 8192;
const SEGMENT_SIZE: usize = 8;

impl Bench {
    /// Sets a segment of the local table, whose selector is 8 x `number` + 7. It stays when the
    /// bench is gone.
    ///
    /// # Errors
    /// When the host's kernel has no local tables, or the number is too large.
    pub fn set_local(&mut self, number: u16, segment: &LocalSegment) -> io::Result<()> {
        let kind = match segment.kind {
            LocalKind::Data => 0,
            LocalKind::DataDown => 1,
            LocalKind::Code => 2,
        };
        let bit = |is: bool, at: u32| u32::from(is) << at;
        let descriptor = UserDescriptor {
            number: number.into(),
            base: segment.base,
            limit: segment.limit,
            bits: bit(segment.is_big, 0)
                | kind << 1
                | bit(segment.is_restricted, 3)
                | bit(segment.in_pages, 4)
                | bit(segment.is_absent, 5),
        };
        let bytes = size_of::<UserDescriptor>();
        // SAFETY: the kernel reads so many bytes of the descriptor. The segments give code no right to
        // memory that it does not have without them.
        let done =
            unsafe { libc::syscall(libc::SYS_modify_ldt, WRITE, &raw const descriptor, bytes) };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// The local table's descriptors, as the processor finds them.
    ///
    /// # Errors
    /// When the host's kernel has no local tables.
    pub fn local_table(&self) -> io::Result<Vec<u64>> {
        let mut table = vec![0_u64; SEGMENTS_MAX];
        let bytes = SEGMENTS_MAX * SEGMENT_SIZE;
        // SAFETY: the kernel writes at most so many bytes, all of which are the table's.
        let got = unsafe { libc::syscall(libc::SYS_modify_ldt, READ, table.as_mut_ptr(), bytes) };
        let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
        table.truncate(got / SEGMENT_SIZE);
        Ok(table)
    }
}
