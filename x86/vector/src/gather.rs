//! Gathers: elements from places of their own.

use host_processor::stub::Slot;
use iced_x86::{Code, EncodingKind, Instruction, Mnemonic, OpCodeOperandKind, Register};
use x86_semantics::{Cpu, Exception, linear};

use crate::available::Uses;
use crate::prepared::Prepared;
use crate::registers::{Vectors, array};
use crate::run::Step;

/// Which operand is which.
const PLACES: u32 = 1;

/// How one of these is done.
pub(crate) fn prepared(code: Code) -> Option<Prepared> {
    use Mnemonic as M;
    let is_gather = matches!(
        code.mnemonic(),
        M::Vgatherdps
            | M::Vgatherdpd
            | M::Vgatherqps
            | M::Vgatherqpd
            | M::Vpgatherdd
            | M::Vpgatherdq
            | M::Vpgatherqd
            | M::Vpgatherqq
    );
    let is_here = code.op_code().encoding() == EncodingKind::VEX;
    (is_gather && is_here).then(|| Prepared::by_hand(gather, Uses::Avx))
}

/// How many elements there are, of how many bytes.
struct Shape {
    count: usize,
    element: usize,
}

impl Shape {
    fn of(instruction: &Instruction) -> Self {
        use OpCodeOperandKind as Kind;
        let kind = instruction.code().op_code().op_kind(PLACES);
        let index = match kind {
            Kind::mem_vsib64x | Kind::mem_vsib64y => 8,
            _ => 4,
        };
        let element = instruction.memory_size().size();
        let indexes = instruction.memory_index().size() / index;
        let places = instruction.op0_register().size() / element;
        Self {
            count: indexes.min(places),
            element,
        }
    }
}

/// The offset of an element in its segment.
fn offset(vectors: &Vectors, cpu: &Cpu, instruction: &Instruction, at: usize) -> Option<u64> {
    let register = |register: Register, at: usize, size: usize| {
        Some(if register.is_vector_register() {
            let vector = &vectors.operands.vector[register.number() & 15];
            // With the sign, as an index is taken.
            match size {
                4 => i64::from(i32::from_le_bytes(array(&vector[4 * at..]))) as u64,
                _ => u64::from_le_bytes(array(&vector[8 * at..])),
            }
        } else if register.is_gpr() {
            let value = cpu.general[register.number() & 15];
            if register.is_gpr32() {
                value & 0xffff_ffff
            } else {
                value
            }
        } else {
            0
        })
    };
    instruction.virtual_address(PLACES, at, register)
}

/// Element by element: what was loaded stays when one faults, and the mask up to there is cleared, so that it
/// goes on from there.
fn gather(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    let [to, _, mask, _] = prepared.at.map(Slot::vector_number);
    let Shape { count, element } = Shape::of(step.instruction);
    let segment = step.instruction.memory_segment();
    for at in 0..count {
        let range = at * element..(at + 1) * element;
        if step.vectors.operands.vector[mask][range.end - 1] >> 7 == 0 {
            step.vectors.operands.vector[mask][range].fill(0);
            continue;
        }
        let offset = offset(step.vectors, step.cpu, step.instruction, at);
        let offset = offset.ok_or(Exception::InvalidOpcode)?;
        let mut loaded = [0; 8];
        let loaded = &mut loaded[..element];
        let address = linear(step.cpu, segment, offset, element as u64, false)?;
        step.read(address, loaded)?;
        let vectors = &mut step.vectors.operands.vector;
        vectors[to][range.clone()].copy_from_slice(loaded);
        vectors[mask][range].fill(0);
    }
    let vectors = &mut step.vectors.operands.vector;
    vectors[to][count * element..].fill(0);
    vectors[mask].fill(0);
    Ok(())
}
