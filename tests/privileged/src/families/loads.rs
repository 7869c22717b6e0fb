//! Segment registers: what may be loaded into which, and what that does to descriptors.

use iced_x86::code_asm::*;

use super::TEST;
use crate::case::Mode::{Compatible32, Long64, Protected16, Protected32, Real, Virtual8086};
use crate::case::{Case, Mode};
use crate::descriptor::{self, at_level, flat, pair, segment};
use crate::layout::{self, selector};

/// Access bytes of everything that a selector may name.
const KINDS: [(&str, u8); 15] = [
    ("data", 0x93),
    ("data-not-accessed", 0x92),
    ("data-read-only", 0x91),
    ("data-down", 0x97),
    ("data-absent", 0x13),
    ("code-read", 0x9b),
    ("code-read-not-accessed", 0x9a),
    ("code-only", 0x99),
    ("conforming-read", 0x9f),
    ("conforming-only", 0x9d),
    ("code-absent", 0x1b),
    ("reserved", 0x80),
    ("ldt", 0x82),
    ("tss", 0x89),
    ("call-gate", 0x8c),
];

/// Loads a segment register by its name.
fn load(register: &str, a: &mut CodeAssembler) -> Result<(), iced_x86::IcedError> {
    match register {
        "ds" => a.mov(ds, eax),
        "es" => a.mov(es, eax),
        "fs" => a.mov(fs, eax),
        "gs" => a.mov(gs, eax),
        _ => a.mov(ss, eax),
    }
}

/// A case that loads a register.
fn loading(name: &str, mode: Mode, register: &str, selector: u16) -> Case {
    let name = format!("load/{}/{register}/{name}", mode.word());
    let case = Case::new(name, mode).ax(selector.into());
    case.code(|a| load(register, a))
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = kinds();
    cases.extend(levels());
    cases.extend(selectors());
    cases.extend(pops());
    cases.extend(real());
    cases
}

fn kinds() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected32(0), Protected32(3), Long64(0), Compatible32(3)] {
        for register in ["ds", "ss"] {
            for (kind, access) in KINDS {
                let level = mode.level();
                let case = loading(kind, mode, register, TEST | u16::from(level));
                let case = case.descriptor(TEST, flat(at_level(access, level), level));
                cases.push(case.show_descriptor(TEST));
            }
        }
    }
    cases
}

/// Data of each level with each requested level.
fn levels() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected32(0), Protected32(1), Protected32(3), Long64(3)] {
        for register in ["es", "ss"] {
            for (level, requested) in [(0, 0), (0, 3), (1, 1), (1, 0), (3, 0), (3, 1), (3, 3)] {
                let name = format!("dpl{level}-rpl{requested}");
                let case = loading(&name, mode, register, TEST | requested);
                cases.push(case.descriptor(TEST, flat(0x93, level)));
            }
        }
    }
    for (kind, access) in [("code", 0x9b), ("conforming", 0x9f)] {
        let case = loading(&format!("{kind}-dpl0"), Protected32(3), "fs", TEST | 3);
        cases.push(case.descriptor(TEST, flat(access, 0)));
    }
    cases
}

/// Null selectors and those outside of their table.
fn selectors() -> Vec<Case> {
    let mut cases = Vec::new();
    let modes = [
        Protected16(0),
        Protected32(0),
        Protected32(3),
        Long64(0),
        Long64(3),
        Compatible32(0),
    ];
    for mode in modes {
        for (name, selector) in [
            ("null", 0),
            ("null-rpl3", 3),
            ("outside", selector::OUTSIDE),
            ("outside-ldt", 0x87),
            (
                "ldt-data",
                4 | (mode.level() as u16 * 5 + mode.level() as u16 / 3),
            ),
        ] {
            for register in ["ss", "ds", "gs"] {
                // Whether a null selector's RPL counts in 64-bit mode the manuals do not agree.
                if mode == Long64(0) && register == "ss" && name == "null-rpl3" {
                    continue;
                }
                cases.push(loading(name, mode, register, selector));
            }
        }
    }
    for mode in [Protected32(0), Long64(0)] {
        let case = loading("ldt-without-ldt", mode, "ds", 4);
        cases.push(case.ldtr(0));
        let case = loading("half-outside", mode, "ds", TEST);
        cases.push(case.descriptor(TEST, segment(0, 0xf_ffff, 0x93, 0xc0)));
    }
    // The descriptor is in a page that is absent.
    let mut far = loading("descriptor-in-absent-page", Protected32(0), "ds", 0x1004);
    far = far
        .legacy_paging()
        .patch_32(layout::PT_LEGACY_WINDOW + 4, 0);
    let table = segment(layout::WINDOW, 0xffff, descriptor::LDT, 0);
    cases.push(far.descriptor(selector::LDT, table));
    cases.push(Case::new("load/p32-0/cs/by-mov", Protected32(0)).bytes(&[0x8e, 0xc8]));
    cases.push(Case::new("load/p32-0/segment-6", Protected32(0)).bytes(&[0x8e, 0xf0]));
    cases.push(Case::new("load/p32-0/store-segment-7", Protected32(0)).bytes(&[0x8c, 0xf8]));
    let wide = pair(flat(0x93, 0), 0xffff_ffff_ffff_ffff);
    let case = loading("data-before-anything", Long64(0), "ds", TEST);
    cases.push(case.long_descriptor(TEST, wide));
    cases
}

fn pops() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected16(0), Protected32(0), Protected32(3)] {
        let name = |what: &str| format!("load/{}/pop/{what}", mode.word());
        let data = u32::from(TEST | u16::from(mode.level()));
        let case = Case::new(name("ds"), mode).descriptor(TEST, flat(0x92, mode.level()));
        let case = case.code(|a| {
            a.push(data as i32)?;
            a.pop(ds)
        });
        cases.push(case.show_descriptor(TEST));
        // The stack pointer stays when the load faults.
        let case = Case::new(name("es-reserved"), mode);
        cases.push(case.code(|a| {
            a.push(data as i32)?;
            a.pop(es)
        }));
        let case = Case::new(name("ss"), mode).descriptor(TEST, flat(0x92, mode.level()));
        cases.push(
            case.code(|a| {
                a.push(data as i32)?;
                a.pop(ss)
            })
            .show_descriptor(TEST),
        );
        let case = Case::new(name("ss-absent"), mode);
        let case = case.descriptor(TEST, flat(at_level(0x13, mode.level()), mode.level()));
        cases.push(case.code(|a| {
            a.push(data as i32)?;
            a.pop(ss)
        }));
    }
    for mode in [Long64(0), Long64(3)] {
        let case = Case::new(format!("load/{}/pop/fs", mode.word()), mode);
        cases.push(case.code(|a| {
            a.push(selector::DATA_32[3] as i32)?;
            a.pop(fs)
        }));
        for (name, byte) in [("ds", 0x1f), ("es", 0x07), ("ss", 0x17), ("push-cs", 0x0e)] {
            let case = Case::new(format!("load/{}/pop/{name}-invalid", mode.word()), mode);
            cases.push(case.bytes(&[byte]));
        }
    }
    // Only 16 bits of the selector are read, with any operand size.
    let case = Case::new("load/p32-0/mov/memory", Protected32(0));
    let case = case.patch_32(layout::DATA, 0xffff_0088);
    cases.push(case.code(|a| a.mov(es, word_ptr(layout::DATA))));
    let case = Case::new("load/p32-0/mov/store-extends", Protected32(0)).ax(u64::MAX);
    cases.push(case.code(|a| a.mov(eax, ds)));
    let case = Case::new("load/p32-0/mov/store-word", Protected32(0)).ax(u64::MAX);
    cases.push(case.code(|a| a.mov(ax, ds)));
    let case = Case::new("load/l64-0/mov/store-extends", Long64(0)).ax(u64::MAX);
    cases.push(case.code(|a| a.mov(rax, ds)));
    cases
}

fn real() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Real, Virtual8086] {
        let case = loading("any", mode, "ds", 0x3001).bx(0);
        cases.push(case.code(|a| {
            a.mov(ds, eax)?;
            a.mov(cx, word_ptr(bx))
        }));
        let case = Case::new(format!("load/{}/pop-ss", mode.word()), mode);
        cases.push(case.code(|a| {
            a.push(0x3010)?;
            a.pop(ss)?;
            a.push(ss)
        }));
        let case = Case::new(format!("load/{}/mov-cs", mode.word()), mode);
        cases.push(case.bytes(&[0x8e, 0xc8]));
    }
    cases
}
