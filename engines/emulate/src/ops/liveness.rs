//! Whose flags are looked at: an instruction's are not worked out when those behind it set all of them before
//! anything can see them.

use iced_x86::{Instruction, Mnemonic, OpKind};

/// What a quick operation has to do with the flags.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Neither looks at them nor sets them.
    None,
    /// Sets all of them, whatever they were.
    Sets,
    /// Looks at some, keeps some, or may raise an exception, whose handler sees them.
    Sees,
}

/// By instruction of a block: whether its flags are looked at afterwards. Only those in `is_quick` are known well
/// enough for those before not to matter.
pub(super) fn flags_seen(instructions: &[Instruction], is_quick: &[bool]) -> Vec<bool> {
    let mut seen = vec![true; instructions.len()];
    let mut is_seen = true;
    for number in (0..instructions.len()).rev() {
        seen[number] = is_seen;
        is_seen = match use_of(&instructions[number]) {
            _ if !is_quick[number] => true,
            Use::None => is_seen,
            Use::Sets => false,
            Use::Sees => true,
        };
    }
    seen
}

fn use_of(instruction: &Instruction) -> Use {
    let in_memory = |operand| instruction.op_kind(operand) == OpKind::Memory;
    let mnemonic = instruction.mnemonic();
    if (0..instruction.op_count()).any(in_memory) && mnemonic != Mnemonic::Lea {
        return Use::Sees;
    }
    match mnemonic {
        Mnemonic::Mov
        | Mnemonic::Movzx
        | Mnemonic::Movsx
        | Mnemonic::Movsxd
        | Mnemonic::Lea
        | Mnemonic::Not
        | Mnemonic::Nop
        | Mnemonic::Endbr64
        | Mnemonic::Endbr32
        | Mnemonic::Xchg
        | Mnemonic::Bswap
        | Mnemonic::Cwde
        | Mnemonic::Cdqe
        | Mnemonic::Cdq
        | Mnemonic::Cqo => Use::None,
        Mnemonic::Add
        | Mnemonic::Sub
        | Mnemonic::Cmp
        | Mnemonic::And
        | Mnemonic::Or
        | Mnemonic::Xor
        | Mnemonic::Test
        | Mnemonic::Neg
        | Mnemonic::Imul
        | Mnemonic::Mul => Use::Sets,
        Mnemonic::Shl | Mnemonic::Sal | Mnemonic::Shr | Mnemonic::Sar if shifts(instruction) => {
            Use::Sets
        }
        _ => Use::Sees,
    }
}

/// Whether a shift is by a constant that leaves something to be shifted: none at all sets no flags.
fn shifts(instruction: &Instruction) -> bool {
    let mask = if instruction.op0_register().size() == 8 {
        63
    } else {
        31
    };
    instruction.op1_kind() == OpKind::Immediate8 && instruction.immediate8() & mask != 0
}

#[cfg(test)]
mod tests {
    use iced_x86::code_asm::*;

    use super::flags_seen;

    fn seen(build: impl FnOnce(&mut CodeAssembler)) -> Vec<bool> {
        let mut code = CodeAssembler::new(64).unwrap();
        build(&mut code);
        let all = code.instructions();
        flags_seen(all, &vec![true; all.len()])
    }

    #[test]
    fn flags_that_are_set_anew_are_not_seen() {
        let block = seen(|code| {
            code.add(rax, rbx).unwrap();
            code.mov(rcx, rdx).unwrap();
            code.sub(rax, rcx).unwrap();
        });
        assert_eq!(block, [false, false, true]);
    }

    #[test]
    fn memory_conditions_and_counts_see_them() {
        let by_memory = seen(|code| {
            code.add(rax, rbx).unwrap();
            code.mov(rcx, qword_ptr(rdx)).unwrap();
            code.sub(rax, rcx).unwrap();
        });
        assert_eq!(by_memory, [true, false, true]);
        let by_condition = seen(|code| {
            code.add(rax, rbx).unwrap();
            code.cmovc(rcx, rdx).unwrap();
            code.dec(rax).unwrap();
            code.shl(rax, 0x40u32).unwrap();
            code.shl(rax, cl).unwrap();
            code.shl(rax, 1u32).unwrap();
            code.test(rax, rax).unwrap();
        });
        assert_eq!(by_condition, [true, true, true, true, false, false, true]);
    }
}
