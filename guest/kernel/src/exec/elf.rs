//! The headers of an ELF file (System V ABI, chapters 4 and 5; x86-64 supplement).
//!
//! Every byte is untrusted: fields are read by position with checks, sums are checked,
//! and what Linux refuses is refused.

use alloc::vec::Vec;

use guest_abi::layout::PAGE_SIZE;
use guest_hal::Protection;

use super::ExecError;
use crate::Errno;

/// Most program headers (Linux reads at most a 64 KiB table).
const SEGMENTS_MAX: u16 = 1024;
/// Bytes of a program header.
pub(super) const SEGMENT_SIZE: u64 = 56;
/// Bytes of the file header.
pub(super) const HEADER_SIZE: usize = 64;

/// How the file wants to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// At its own addresses.
    Fixed,
    /// Anywhere.
    Relocatable,
}

/// The file header, as far as loading needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How it wants to be placed.
    pub kind: Kind,
    /// Entry point, before relocation.
    pub entry: u64,
    /// Offset of the program headers.
    pub table: u64,
    /// Number of program headers.
    pub count: u16,
}

/// One program header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// `PT_` type.
    pub kind: u32,
    /// What the program may do in it.
    pub protection: Protection,
    /// Offset in the file.
    pub offset: u64,
    /// Address, before relocation.
    pub address: u64,
    /// Bytes in the file.
    pub file_size: u64,
    /// Bytes in memory.
    pub memory_size: u64,
    /// Alignment.
    pub align: u64,
}

/// `PT_LOAD`.
pub(super) const LOAD: u32 = 1;
/// `PT_INTERP`.
pub(super) const INTERPRETER: u32 = 3;
/// `PT_PHDR`.
pub(super) const HEADERS: u32 = 6;
/// `PT_GNU_STACK`.
pub(super) const STACK: u32 = 0x6474_e551;

fn refuse(reason: &'static str) -> ExecError {
    ExecError::new(Errno::ENOEXEC, reason)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Reads the file header.
///
/// # Errors
/// `ENOEXEC`, saying what the file is instead.
pub fn parse(head: &[u8]) -> Result<Header, ExecError> {
    if head.is_empty() {
        return Err(refuse("is empty"));
    }
    if !head.starts_with(b"\x7fELF") {
        let text = head
            .iter()
            .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
        return Err(refuse(if text {
            "is a text file without a #! line"
        } else {
            "is not a program (no ELF header)"
        }));
    }
    let truncated = || refuse("is a truncated ELF file");
    match head.get(4) {
        Some(2) => {}
        Some(1) => {
            return Err(refuse(
                "is a 32-bit program; Husk runs 64-bit x86-64 programs",
            ));
        }
        Some(_) => return Err(refuse("is an ELF file of an unknown class")),
        None => return Err(truncated()),
    }
    if head.len() < HEADER_SIZE {
        return Err(truncated());
    }
    if head.get(5) != Some(&1) {
        return Err(refuse(
            "is a big-endian program; Husk runs 64-bit x86-64 programs",
        ));
    }
    match u16_at(head, 18).ok_or_else(truncated)? {
        62 => {}
        183 => {
            return Err(refuse(
                "is an ARM64 program; Husk runs 64-bit x86-64 programs",
            ));
        }
        243 => {
            return Err(refuse(
                "is a RISC-V program; Husk runs 64-bit x86-64 programs",
            ));
        }
        _ => {
            return Err(refuse(
                "is for another processor; Husk runs 64-bit x86-64 programs",
            ));
        }
    }
    let kind = match u16_at(head, 16).ok_or_else(truncated)? {
        2 => Kind::Fixed,
        3 => Kind::Relocatable,
        _ => return Err(refuse("is an object or core file, not a program")),
    };
    let count = u16_at(head, 56).ok_or_else(truncated)?;
    let size = u16_at(head, 54).ok_or_else(truncated)?;
    if u64::from(size) != SEGMENT_SIZE || count == 0 || count > SEGMENTS_MAX {
        return Err(refuse("has a program header table that makes no sense"));
    }
    Ok(Header {
        kind,
        entry: u64_at(head, 24).ok_or_else(truncated)?,
        table: u64_at(head, 32).ok_or_else(truncated)?,
        count,
    })
}

/// Reads the program headers from the table's bytes.
///
/// # Errors
/// `ENOEXEC` when one makes no sense.
pub fn segments(table: &[u8]) -> Result<Vec<Segment>, ExecError> {
    let mut segments = Vec::new();
    for bytes in table.chunks_exact(SEGMENT_SIZE as usize) {
        let segment =
            segment(bytes).ok_or_else(|| refuse("has a truncated program header table"))?;
        if segment.kind == LOAD {
            check(&segment)?;
        }
        segments.push(segment);
    }
    if !segments.iter().any(|segment| segment.kind == LOAD) {
        return Err(refuse("has nothing to load"));
    }
    Ok(segments)
}

fn segment(bytes: &[u8]) -> Option<Segment> {
    let flags = u32_at(bytes, 4)?;
    let flag = |bit, protection| {
        if flags & bit != 0 {
            protection
        } else {
            Protection::NONE
        }
    };
    Some(Segment {
        kind: u32_at(bytes, 0)?,
        protection: flag(4, Protection::READ)
            .union(flag(2, Protection::WRITE))
            .union(flag(1, Protection::EXECUTE)),
        offset: u64_at(bytes, 8)?,
        address: u64_at(bytes, 16)?,
        file_size: u64_at(bytes, 32)?,
        memory_size: u64_at(bytes, 40)?,
        align: u64_at(bytes, 48)?,
    })
}

fn check(segment: &Segment) -> Result<(), ExecError> {
    let end = segment.address.checked_add(segment.memory_size);
    let file_end = segment.offset.checked_add(segment.file_size);
    if end.is_none_or(|end| end > guest_abi::layout::APP_END)
        || file_end.is_none_or(|end| end >> 62 != 0)
    {
        return Err(refuse("has a segment outside of the address space"));
    }
    if segment.file_size > segment.memory_size {
        return Err(refuse(
            "has a segment with more bytes in the file than in memory",
        ));
    }
    if segment.offset % PAGE_SIZE != segment.address % PAGE_SIZE {
        return Err(refuse("has a segment that is not aligned to pages"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> [u8; 64] {
        let mut head = [0; 64];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[16] = 3;
        head[18] = 62;
        head[32] = 64;
        head[54] = 56;
        head[56] = 1;
        head
    }

    fn reason(head: &[u8]) -> alloc::string::String {
        parse(head).unwrap_err().reason
    }

    #[test]
    fn a_plain_header_is_accepted() {
        let parsed = parse(&header()).unwrap();
        assert_eq!(
            (parsed.kind, parsed.table, parsed.count),
            (Kind::Relocatable, 64, 1)
        );
    }

    #[test]
    fn other_files_are_named() {
        assert!(reason(b"").contains("empty"));
        assert!(reason(b"hello\n").contains("text"));
        assert!(reason(b"\x7fELF\x01").contains("32-bit"));
        assert!(reason(b"\x7fELF\x02\x01").contains("truncated"));
        let mut arm = header();
        arm[18] = 183;
        assert!(reason(&arm).contains("ARM64"));
    }

    #[test]
    fn segments_that_make_no_sense_are_refused() {
        let mut table = [0; 56];
        table[0] = 1;
        table[8] = 1;
        assert!(segments(&table).is_err(), "misaligned");
        table[8] = 0;
        table[32] = 2;
        table[40] = 1;
        assert!(segments(&table).is_err(), "larger in the file");
        table[40] = 2;
        assert!(segments(&table).is_ok());
        table[16..24].fill(0xff);
        assert!(segments(&table).is_err(), "outside");
    }
}
