//! Debug exceptions: single steps, breakpoints, and the debug registers.

use iced_x86::code_asm::*;

use crate::case::Mode::{Long64, Protected32, Real, Virtual8086};
use crate::case::{Case, Mode, control, flag};
use crate::descriptor::{INTERRUPT, at_level, gate};
use crate::layout::{self, selector};

fn case(name: &str, mode: Mode) -> Case {
    Case::new(format!("debug/{}/{name}", mode.word()), mode)
}

/// DR7 for breakpoint `number`: kind (0: instruction, 1: write, 2: port, 3: any) and length.
fn enable(number: u32, kind: u32, length: u32) -> u32 {
    2 << (number * 2) | (kind | length << 2) << (16 + number * 4)
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = steps();
    cases.extend(instructions());
    cases.extend(data());
    cases.extend(lengths());
    cases.extend(resumed());
    cases.extend(registers());
    cases
}

/// Sets TF by POPF; the trap comes after the next instruction.
fn steps() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [
        Real,
        Virtual8086,
        Protected32(0),
        Protected32(3),
        Long64(0),
        Long64(3),
    ] {
        // PUSH imm16, POPF of 16 bits.
        let set: &[u8] = match mode.bits() {
            16 => &[0x68, 0x02, 0x01, 0x9d],
            _ => &[0x66, 0x68, 0x02, 0x01, 0x66, 0x9d],
        };
        for (name, bytes) in [
            ("nop", &[0x90, 0x90][..]),
            ("jump", &[0xeb, 0x02, 0x90, 0x90, 0x90]),
            ("fault", &[0x0f, 0x0b]),
            ("rep", &[0xf3, 0xaa]),
            ("popf-clears", &[0x9d, 0x90]),
            ("mov-ss", &[0x8e, 0xd0, 0x90, 0x90]),
            ("mov-ds", &[0x8e, 0xd8, 0x90, 0x90]),
            ("sti", &[0xfb, 0x90, 0x90]),
            ("int", &[0xcd, 0x40]),
            ("int3", &[0xcc]),
        ] {
            let case = case(&format!("step/{name}"), mode).cx(3);
            let data = case.segments[3];
            let place = if mode.is_16() {
                0x80
            } else {
                u64::from(layout::DATA) + 0x80
            };
            let case = case.ax(data.into()).general(7, place).flags(flag::iopl(3));
            let case = if mode == Real {
                case
            } else {
                open(open(case, 0x40), 3)
            };
            // What POPF takes next.
            let stack = layout::STACKS[usize::from(mode.level())];
            let case = case.patch_32(stack, 0x3002).patch_32(stack + 4, 0);
            let mut code = set.to_vec();
            code.extend(bytes);
            cases.push(case.bytes(&code));
        }
    }
    let masked = case("step/syscall", Long64(3))
        .efer(control::EFER_SCE)
        .cx(0);
    let masked = masked.register(0xc000_0081, 0x0093_00c0 << 32);
    let masked = masked.register(0xc000_0082, u64::from(layout::CODE) + 0x40);
    let masked = masked.bytes_at(0x40, &[0x90, 0x90]);
    let bytes = [0x66, 0x68, 0x02, 0x01, 0x66, 0x9d, 0x0f, 0x05];
    let mut unmasked = masked.clone().bytes(&bytes);
    cases.push(masked.register(0xc000_0084, flag::TF).bytes(&bytes));
    unmasked.name.push_str("-unmasked");
    cases.push(unmasked);
    // IRET that sets TF: the instruction that it returns to is executed first.
    let returns = case("step/iret", Protected32(0)).bytes_at(0x40, &[0x40, 0x40]);
    cases.push(returns.code(|a| {
        a.push(0x102)?;
        a.push(i32::from(selector::CODE_32[0]))?;
        a.push((layout::CODE + 0x40).cast_signed())?;
        a.iretd()
    }));
    cases
}

/// A gate that a program may use.
fn open(case: Case, vector: u32) -> Case {
    let access = at_level(INTERRUPT, 3);
    if case.mode.is_long() {
        let offset = u64::from(layout::STUBS_64 + vector * layout::STUB_STRIDE);
        let entry = crate::descriptor::long_gate(selector::HOME_CODE_64, offset, access, 0);
        return case.long_gate(vector, entry);
    }
    let offset = layout::STUBS + vector * layout::STUB_STRIDE;
    case.gate(vector, gate(selector::HOME_CODE, offset, access, 0))
}

/// Breakpoints on instructions: faults, before.
fn instructions() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Real, Virtual8086, Protected32(0), Protected32(3), Long64(0)] {
        let at = |name: &str, offset: u32| {
            let case = case(&format!("fetch/{name}"), mode).flags(flag::iopl(3));
            case.debug_address(0, layout::CODE + offset)
                .dr7(enable(0, 0, 0))
        };
        cases.push(at("nop", 1).bytes(&[0x90, 0x90, 0x90]));
        cases.push(at("first", 0).bytes(&[0x90]));
        cases.push(at("within-instruction", 1).bytes(&[0xb0, 0x90, 0x90]));
        cases.push(at("on-prefix", 0).bytes(&[0x66, 0x90]));
        cases.push(at("on-undefined", 0).bytes(&[0x0f, 0x0b]));
        let disabled = case("fetch/disabled", mode).debug_address(0, layout::CODE);
        cases.push(disabled.bytes(&[0x90]));
        let after_ss = at("after-mov-ss", 2);
        let stack = after_ss.segments[2];
        cases.push(after_ss.ax(stack.into()).bytes(&[0x8e, 0xd0, 0x90, 0x90]));
    }
    let local = case("fetch/local", Protected32(0)).debug_address(3, layout::CODE + 1);
    cases.push(local.dr7(0x40).bytes(&[0x90, 0x90]));
    let two = case("fetch/two", Protected32(0)).debug_address(0, layout::CODE + 1);
    let two = two
        .debug_address(2, layout::CODE + 1)
        .dr7(enable(0, 0, 0) | enable(2, 0, 0));
    cases.push(two.bytes(&[0x90, 0x90]));
    cases
}

/// Breakpoints on data: traps, after.
fn data() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected32(0), Protected32(3), Long64(3)] {
        for (name, kind) in [("write", 1), ("any", 3)] {
            for (access, bytes) in [
                ("read", &[0x8b, 0x03][..]),
                ("store", &[0x89, 0x03]),
                ("modify", &[0x01, 0x03]),
                ("compare", &[0x39, 0x03]),
                ("exchange-failing", &[0x0f, 0xb1, 0x0b]),
                ("push", &[0x89, 0xdc, 0x83, 0xc4, 0x04, 0x50]),
                ("rep-stos", &[0x89, 0xdf, 0xf3, 0xab]),
                ("mov-ss-shadow", &[0x8e, 0x13, 0x90, 0x90]),
            ] {
                let case = case(&format!("{name}/{access}"), mode).bx(layout::DATA.into());
                let case = case
                    .debug_address(1, layout::DATA)
                    .dr7(enable(1, kind, 3))
                    .cx(3);
                let stack = case.segments[2];
                let case = if access == "mov-ss-shadow" {
                    case.patch_16(layout::DATA, stack)
                } else {
                    case
                };
                let mut code = bytes.to_vec();
                code.extend([0x90, 0x90]);
                cases.push(case.bytes(&code));
            }
        }
    }
    // An access that faults is none.
    let fault = case("write/page-fault", Protected32(0))
        .legacy_paging()
        .bx(layout::WINDOW.into());
    let fault = fault
        .patch_32(layout::PT_LEGACY_WINDOW, 0)
        .debug_address(1, layout::WINDOW);
    cases.push(fault.dr7(enable(1, 1, 3)).bytes(&[0x89, 0x03]));
    let port = case("port/in", Protected32(0))
        .debug_address(0, 0x46)
        .cr4(control::CR4_DE);
    cases.push(port.dr7(enable(0, 2, 0)).bytes(&[0xe4, 0x46, 0x90]));
    cases
}

/// Which bytes a breakpoint covers.
fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for (length, code) in [(1, 0), (2, 1), (4, 3), (8, 2)] {
        for offset in [-1i32, 0, 1, 2, 4, 7, 8] {
            let name = format!("length-{length}/byte-at-{}", offset + 8);
            let place = (layout::DATA + 8).cast_signed() + offset;
            let case = case(&name, Long64(0)).bx(u64::from(place.cast_unsigned()));
            let case = case
                .debug_address(2, layout::DATA + 8)
                .dr7(enable(2, 3, code));
            cases.push(case.bytes(&[0x8a, 0x03, 0x90]));
        }
        // An address within is aligned down; an access from before reaches in.
        let name = format!("length-{length}/aligned");
        let case = case(&name, Long64(0)).bx((layout::DATA + 8).into());
        let case = case
            .debug_address(2, layout::DATA + 9)
            .dr7(enable(2, 3, code));
        cases.push(case.bytes(&[0x8a, 0x03, 0x90]));
    }
    let reaching = case("length-1/reached", Long64(0)).bx((layout::DATA + 5).into());
    let reaching = reaching
        .debug_address(2, layout::DATA + 8)
        .dr7(enable(2, 3, 0));
    cases.push(reaching.bytes(&[0x8b, 0x03, 0x90]));
    cases
}

/// RF lets one instruction pass.
fn resumed() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, flags) in [("resumed", 0x1_0002), ("not-resumed", 2)] {
        let case = case(&format!("fetch/{name}"), Protected32(0));
        let case = case
            .debug_address(0, layout::CODE + 0x40)
            .dr7(enable(0, 0, 0));
        let case = case.bytes_at(0x40, &[0x40, 0xeb, 0xfd]);
        cases.push(case.code(|a| {
            a.push(flags)?;
            a.push(i32::from(selector::CODE_32[0]))?;
            a.push((layout::CODE + 0x40).cast_signed())?;
            a.iretd()
        }));
    }
    // POPF does not set it.
    let popped = case("fetch/popf", Protected32(0)).debug_address(0, layout::CODE + 6);
    let popped = popped.dr7(enable(0, 0, 0));
    cases.push(popped.bytes(&[0x68, 0x02, 0x00, 0x01, 0x00, 0x9d, 0x90]));
    cases
}

/// MOV to and from the debug registers.
fn registers() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, bits) in [("", 0), ("-de", control::CR4_DE)] {
        for number in [4u8, 5] {
            let read = case(&format!("dr{number}-read{name}"), Protected32(0)).cr4(bits);
            cases.push(read.bytes(&[0x0f, 0x21, 0xc0 | number << 3]));
        }
        let write = case(&format!("dr5-write{name}"), Protected32(0))
            .cr4(bits)
            .ax(0x700);
        cases.push(write.bytes(&[0x0f, 0x23, 0xe8]));
    }
    for (name, bytes) in [
        ("gd-write", [0x0f, 0x23, 0xc0]),
        ("gd-read", [0x0f, 0x21, 0xf0]),
        ("gd-read-dr4", [0x0f, 0x21, 0xe0]),
    ] {
        let guarded = case(name, Protected32(0)).ax(0x2000);
        let mut code = vec![0x0f, 0x23, 0xf8];
        code.extend(bytes);
        cases.push(guarded.bytes(&code));
    }
    let status = |a: &mut CodeAssembler| -> Result<(), iced_x86::IcedError> {
        a.mov(dr6, eax)?;
        a.mov(ebx, dr6)
    };
    for (name, value) in [("dr6-zero", 0), ("dr6-ones", 0xffff_ffffu64)] {
        cases.push(case(name, Protected32(0)).ax(value).code(status));
    }
    for (name, value) in [("dr7-zero", 0), ("dr7-ones", 0xffff_d400u64)] {
        let case = case(name, Protected32(0)).ax(value);
        cases.push(case.code(|a| {
            a.mov(dr7, eax)?;
            a.mov(ebx, dr7)
        }));
    }
    for (name, register) in [("dr6", 0xf0), ("dr7", 0xf8)] {
        let high = case(&format!("{name}-high-bits"), Long64(0)).ax(1 << 32);
        cases.push(high.bytes(&[0x0f, 0x23, register]));
    }
    let high = case("dr0-high-bits", Long64(0)).ax(0xffff_8000_0000_0000);
    cases.push(high.code(|a| {
        a.mov(dr0, rax)?;
        a.mov(rbx, dr0)
    }));
    let high = case("dr8", Long64(0));
    cases.push(high.bytes(&[0x44, 0x0f, 0x21, 0xc0]));
    cases
}
