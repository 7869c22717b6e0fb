//! What instructions of x87 do on its stack alone, each as a type of its own: so that whoever executes them has a
//! function for each, and nothing to look up.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use crate::numeric::Beside;
use crate::registers::Vectors;
use crate::stack::{change_sign, copy, exchange, push, push_copy};
use crate::usual_x87::{
    ADD, DIVIDE, DIVIDE_INTO, MULTIPLY, REGISTER, SUBTRACT, SUBTRACT_FROM, calculate,
    calculate_normal, compare,
};

/// The number one, and the sign, as a register has them.
const ONE: (u64, u16) = (1 << 63, 0x3fff);
const SIGN: u16 = 1 << 15;

/// What an instruction does when all is as usual.
pub trait OnStack {
    /// Does it, with this register beside the top; `false`: it is not usual, and nothing has changed.
    fn run(vectors: &mut Vectors, other: Beside) -> bool;

    /// Does it where `run` did not: what is usual, too, but would make the other slower.
    #[inline(always)]
    fn run_seldom(_: &mut Vectors, _: Beside) -> bool {
        false
    }
}

/// What is made of the type that does an instruction.
pub trait Choice {
    /// That.
    type Chosen;

    /// Makes it.
    fn choose<S: OnStack>(self) -> Self::Chosen;
}

struct Calculate<const OPERATION: u8, const TO_TOP: bool, const POPS: u8>;
struct Compare<const POPS: u8>;
struct PushCopy;
struct Copy<const POPS: bool>;
struct Exchange;
struct Negate;
struct Absolute;
struct One;
struct Zero;

macro_rules! on_stack {
    (impl [$($generic:tt)*] $type:ty, |$vectors:ident, $other:pat_param| $work:expr) => {
        impl<$($generic)*> OnStack for $type {
            #[inline(always)]
            fn run($vectors: &mut Vectors, $other: Beside) -> bool {
                $work
            }
        }
    };
}

on_stack!(impl [const POPS: u8] Compare<POPS>, |vectors, other| {
    compare::<REGISTER, POPS, false>(vectors, other)
});
on_stack!(impl [] PushCopy, |vectors, other| push_copy(vectors, other));
on_stack!(impl [const POPS: bool] Copy<POPS>, |vectors, other| copy::<POPS>(vectors, other));
on_stack!(impl [] Exchange, |vectors, other| exchange(vectors, other));
on_stack!(impl [] Negate, |vectors, _| change_sign(vectors, |head| head
    ^ SIGN));
on_stack!(impl [] Absolute, |vectors, _| change_sign(vectors, |head| head
    & !SIGN));
on_stack!(impl [] One, |vectors, _| push(vectors, ONE));
on_stack!(impl [] Zero, |vectors, _| push(vectors, (0, 0)));

impl<const OPERATION: u8, const TO_TOP: bool, const POPS: u8> OnStack
    for Calculate<OPERATION, TO_TOP, POPS>
{
    #[inline(always)]
    fn run(vectors: &mut Vectors, other: Beside) -> bool {
        calculate_normal::<OPERATION, TO_TOP, POPS>(vectors, other)
    }

    #[inline(always)]
    fn run_seldom(vectors: &mut Vectors, other: Beside) -> bool {
        calculate::<OPERATION, REGISTER, TO_TOP, POPS>(vectors, other)
    }
}

/// Chooses what does an instruction on registers of the stack; `None`: it is none of these.
pub fn on_stack<C: Choice>(instruction: &Instruction, choice: C) -> Option<C::Chosen> {
    use Mnemonic as M;
    if instruction.op0_kind() == OpKind::Memory {
        return None;
    }
    let is_alone = [instruction.op0_register(), instruction.op1_register()] == [Register::ST0; 2];
    Some(match instruction.mnemonic() {
        M::Fld => choice.choose::<PushCopy>(),
        M::Fst => choice.choose::<Copy<false>>(),
        M::Fstp => choice.choose::<Copy<true>>(),
        M::Fxch => choice.choose::<Exchange>(),
        M::Fchs => choice.choose::<Negate>(),
        M::Fabs => choice.choose::<Absolute>(),
        M::Fld1 => choice.choose::<One>(),
        M::Fldz => choice.choose::<Zero>(),
        // The top with itself is left to the host.
        _ if is_alone => return None,
        M::Fadd => to_either::<ADD, C>(instruction, choice),
        M::Fmul => to_either::<MULTIPLY, C>(instruction, choice),
        M::Fsub => to_either::<SUBTRACT, C>(instruction, choice),
        M::Fsubr => to_either::<SUBTRACT_FROM, C>(instruction, choice),
        M::Fdiv => to_either::<DIVIDE, C>(instruction, choice),
        M::Fdivr => to_either::<DIVIDE_INTO, C>(instruction, choice),
        M::Faddp => choice.choose::<Calculate<ADD, false, 1>>(),
        M::Fmulp => choice.choose::<Calculate<MULTIPLY, false, 1>>(),
        M::Fsubp => choice.choose::<Calculate<SUBTRACT, false, 1>>(),
        M::Fsubrp => choice.choose::<Calculate<SUBTRACT_FROM, false, 1>>(),
        M::Fdivp => choice.choose::<Calculate<DIVIDE, false, 1>>(),
        M::Fdivrp => choice.choose::<Calculate<DIVIDE_INTO, false, 1>>(),
        M::Fcom | M::Fucom => choice.choose::<Compare<0>>(),
        M::Fcomp | M::Fucomp => choice.choose::<Compare<1>>(),
        M::Fcompp | M::Fucompp => choice.choose::<Compare<2>>(),
        _ => return None,
    })
}

fn to_either<const OPERATION: u8, C: Choice>(instruction: &Instruction, choice: C) -> C::Chosen {
    if instruction.op0_register() == Register::ST0 {
        choice.choose::<Calculate<OPERATION, true, 0>>()
    } else {
        choice.choose::<Calculate<OPERATION, false, 0>>()
    }
}
