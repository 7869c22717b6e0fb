//! Whether the host and the interpreter come to the same. What manuals leave open is left out ([`oracle`]).

use std::ops::Range;

use host_processor::{End, Mode};
use iced_x86::{Instruction, Mnemonic};
use oracle::VECTOR_PARTS;
use x86_semantics::Flags;

use super::guest::{FLAGS, Side};

/// `ZF`.
const ZERO: u64 = 1 << 6;
const RCX: usize = 1;
const RSI: usize = 6;
const RDI: usize = 7;
const PAGE_FAULT: u8 = 14;
const INVALID: End = raised(6);
const PROTECTION: End = raised(13);

const fn raised(vector: u8) -> End {
    End::Raised {
        vector,
        error: 0,
        address: 0,
    }
}

/// What was executed, from what.
pub(super) struct Case<'c> {
    pub(super) mode: Mode,
    pub(super) instruction: &'c Instruction,
    pub(super) before: &'c Side,
    /// Whether it is too long or none is not said.
    pub(super) is_open: bool,
}

/// How an instruction ended, and in what.
pub(super) type Ended<'e> = (End, &'e Side);

/// Compares both.
///
/// # Errors
/// What differs.
pub(super) fn compare(case: &Case<'_>, there: Ended<'_>, here: Ended<'_>) -> Result<(), String> {
    let instruction = case.instruction;
    if oracle::may_fault(instruction)
        && here.0 == End::Done
        && matches!(
            there.0,
            End::Raised {
                vector: PAGE_FAULT,
                ..
            }
        )
    {
        return Ok(());
    }
    if oracle::may_differ(instruction, there.0, here.0) {
        return Ok(());
    }
    let refusals = [INVALID, PROTECTION];
    let is_refused = refusals.contains(&there.0) && refusals.contains(&here.0);
    let is_open = (case.is_open || oracle::may_be_longer(instruction)) && is_refused;
    if !is_open && !is_same_end(instruction, there.0, here.0) {
        return Err(format!(
            "the host ends in {:x?}, not {:x?}",
            there.0, here.0
        ));
    }
    let rcx = case.before.registers.general[RCX];
    let cl = rcx as u8;
    let zero = here.1.registers.flags & ZERO != 0;
    let is_done = here.0 == End::Done;
    if is_done && oracle::is_undefined(instruction, cl, zero) {
        return Ok(());
    }
    let count = if case.mode == Mode::Long { 16 } else { 8 };
    let mut general = [there, here].map(|(_, side)| side.registers.general);
    if oracle::open_upper(instruction, rcx, is_done) {
        for number in [RCX, RSI, RDI] {
            general[0][number] = general[0][number] & 0xffff_ffff | general[1][number] >> 32 << 32;
        }
    }
    let general = general.each_ref().map(|general| &general[..count]);
    if general[0] != general[1] {
        return Err(format!(
            "registers {:x?}, not {:x?}",
            general[0], general[1]
        ));
    }
    let undefined = if is_done {
        oracle::undefined_flags(instruction, cl) & Flags::MASK
    } else if oracle::open_flags(instruction) {
        Flags::MASK
    } else {
        0
    };
    let flags = [there, here].map(|(_, side)| side.registers.flags & FLAGS);
    if (flags[0] ^ flags[1]) & !undefined != 0 {
        return Err(format!("flags {:x}, not {:x}", flags[0], flags[1]));
    }
    compare_memory(case, is_done, there.1, here.1)?;
    compare_vectors(case, there.1, here.1)
}

/// Whether it ended the same way.
fn is_same_end(instruction: &Instruction, there: End, here: End) -> bool {
    if let (
        End::Raised {
            vector,
            error,
            address,
        },
        End::Raised {
            vector: PAGE_FAULT,
            error: error_here,
            address: address_here,
        },
    ) = (there, here)
        && oracle::is_image(instruction)
    {
        // Images are read and written in another order.
        return (vector, error) == (PAGE_FAULT, error_here) && address >> 12 == address_here >> 12;
    }
    let may_want_alignment =
        x86_vector::knows(instruction.code()) || instruction.mnemonic() == Mnemonic::Cmpxchg16b;
    let is_open = may_want_alignment && oracle::may_be_either(there, here);
    there == here || is_open
}

fn compare_memory(case: &Case<'_>, is_done: bool, there: &Side, here: &Side) -> Result<(), String> {
    use Mnemonic as M;
    let mnemonic = case.instruction.mnemonic();
    let in_parts =
        oracle::is_image(case.instruction) || matches!(mnemonic, M::Pusha | M::Pushad | M::Enter);
    if !is_done && in_parts {
        return Ok(());
    }
    // Where an image is, is not known here: its bytes that differ are not more than are left out.
    let most: usize = oracle::left_out(case.instruction)
        .iter()
        .map(Range::len)
        .sum();
    let most = most + oracle::open_pushed(case.instruction);
    let differing = there.memory.iter().zip(&here.memory);
    let differing = differing.filter(|(there, here)| there != here).count();
    if differing <= most {
        return Ok(());
    }
    Err(format!("memory{}", difference(&there.memory, &here.memory)))
}

fn compare_vectors(case: &Case<'_>, there: &Side, here: &Side) -> Result<(), String> {
    let (mut there, here) = (there.extended.bytes, here.extended.bytes);
    let before = &case.before.extended.bytes;
    let mxcsr = u16::from_le_bytes([before[24], before[25]]);
    let open = oracle::open_mxcsr(case.instruction, mxcsr, here[24]);
    there[24] = there[24] & !open | here[24] & open;
    let open = oracle::open_conditions(case.instruction);
    there[3] = there[3] & !open | here[3] & open;
    for (name, range) in VECTOR_PARTS {
        if case.mode == Mode::Protected && range.len() == 256 {
            // Half of the registers are there.
            let half = range.start..range.start + 128;
            same(name, &there[half.clone()], &here[half])?;
            continue;
        }
        same(name, &there[range.clone()], &here[range])?;
    }
    for number in 0..8 {
        let at = 32 + 16 * number;
        same("st", &there[at..at + 10], &here[at..at + 10])?;
    }
    Ok(())
}

fn same(name: &str, there: &[u8], here: &[u8]) -> Result<(), String> {
    if there == here {
        return Ok(());
    }
    Err(format!("{name}{}", difference(there, here)))
}

/// The first byte that differs, and those from there.
fn difference(there: &[u8], here: &[u8]) -> String {
    let pairs = there.iter().zip(here);
    let at = pairs.take_while(|(there, here)| there == here).count();
    let end = (at + 16).min(there.len());
    let (there, here) = (&there[at..end], &here[at..end]);
    format!(" at {at:x}: {there:02x?}, not {here:02x?}")
}
