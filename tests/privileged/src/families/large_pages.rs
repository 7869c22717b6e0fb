//! Large pages, supervisor-mode protection, and addresses that are not canonical.

use iced_x86::code_asm::*;

use super::paging::{Kind, is_allowed};
use crate::case::Mode::{Compatible32, Long64};
use crate::case::{Case, Mode, control, flag};
use crate::layout::{self, WINDOW, WINDOW_FAR};

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = legacy();
    cases.extend(large());
    cases.extend(prevention());
    cases.extend(noncanonical());
    cases.extend(levels());
    cases.extend(pointers());
    cases
}

/// Pages of 4 MiB: the directory's entry maps the first megabytes once more.
fn legacy() -> Vec<Case> {
    let mut cases = Vec::new();
    let entry = Kind::Legacy.directory_entry();
    for (name, bits, enabled) in [
        ("plain", 0x87, true),
        ("read-only", 0x85, true),
        ("supervisor", 0x83, true),
        ("absent", 0x86, true),
        ("reserved-bit-21", 0x20_0087, true),
        ("attributes", 0x1087, true),
    ] {
        for write in [false, true] {
            let access = if write { "write" } else { "read" };
            let case = Kind::Legacy.case(&format!("4m-{name}/{access}"), 3);
            let case = if enabled {
                case.cr4(control::CR4_PSE)
            } else {
                case
            };
            let case = case
                .patch_32(entry, bits)
                .bx((WINDOW + layout::DATA).into());
            let case = case.show(entry, 1);
            cases.push(if write {
                case.code(|a| a.mov(dword_ptr(ebx), eax))
            } else {
                case.code(|a| a.mov(eax, dword_ptr(ebx)))
            });
        }
    }
    // Without CR4.PSE the bit means nothing.
    let case = Kind::Legacy.case("4m-disabled/read", 3);
    let case = case
        .patch_32(entry, layout::PT_LEGACY_WINDOW | 0x87)
        .show(entry, 1);
    cases.push(case.code(|a| a.mov(eax, dword_ptr(ebx))));
    cases
}

/// Pages of 2 MiB and of 1 GiB.
fn large() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, kind, place) in [
        ("2m", Kind::Pae, layout::PD_WINDOW),
        ("2m", Kind::Long, layout::PD_WINDOW),
        ("1g", Kind::Long, layout::PDPT + 8),
    ] {
        for (what, low, high) in [
            ("plain", 0x87, 0),
            ("read-only", 0x85, 0),
            ("supervisor", 0x83, 0),
            ("attributes", 0x1087, 0),
            ("reserved", 0x2087, 0),
            ("reserved-high", 0x87, 0x8_0000),
            ("no-execution", 0x87, 0x8000_0000),
        ] {
            for write in [false, true] {
                let access = if write { "write" } else { "read" };
                let case = kind.case(&format!("{name}-{what}/{access}"), 3);
                let case = case
                    .patch_32(place, low)
                    .patch_32(place + 4, high)
                    .show(place, 1);
                let case = case.bx((WINDOW + layout::DATA).into());
                let read: &[u8] = if write { &[0x89, 0x03] } else { &[0x8b, 0x03] };
                cases.push(case.bytes(read));
            }
        }
    }
    // No page is as large as what an entry of the PML4 maps.
    let case = Case::new("page/long-3/512g/read", Long64(3)).bx(WINDOW_FAR);
    let case = case.patch_32(layout::PML4 + 8, layout::PDPT_FAR | 0xa7);
    cases.push(case.bytes(&[0x8b, 0x03]));
    cases
}

/// SMEP and SMAP.
fn prevention() -> Vec<Case> {
    let mut cases = Vec::new();
    let case = |name: &str, bits: u32| {
        let case = Case::new(format!("page/long-0/{name}"), Long64(0)).bx(WINDOW.into());
        let case = case.patch_32(layout::PAGES, 0x5a5a_5a5a);
        case.cr4(bits)
    };
    let both = control::CR4_SMEP | control::CR4_SMAP;
    for (name, bits) in [
        ("smep", control::CR4_SMEP),
        ("smap", control::CR4_SMAP),
        ("smep-smap", both),
    ] {
        let fetch = case(&format!("{name}/fetch"), bits).ip(WINDOW.into());
        cases.push(fetch.patch(layout::PAGES, &[0xcd, 0xff]));
        cases.push(case(&format!("{name}/read"), bits).bytes(&[0x8b, 0x03]));
        cases.push(case(&format!("{name}/write"), bits).bytes(&[0x89, 0x03]));
        let allowed = case(&format!("{name}/read-ac"), bits).flags(flag::AC);
        cases.push(allowed.bytes(&[0x8b, 0x03]));
        let supervisor = case(&format!("{name}/supervisor"), bits);
        let supervisor = supervisor.patch_32(layout::PT_WINDOW, layout::PAGES | 3);
        cases.push(supervisor.bytes(&[0x8b, 0x03]));
    }
    let smap = |name: &str| case(&format!("smap/{name}"), control::CR4_SMAP);
    cases.push(smap("stac").bytes(&[0x0f, 0x01, 0xcb, 0x8b, 0x03]));
    cases.push(
        smap("clac")
            .flags(flag::AC)
            .bytes(&[0x0f, 0x01, 0xca, 0x8b, 0x03]),
    );
    let user = Case::new("page/long-3/smap/user", Long64(3)).bx(WINDOW.into());
    let user = user.patch_32(layout::PAGES, 0x5a5a_5a5a);
    cases.push(user.cr4(both).bytes(&[0x8b, 0x03]));
    let user = Case::new("page/long-3/smap/stac", Long64(3)).cr4(both);
    cases.push(user.bytes(&[0x0f, 0x01, 0xcb]));
    cases
}

/// Addresses that are no sign extensions of 48 bits: #GP, but for the stack.
fn noncanonical() -> Vec<Case> {
    let mut cases = Vec::new();
    let hole = 0x8000_0000_0000u64;
    for level in [0, 3] {
        let case = |name: &str| {
            let case = Case::new(format!("canonical/l64-{level}/{name}"), Long64(level));
            case.patch_32(layout::PAGES, 0x5a5a_5a5a)
                .patch_32(layout::PAGES + 0xfffc, 0)
        };
        cases.push(case("read").bx(hole).bytes(&[0x8b, 0x03]));
        cases.push(case("write").bx(hole).bytes(&[0x89, 0x03]));
        cases.push(case("last").bx(hole - 4).bytes(&[0x8b, 0x03]));
        cases.push(case("across").bx(hole - 2).bytes(&[0x8b, 0x03]));
        cases.push(
            case("first-high")
                .bx(0u64.wrapping_sub(hole))
                .bytes(&[0x8b, 0x03]),
        );
        cases.push(
            case("across-high")
                .bx(0u64.wrapping_sub(hole) - 2)
                .bytes(&[0x8b, 0x03]),
        );
        cases.push(case("by-rbp").general(5, hole).bytes(&[0x8b, 0x45, 0]));
        cases.push(case("by-rsp").bx(0).code(|a| {
            a.mov(rsp, hole)?;
            a.pop(rax)
        }));
        cases.push(case("push").code(|a| {
            a.mov(rsp, hole + 8)?;
            a.push(rax)
        }));
        cases.push(
            case("ds-by-rbp")
                .general(5, hole)
                .bytes(&[0x3e, 0x8b, 0x45, 0]),
        );
        cases.push(case("ss-by-rbx").bx(hole).bytes(&[0x36, 0x8b, 0x03]));
        cases.push(case("jmp").bx(hole).bytes(&[0xff, 0xe3]));
        cases.push(case("call").bx(hole).bytes(&[0xff, 0xd3]));
        cases.push(case("ret").ax(hole).bytes(&[0x50, 0xc3]));
        cases.push(case("invlpg").bx(hole).bytes(&[0x0f, 0x01, 0x3b]));
        cases.push(case("lea").bx(hole).bytes(&[0x48, 0x8d, 0x03]));
        cases.push(case("prefetch").bx(hole).bytes(&[0x0f, 0x18, 0x0b]));
        cases.push(case("wraps").bx(u64::MAX - 1).bytes(&[0x8b, 0x03]));
    }
    let case = Case::new("canonical/l64-0/runs-into", Long64(0)).ip(hole - 2);
    cases.push(case.patch(layout::PAGES + 0xfffe, &[0x90, 0x90]));
    let case = Case::new("canonical/c32-3/wraps", Compatible32(3)).bx(0xffff_fffe);
    cases.push(case.bytes(&[0x8b, 0x03]));
    cases
}

/// The rights of the upper levels in long mode.
fn levels() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, place, table) in [
        ("pml4", layout::PML4 + 8, layout::PDPT_FAR),
        ("pdpt", layout::PDPT_FAR, layout::PD_WINDOW),
    ] {
        for (what, low, high) in [
            ("absent", 6, 0),
            ("supervisor", 3, 0),
            ("read-only", 5, 0),
            ("plain", 7, 0),
            ("no-execution", 7, 0x8000_0000),
        ] {
            for (access, bytes) in [("read", [0x8b, 0x03]), ("write", [0x89, 0x03])] {
                let case = Case::new(format!("page/long-3/{name}-{what}/{access}"), Long64(3));
                let case = case.bx(WINDOW_FAR).patch_32(place, table | low);
                let case = case
                    .patch_32(place + 4, high)
                    .patch_32(layout::PAGES, 0x5a5a_5a5a);
                let is_allowed = is_allowed(low, 3, access == "write");
                let case = if is_allowed {
                    case.show(place, 1)
                } else {
                    case
                };
                cases.push(case.bytes(&bytes));
            }
            let case = Case::new(format!("page/long-3/{name}-{what}/fetch"), Long64(3));
            let case = case.patch_32(place, table | low).patch_32(place + 4, high);
            cases.push(case.patch(layout::PAGES, &[0xcd, 0xff]).ip(WINDOW_FAR));
        }
    }
    cases
}

/// The four page-directory pointers of PAE paging, which CR3 loads.
fn pointers() -> Vec<Case> {
    let mut cases = Vec::new();
    let place = layout::PDPT_PAE + 8;
    for (name, low, high) in [
        ("reserved-low", layout::PD_WINDOW | 0x21, 0),
        ("writable", layout::PD_WINDOW | 3, 0),
        ("reserved-high", layout::PD_WINDOW | 1, 0x8000_0000u32),
        ("absent-reserved", layout::PD_WINDOW | 0x20, 0),
        ("absent", 0, 0),
        ("attributes", layout::PD_WINDOW | 0x19, 0),
    ] {
        let case = Kind::Pae.case(&format!("pointer-{name}"), 0);
        // It is loaded by the case itself, which first makes it so.
        cases.push(case.code(|a| {
            a.mov(dword_ptr(place), low)?;
            a.mov(dword_ptr(place + 4), high)?;
            a.mov(eax, cr3)?;
            a.mov(cr3, eax)?;
            a.mov(eax, dword_ptr(ebx))
        }));
    }
    let mode = Mode::Protected32(0);
    let case = Case::new("page/pae-0/pointer-reserved-at-pg", mode).cr4(control::CR4_PAE);
    let case = case
        .patch_32(place, layout::PD_WINDOW | 0x21)
        .cr3(layout::PDPT_PAE);
    cases.push(case.code(|a| {
        a.mov(eax, cr0)?;
        a.or(eax, control::CR0_PG.cast_signed())?;
        a.mov(cr0, eax)
    }));
    cases
}
