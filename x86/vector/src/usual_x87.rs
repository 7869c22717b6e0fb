//! Arithmetic, comparisons and conversions of x87 with usual numbers, without the host's instruction: to load its
//! registers and to read its status word take ten times as long as what it does.
//!
//! With all exceptions masked, all 64 bits of precision and rounding to nearest, by [`Number`]; whatever is not
//! so is left to the stub.

use std::cmp::Ordering;

use iced_x86::{Instruction, MemorySize, Mnemonic, OpKind, Register};

use crate::number::{Number, Rounded, Rounding};
use crate::numeric::{Beside, Numeric, ON_TOP, PUSHED};
use crate::prepared::Quick;
use crate::registers::{Vectors, array};

/// Of the control word: how results are rounded.
const ROUNDING: u16 = 3 << 10;

/// `CF` and `ZF`.
const CARRY: u64 = 1;
const ZERO: u64 = 1 << 6;

/// Operations, by which arithmetic is chosen.
pub(crate) const ADD: u8 = 0;
pub(crate) const MULTIPLY: u8 = 1;
pub(crate) const SUBTRACT: u8 = 2;
/// The other way around.
pub(crate) const SUBTRACT_FROM: u8 = 3;
pub(crate) const DIVIDE: u8 = 4;
pub(crate) const DIVIDE_INTO: u8 = 5;

/// Operands beside the top of the stack: a register, or numbers in memory.
pub(crate) const REGISTER: u8 = 0;
const SINGLE: u8 = 1;
const DOUBLE: u8 = 2;
const SHORT: u8 = 3;
const LONG: u8 = 4;
const QUAD: u8 = 5;

/// What does one of these with an operand in memory, or sets flags; `None` for others.
pub(crate) fn quick(instruction: &Instruction) -> Option<Quick> {
    use Mnemonic as M;
    if instruction.op0_kind() != OpKind::Memory {
        let is_alone = instruction.op1_register() == Register::ST0;
        return Some(match instruction.mnemonic() {
            // The top with itself is left to the stub.
            _ if is_alone => return None,
            M::Fcomi | M::Fucomi => compare::<REGISTER, 0, true>,
            M::Fcomip | M::Fucomip => compare::<REGISTER, 1, true>,
            _ => return None,
        });
    }
    let operand = match instruction.memory_size() {
        MemorySize::Float32 => SINGLE,
        MemorySize::Float64 => DOUBLE,
        MemorySize::Int16 => SHORT,
        MemorySize::Int32 => LONG,
        MemorySize::Int64 => QUAD,
        _ => return None,
    };
    Some(match instruction.mnemonic() {
        M::Fadd | M::Fiadd => arithmetic::<ADD>(operand),
        M::Fmul | M::Fimul => arithmetic::<MULTIPLY>(operand),
        M::Fsub | M::Fisub => arithmetic::<SUBTRACT>(operand),
        M::Fsubr | M::Fisubr => arithmetic::<SUBTRACT_FROM>(operand),
        M::Fdiv | M::Fidiv => arithmetic::<DIVIDE>(operand),
        M::Fdivr | M::Fidivr => arithmetic::<DIVIDE_INTO>(operand),
        M::Fcom | M::Ficom => comparison::<0>(operand),
        M::Fcomp | M::Ficomp => comparison::<1>(operand),
        M::Fld | M::Fild => push(operand),
        M::Fst | M::Fist => store::<false>(operand),
        M::Fstp | M::Fistp => store::<true>(operand),
        M::Fisttp => truncation(operand),
        _ => return None,
    })
}

fn arithmetic<const OPERATION: u8>(operand: u8) -> Quick {
    match operand {
        SINGLE => calculate::<OPERATION, SINGLE, true, 0>,
        DOUBLE => calculate::<OPERATION, DOUBLE, true, 0>,
        SHORT => calculate::<OPERATION, SHORT, true, 0>,
        _ => calculate::<OPERATION, LONG, true, 0>,
    }
}

fn comparison<const POPS: u8>(operand: u8) -> Quick {
    match operand {
        SINGLE => compare::<SINGLE, POPS, false>,
        DOUBLE => compare::<DOUBLE, POPS, false>,
        SHORT => compare::<SHORT, POPS, false>,
        _ => compare::<LONG, POPS, false>,
    }
}

fn push(operand: u8) -> Quick {
    match operand {
        SINGLE => load::<SINGLE>,
        DOUBLE => load::<DOUBLE>,
        SHORT => load::<SHORT>,
        LONG => load::<LONG>,
        _ => load::<QUAD>,
    }
}

fn store<const POPS: bool>(operand: u8) -> Quick {
    match operand {
        SINGLE => narrow::<SINGLE, POPS, false>,
        DOUBLE => narrow::<DOUBLE, POPS, false>,
        SHORT => narrow::<SHORT, POPS, false>,
        LONG => narrow::<LONG, POPS, false>,
        _ => narrow::<QUAD, POPS, false>,
    }
}

fn truncation(operand: u8) -> Quick {
    match operand {
        SHORT => narrow::<SHORT, true, true>,
        LONG => narrow::<LONG, true, true>,
        _ => narrow::<QUAD, true, true>,
    }
}

impl Numeric {
    const fn rounding(&self) -> Rounding {
        match (self.control() & ROUNDING) >> 10 {
            0 => Rounding::Nearest,
            1 => Rounding::Down,
            2 => Rounding::Up,
            _ => Rounding::ToZero,
        }
    }
}

impl Vectors {
    /// The number of the stack's register, if it has one that is usual.
    #[inline(always)]
    fn number(&self, register: Beside) -> Option<Number> {
        let (mantissa, head) = self.x87(self.numeric.place(register));
        Number::from_register(mantissa, head).filter(|_| !self.numeric.is_empty(register))
    }

    /// The numbers of the top and of another register, if both have one that is normal.
    #[inline(always)]
    fn normals(&self, other: Beside) -> Option<[Number; 2]> {
        if !self.numeric.are_full(other) {
            return None;
        }
        let top = self.x87(self.numeric.place(ON_TOP));
        let second = self.x87(self.numeric.place(other));
        Number::normals(top, second)
    }

    /// The number beside the top, which is in the buffer if it comes from memory.
    #[inline(always)]
    fn second<const OPERAND: u8>(&self, other: Beside) -> Option<Number> {
        let bits = u64::from_le_bytes(array(&self.operands.memory));
        match OPERAND {
            SINGLE => Number::from_single(bits as u32),
            DOUBLE => Number::from_double(bits),
            SHORT => Some(Number::from_integer((bits as i16).into())),
            LONG => Some(Number::from_integer((bits as i32).into())),
            QUAD => Some(Number::from_integer(bits as i64)),
            _ => self.number(other),
        }
    }

    #[inline(always)]
    fn put(&mut self, place: u8, number: Number) {
        let (mantissa, head) = number.to_register();
        self.set_x87(place, mantissa, head);
    }
}

/// Of numbers that are usual, or normal.
#[inline(always)]
fn result<const OPERATION: u8, const ARE_NORMAL: bool>(
    first: Number,
    second: Number,
) -> Option<Rounded<Number>> {
    let (first, second) = match OPERATION {
        SUBTRACT => (first, second.negated()),
        SUBTRACT_FROM => (second, first.negated()),
        DIVIDE_INTO => (second, first),
        _ => (first, second),
    };
    match (OPERATION, ARE_NORMAL) {
        (MULTIPLY, true) => first.normal_times(second),
        (MULTIPLY, false) => first.times(second),
        (DIVIDE | DIVIDE_INTO, true) => first.normal_over(second),
        (DIVIDE | DIVIDE_INTO, false) => first.over(second),
        (_, true) => first.normal_plus(second),
        (_, false) => first.plus(second),
    }
}

/// Puts a result into the top or the other register.
#[inline(always)]
fn finish<const TO_TOP: bool, const POPS: u8>(
    vectors: &mut Vectors,
    other: Beside,
    rounded: Option<Rounded<Number>>,
) -> bool {
    let Some(rounded) = rounded else {
        return false;
    };
    let target = if TO_TOP { ON_TOP } else { other };
    vectors.put(vectors.numeric.place(target), rounded.value);
    vectors.numeric.note(rounded.behind, rounded.is_up);
    if POPS > 0 {
        vectors.numeric.pop();
    }
    true
}

/// Arithmetic with normal numbers on the stack, whose result goes to the top or to the other register. Zeros are for
/// [`calculate`]: it would keep more than this one needs.
#[inline(always)]
pub(crate) fn calculate_normal<const OPERATION: u8, const TO_TOP: bool, const POPS: u8>(
    vectors: &mut Vectors,
    other: Beside,
) -> bool {
    if !vectors.numeric.is_precise() {
        return false;
    }
    let Some([top, second]) = vectors.normals(other) else {
        return false;
    };
    // Where the other register is the target, it is the first operand.
    let rounded = if TO_TOP {
        result::<OPERATION, true>(top, second)
    } else {
        result::<OPERATION, true>(second, top)
    };
    finish::<TO_TOP, POPS>(vectors, other, rounded)
}

/// Arithmetic with usual numbers, likewise.
#[inline]
pub(crate) fn calculate<
    const OPERATION: u8,
    const OPERAND: u8,
    const TO_TOP: bool,
    const POPS: u8,
>(
    vectors: &mut Vectors,
    other: Beside,
) -> bool {
    if !vectors.numeric.is_precise() {
        return false;
    }
    let Some(top) = vectors.number(ON_TOP) else {
        return false;
    };
    let Some(second) = vectors.second::<OPERAND>(other) else {
        return false;
    };
    let rounded = if TO_TOP {
        result::<OPERATION, false>(top, second)
    } else {
        result::<OPERATION, false>(second, top)
    };
    finish::<TO_TOP, POPS>(vectors, other, rounded)
}

/// Compares the top, and sets conditions or flags.
#[inline]
pub(crate) fn compare<const OPERAND: u8, const POPS: u8, const SETS_FLAGS: bool>(
    vectors: &mut Vectors,
    other: Beside,
) -> bool {
    let numbers = vectors.number(ON_TOP).zip(vectors.second::<OPERAND>(other));
    let Some((top, second)) = numbers.filter(|_| vectors.numeric.is_masked()) else {
        return false;
    };
    let ordering = top.compare(second);
    if SETS_FLAGS {
        vectors.operands.flags = match ordering {
            Ordering::Less => CARRY,
            Ordering::Equal => ZERO,
            Ordering::Greater => 0,
        };
    } else {
        vectors.numeric.compared(ordering);
    }
    for _ in 0..POPS {
        vectors.numeric.pop();
    }
    true
}

/// `FLD` and `FILD` of what is shorter than a register.
fn load<const OPERAND: u8>(vectors: &mut Vectors, _: Beside) -> bool {
    let numeric = &vectors.numeric;
    if !numeric.is_masked() || !numeric.is_empty(PUSHED) {
        return false;
    }
    let pushed = numeric.place(PUSHED);
    let Some(number) = vectors.second::<OPERAND>(ON_TOP) else {
        return false;
    };
    vectors.put(pushed, number);
    vectors.numeric.note(0, false);
    vectors.numeric.push();
    true
}

/// `FST`, `FIST` and `FISTTP` to what is shorter than a register, in the buffer. Whole numbers are rounded as the
/// control word says.
fn narrow<const OPERAND: u8, const POPS: bool, const TRUNCATES: bool>(
    vectors: &mut Vectors,
    _: Beside,
) -> bool {
    let numeric = &vectors.numeric;
    let rounding = if TRUNCATES {
        Rounding::ToZero
    } else {
        numeric.rounding()
    };
    let is_nearest = rounding == Rounding::Nearest;
    let Some(number) = vectors.number(ON_TOP).filter(|_| numeric.is_masked()) else {
        return false;
    };
    let narrow = match OPERAND {
        SINGLE if is_nearest => number.to_single().map(|single| single.map(u64::from)),
        DOUBLE if is_nearest => number.to_double(),
        SHORT | LONG | QUAD => number.to_integer(rounding).and_then(whole::<OPERAND>),
        _ => None,
    };
    let Some(narrow) = narrow else {
        return false;
    };
    vectors.operands.memory[..8].copy_from_slice(&narrow.value.to_le_bytes());
    vectors.numeric.note(narrow.behind, narrow.is_up);
    if POPS {
        vectors.numeric.pop();
    }
    true
}

/// A whole number that fits.
#[inline(always)]
fn whole<const OPERAND: u8>(rounded: Rounded<i64>) -> Option<Rounded<u64>> {
    let fits = match OPERAND {
        SHORT => i16::try_from(rounded.value).is_ok(),
        LONG => i32::try_from(rounded.value).is_ok(),
        _ => true,
    };
    fits.then_some(rounded.map(|value| value as u64))
}
