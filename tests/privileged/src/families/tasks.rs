//! Task switches by JMP, CALL, INT, exceptions and IRET.

use iced_x86::code_asm::*;

use super::limits::capture_by_task;
use super::transfers::direct;
use super::{TEST, task_gate};
use crate::case::Mode::{Compatible32, Long64, Protected16, Protected32};
use crate::case::{Case, Mode, flag};
use crate::descriptor::{self, at_level, flat, segment};
use crate::layout::{self, selector};
use crate::task::{field, field_16};

const TARGET: u32 = 0x40;
const OTHER: u32 = layout::TSS_OTHER;
const VECTOR: u32 = 0x40;
const CS: u32 = field::SEGMENTS + 4;

/// A case whose second task starts at its own code, which marks BL.
fn case(name: &str, mode: Mode) -> Case {
    let case = Case::new(format!("task/{}/{name}", mode.word()), mode);
    let case = case.bytes_at(TARGET, &[0xb3, 0x99]);
    let case = case.patch_32(OTHER + field::EIP, layout::CODE + TARGET);
    let case = case.patch_16(layout::TSS_OTHER_16 + field_16::IP, TARGET as u16);
    case.show_descriptor(selector::TSS)
        .show_descriptor(selector::TSS_OTHER)
}

fn jump(case: Case, selector: u16) -> Case {
    let bits = case.mode.bits();
    case.bytes(&direct(0xea, bits, selector, 0))
}

fn call(case: Case, selector: u16) -> Case {
    let bits = case.mode.bits();
    case.bytes(&direct(0x9a, bits, selector, 0))
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = switches();
    cases.extend(back());
    cases.extend(rights());
    cases.extend(descriptors());
    cases.extend(contents());
    cases.extend(small());
    cases.extend(paging());
    cases.extend(long());
    cases
}

/// What is saved, what is loaded, what is marked.
fn switches() -> Vec<Case> {
    let mut cases = Vec::new();
    let saved = |case: Case| {
        case.show(layout::TSS, 1)
            .show(layout::TSS + field::EIP, 18)
            .show(OTHER, 1)
    };
    for (name, flags) in [("", 2), ("-flags", 0x0cd5 | flag::NT)] {
        let plain = saved(case(&format!("jmp{name}"), Protected32(0))).flags(flags);
        cases.push(jump(plain, selector::TSS_OTHER));
        let plain = saved(case(&format!("call{name}"), Protected32(0))).flags(flags);
        cases.push(call(plain, selector::TSS_OTHER));
        let plain = saved(case(&format!("int{name}"), Protected32(0))).flags(flags);
        let plain = plain.gate(VECTOR, task_gate(selector::TSS_OTHER, 3));
        cases.push(plain.code(|a| a.int(VECTOR)));
    }
    let outer = saved(case("int", Protected32(3)));
    let outer = outer.gate(VECTOR, task_gate(selector::TSS_OTHER, 3));
    cases.push(outer.code(|a| a.int(VECTOR)));
    for (name, opcode) in [("jmp-gate", 0xea), ("call-gate", 0x9a)] {
        let case = case(name, Protected32(3)).descriptor(TEST, task_gate(selector::TSS_OTHER, 3));
        cases.push(case.bytes(&direct(opcode, 32, TEST | 3, 0)));
    }
    // An exception pushes its error code onto the new task's stack.
    let fault = case("fault", Protected32(0))
        .ax(0x203)
        .show_stack(layout::STACKS[0] - 0x100, 1);
    let fault = fault.gate(13, task_gate(selector::TSS_OTHER, 0));
    cases.push(fault.code(|a| a.mov(ds, eax)));
    let trap = case("breakpoint", Protected32(0)).gate(3, task_gate(selector::TSS_OTHER, 0));
    cases.push(trap.bytes(&[0xcc]));
    // The debug trap bit.
    let traced = case("trap-bit", Protected32(0)).patch_16(OTHER + field::TRAP, 1);
    cases.push(jump(traced, selector::TSS_OTHER));
    // Local breakpoints end with the task.
    let local = case("local-breakpoints", Protected32(0)).dr7(0x355);
    cases.push(jump(local, selector::TSS_OTHER));
    // The new task may be at another level, or in virtual-8086 mode.
    let user = case("to-level-3", Protected32(0)).patch_16(OTHER + CS, 0x93);
    let user = user.patch_16(OTHER + field::SEGMENTS + 8, 0x9b);
    let user = user
        .patch_16(OTHER + field::SEGMENTS, 0x9b)
        .patch_16(OTHER + field::SEGMENTS + 12, 0);
    cases.push(jump(user, selector::TSS_OTHER));
    let real = case("to-v86", Protected32(0)).patch_32(OTHER + field::EFLAGS, 0x2_3002);
    let real = real
        .patch_32(OTHER + field::EIP, TARGET)
        .patch_16(OTHER + CS, 0x2000);
    cases.push(jump(real, selector::TSS_OTHER));
    let own = case("to-itself", Protected32(0));
    cases.push(jump(own, selector::TSS));
    cases
}

/// IRET to the task before.
fn back() -> Vec<Case> {
    let mut cases = Vec::new();
    let returning = case("iret-after-call", Protected32(0)).show(OTHER + field::EIP, 2);
    let returning = returning.code_at(TARGET, 32, |a| {
        a.mov(bl, 0x99)?;
        a.iretd()
    });
    cases.push(call(returning, selector::TSS_OTHER));
    let jumped = case("iret-after-jmp", Protected32(0)).patch_16(OTHER, selector::TSS);
    let jumped = jumped.code_at(TARGET, 32, |a| {
        a.pushfd()?;
        a.or(dword_ptr(esp), 0x4000)?;
        a.popfd()?;
        a.iretd()
    });
    cases.push(jump(jumped, selector::TSS_OTHER));
    for (name, link, access) in [
        ("link-null", 0, 0),
        ("link-available", selector::TSS_OTHER, 0),
        ("link-outside", selector::OUTSIDE, 0),
        ("link-data", 0x88, 0),
        ("link-ldt", 4, 0),
        ("link-absent", TEST, 0x0b),
        ("link-busy", TEST, 0x8b),
    ] {
        let case = case(name, Protected32(0))
            .flags(flag::NT)
            .patch_16(layout::TSS, link);
        let case = case.descriptor(TEST, segment(OTHER, 0x67, access, 0));
        cases.push(case.code(|a| a.iretd()));
    }
    cases
}

/// Levels of TSS descriptors and task gates.
fn rights() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected32(0), Protected32(3)] {
        for (level, requested) in [(0u8, 0u16), (0, 3), (3, 3), (3, 0)] {
            let name = format!("dpl{level}-rpl{requested}");
            let tss = segment(OTHER, 0x67, at_level(descriptor::TSS, level), 0);
            let tss = case(&format!("jmp-{name}"), mode).descriptor(TEST, tss);
            cases.push(jump(tss, TEST | requested));
            let gated = case(&format!("jmp-gate-{name}"), mode);
            let gated = gated.descriptor(TEST, task_gate(selector::TSS_OTHER, level));
            cases.push(jump(gated, TEST | requested));
        }
    }
    cases
}

fn descriptors() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, access, limit) in [
        ("busy", 0x8b, 0x67),
        ("absent", 0x09, 0x67),
        ("busy-absent", 0x0b, 0x67),
        ("short", 0x89, 0x66),
        ("short-16", 0x81, 0x2a),
        ("busy-16", 0x83, 0x2b),
        ("long-enough", 0x89, 0x67),
    ] {
        let tss = segment(OTHER, limit, access, 0);
        for (how, opcode) in [("jmp", 0xea), ("call", 0x9a)] {
            let case = case(&format!("{how}-{name}"), Protected32(0)).descriptor(TEST, tss);
            cases.push(
                case.bytes(&direct(opcode, 32, TEST, 0))
                    .show_descriptor(TEST),
            );
        }
        let by_int = case(&format!("int-{name}"), Protected32(0)).descriptor(TEST, tss);
        let by_int = by_int.gate(VECTOR, task_gate(TEST, 3));
        cases.push(by_int.code(|a| a.int(VECTOR)));
    }
    for (name, target) in [
        ("null", 0),
        ("ldt", 4),
        ("data", 0x88),
        ("outside", 0x200),
        ("code", 0x80),
    ] {
        let gated = case(&format!("gate-to-{name}"), Protected32(0));
        cases.push(jump(gated.descriptor(TEST, task_gate(target, 3)), TEST));
        let by_int = case(&format!("int-gate-to-{name}"), Protected32(0));
        let by_int = by_int.gate(VECTOR, task_gate(target, 3));
        cases.push(by_int.code(|a| a.int(VECTOR)));
    }
    let absent = case("gate-absent", Protected32(0));
    cases.push(jump(
        absent.descriptor(TEST, task_gate(selector::TSS_OTHER, 0) & !(1 << 47)),
        TEST,
    ));
    let in_ldt = case("in-ldt", Protected32(0)).descriptor(0x44, segment(OTHER, 0x67, 0x89, 0));
    cases.push(jump(in_ldt, 0x44));
    cases
}

/// A new task's segments that cannot be loaded: the fault happens in the new task.
fn contents() -> Vec<Case> {
    let mut cases = Vec::new();
    let segments = [
        ("ldt-null", field::LDT, 0, 0),
        ("ldt-outside", field::LDT, 0x200, 0),
        ("ldt-in-ldt", field::LDT, 4, 0),
        ("ldt-data", field::LDT, 0x88, 0),
        ("ldt-absent", field::LDT, TEST, 0x02),
        ("cs-null", CS, 0, 0),
        ("cs-outside", CS, 0x200, 0),
        ("cs-data", CS, 0x88, 0),
        ("cs-absent", CS, TEST, 0x1b),
        ("cs-rpl", CS, 0x83, 0),
        ("cs-conforming", CS, 0xf0, 0),
        ("cs-conforming-rpl3", CS, 0xf3, 0),
        ("ss-null", field::SEGMENTS + 8, 0, 0),
        ("ss-outside", field::SEGMENTS + 8, 0x200, 0),
        ("ss-code", field::SEGMENTS + 8, 0x80, 0),
        ("ss-read-only", field::SEGMENTS + 8, TEST, 0x91),
        ("ss-absent", field::SEGMENTS + 8, TEST, 0x13),
        ("ss-rpl", field::SEGMENTS + 8, 0x8b, 0),
        ("ds-outside", field::SEGMENTS + 12, 0x200, 0),
        ("ds-system", field::SEGMENTS + 12, 0x60, 0),
        ("ds-absent", field::SEGMENTS + 12, TEST, 0x13),
        ("ds-code-only", field::SEGMENTS + 12, TEST, 0x99),
        ("gs-null", field::SEGMENTS + 20, 3, 0),
        ("fs-by-ldt", field::SEGMENTS + 16, 4, 0),
    ];
    for (name, place, selector, access) in segments {
        let mut case = case(&format!("new-{name}"), Protected32(0));
        if name.ends_with("rpl") && place == CS || name.ends_with("rpl3") {
            // The rest is as level 3 has it.
            for place in [field::SEGMENTS, field::SEGMENTS + 8, field::SEGMENTS + 12] {
                case = case.patch_16(OTHER + place, selector::DATA_32[3]);
            }
        }
        let case = case.patch_16(OTHER + place, selector);
        let descriptor = if access == 2 {
            segment(0, 7, access, 0)
        } else {
            flat(access, 0)
        };
        // Of a task whose segments are not loaded only another task can say something.
        let vector = match name {
            "cs-absent" | "ds-absent" => 11,
            "ss-absent" => 12,
            _ => 10,
        };
        let case = capture_by_task(case, vector).show(OTHER + field::SEGMENTS, 7);
        cases.push(jump(case.descriptor(TEST, descriptor), selector::TSS_OTHER));
    }
    let good = case("new-ldt-good", Protected32(0)).patch_16(OTHER + field::LDT, selector::LDT);
    let good = good.patch_16(OTHER + field::SEGMENTS + 16, 4);
    cases.push(jump(good, selector::TSS_OTHER));
    let far = case("new-eip-behind-limit", Protected32(0))
        .descriptor(TEST, segment(0, 0xffff, 0x9b, 0x40));
    let far = far.patch_16(OTHER + CS, TEST);
    cases.push(jump(far, selector::TSS_OTHER));
    cases
}

/// 16-bit tasks, from and to 32-bit ones.
fn small() -> Vec<Case> {
    let mut cases = Vec::new();
    let shown = |case: Case| {
        // What the upper halves become is nowhere said.
        let case = case.code_at(TARGET, 16, |a| {
            a.mov(bl, 0x99)?;
            a.movzx(eax, ax)?;
            a.movzx(ecx, cx)?;
            a.movzx(edx, dx)?;
            a.movzx(ebx, bx)?;
            a.movzx(esp, sp)?;
            a.movzx(ebp, bp)?;
            a.movzx(esi, si)?;
            a.movzx(edi, di)
        });
        let case = case.show(layout::TSS_16, 11).show(layout::TSS_OTHER_16, 1);
        case.show_descriptor(selector::TSS_16)
            .show_descriptor(selector::TSS_OTHER_16)
    };
    let plain = shown(case("16-to-16", Protected16(0))).tr(selector::TSS_16);
    cases.push(jump(plain, selector::TSS_OTHER_16));
    let plain = shown(case("16-calls-16", Protected16(0))).tr(selector::TSS_16);
    cases.push(call(plain, selector::TSS_OTHER_16));
    let plain = shown(case("16-to-32", Protected16(0))).tr(selector::TSS_16);
    let plain = plain.bytes_at(TARGET, &[0xb3, 0x99]);
    cases.push(jump(plain, selector::TSS_OTHER));
    let plain = shown(case("32-to-16", Protected32(0)));
    cases.push(jump(
        plain.show(layout::TSS + field::EIP, 2),
        selector::TSS_OTHER_16,
    ));
    let plain = shown(case("32-calls-16", Protected32(0)));
    cases.push(call(plain, selector::TSS_OTHER_16));
    let returning = shown(case("16-returns-to-32", Protected32(0)));
    let returning = returning.code_at(TARGET, 16, |a| a.iret());
    cases.push(call(returning, selector::TSS_OTHER_16));
    cases
}

/// CR3 changes with the task.
fn paging() -> Vec<Case> {
    let mut cases = Vec::new();
    let other_tables = 0x7_0000;
    let switch = case("cr3", Protected32(0)).legacy_paging();
    let switch = switch.patch_32(other_tables, layout::PT_LEGACY | 0x27);
    let switch = switch.patch_32(OTHER + field::CR3, other_tables);
    cases.push(jump(switch, selector::TSS_OTHER));
    cases
}

/// Long mode has no task switches.
fn long() -> Vec<Case> {
    let mut cases = Vec::new();
    let jump_far = |case: Case, selector: u16| {
        let case = case
            .bx(layout::DATA.into())
            .patch_16(layout::DATA + 4, selector);
        case.bytes(&[0xff, 0x2b])
    };
    cases.push(jump_far(case("jmp-tss", Long64(0)), selector::TSS_OTHER));
    cases.push(jump(case("jmp-tss", Compatible32(0)), selector::TSS_OTHER));
    let gated = case("jmp-gate", Long64(0)).descriptor(TEST, task_gate(selector::TSS_OTHER, 0));
    cases.push(jump_far(gated, TEST));
    for mode in [Long64(0), Compatible32(0)] {
        let nested = case("iret-nt", mode).flags(flag::NT);
        cases.push(nested.bytes(&[0xcf]));
    }
    cases
}
