//! Control registers: what may be written, and by whom.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

use crate::case::Mode::{Compatible32, Long64, Protected32, Real, Virtual8086};
use crate::case::{Case, Mode, control};
use crate::layout;

const PE: u32 = control::CR0_PE;
const PG: u32 = control::CR0_PG;
const NW: u32 = 1 << 29;
const CD: u32 = 1 << 30;

fn case(name: &str, mode: Mode) -> Case {
    Case::new(format!("control/{}/{name}", mode.word()), mode)
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = cases_of_cr0();
    cases.extend(cases_of_cr3());
    cases.extend(cases_of_cr4());
    cases.extend(cases_of_cr8());
    cases.extend(machine_status());
    cases.extend(rights());
    cases.extend(long_mode());
    cases.extend(encodings());
    cases
}

/// Writes `value` to CR0 and shows it.
fn write_cr0(case: Case, value: u32) -> Case {
    let case = case.ax(value.into());
    if case.mode.bits() == 64 {
        case.code(|a| {
            a.mov(cr0, rax)?;
            a.mov(rcx, cr0)
        })
    } else {
        case.code(|a| {
            a.mov(cr0, eax)?;
            a.mov(ecx, cr0)
        })
    }
}

fn cases_of_cr0() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, value) in [
        ("cr0-same", 0x31),
        ("cr0-pg-without-pe", PG | 0x30),
        ("cr0-nw-without-cd", PE | NW | 0x30),
        ("cr0-nw-and-cd", PE | NW | CD | 0x30),
        ("cr0-cd", PE | CD | 0x30),
        ("cr0-reserved-bits", PE | 0x1ffa_ffc0 | 0x30),
        ("cr0-et-cleared", PE | 0x20),
        ("cr0-ne-cleared", PE | 0x10),
        ("cr0-ts-em-mp", PE | 0x3e),
        ("cr0-wp-am", PE | 0x0005_0030),
    ] {
        cases.push(write_cr0(case(name, Protected32(0)), value));
    }
    cases.push(write_cr0(case("cr0-pg-without-pe", Real), PG | 0x10));
    cases.push(write_cr0(case("cr0-paging-off", Long64(0)), 0x31));
    cases.push(write_cr0(case("cr0-pe-off", Long64(0)), PG | 0x30));
    cases.push(write_cr0(case("cr0-nw", Long64(0)), PG | NW | 0x31));
    let high = case("cr0-high-bits", Long64(0)).ax(0x1_8000_0031);
    cases.push(high.code(|a| a.mov(cr0, rax)));
    // PG and PE are switched off together while PAE stays.
    let off = write_cr0(case("cr0-paging-off", Protected32(0)).legacy_paging(), 0x31);
    cases.push(off);
    cases
}

fn cases_of_cr3() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, value) in [
        ("cr3-bit-63", 1u64 << 63 | 0x6_0000),
        ("cr3-bit-51", 1 << 51 | 0x6_0000),
        ("cr3-attributes", 0x6_0018),
    ] {
        let case = case(name, Long64(0)).ax(value);
        cases.push(case.code(|a| {
            a.mov(cr3, rax)?;
            a.mov(rcx, cr3)
        }));
    }
    cases
}

fn cases_of_cr4() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, value) in [
        ("cr4-known", 0x3ff),
        ("cr4-bit-15", 1 << 15),
        ("cr4-bit-19", 1 << 19),
        ("cr4-bit-31", 1 << 31),
        ("cr4-smep-smap", 0x30_0000),
        ("cr4-osxsave", 1 << 18),
    ] {
        let case = case(name, Protected32(0)).ax(value);
        cases.push(case.code(|a| {
            a.mov(cr4, eax)?;
            a.mov(ecx, cr4)
        }));
    }
    for (name, value) in [("cr4-pae-cleared", 0), ("cr4-high-bits", 1 << 32 | 0x20)] {
        let case = case(name, Long64(0)).ax(value);
        cases.push(case.code(|a| a.mov(cr4, rax)));
    }
    let pae = case("cr4-pae-set", Protected32(0)).legacy_paging();
    // The directory of 32-bit paging, read as pointers, has reserved bits.
    cases.push(pae.ax(0x20).code(|a| a.mov(cr4, eax)));
    cases
}

fn cases_of_cr8() -> Vec<Case> {
    let mut cases = Vec::new();
    for value in [0u64, 0xf, 0x10, 1 << 32] {
        let case = case(&format!("cr8-{value:x}"), Long64(0)).ax(value);
        cases.push(case.code(|a| {
            a.mov(cr8, rax)?;
            a.mov(rcx, cr8)?;
            a.xor(eax, eax)?;
            a.mov(cr8, rax)
        }));
    }
    // LOCK makes CR0 CR8 on AMD's processors.
    let locked = case("cr8-by-lock", Protected32(0)).ax(5);
    cases.push(locked.bytes(&[
        0xf0, 0x0f, 0x22, 0xc0, 0xf0, 0x0f, 0x20, 0xc1, 0x31, 0xc0, 0xf0, 0x0f, 0x22, 0xc0,
    ]));
    cases.push(case("cr8-read", Long64(3)).code(|a| a.mov(rax, cr8)));
    cases
}

/// LMSW, SMSW and CLTS.
fn machine_status() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Real, Protected32(0), Long64(0)] {
        let sets = case("lmsw-sets", mode).ax(0xffff_000e | u64::from(mode != Real));
        cases.push(sets.code(|a| a.lmsw(ax)));
        if mode != Real {
            // It cannot leave protected mode.
            let clears = case("lmsw-clears", mode).cr0(0xe).ax(0);
            cases.push(clears.code(|a| a.lmsw(ax)));
        }
        let shown = case("smsw", mode)
            .cr0(control::CR0_WP | control::CR0_TS)
            .ax(u64::MAX);
        cases.push(shown.code(|a| a.smsw(eax)));
        let shown = case("smsw-word", mode)
            .cr0(control::CR0_WP | control::CR0_TS)
            .ax(u64::MAX);
        cases.push(shown.code(|a| a.smsw(ax)));
        cases.push(case("clts", mode).cr0(control::CR0_TS).bytes(&[0x0f, 0x06]));
    }
    let shown = case("smsw-rex", Long64(0))
        .ax(u64::MAX)
        .bytes(&[0x48, 0x0f, 0x01, 0xe0]);
    cases.push(shown);
    cases
}

/// None of these at an outer level, or in virtual-8086 mode.
fn rights() -> Vec<Case> {
    let instructions: [(&str, &[u8]); 24] = [
        ("mov-to-cr0", &[0x0f, 0x22, 0xc0]),
        ("mov-from-cr0", &[0x0f, 0x20, 0xc0]),
        ("mov-from-cr2", &[0x0f, 0x20, 0xd0]),
        ("mov-to-cr3", &[0x0f, 0x22, 0xd8]),
        ("mov-from-cr4", &[0x0f, 0x20, 0xe0]),
        ("mov-to-dr7", &[0x0f, 0x23, 0xf8]),
        ("mov-from-dr0", &[0x0f, 0x21, 0xc0]),
        ("lmsw", &[0x0f, 0x01, 0xf0]),
        ("smsw", &[0x0f, 0x01, 0xe0]),
        ("clts", &[0x0f, 0x06]),
        ("hlt", &[0xf4]),
        ("invd", &[0x0f, 0x08]),
        ("wbinvd", &[0x0f, 0x09]),
        ("invlpg", &[0x0f, 0x01, 0x38]),
        ("lgdt", &[0x0f, 0x01, 0x10]),
        ("lidt", &[0x0f, 0x01, 0x18]),
        ("lldt", &[0x0f, 0x00, 0xd0]),
        ("ltr", &[0x0f, 0x00, 0xd8]),
        ("rdmsr", &[0x0f, 0x32]),
        ("wrmsr", &[0x0f, 0x30]),
        ("rdpmc", &[0x0f, 0x33]),
        ("xsetbv", &[0x0f, 0x01, 0xd1]),
        ("swapgs", &[0x0f, 0x01, 0xf8]),
        ("sysexit", &[0x0f, 0x35]),
    ];
    let mut cases = Vec::new();
    for mode in [
        Protected32(1),
        Protected32(3),
        Long64(3),
        Compatible32(3),
        Virtual8086,
    ] {
        for (name, bytes) in instructions {
            // AMD's processors have no SYSEXIT in long mode, Intel's have.
            if name == "sysexit" && mode.is_long() {
                continue;
            }
            // Some look at registers first: all are zero but a place in memory.
            let place = if mode == Virtual8086 {
                0
            } else {
                layout::DATA.into()
            };
            let case = case(name, mode).ax(place).cx(0).dx(0);
            cases.push(case.cr4(control::CR4_OSXSAVE).bytes(bytes));
        }
    }
    cases
}

/// The extended feature enable register, and the way into and out of long mode.
fn long_mode() -> Vec<Case> {
    let mut cases = Vec::new();
    let write = |a: &mut CodeAssembler| -> Result<(), IcedError> {
        a.mov(ecx, 0xc000_0080u32)?;
        a.xor(edx, edx)?;
        a.wrmsr()?;
        a.rdmsr()
    };
    for (name, value) in [
        ("efer-lme", 0x100),
        ("efer-nxe-sce", 0x801),
        ("efer-bit-9", 0x200),
        ("efer-bit-16", 0x1_0000),
        ("efer-bit-31", 0x8000_0000),
    ] {
        cases.push(case(name, Protected32(0)).ax(value).code(write));
    }
    for (name, value) in [
        ("efer-lme-cleared", 0xc00),
        ("efer-nxe-cleared", 0x500),
        ("efer-sce", 0xd01),
    ] {
        cases.push(case(name, Long64(0)).ax(value).code(write));
    }
    cases.push(
        case("efer-lme-with-paging", Protected32(0))
            .pae_paging()
            .ax(0x900)
            .code(write),
    );
    let activate = |name: &str, bits: u32| {
        let case = case(name, Protected32(0)).efer(control::EFER_LME).cr4(bits);
        let case = with_gates(case.cr3(layout::PML4), layout::IDT_LONG, 0xfff);
        case.ax((PG | 0x31).into()).code(|a| {
            a.mov(cr0, eax)?;
            a.lidt(fword_ptr(layout::DATA))?;
            a.mov(ecx, cr0)
        })
    };
    cases.push(activate("pg-with-lme", control::CR4_PAE));
    cases.push(activate("pg-with-lme-without-pae", 0));
    let by_64_bits = case("pg-with-lme-and-l", Protected32(0)).efer(control::EFER_LME);
    let by_64_bits = by_64_bits
        .cr4(control::CR4_PAE)
        .cr3(layout::PML4)
        .ax((PG | 0x31).into());
    // A code segment of 64-bit mode, which is one of 16 bits outside of long mode.
    let by_64_bits = by_64_bits
        .segment(1, crate::layout::selector::CODE_64[0])
        .ip(0);
    let code = crate::descriptor::segment(layout::CODE, 0xffff, 0x9b, 0x20);
    let by_64_bits = by_64_bits.descriptor(crate::layout::selector::CODE_64[0], code);
    cases.push(by_64_bits.bytes(&[0x0f, 0x22, 0xc0]));
    let leaves = with_gates(
        case("paging-off", Compatible32(0)).ax(0x31),
        layout::IDT,
        0x7ff,
    );
    cases.push(leaves.code(|a| {
        a.mov(cr0, eax)?;
        a.lidt(fword_ptr(layout::DATA))?;
        a.mov(ecx, cr0)
    }));
    cases
}

/// A pointer to an IDT in the case's data.
fn with_gates(case: Case, table: u32, limit: u16) -> Case {
    case.patch_16(layout::DATA, limit)
        .patch_32(layout::DATA + 2, table)
}

fn encodings() -> Vec<Case> {
    let mut cases = Vec::new();
    for number in [1u8, 5, 6, 7] {
        let read = case(&format!("mov-from-cr{number}"), Protected32(0));
        cases.push(read.bytes(&[0x0f, 0x20, 0xc0 | number << 3]));
        let write = case(&format!("mov-to-cr{number}"), Protected32(0));
        cases.push(write.bytes(&[0x0f, 0x22, 0xc0 | number << 3]));
    }
    // MOD is ignored, and so is the operand size.
    cases.push(case("mod-ignored", Protected32(0)).bytes(&[0x0f, 0x20, 0x00]));
    cases.push(case("operand-size", Protected32(0)).bytes(&[0x66, 0x0f, 0x20, 0xc0]));
    cases.push(case("from-cr1", Protected32(3)).bytes(&[0x0f, 0x20, 0xc8]));
    cases.push(case("from-cr9", Long64(0)).bytes(&[0x44, 0x0f, 0x20, 0xc8]));
    cases
}
