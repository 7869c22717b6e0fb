//! IRET in protected mode.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

use super::TEST;
use super::transfers::to_target;
use crate::case::Mode::{Protected16, Protected32};
use crate::case::{Case, Mode, flag, segment as number};
use crate::descriptor::{BIG, at_level, flat, segment};
use crate::layout::{self, STACKS, selector};

const TARGET: u32 = layout::CODE + 0x40;

/// Pushes words from the last to the first, then returns.
fn returning(words: Vec<u32>) -> impl Fn(&mut CodeAssembler) -> Result<(), IcedError> {
    move |a| {
        for word in &words {
            a.push(word.cast_signed())?;
        }
        a.iretd()
    }
}

fn case(name: &str, mode: Mode) -> Case {
    to_target(format!("iret/{}/{name}", mode.word()), mode)
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = same_level();
    cases.extend(flags());
    cases.extend(outer_level());
    cases.extend(virtual_8086());
    cases
}

fn same_level() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected32(0), Protected32(3)] {
        let level = mode.level();
        for (kind, access) in [
            ("code", 0x9b),
            ("code-not-accessed", 0x9a),
            ("conforming", 0x9f),
            ("absent", 0x1b),
            ("data", 0x93),
            ("tss", 0x89),
        ] {
            let case = case(kind, mode).descriptor(TEST, flat(at_level(access, level), level));
            let words = vec![2, u32::from(TEST | u16::from(level)), TARGET];
            cases.push(case.code(returning(words)).show_descriptor(TEST));
        }
        for (name, selector) in [("null", 0), ("outside", 0x200 + u32::from(level))] {
            cases.push(case(name, mode).code(returning(vec![2, selector, TARGET])));
        }
        let small = segment(layout::CODE, 0x3f, at_level(0x9b, level), BIG);
        let behind = case("behind-limit", mode).descriptor(TEST, small);
        let words = vec![2, u32::from(TEST | u16::from(level)), 0x40];
        cases.push(behind.code(returning(words)));
    }
    cases.push(case("inner", Protected32(3)).code(returning(vec![2, 0x80, TARGET])));
    let words = vec![2, u32::from(selector::CODE_16[0]), 0x40];
    cases.push(case("to-16-bits", Protected32(0)).code(returning(words)));
    let small = case("small", Protected16(0));
    cases.push(small.code(|a| {
        a.push(0x202)?;
        a.push(i32::from(selector::CODE_16[0]))?;
        a.push(0x40)?;
        a.iret()
    }));
    cases
}

/// Which flags change at which level: all are asked for, then none.
fn flags() -> Vec<Case> {
    let mut cases = Vec::new();
    // Neither TF nor VM.
    let every = 0x003f_4ed7 & !(flag::TF | flag::VM) as u32 | 0x3000;
    for mode in [Protected32(0), Protected32(3)] {
        let code = u32::from(selector::CODE_32[usize::from(mode.level())]);
        for level in [0, 3] {
            for (name, asked) in [("all", every & !0x4000), ("none", 2)] {
                let case = case(&format!("flags-{name}-iopl{level}"), mode);
                let case = case.flags(flag::iopl(level));
                let case = if asked == 2 {
                    case.flags(flag::IF)
                } else {
                    case
                };
                cases.push(case.code(returning(vec![asked, code, TARGET])));
            }
        }
    }
    cases
}

fn outer_level() -> Vec<Case> {
    let mut cases = Vec::new();
    let code = u32::from(selector::CODE_32[3]);
    for (name, stack) in [
        ("plain", u32::from(selector::DATA_32[3])),
        ("stack-null", 0),
        ("stack-rpl", 0x98),
        ("stack-dpl", 0x8b),
        ("stack-outside", 0x203),
        ("stack-absent", u32::from(TEST | 3)),
        ("stack-read-only", u32::from(TEST | 8 | 3)),
    ] {
        let case = case(name, Protected32(0)).descriptor(TEST, flat(at_level(0x13, 3), 3));
        let case = case.descriptor(TEST + 8, flat(0x91, 3));
        cases.push(case.code(returning(vec![stack, STACKS[3], 2, code, TARGET])));
    }
    let stack = u32::from(selector::DATA_32[3]);
    let segments = case("segments", Protected32(0)).segment(number::ES, selector::DATA_32[3]);
    let segments = segments.segment(number::DS, selector::DATA_32[1]);
    let segments = segments.segment(number::FS, selector::CONFORMING_32);
    cases.push(segments.code(returning(vec![stack, STACKS[3], 0x3202, code, TARGET])));
    for (name, requested, level) in [
        ("rpl1-dpl3", 1u16, 3),
        ("rpl3-dpl1", 3, 1),
        ("rpl1-dpl1", 1, 1),
    ] {
        let case = case(name, Protected32(0)).descriptor(TEST, flat(0x9b, level));
        let stack = u32::from(selector::DATA_32[usize::from(requested)]);
        let words = vec![stack, STACKS[3], 2, u32::from(TEST | requested), TARGET];
        cases.push(case.code(returning(words)));
    }
    let case = case("stack-16", Protected32(0)).sp(0x3_5000);
    let stack = u32::from(selector::DATA_16[1]);
    let words = vec![stack, 0x1_9000, 2, u32::from(selector::CODE_32[3]), TARGET];
    cases.push(case.code(returning(words)));
    cases
}

/// To virtual-8086 mode, from level 0 only.
fn virtual_8086() -> Vec<Case> {
    let mut cases = Vec::new();
    let frame = |ip: u32, flags: u32| {
        vec![
            0x3004, 0x3003, 0x3002, 0x3001, 0x3000, 0x9000, flags, 0x2000, ip,
        ]
    };
    for (name, mode, ip, flags) in [
        ("to-v86", Protected32(0), 0x40, 0x2_3002),
        ("to-v86-iopl0", Protected32(0), 0x40, 0x2_0002),
        ("to-v86-high-ip", Protected32(0), 0x1_0040, 0x2_3002),
        ("to-v86", Protected32(3), 0x40, 0x2_3002),
        (
            "to-v86-all-flags",
            Protected32(0),
            0x40,
            0x003e_fed7 & !0x4100,
        ),
        ("to-v86-no-flags", Protected32(0), 0x40, 0x2_0000),
    ] {
        let case = Case::new(format!("iret/{}/{name}", mode.word()), mode);
        let case = case.bytes_at(0x40, &[0xb3, 0x99]);
        cases.push(case.code(returning(frame(ip, flags))));
    }
    cases
}
