//! Instructions that only move x87's registers, or its stack: a few lines each, and no stub.
//!
//! What is unusual, an empty register that is read or a full one that is pushed, is left to the whole
//! state's stub ([`unusual`]).

use iced_x86::{Instruction, MemorySize, Mnemonic};
use x86_semantics::Exception;

use crate::available::Uses;
use crate::numeric::{Beside, ON_TOP, PUSHED};
use crate::prepared::{Handler, Prepared, Quick};
use crate::registers::{Vectors, array};
use crate::run::Step;
use crate::x87::{Places, are_usual, quickly, remember, unusual};

/// `CF`, `PF` and `ZF`.
const CARRY: u64 = 1;
const PARITY: u64 = 1 << 2;
const ZERO: u64 = 1 << 6;

/// How one of these is done; `None` for others. What it does with registers is given.
pub(crate) fn prepared(instruction: &Instruction, on_stack: Option<Quick>) -> Option<Prepared> {
    if let Some(quick) = quick(instruction, on_stack) {
        return Some(Prepared::by_hand(moved, Uses::X87).with_quick(quick));
    }
    Some(Prepared::by_hand(conditional(instruction)?, Uses::X87))
}

fn quick(instruction: &Instruction, on_stack: Option<Quick>) -> Option<Quick> {
    use Mnemonic as M;
    // Whole registers go to memory and back as they are.
    let is_whole = instruction.memory_size() == MemorySize::Float80;
    Some(match instruction.mnemonic() {
        M::Fld if is_whole => push_memory,
        M::Fstp if is_whole => pop_memory,
        M::Ffree => free::<false>,
        M::Ffreep => free::<true>,
        M::Fincstp => |vectors, _| turn(vectors, 1),
        M::Fdecstp => |vectors, _| turn(vectors, 7),
        M::Fld | M::Fst | M::Fstp | M::Fxch | M::Fchs | M::Fabs | M::Fld1 | M::Fldz => {
            return on_stack;
        }
        _ => return None,
    })
}

/// `FCMOVcc`.
fn conditional(instruction: &Instruction) -> Option<Handler> {
    use Mnemonic as M;
    Some(match instruction.mnemonic() {
        M::Fcmovb => copy_if::<CARRY, true>,
        M::Fcmove => copy_if::<ZERO, true>,
        M::Fcmovbe => copy_if::<{ CARRY | ZERO }, true>,
        M::Fcmovu => copy_if::<PARITY, true>,
        M::Fcmovnb => copy_if::<CARRY, false>,
        M::Fcmovne => copy_if::<ZERO, false>,
        M::Fcmovnbe => copy_if::<{ CARRY | ZERO }, false>,
        M::Fcmovnu => copy_if::<PARITY, false>,
        _ => return None,
    })
}

/// What the instructions say themselves, or the whole state where that is not usual.
fn moved(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    step.deliver()?;
    let operand = step.operand(prepared)?;
    if quickly(prepared, step, operand)? {
        return Ok(());
    }
    unusual(prepared, step)
}

/// What all have in common: nothing waits, and in the end `C1` is clear.
#[inline(always)]
fn change(vectors: &mut Vectors, change: impl FnOnce(&mut Vectors) -> Option<()>) -> bool {
    let is_done = !vectors.numeric.is_pending() && change(vectors).is_some();
    if is_done {
        vectors.numeric.note(0, false);
    }
    is_done
}

impl Vectors {
    /// The stack's register, unless it is empty.
    #[inline(always)]
    fn full(&self, register: Beside) -> Option<(u64, u16)> {
        let is_full = !self.numeric.is_empty(register);
        is_full.then(|| self.x87(self.numeric.place(register)))
    }

    /// Pushes a register, if there is a place.
    #[inline(always)]
    fn push(&mut self, (mantissa, head): (u64, u16)) -> Option<()> {
        if !self.numeric.is_empty(PUSHED) {
            return None;
        }
        self.set_x87(self.numeric.place(PUSHED), mantissa, head);
        self.numeric.push();
        Some(())
    }

    /// `FLD` of all 80 bits, for engines that have them at hand, as [`quick`](Self::quick).
    #[inline(always)]
    pub fn quick_push(&mut self, value: (u64, u16), instruction: u64, operand: u64) -> bool {
        let is_done = push(self, value);
        if is_done {
            (self.numeric.instruction, self.numeric.data) = (instruction, operand);
        }
        is_done
    }

    /// `FSTP` of all 80 bits, likewise; what is to be stored.
    #[inline(always)]
    pub fn quick_pop(&mut self, instruction: u64, operand: u64) -> Option<(u64, u16)> {
        let top = self.full(ON_TOP).filter(|_| !self.numeric.is_pending())?;
        self.numeric.note(0, false);
        self.numeric.pop();
        (self.numeric.instruction, self.numeric.data) = (instruction, operand);
        Some(top)
    }

    /// Sets a register of the stack.
    #[inline(always)]
    fn set(&mut self, register: Beside, (mantissa, head): (u64, u16)) {
        self.set_x87(self.numeric.place(register), mantissa, head);
    }
}

/// `FLD` of a register.
#[inline]
pub(crate) fn push_copy(vectors: &mut Vectors, other: Beside) -> bool {
    change(vectors, |vectors| vectors.push(vectors.full(other)?))
}

#[inline]
pub(crate) fn push(vectors: &mut Vectors, value: (u64, u16)) -> bool {
    change(vectors, |vectors| vectors.push(value))
}

/// `FLD` of all 80 bits, which are in the buffer.
fn push_memory(vectors: &mut Vectors, _: Beside) -> bool {
    let memory = &vectors.operands.memory;
    let (mantissa, head) = (array(memory), array(&memory[8..]));
    push(
        vectors,
        (u64::from_le_bytes(mantissa), u16::from_le_bytes(head)),
    )
}

/// `FSTP` of all 80 bits, to the buffer.
fn pop_memory(vectors: &mut Vectors, _: Beside) -> bool {
    change(vectors, |vectors| {
        let (mantissa, head) = vectors.full(ON_TOP)?;
        let memory = &mut vectors.operands.memory;
        memory[..8].copy_from_slice(&mantissa.to_le_bytes());
        memory[8..10].copy_from_slice(&head.to_le_bytes());
        vectors.numeric.pop();
        Some(())
    })
}

/// `FST` and `FSTP` to a register.
#[inline]
pub(crate) fn copy<const POPS: bool>(vectors: &mut Vectors, other: Beside) -> bool {
    change(vectors, |vectors| {
        vectors.set(other, vectors.full(ON_TOP)?);
        vectors.numeric.fill(other);
        if POPS {
            vectors.numeric.pop();
        }
        Some(())
    })
}

#[inline]
pub(crate) fn exchange(vectors: &mut Vectors, other: Beside) -> bool {
    change(vectors, |vectors| {
        let (top, second) = vectors.full(ON_TOP).zip(vectors.full(other))?;
        vectors.set(ON_TOP, second);
        vectors.set(other, top);
        Some(())
    })
}

/// `FCHS` and `FABS`.
#[inline(always)]
pub(crate) fn change_sign(vectors: &mut Vectors, sign: impl FnOnce(u16) -> u16) -> bool {
    change(vectors, |vectors| {
        let (mantissa, head) = vectors.full(ON_TOP)?;
        vectors.set(ON_TOP, (mantissa, sign(head)));
        Some(())
    })
}

/// `FFREE`, and with a pop the one that is in no manual.
fn free<const POPS: bool>(vectors: &mut Vectors, other: Beside) -> bool {
    change(vectors, |vectors| {
        vectors.numeric.free(other);
        if POPS {
            vectors.numeric.pop();
        }
        Some(())
    })
}

/// Turns the stack, whose tags stay.
fn turn(vectors: &mut Vectors, by: usize) -> bool {
    change(vectors, |vectors| {
        vectors.numeric.set_top(vectors.numeric.top() + by);
        Some(())
    })
}

/// `FCMOVcc`: if one of these flags is set, or none. It leaves the conditions alone.
fn copy_if<const FLAGS: u64, const SET: bool>(
    prepared: &Prepared,
    step: &mut Step<'_>,
) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    step.deliver()?;
    let places = Places::of(prepared, &step.vectors.numeric);
    if !are_usual(prepared, &step.vectors.numeric, 2, false) {
        return unusual(prepared, step);
    }
    if (step.cpu.flags.bits() & FLAGS != 0) == SET {
        let registers = &mut step.vectors.operands.x87;
        registers[places.top] = registers[places.other];
    }
    remember(step, None);
    Ok(())
}
