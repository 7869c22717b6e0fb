//! Virtual-8086 mode: interrupts, and instructions that depend on the I/O privilege level.

use iced_x86::code_asm::*;

use crate::case::Mode::Virtual8086;
use crate::case::{Case, control, flag, segment as number};
use crate::descriptor::{INTERRUPT, INTERRUPT_16, TRAP, at_level, flat, gate};
use crate::layout::{self, INNER_STACKS, selector};

const VECTOR: u32 = 0x40;

fn case(name: &str, level: u8) -> Case {
    let case = Case::new(format!("virtual/iopl{level}/{name}"), Virtual8086);
    case.flags(flag::iopl(level))
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = sensitive();
    cases.extend(interrupts());
    cases.extend(redirection());
    cases.extend(segments());
    cases
}

fn sensitive() -> Vec<Case> {
    let mut cases = Vec::new();
    for level in [0, 2, 3] {
        for (name, bytes) in [
            ("cli", &[0xfa][..]),
            ("pushf", &[0x9c, 0x5b]),
            ("pushfd", &[0x66, 0x9c, 0x66, 0x5b]),
            ("popf", &[0x50, 0x9d]),
            ("int", &[0xcd, 0x40]),
            ("int3", &[0xcc]),
            ("into", &[0xce]),
            ("iret", &[0x6a, 0x02, 0x68, 0x00, 0x20, 0x6a, 0x20, 0xcf]),
            (
                "iretd",
                &[
                    0x66, 0x6a, 0x02, 0x66, 0x68, 0, 0x20, 0, 0, 0x66, 0x6a, 0x20, 0x66, 0xcf,
                ],
            ),
            ("lock-nop", &[0xf0, 0x90]),
            ("in", &[0xe4, 0x46]),
        ] {
            let case = case(name, level)
                .ax(0x0202)
                .flags(0x800)
                .bytes_at(0x20, &[0xb3, 0x99]);
            let open = |vector: u32, case: Case| {
                let offset = layout::STUBS + vector * layout::STUB_STRIDE;
                case.gate(
                    vector,
                    gate(selector::HOME_CODE, offset, at_level(INTERRUPT, 3), 0),
                )
            };
            let case = [3, 4, VECTOR]
                .into_iter()
                .fold(case, |case, vector| open(vector, case));
            cases.push(case.bytes(bytes));
        }
    }
    cases
}

/// Gates to level 0 only; all segment registers are pushed and become null.
fn interrupts() -> Vec<Case> {
    let mut cases = Vec::new();
    let target = layout::CODE + 0x40;
    for (name, access, selector, kind) in [
        ("gate", 0x9b, 0x80u16, at_level(INTERRUPT, 3)),
        ("trap-gate", 0x9b, 0x80, at_level(TRAP, 3)),
        ("gate-dpl0", 0x9b, 0x80, INTERRUPT),
        ("to-level-1", 0x9b, 0xd1, at_level(INTERRUPT, 3)),
        ("to-level-3", 0x9b, 0x93, at_level(INTERRUPT, 3)),
        ("to-conforming", 0x9f, 0xf0, at_level(INTERRUPT, 3)),
        ("gate-16", 0x9b, 0xa0, at_level(INTERRUPT_16, 3)),
    ] {
        let case = case(&format!("int-{name}"), 3).descriptor(0x100, flat(access, 0));
        let offset = if name == "gate-16" { 0x40 } else { target };
        let case = case
            .gate(VECTOR, gate(selector, offset, kind, 0))
            .flags(flag::IF);
        let case = case.bytes_at(0x40, &[0xb3, 0x99]).bytes(&[0xcd, 0x40]);
        let count = if name == "gate-16" { 4 } else { 9 };
        cases.push(case.show_stack(INNER_STACKS[0], count));
    }
    let mut different = case("segments", 3).bytes(&[0x0f, 0x0b]);
    for (register, selector) in [
        (number::ES, 0x3001),
        (number::FS, 0x3002),
        (number::GS, 0xffff),
    ] {
        different = different.segment(register, selector);
    }
    cases.push(different.show_stack(INNER_STACKS[0], 9));
    // There and back.
    let back = case("round-trip", 3).bytes(&[0xcd, 0x40, 0x40]);
    let back = back.gate(VECTOR, gate(0x80, target, at_level(INTERRUPT, 3), 0));
    cases.push(back.code_at(0x40, 32, |a| {
        a.mov(ebx, ds)?;
        a.iretd()
    }));
    // A stack whose pointer is of 16 bits pushes there.
    let stack = case("stack-wraps", 3).sp(0).bytes(&[0x50]);
    cases.push(stack);
    cases
}

/// CR4.VME: the bitmap in front of the I/O bitmap says which INT n stay in the task.
fn redirection() -> Vec<Case> {
    let mut cases = Vec::new();
    for level in [0, 3] {
        for (name, kept, flags) in [
            ("kept", true, 0),
            ("kept-vif", true, flag::VIF),
            ("passed", false, 0),
        ] {
            let map = layout::IO_MAP as u16 + 0x20;
            let case = case(&format!("vme-int-{name}"), level)
                .cr4(control::CR4_VME)
                .flags(flags);
            let case = case.patch_16(layout::TSS + 0x66, map);
            let bits = if kept { 0 } else { 0xff };
            // The bitmap's 32 bytes end where the I/O bitmap starts.
            let case = case.patch(layout::TSS + layout::IO_MAP, &[bits; 0x20]);
            let case = case.patch(layout::TSS + u32::from(map), &[0xff]);
            let tss = crate::descriptor::segment(layout::TSS, u32::from(map) + 1, 0x89, 0);
            let case = case.descriptor(selector::TSS, tss);
            let vector = u32::from(0x2000_u16) << 16 | 0x40;
            let case = case.patch_32(layout::IVT + VECTOR * 4, vector);
            let offset = layout::STUBS + VECTOR * layout::STUB_STRIDE;
            let open = gate(selector::HOME_CODE, offset, at_level(INTERRUPT, 3), 0);
            let case = case.gate(VECTOR, open).show_stack(layout::STACKS[3], 2);
            // HLT, since another INT would be redirected, too.
            let case = case.bytes_at(0x40, &[0xb3, 0x99, 0xf4]);
            cases.push(case.bytes(&[0xcd, 0x40]));
        }
    }
    cases
}

/// Segments are 64 KiB from 16 times their selectors on.
fn segments() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, bytes) in [
        ("read-last", &[0x67, 0x8a, 0x03][..]),
        ("read-behind", &[0x67, 0x66, 0x8b, 0x03]),
        ("read-far", &[0x67, 0x66, 0x8b, 0x83, 0, 0, 1, 0]),
    ] {
        let case = case(name, 3)
            .bx(0xffff)
            .patch_32(layout::DATA + 0xffff, 0x6a6b_6c6d);
        cases.push(case.bytes(bytes));
    }
    let high = case("high-memory", 3).segment(number::DS, 0xffff).bx(0x10);
    cases.push(high.ax(0).bytes(&[0x8b, 0x07]));
    cases
}
