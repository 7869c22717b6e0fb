//! Moves of some elements: those whose place in a mask has its sign set. Only these are accessed.

use host_processor::stub::Slot;
use iced_x86::{Code, EncodingKind, Mnemonic, OpKind};
use x86_semantics::{Exception, linear_address};

use crate::address::check_alignment;
use crate::available::Uses;
use crate::prepared::{Handler, Prepared};
use crate::run::Step;

const HALF: usize = 16;
const WHOLE: usize = 32;
const PAGE: u64 = 0x1000;

/// How one of these is done.
pub(crate) fn prepared(code: Code) -> Option<Prepared> {
    use Mnemonic as M;
    let is_vex = code.op_code().encoding() == EncodingKind::VEX;
    let (handler, uses): (Handler, Uses) = match code.mnemonic() {
        M::Maskmovq => (store_mmx, Uses::Mmx),
        M::Maskmovdqu => (store_vector, Uses::Sse),
        M::Vmaskmovdqu => (store_vector, Uses::Avx),
        M::Vmaskmovps | M::Vpmaskmovd if is_vex => (copy::<4>, Uses::Avx),
        M::Vmaskmovpd | M::Vpmaskmovq if is_vex => (copy::<8>, Uses::Avx),
        _ => return None,
    };
    Some(Prepared::by_hand(handler, uses))
}

/// Which of so many elements are meant: a bit for each.
fn selected(mask: &[u8], element: usize) -> u32 {
    let signs = mask
        .chunks_exact(element)
        .map(|bytes| bytes[element - 1] >> 7);
    signs
        .enumerate()
        .fold(0, |all, (at, sign)| all | u32::from(sign) << at)
}

/// The numbers of the elements that are meant.
fn each(selected: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |at| selected >> at & 1 != 0)
}

/// Loads or stores elements. What is not loaded is zero.
fn copy<const ELEMENT: usize>(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    let bytes = usize::from(prepared.memory_bytes);
    let numbers = prepared.at.map(Slot::vector_number);
    let vectors = &step.vectors.operands.vector;
    let selected = selected(&vectors[numbers[1]][..bytes], ELEMENT);
    if step.instruction.op0_kind() == OpKind::Memory {
        let source = vectors[numbers[2]];
        return store::<ELEMENT>(step, selected, &source);
    }
    let mut loaded = [0; WHOLE];
    let start = reach(step, 2, selected, ELEMENT, false)?;
    for at in each(selected) {
        let range = at * ELEMENT..(at + 1) * ELEMENT;
        step.read(start.wrapping_add(range.start as u64), &mut loaded[range])?;
    }
    step.vectors.operands.vector[numbers[0]] = loaded;
    Ok(())
}

/// The address of the first element, if the segment allows all that are meant.
fn reach(
    step: &Step<'_>,
    operand: u32,
    selected: u32,
    element: usize,
    writes: bool,
) -> Result<u64, Exception> {
    let Some(last) = each(selected).last() else {
        return Ok(0);
    };
    let bytes = (last + 1) * element;
    linear_address(step.cpu, step.instruction, operand, bytes as u64, writes)
}

/// Stores elements, if all may be written.
fn store<const ELEMENT: usize>(
    step: &mut Step<'_>,
    selected: u32,
    source: &[u8],
) -> Result<(), Exception> {
    let start = reach(step, 0, selected, ELEMENT, true)?;
    let place = |at: usize| start.wrapping_add((at * ELEMENT) as u64);
    for at in each(selected) {
        step.look(place(at), ELEMENT)?;
    }
    for at in each(selected) {
        step.write(place(at), &source[at * ELEMENT..][..ELEMENT])?;
    }
    Ok(())
}

/// Stores bytes, if the pages of all that are meant may be written.
fn store_bytes(step: &mut Step<'_>, selected: u32, source: &[u8]) -> Result<(), Exception> {
    let start = reach(step, 0, selected, 1, true)?;
    // Also if none is meant.
    let place = match selected {
        0 => linear_address(step.cpu, step.instruction, 0, 1, true).unwrap_or(start),
        _ => start,
    };
    check_alignment(step.cpu, place, 8)?;
    let in_first = (PAGE - (start & (PAGE - 1))).min(source.len() as u64) as usize;
    let first = (1 << in_first) - 1;
    if selected & first != 0 {
        step.look(start, 1)?;
    }
    if selected & !first != 0 {
        step.look(start.wrapping_add(in_first as u64), 1)?;
    }
    for at in each(selected) {
        step.write(start.wrapping_add(at as u64), &source[at..=at])?;
    }
    Ok(())
}

/// `MASKMOVDQU`.
fn store_vector(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    let [_, source, mask, _] = prepared.at.map(Slot::vector_number);
    let vectors = &step.vectors.operands.vector;
    let selected = selected(&vectors[mask][..HALF], 1);
    let source = vectors[source];
    store_bytes(step, selected, &source[..HALF])
}

/// `MASKMOVQ`.
fn store_mmx(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    step.deliver()?;
    let register = |operand: u32| step.instruction.op_register(operand).number() & 7;
    let registers = &step.vectors.operands.x87;
    let source = registers[register(1)];
    let selected = selected(&registers[register(2)][..8], 1);
    // Also where it faults then, as AMD's do.
    step.vectors.numeric.enter_mmx();
    store_bytes(step, selected, &source[..8])
}
