//! x87's state in memory as `FNSTENV` and `FNSAVE` have it (SDM vol. 1, 8.1.10).
//!
//! There are four formats, by the operand size and by whether segments have descriptors. The pointers to
//! the last instruction and its operand are addresses in two of them, and offsets in the others.

use x86_semantics::{Exception, linear_address};

use crate::numeric::{EXCEPTIONS, Numeric};
use crate::prepared::Prepared;
use crate::registers::{Vectors, array};
use crate::run::Step;

/// Bytes of an environment, small and large, and of a data register behind it.
const SMALL: usize = 14;
const LARGE: usize = 28;
const REGISTER: usize = 10;
const REGISTERS: usize = 8 * REGISTER;
/// Most bytes of all.
const SIZE: usize = LARGE + REGISTERS;
/// Tags (SDM vol. 1, 8.1.7).
const VALID: u16 = 0;
const ZERO: u16 = 1;
const SPECIAL: u16 = 2;
const EMPTY: u16 = 3;

/// One of the formats.
#[derive(Clone, Copy)]
struct Format {
    is_large: bool,
    is_protected: bool,
}

impl Format {
    fn of(step: &Step<'_>) -> Self {
        let bytes = step.instruction.memory_size().size();
        Self {
            is_large: bytes == LARGE || bytes == SIZE,
            is_protected: step.cpu.is_protected(),
        }
    }

    const fn bytes(self) -> usize {
        if self.is_large { LARGE } else { SMALL }
    }

    /// The seven words, of 32 or 16 bits.
    fn words(self, vectors: &Vectors) -> [u32; 7] {
        let numeric = &vectors.numeric;
        let (instruction, data) = (numeric.instruction as u32, numeric.data as u32);
        let opcode = u32::from(numeric.opcode);
        let pointers = match (self.is_large, self.is_protected) {
            (true, true) => [instruction, opcode << 16, data, 0xffff_0000],
            (false, true) => [instruction, 0, data, 0],
            (true, false) => [
                instruction & 0xffff | 0xffff_0000,
                (instruction >> 16) << 12 | opcode,
                data & 0xffff | 0xffff_0000,
                (data >> 16) << 12,
            ],
            (false, false) => [
                instruction,
                (instruction >> 4) & 0xf000 | opcode,
                data,
                (data >> 4) & 0xf000,
            ],
        };
        let upper = 0xffff_0000;
        let [first, second, third, fourth] = pointers;
        [
            u32::from(numeric.control()) | upper,
            u32::from(numeric.status()) | upper,
            u32::from(tags(vectors)) | upper,
            first,
            second,
            third,
            fourth,
        ]
    }

    fn put(self, vectors: &Vectors, into: &mut [u8]) {
        let words = self.words(vectors);
        let width = self.bytes() / words.len();
        for (word, place) in words.iter().zip(into.chunks_exact_mut(width)) {
            place.copy_from_slice(&word.to_le_bytes()[..width]);
        }
    }

    /// The state that an environment describes.
    fn take(self, from: &[u8]) -> Numeric {
        let width = self.bytes() / 7;
        let word = |at: usize| {
            let mut bytes = [0; 4];
            bytes[..width].copy_from_slice(&from[at * width..][..width]);
            u32::from_le_bytes(bytes)
        };
        let (instruction, data) = match (self.is_large, self.is_protected) {
            (_, true) => (word(3), word(5)),
            (true, false) => (
                word(3) & 0xffff | (word(4) & 0x0fff_f000) << 4,
                word(5) & 0xffff | (word(6) & 0x0fff_f000) << 4,
            ),
            (false, false) => (
                word(3) | (word(4) & 0xf000) << 4,
                word(5) | (word(6) & 0xf000) << 4,
            ),
        };
        let opcode = match (self.is_large, self.is_protected) {
            (true, true) => word(4) >> 16,
            (false, true) => 0,
            (_, false) => word(4),
        };
        let mut numeric = Numeric::default();
        numeric.opcode = opcode as u16 & 0x7ff;
        (numeric.instruction, numeric.data) = (instruction.into(), data.into());
        numeric.set_control(word(0) as u16);
        numeric.set_status(word(1) as u16);
        numeric.set_tags(abridge(word(2) as u16));
        numeric
    }
}

/// The tags of all registers, by their physical number.
fn tags(vectors: &Vectors) -> u16 {
    let tag = |number: usize| {
        if !vectors.numeric.is_full(number) {
            return EMPTY;
        }
        let register = &vectors.operands.x87[number];
        let fraction = u64::from_le_bytes(array(register));
        let exponent = u16::from_le_bytes(array(&register[8..])) & 0x7fff;
        match (exponent, fraction) {
            (0, 0) => ZERO,
            (0 | 0x7fff, _) => SPECIAL,
            (_, fraction) if fraction >> 63 == 0 => SPECIAL,
            _ => VALID,
        }
    };
    (0..8).fold(0, |tags, number| tags | tag(number) << (2 * number))
}

/// Which registers are not empty.
fn abridge(tags: u16) -> u8 {
    let is_full = |number: usize| u8::from(tags >> (2 * number) & 3 != EMPTY);
    (0..8).fold(0, |full, number| full | is_full(number) << number)
}

/// `FNSTENV`, which masks all exceptions.
pub(crate) fn store(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    let format = Format::of(step);
    let mut bytes = [0; LARGE];
    format.put(step.vectors, &mut bytes[..format.bytes()]);
    let address = step.address(prepared, true)?;
    step.write(address, &bytes[..format.bytes()])?;
    let control = step.vectors.numeric.control();
    step.vectors.numeric.set_control(control | EXCEPTIONS);
    Ok(())
}

/// `FLDENV`.
pub(crate) fn load(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    step.deliver()?;
    let format = Format::of(step);
    let mut bytes = [0; LARGE];
    let address = step.address(prepared, false)?;
    step.read(address, &mut bytes[..format.bytes()])?;
    step.vectors.numeric = format.take(&bytes);
    Ok(())
}

/// `FNSAVE`: the environment, the stack from its top on, and then as `FNINIT`.
pub(crate) fn save(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    let format = Format::of(step);
    let mut bytes = [0; SIZE];
    let (environment, registers) = bytes.split_at_mut(format.bytes());
    format.put(step.vectors, environment);
    for (number, place) in registers.chunks_exact_mut(REGISTER).take(8).enumerate() {
        let physical = step.vectors.numeric.physical(number);
        place.copy_from_slice(&step.vectors.operands.x87[physical][..REGISTER]);
    }
    let count = format.bytes() + REGISTERS;
    let address = linear_address(step.cpu, step.instruction, 0, count as u64, true)?;
    prepared.check_alignment(step.cpu, address)?;
    step.write(address, &bytes[..count])?;
    step.vectors.numeric = Numeric::default();
    Ok(())
}

/// `FRSTOR`.
pub(crate) fn restore(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    step.deliver()?;
    let format = Format::of(step);
    let mut bytes = [0; SIZE];
    let count = format.bytes() + REGISTERS;
    let address = linear_address(step.cpu, step.instruction, 0, count as u64, false)?;
    prepared.check_alignment(step.cpu, address)?;
    step.read(address, &mut bytes[..count])?;
    let (environment, registers) = bytes.split_at(format.bytes());
    step.vectors.numeric = format.take(environment);
    for (number, place) in registers.chunks_exact(REGISTER).take(8).enumerate() {
        let physical = step.vectors.numeric.physical(number);
        step.vectors.operands.x87[physical][..REGISTER].copy_from_slice(place);
    }
    Ok(())
}
