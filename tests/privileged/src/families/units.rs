//! Floating point and vectors as far as the kernel says whether they may run; alignment checks.

use crate::case::Mode::{Compatible32, Long64, Protected32, Real, Virtual8086};
use crate::case::{Case, Mode, control, flag};
use crate::layout;

const TS: u32 = control::CR0_TS;
const EM: u32 = control::CR0_EM;
const MP: u32 = control::CR0_MP;

fn case(name: &str, mode: Mode) -> Case {
    Case::new(format!("unit/{}/{name}", mode.word()), mode)
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = absent();
    cases.extend(errors());
    cases.extend(alignment());
    cases
}

/// Every combination of CR0.TS, EM and MP, with and without CR4.OSFXSR.
fn absent() -> Vec<Case> {
    let instructions: [(&str, &[u8]); 10] = [
        ("fld1", &[0xd9, 0xe8]),
        ("fninit", &[0xdb, 0xe3]),
        ("fnstsw", &[0xdf, 0xe0]),
        ("wait", &[0x9b]),
        ("emms", &[0x0f, 0x77]),
        ("pxor-mmx", &[0x0f, 0xef, 0xc0]),
        ("xorps", &[0x0f, 0x57, 0xc0]),
        ("pxor-sse", &[0x66, 0x0f, 0xef, 0xc0]),
        ("ldmxcsr", &[0x0f, 0xae, 0x10]),
        ("fxsave", &[0x0f, 0xae, 0x00]),
    ];
    let mut cases = Vec::new();
    for bits in 0..8u32 {
        let combination = bits << 1;
        for (name, bytes) in instructions {
            for (suffix, enabled) in [("", 0), ("-osfxsr", control::CR4_OSFXSR)] {
                let is_vector = matches!(name, "xorps" | "pxor-sse" | "ldmxcsr");
                if !is_vector && enabled == 0 {
                    continue;
                }
                let name = format!("{name}{suffix}-{}", word(combination));
                let case = case(&name, Protected32(3)).cr0(combination).cr4(enabled);
                let case = case.ax(u64::from(layout::DATA) + 0x200);
                let case = case.patch_32(layout::DATA + 0x200, 0x1f80);
                cases.push(case.bytes(bytes));
            }
        }
    }
    for mode in [Real, Virtual8086, Long64(0), Compatible32(3)] {
        cases.push(case("fld1-ts", mode).cr0(TS).bytes(&[0xd9, 0xe8]));
        cases.push(case("fld1-em", mode).cr0(EM).bytes(&[0xd9, 0xe8]));
        cases.push(case("wait-mp-ts", mode).cr0(TS | MP).bytes(&[0x9b]));
    }
    // LOCK and undefined encodings come before #NM.
    cases.push(
        case("lock-before-nm", Protected32(0))
            .cr0(TS)
            .bytes(&[0xf0, 0xd9, 0xe8]),
    );
    cases
}

/// The names of CR0's bits.
fn word(bits: u32) -> String {
    let names = [(TS, "ts"), (EM, "em"), (MP, "mp")];
    let set: Vec<&str> = names
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    if set.is_empty() {
        "none".into()
    } else {
        set.join("-")
    }
}

/// Floating-point errors are reported by the next waiting instruction.
fn errors() -> Vec<Case> {
    let mut cases = Vec::new();
    // Unmasks division by zero: FNSTCW, AND, FLDCW; then 1 / 0.
    let raise = [
        0xd9, 0x38, 0x80, 0x20, 0xfb, 0xd9, 0x28, 0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9,
    ];
    for mode in [Protected32(0), Protected32(3), Long64(3)] {
        for (name, next) in [
            ("wait", &[0x9b][..]),
            ("fld1", &[0xd9, 0xe8]),
            ("fnstsw", &[0xdf, 0xe0, 0x90]),
            ("fnclex", &[0xdb, 0xe2, 0x9b]),
            ("emms", &[0x0f, 0x77]),
        ] {
            let case = case(&format!("error-then-{name}"), mode);
            let case = case.ax(u64::from(layout::DATA) + 0x80);
            let mut code = raise.to_vec();
            code.extend(next);
            cases.push(case.bytes(&code));
        }
    }
    // #XM, and #UD without CR4.OSXMMEXCPT. MXCSR with division by zero unmasked.
    for (name, bits) in [("xm", 0x600), ("xm-without-osxmmexcpt", 0x200)] {
        let case = case(name, Protected32(3))
            .cr4(bits)
            .ax(u64::from(layout::DATA) + 0x80);
        let case = case.patch_32(layout::DATA + 0x80, 0x1d80);
        let case = case
            .patch_32(layout::DATA + 0x84, 0x3f80_0000)
            .patch_32(layout::DATA + 0x88, 0);
        let code = [
            0x0f, 0xae, 0x10, 0xf3, 0x0f, 0x10, 0x40, 0x04, 0xf3, 0x0f, 0x5e, 0x40, 0x08,
        ];
        cases.push(case.bytes(&code));
    }
    let reserved = case("ldmxcsr-reserved", Protected32(3)).cr4(control::CR4_OSFXSR);
    let reserved = reserved
        .ax(u64::from(layout::DATA) + 0x80)
        .patch_32(layout::DATA + 0x80, 0x1_1f80);
    cases.push(reserved.bytes(&[0x0f, 0xae, 0x10]));
    for mode in [Protected32(3), Long64(3)] {
        let case = case("movaps-misaligned", mode).cr4(control::CR4_OSFXSR);
        cases.push(
            case.ax(u64::from(layout::DATA) + 8)
                .bytes(&[0x0f, 0x28, 0x00]),
        );
    }
    cases
}

/// #AC with CR0.AM and AC, at level 3 only.
fn alignment() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [
        Protected32(0),
        Protected32(3),
        Virtual8086,
        Long64(3),
        Compatible32(3),
    ] {
        let place = if mode.is_16() {
            0
        } else {
            u64::from(layout::DATA)
        };
        for (name, am, ac) in [
            ("", true, true),
            ("-am-only", true, false),
            ("-ac-only", false, true),
        ] {
            for (access, offset, bytes) in [
                ("word-odd", 1, &[0x66, 0x8b, 0x03][..]),
                ("dword-even", 2, &[0x8b, 0x03]),
                ("dword-aligned", 4, &[0x8b, 0x03]),
                ("store-odd", 3, &[0x89, 0x03]),
                ("byte-odd", 1, &[0x8a, 0x03]),
                ("far-pointer", 2, &[0x0f, 0xb4, 0x0b]),
            ] {
                if !name.is_empty() && access != "dword-even" {
                    continue;
                }
                let case = case(&format!("align-{access}{name}"), mode);
                // 16-bit code takes the other operand size, and BP and DI.
                let case = case.bx(place + offset).general(5, place).general(7, offset);
                let case = if am { case.cr0(control::CR0_AM) } else { case };
                let case = if ac {
                    case.flags(flag::AC | flag::iopl(3))
                } else {
                    case
                };
                let case = case.patch_32(layout::DATA + 4, 0);
                cases.push(case.bytes(bytes));
            }
        }
        let stack = case("align-push", mode)
            .cr0(control::CR0_AM)
            .flags(flag::AC | flag::iopl(3));
        let pointer = stack.general[4] - 2;
        let pointer = if mode.is_16() { pointer + 1 } else { pointer };
        cases.push(stack.sp(pointer).bytes(&[0x50]));
    }
    for mode in [Protected32(3), Long64(3)] {
        for (access, offset, bytes) in [
            ("fld-double", 4, &[0xdd, 0x03][..]),
            ("fld-whole", 4, &[0xdb, 0x2b]),
            ("fld-whole-aligned", 8, &[0xdb, 0x2b]),
            ("fnstenv", 2, &[0xd9, 0x33]),
            ("movsd", 4, &[0xf2, 0x0f, 0x10, 0x03]),
            ("movups", 1, &[0x0f, 0x10, 0x03]),
        ] {
            let case = case(&format!("align-{access}"), mode)
                .cr0(control::CR0_AM)
                .cr4(control::CR4_OSFXSR)
                .flags(flag::AC)
                .bx(u64::from(layout::DATA) + offset);
            cases.push(case.bytes(bytes));
        }
    }
    // It comes before a page fault.
    let both = case("align-page-fault", Protected32(3))
        .legacy_paging()
        .cr0(control::CR0_AM);
    let both = both.flags(flag::AC).bx(u64::from(layout::WINDOW) + 1);
    cases.push(
        both.patch_32(layout::PT_LEGACY_WINDOW, 0)
            .bytes(&[0x8b, 0x03]),
    );
    cases
}
