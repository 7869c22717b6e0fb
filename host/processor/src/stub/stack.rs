//! How instructions work on the stack of x87.

use iced_x86::{Instruction, Mnemonic, OpKind, Register, RflagsBits};

/// Conditions in the status word, and as iced has them.
const CONDITIONS: [(u16, u32); 4] = [
    (1 << 8, RflagsBits::C0),
    (1 << 9, RflagsBits::C1),
    (1 << 10, RflagsBits::C2),
    (1 << 14, RflagsBits::C3),
];

/// What an instruction does to the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stack {
    /// Registers that it reads: none, the top, or the top and another. They must not be empty.
    pub inputs: u8,
    /// Of these, those that are popped then.
    pub pops: u8,
    /// Whether a register is pushed.
    pub pushes: bool,
    /// Conditions (C0 to C3) in the status word that it sets or clears.
    pub conditions: u16,
}

/// The slots of a run: the top, the other register, and the register that is pushed.
const PUSHED: usize = 2;

impl Stack {
    /// For those that are run with only the registers that they name: which always do the same to the stack,
    /// and read all that they name.
    pub(super) fn of(instruction: &Instruction) -> Option<Self> {
        let (inputs, pops, pushes) = shape(instruction)?;
        let mut set = instruction.rflags_modified() & !instruction.rflags_undefined();
        // Of comparisons whose result are the flags, AMD's leave C1 as it is, and Intel's clear it.
        if set & RflagsBits::ZF != 0 {
            set = 0;
        }
        let conditions = CONDITIONS.iter().filter(|(_, flag)| set & flag != 0);
        Some(Self {
            inputs,
            pops,
            pushes,
            conditions: conditions.map(|(bit, _)| bit).sum(),
        })
    }

    /// The slots of what is on the stack in the end, from its top on.
    pub(super) fn results(self) -> impl Iterator<Item = usize> {
        let pushed = self.pushes.then_some(PUSHED);
        let kept = self.pops..self.inputs;
        pushed.into_iter().chain(kept.map(usize::from))
    }
}

/// Registers that are read, that are popped, and whether one is pushed.
fn shape(instruction: &Instruction) -> Option<(u8, u8, bool)> {
    use Mnemonic as M;
    let has_memory = instruction.op0_kind() == OpKind::Memory;
    // Of the top with itself, there is one.
    let is_two = !has_memory && other(instruction) != Register::ST0;
    let arithmetic = if is_two { 2 } else { 1 };
    Some(match instruction.mnemonic() {
        M::Fld | M::Fild | M::Fbld if has_memory => (0, 0, true),
        M::Fld1 | M::Fldl2t | M::Fldl2e | M::Fldpi | M::Fldlg2 | M::Fldln2 | M::Fldz => {
            (0, 0, true)
        }
        M::Fst | M::Fist if has_memory => (1, 0, false),
        M::Fstp | M::Fistp | M::Fisttp | M::Fbstp if has_memory => (1, 1, false),
        M::Fiadd | M::Fimul | M::Ficom | M::Fisub | M::Fisubr | M::Fidiv | M::Fidivr => {
            (1, 0, false)
        }
        M::Ficomp => (1, 1, false),
        M::Fchs
        | M::Fabs
        | M::Ftst
        | M::Fxam
        | M::F2xm1
        | M::Fsqrt
        | M::Frndint
        | M::Fsin
        | M::Fcos => (1, 0, false),
        M::Fxtract => (1, 0, true),
        M::Fscale => (2, 0, false),
        M::Fyl2x | M::Fyl2xp1 | M::Fpatan => (2, 1, false),
        M::Fcompp | M::Fucompp => (2, 2, false),
        M::Fadd
        | M::Fmul
        | M::Fsub
        | M::Fsubr
        | M::Fdiv
        | M::Fdivr
        | M::Fcom
        | M::Fucom
        | M::Fcomi
        | M::Fucomi
        | M::Fxch => (arithmetic, 0, false),
        M::Fcomp | M::Fucomp | M::Fcomip | M::Fucomip => (arithmetic, 1, false),
        // With itself, the result would be popped.
        M::Faddp | M::Fmulp | M::Fsubp | M::Fsubrp | M::Fdivp | M::Fdivrp if is_two => {
            (2, 1, false)
        }
        _ => return None,
    })
}

/// The register beside the top that an instruction names; the top if it names no other.
pub(super) fn other(instruction: &Instruction) -> Register {
    let named = [instruction.op0_register(), instruction.op1_register()];
    let is_other = |register: &Register| register.is_st() && *register != Register::ST0;
    named.into_iter().find(is_other).unwrap_or(Register::ST0)
}
