//! What the manuals leave undefined after an instruction: flags, and some results.

use iced_x86::{Mnemonic, RflagsBits};
use x86_state::CpuState;

use crate::instruction::Here;

const RCX: usize = 1;
/// Bits that `LAR` shows and nobody defines (SDM vol. 2, LAR: "00FxFF00H").
const ACCESS_RIGHTS: u64 = 0xf_0000;
const ZERO: u64 = 1 << 6;

/// Gives the interpreter what KVM has where that is undefined; whether anything was.
pub(crate) fn take(here: &Here, before: &CpuState, mine: &mut CpuState, theirs: &CpuState) -> bool {
    let flags = flags(here, before);
    let registers = registers(here, theirs);
    let differing = mine.rflags ^ theirs.rflags;
    let mut has_taken = differing & flags != 0;
    mine.rflags ^= differing & flags;
    if let Some((number, mask)) = registers {
        let differing = (mine.general[number] ^ theirs.general[number]) & mask;
        has_taken |= differing != 0;
        mine.general[number] ^= differing;
    }
    has_taken
}

/// Flags (SDM vol. 2, "Flags Affected", of each instruction; what depends on a count as well).
fn flags(here: &Here, before: &CpuState) -> u64 {
    let bits = here.instruction.rflags_undefined();
    let flag = |bit, flag: u64| if bits & bit != 0 { flag } else { 0 };
    let known = flag(RflagsBits::CF, 1 << 0)
        | flag(RflagsBits::PF, 1 << 2)
        | flag(RflagsBits::AF, 1 << 4)
        | flag(RflagsBits::ZF, 1 << 6)
        | flag(RflagsBits::SF, 1 << 7)
        | flag(RflagsBits::OF, 1 << 11);
    let (count, bits) = (count(here, before), operand_bits(here));
    match here.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal | Mnemonic::Shr if count >= bits => known | 1,
        Mnemonic::Rol | Mnemonic::Ror | Mnemonic::Rcl | Mnemonic::Rcr if count > 1 => {
            known | 1 << 11
        }
        _ => known,
    }
}

fn operand_bits(here: &Here) -> u32 {
    let instruction = &here.instruction;
    let memory = instruction.memory_size().size();
    8 * (if memory > 0 {
        memory
    } else {
        instruction.op0_register().size()
    }) as u32
}

/// The count of a shift: its last operand, or `cl`.
fn count(here: &Here, before: &CpuState) -> u32 {
    let instruction = &here.instruction;
    let last = instruction.op_count().saturating_sub(1);
    let count = instruction.try_immediate(last);
    let count = count.map_or(before.general[RCX] as u8, |count| count as u8);
    u32::from(count) & if operand_bits(here) == 64 { 63 } else { 31 }
}

/// A register, and which bits of it.
fn registers(here: &Here, after: &CpuState) -> Option<(usize, u64)> {
    let register = here.instruction.op0_register();
    let number = register
        .is_gpr()
        .then(|| register.full_register().number())?;
    match here.mnemonic() {
        Mnemonic::Lar => Some((number, ACCESS_RIGHTS)),
        Mnemonic::Bsf | Mnemonic::Bsr if after.rflags & ZERO != 0 => Some((number, u64::MAX)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_defined_is_kept() {
        let check = |code: &[u8], expected: u64| {
            let before = CpuState::default();
            let here = Here::decode(&before, code);
            let theirs = CpuState {
                rflags: 0x8d5,
                ..CpuState::default()
            };
            let mut mine = before.clone();
            let has_taken = take(&here, &before, &mut mine, &theirs);
            assert_eq!(
                (mine.rflags, has_taken),
                (expected, expected != 0),
                "{code:x?}"
            );
        };
        // add al, cl; and al, cl; mul cl; div cl
        check(&[0, 0xc8], 0);
        check(&[0x20, 0xc8], 0x10);
        check(&[0xf6, 0xe1], 0xd4);
        check(&[0xf6, 0xf1], 0x8d5);
    }
}
