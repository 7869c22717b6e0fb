//! Where memory operands are.

use iced_x86::{Instruction, Register};
use x86_semantics::{CodeSize, Cpu, Exception, linear_address};

/// The halves in which addresses of 48 bits lie.
const LOWER_END: u64 = 1 << 47;
const UPPER: u64 = !(LOWER_END - 1);

/// The linear address of a memory operand, if its segment allows the access.
#[inline]
pub(crate) fn address(
    cpu: &Cpu,
    instruction: &Instruction,
    operand: u32,
    bytes: u64,
    writes: bool,
) -> Result<u64, Exception> {
    match flat(cpu, instruction, bytes) {
        Some(address) => Ok(address),
        None => linear_address(cpu, instruction, operand, bytes, writes),
    }
}

/// `#AC` if alignment is checked, and this address is not a multiple of so many bytes, which are a power of two (SDM vol. 3,
/// 6.15, interrupt 17).
#[inline]
pub(crate) const fn check_alignment(cpu: &Cpu, address: u64, granule: u8) -> Result<(), Exception> {
    if address & (granule as u64 - 1) != 0 && cpu.checks_alignment() {
        return Err(Exception::Alignment);
    }
    Ok(())
}

/// The address in 64-bit code by 64-bit registers and without a segment's base: what most have. `None` for
/// others, and where it is none.
#[inline]
fn flat(cpu: &Cpu, instruction: &Instruction, bytes: u64) -> Option<u64> {
    let has_base = matches!(instruction.segment_prefix(), Register::FS | Register::GS);
    if has_base || cpu.code_size() != CodeSize::Quad {
        return None;
    }
    let base = match instruction.memory_base() {
        // `rip` is in the displacement already.
        Register::RIP => 0,
        base => cpu.general[number(base)?],
    };
    let index = match instruction.memory_index() {
        Register::None => 0,
        index => cpu.general[number(index)?].wrapping_mul(instruction.memory_index_scale().into()),
    };
    let address = base
        .wrapping_add(index)
        .wrapping_add(instruction.memory_displacement64());
    let end = address.checked_add(bytes)?;
    let is_canonical = end <= LOWER_END || address >= UPPER;
    is_canonical.then_some(address)
}

/// The number of a 64-bit register.
#[inline]
fn number(register: Register) -> Option<usize> {
    let number = (register as usize).wrapping_sub(Register::RAX as usize);
    (number < 16).then_some(number)
}
