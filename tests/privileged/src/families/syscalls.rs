//! SYSCALL, SYSRET, SYSENTER and SYSEXIT, as AMD's processors have them.

use crate::case::Mode::{Compatible32, Long64, Protected32, Real};
use crate::case::{Case, Mode, control, flag};
use crate::layout::{self, STACKS};

const STAR: u32 = 0xc000_0081;
const LSTAR: u32 = 0xc000_0082;
const CSTAR: u32 = 0xc000_0083;
const SFMASK: u32 = 0xc000_0084;
/// SYSCALL goes to 64-bit code 0xc0 and the stack behind it, SYSRET to 32-bit code 0x93, the stack
/// 0x9b and 64-bit code behind that.
const SELECTORS: u64 = 0x0093_00c0 << 32;

const TARGET: u32 = layout::CODE + 0x40;
const SYSCALL: [u8; 2] = [0x0f, 0x05];
const SYSRET: [u8; 2] = [0x0f, 0x07];
const SYSRET_LONG: [u8; 3] = [0x48, 0x0f, 0x07];
const SYSENTER: [u8; 2] = [0x0f, 0x34];
const SYSEXIT: [u8; 2] = [0x0f, 0x35];

fn case(name: &str, mode: Mode) -> Case {
    let case = Case::new(format!("syscall/{}/{name}", mode.word()), mode).efer(control::EFER_SCE);
    let case = case.register(STAR, SELECTORS | u64::from(TARGET));
    let case = case
        .register(LSTAR, TARGET.into())
        .register(CSTAR, u64::from(TARGET) + 0x20);
    let case = case.bytes_at(0x40, &[0xb3, 0x99]);
    open(case.bytes_at(0x60, &[0xb3, 0x66]))
}

/// The user's pages, for cases that start at level 0 and end at level 3.
fn open(case: Case) -> Case {
    if !case.mode.is_long() || case.mode.level() == 3 {
        return case;
    }
    [layout::CODE, STACKS[0] - 0x1000]
        .into_iter()
        .fold(case, |case, page| {
            case.patch_32(layout::PT + (page >> 12) * 8, page | 0x67)
        })
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = calls();
    cases.extend(returns());
    cases.extend(enters());
    cases.extend(exits());
    cases
}

fn calls() -> Vec<Case> {
    let mut cases = Vec::new();
    let flags = 0x0cd5 | flag::IF | flag::NT | flag::iopl(3) | flag::AC;
    for mode in [
        Long64(0),
        Long64(3),
        Compatible32(3),
        Protected32(0),
        Protected32(3),
    ] {
        cases.push(case("syscall", mode).bytes(&SYSCALL));
        let flags = if mode.level() == 0 {
            flags & !flag::NT
        } else {
            flags
        };
        let masked = case("syscall-mask", mode)
            .register(SFMASK, 0x4_7700)
            .flags(flags);
        cases.push(masked.bytes(&SYSCALL));
        let masked = case("syscall-mask-all", mode)
            .register(SFMASK, 0xffff_ffff)
            .flags(flags);
        cases.push(masked.bytes(&SYSCALL));
        let disabled = case("syscall-disabled", mode).efer_without(control::EFER_SCE);
        cases.push(disabled.bytes(&SYSCALL));
    }
    cases
}

fn returns() -> Vec<Case> {
    let mut cases = Vec::new();
    let target = u64::from(TARGET);
    let flags = 0x0cd5 | flag::IF | flag::iopl(3) | flag::AC | flag::NT;
    for mode in [Long64(0), Compatible32(0), Protected32(0)] {
        let plain = case("sysret", mode).cx(target).general(11, 0x202);
        cases.push(plain.bytes(&SYSRET));
        let every = case("sysret-flags", mode)
            .cx(target)
            .general(11, flags | 0x3_0000);
        cases.push(every.flags(flag::iopl(3)).bytes(&SYSRET));
        let disabled = case("sysret-disabled", mode)
            .cx(target)
            .efer_without(control::EFER_SCE);
        cases.push(disabled.bytes(&SYSRET));
    }
    let long = case("sysret-64", Long64(0)).cx(target).general(11, flags);
    cases.push(long.bytes(&SYSRET_LONG));
    let high = case("sysret-32-high", Long64(0)).cx(0xffff_ffff_0000_0000 | target);
    cases.push(high.general(11, 2).bytes(&SYSRET));
    for mode in [Long64(3), Compatible32(3), Protected32(3)] {
        cases.push(case("sysret", mode).cx(target).bytes(&SYSRET));
    }
    cases.push(case("sysret", Real).bytes(&SYSRET));
    cases
}

fn entering(name: &str, mode: Mode) -> Case {
    let case = case(name, mode)
        .register(0x174, 0x80)
        .register(0x175, STACKS[0].into());
    case.register(0x176, TARGET.into())
}

fn enters() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected32(0), Protected32(3)] {
        let flags = 0x0cd5 | flag::IF | flag::iopl(3) | flag::AC;
        cases.push(entering("sysenter", mode).flags(flags).bytes(&SYSENTER));
        for (name, selector) in [("null", 0), ("null-rpl", 3), ("rpl", 0x83)] {
            let case = entering(&format!("sysenter-{name}"), mode);
            cases.push(case.register(0x174, selector).bytes(&SYSENTER));
        }
    }
    cases.push(entering("sysenter", Real).bytes(&SYSENTER));
    cases
}

fn exits() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected32(0), Protected32(3)] {
        let case = entering("sysexit", mode)
            .cx(STACKS[3].into())
            .dx(TARGET.into());
        cases.push(case.flags(flag::iopl(3)).bytes(&SYSEXIT));
        let case = entering("sysexit-null", mode).register(0x174, 0);
        cases.push(case.bytes(&SYSEXIT));
    }
    cases.push(entering("sysexit", Real).bytes(&SYSEXIT));
    cases
}
