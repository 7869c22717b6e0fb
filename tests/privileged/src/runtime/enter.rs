//! The way into a case: control registers first, then by its mode.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

use super::saved;
use crate::layout::{self, RECORD, selector};
use crate::record::{Entry, field};

const EFER: u32 = 0xc000_0080;
const VIRTUAL_8086: u32 = 1 << 17;

/// A segment register's selector in the record, by its number.
pub(super) const fn segment(number: u32) -> u32 {
    RECORD + field::SEGMENTS + number * 2
}

/// A general register's value in the record, by its number.
pub(super) const fn general(number: u32) -> u32 {
    RECORD + field::GENERAL + number * 8
}

/// Enters the case whose record lies at `RECORD`.
pub(super) fn code(a: &mut CodeAssembler, label: &mut CodeLabel) -> Result<(), IcedError> {
    a.set_label(label)?;
    control(a)?;
    far_pointer(a)?;
    a.cmp(dword_ptr(RECORD + field::ENTRY), Entry::Real as u32)?;
    let mut has_tasks = a.create_label();
    a.jne(has_tasks)?;
    far_jump(a, selector::HOME_CODE_16, 0x6000)?;

    a.set_label(&mut has_tasks)?;
    a.lldt(word_ptr(RECORD + field::LDTR))?;
    a.ltr(word_ptr(RECORD + field::TR))?;
    a.cmp(dword_ptr(RECORD + field::ENTRY), Entry::Long as u32)?;
    let mut is_legacy = a.create_label();
    a.jne(is_legacy)?;
    let long_gates = RECORD + field::SIZE;
    a.mov(word_ptr(long_gates), 0xfff)?;
    a.mov(dword_ptr(long_gates + 2), layout::IDT_LONG)?;
    a.lidt(fword_ptr(long_gates))?;
    far_jump(a, selector::HOME_CODE_64, layout::RUNTIME_64)?;

    a.set_label(&mut is_legacy)?;
    write_registers(a)?;
    let mut is_outer = a.create_label();
    a.test(dword_ptr(RECORD + field::RFLAGS), VIRTUAL_8086)?;
    a.jne(is_outer)?;
    a.test(byte_ptr(segment(1)), 3)?;
    a.jne(is_outer)?;
    same_level(a)?;
    a.set_label(&mut is_outer)?;
    outer_level(a)
}

fn control(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.mov(eax, dword_ptr(RECORD + field::CR4))?;
    a.mov(cr4, eax)?;
    a.mov(eax, dword_ptr(RECORD + field::CR3))?;
    a.mov(cr3, eax)?;
    a.mov(ecx, EFER)?;
    a.mov(eax, dword_ptr(RECORD + field::EFER))?;
    a.xor(edx, edx)?;
    a.wrmsr()?;
    a.mov(eax, dword_ptr(RECORD + field::CR0))?;
    a.or(eax, 1)?;
    a.mov(cr0, eax)?;
    a.mov(eax, dword_ptr(RECORD + field::DEBUG))?;
    a.mov(dr0, eax)?;
    a.mov(eax, dword_ptr(RECORD + field::DEBUG + 4))?;
    a.mov(dr1, eax)?;
    a.mov(eax, dword_ptr(RECORD + field::DEBUG + 8))?;
    a.mov(dr2, eax)?;
    a.mov(eax, dword_ptr(RECORD + field::DEBUG + 12))?;
    a.mov(dr3, eax)?;
    a.mov(eax, dword_ptr(RECORD + field::DEBUG + 16))?;
    a.mov(dr7, eax)
}

/// For the case's first instruction: 4 bytes of the instruction pointer and a selector.
fn far_pointer(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.mov(eax, dword_ptr(RECORD + field::RIP))?;
    a.mov(dword_ptr(saved::FAR_POINTER), eax)?;
    a.mov(ax, word_ptr(segment(1)))?;
    a.mov(word_ptr(saved::FAR_POINTER + 4), ax)
}

pub(super) fn far_jump(a: &mut CodeAssembler, selector: u16, offset: u32) -> Result<(), IcedError> {
    let mut bytes = vec![0xea];
    bytes.extend(offset.to_le_bytes());
    bytes.extend(selector.to_le_bytes());
    a.db(&bytes)
}

/// Sets the model-specific registers that the record lists.
pub(super) fn write_registers(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut again, mut done) = (a.create_label(), a.create_label());
    a.mov(esi, dword_ptr(RECORD + field::MSRS))?;
    a.mov(edi, dword_ptr(RECORD + field::MSR_COUNT))?;
    a.set_label(&mut again)?;
    a.test(edi, edi)?;
    a.je(done)?;
    a.lodsd()?;
    a.mov(ecx, eax)?;
    a.lodsd()?;
    a.mov(edx, eax)?;
    a.lodsd()?;
    a.xchg(eax, edx)?;
    a.wrmsr()?;
    a.dec(edi)?;
    a.jmp(again)?;
    a.set_label(&mut done)?;
    a.nop()
}

/// Level 0 without a stack of the test kernel's: the case's may be unusable.
fn same_level(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.push(dword_ptr(RECORD + field::RFLAGS))?;
    a.popfd()?;
    a.mov(ss, word_ptr(segment(2)))?;
    a.mov(esp, dword_ptr(general(4)))?;
    registers(a)?;
    // jmp fword ptr cs:[FAR_POINTER]
    let mut bytes = vec![0x2e, 0xff, 0x2d];
    bytes.extend(saved::FAR_POINTER.to_le_bytes());
    a.db(&bytes)
}

fn outer_level(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut is_protected = a.create_label();
    a.test(dword_ptr(RECORD + field::RFLAGS), VIRTUAL_8086)?;
    a.je(is_protected)?;
    for number in [5, 4, 3, 0] {
        a.movzx(eax, word_ptr(segment(number)))?;
        a.push(eax)?;
    }
    a.set_label(&mut is_protected)?;
    a.movzx(eax, word_ptr(segment(2)))?;
    a.push(eax)?;
    a.push(dword_ptr(general(4)))?;
    a.push(dword_ptr(RECORD + field::RFLAGS))?;
    a.movzx(eax, word_ptr(segment(1)))?;
    a.push(eax)?;
    a.push(dword_ptr(RECORD + field::RIP))?;
    let mut is_virtual = a.create_label();
    a.test(dword_ptr(RECORD + field::RFLAGS), VIRTUAL_8086)?;
    a.jne(is_virtual)?;
    registers(a)?;
    a.iretd()?;
    a.set_label(&mut is_virtual)?;
    for (number, register) in (0..).zip([eax, ecx, edx, ebx, esp, ebp, esi, edi]) {
        if register != esp {
            a.mov(register, dword_ptr(general(number)))?;
        }
    }
    a.iretd()
}

/// The general and the segment registers, but the stack's and the code's.
fn registers(a: &mut CodeAssembler) -> Result<(), IcedError> {
    for (number, register) in [(0, es), (4, fs), (5, gs)] {
        a.mov(register, word_ptr(segment(number)))?;
    }
    for (number, register) in (0..).zip([eax, ecx, edx, ebx, esp, ebp, esi, edi]) {
        if register != esp {
            a.mov(register, dword_ptr(general(number)))?;
        }
    }
    a.mov(ds, word_ptr(segment(3)))
}
