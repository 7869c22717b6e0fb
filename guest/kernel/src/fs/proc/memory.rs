//! The process's memory as `/proc` shows it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use guest_hal::Protection;

use crate::fs::caller::Caller;
use crate::mm::{Area, Backing};
use crate::process::current;

const WRITES: &str = "a string takes everything";

/// One mapping, as far as it is shown.
struct Shown {
    start: u64,
    end: u64,
    protection: Protection,
    shared: bool,
    grows: bool,
    present: bool,
    file: Option<(alloc::sync::Arc<crate::fs::OpenFile>, u64)>,
}

impl Shown {
    fn of(start: u64, area: &Area) -> Self {
        Self {
            start,
            end: area.end,
            protection: area.protection,
            shared: area.is_shared(),
            grows: area.grows,
            present: matches!(area.backing, Backing::Private(_) | Backing::Shared(_)),
            file: area
                .file
                .as_ref()
                .map(|file| (file.file.clone(), file.offset)),
        }
    }

    const fn length(&self) -> u64 {
        self.end - self.start
    }

    fn label(&self, brk: (u64, u64)) -> Vec<u8> {
        if let Some((file, _)) = &self.file {
            return file.path(&Caller::current().root);
        }
        let (start, end) = brk;
        if self.grows {
            b"[stack]".into()
        } else if end > start && self.start < end && self.end > start {
            b"[heap]".into()
        } else {
            Vec::new()
        }
    }

    fn line(&self, brk: (u64, u64)) -> Vec<u8> {
        let (device, number, offset) = match &self.file {
            Some((file, offset)) => match file.metadata() {
                Ok(metadata) => (metadata.device, metadata.number, *offset),
                Err(_) => (0, 0, *offset),
            },
            None => (0, 0, 0),
        };
        let mut out = format!(
            "{:08x}-{:08x} {}{} {offset:08x} {:02x}:{:02x} {number} ",
            self.start,
            self.end,
            self.protection,
            if self.shared { 's' } else { 'p' },
            device >> 8,
            device & 0xff,
        )
        .into_bytes();
        let label = self.label(brk);
        if !label.is_empty() {
            out.resize(out.len().max(73), b' ');
            out.extend_from_slice(&label);
        }
        out.push(b'\n');
        out
    }

    /// What of it counts as resident: all that can be accessed.
    const fn resident(&self) -> u64 {
        if self.present && self.protection.bits() != 0 {
            self.length()
        } else {
            0
        }
    }
}

/// A copy of the list, so that nothing is locked while paths are made.
fn areas() -> (Vec<Shown>, (u64, u64)) {
    let memory = current().memory.lock();
    let list = memory
        .areas()
        .map(|(start, area)| Shown::of(start.0, area))
        .collect();
    (list, memory.brk_range())
}

pub(super) fn maps() -> Vec<u8> {
    let (areas, brk) = areas();
    areas.iter().flat_map(|area| area.line(brk)).collect()
}

pub(super) fn detailed() -> Vec<u8> {
    let (areas, brk) = areas();
    let mut out = Vec::new();
    for area in areas {
        out.extend(area.line(brk));
        out.extend(counts(area.length(), area.resident()).into_bytes());
        out.extend_from_slice(b"THPeligible:           0\nVmFlags: rd mr mw me\n");
    }
    out
}

fn counts(size: u64, resident: u64) -> String {
    let mut out = String::new();
    let (size, resident) = (size / 1024, resident / 1024);
    let rows = [
        ("Size", size),
        ("KernelPageSize", 4),
        ("MMUPageSize", 4),
        ("Rss", resident),
        ("Pss", resident),
        ("Shared_Clean", 0),
        ("Shared_Dirty", 0),
        ("Private_Clean", 0),
        ("Private_Dirty", resident),
        ("Referenced", resident),
        ("Anonymous", resident),
        ("LazyFree", 0),
        ("AnonHugePages", 0),
        ("ShmemPmdMapped", 0),
        ("FilePmdMapped", 0),
        ("Shared_Hugetlb", 0),
        ("Private_Hugetlb", 0),
        ("Swap", 0),
        ("SwapPss", 0),
        ("Locked", 0),
    ];
    for (name, value) in rows {
        let name = format!("{name}:");
        writeln!(out, "{name:<16}{value:>8} kB").expect(WRITES);
    }
    out
}

pub(super) fn rollup() -> Vec<u8> {
    let sizes = Sizes::measure();
    let mut out = String::from("00000000-7fffffffffff ---p 00000000 00:00 0 [rollup]\n");
    out.push_str(&counts(sizes.bytes, sizes.resident));
    out.into_bytes()
}

/// How much memory the process has.
pub(super) struct Sizes {
    pub(super) bytes: u64,
    pub(super) resident: u64,
    stack: u64,
    code: u64,
    data: u64,
    pub(super) code_start: u64,
    pub(super) code_end: u64,
}

impl Sizes {
    pub(super) fn measure() -> Self {
        let (areas, _) = areas();
        let mut sizes = Self {
            bytes: 0,
            resident: 0,
            stack: 0,
            code: 0,
            data: 0,
            code_start: 0,
            code_end: 0,
        };
        for area in &areas {
            sizes.bytes += area.length();
            sizes.resident += area.resident();
            if area.grows {
                sizes.stack += area.length();
            }
            if area.protection.contains(Protection::EXECUTE) {
                sizes.code += area.length();
                if sizes.code_end == 0 {
                    (sizes.code_start, sizes.code_end) = (area.start, area.end);
                }
            } else if area.protection.contains(Protection::WRITE) && !area.shared {
                sizes.data += area.length();
            }
        }
        sizes
    }
}

pub(super) fn pages() -> Vec<u8> {
    let sizes = Sizes::measure();
    let page = |bytes: u64| bytes / 4096;
    let (all, resident, code) = (page(sizes.bytes), page(sizes.resident), page(sizes.code));
    format!("{all} {resident} 0 {code} 0 {} 0\n", page(sizes.data)).into_bytes()
}

pub(super) fn status(out: &mut String) {
    let sizes = Sizes::measure();
    let kib = |bytes: u64| bytes / 1024;
    let rows = [
        ("VmPeak", kib(sizes.bytes)),
        ("VmSize", kib(sizes.bytes)),
        ("VmLck", 0),
        ("VmPin", 0),
        ("VmHWM", kib(sizes.resident)),
        ("VmRSS", kib(sizes.resident)),
        ("RssAnon", kib(sizes.resident)),
        ("RssFile", 0),
        ("RssShmem", 0),
        ("VmData", kib(sizes.data)),
        ("VmStk", kib(sizes.stack)),
        ("VmExe", kib(sizes.code)),
        ("VmLib", 0),
        ("VmPTE", 0),
        ("VmSwap", 0),
        ("HugetlbPages", 0),
    ];
    for (name, value) in rows {
        writeln!(out, "{name}:\t{value:>8} kB").expect(WRITES);
    }
    out.push_str("CoreDumping:\t0\nTHP_enabled:\t1\nuntag_mask:\t0xffffffffffffffff\n");
}
