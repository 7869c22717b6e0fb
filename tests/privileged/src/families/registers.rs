//! Model-specific registers, time stamps and extended control registers.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

use crate::case::Mode::{Compatible32, Long64, Protected32, Real};
use crate::case::{Case, Mode, control};
use crate::layout::{self, selector};

fn case(name: &str, mode: Mode) -> Case {
    Case::new(format!("register/{}/{name}", mode.word()), mode)
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = written();
    cases.extend(unknown());
    cases.extend(bases());
    cases.extend(counters());
    cases.extend(extended());
    cases.extend(waiting());
    cases
}

/// Writes EDX:EAX to the register, and reads it back.
fn write_and_read(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.wrmsr()?;
    a.xor(eax, eax)?;
    a.xor(edx, edx)?;
    a.rdmsr()
}

fn writing(name: &str, mode: Mode, number: u32, value: u64) -> Case {
    let case = case(name, mode)
        .cx(number.into())
        .ax(value & 0xffff_ffff)
        .dx(value >> 32);
    case.code(write_and_read)
}

fn written() -> Vec<Case> {
    let mut cases = Vec::new();
    let hole = 0x8000_0000_0000;
    let high = 0xffff_8000_0000_1000;
    for (name, number) in [
        ("lstar", 0xc000_0082),
        ("cstar", 0xc000_0083),
        ("fs-base", 0xc000_0100),
        ("gs-base", 0xc000_0101),
        ("kernel-gs-base", 0xc000_0102),
    ] {
        cases.push(writing(&format!("{name}-high"), Long64(0), number, high));
        cases.push(writing(
            &format!("{name}-noncanonical"),
            Long64(0),
            number,
            hole,
        ));
    }
    for (name, number, value) in [
        ("star", 0xc000_0081, 0x1234_5678_9abc_def0),
        ("sfmask", 0xc000_0084, 0x1234_5678),
        ("tsc-aux", 0xc000_0103, 0x8765_4321),
        ("pat", 0x277, 0x0605_0400_0106_0504),
        ("pat-type-2", 0x277, 0x0605_0400_0206_0504),
        ("pat-type-3", 0x277, 0x0305_0400_0106_0504),
        ("pat-reserved", 0x277, 0x0805_0400_0106_0504),
    ] {
        cases.push(writing(name, Long64(0), number, value));
    }
    for (name, number, value) in [
        ("sysenter-cs", 0x174, 0x80),
        ("sysenter-esp", 0x175, 0x1234_5678),
        ("sysenter-eip", 0x176, 0x8765_4321),
    ] {
        cases.push(writing(name, Protected32(0), number, value));
    }
    cases
}

/// Numbers that no processor has, and the instructions outside of level 0.
fn unknown() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Real, Protected32(0), Long64(0)] {
        let read = case("unknown-read", mode).cx(0x4bad_beef);
        cases.push(read.code(|a| a.rdmsr()));
        let write = case("unknown-write", mode).cx(0x4bad_beef);
        cases.push(write.code(|a| a.wrmsr()));
    }
    // The number is of 32 bits, and reading clears upper halves.
    let wide = case("wide-number", Long64(0))
        .cx(0xffff_ffff_c000_0081)
        .ax(u64::MAX)
        .dx(u64::MAX);
    cases.push(wide.code(|a| a.rdmsr()));
    cases
}

/// The bases of FS and GS.
fn bases() -> Vec<Case> {
    let mut cases = Vec::new();
    let high = 0x1234_5678_9000;
    let bases = |case: Case| {
        let case = case
            .register(0xc000_0100, high)
            .register(0xc000_0101, high + 0x1000);
        let case = case.register(0xc000_0102, high + 0x2000);
        [0xc000_0100, 0xc000_0101, 0xc000_0102]
            .into_iter()
            .fold(case, Case::show_register)
    };
    for (name, bytes) in [
        ("swapgs", &[0x0f, 0x01, 0xf8][..]),
        ("rdgsbase", &[0xf3, 0x48, 0x0f, 0xae, 0xc8]),
        ("wrgsbase", &[0xf3, 0x48, 0x0f, 0xae, 0xdb]),
        ("rdfsbase-32", &[0xf3, 0x0f, 0xae, 0xc0]),
        ("wrfsbase-32", &[0xf3, 0x0f, 0xae, 0xd3]),
    ] {
        for level in [0, 3] {
            let case = case(name, Long64(level)).ax(0).bx(0xffff_8000_8765_4321);
            let case = bases(case).cr4(control::CR4_FSGSBASE);
            cases.push(case.bytes(bytes));
        }
    }
    let data = case("load-data", Long64(0)).ax(selector::DATA_32[3].into());
    cases.push(bases(data).bytes(&[0x8e, 0xe8]));
    for (name, mode, bits) in [
        ("rdfsbase-disabled", Long64(0), 0),
        (
            "rdfsbase-compatible",
            Compatible32(0),
            control::CR4_FSGSBASE,
        ),
        ("rdfsbase", Protected32(0), control::CR4_FSGSBASE),
    ] {
        cases.push(case(name, mode).cr4(bits).bytes(&[0xf3, 0x0f, 0xae, 0xc0]));
    }
    let hole = case("wrfsbase-noncanonical", Long64(3)).cr4(control::CR4_FSGSBASE);
    cases.push(
        hole.bx(0x8000_0000_0000)
            .bytes(&[0xf3, 0x48, 0x0f, 0xae, 0xd3]),
    );
    for mode in [Protected32(0), Compatible32(0)] {
        cases.push(case("swapgs", mode).bytes(&[0x0f, 0x01, 0xf8]));
    }
    // Accesses through a base that was written.
    let through = case("through-gs", Long64(3)).register(0xc000_0101, layout::DATA.into());
    cases.push(through.bx(8).bytes(&[0x65, 0x8b, 0x03]));
    let through =
        case("through-fs-noncanonical", Long64(3)).register(0xc000_0100, 0x7fff_ffff_fff8);
    cases.push(through.bx(8).bytes(&[0x64, 0x8b, 0x03]));
    // An address size of 32 bits truncates the offset, not the base.
    let through =
        case("through-gs-address-32", Long64(3)).register(0xc000_0101, layout::DATA.into());
    cases.push(
        through
            .bx(0xffff_ffff_0000_0010)
            .bytes(&[0x67, 0x65, 0x8b, 0x03]),
    );
    cases
}

/// RDTSC, RDTSCP and RDPMC: whether they may be executed, not what they say.
fn counters() -> Vec<Case> {
    let mut cases = Vec::new();
    for level in [0, 3] {
        for (name, bits) in [("", 0), ("-disabled", control::CR4_TSD)] {
            let case = |what: &str| case(&format!("{what}{name}"), Protected32(level)).cr4(bits);
            let plain = |a: &mut CodeAssembler| -> Result<(), IcedError> {
                a.rdtsc()?;
                a.xor(eax, eax)?;
                a.xor(edx, edx)
            };
            cases.push(case("rdtsc").code(plain));
            let with_number = case("rdtscp").register(0xc000_0103, 0x55);
            cases.push(with_number.code(|a| {
                a.rdtscp()?;
                a.xor(eax, eax)?;
                a.xor(edx, edx)
            }));
        }
    }
    cases.push(case("rdtsc", Real).code(|a| {
        a.rdtsc()?;
        a.xor(eax, eax)?;
        a.xor(edx, edx)
    }));
    let allowed = case("rdpmc-allowed", Protected32(3))
        .cr4(control::CR4_PCE)
        .cx(0x4000);
    cases.push(allowed.code(|a| a.rdpmc()));
    cases
}

/// XGETBV and XSETBV.
fn extended() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, number, value) in [
        ("xsetbv-x87", 0, 1),
        ("xsetbv-sse", 0, 3),
        ("xsetbv-avx", 0, 7),
        ("xsetbv-nothing", 0, 0),
        ("xsetbv-without-x87", 0, 2),
        ("xsetbv-avx-without-sse", 0, 5),
        ("xsetbv-reserved", 0, 0x4000_0000_0000_0001),
        ("xsetbv-number", 1, 1),
    ] {
        let case = case(name, Long64(0)).cr4(control::CR4_OSXSAVE).cx(number);
        let case = case.ax(value & 0xffff_ffff).dx(value >> 32);
        cases.push(case.code(|a| {
            a.xsetbv()?;
            a.xor(eax, eax)?;
            a.xgetbv()?;
            a.mov(ebx, eax)?;
            // As it was.
            a.mov(eax, 1)?;
            a.xsetbv()
        }));
    }
    for (name, bytes) in [
        ("xsetbv-disabled", [0x0f, 0x01, 0xd1]),
        ("xgetbv-disabled", [0x0f, 0x01, 0xd0]),
    ] {
        cases.push(case(name, Long64(0)).cx(0).ax(1).dx(0).bytes(&bytes));
    }
    let read = case("xgetbv", Long64(3)).cr4(control::CR4_OSXSAVE).cx(0);
    cases.push(read.bytes(&[0x0f, 0x01, 0xd0]));
    let read = case("xgetbv-number", Long64(3))
        .cr4(control::CR4_OSXSAVE)
        .cx(5);
    cases.push(read.bytes(&[0x0f, 0x01, 0xd0]));
    cases
}

/// MONITOR and MWAIT are for level 0.
fn waiting() -> Vec<Case> {
    let mut cases = Vec::new();
    let monitor = case("monitor", Long64(0))
        .ax(layout::DATA.into())
        .cx(0)
        .dx(0);
    cases.push(monitor.bytes(&[0x0f, 0x01, 0xc8]));
    let monitor = case("monitor-ecx", Long64(0))
        .ax(layout::DATA.into())
        .cx(1)
        .dx(0);
    cases.push(monitor.bytes(&[0x0f, 0x01, 0xc8]));
    for (name, bytes) in [
        ("monitor", [0x0f, 0x01, 0xc8]),
        ("mwait", [0x0f, 0x01, 0xc9]),
    ] {
        let case = case(name, Long64(3)).ax(layout::DATA.into()).cx(0).dx(0);
        cases.push(case.bytes(&bytes));
    }
    cases
}
