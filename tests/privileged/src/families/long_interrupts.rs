//! INT n, exceptions and IRET in long mode.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

use super::TEST;
use super::transfers::to_target;
use crate::case::Mode::{Compatible16, Compatible32, Long64};
use crate::case::{Case, Mode, flag, segment as number};
use crate::descriptor::{
    BIG, INTERRUPT, LONG, PAGES, TRAP, at_level, flat, long_code, long_gate, segment,
};
use crate::layout::{self, INNER_STACKS, IST, STACKS, selector};

const VECTOR: u32 = 0x40;
const TARGET: u64 = layout::CODE as u64 + 0x40;

fn calling(name: &str, mode: Mode) -> Case {
    let case = to_target(format!("int/{}/{name}", mode.word()), mode);
    case.code(|a| a.int(VECTOR))
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = gates();
    cases.extend(targets());
    cases.extend(stacks());
    cases.extend(double_faults());
    cases.extend(returns());
    cases.extend(return_flags());
    cases
}

fn gates() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Long64(0), Long64(3), Compatible32(3)] {
        for kind in 0..16u8 {
            let case = calling(&format!("type-{kind:x}"), mode);
            let access = at_level(0x80 | kind, 3);
            let entry = long_gate(selector::CODE_64[0], TARGET, access, 0);
            cases.push(case.long_gate(VECTOR, entry));
        }
        for (name, access, high) in [
            ("absent", at_level(0x0e, 3), 0),
            ("gate0", INTERRUPT, 0),
            ("trap", at_level(TRAP, 3), 0),
            ("noncanonical", at_level(INTERRUPT, 3), 0x8000),
        ] {
            let case = calling(name, mode).flags(flag::IF);
            let entry = long_gate(selector::CODE_64[0], TARGET | high << 32, access, 0);
            let case = if mode.level() == 0 {
                case
            } else {
                case.show_stack(INNER_STACKS[0], 10)
            };
            cases.push(case.long_gate(VECTOR, entry));
        }
    }
    cases
}

fn targets() -> Vec<Case> {
    let mut cases = Vec::new();
    let both = segment(0, 0xf_ffff, 0x9b, BIG | LONG | PAGES);
    for mode in [Long64(0), Long64(3)] {
        for (name, target, descriptor) in [
            ("null", 0, 0),
            ("outside", 0x200, 0),
            ("data", TEST, flat(0x93, 0)),
            ("32-bits", TEST, flat(0x9b, 0)),
            ("both-sizes", TEST, both),
            ("absent", TEST, long_code(0x1b, 0)),
            ("level-3", TEST, long_code(0x9b, 3)),
            ("conforming", TEST, long_code(0x9f, 0)),
            ("not-accessed", TEST, long_code(0x9a, 0)),
        ] {
            let case = calling(&format!("to-{name}"), mode).descriptor(TEST, descriptor);
            let entry = long_gate(target, TARGET, at_level(INTERRUPT, 3), 0);
            cases.push(case.long_gate(VECTOR, entry));
        }
    }
    cases
}

/// The interrupt stack table, alignment, and stacks that are none.
fn stacks() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Long64(0), Long64(3), Compatible16(0)] {
        let case = calling("ist-1", mode).show_stack(IST[0], 10);
        let entry = long_gate(selector::CODE_64[0], TARGET, at_level(INTERRUPT, 3), 1);
        cases.push(case.long_gate(VECTOR, entry));
        let case = calling("ist-2-odd", mode);
        let entry = long_gate(selector::CODE_64[0], TARGET, at_level(INTERRUPT, 3), 2);
        let case = case.patch_64(layout::TSS_LONG + 0x2c, u64::from(IST[1] - 3));
        cases.push(case.long_gate(VECTOR, entry));
    }
    for below in [1, 8, 9] {
        let case = calling(&format!("aligned-{below}"), Long64(0)).sp(u64::from(STACKS[0] - below));
        let entry = long_gate(selector::CODE_64[0], TARGET, at_level(INTERRUPT, 3), 0);
        cases.push(case.long_gate(VECTOR, entry).show_stack(STACKS[0], 14));
    }
    // SS may be null at level 0, and stays what it was at the same level.
    let case = calling("null-stack-segment", Long64(0)).segment(number::SS, 0);
    let entry = long_gate(selector::CODE_64[0], TARGET, INTERRUPT, 0);
    cases.push(case.long_gate(VECTOR, entry));
    cases
}

fn double_faults() -> Vec<Case> {
    let mut cases = Vec::new();
    let absent = long_gate(selector::HOME_CODE_64, 0, 0x0e, 0);
    for (name, vector, bytes) in [
        ("ud", 6, &[0x0f, 0x0b][..]),
        ("de", 0, &[0x31, 0xc9, 0xf7, 0xf1]),
        ("gp", 13, &[0x8e, 0xd9]),
        ("pf", 14, &[0x8b, 0x03]),
    ] {
        for level in [0, 3] {
            let case = Case::new(format!("double/l64-{level}/{name}-then-np"), Long64(level));
            let case = case
                .cx(0x200)
                .bx(layout::WINDOW.into())
                .patch_32(layout::PT_WINDOW, 0);
            cases.push(case.long_gate(vector, absent).bytes(bytes));
        }
    }
    let case = Case::new("double/l64-0/stack-absent", Long64(0)).bytes(&[0x0f, 0x0b]);
    let case = case.patch_32(layout::PT_WINDOW, 0);
    cases.push(case.sp(u64::from(layout::WINDOW) + 0x800));
    cases
}

/// Behind the longer code of these.
const FAR_TARGET: u64 = layout::CODE as u64 + 0x100;

fn to_far_target(name: String, mode: Mode) -> Case {
    Case::new(name, mode).bytes_at(0x100, &[0xb3, 0x99])
}

/// Five words for IRETQ, the last first.
fn returning(words: [u64; 5]) -> impl Fn(&mut CodeAssembler) -> Result<(), IcedError> {
    move |a| {
        a.sub(rsp, 0x80)?;
        for (place, word) in (0..).step_by(8).zip(words) {
            a.mov(rax, word)?;
            a.mov(qword_ptr(rsp + place), rax)?;
        }
        a.iretq()
    }
}

fn returns() -> Vec<Case> {
    let mut cases = Vec::new();
    let stack = u64::from(STACKS[3]);
    let hole = 0x8000_0000_0000;
    for (name, words) in [
        ("same", [FAR_TARGET, 0xc0, 2, 0x3_6800, 0x88]),
        ("same-null-stack", [FAR_TARGET, 0xc0, 2, 0x3_6800, 0]),
        ("outer", [FAR_TARGET, 0xcb, 2, stack, 0x9b]),
        ("outer-null-stack", [FAR_TARGET, 0xcb, 2, stack, 0]),
        ("outer-null-stack-rpl", [FAR_TARGET, 0xcb, 2, stack, 3]),
        ("compatible", [FAR_TARGET, 0x93, 2, stack, 0x9b]),
        ("compatible-null-stack", [FAR_TARGET, 0x93, 2, stack, 0]),
        ("compatible-16", [0x100, 0xb3, 2, 0x9000, 0xbb]),
        ("to-data", [FAR_TARGET, 0x9b, 2, stack, 0x9b]),
        ("to-null", [FAR_TARGET, 0, 2, stack, 0x9b]),
        ("stack-code", [FAR_TARGET, 0xcb, 2, stack, 0x93]),
        ("stack-level", [FAR_TARGET, 0xcb, 2, stack, 0x88]),
        ("stack-absent", [FAR_TARGET, 0xcb, 2, stack, 0x103]),
        ("code-absent", [FAR_TARGET, 0x10b, 2, stack, 0x9b]),
        ("noncanonical", [hole, 0xcb, 2, stack, 0x9b]),
        ("noncanonical-same", [hole, 0xc0, 2, stack, 0x88]),
        ("noncanonical-stack", [FAR_TARGET, 0xcb, 2, hole, 0x9b]),
        ("both-sizes", [FAR_TARGET, 0x113, 2, stack, 0x9b]),
        ("vm", [FAR_TARGET, 0xcb, 0x2_0002, stack, 0x9b]),
        ("high-ip", [1 << 32 | FAR_TARGET, 0x93, 2, stack, 0x9b]),
    ] {
        let case = to_far_target(format!("iret/l64-0/{name}"), Long64(0));
        let case = case.descriptor(TEST, flat(at_level(0x13, 3), 3));
        let case = case.descriptor(TEST + 8, long_code(at_level(0x1b, 3), 3));
        let both = segment(0, 0xf_ffff, at_level(0x9b, 3), BIG | LONG | PAGES);
        let case = case.descriptor(TEST + 0x10, both);
        let pages = [layout::CODE, layout::DATA, STACKS[3] - 0x1000];
        let case = pages.into_iter().fold(case, |case, page| {
            case.patch_32(layout::PT + (page >> 12) * 8, page | 0x67)
        });
        cases.push(case.code(returning(words)).ax(0));
    }
    let inner = to_far_target("iret/l64-3/inner".into(), Long64(3));
    cases.push(inner.code(returning([FAR_TARGET, 0xc0, 2, stack, 0x88])));
    let same = to_far_target("iret/l64-3/same".into(), Long64(3));
    cases.push(same.code(returning([FAR_TARGET, 0xcb, 2, stack - 8, 0x9b])));
    // With an operand size of 32 bits, still five words.
    let small = to_far_target("iret/l64-0/32-bits".into(), Long64(0));
    cases.push(small.code(|a| {
        a.sub(rsp, 0x40)?;
        for (place, word) in (0..).step_by(4).zip([0x2_0100, 0xc0, 2, 0x3_6800, 0x88]) {
            a.mov(dword_ptr(rsp + place), word)?;
        }
        a.iretd()
    }));
    for (name, words) in [
        ("same", [0x80, 0]),
        ("outer", [0x93, 1]),
        ("to-64", [0xc0, 0]),
    ] {
        let case = to_far_target(format!("iret/c32-0/{name}"), Compatible32(0));
        let pages = [layout::CODE, STACKS[3] - 0x1000];
        let case = pages.into_iter().fold(case, |case, page| {
            case.patch_32(layout::PT + (page >> 12) * 8, page | 0x67)
        });
        cases.push(case.code(|a| {
            if words[1] == 1 {
                a.push(0x9b)?;
                a.push(STACKS[3].cast_signed())?;
            }
            a.push(2)?;
            a.push(words[0])?;
            a.push(0x2_0100)?;
            a.iretd()
        }));
    }
    cases
}

fn return_flags() -> Vec<Case> {
    let mut cases = Vec::new();
    let every = 0x3c_3ed7;
    for mode in [Long64(0), Long64(3)] {
        for level in [0, 3] {
            let case = to_far_target(format!("iret/{}/flags-iopl{level}", mode.word()), mode);
            let case = case.flags(flag::iopl(level));
            let words = match mode.level() {
                0 => [FAR_TARGET, 0xc0, every, 0x3_6800, 0x88],
                _ => [FAR_TARGET, 0xcb, every, u64::from(STACKS[3] - 8), 0x9b],
            };
            cases.push(case.code(returning(words)));
        }
    }
    cases
}
