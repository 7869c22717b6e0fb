//! Which instructions have stubs, and what running one leaves behind.

use std::hint::black_box;

use host_processor::stub::{Operands, Slot, Stub, Stubs};
use iced_x86::{Code, Instruction, MemoryOperand, Register};

fn two(code: Code, first: Register, second: Register) -> Instruction {
    Instruction::with2(code, first, second).expect("it has two operands")
}

fn memory(code: Code) -> Instruction {
    let operand = MemoryOperand::with_base(Register::RAX);
    Instruction::with1(code, operand).expect("it has an operand")
}

fn stub(instruction: &Instruction) -> Stub {
    let stubs = Stubs::new().expect("the host gives memory for code");
    stubs.vector(instruction).expect("there is a stub")
}

fn set(operands: &mut Operands, register: usize, number: f64) {
    operands.vector[register][..8].copy_from_slice(&number.to_le_bytes());
}

fn get(operands: &Operands, register: usize) -> f64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&operands.vector[register][..8]);
    f64::from_le_bytes(bytes)
}

/// The first operand's register, and the second's.
fn slots(first: u8, second: u8) -> [Slot; 4] {
    let rest = Slot::default();
    [Slot::vector(first), Slot::vector(second), rest, rest]
}

#[test]
fn one_stub_serves_all_registers() {
    let add = two(Code::Addsd_xmm_xmmm64, Register::XMM9, Register::XMM9);
    let mut operands = Operands::default();
    for (first, second) in [(0, 1), (15, 3), (4, 4)] {
        set(&mut operands, first, 1.5);
        set(&mut operands, second, 2.0);
        let sum = get(&operands, first) + 2.0;
        stub(&add).run(&mut operands, slots(first as u8, second as u8));
        assert_eq!(get(&operands, first), sum);
    }
}

#[test]
fn memory_is_a_buffer() {
    let load = Instruction::with2(
        Code::Addsd_xmm_xmmm64,
        Register::XMM1,
        MemoryOperand::with_base_displ(Register::RAX, 0x1234),
    );
    let mut operands = Operands::default();
    operands.memory[..8].copy_from_slice(&0.25_f64.to_le_bytes());
    stub(&load.expect("two operands")).run(&mut operands, slots(7, 0));
    assert_eq!(get(&operands, 7), 0.25);
}

#[test]
fn rounding_is_the_instructions_own() {
    let divide = stub(&two(Code::Divsd_xmm_xmmm64, Register::XMM0, Register::XMM1));
    let third = |mxcsr| {
        let mut operands = Operands::default();
        operands.mxcsr = mxcsr;
        set(&mut operands, 0, 1.0);
        set(&mut operands, 1, 3.0);
        divide.run_with_mxcsr(&mut operands, slots(0, 1));
        assert_eq!(operands.raised, 1 << 5, "it is not exact");
        get(&operands, 0)
    };
    // Upwards, then to nearest; masks and reserved bits are no matter of whoever asks.
    let up = third(0xffff_4000);
    assert!(up > third(0x1f80));
    assert_eq!(black_box(1.0) / black_box(3.0), third(0x1f80));
}

#[test]
fn what_does_more_has_no_stub() {
    let stubs = Stubs::new().expect("the host gives memory for code");
    let none = [
        memory(Code::Ldmxcsr_m32),
        memory(Code::Fxrstor_m512byte),
        memory(Code::Clflush_m8),
        memory(Code::Prefetchnta_m8),
        memory(Code::Fldcw_m2byte),
        Instruction::with(Code::Syscall),
        Instruction::with(Code::Emms),
        Instruction::with(Code::VEX_Vzeroupper),
        Instruction::with(Code::Fninit),
        Instruction::with(Code::INVALID),
        Instruction::default(),
        two(Code::Cmove_r32_rm32, Register::EAX, Register::ECX),
        two(Code::Mov_cr_r64, Register::CR0, Register::RAX),
        // Not an instruction at all.
        two(Code::Minpd_xmm_xmmm128, Register::EAX, Register::CR0),
    ];
    for instruction in none {
        assert!(stubs.vector(&instruction).is_none(), "{instruction:?}");
        assert!(stubs.x87(&instruction).is_none(), "{instruction:?}");
        assert!(stubs.stack(&instruction).is_none(), "{instruction:?}");
    }
}
