//! One entry per vector and kind of gate: it notes the vector and goes to the kind's capture.

use iced_x86::IcedError;
use iced_x86::code_asm::CodeAssembler;

use super::{Blob, Places};
use crate::layout::{self, STUB_STRIDE};

/// Entries for all 256 vectors, by kind.
pub(super) fn assemble(places: Places, real: u32, long: u32) -> Result<Vec<Blob>, IcedError> {
    let real_offset = real - layout::RUNTIME;
    Ok(vec![
        table(32, layout::STUBS, 0, places.gate)?,
        table(32, layout::STUBS_GATE_16, 0, places.gate_16)?,
        table(32, layout::STUBS_TASK, 0, places.task)?,
        table(64, layout::STUBS_64, 0, long)?,
        table(16, layout::STUBS_REAL, layout::RUNTIME, real_offset)?,
    ])
}

/// The vector is pushed as a byte, sign-extended: the captures look at 8 bits only.
fn table(bitness: u32, address: u32, base: u32, capture: u32) -> Result<Blob, IcedError> {
    let mut bytes = Vec::new();
    for vector in 0..=255u8 {
        let mut a = CodeAssembler::new(bitness)?;
        a.push(i32::from(vector.cast_signed()))?;
        a.jmp(u64::from(capture))?;
        let here = address - base + u32::from(vector) * STUB_STRIDE;
        let mut entry = a.assemble(u64::from(here))?;
        entry.resize(STUB_STRIDE as usize, 0x90);
        bytes.extend(entry);
    }
    Ok(Blob { address, bytes })
}
