//! Fetching and decoding: long instructions, LOCK, undefined encodings, modified code.

use iced_x86::code_asm::*;

use crate::case::Mode::{Compatible32, Long64, Protected16, Protected32, Real};
use crate::case::{Case, Mode};
use crate::layout;

fn case(name: &str, mode: Mode) -> Case {
    Case::new(format!("decode/{}/{name}", mode.word()), mode)
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = lengths();
    cases.extend(locks());
    cases.extend(undefined());
    cases.extend(modified());
    cases
}

/// 15 bytes are the most.
fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [
        Real,
        Protected16(0),
        Protected32(0),
        Protected32(3),
        Long64(0),
    ] {
        for prefixes in [13usize, 14, 15, 16] {
            let mut code = vec![0x2e; prefixes];
            code.push(0x90);
            cases.push(case(&format!("{prefixes}-prefixes"), mode).bytes(&code));
        }
        // The length counts immediates, too: 11 prefixes, an opcode and its operand.
        for prefixes in [10usize, 11] {
            let mut code = vec![0x3e; prefixes];
            code.extend([0x66, 0x81, 0xc0]);
            code.extend([1, 0, 0, 0]);
            let operand = if mode.is_16() { 4 } else { 2 };
            code.truncate(prefixes + 3 + operand);
            cases.push(case(&format!("{prefixes}-prefixes-immediate"), mode).bytes(&code));
        }
    }
    cases
}

/// LOCK is for instructions that modify memory.
fn locks() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected32(3), Long64(3)] {
        for (name, bytes) in [
            ("add-memory", &[0xf0, 0x01, 0x03][..]),
            ("add-register", &[0xf0, 0x01, 0xc3]),
            ("add-from-memory", &[0xf0, 0x03, 0x03]),
            ("cmp", &[0xf0, 0x39, 0x03]),
            ("mov", &[0xf0, 0x89, 0x03]),
            ("inc", &[0xf0, 0xff, 0x03]),
            ("not", &[0xf0, 0xf7, 0x13]),
            ("test", &[0xf0, 0xf7, 0x03, 1, 0, 0, 0]),
            ("xchg", &[0xf0, 0x87, 0x03]),
            ("xchg-register", &[0xf0, 0x87, 0xc3]),
            ("cmpxchg", &[0xf0, 0x0f, 0xb1, 0x0b]),
            ("xadd", &[0xf0, 0x0f, 0xc1, 0x0b]),
            ("bts", &[0xf0, 0x0f, 0xba, 0x2b, 3]),
            ("bt", &[0xf0, 0x0f, 0xba, 0x23, 3]),
            ("push", &[0xf0, 0x50]),
            ("nop", &[0xf0, 0x90]),
            ("lea", &[0xf0, 0x8d, 0x03]),
            ("cmpxchg8b", &[0xf0, 0x0f, 0xc7, 0x0b]),
        ] {
            let case = case(&format!("lock-{name}"), mode)
                .bx(layout::DATA.into())
                .show(layout::DATA, 1);
            cases.push(case.bytes(bytes));
        }
    }
    cases
}

fn undefined() -> Vec<Case> {
    let mut cases = Vec::new();
    let encodings: [(&str, &[u8]); 24] = [
        ("ud0", &[0x0f, 0xff, 0xc0]),
        ("ud1", &[0x0f, 0xb9, 0xc0]),
        ("ud2", &[0x0f, 0x0b]),
        ("group-4-2", &[0xfe, 0xd0]),
        ("group-5-7", &[0xff, 0xf8]),
        ("group-11-1", &[0xc7, 0xc8, 0, 0, 0, 0]),
        ("group-8-0", &[0x0f, 0xba, 0xc0, 0]),
        ("pop-group-1", &[0x8f, 0xc8]),
        ("lea-register", &[0x8d, 0xc0]),
        ("bound-register", &[0x62, 0xc0, 0, 0, 0, 0]),
        ("les-register", &[0xc4, 0xc0, 0, 0, 0]),
        ("mov-to-cs", &[0x8e, 0xc8]),
        ("cmpxchg8b-register", &[0x0f, 0xc7, 0xc8]),
        ("0f-04", &[0x0f, 0x04]),
        ("0f-0a", &[0x0f, 0x0a]),
        ("0f-24", &[0x0f, 0x24, 0xc0]),
        ("0f-36", &[0x0f, 0x36]),
        ("group-7-5", &[0x0f, 0x01, 0x28]),
        ("group-6-6", &[0x0f, 0x00, 0x30]),
        ("salc", &[0xd6]),
        ("aam-0", &[0xd4, 0]),
        ("arpl", &[0x63, 0xc0]),
        ("daa", &[0x27]),
        ("pusha", &[0x60]),
    ];
    for mode in [Protected32(0), Long64(0), Compatible32(3)] {
        for (name, bytes) in encodings {
            let is_vector = matches!(name, "bound-register" | "les-register");
            // EVEX and VEX prefixes; MOVSXD; operands that an instruction does not have.
            if mode.bits() == 64 && (is_vector || name == "arpl") {
                continue;
            }
            let case = case(name, mode).ax(0x0123).bx(layout::DATA.into());
            // VEX at level 0 needs CR4.OSXSAVE, so it is undefined.
            if is_vector && mode.bits() == 32 {
                cases.push(case.bytes(bytes));
                continue;
            }
            cases.push(case.bytes(bytes));
        }
    }
    for (name, bytes) in [
        ("push-es", &[0x06][..]),
        ("aaa", &[0x37]),
        ("aad", &[0xd5, 10]),
        ("into", &[0xce]),
        ("call-far", &[0x9a, 0, 0, 0, 0, 0, 0]),
        ("group-1-alias", &[0x82, 0xc0, 1]),
        ("rex-before-prefix", &[0x48, 0x66, 0xb8, 0x11, 0x22]),
        ("rex-twice", &[0x48, 0x40, 0xb8, 1, 0, 0, 0]),
        ("movsxd-without-rex", &[0x63, 0xc3]),
    ] {
        cases.push(case(name, Long64(3)).bytes(bytes));
    }
    cases
}

/// Code that changes what is executed next.
fn modified() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected32(0), Long64(0), Real] {
        let case = |name: &str| case(&format!("modified-{name}"), mode);
        let store: &[u8] = match mode.bits() {
            // mov byte [place], 0x42, where the next instruction's operand is.
            16 => &[0x2e, 0xc6, 0x06, 0x07, 0x00, 0x42],
            32 => &[0xc6, 0x05, 0x08, 0x00, 0x02, 0x00, 0x42],
            _ => &[0xc6, 0x05, 0x01, 0x00, 0x00, 0x00, 0x42],
        };
        let mut next = store.to_vec();
        next.extend([0xb0, 0x11]);
        cases.push(case("next").bytes(&next));
        if mode != Real {
            // A jump goes back to what has been executed before.
            let back = case("loop").cx(2).bx((layout::CODE + 1).into());
            cases.push(back.bytes(&[0xb0, 0x11, 0xc6, 0x03, 0x42, 0xe2, 0xf9]));
        }
    }
    let string = case("modified-rep", Protected32(0))
        .cx(8)
        .ax(0x40)
        .general(7, u64::from(layout::CODE) + 2);
    cases.push(string.bytes(&[0xf3, 0xaa, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90]));
    let case = case("rip-relative", Long64(0));
    cases.push(case.code(|a| {
        a.lea(rax, ptr(u64::from(layout::CODE) + 0x40))?;
        a.mov(ebx, cs)
    }));
    cases
}
