//! Ports, the interrupt flag, and the flags register, by privilege.

use iced_x86::code_asm::*;

use crate::case::Mode::{Long64, Protected16, Protected32, Real, Virtual8086};
use crate::case::{Case, Mode, control, flag};
use crate::descriptor::segment;
use crate::layout::{self, selector};

/// A port at which nothing is, and which the bitmap opens; it closes all from 0x48 on.
const OPEN: u8 = 0x46;
const CLOSED: u8 = 0x5e;

fn case(name: &str, mode: Mode) -> Case {
    Case::new(format!("port/{}/{name}", mode.word()), mode)
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = bitmaps();
    cases.extend(strings());
    cases.extend(interrupt_flag());
    cases.extend(flags());
    cases.extend(virtual_flags());
    cases
}

/// The I/O privilege level and the bitmap.
fn bitmaps() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected32(3), Virtual8086, Long64(3)] {
        for level in [0, 3] {
            for (name, bytes) in [
                ("open", [0xe4, OPEN]),
                ("closed", [0xe4, CLOSED]),
                ("dword-across", [0xe5, OPEN]),
                ("write-closed", [0xe6, CLOSED]),
            ] {
                let case = case(&format!("{name}-iopl{level}"), mode).flags(flag::iopl(level));
                // What is read of the ports behind is the board's.
                let mut code = bytes.to_vec();
                if name == "dword-across" {
                    code.extend([0x31, 0xc0]);
                }
                cases.push(case.bytes(&code));
            }
        }
        let tss = if mode.is_long() {
            layout::TSS_LONG
        } else {
            layout::TSS
        };
        // The last ports that the bitmap has, and the ones behind it.
        let last = case("last", mode).patch(tss + layout::IO_MAP + 15, &[0x3f, 0xff]);
        cases.push(last.dx(0x7e).bytes(&[0xec]));
        let behind = case("behind", mode)
            .patch(tss + layout::IO_MAP + 16, &[0])
            .dx(0x88);
        cases.push(behind.bytes(&[0xec]));
        // Two bytes of the bitmap are read, so the last needs another one behind it.
        let behind = case("second-byte-behind", mode).patch(tss + layout::IO_MAP + 16, &[0]);
        cases.push(behind.dx(0x80).bytes(&[0xec]));
        let far = case("map-behind-limit", mode).patch_16(tss + 0x66, 0x79);
        cases.push(far.bytes(&[0xe4, OPEN]));
    }
    let level = case("open-iopl0", Protected32(1));
    cases.push(level.bytes(&[0xe4, OPEN]));
    let level = case("closed-iopl1", Protected32(1)).flags(flag::iopl(1));
    cases.push(level.bytes(&[0xe4, CLOSED]));
    let small = case("16-bit-tss", Protected32(3)).tr(selector::TSS_16);
    let tss = segment(layout::TSS_16, 0xff, 0x81, 0);
    // Its stack of level 0, by which the fault is reported.
    let small = small
        .descriptor(selector::TSS_16, tss)
        .patch_16(layout::TSS_16 + 2, 0xb000);
    cases.push(small.bytes(&[0xe4, OPEN]));
    cases
}

fn strings() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected32(0), Protected32(3)] {
        let place = u64::from(layout::DATA);
        let input = case("ins", mode).dx(OPEN.into()).general(7, place).cx(3);
        cases.push(input.bytes(&[0xf3, 0x6c]).show(layout::DATA, 1));
        let input = case("ins-absent", mode)
            .dx(OPEN.into())
            .general(7, layout::WINDOW.into());
        let input = input.legacy_paging().patch_32(layout::PT_LEGACY_WINDOW, 0);
        cases.push(input.bytes(&[0x6c]));
        let output = case("outs-closed", mode)
            .dx(CLOSED.into())
            .general(6, place)
            .cx(2);
        cases.push(output.bytes(&[0xf3, 0x6e]));
        let none = case("ins-none", mode)
            .dx(CLOSED.into())
            .general(7, place)
            .cx(0);
        cases.push(none.bytes(&[0xf3, 0x6c]));
    }
    cases
}

/// CLI and STI.
fn interrupt_flag() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [
        Real,
        Protected32(0),
        Protected32(1),
        Protected32(3),
        Long64(3),
        Virtual8086,
    ] {
        for level in [0, 1, 3] {
            if mode.level() == 0 && level > 0 {
                continue;
            }
            let flags = flag::iopl(level);
            cases.push(
                case(&format!("cli-iopl{level}"), mode)
                    .flags(flags | flag::IF)
                    .bytes(&[0xfa]),
            );
            cases.push(
                case(&format!("sti-iopl{level}"), mode)
                    .flags(flags)
                    .bytes(&[0xfb]),
            );
        }
    }
    cases
}

/// POPF: which bits change at which level.
fn flags() -> Vec<Case> {
    let mut cases = Vec::new();
    let every = 0x003f_feffu32 & !(flag::VM as u32);
    for mode in [
        Real,
        Protected32(0),
        Protected32(1),
        Protected32(3),
        Long64(0),
        Long64(3),
        Virtual8086,
    ] {
        for level in [0, 3] {
            for (name, value, flags) in [("all", every, 0), ("none", 0, flag::IF | flag::AC)] {
                let case = case(&format!("popf-{name}-iopl{level}"), mode);
                let case = case.flags(flags | flag::iopl(level)).ax(value.into());
                let bytes: &[u8] = match mode.bits() {
                    16 => &[0x66, 0x50, 0x66, 0x9d],
                    _ => &[0x50, 0x9d],
                };
                cases.push(case.bytes(bytes));
            }
            let case = case(&format!("popf-word-iopl{level}"), mode).flags(flag::iopl(level));
            let case = case.ax(0xfeff);
            let bytes: &[u8] = match mode.bits() {
                16 => &[0x50, 0x9d],
                _ => &[0x66, 0x50, 0x66, 0x9d],
            };
            cases.push(case.bytes(bytes));
        }
        let pushed = case("pushf", mode).flags(0x0cd5 | flag::iopl(3) | flag::AC);
        cases.push(pushed.code(|a| match mode.bits() {
            16 => {
                a.pushfd()?;
                a.pop(ebx)
            }
            32 => {
                a.pushfd()?;
                a.pop(ebx)
            }
            _ => {
                a.pushfq()?;
                a.pop(rbx)
            }
        }));
    }
    cases
}

/// The virtual interrupt flag: CR4.PVI at level 3, CR4.VME in virtual-8086 mode.
fn virtual_flags() -> Vec<Case> {
    let mut cases = Vec::new();
    let bits = [("", 0), ("-vif", flag::VIF), ("-vip", flag::VIP)];
    for (name, flags) in bits {
        let pvi = |what: &str| {
            let case = case(&format!("pvi-{what}{name}"), Protected32(3));
            case.cr4(control::CR4_PVI).flags(flags)
        };
        cases.push(pvi("cli").bytes(&[0xfa]));
        cases.push(pvi("sti").bytes(&[0xfb]));
        cases.push(pvi("popf").ax(0x202).bytes(&[0x50, 0x9d]));
        // These end by HLT: INT would stay in the task.
        let vme = |what: &str| {
            let case = case(&format!("vme-{what}{name}"), Virtual8086);
            case.cr4(control::CR4_VME).flags(flags)
        };
        cases.push(vme("cli").bytes(&[0xfa, 0xf4]));
        cases.push(vme("sti").bytes(&[0xfb, 0xf4]));
        cases.push(vme("pushf").bytes(&[0x9c, 0x5b, 0xf4]));
        cases.push(vme("popf").ax(0x0202).bytes(&[0x50, 0x9d, 0xf4]));
        cases.push(vme("popf-tf").ax(0x0102).bytes(&[0x50, 0x9d, 0xf4]));
        cases.push(vme("pushfd").bytes(&[0x66, 0x9c, 0xf4]));
        let iret = vme("iret").ax(0x0202);
        cases.push(
            iret.bytes(&[0x50, 0x68, 0x00, 0x20, 0x68, 0x20, 0x00, 0xcf])
                .bytes_at(0x20, &[0xb3, 0x99, 0xf4]),
        );
    }
    // Neither is left when a program is started without.
    cases.push(case("no-virtual-flags", Virtual8086).bytes(&[0xf4]));
    let level = case("pvi-cli-iopl3", Protected32(3)).cr4(control::CR4_PVI);
    cases.push(level.flags(flag::iopl(3) | flag::IF).bytes(&[0xfa]));
    let level = case("pvi-sti", Protected32(1)).cr4(control::CR4_PVI);
    cases.push(level.bytes(&[0xfb]));
    let level = case("pvi-sti", Protected16(3)).cr4(control::CR4_PVI);
    cases.push(level.bytes(&[0xfb]));
    cases
}
