//! What instructions raise before they do anything, and images that are no images.

use iced_x86::{Code, CpuidFeature, Instruction, MemoryOperand, Register};
use x86_semantics::{Cpu, Exception};
use x86_state::Control;
use x86_vector::{Features, Unit, Vectors, execute};

use crate::machine::{Bytes, OSFXSR, OSXSAVE, cpu};

const MP: u64 = 1 << 1;
const EM: u64 = 1 << 2;
const TS: u64 = 1 << 3;
/// What is raised where there is no memory.
const NOWHERE: Exception = Exception::Protection(0xfe);

fn raise(instruction: &Instruction, cpu: &mut Cpu, vectors: &mut Vectors) -> Option<Exception> {
    let mut unit = Unit::new(Features::of_host()).expect("memory for code");
    let prepared = unit.prepare(instruction).expect("it is known");
    execute(&prepared, vectors, cpu, &mut Bytes(Vec::new()), instruction).err()
}

/// What is raised with these control registers.
fn check(instruction: &Instruction, change: fn(&mut Control), expected: Option<Exception>) {
    let mut cpu = cpu();
    change(&mut cpu.control);
    let raised = raise(instruction, &mut cpu, &mut Vectors::default());
    assert_eq!(raised, expected, "{instruction} with {:x?}", cpu.control);
}

fn of_registers(code: Code, first: Register, second: Register) -> Instruction {
    Instruction::with2(code, first, second).expect("it has two operands")
}

fn of_memory(code: Code, first: Register, displacement: i64) -> Instruction {
    let memory = MemoryOperand::with_base_displ(Register::RBX, displacement);
    Instruction::with2(code, first, memory).expect("it has two operands")
}

#[test]
fn units_are_absent_or_not_at_hand() {
    use Exception::{DeviceNotAvailable, InvalidOpcode};
    let sse = of_registers(Code::Addps_xmm_xmmm128, Register::XMM1, Register::XMM2);
    check(&sse, |_| {}, None);
    check(&sse, |control| control.cr0 |= TS, Some(DeviceNotAvailable));
    check(&sse, |control| control.cr0 |= EM | TS, Some(InvalidOpcode));
    let no_fxsr = |control: &mut Control| {
        control.cr0 |= TS;
        control.cr4 &= !OSFXSR;
    };
    check(&sse, no_fxsr, Some(InvalidOpcode));
    let mmx = of_registers(Code::Paddb_mm_mmm64, Register::MM1, Register::MM2);
    check(&mmx, |control| control.cr4 &= !OSFXSR, None);
    check(&mmx, |control| control.cr0 |= TS, Some(DeviceNotAvailable));
    check(&mmx, |control| control.cr0 |= EM, Some(InvalidOpcode));
    let x87 = of_registers(Code::Fxch_st0_sti, Register::ST0, Register::ST1);
    check(&x87, |control| control.cr0 |= TS, Some(DeviceNotAvailable));
    check(&x87, |control| control.cr0 |= EM, Some(DeviceNotAvailable));
    let wait = Instruction::with(Code::Wait);
    check(&wait, |control| control.cr0 |= EM, None);
    check(&wait, |control| control.cr0 |= TS, Some(DeviceNotAvailable));
    check(&wait, |control| control.cr0 = control.cr0 & !MP | TS, None);
}

#[test]
fn avx_wants_its_state_enabled() {
    use Exception::{DeviceNotAvailable, InvalidOpcode};
    if !is_x86_feature_detected!("avx") {
        println!("SKIPPED: the host has no AVX");
        return;
    }
    let code = Code::VEX_Vmovaps_ymm_ymmm256;
    let avx = of_registers(code, Register::YMM1, Register::YMM2);
    check(&avx, |_| {}, None);
    check(&avx, |control| control.cr0 |= EM, None);
    check(&avx, |control| control.cr0 |= TS, Some(DeviceNotAvailable));
    check(&avx, |control| control.xcr0 = 3, Some(InvalidOpcode));
    check(&avx, |control| control.cr4 &= !OSXSAVE, Some(InvalidOpcode));
    check(&avx, |control| control.cr0 = TS, Some(InvalidOpcode));
}

#[test]
fn the_segment_comes_before_alignment_and_that_before_the_page() {
    let code = Code::Addps_xmm_xmmm128;
    let aligned = of_memory(code, Register::XMM1, 0x1000);
    check(&aligned, |_| {}, Some(NOWHERE));
    let unaligned = of_memory(code, Register::XMM1, 0x1008);
    check(&unaligned, |_| {}, Some(Exception::Protection(0)));
    let mut cpu = cpu();
    cpu.general[5] = 1 << 47;
    let mut stack = of_memory(code, Register::XMM1, 8);
    stack.set_memory_base(Register::RBP);
    let raised = raise(&stack, &mut cpu, &mut Vectors::default());
    assert_eq!(raised, Some(Exception::Stack(0)));
}

#[test]
fn programs_may_have_alignment_checked() {
    const AM: u64 = 1 << 18;
    const AC: u64 = 1 << 18;
    let load = |code, displacement| of_memory(code, Register::XMM1, displacement);
    let x87 = |code, displacement| {
        let memory = MemoryOperand::with_base_displ(Register::RBX, displacement);
        Instruction::with1(code, memory).expect("it has an operand")
    };
    // Before the page, of which there is none.
    let [first, then] = [Exception::Alignment, NOWHERE];
    for (instruction, expected) in [
        (load(Code::Movsd_xmm_xmmm64, 0x1004), first),
        (load(Code::Movsd_xmm_xmmm64, 0x1008), then),
        (load(Code::Movss_xmm_xmmm32, 0x1002), first),
        (load(Code::Pmovzxbq_xmm_xmmm16, 0x1001), first),
        (load(Code::Movups_xmm_xmmm128, 0x1001), then),
        (
            load(Code::Addps_xmm_xmmm128, 0x1001),
            Exception::Protection(0),
        ),
        (x87(Code::Fld_m64fp, 0x1004), first),
        (x87(Code::Fld_m80fp, 0x1004), first),
        (x87(Code::Fld_m80fp, 0x1008), then),
        (x87(Code::Fnstcw_m2byte, 0x1001), first),
        (x87(Code::Fnstenv_m28byte, 0x1002), first),
        (x87(Code::Fnstenv_m28byte, 0x1004), then),
        (x87(Code::Frstor_m108byte, 0x1002), first),
    ] {
        for (cr0, flags, expected) in [
            (AM, AC, expected),
            (AM, 0, if expected == first { then } else { expected }),
            (0, AC, if expected == first { then } else { expected }),
        ] {
            let mut cpu = cpu();
            cpu.control.cr0 |= cr0;
            cpu.system_flags |= flags;
            let raised = raise(&instruction, &mut cpu, &mut Vectors::default());
            assert_eq!(raised, Some(expected), "{instruction}");
        }
    }
}

#[test]
fn an_extension_that_is_not_shown_is_not_there() {
    let features = Features::of_host().without(CpuidFeature::SSE2);
    let mut unit = Unit::new(features).expect("memory for code");
    let sse2 = of_registers(Code::Addpd_xmm_xmmm128, Register::XMM1, Register::XMM2);
    assert!(unit.prepare(&sse2).is_none());
    let sse = of_registers(Code::Addps_xmm_xmmm128, Register::XMM1, Register::XMM2);
    assert!(unit.prepare(&sse).is_some());
    let general = of_registers(Code::Add_r32_rm32, Register::EAX, Register::ECX);
    assert!(unit.prepare(&general).is_none());
}

#[test]
fn any_bytes_are_taken_for_an_image() {
    let mut seed = 1_u64;
    let mut random = || {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (seed >> 33) as u8
    };
    for length in (0..1000).chain([4096]) {
        let bytes: Vec<u8> = (0..length).map(|_| random()).collect();
        let vectors = Vectors::from_xsave(&bytes);
        let image = vectors.to_xsave();
        assert_eq!(image.len(), 832);
        // What comes back is a state that a processor can have, and stays as it is.
        assert_eq!(Vectors::from_xsave(&image), vectors);
    }
    assert_eq!(Vectors::from_xsave(&[]), Vectors::default());
}

#[test]
fn an_exception_that_waits_is_delivered_by_the_next_instruction() {
    let mut image = Vectors::default().to_xsave();
    // Division by zero is not masked, and was raised.
    image[0] &= !4;
    image[2] |= 4;
    image[512] = 7;
    let mut vectors = Vectors::from_xsave(&image);
    let waiting = of_registers(Code::Fxch_st0_sti, Register::ST0, Register::ST1);
    let raised = raise(&waiting, &mut cpu(), &mut vectors);
    assert_eq!(raised, Some(Exception::Numeric));
    let clear = Instruction::with(Code::Fnclex);
    assert_eq!(raise(&clear, &mut cpu(), &mut vectors), None);
    assert_eq!(raise(&waiting, &mut cpu(), &mut vectors), None);
}

#[test]
fn numbers_raise_what_is_not_masked() {
    let mut image = Vectors::default().to_xsave();
    // Division by zero is not masked; 1 is to be divided by 0.
    image[24..28].copy_from_slice(&0x1d80_u32.to_le_bytes());
    image[160 + 16..][..8].copy_from_slice(&1.0_f64.to_le_bytes());
    image[512] = 7;
    let divide = of_registers(Code::Divsd_xmm_xmmm64, Register::XMM1, Register::XMM2);
    let mut vectors = Vectors::from_xsave(&image);
    let raised = raise(&divide, &mut cpu(), &mut vectors);
    assert_eq!(raised, Some(Exception::Simd));
    // The flag is all that changed.
    image[24] |= 4;
    assert_eq!(vectors, Vectors::from_xsave(&image));
    let mut without = cpu();
    without.control.cr4 &= !(1 << 10);
    let raised = raise(&divide, &mut without, &mut vectors);
    assert_eq!(raised, Some(Exception::InvalidOpcode));
}
