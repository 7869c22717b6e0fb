//! Real mode: limits, wrapping, vectors.

use iced_x86::code_asm::*;

use crate::case::Mode::Real;
use crate::case::{Case, flag, segment as number};
use crate::descriptor::{BIG, PAGES, segment};
use crate::layout::{self, STACKS, selector};

fn case(name: &str) -> Case {
    Case::new(format!("real/{name}"), Real)
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = limits();
    cases.extend(vectors());
    cases.extend(big());
    cases.extend(jumps());
    cases
}

fn limits() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, place, bytes) in [
        ("read-last-byte", 0xffff, &[0x8a, 0x07][..]),
        ("read-word-at-last-byte", 0xffff, &[0x8b, 0x07]),
        ("write-word-at-last-byte", 0xffff, &[0x89, 0x07]),
        ("read-dword-at-fffd", 0xfffd, &[0x66, 0x8b, 0x07]),
        ("read-dword-at-fffc", 0xfffc, &[0x66, 0x8b, 0x07]),
        ("read-stack-at-last-byte", 0xffff, &[0x36, 0x8b, 0x07]),
        ("address-32", 0x1_0000, &[0x67, 0x8a, 0x03]),
        ("address-32-below", 0xfffe, &[0x67, 0x8b, 0x03]),
        ("address-16-wraps", 0xffff, &[0x8a, 0x47, 0x11]),
    ] {
        cases.push(
            case(name)
                .bx(place)
                .patch_32(layout::DATA + 0xfffc, 0)
                .bytes(bytes),
        );
    }
    for (name, pointer, bytes) in [
        ("push-at-0", 0, &[0x50, 0x5b][..]),
        ("push-at-1", 1, &[0x50]),
        ("pop-at-ffff", 0xffff, &[0x58]),
        ("pop-at-fffe", 0xfffe, &[0x58]),
        ("pusha-at-8", 8, &[0x60]),
        ("pusha-at-7", 7, &[0x60]),
        ("call-at-1", 1, &[0xe8, 0, 0]),
        ("enter-at-1", 1, &[0xc8, 0, 0, 0]),
    ] {
        let case = case(name).sp(pointer);
        // A fault's frame is pushed onto the same stack: no odd pointer gets that far.
        if pointer % 2 == 0 {
            cases.push(case.patch_32(layout::DATA + 0xfffc, 0).bytes(bytes));
        }
    }
    let last = case("instruction-at-fffe").ip(0xfffe);
    cases.push(last.patch(layout::CODE + 0xfffe, &[0xcd, 0xff]));
    let across = case("instruction-across-ffff").ip(0xfffe);
    cases.push(across.patch(layout::CODE + 0xfffe, &[0xb8, 0x11]));
    cases.push(case("string-wraps").general(6, 0xffff).bytes(&[0xac, 0xac]));
    cases
}

fn vectors() -> Vec<Case> {
    let mut cases = Vec::new();
    let flags = 0x0cd5 | flag::IF | flag::iopl(3) | flag::NT;
    let own = |name: &str| {
        let case = case(name).patch_32(layout::IVT + 0x40 * 4, 0x2000_0040);
        case.bytes_at(0x40, &[0x9c, 0x5b])
    };
    cases.push(
        own("int")
            .flags(flags)
            .bytes(&[0xcd, 0x40])
            .show_stack(STACKS[0], 2),
    );
    cases.push(
        own("int-with-ac")
            .flags(flags | flag::AC)
            .bytes(&[0xcd, 0x40]),
    );
    for (name, bytes) in [
        ("int3", &[0xcc][..]),
        ("into", &[0xce]),
        ("icebp", &[0xf1]),
        ("divide", &[0x30, 0xc9, 0xf6, 0xf1]),
        ("undefined", &[0x0f, 0x0b]),
        ("bound", &[0x62, 0x07]),
    ] {
        cases.push(
            case(name)
                .bx(0)
                .patch_32(layout::DATA, 0)
                .flags(0x800)
                .bytes(bytes),
        );
    }
    // The table may be elsewhere, and short.
    for (name, vector) in [("last", 0x21u32), ("half", 0x22), ("behind", 0x23)] {
        let moved = case(&format!("table-{name}"))
            .bx(0)
            .patch_16(layout::DATA, 0x8a);
        let moved = moved.patch_32(layout::DATA + 2, layout::IVT);
        let moved = moved
            .patch_32(layout::IVT + vector * 4, 0x2000_0040)
            .bytes_at(0x40, &[0xb3, 0x99, 0x0f, 0x0b]);
        cases.push(moved.code(|a| {
            a.lidt(fword_ptr(bx))?;
            a.int(vector)
        }));
    }
    for (name, bytes) in [
        (
            "iret",
            &[0x68, 0xd7, 0x7e, 0x68, 0x00, 0x20, 0x6a, 0x40, 0xcf][..],
        ),
        (
            "iretd",
            &[
                0x66, 0x68, 0xd7, 0x7e, 0x3c, 0, 0x66, 0x68, 0, 0x20, 0, 0, 0x66, 0x6a, 0x40, 0x66,
                0xcf,
            ],
        ),
        (
            "iretd-high-ip",
            &[
                0x66, 0x6a, 2, 0x66, 0x68, 0, 0x20, 0, 0, 0x66, 0x68, 0, 0, 1, 0, 0x66, 0xcf,
            ],
        ),
    ] {
        cases.push(case(name).bytes_at(0x40, &[0xb3, 0x99]).bytes(bytes));
    }
    cases
}

/// Limits that protected mode left behind.
fn big() -> Vec<Case> {
    let mut cases = Vec::new();
    let descriptor = segment(0, 0xf_ffff, 0x93, BIG | PAGES);
    let case = case("big-segment").descriptor(selector::TEST, descriptor);
    // The far pointer of the way back, and of the table.
    let case = case
        .patch_16(layout::DATA, 0x1ff)
        .patch_32(layout::DATA + 2, layout::GDT);
    let case = case.patch_32(layout::PAGES, 0x5a5a_5a5a);
    let case = case.patch_32(layout::DATA + layout::PAGES, 0x6b6b_6b6b);
    let case = case
        .ax(selector::TEST.into())
        .bx(layout::PAGES.into())
        .general(6, 0);
    cases.push(case.code(|a| {
        a.lgdt(fword_ptr(si))?;
        a.mov(ecx, cr0)?;
        a.or(cl, 1)?;
        a.mov(cr0, ecx)?;
        a.mov(es, ax)?;
        a.and(cl, 0xfeu32 as i32)?;
        a.mov(cr0, ecx)?;
        a.mov(edx, dword_ptr(ebx).es())?;
        // Loading it again changes the base, not the limit.
        a.mov(ax, 0x3000)?;
        a.mov(es, ax)?;
        a.mov(dl, byte_ptr(ebx).es())
    }));
    cases
}

fn jumps() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, bytes) in [
        ("jump-wraps", &[0xe9, 0x3d, 0x00][..]),
        ("jump-dword-behind", &[0x66, 0xe9, 0x00, 0x00, 0x01, 0x00]),
        ("call-dword-behind", &[0x66, 0xe8, 0x00, 0x00, 0x01, 0x00]),
        (
            "ret-dword-behind",
            &[0x66, 0x68, 0x40, 0x00, 0x01, 0x00, 0x66, 0xc3],
        ),
        ("loop-address-32", &[0x67, 0xe2, 0x3d]),
    ] {
        cases.push(
            case(name)
                .cx(0x1_0000)
                .bytes_at(0x40, &[0xb3, 0x99])
                .bytes(bytes),
        );
    }
    let wraps = case("jump-short-wraps")
        .ip(0xfff0)
        .bytes_at(0x40, &[0xb3, 0x99]);
    cases.push(wraps.patch(layout::CODE + 0xfff0, &[0xeb, 0x4e]));
    let a = case("segment-zero").segment(number::FS, 0xffff).bx(0x10);
    cases.push(a.bytes(&[0x64, 0x8a, 0x07]));
    cases
}
