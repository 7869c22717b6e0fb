//! INT n and exceptions through the gates of protected mode.

use iced_x86::code_asm::*;

use super::limits::capture_by_task;
use super::transfers::to_target;
use super::{TEST, task_gate};
use crate::case::Mode::{Protected16, Protected32};
use crate::case::{Case, Mode, control, flag, segment as number};
use crate::descriptor::{
    BIG, INTERRUPT, INTERRUPT_16, TRAP, TRAP_16, at_level, flat, gate, segment,
};
use crate::layout::{self, INNER_STACKS, STACKS, selector};

/// The vector of cases' own gates.
pub(super) const VECTOR: u32 = 0x40;
const TARGET: u32 = 0x40;

fn to(offset: u32) -> u32 {
    layout::CODE + offset
}

/// A case that calls the vector.
fn calling(name: &str, mode: Mode) -> Case {
    let case = to_target(format!("int/{}/{name}", mode.word()), mode);
    case.code(|a| a.int(VECTOR))
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = gates();
    cases.extend(targets());
    cases.extend(flags());
    cases.extend(software());
    cases.extend(stacks());
    cases.extend(faults());
    cases.extend(double_faults());
    cases.extend(limits());
    cases
}

fn gates() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected32(0), Protected32(3)] {
        for kind in 0..16u8 {
            // A task gate is the tasks' own family.
            let access = at_level(0x80 | kind, 3);
            // The offset of a 16-bit gate reaches 64 KiB only.
            let target = if kind == 5 {
                selector::TSS_CAPTURE
            } else {
                TEST
            };
            let case = calling(&format!("type-{kind:x}"), mode);
            let case = case.descriptor(TEST, segment(layout::CODE, 0xffff, 0x9b, BIG));
            let case = case.gate(VECTOR, gate(target, TARGET, access, 0));
            let entry = layout::STUBS_TASK + VECTOR * layout::STUB_STRIDE;
            let case = case.patch_32(layout::TSS_CAPTURE + crate::task::field::EIP, entry);
            let count = if mode.level() == 0 { 3 } else { 5 };
            let stack = if mode.level() == 0 {
                STACKS[0]
            } else {
                INNER_STACKS[0]
            };
            // A 16-bit gate pushes half of that.
            let count = if kind == 6 || kind == 7 {
                count / 2
            } else {
                count
            };
            cases.push(case.show_stack(stack, count));
        }
        for (name, access) in [
            ("absent", 0x0e),
            ("task-absent", 0x05),
            ("trap-absent", 0x0f),
        ] {
            let case = calling(name, mode);
            let access = at_level(access, 3);
            cases.push(case.gate(VECTOR, gate(selector::CODE_32[0], to(TARGET), access, 0)));
        }
        for level in 0..3 {
            let case = calling(&format!("gate{level}"), mode);
            let access = at_level(INTERRUPT, level);
            cases.push(case.gate(VECTOR, gate(selector::CODE_32[0], to(TARGET), access, 0)));
        }
        let case = calling("gate0-absent", mode);
        cases.push(case.gate(VECTOR, gate(selector::CODE_32[0], to(TARGET), 0x0e, 0)));
    }
    cases
}

/// Where a gate may lead.
fn targets() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected32(0), Protected32(1), Protected32(3)] {
        for (kind, access) in [("code", 0x9b), ("conforming", 0x9f), ("code-absent", 0x1b)] {
            for level in [0, 1, 3] {
                let case = calling(&format!("to-{kind}-dpl{level}"), mode);
                let case = case.descriptor(TEST, flat(at_level(access, level), level));
                let access = at_level(INTERRUPT, 3);
                cases.push(case.gate(VECTOR, gate(TEST, to(TARGET), access, 0)));
            }
        }
        for (kind, target) in [
            ("null", 0),
            ("outside", 0x201),
            ("data", 0x88),
            ("tss", 0x60),
        ] {
            let case = calling(&format!("to-{kind}"), mode);
            let access = at_level(TRAP, 3);
            cases.push(case.gate(VECTOR, gate(target, to(TARGET), access, 0)));
        }
    }
    let case = calling("behind-limit", Protected32(3));
    let case = case.descriptor(TEST, segment(layout::CODE, 0x3f, 0x9b, BIG));
    cases.push(case.gate(VECTOR, gate(TEST, TARGET, at_level(INTERRUPT, 3), 0)));
    let case = calling("by-ldt", Protected32(3));
    cases.push(case.gate(VECTOR, gate(0x0c, to(TARGET), at_level(INTERRUPT, 3), 0)));
    let case = calling("to-16-bits", Protected32(3)).show_stack(INNER_STACKS[0], 5);
    let access = at_level(INTERRUPT, 3);
    cases.push(case.gate(VECTOR, gate(selector::CODE_16[0], TARGET, access, 0)));
    cases
}

/// What the handler has of the flags: it pushes them into BX.
fn flags() -> Vec<Case> {
    let mut cases = Vec::new();
    let every = 0x0ed5 | flag::IF | flag::NT | flag::iopl(3);
    let kinds = [
        ("interrupt", INTERRUPT),
        ("trap", TRAP),
        ("interrupt-16", INTERRUPT_16),
        ("trap-16", TRAP_16),
    ];
    for (kind, access) in kinds {
        for mode in [Protected32(0), Protected32(3)] {
            let case = Case::new(format!("int/{}/flags-{kind}", mode.word()), mode);
            let access = at_level(access, 3);
            let code = segment(layout::CODE, 0xffff, 0x9b, BIG);
            let case = case
                .descriptor(TEST, code)
                .gate(VECTOR, gate(TEST, TARGET, access, 0));
            let case = case.code(|a| a.int(VECTOR)).flags(every);
            let case = case.code_at(TARGET, 32, |a| {
                a.pushfd()?;
                a.pop(ebx)
            });
            cases.push(case.show_stack(INNER_STACKS[0], 2));
        }
    }
    cases
}

/// INT3, INTO, ICEBP and BOUND check the gate as the manuals say.
fn software() -> Vec<Case> {
    let mut cases = Vec::new();
    let open = |vector: u32, case: Case| {
        let offset = layout::STUBS + vector * layout::STUB_STRIDE;
        let access = at_level(INTERRUPT, 3);
        case.gate(vector, gate(selector::HOME_CODE, offset, access, 0))
    };
    for mode in [Protected32(0), Protected32(3)] {
        for (name, vector, bytes) in [
            ("int3", 3, &[0xcc][..]),
            ("int-3", 3, &[0xcd, 3]),
            ("into", 4, &[0xce]),
            ("icebp", 1, &[0xf1]),
            ("bound", 5, &[0x62, 0x05, 0x00, 0x00, 0x03, 0x00]),
        ] {
            let name = format!("int/{}/{name}", mode.word());
            let case = Case::new(name.clone(), mode).flags(0x800).bytes(bytes);
            cases.push(case.clone());
            let mut case = open(vector, case);
            case.name = format!("{name}-open");
            cases.push(case);
        }
    }
    let case = Case::new("int/p32-0/into-without-overflow", Protected32(0));
    cases.push(case.bytes(&[0xce]));
    let case = Case::new("int/p32-0/bound-within", Protected32(0)).ax(5);
    let case = case.patch(layout::DATA, &[1, 0, 0, 0, 5, 0, 0, 0]);
    cases.push(case.bytes(&[0x62, 0x05, 0x00, 0x00, 0x03, 0x00]));
    cases
}

/// The inner stack that the TSS names.
fn stacks() -> Vec<Case> {
    let mut cases = Vec::new();
    let data = TEST + 8;
    for (kind, stack, access) in [
        ("null", 0, 0),
        ("outside", selector::OUTSIDE | 1, 0),
        ("rpl", data, 0x93),
        ("dpl", 0x89, 0),
        ("read-only", data | 1, 0x91),
        ("absent", data | 1, 0x13),
    ] {
        let case = calling(&format!("stack-{kind}"), Protected32(3));
        let case = case
            .descriptor(TEST, flat(0x9b, 1))
            .descriptor(data, flat(access, 1));
        let case = case.patch_16(layout::TSS + 0x10, stack);
        let access = at_level(INTERRUPT, 3);
        cases.push(case.gate(VECTOR, gate(TEST, to(TARGET), access, 0)));
    }
    // An exception finds the same, and its error code says so.
    let case = Case::new("int/p32-3/exception-stack-null", Protected32(3)).bytes(&[0x0f, 0x0b]);
    let case = case
        .descriptor(TEST, flat(0x9b, 1))
        .patch_16(layout::TSS + 0x10, 0);
    cases.push(case.gate(6, gate(TEST, to(TARGET), INTERRUPT, 0)));
    for (name, size) in [("full", 0x13), ("just-enough", 0x14)] {
        let case = calling(&format!("stack-{name}"), Protected32(3));
        let case = case
            .descriptor(TEST, flat(0x9b, 1))
            .patch_32(layout::TSS + 0x0c, size);
        let case = case.descriptor(data, segment(layout::DATA, 0xff, at_level(0x93, 1), BIG));
        let case = case.patch_16(layout::TSS + 0x10, data | 1);
        // What of a frame that does not fit is written, nobody says.
        let case = if name == "full" {
            case
        } else {
            case.show(layout::DATA, 5)
        };
        let access = at_level(INTERRUPT, 3);
        cases.push(case.gate(VECTOR, gate(TEST, to(TARGET), access, 0)));
    }
    let case = calling("stack-16", Protected32(3)).descriptor(TEST, flat(0x9b, 1));
    let case = case.descriptor(data, segment(layout::DATA, 0xffff, at_level(0x93, 1), 0));
    let case = case
        .patch_16(layout::TSS + 0x10, data | 1)
        .patch_32(layout::TSS + 0x0c, 0xffff_0100);
    cases.push(case.gate(VECTOR, gate(TEST, to(TARGET), at_level(INTERRUPT, 3), 0)));
    cases
}

/// Exceptions and what they push, in the handler's own view.
fn faults() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, bytes) in [
        ("de", &[0x31, 0xc9, 0xf7, 0xf1][..]),
        ("ud", &[0x0f, 0x0b]),
        ("gp", &[0xf4]),
        ("br", &[0x62, 0x05, 0x00, 0x00, 0x03, 0x00]),
    ] {
        for (gate_name, table, access) in [
            ("gate-16", layout::STUBS_GATE_16, INTERRUPT_16),
            ("trap", layout::STUBS, TRAP),
        ] {
            let case = Case::new(format!("int/p32-3/{name}-{gate_name}"), Protected32(3));
            let vector = match name {
                "de" => 0,
                "ud" => 6,
                "gp" => 13,
                _ => 5,
            };
            let offset = table + vector * layout::STUB_STRIDE;
            let case = case.gate(vector, gate(0x20, offset - layout::RUNTIME, access, 0));
            // The 16-bit gate's offset reaches 64 KiB only.
            let code = segment(layout::RUNTIME, 0xffff, 0x9b, BIG);
            let case = case.descriptor(0x20, code).flags(flag::IF);
            cases.push(
                case.bytes(bytes)
                    .show_stack(INNER_STACKS[0], if access == TRAP { 5 } else { 2 }),
            );
        }
    }
    // An exception's gate that is wrong gives an error code with the EXT bit.
    for (name, vector, bytes) in [
        ("ud", 6, &[0x0f, 0x0b][..]),
        ("int3", 3, &[0xcc]),
        ("icebp", 1, &[0xf1]),
    ] {
        for (what, entry) in [
            ("absent", gate(selector::CODE_32[0], 0, 0x0e, 0)),
            ("type", gate(selector::CODE_32[0], 0, 0x80, 0)),
            ("null", gate(0, 0, INTERRUPT, 0)),
            ("to-absent", gate(TEST, 0, INTERRUPT, 0)),
        ] {
            let case = Case::new(format!("int/p32-0/{name}-gate-{what}"), Protected32(0));
            let case = case.descriptor(TEST, flat(0x1b, 0)).gate(vector, entry);
            cases.push(case.bytes(bytes));
        }
    }
    cases
}

/// An exception while another is delivered (SDM vol. 3, table 6-5).
fn double_faults() -> Vec<Case> {
    let mut cases = Vec::new();
    let absent = gate(selector::CODE_32[0], 0, 0x0e, 0);
    let firsts: [(&str, u32, &[u8]); 6] = [
        ("de", 0, &[0x31, 0xc9, 0xf7, 0xf1]),
        ("ud", 6, &[0x0f, 0x0b]),
        ("nm", 7, &[0x9b]),
        ("gp", 13, &[0x8e, 0xd9]),
        ("np", 11, &[0x8e, 0xd8]),
        ("pf", 14, &[0xa1, 0, 0x10, 0, 0x40]),
    ];
    for (first, vector, bytes) in firsts {
        let case = || {
            let case = Case::new("", Protected32(0))
                .legacy_paging()
                .ax(TEST.into())
                .cx(TEST.into());
            let case = case.cx(0x202).cr0(control::CR0_MP | control::CR0_TS);
            let case = case
                .descriptor(TEST, flat(0x13, 0))
                .patch_32(layout::PT_LEGACY_WINDOW + 4, 0);
            case.bytes(bytes)
        };
        let mut then_absent = case().gate(vector, absent);
        then_absent.name = format!("double/{first}-then-np");
        cases.push(then_absent);
        let mut then_null = case().gate(vector, gate(0, 0, INTERRUPT, 0));
        then_null.name = format!("double/{first}-then-gp");
        cases.push(then_null);
        // The handler's stack is absent, so a page fault follows.
        let mut then_page = Case::new(format!("double/{first}-then-pf"), Protected32(3));
        then_page = then_page.legacy_paging().ax(u64::from(TEST | 3)).cx(0x203);
        then_page = then_page.cr0(control::CR0_MP | control::CR0_TS);
        then_page = then_page.descriptor(TEST, flat(at_level(0x13, 3), 3));
        then_page = then_page.descriptor(TEST + 8, flat(0x9b, 1));
        then_page = then_page.patch_32(layout::TSS + 0xc, layout::WINDOW + 0x2000);
        then_page = then_page.patch_32(layout::PT_LEGACY_WINDOW + 4, 0);
        let handler = gate(TEST + 8, to(TARGET), INTERRUPT, 0);
        cases.push(then_page.gate(vector, handler).bytes(bytes));
    }
    // A double fault's own error code is zero, through a gate as well.
    let case = Case::new("double/by-gate", Protected32(3)).gate(6, gate(0, 0, INTERRUPT, 0));
    let case = case.gate(13, absent).bytes(&[0x0f, 0x0b]);
    let stub = layout::STUBS + 8 * layout::STUB_STRIDE;
    cases.push(case.gate(8, gate(selector::HOME_CODE, stub, INTERRUPT, 0)));
    cases
}

/// The end of the IDT.
fn limits() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, vector) in [("last", 0x20u32), ("half", 0x21), ("behind", 0x22)] {
        let case = to_target(format!("int/p32-0/idt-{name}"), Protected32(0));
        let case = case
            .patch_16(layout::DATA, 0x10b)
            .patch_32(layout::DATA + 2, layout::IDT);
        let case = case.gate(vector, gate(selector::CODE_32[0], to(TARGET), TRAP, 0));
        cases.push(case.code(|a| {
            a.lidt(fword_ptr(layout::DATA))?;
            a.int(vector)
        }));
    }
    let case = Case::new("int/p16-3/exception", Protected16(3)).bytes(&[0x0f, 0x0b]);
    cases.push(case.show_stack(INNER_STACKS[0], 5));
    let case = Case::new("int/p32-3/segments", Protected32(3)).segment(number::ES, 0);
    cases.push(
        case.segment(number::GS, 0x17)
            .segment(number::FS, selector::CONFORMING_32),
    );
    let case = Case::new("int/p32-0/error-code-by-task", Protected32(0)).ax(TEST.into());
    let case = capture_by_task(case, 13).show_stack(layout::CAPTURE_STACK, 1);
    cases.push(case.code(|a| a.mov(ds, eax)));
    let case = Case::new("int/p32-3/task-gate-dpl", Protected32(3));
    let case = case.gate(VECTOR, task_gate(selector::TSS_OTHER, 0));
    cases.push(case.code(|a| a.int(VECTOR)));
    cases
}
