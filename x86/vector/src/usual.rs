//! Arithmetic with usual numbers, after which `MXCSR` need not be read: that takes as long as all else.
//!
//! With rounding to nearest and all exceptions masked, numbers that are neither denormal, infinite nor too
//! near to either end raise nothing but `PE`, which nearly always was raised before and stays. So the
//! operands and the result are looked at, and only if they are unusual it is done again by
//! [`float::run`](crate::float::run).

use host_processor::stub::{Operands, Stub};
use iced_x86::{Instruction, Mnemonic};
use x86_semantics::Exception;

use crate::available::{self, Uses};
use crate::float;
use crate::mxcsr;
use crate::prepared::{Handler, Prepared};
use crate::registers::{Vectors, array};
use crate::run::{NONE, READS, Step};

const SSE: u8 = Uses::Sse as u8;
const AVX: u8 = Uses::Avx as u8;
/// What stands for whole numbers that do not fit (SDM vol. 1, 4.8.3.7).
const INDEFINITE_DOUBLE: u64 = 1 << 31;
const INDEFINITE_QUAD: u64 = 1 << 63;

/// What does an instruction that often has usual numbers; `None` for others.
pub(crate) fn handler(prepared: &Prepared, instruction: &Instruction) -> Option<Handler> {
    match prepared.uses {
        Uses::Sse => of_unit::<SSE>(prepared, instruction.mnemonic()),
        Uses::Avx => of_unit::<AVX>(prepared, instruction.mnemonic()),
        _ => None,
    }
}

fn of_unit<const USES: u8>(prepared: &Prepared, mnemonic: Mnemonic) -> Option<Handler> {
    if prepared.reads_memory() {
        of_memory::<USES, READS>(mnemonic)
    } else {
        of_memory::<USES, NONE>(mnemonic)
    }
}

fn of_memory<const USES: u8, const MEMORY: u8>(mnemonic: Mnemonic) -> Option<Handler> {
    use Mnemonic as M;
    Some(match mnemonic {
        M::Addss | M::Subss | M::Mulss | M::Divss => arithmetic::<USES, MEMORY, 4>,
        M::Vaddss | M::Vsubss | M::Vmulss | M::Vdivss => arithmetic::<USES, MEMORY, 4>,
        M::Addsd | M::Subsd | M::Mulsd | M::Divsd => arithmetic::<USES, MEMORY, 8>,
        M::Vaddsd | M::Vsubsd | M::Vmulsd | M::Vdivsd => arithmetic::<USES, MEMORY, 8>,
        M::Comiss | M::Ucomiss | M::Vcomiss | M::Vucomiss => comparison::<USES, MEMORY, 4>,
        M::Comisd | M::Ucomisd | M::Vcomisd | M::Vucomisd => comparison::<USES, MEMORY, 8>,
        M::Cvttss2si | M::Vcvttss2si | M::Cvttsd2si | M::Vcvttsd2si => truncation::<USES, MEMORY>,
        _ => return None,
    })
}

/// A number of single or double precision.
#[inline]
fn bits<const BYTES: usize>(bytes: &[u8]) -> u64 {
    if BYTES == 4 {
        u64::from(u32::from_le_bytes(array(bytes)))
    } else {
        u64::from_le_bytes(array(bytes))
    }
}

/// The same without its sign.
#[inline]
fn magnitude<const BYTES: usize>(bytes: &[u8]) -> u64 {
    let sign = 1 << (8 * BYTES - 1);
    bits::<BYTES>(bytes) & !sign
}

/// Where the exponent begins.
const fn shift(bytes: usize) -> u32 {
    if bytes == 4 { 23 } else { 52 }
}

/// The largest exponent, which numbers that are not finite have.
const fn largest(bytes: usize) -> u64 {
    if bytes == 4 { 0xff } else { 0x7ff }
}

/// The bits of an exponent, where they are.
const fn exponent(bytes: usize) -> u64 {
    largest(bytes) << shift(bytes)
}

/// Whether a number is neither denormal nor zero, whatever its sign.
#[inline(always)]
pub(crate) const fn is_normal<const BYTES: usize>(bits: u64) -> bool {
    bits & exponent(BYTES) != 0
}

/// Whether an operand, without its sign, is not denormal.
#[inline]
pub(crate) const fn is_full<const BYTES: usize>(number: u64) -> bool {
    number == 0 || number >> shift(BYTES) != 0
}

/// Whether it is finite.
#[inline]
pub(crate) const fn is_finite<const BYTES: usize>(number: u64) -> bool {
    number >> shift(BYTES) != largest(BYTES)
}

/// Whether a result, whatever its sign, is far enough from the smallest and the largest number. It is not when an
/// operand is not finite.
#[inline(always)]
pub(crate) const fn is_far<const BYTES: usize>(bits: u64) -> bool {
    let exponent = (bits >> shift(BYTES)) as u32 & largest(BYTES) as u32;
    exponent.wrapping_sub(2) < largest(BYTES) as u32 - 3
}

/// The second operand, whose slot is this one unless it is in memory.
#[inline]
fn second<'o, const MEMORY: u8>(
    prepared: &Prepared,
    operands: &'o Operands,
    at: usize,
) -> &'o [u8] {
    if MEMORY == READS {
        &operands.memory
    } else {
        &operands.vector[prepared.at[at].vector_number()]
    }
}

/// Sees whether the unit is available and fetches what is in memory.
#[inline(always)]
fn begin<const USES: u8, const MEMORY: u8>(
    prepared: &Prepared,
    step: &mut Step<'_>,
) -> Result<Stub, Exception> {
    available::check_known::<USES>(step.cpu)?;
    if MEMORY == READS {
        step.read_memory(prepared)?;
    }
    prepared.stub()
}

/// Adds, subtracts, multiplies or divides.
fn arithmetic<const USES: u8, const MEMORY: u8, const BYTES: usize>(
    prepared: &Prepared,
    step: &mut Step<'_>,
) -> Result<(), Exception> {
    let stub = begin::<USES, MEMORY>(prepared, step)?;
    if !step.vectors.raises_nothing_new() {
        return float::run(stub, prepared, step);
    }
    let operands = &mut step.vectors.operands;
    // Without VEX the first operand is the result's place, too.
    let at = usize::from(USES == AVX);
    let first = &operands.vector[prepared.at[at].vector_number()];
    let second = second::<MEMORY>(prepared, operands, at + 1);
    let are_full =
        is_full::<BYTES>(magnitude::<BYTES>(first)) && is_full::<BYTES>(magnitude::<BYTES>(second));
    let to = prepared.at[0].vector_number();
    let before = operands.vector[to];
    stub.run(operands, prepared.at);
    if are_full && is_far::<BYTES>(bits::<BYTES>(&operands.vector[to])) {
        return Ok(());
    }
    operands.vector[to] = before;
    float::run(stub, prepared, step)
}

/// Compares, and sets flags. Usual numbers raise nothing at all.
fn comparison<const USES: u8, const MEMORY: u8, const BYTES: usize>(
    prepared: &Prepared,
    step: &mut Step<'_>,
) -> Result<(), Exception> {
    let stub = begin::<USES, MEMORY>(prepared, step)?;
    let operands = &mut step.vectors.operands;
    let first = &operands.vector[prepared.at[0].vector_number()];
    let second = second::<MEMORY>(prepared, operands, 1);
    let is_usual = |bytes: &[u8]| {
        let number = magnitude::<BYTES>(bytes);
        is_full::<BYTES>(number) && is_finite::<BYTES>(number)
    };
    if is_usual(first) && is_usual(second) {
        stub.run(operands, prepared.at);
    } else {
        float::run(stub, prepared, step)?;
    }
    step.take_flags();
    Ok(())
}

/// Makes whole numbers, of which those stand for all others that have only their sign set.
fn truncation<const USES: u8, const MEMORY: u8>(
    prepared: &Prepared,
    step: &mut Step<'_>,
) -> Result<(), Exception> {
    let stub = begin::<USES, MEMORY>(prepared, step)?;
    let is_usual = step.vectors.raises_nothing_new() && {
        stub.run(&mut step.vectors.operands, prepared.at);
        !matches!(
            step.vectors.operands.general,
            INDEFINITE_DOUBLE | INDEFINITE_QUAD
        )
    };
    if !is_usual {
        float::run(stub, prepared, step)?;
    }
    step.take_general(prepared);
    Ok(())
}

impl Vectors {
    /// Whether usual numbers have nothing more to say: with all masks set and the usual rounding, once `PE`
    /// was raised.
    #[inline]
    pub(crate) const fn raises_nothing_new(&self) -> bool {
        // Both words at once: what is looked at, and what is to be there.
        const LOOKED_AT: u64 = (mxcsr::UNMASKED | mxcsr::INEXACT) as u64;
        const WANTED: u64 = (mxcsr::INEXACT as u64) << 32 | mxcsr::RESET as u64;
        let both = (self.operands.raised as u64) << 32 | self.operands.mxcsr as u64;
        both & (LOOKED_AT << 32 | 0xffff_ffff) == WANTED
    }
}
