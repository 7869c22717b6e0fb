//! From bytes to blocks.

use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction};
use machine_memory::Frame;
use x86_paging::{Access, Kind};
use x86_semantics::{CodeSize, Exception, Memory, is_canonical};

use crate::blocks::{Ops, Start};
use crate::core::Core;
use crate::ops;

/// Longest instruction (SDM vol. 2, 2.3.11).
const LONGEST: usize = 15;
/// Most instructions of a block, and bytes of it.
const BLOCK_MAX: usize = 64;
const BYTES_MAX: usize = 256;
const PAGE: u64 = 0xfff;

/// The block at `start`, whose page is `frame`; `None` when not even its first instruction lies in the page and
/// in its segment.
pub(crate) fn block<'a>(
    core: &mut Core<'a>,
    start: &Start,
    linear: u64,
    frame: Frame<'a>,
    page: u64,
) -> Option<Ops<'a>> {
    let offset = (linear & PAGE) as usize;
    let mut bytes = [0; BYTES_MAX];
    let length = BYTES_MAX.min(PAGE as usize + 1 - offset);
    let length = length.min(room(start));
    let bytes = &mut bytes[..length];
    // First the mark, then the bytes: whoever writes afterwards sees the one or has written the other.
    let physical = page | offset as u64;
    if length == 0 {
        return None;
    }
    let memory = core.bus.memory;
    if core.bus.watch.mark(memory, physical, length as u64) {
        // Whoever could write there must look again.
        core.bus.see_mark(page);
    }
    frame.read(offset, bytes);
    let mut instructions = decode(start, bytes);
    if core.bus.interest.is_in(linear) {
        return instructions.first().map(|first| ops::alone(core, first));
    }
    core.bus.interest.cut(start, &mut instructions);
    ops::chain(core, &instructions, start)
}

/// Bytes from the start to the segment's end.
fn room(start: &Start) -> usize {
    if start.mode.size == CodeSize::Quad {
        return BYTES_MAX;
    }
    let room = (u64::from(start.limit) + 1).saturating_sub(start.rip);
    usize::try_from(room).map_or(BYTES_MAX, |room| room.min(BYTES_MAX))
}

/// Instructions up to the first that goes elsewhere, or that is not whole.
fn decode(start: &Start, bytes: &[u8]) -> Vec<Instruction> {
    let bits = start.mode.size.bits();
    let mut decoder = Decoder::with_ip(bits, bytes, start.rip, DecoderOptions::AMD);
    let mut all = Vec::new();
    while all.len() < BLOCK_MAX && decoder.can_decode() {
        let instruction = decoder.decode();
        let is_cut = decoder.last_error() == DecoderError::NoMoreBytes;
        if instruction.is_invalid() && (is_cut || instruction.len() == LONGEST) {
            break;
        }
        let ends = ops::ends_block(&instruction);
        all.push(instruction);
        if ends {
            break;
        }
    }
    all
}

/// The one instruction at `rip`, as the processor fetches it.
pub(crate) fn one(core: &mut Core<'_>) -> Result<Instruction, Exception> {
    let rip = core.cpu.rip;
    let size = core.mode.size;
    let mut bytes = [0; LONGEST];
    let mut have = 0;
    loop {
        // To the page's end at most: the next may not be there, and not be needed.
        let offset = rip.wrapping_add(have as u64) & size.following();
        let linear = core.code_at(offset);
        if !is_canonical(linear) {
            return Err(Exception::Protection(0));
        }
        let in_page = (PAGE as usize + 1) - (linear & PAGE) as usize;
        let limit = u64::from(core.cpu.segments.cs.limit);
        let in_segment = match size {
            CodeSize::Quad => LONGEST,
            _ => (limit + 1).saturating_sub(offset).min(LONGEST as u64) as usize,
        };
        let count = (LONGEST - have).min(in_page).min(in_segment);
        if count == 0 {
            // Too long, or beyond the segment.
            return Err(Exception::Protection(0));
        }
        let privilege = core.cpu.privilege();
        let kind = Kind::Fetch;
        let part = &mut bytes[have..have + count];
        core.bus
            .read_bytes(linear, part, Access { kind, privilege })?;
        have += count;
        let mut decoder = Decoder::with_ip(size.bits(), &bytes[..have], rip, DecoderOptions::AMD);
        let instruction = decoder.decode();
        let is_cut = match have {
            LONGEST => instruction.is_invalid() && is_too_long(size, &bytes),
            _ => decoder.last_error() == DecoderError::NoMoreBytes,
        };
        if !is_cut {
            return Ok(instruction);
        }
    }
}

/// Whether bytes of which all are the beginning of one instruction, or which are none, are too few for it. The decoder
/// does not tell the two from each other; but so many have a prefix without which they mean as much.
fn is_too_long(size: CodeSize, bytes: &[u8; LONGEST]) -> bool {
    let prefixes = bytes.iter().take_while(|byte| is_prefix(**byte)).count();
    let (before, rest) = bytes.split_at(prefixes);
    let says_nothing = |at: usize| {
        let later = &before[at + 1..];
        match before[at] {
            // The later of the two counts.
            0xf2 | 0xf3 => later.contains(&0xf2) || later.contains(&0xf3),
            byte @ (0x66 | 0x67) => later.contains(&byte),
            _ => true,
        }
    };
    let Some(at) = (0..prefixes).find(|at| says_nothing(*at)) else {
        return false;
    };
    let shorter = [&before[..at], &before[at + 1..], rest].concat();
    let mut decoder = Decoder::new(size.bits(), &shorter, DecoderOptions::AMD);
    let _ = decoder.decode();
    decoder.last_error() == DecoderError::NoMoreBytes
}

/// Prefixes but for `REX` (SDM vol. 2, 2.1.1).
const fn is_prefix(byte: u8) -> bool {
    matches!(
        byte,
        0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many prefixes that all is 15 bytes, and the beginning of an instruction.
    fn is_long(first: u8, rest: &[u8]) -> bool {
        let mut bytes = [0x66; LONGEST];
        bytes[0] = first;
        bytes[LONGEST - rest.len()..].copy_from_slice(rest);
        is_too_long(CodeSize::Quad, &bytes)
    }

    #[test]
    fn an_instruction_of_15_bytes_may_be_none_without_being_too_long() {
        // lock nop; lock add al, 7; push es, which there is not in 64-bit code, and a byte
        assert!(!is_long(0xf0, &[0x90]));
        assert!(!is_long(0xf0, &[0x04, 7]));
        assert!(!is_long(0x66, &[0x06, 0]));
        // add al, ...; add eax, [rax + ...]
        assert!(is_long(0x66, &[0x04]));
        assert!(is_long(0xf0, &[0x04]));
        assert!(is_long(0x2e, &[0x03, 0x40]));
    }
}
