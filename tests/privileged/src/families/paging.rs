//! Page tables: rights, faults and marks, in every kind of paging.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

use crate::case::Mode::{Long64, Protected32};
use crate::case::{Case, Mode, control};
use crate::layout::{self, WINDOW};

/// The kinds of paging, each with the places of the entries that map the window.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Legacy,
    Pae,
    Long,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Legacy, Self::Pae, Self::Long];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Pae => "pae",
            Self::Long => "long",
        }
    }

    fn mode(self, level: u8) -> Mode {
        match self {
            Self::Long => Long64(level),
            _ => Protected32(level),
        }
    }

    /// A case with this kind of paging.
    pub(super) fn case(self, name: &str, level: u8) -> Case {
        let mode = self.mode(level);
        let case = Case::new(format!("page/{}-{level}/{name}", self.word()), mode);
        let case = case.bx(WINDOW.into()).patch_32(layout::PAGES, 0x5a5a_5a5a);
        match self {
            Self::Legacy => case.legacy_paging(),
            Self::Pae => case.pae_paging(),
            Self::Long => case,
        }
    }

    /// The entry of the window's first page.
    pub(super) fn entry(self) -> u32 {
        match self {
            Self::Legacy => layout::PT_LEGACY_WINDOW,
            _ => layout::PT_WINDOW,
        }
    }

    /// The entry of the window's first page table.
    pub(super) fn directory_entry(self) -> u32 {
        match self {
            Self::Legacy => layout::PD_LEGACY + 256 * 4,
            _ => layout::PD_WINDOW,
        }
    }

    /// The entry of the page after the window's first.
    fn next_entry(self) -> u32 {
        self.entry() + if self == Self::Legacy { 4 } else { 8 }
    }
}

/// What is done to the window.
#[derive(Clone, Copy)]
enum Access {
    Read,
    Write,
    Modify,
}

impl Access {
    fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Modify => "modify",
        }
    }

    fn code(self, kind: Kind, a: &mut CodeAssembler) -> Result<(), IcedError> {
        let place = if kind == Kind::Long { rbx + 0 } else { ebx + 0 };
        match self {
            Self::Read => a.mov(eax, dword_ptr(place)),
            Self::Write => a.mov(dword_ptr(place), eax),
            Self::Modify => a.add(dword_ptr(place), eax),
        }
    }
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in Kind::ALL {
        cases.extend(leaves(kind));
        cases.extend(levels(kind));
        cases.extend(crossings(kind));
        cases.extend(reserved(kind));
        cases.extend(forgotten(kind));
        if kind != Kind::Legacy {
            cases.extend(execution(kind));
        }
    }
    cases
}

/// The rights of a page, by the access, the level, and CR0.WP.
fn leaves(kind: Kind) -> Vec<Case> {
    let rights = [
        ("absent", 0x06),
        ("ro-s", 0x01),
        ("rw-s", 0x03),
        ("ro-u", 0x05),
        ("rw-u", 0x07),
    ];
    let mut cases = Vec::new();
    for (name, bits) in rights {
        for level in [0, 3] {
            for protect in [false, true] {
                for access in [Access::Read, Access::Write] {
                    if protect && (level == 3 || matches!(access, Access::Read)) {
                        continue;
                    }
                    let protected = if protect { "-wp" } else { "" };
                    let name = format!("{name}/{}{protected}", access.word());
                    let case = kind
                        .case(&name, level)
                        .patch_32(kind.entry(), layout::PAGES | bits);
                    let case = if protect {
                        case.cr0(control::CR0_WP)
                    } else {
                        case
                    };
                    let case = case.show(kind.entry(), 1);
                    cases.push(case.code(|a| access.code(kind, a)));
                }
            }
        }
    }
    for level in [0, 1, 3] {
        if kind == Kind::Long && level == 1 {
            continue;
        }
        let case = kind.case("ro-u/modify", level).cr0(control::CR0_WP);
        let case = case.patch_32(kind.entry(), layout::PAGES | 5);
        cases.push(case.code(|a| Access::Modify.code(kind, a)));
    }
    cases
}

/// The rights of the level above, whose marks are set, too.
fn levels(kind: Kind) -> Vec<Case> {
    let rights = [
        ("absent", 0x06),
        ("ro-s", 0x01),
        ("rw-s", 0x03),
        ("ro-u", 0x05),
        ("rw-u", 0x07),
    ];
    let table = kind.entry() & !0xfff;
    let mut cases = Vec::new();
    for (name, bits) in rights {
        for (level, access) in [(3, Access::Read), (3, Access::Write), (0, Access::Write)] {
            let name = format!("table-{name}/{}", access.word());
            let case = kind.case(&name, level).cr0(control::CR0_WP);
            let case = case.patch_32(kind.entry(), layout::PAGES | 7);
            let case = case.patch_32(kind.directory_entry(), table | bits);
            // Whether an entry is marked by an access that is not allowed is not said.
            let is_allowed = is_allowed(bits, level, matches!(access, Access::Write));
            let case = case.show(kind.entry(), 1);
            let case = if is_allowed {
                case.show(kind.directory_entry(), 1)
            } else {
                case
            };
            cases.push(case.code(|a| access.code(kind, a)));
        }
    }
    cases
}

/// Whether an entry allows an access, with CR0.WP.
pub(super) fn is_allowed(bits: u32, level: u8, is_write: bool) -> bool {
    let is_present = bits & 1 != 0;
    is_present && (level == 0 || bits & 4 != 0) && (!is_write || bits & 2 != 0)
}

/// Accesses across the end of a page, of which the second is another one.
fn crossings(kind: Kind) -> Vec<Case> {
    let mut cases = Vec::new();
    let edge = u64::from(WINDOW) + 0xffe;
    for (name, bits) in [("absent", 0), ("ro-u", 5), ("rw-s", 3)] {
        for access in [Access::Read, Access::Write, Access::Modify] {
            let name = format!("crossing-{name}/{}", access.word());
            let case = kind
                .case(&name, 3)
                .bx(edge)
                .patch_32(kind.entry(), layout::PAGES | 7);
            let case = case.patch_32(kind.next_entry(), (layout::PAGES + 0x1000) | bits);
            let case = case.patch_32(layout::PAGES + 0xffc, 0x4433_2211);
            let case = case
                .show(layout::PAGES + 0xffc, 1)
                .show(kind.next_entry(), 1);
            cases.push(case.code(|a| access.code(kind, a)));
        }
    }
    let both = kind.case("crossing-both-absent/write", 3).bx(edge);
    let both = both
        .patch_32(kind.entry(), 0)
        .patch_32(kind.next_entry(), 0);
    cases.push(both.code(|a| Access::Write.code(kind, a)));
    // An instruction across two pages, of which the second is absent.
    let code = kind
        .case("crossing-absent/fetch", 0)
        .patch_32(kind.next_entry(), 0);
    let code = code.patch(layout::PAGES + 0xffd, &[0x90, 0xb8, 0x11]);
    let code = code.ip(u64::from(WINDOW) + 0xffd).show(kind.entry(), 1);
    cases.push(code);
    let last = kind
        .case("crossing-absent/fetch-ends-before", 0)
        .patch_32(kind.next_entry(), 0);
    let last = last
        .patch(layout::PAGES + 0xffe, &[0xcd, 0xff])
        .ip(u64::from(WINDOW) + 0xffe);
    cases.push(last);
    // A string instruction stops where it faults, and can be resumed.
    let string = kind
        .case("crossing-absent/movs", 3)
        .general(6, layout::DATA.into());
    let string = string.general(7, u64::from(WINDOW) + 0xff8).cx(4);
    let string = string.patch_32(kind.next_entry(), 0);
    cases.push(string.code(|a| a.rep().movsd()));
    // A push that cannot be made leaves the stack pointer.
    let push = kind
        .case("absent/push", 3)
        .patch_32(kind.entry(), 0)
        .sp(u64::from(WINDOW) + 8);
    cases.push(push.bytes(&[0x50, 0x50, 0x50]));
    let call = kind
        .case("absent/call", 3)
        .patch_32(kind.entry(), 0)
        .sp(u64::from(WINDOW) + 4);
    cases.push(call.bytes(&[0xe8, 0x10, 0, 0, 0]));
    cases
}

/// Reserved bits in each level's entries.
fn reserved(kind: Kind) -> Vec<Case> {
    let mut cases = Vec::new();
    let entries: &[(&str, u32, u32)] = match kind {
        Kind::Legacy => &[],
        Kind::Pae => &[
            ("page", layout::PT_WINDOW, 62),
            ("table", layout::PD_WINDOW, 55),
        ],
        Kind::Long => &[
            ("page", layout::PT_WINDOW, 51),
            ("table", layout::PD_WINDOW, 51),
            ("directory", layout::PDPT + 8, 51),
        ],
    };
    for (name, place, bit) in entries {
        for level in [0, 3] {
            let case = kind.case(&format!("reserved-{name}"), level);
            // The upper half of an entry that is else as it was.
            let case = case.patch_32(place + 4, 1 << (bit - 32));
            cases.push(case.code(|a| Access::Write.code(kind, a)));
        }
        let case = kind.case(&format!("reserved-{name}-absent"), 3);
        let case = case
            .patch_32(place + 4, 1 << (bit - 32))
            .patch_32(*place, 0);
        cases.push(case.code(|a| Access::Read.code(kind, a)));
    }
    cases
}

/// Translations that have to be forgotten.
fn forgotten(kind: Kind) -> Vec<Case> {
    let mut cases = Vec::new();
    let ways = ["invlpg", "cr3", "cr4-pge", "cr3-global"];
    for way in ways {
        let mut case = kind
            .case(&format!("forgotten/{way}"), 0)
            .cx((layout::PAGES + 0x2007).into());
        case = case
            .patch_32(layout::PAGES, 0x1111_1111)
            .patch_32(layout::PAGES + 0x2000, 0x2222_2222);
        if way != "cr3" {
            case = case.cr4(control::CR4_PGE);
        }
        let global = way == "cr4-pge" || way == "cr3-global";
        let bits = if global { 0x107 } else { 7 };
        case = case.patch_32(kind.entry(), layout::PAGES | bits);
        cases.push(case.code(|a| forget(a, kind, way)));
    }
    cases
}

/// Reads, changes the entry to what ECX says, has it forgotten, and reads again.
fn forget(a: &mut CodeAssembler, kind: Kind, way: &str) -> Result<(), IcedError> {
    Access::Read.code(kind, a)?;
    a.mov(esi, eax)?;
    a.mov(dword_ptr(kind.entry()), ecx)?;
    let is_long = kind == Kind::Long;
    match way {
        "invlpg" | "cr3-global" if is_long => a.invlpg(byte_ptr(rbx))?,
        "invlpg" | "cr3-global" => a.invlpg(byte_ptr(ebx))?,
        "cr3" if is_long => {
            a.mov(rax, cr3)?;
            a.mov(cr3, rax)?;
        }
        "cr3" => {
            a.mov(eax, cr3)?;
            a.mov(cr3, eax)?;
        }
        _ if is_long => {
            a.mov(rax, cr4)?;
            a.and(eax, !control::CR4_PGE as i32)?;
            a.mov(cr4, rax)?;
        }
        _ => {
            a.mov(eax, cr4)?;
            a.and(eax, !control::CR4_PGE as i32)?;
            a.mov(cr4, eax)?;
        }
    }
    Access::Read.code(kind, a)
}

/// The bit that forbids execution, at each level.
fn execution(kind: Kind) -> Vec<Case> {
    let mut cases = Vec::new();
    for level in [0, 3] {
        for (name, place) in [("page", layout::PT_WINDOW), ("table", layout::PD_WINDOW)] {
            let case = kind.case(&format!("nx-{name}/fetch"), level);
            let case = case
                .patch_32(place + 4, 0x8000_0000)
                .patch(layout::PAGES, &[0xcd, 0xff]);
            cases.push(case.ip(WINDOW.into()));
            let case = kind.case(&format!("nx-{name}/read"), level);
            let case = case.patch_32(place + 4, 0x8000_0000);
            cases.push(case.code(|a| Access::Read.code(kind, a)));
            let case = kind.case(&format!("nx-{name}-disabled/read"), level);
            let case = case
                .patch_32(place + 4, 0x8000_0000)
                .efer_without(control::EFER_NXE);
            cases.push(case.code(|a| Access::Read.code(kind, a)));
        }
        let case = kind
            .case("absent/fetch", level)
            .patch_32(layout::PT_WINDOW, 0);
        cases.push(case.ip(WINDOW.into()));
        let case = kind
            .case("supervisor/fetch", level)
            .patch_32(layout::PT_WINDOW, layout::PAGES | 3);
        cases.push(case.patch(layout::PAGES, &[0xcd, 0xff]).ip(WINDOW.into()));
        let case = kind
            .case("absent-without-nx/fetch", level)
            .patch_32(layout::PT_WINDOW, 0);
        cases.push(case.efer_without(control::EFER_NXE).ip(WINDOW.into()));
    }
    cases
}
