//! Images of the whole state, as `FXRSTOR` and `XRSTOR` find them.

use host_processor::{MEMORY, Registers};
use iced_x86::{Code, Instruction, Mnemonic};

use crate::generate::Case;
use crate::operands::Maker;
use oracle::Numbers;

const MXCSR: usize = 24;
const HEADER: usize = 512;
const HEADER_SIZE: usize = 64;
const RAX: usize = 0;
/// Components that a host may have and the machine has not.
const OTHERS: u64 = 0x000f_fff8;

/// Whether it works on components.
fn has_components(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Xsave
            | M::Xsave64
            | M::Xsaveopt
            | M::Xsaveopt64
            | M::Xsavec
            | M::Xsavec64
            | M::Xrstor
            | M::Xrstor64
    )
}

/// Chooses the components for those that have any.
pub(crate) fn choose_components(code: Code, maker: &mut Maker<'_>) {
    if has_components(code.mnemonic()) {
        maker.registers.general[RAX] = match maker.numbers.below(3) {
            0 => 7,
            1 => maker.numbers.below(8),
            _ => maker.numbers.random() & !OTHERS,
        };
    }
}

/// Whether the components are such as both have.
pub(crate) fn is_tried(instruction: &Instruction, registers: &Registers) -> bool {
    !has_components(instruction.mnemonic()) || registers.general[RAX] & OTHERS == 0
}

/// Makes what is restored an image, which mostly is a good one.
pub(crate) fn fill(
    instruction: &Instruction,
    place: u64,
    memory: &mut [u8],
    numbers: &mut Numbers,
) {
    let start = (place - MEMORY) as usize;
    let name = format!("{:?}", instruction.mnemonic());
    let is_image = name.contains("xrstor") || name.contains("Xrstor") || name.starts_with("Xsave");
    if !is_image || start + HEADER + HEADER_SIZE > memory.len() {
        return;
    }
    if numbers.below(8) != 0 {
        let mxcsr = u32::from(numbers.random() as u16);
        memory[start + MXCSR..][..4].copy_from_slice(&mxcsr.to_le_bytes());
    }
    let mut header = [0_u8; HEADER_SIZE];
    header[0] = numbers.below(8) as u8;
    if numbers.below(3) == 0 {
        header[8] = header[0] | numbers.below(8) as u8;
        header[15] = 0x80;
    }
    match numbers.below(12) {
        0 => header[numbers.below(64) as usize] = numbers.random() as u8 & 7,
        1 => header[numbers.below(24) as usize] = numbers.random() as u8 & 0x7d,
        _ => {}
    }
    // No components that only the host has.
    for set in [0, 8] {
        for (byte, others) in header[set..].iter_mut().zip(OTHERS.to_le_bytes()) {
            *byte &= !others;
        }
    }
    memory[start + HEADER..][..HEADER_SIZE].copy_from_slice(&header);
}

/// Whether an instruction would load a bit of MXCSR that AMD's processors have and the machine does not.
pub(crate) fn has_more(case: &Case) -> bool {
    use Mnemonic as M;
    const MISALIGNED: u8 = 1 << 1;
    let start = match case.instruction.mnemonic() {
        M::Ldmxcsr | M::Vldmxcsr => 0,
        M::Fxrstor | M::Fxrstor64 | M::Xrstor | M::Xrstor64 => MXCSR,
        _ => return false,
    };
    let at = (case.place - MEMORY) as usize + start + 2;
    case.memory
        .get(at)
        .is_some_and(|byte| byte & MISALIGNED != 0)
}
