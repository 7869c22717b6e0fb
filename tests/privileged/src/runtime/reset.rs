//! What is set back before each case.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

use crate::layout::{self, RECORD};
use crate::record::field;
use crate::task;

/// Model-specific registers that cases change, and what they are before each.
const REGISTERS: [(u32, u64); 13] = [
    (0x174, 0),
    (0x175, 0),
    (0x176, 0),
    (0x277, 0x0007_0406_0007_0406),
    (0xc000_0080, 0),
    (0xc000_0081, 0),
    (0xc000_0082, 0),
    (0xc000_0083, 0),
    (0xc000_0084, 0),
    (0xc000_0100, 0),
    (0xc000_0101, 0),
    (0xc000_0102, 0),
    (0xc000_0103, 0),
];

/// Sets back tables and registers, then does what the case's record says of memory.
pub(super) fn subroutine(
    a: &mut CodeAssembler,
    label: &mut CodeLabel,
    copies: &[(u32, u32, u32)],
) -> Result<(), IcedError> {
    a.set_label(label)?;
    for (destination, source, length) in copies {
        a.mov(edi, *destination)?;
        a.mov(esi, *source)?;
        a.mov(ecx, length.div_ceil(4))?;
        a.rep().movsd()?;
    }
    for (number, value) in REGISTERS {
        a.mov(ecx, number)?;
        a.mov(eax, (value & 0xffff_ffff) as u32)?;
        a.mov(edx, (value >> 32) as u32)?;
        a.wrmsr()?;
    }
    a.fninit()?;
    // Tasks have page tables, the same ones as the case.
    a.mov(eax, dword_ptr(RECORD + field::CR3))?;
    for segment in [layout::TSS, layout::TSS_CAPTURE, layout::TSS_OTHER] {
        a.mov(dword_ptr(segment + task::field::CR3), eax)?;
    }
    patches(a)?;
    a.ret()
}

fn patches(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut again, mut done) = (a.create_label(), a.create_label());
    a.mov(esi, dword_ptr(RECORD + field::PATCHES))?;
    a.mov(ebx, dword_ptr(RECORD + field::PATCH_COUNT))?;
    a.set_label(&mut again)?;
    a.test(ebx, ebx)?;
    a.je(done)?;
    a.lodsd()?;
    a.mov(edi, eax)?;
    a.lodsd()?;
    a.mov(ecx, eax)?;
    a.rep().movsb()?;
    a.add(esi, 3)?;
    a.and(esi, -4)?;
    a.dec(ebx)?;
    a.jmp(again)?;
    a.set_label(&mut done)?;
    a.zero_bytes()
}
