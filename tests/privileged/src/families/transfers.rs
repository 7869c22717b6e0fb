//! Far JMP and CALL to segments, and far RET.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

use super::TEST;
use crate::case::Mode::{Compatible32, Long64, Protected16, Protected32, Real, Virtual8086};
use crate::case::{Case, Mode, segment as number};
use crate::descriptor::{self, BIG, LONG, PAGES, at_level, flat, segment};
use crate::layout::{self, STACKS, selector};

/// Where the transfers lead, within the case's code.
const TARGET: u32 = 0x40;
/// The same behind longer code.
const FAR_TARGET: u32 = 0x100;

/// Everything that a far transfer may name, by its access byte.
const KINDS: [(&str, u8); 13] = [
    ("code", 0x9b),
    ("code-not-accessed", 0x98),
    ("conforming", 0x9f),
    ("absent", 0x1b),
    ("conforming-absent", 0x1f),
    ("data", 0x93),
    ("data-absent", 0x13),
    ("reserved", 0x80),
    ("reserved-absent", 0x00),
    ("ldt", 0x82),
    ("interrupt-gate", 0x8e),
    ("call-gate-absent", 0x0c),
    ("task-gate-absent", 0x05),
];

/// A far JMP (0xea) or CALL (0x9a) with its pointer in the instruction.
pub(super) fn direct(opcode: u8, bits: u32, selector: u16, offset: u32) -> Vec<u8> {
    let mut bytes = vec![opcode];
    let length = if bits == 16 { 2 } else { 4 };
    bytes.extend(&offset.to_le_bytes()[..length]);
    bytes.extend(selector.to_le_bytes());
    bytes
}

/// A case whose target is marked by BL.
pub(super) fn to_target(name: String, mode: Mode) -> Case {
    Case::new(name, mode).bytes_at(TARGET, &[0xb3, 0x99])
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = kinds();
    cases.extend(levels());
    cases.extend(edges());
    cases.extend(indirect());
    cases.extend(returns());
    cases.extend(outer_returns());
    cases.extend(long_returns());
    cases.extend(real());
    cases
}

fn kinds() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected32(0), Protected32(3), Compatible32(3)] {
        let level = mode.level();
        for (instruction, opcode) in [("jmp", 0xea), ("call", 0x9a)] {
            for (kind, access) in KINDS {
                let case = to_target(format!("far/{}/{instruction}/{kind}", mode.word()), mode);
                let case = case.descriptor(TEST, flat(at_level(access, level), level));
                let case = case
                    .show_descriptor(TEST)
                    .show_stack(STACKS[usize::from(level)], 2);
                let offset = layout::CODE + TARGET;
                cases.push(case.bytes(&direct(opcode, 32, TEST | u16::from(level), offset)));
            }
        }
    }
    cases
}

fn levels() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected32(0), Protected32(1), Protected32(3)] {
        for (kind, access) in [("code", 0x9b), ("conforming", 0x9f)] {
            for (level, requested) in [(0, 0), (0, 3), (1, 0), (1, 1), (1, 3), (3, 0), (3, 3)] {
                let name = format!("far/{}/jmp/{kind}-dpl{level}-rpl{requested}", mode.word());
                let case = to_target(name, mode).descriptor(TEST, flat(access, level));
                let bytes = direct(0xea, 32, TEST | requested, layout::CODE + TARGET);
                cases.push(case.bytes(&bytes));
            }
        }
    }
    cases
}

/// Selectors and offsets that lead nowhere.
fn edges() -> Vec<Case> {
    let mut cases = Vec::new();
    for (instruction, opcode) in [("jmp", 0xea), ("call", 0x9a)] {
        let name = |what: &str| format!("far/p32-0/{instruction}/{what}");
        for (what, selector) in [
            ("null", 0),
            ("null-rpl3", 3),
            ("outside", selector::OUTSIDE | 1),
        ] {
            let case = Case::new(name(what), Protected32(0));
            cases.push(case.bytes(&direct(opcode, 32, selector, layout::CODE)));
        }
        let small = segment(layout::CODE, 0x3f, descriptor::CODE, BIG);
        let case = to_target(name("behind-limit"), Protected32(0)).descriptor(TEST, small);
        cases.push(
            case.bytes(&direct(opcode, 32, TEST, TARGET))
                .show_stack(STACKS[0], 2),
        );
        let case = to_target(name("to-16-bits"), Protected32(0)).show_stack(STACKS[0], 2);
        cases.push(case.bytes(&direct(opcode, 32, selector::CODE_16[0], TARGET)));
        let case = to_target(
            format!("far/p16-0/{instruction}/to-32-bits"),
            Protected16(0),
        );
        let mut bytes = vec![0x66];
        bytes.extend(direct(
            opcode,
            32,
            selector::CODE_32[0],
            layout::CODE + TARGET,
        ));
        cases.push(case.bytes(&bytes).show_stack(STACKS[0], 2));
        let case = to_target(format!("far/p16-0/{instruction}/same"), Protected16(0));
        let case = case.bytes(&direct(opcode, 16, selector::CODE_16[0], TARGET));
        cases.push(case.show_stack(STACKS[0], 1));
        let case = Case::new(format!("far/l64-0/{instruction}/direct-invalid"), Long64(0));
        cases.push(case.bytes(&[opcode, 0, 0, 0, 0, 0, 0]));
    }
    cases
}

/// Through memory, where long mode has only this.
fn indirect() -> Vec<Case> {
    let mut cases = Vec::new();
    let flags = [
        ("64", LONG | PAGES),
        ("32", BIG | PAGES),
        ("both", BIG | LONG | PAGES),
    ];
    for mode in [Long64(0), Long64(3)] {
        let level = mode.level();
        for (kind, flags) in flags {
            for instruction in ["jmp", "call"] {
                let name = format!("far/{}/{instruction}/to-{kind}", mode.word());
                let case = to_target(name, mode).bx(layout::DATA.into());
                let code = segment(0, 0xf_ffff, at_level(descriptor::CODE, level), flags);
                let case = case
                    .descriptor(TEST, code)
                    .patch_32(layout::DATA, layout::CODE + TARGET);
                let case = case.patch_16(layout::DATA + 4, TEST | u16::from(level));
                let case = case.show_stack(STACKS[usize::from(level)], 4);
                let modrm = if instruction == "jmp" { 0x2b } else { 0x1b };
                cases.push(case.bytes(&[0xff, modrm]));
            }
        }
    }
    // AMD's processors take 32 bits of offset even with REX.W.
    let case = to_target("far/l64-0/jmp/rex-w".into(), Long64(0)).bx(layout::DATA.into());
    let case = case.patch_64(
        layout::DATA,
        u64::from(selector::CODE_64[0]) << 32 | 0x2_0040,
    );
    cases.push(
        case.patch_32(layout::DATA + 8, 0xc0)
            .bytes(&[0x48, 0xff, 0x2b]),
    );
    for (name, bytes) in [("jmp", [0xff, 0xeb]), ("call", [0xff, 0xdb])] {
        for mode in [Protected32(0), Long64(0)] {
            let case = Case::new(format!("far/{}/{name}/register", mode.word()), mode);
            cases.push(case.bytes(&bytes));
        }
    }
    cases
}

/// Pushes words from the last to the first, then returns far.
fn returning(words: &[u32], release: u32) -> impl Fn(&mut CodeAssembler) -> Result<(), IcedError> {
    move |a| {
        for word in words {
            a.push(*word as i32)?;
        }
        match release {
            0 => a.retf(),
            bytes => a.retf_1(bytes),
        }
    }
}

fn returns() -> Vec<Case> {
    let mut cases = Vec::new();
    let target = layout::CODE + TARGET;
    for mode in [Protected32(0), Protected32(3)] {
        let level = u16::from(mode.level());
        for (kind, access) in KINDS.into_iter().take(9) {
            let name = format!("far/{}/ret/{kind}", mode.word());
            let access = at_level(access, mode.level());
            let case = to_target(name, mode).descriptor(TEST, flat(access, mode.level()));
            let words = [u32::from(TEST | level), target];
            cases.push(case.code(returning(&words, 0)));
        }
        let name = |what: &str| format!("far/{}/ret/{what}", mode.word());
        let code = u32::from(selector::CODE_32[usize::from(level)]);
        let case = to_target(name("null"), mode);
        cases.push(case.code(returning(&[0, target], 0)));
        let case = to_target(name("release"), mode);
        cases.push(case.code(returning(&[0x77, 0x88, code, target], 8)));
        let case = to_target(name("to-inner"), mode);
        cases.push(case.code(returning(&[0x80 + u32::from(level / 3), target], 0)));
    }
    for (kind, access) in [("code", 0x9b), ("conforming", 0x9f)] {
        for (level, requested) in [(0u8, 1u8), (1, 1), (1, 3), (3, 1)] {
            let name = format!("far/p32-1/ret/{kind}-dpl{level}-rpl{requested}");
            let case = to_target(name, Protected32(1)).descriptor(TEST, flat(access, level));
            let stack = u32::from(selector::DATA_32[usize::from(requested)]);
            let words = [
                stack,
                STACKS[3],
                u32::from(TEST | u16::from(requested)),
                target,
            ];
            cases.push(case.code(returning(&words, 0)));
        }
    }
    cases
}

/// To level 3: what becomes of the stack and of the other segments.
fn outer_returns() -> Vec<Case> {
    let mut cases = Vec::new();
    let target = layout::CODE + TARGET;
    let code = u32::from(selector::CODE_32[3]);
    let stacks = [
        ("plain", u32::from(selector::DATA_32[3])),
        ("null-stack", 0),
        ("stack-rpl", 0x98),
        ("stack-dpl", 0x8b),
        ("stack-outside", 0x203),
        ("stack-absent", u32::from(TEST | 3)),
        ("stack-read-only", u32::from(TEST | 8 | 3)),
    ];
    for (name, stack) in stacks {
        let case = to_target(format!("far/p32-0/ret-outer/{name}"), Protected32(0));
        let case = case.descriptor(TEST, flat(at_level(0x13, 3), 3));
        let case = case.descriptor(TEST + 8, flat(0x91, 3));
        cases.push(case.code(returning(&[stack, STACKS[3], code, target], 0)));
    }
    // Data of an inner level goes, data of level 3 and conforming code stay.
    let case = to_target("far/p32-0/ret-outer/segments".into(), Protected32(0));
    let case = case
        .segment(number::ES, selector::DATA_32[3])
        .segment(number::DS, selector::DATA_32[1]);
    let case = case.segment(number::FS, selector::CONFORMING_32);
    let case = case.segment(number::GS, selector::DATA_32[2] & !3);
    let stack = u32::from(selector::DATA_32[3]);
    cases.push(case.code(returning(&[stack, STACKS[3], code, target], 0)));
    let case = to_target("far/p32-0/ret-outer/release".into(), Protected32(0));
    let words = [stack, STACKS[3], 0x55, 0x66, code, target];
    cases.push(case.code(returning(&words, 8)));
    let case = to_target("far/p32-0/ret-outer/behind-limit".into(), Protected32(0));
    let small = segment(layout::CODE, 0x3f, at_level(descriptor::CODE, 3), BIG);
    let case = case.descriptor(TEST, small);
    cases.push(case.code(returning(
        &[stack, STACKS[3], u32::from(TEST | 3), TARGET],
        0,
    )));
    let case =
        Case::new("far/p16-0/ret-outer/small", Protected16(0)).bytes_at(TARGET, &[0xb3, 0x99]);
    let words = [
        u32::from(selector::DATA_16[1]),
        0x9000,
        u32::from(selector::CODE_16[1]),
        TARGET,
    ];
    cases.push(case.code(returning(&words, 0)));
    cases
}

fn long_returns() -> Vec<Case> {
    let mut cases = Vec::new();
    let target = layout::CODE + FAR_TARGET;
    let returns = [
        ("same", Long64(0), 0x88, u32::from(selector::CODE_64[0])),
        ("to-compatible", Long64(0), 0x88, 0x80),
        ("outer", Long64(0), 0x9b, u32::from(selector::CODE_64[1])),
        ("outer-compatible", Long64(0), 0x9b, 0x93),
        (
            "outer-null-stack",
            Long64(0),
            0,
            u32::from(selector::CODE_64[1]),
        ),
        ("outer-null-stack-compatible", Long64(0), 0, 0x93),
        ("inner", Long64(3), 0x88, u32::from(selector::CODE_64[0])),
    ];
    for (name, mode, stack, code) in returns {
        let case = Case::new(format!("far/{}/ret/{name}", mode.word()), mode);
        let case = case.bytes_at(FAR_TARGET, &[0xb3, 0x99]);
        for (operand, wide) in [("", false), ("-rex-w", true)] {
            let mut case = case.clone();
            case.name.push_str(operand);
            // The user's code and stack have to be the user's.
            for page in [layout::CODE, layout::STACKS[3] - 0x1000] {
                case = case.patch_32(layout::PT + (page >> 12) * 8, page | 0x67);
            }
            cases.push(case.code(|a| long_return(a, [stack, STACKS[3], code, target], wide)));
        }
    }
    cases.push(noncanonical_return());
    cases
}

fn long_return(a: &mut CodeAssembler, words: [u32; 4], wide: bool) -> Result<(), IcedError> {
    a.sub(rsp, 0x40)?;
    let size = if wide { 8 } else { 4 };
    for (place, word) in (0..).step_by(size).zip(words.into_iter().rev()) {
        a.mov(dword_ptr(rsp + place), word)?;
        if wide {
            a.mov(dword_ptr(rsp + place + 4), 0)?;
        }
    }
    if wide { a.retf() } else { a.db(&[0xcb]) }
}

fn noncanonical_return() -> Case {
    let case = Case::new("far/l64-0/ret/noncanonical", Long64(0));
    case.ax(0x8000_0000_0000).code(|a| {
        a.push(i32::from(selector::CODE_64[0]))?;
        a.push(rax)?;
        a.retf()
    })
}

fn real() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Real, Virtual8086] {
        let name = |what: &str| format!("far/{}/{what}", mode.word());
        let code = (layout::CODE >> 4) as u16;
        let case = to_target(name("jmp"), mode);
        cases.push(case.bytes(&direct(0xea, 16, code + 2, TARGET - 0x20)));
        let case = to_target(name("call"), mode).show_stack(STACKS[mode.level() as usize], 1);
        cases.push(case.bytes(&direct(0x9a, 16, code + 2, TARGET - 0x20)));
        let case = to_target(name("ret"), mode);
        cases.push(case.code(|a| {
            a.push(0x2002)?;
            a.push(0x20)?;
            a.retf_1(6u32)
        }));
        let mut bytes = vec![0x66];
        bytes.extend(direct(0xea, 32, code, 0x1_0000));
        cases.push(Case::new(name("jmp-behind-limit"), mode).bytes(&bytes));
        let case = Case::new(name("ip-wraps"), mode).ip(0xffff);
        cases.push(
            case.segment(number::CS, 0x1001)
                .patch(0x2000f, &[0x90, 0xcd, 0xff]),
        );
    }
    cases
}
