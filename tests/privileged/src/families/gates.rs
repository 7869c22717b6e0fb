//! Call gates of 16, 32 and 64 bits.

use iced_x86::code_asm::*;

use super::TEST;
use super::transfers::{direct, to_target};
use crate::case::Case;
use crate::case::Mode::{Compatible32, Long64, Protected16, Protected32};
use crate::descriptor::{self, BIG, CALL, CALL_16, at_level, flat, gate, long_gate, segment};
use crate::layout::{self, INNER_STACKS, STACKS, selector};

const TARGET: u32 = 0x40;
/// The gate's selector; the code behind it is `TEST`.
const GATE: u16 = TEST + 0x20;

fn to(offset: u32) -> u32 {
    layout::CODE + offset
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = levels();
    cases.extend(parameters());
    cases.extend(targets());
    cases.extend(stacks());
    cases.extend(small());
    cases.extend(long());
    cases.extend(long_targets());
    cases.extend(back());
    cases
}

/// Who may use a gate, and where it leads.
fn levels() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected32(0), Protected32(1), Protected32(3)] {
        for (instruction, opcode) in [("jmp", 0xea), ("call", 0x9a)] {
            for (level, requested) in [(0, 0), (3, 3), (1, 1), (1, 3)] {
                for (kind, access) in [("code", 0x9b), ("conforming", 0x9f)] {
                    let name = format!("{kind}-gate{level}-rpl{requested}");
                    let name = format!("gate/{}/{instruction}/{name}", mode.word());
                    let case = to_target(name, mode).descriptor(TEST, flat(access, 0));
                    let call = gate(TEST | 3, to(TARGET), at_level(CALL, level), 0);
                    let case = case.descriptor(GATE, call);
                    let case = case.show_stack(INNER_STACKS[0], 4);
                    cases.push(case.bytes(&direct(opcode, 32, GATE | requested, 0)));
                }
            }
        }
    }
    cases
}

/// Parameters go from the old stack to the new one.
fn parameters() -> Vec<Case> {
    let mut cases = Vec::new();
    for (count, level) in [(1, 0), (3, 0), (3, 1), (31, 2)] {
        let name = format!("gate/p32-3/call/{count}-parameters-to-{level}");
        let case = to_target(name, Protected32(3)).descriptor(TEST, flat(0x9b, level));
        let call = gate(TEST, to(TARGET), at_level(CALL, 3), count);
        let case = case
            .descriptor(GATE, call)
            .bytes(&direct(0x9a, 32, GATE | 3, 0));
        let words: Vec<u8> = (1..=count).flat_map(|n| [n, 0xaa, 0xbb, 0xcc]).collect();
        let case = case.patch(STACKS[3], &words);
        let shown = u32::from(count) + 4;
        cases.push(case.show_stack(INNER_STACKS[usize::from(level)], shown.min(8)));
    }
    cases
}

/// What a gate may not lead to.
fn targets() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, access) in [
        ("data", 0x93),
        ("absent", 0x1b),
        ("tss", 0x89),
        ("reserved", 0x80),
    ] {
        let case = to_target(format!("gate/p32-3/call/to-{kind}"), Protected32(3));
        let case = case.descriptor(TEST, flat(access, 0));
        let case = case.descriptor(GATE, gate(TEST, to(TARGET), at_level(CALL, 3), 0));
        cases.push(case.bytes(&direct(0x9a, 32, GATE | 3, 0)));
    }
    for (kind, target) in [("null", 0), ("outside", selector::OUTSIDE), ("outer", 0x93)] {
        let case = to_target(format!("gate/p32-1/call/to-{kind}"), Protected32(1));
        let case = case.descriptor(GATE, gate(target, to(TARGET), at_level(CALL, 3), 0));
        cases.push(case.bytes(&direct(0x9a, 32, GATE | 1, 0)));
    }
    let case = to_target("gate/p32-3/call/absent".into(), Protected32(3));
    let case = case.descriptor(GATE, gate(TEST, to(TARGET), at_level(0x0c, 3), 0));
    cases.push(case.bytes(&direct(0x9a, 32, GATE | 3, 0)));
    let case = to_target("gate/p32-3/call/behind-limit".into(), Protected32(3));
    let case = case.descriptor(TEST, segment(layout::CODE, 0x3f, 0x9b, BIG));
    let case = case.descriptor(GATE, gate(TEST, TARGET, at_level(CALL, 3), 0));
    cases.push(
        case.bytes(&direct(0x9a, 32, GATE | 3, 0))
            .show_stack(INNER_STACKS[0], 4),
    );
    cases
}

/// The stack that the TSS names for level 1: #TS with its selector, or #SS.
fn stacks() -> Vec<Case> {
    let mut cases = Vec::new();
    let data = TEST + 8;
    let stacks = [
        ("null", 0, 0),
        ("outside", selector::OUTSIDE | 1, 0),
        ("rpl", data, 0x93),
        ("dpl", 0x89, 0),
        ("read-only", data | 1, 0x91),
        ("code", data | 1, 0x9b),
        ("absent", data | 1, 0x13),
        ("good", data | 1, 0x92),
    ];
    for (kind, stack, access) in stacks {
        let case = to_target(format!("gate/p32-3/call/stack-{kind}"), Protected32(3));
        let case = case
            .descriptor(TEST, flat(0x9b, 1))
            .descriptor(data, flat(access, 1));
        let case = case.descriptor(GATE, gate(TEST, to(TARGET), at_level(CALL, 3), 0));
        let case = case
            .patch_16(layout::TSS + 0x10, stack)
            .show_descriptor(data);
        cases.push(case.bytes(&direct(0x9a, 32, GATE | 3, 0)));
    }
    let case = to_target("gate/p32-3/call/stack-full".into(), Protected32(3));
    let case = case.descriptor(TEST, flat(0x9b, 1));
    let case = case.descriptor(data, segment(layout::DATA, 0x3f, at_level(0x93, 1), BIG));
    let case = case.descriptor(GATE, gate(TEST, to(TARGET), at_level(CALL, 3), 0));
    let case = case
        .patch_16(layout::TSS + 0x10, data | 1)
        .patch_32(layout::TSS + 0xc, 0xc);
    cases.push(case.bytes(&direct(0x9a, 32, GATE | 3, 0)));
    let case = to_target("gate/p32-3/call/short-tss".into(), Protected32(3));
    let case = case.descriptor(TEST, flat(0x9b, 2));
    let case = case.descriptor(
        selector::TSS,
        segment(layout::TSS, 0x17, descriptor::TSS, 0),
    );
    let case = case.descriptor(GATE, gate(TEST, to(TARGET), at_level(CALL, 3), 0));
    cases.push(case.bytes(&direct(0x9a, 32, GATE | 3, 0)));
    cases
}

/// 16-bit gates, from 16- and 32-bit code.
fn small() -> Vec<Case> {
    let mut cases = Vec::new();
    for count in [0, 2] {
        let name = format!("gate/p32-3/call-16/{count}-parameters");
        let case = to_target(name, Protected32(3));
        let code = segment(layout::CODE, 0xffff, 0x9b, 0);
        let case = case
            .descriptor(TEST, code)
            .patch_64(STACKS[3], 0x7777_6666_5555_4444);
        let call = gate(TEST, 0xffff_0000 | TARGET, at_level(CALL_16, 3), count);
        let case = case
            .descriptor(GATE, call)
            .bytes(&direct(0x9a, 32, GATE | 3, 0));
        cases.push(case.show_stack(INNER_STACKS[0], 3));
    }
    let case = to_target("gate/p16-0/call-16/same-level".into(), Protected16(0));
    let call = gate(selector::CODE_16[0], TARGET, CALL_16, 0);
    let case = case
        .descriptor(GATE, call)
        .bytes(&direct(0x9a, 16, GATE, 0));
    cases.push(case.show_stack(STACKS[0], 1));
    let case = to_target("gate/p16-0/call-32/same-level".into(), Protected16(0));
    let call = gate(selector::CODE_32[0], to(TARGET), CALL, 0);
    let case = case
        .descriptor(GATE, call)
        .bytes(&direct(0x9a, 16, GATE, 0));
    cases.push(case.show_stack(STACKS[0], 2));
    cases
}

/// 64-bit gates, from 64-bit and compatible code.
fn long() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Long64(0), Long64(3), Compatible32(3)] {
        for (kind, target) in [
            ("code", selector::CODE_64[0]),
            ("conforming", selector::CONFORMING_64),
        ] {
            let case = to_target(format!("gate/{}/call/{kind}", mode.word()), mode);
            let case = case
                .bx(layout::DATA.into())
                .patch_16(layout::DATA + 4, GATE | 3);
            let access = at_level(CALL, 3);
            let case = case.long_descriptor(GATE, long_gate(target, to(TARGET).into(), access, 0));
            // The target runs at level 0 or 3, so its page may have to be the user's.
            let case = case.show_stack(INNER_STACKS[0], 8);
            cases.push(match mode {
                Compatible32(_) => case.bytes(&direct(0x9a, 32, GATE | 3, 0)),
                _ => case.bytes(&[0xff, 0x1b]),
            });
        }
    }
    cases
}

fn long_targets() -> Vec<Case> {
    let mut cases = Vec::new();
    let call = |name: &str| {
        let case = to_target(format!("gate/l64-3/call/{name}"), Long64(3));
        let case = case
            .bx(layout::DATA.into())
            .patch_16(layout::DATA + 4, GATE | 3);
        case.bytes(&[0xff, 0x1b])
    };
    let access = at_level(CALL, 3);
    let plain = long_gate(selector::CODE_64[0], to(TARGET).into(), access, 0);
    for (name, target) in [("to-32-bits", 0x80), ("to-data", 0x88), ("to-null", 0)] {
        let gate = long_gate(target, to(TARGET).into(), access, 0);
        cases.push(call(name).long_descriptor(GATE, gate));
    }
    let both = segment(0, 0xf_ffff, 0x9b, 0xe0);
    let gate = long_gate(TEST, to(TARGET).into(), access, 0);
    cases.push(
        call("to-both-sizes")
            .descriptor(TEST, both)
            .long_descriptor(GATE, gate),
    );
    let far = long_gate(selector::CODE_64[0], 0x8000_0000_0000, access, 0);
    cases.push(call("noncanonical").long_descriptor(GATE, far));
    let mut upper = plain;
    upper[13] = 0x0c;
    cases.push(call("upper-type").long_descriptor(GATE, upper));
    let absent = long_gate(
        selector::CODE_64[0],
        to(TARGET).into(),
        at_level(0x0c, 3),
        0,
    );
    cases.push(call("absent").long_descriptor(GATE, absent));
    let private = long_gate(selector::CODE_64[0], to(TARGET).into(), CALL, 0);
    cases.push(call("level-0").long_descriptor(GATE, private));
    for (name, kind) in [("16-bit", 0x84), ("task", 0x85), ("16-bit-tss", 0x81)] {
        let gate = long_gate(
            selector::CODE_64[0],
            to(TARGET).into(),
            at_level(kind, 3),
            0,
        );
        cases.push(call(name).long_descriptor(GATE, gate));
    }
    let case = call("stack-odd").long_descriptor(GATE, plain);
    let odd = u64::from(INNER_STACKS[0] - 3);
    cases.push(
        case.patch_64(layout::TSS_LONG + 4, odd)
            .show_stack(INNER_STACKS[0], 10),
    );
    cases
}

/// Through a gate and back, parameters released.
fn back() -> Vec<Case> {
    let mut cases = Vec::new();
    let case = Case::new("gate/p32-3/round-trip", Protected32(3)).descriptor(TEST, flat(0x9b, 0));
    let case = case.descriptor(GATE, gate(TEST, to(TARGET), at_level(CALL, 3), 2));
    let case = case.code_at(TARGET, 32, |a| {
        a.mov(ebx, esp)?;
        a.retf_1(8u32)
    });
    cases.push(case.bytes(&direct(0x9a, 32, GATE | 3, 0)));
    let case = Case::new("gate/l64-3/round-trip", Long64(3)).bx(layout::DATA.into());
    let gate = long_gate(
        selector::CODE_64[0],
        to(TARGET).into(),
        at_level(CALL, 3),
        0,
    );
    let case = case
        .long_descriptor(GATE, gate)
        .patch_16(layout::DATA + 4, GATE | 3);
    let case = case.code_at(TARGET, 64, |a| {
        a.mov(ebx, ss)?;
        a.retf()
    });
    cases.push(case.bytes(&[0xff, 0x1b]));
    cases
}
