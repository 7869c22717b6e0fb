//! Descriptor tables and the task register: LGDT, LIDT, LLDT, LTR and what stores them.

use iced_x86::code_asm::*;

use super::TEST;
use crate::case::Mode::{Compatible32, Long64, Protected16, Protected32, Real, Virtual8086};
use crate::case::{Case, Mode};
use crate::descriptor::{pair, segment};
use crate::layout;

fn case(name: &str, mode: Mode) -> Case {
    Case::new(format!("system/{}/{name}", mode.word()), mode)
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = stores();
    cases.extend(loads());
    cases.extend(local_tables());
    cases.extend(tasks());
    cases.extend(long());
    cases
}

/// SGDT, SIDT, SLDT and STR by mode and operand size.
fn stores() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [
        Real,
        Virtual8086,
        Protected16(0),
        Protected32(0),
        Protected32(3),
        Long64(0),
        Long64(3),
        Compatible32(3),
    ] {
        let place = if mode.is_16() { 0 } else { layout::DATA.into() };
        // At DI or EDI, between bytes that stay.
        let base: u8 = if mode.is_16() { 0x05 } else { 0x07 };
        for (name, prefix) in [("", &[][..]), ("-operand-size", &[0x66])] {
            for (what, opcode) in [("sgdt", 0x00), ("sidt", 0x08)] {
                let case = case(&format!("{what}{name}"), mode).general(7, place);
                let mut bytes = prefix.to_vec();
                bytes.extend([0x0f, 0x01, base | opcode]);
                cases.push(case.bytes(&bytes).show(layout::DATA, 3));
            }
            for (what, opcode) in [("sldt", 0x00), ("str", 0x08)] {
                let to_register = case(&format!("{what}{name}"), mode).ax(u64::MAX);
                let mut bytes = prefix.to_vec();
                bytes.extend([0x0f, 0x00, 0xc0 | opcode]);
                cases.push(to_register.bytes(&bytes));
                let to_memory = case(&format!("{what}{name}-memory"), mode).general(7, place);
                let mut bytes = prefix.to_vec();
                bytes.extend([0x0f, 0x00, base | opcode]);
                cases.push(to_memory.bytes(&bytes).show(layout::DATA, 2));
            }
        }
        cases.push(case("sgdt-register", mode).bytes(&[0x0f, 0x01, 0xc2]));
    }
    let wide = case("sldt-rex-w", Long64(0)).ax(u64::MAX);
    cases.push(wide.bytes(&[0x48, 0x0f, 0x00, 0xc0]));
    cases
}

/// LGDT with 24 or 32 bits of base, read back by SGDT.
fn loads() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, prefix, mode) in [
        ("lgdt-24", true, Protected32(0)),
        ("lgdt-32", false, Protected32(0)),
        ("lgdt-24", false, Protected16(0)),
        ("lgdt-32", true, Protected16(0)),
        ("lgdt-24", false, Real),
        ("lgdt-32", true, Real),
    ] {
        let mut load = if prefix { vec![0x66] } else { Vec::new() };
        // With 32 bits of base, whatever the code segment says.
        let mut store = if mode.is_16() { vec![0x66] } else { Vec::new() };
        let mut back = if mode.is_16() { vec![0x66] } else { Vec::new() };
        let (place, modrm) = if mode.is_16() {
            (0, 0x17)
        } else {
            (layout::DATA.into(), 0x17)
        };
        let displacement: &[u8] = &[];
        // The table as it was, 0x10 bytes further, is loaded before the end.
        load.extend([0x0f, 0x01, if mode.is_16() { 0x15 } else { modrm }]);
        load.extend(displacement);
        store.extend([0x0f, 0x01, if mode.is_16() { 0x45 } else { 0x47 }, 0x20]);
        back.extend([0x0f, 0x01, if mode.is_16() { 0x55 } else { 0x57 }, 0x10]);
        let case = case(name, mode).general(7, place);
        let case = case
            .patch_16(layout::DATA, 0x1234)
            .patch_32(layout::DATA + 2, 0x89ab_cdef);
        let case = case.patch_16(layout::DATA + 0x10, 0x1ff);
        let case = case
            .patch_32(layout::DATA + 0x12, layout::GDT)
            .show(layout::DATA + 0x20, 2);
        load.extend(store);
        load.extend(back);
        cases.push(case.bytes(&load));
    }
    cases
}

/// What LLDT takes.
fn local_tables() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, access) in [
        ("good", 0x82),
        ("absent", 0x02),
        ("tss", 0x89),
        ("data", 0x92),
        ("call-gate", 0x8c),
    ] {
        let table = segment(layout::LDT, 0x7f, access, 0);
        let case = case(&format!("lldt-{name}"), Protected32(0)).ax(TEST.into());
        let case = case.descriptor(TEST, table).show_descriptor(TEST);
        cases.push(case.code(|a| a.lldt(ax)));
    }
    for (name, selector) in [
        ("null", 0),
        ("null-rpl", 3),
        ("outside", 0x200),
        ("in-ldt", 4),
        ("rpl", 0x3b),
    ] {
        let case = case(&format!("lldt-{name}"), Protected32(0)).ax(selector);
        cases.push(case.code(|a| a.lldt(ax)));
    }
    let memory = case("lldt-memory", Protected32(0)).patch_16(layout::DATA, 0);
    cases.push(memory.code(|a| a.lldt(word_ptr(layout::DATA))));
    cases
}

/// What LTR takes.
fn tasks() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, access) in [
        ("good", 0x89),
        ("good-16", 0x81),
        ("busy", 0x8b),
        ("busy-16", 0x83),
        ("absent", 0x09),
        ("ldt", 0x82),
        ("data", 0x92),
    ] {
        let table = segment(layout::TSS_OTHER, 0x67, access, 0);
        let case = case(&format!("ltr-{name}"), Protected32(0)).ax(TEST.into());
        let case = case.descriptor(TEST, table).show_descriptor(TEST);
        cases.push(case.code(|a| a.ltr(ax)));
    }
    for (name, selector) in [
        ("null", 0),
        ("outside", 0x200),
        ("in-ldt", 4),
        ("rpl", 0x63),
    ] {
        let case = case(&format!("ltr-{name}"), Protected32(0)).ax(selector);
        cases.push(case.code(|a| a.ltr(ax)));
    }
    cases
}

/// Descriptors of 16 bytes.
fn long() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Long64(0), Compatible32(0)] {
        for (name, access, high) in [
            ("ltr-good", 0x89, 0),
            ("ltr-16-bit", 0x81, 0),
            ("ltr-busy", 0x8b, 0),
            ("ltr-noncanonical", 0x89, 0x8000),
            ("ltr-upper-type", 0x89, 0x0900_0000_0000),
            ("lldt-good", 0x82, 0),
            ("lldt-noncanonical", 0x82, 0x8000),
            ("lldt-upper-type", 0x82, 0x0200_0000_0000),
            ("lldt-high", 0x82, 0xffff_8000),
        ] {
            // Whether the upper half counts in compatibility mode the manuals do not agree.
            if high != 0 && mode != Long64(0) {
                continue;
            }
            let base = if name.starts_with("ltr") {
                layout::TSS_LONG
            } else {
                layout::LDT
            };
            let table = pair(segment(base, 0x7f, access, 0), high);
            let case = case(name, mode).ax(TEST.into());
            let case = case.long_descriptor(TEST, table).show_descriptor(TEST);
            cases.push(if name.starts_with("ltr") {
                case.code(|a| a.ltr(ax))
            } else {
                case.code(|a| a.lldt(ax))
            });
        }
        if mode == Long64(0) {
            let cut = case("ltr-half-outside", mode).ax(0x1f8);
            cases.push(
                cut.descriptor(0x1f8, segment(layout::TSS_LONG, 0x7f, 0x89, 0))
                    .code(|a| a.ltr(ax)),
            );
        }
        let null = case("lldt-null", mode).ax(0);
        cases.push(null.code(|a| a.lldt(ax)));
    }
    let hole = case("lgdt-noncanonical", Long64(0)).patch_64(layout::DATA + 2, 0x8000_0000_0000);
    cases.push(hole.code(|a| a.lgdt(tbyte_ptr(layout::DATA))));
    let hole = case("lidt-noncanonical", Long64(0)).patch_64(layout::DATA + 2, 0x8000_0000_0000);
    cases.push(hole.code(|a| a.lidt(tbyte_ptr(layout::DATA))));
    // Ten bytes are loaded whatever the operand size.
    let wide = case("lgdt-wide", Long64(0)).patch_16(layout::DATA, 0x1ff);
    let wide = wide
        .patch_64(layout::DATA + 2, layout::GDT.into())
        .show(layout::DATA + 0x20, 3);
    cases.push(
        wide.bx(layout::DATA.into())
            .bytes(&[0x66, 0x0f, 0x01, 0x13, 0x0f, 0x01, 0x43, 0x20]),
    );
    cases
}
