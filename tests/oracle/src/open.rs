//! What manuals leave open, or processors do in different ways, so that it is not compared.

use std::ops::Range;

use iced_x86::{Instruction, Mnemonic, RflagsBits};

/// Arithmetic flags that are undefined after an instruction, as iced knows and as its count decides: the carry where all
/// bits are shifted out, the overflow of rotations by more than one. `cl` is what it had before.
#[must_use]
pub fn undefined_flags(instruction: &Instruction, cl: u8) -> u64 {
    let bits = instruction.rflags_undefined();
    let flag = |bit, flag| if bits & bit != 0 { flag } else { 0 };
    let known = flag(RflagsBits::CF, 1 << 0)
        | flag(RflagsBits::PF, 1 << 2)
        | flag(RflagsBits::AF, 1 << 4)
        | flag(RflagsBits::ZF, 1 << 6)
        | flag(RflagsBits::SF, 1 << 7)
        | flag(RflagsBits::OF, 1 << 11);
    known | undefined_by_count(instruction, cl)
}

fn undefined_by_count(instruction: &Instruction, cl: u8) -> u64 {
    use Mnemonic as M;
    let bits = operand_bits(instruction);
    let count = u32::from(shift_count(instruction, cl)) & if bits == 64 { 63 } else { 31 };
    match instruction.mnemonic() {
        M::Shl | M::Sal | M::Shr if count >= bits => 1 << 0,
        M::Rol | M::Ror | M::Rcl | M::Rcr if count > 1 => 1 << 11,
        _ => 0,
    }
}

fn operand_bits(instruction: &Instruction) -> u32 {
    let memory = instruction.memory_size().size();
    8 * (if memory > 0 {
        memory
    } else {
        instruction.op0_register().size()
    }) as u32
}

/// The count of a shift: its last operand, or `cl`.
fn shift_count(instruction: &Instruction, cl: u8) -> u8 {
    let last = instruction.op_count().saturating_sub(1);
    instruction
        .try_immediate(last)
        .map_or(cl, |count| count as u8)
}

/// Whether nothing can be said of the result: a double shift of 16 bits by more; the place of a bit where there is
/// none, as `zero` says of the flag afterwards.
#[must_use]
pub fn is_undefined(instruction: &Instruction, cl: u8, zero: bool) -> bool {
    match instruction.mnemonic() {
        Mnemonic::Shld | Mnemonic::Shrd => {
            operand_bits(instruction) == 16 && shift_count(instruction, cl) & 31 > 16
        }
        Mnemonic::Bsf | Mnemonic::Bsr => zero,
        _ => false,
    }
}

/// Bytes of an image that are not compared: the pointers of x87, and the bits that MXCSR has, which are fewer here.
#[must_use]
pub fn left_out(instruction: &Instruction) -> [Range<usize>; 2] {
    use Mnemonic as M;
    let is_large = matches!(instruction.memory_size().size(), 28 | 108);
    match instruction.mnemonic() {
        M::Fxsave
        | M::Fxsave64
        | M::Xsave
        | M::Xsave64
        | M::Xsavec
        | M::Xsavec64
        | M::Xsaveopt
        | M::Xsaveopt64 => [6..24, 28..32],
        M::Fnstenv | M::Fnsave if is_large => [12..28, 0..0],
        M::Fnstenv | M::Fnsave => [6..14, 0..0],
        _ => [0..0, 0..0],
    }
}

/// `PE`, and `OE` and `UE`, in MXCSR, and all of these flags.
const INEXACT: u8 = 1 << 5;
const RANGE: u8 = 3 << 3;
const FLAGS: u8 = 0x3f;

/// Flags of MXCSR that are not compared once an exception that is not masked was raised: `PE` beside an
/// overflow or underflow, since whether the number is exact that its handler would want is not found
/// out; and all of those that multiply first and add then, of which the processor does not begin the second.
/// `after` are those that are there then.
#[must_use]
pub fn open_mxcsr(instruction: &Instruction, before: u16, after: u8) -> u8 {
    use Mnemonic as M;
    let unmasked = after & !(before >> 7) as u8;
    match instruction.mnemonic() {
        M::Dpps | M::Dppd | M::Vdpps | M::Vdppd if unmasked & FLAGS != 0 => FLAGS,
        _ if unmasked & RANGE != 0 => INEXACT,
        _ => 0,
    }
}

/// Conditions in the upper byte of x87's status word in which processors differ.
#[must_use]
pub fn open_conditions(instruction: &Instruction) -> u8 {
    use Mnemonic as M;
    match instruction.mnemonic() {
        M::Fcomi | M::Fcomip | M::Fucomi | M::Fucomip => 1 << 1,
        _ => 0,
    }
}

/// Whether it may fault for bytes that it does not store (SDM vol. 2, `MASKMOVDQU`).
#[must_use]
pub fn may_fault(instruction: &Instruction) -> bool {
    use Mnemonic as M;
    let mnemonic = instruction.mnemonic();
    matches!(mnemonic, M::Maskmovq | M::Maskmovdqu | M::Vmaskmovdqu)
}

/// Whether its operand in memory is an image of many registers, which processors read and write in an order of their own.
#[must_use]
pub fn is_image(instruction: &Instruction) -> bool {
    let name = format!("{:?}", instruction.mnemonic());
    ["Fx", "Xs", "Xr", "Fnsave", "Frstor", "Fnstenv", "Fldenv"]
        .iter()
        .any(|stem| name.starts_with(stem))
}
