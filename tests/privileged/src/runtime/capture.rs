//! What interrupt, trap and task gates of protected mode lead to.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

use super::enter::far_jump;
use super::home::{HOME, Marks};
use super::saved;
use crate::layout::{self, selector};
use crate::task;

const REGISTERS: [AsmRegister32; 8] = [eax, ecx, edx, ebx, esp, ebp, esi, edi];

/// On the stack: the vector in 32 bits, perhaps an error code, and what the gate pushes.
pub(super) fn gates(a: &mut CodeAssembler, marks: &mut Marks) -> Result<(), IcedError> {
    let (mut save, mut small, mut done) = (a.create_label(), a.create_label(), a.create_label());
    a.set_label(&mut marks.gate)?;
    flat_data(a)?;
    a.mov(dword_ptr(saved::BY), saved::by::GATE)?;
    a.jmp(save)?;
    a.set_label(&mut marks.gate_16)?;
    flat_data(a)?;
    a.mov(dword_ptr(saved::BY), saved::by::GATE_16)?;

    a.set_label(&mut save)?;
    a.pop(dword_ptr(saved::segment(3)))?;
    a.pop(dword_ptr(saved::general(0)))?;
    for (number, register) in (0..).zip(REGISTERS) {
        if register != eax && register != esp {
            a.mov(dword_ptr(saved::general(number)), register)?;
        }
    }
    for (number, register) in [(0, es), (4, fs), (5, gs)] {
        a.mov(ecx, register)?;
        a.mov(dword_ptr(saved::segment(number)), ecx)?;
    }
    vector(a)?;
    a.cmp(dword_ptr(saved::BY), saved::by::GATE_16)?;
    a.je(small)?;
    frame(a)?;
    go_home(a)?;
    a.set_label(&mut small)?;
    frame_16(a)?;
    a.set_label(&mut done)?;
    go_home(a)
}

/// A capture's code segment may be any at level 0.
fn go_home(a: &mut CodeAssembler) -> Result<(), IcedError> {
    far_jump(a, selector::HOME_CODE, HOME)
}

/// Makes DS usable; what it was, and EAX, are on the stack.
fn flat_data(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.push(eax)?;
    a.push(ds)?;
    a.mov(eax, u32::from(selector::HOME_DATA))?;
    a.mov(ds, eax)
}

/// Takes the vector, and notes the capture's own segments and stack. CF: there is an error code.
fn vector(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut done = a.create_label();
    a.pop(eax)?;
    a.movzx(eax, al)?;
    a.mov(dword_ptr(saved::VECTOR), eax)?;
    a.mov(dword_ptr(saved::OWN_SP), esp)?;
    a.mov(dword_ptr(saved::OWN_SP + 4), 0)?;
    for (place, register) in [(saved::OWN_CS, cs), (saved::OWN_SS, ss)] {
        a.mov(ecx, register)?;
        a.mov(dword_ptr(place), ecx)?;
    }
    a.mov(ecx, saved::WITH_ERROR)?;
    a.cmp(eax, 32)?;
    a.jae(done)?;
    a.bt(ecx, eax)?;
    let mut without = a.create_label();
    a.jnc(without)?;
    a.cmp(dword_ptr(saved::BY), saved::by::GATE_16)?;
    let mut small = a.create_label();
    a.je(small)?;
    a.pop(dword_ptr(saved::ERROR))?;
    a.jmp(without)?;
    a.set_label(&mut small)?;
    a.mov(dword_ptr(saved::ERROR), 0)?;
    a.pop(word_ptr(saved::ERROR))?;
    a.set_label(&mut without)?;
    a.nop()?;
    a.set_label(&mut done)?;
    a.nop()
}

/// EIP, CS and EFLAGS, from an outer level also ESP and SS, from virtual-8086 mode all segments.
fn frame(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut outer, mut done) = (a.create_label(), a.create_label());
    a.pop(dword_ptr(saved::RIP))?;
    a.pop(dword_ptr(saved::segment(1)))?;
    a.pop(dword_ptr(saved::RFLAGS))?;
    a.test(dword_ptr(saved::RFLAGS), 1 << 17)?;
    a.jne(outer)?;
    a.test(dword_ptr(saved::segment(1)), 3)?;
    a.jne(outer)?;
    a.mov(dword_ptr(saved::general(4)), esp)?;
    a.mov(ecx, ss)?;
    a.mov(dword_ptr(saved::segment(2)), ecx)?;
    a.jmp(done)?;
    a.set_label(&mut outer)?;
    a.pop(dword_ptr(saved::general(4)))?;
    a.pop(dword_ptr(saved::segment(2)))?;
    a.test(dword_ptr(saved::RFLAGS), 1 << 17)?;
    a.je(done)?;
    for number in [0, 3, 4, 5] {
        a.pop(dword_ptr(saved::segment(number)))?;
    }
    a.set_label(&mut done)?;
    a.nop()
}

/// The same with 16 bits each.
fn frame_16(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut outer, mut done) = (a.create_label(), a.create_label());
    a.xor(eax, eax)?;
    for place in [saved::RIP, saved::segment(1), saved::RFLAGS] {
        a.pop(ax)?;
        a.mov(dword_ptr(place), eax)?;
    }
    a.test(dword_ptr(saved::segment(1)), 3)?;
    a.jne(outer)?;
    a.mov(dword_ptr(saved::general(4)), esp)?;
    a.mov(ecx, ss)?;
    a.mov(dword_ptr(saved::segment(2)), ecx)?;
    a.jmp(done)?;
    a.set_label(&mut outer)?;
    for place in [saved::general(4), saved::segment(2)] {
        a.pop(ax)?;
        a.mov(dword_ptr(place), eax)?;
    }
    a.set_label(&mut done)?;
    a.nop()
}

/// A task of its own: the case's registers are in the TSS that the back link names.
pub(super) fn task(a: &mut CodeAssembler, marks: &mut Marks) -> Result<(), IcedError> {
    a.set_label(&mut marks.task)?;
    a.mov(dword_ptr(saved::BY), saved::by::TASK)?;
    vector(a)?;
    // EBP: the old task's TSS; EBX: its descriptor.
    a.str(ebx)?;
    base_of(a)?;
    a.movzx(ebx, word_ptr(ebp))?;
    base_of(a)?;
    let mut is_small = a.create_label();
    a.test(byte_ptr(ebx + layout::GDT + 5), 8)?;
    a.je(is_small)?;
    state_32(a)?;
    go_home(a)?;
    a.set_label(&mut is_small)?;
    state_16(a)?;
    go_home(a)
}

/// EBP becomes the base of the GDT's descriptor that EBX selects, EBX its offset.
fn base_of(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.and(ebx, 0xfff8)?;
    a.mov(ebp, dword_ptr(ebx + layout::GDT + 2))?;
    a.and(ebp, 0xff_ffff)?;
    a.mov(eax, dword_ptr(ebx + layout::GDT + 4))?;
    a.and(eax, 0xff00_0000u32 as i32)?;
    a.or(ebp, eax)
}

fn state_32(a: &mut CodeAssembler) -> Result<(), IcedError> {
    use task::field::{EFLAGS, EIP, GENERAL, SEGMENTS};
    let general = (0..8).map(|n| (GENERAL + n * 4, saved::general(n)));
    let segments = (0..6).map(|n| (SEGMENTS + n * 4, saved::segment(n)));
    let others = [(EIP, saved::RIP), (EFLAGS, saved::RFLAGS)];
    for (from, to) in general.chain(segments).chain(others) {
        a.mov(eax, dword_ptr(ebp + from))?;
        a.mov(dword_ptr(to), eax)?;
    }
    Ok(())
}

fn state_16(a: &mut CodeAssembler) -> Result<(), IcedError> {
    use task::field_16::{FLAGS, GENERAL, IP, SEGMENTS};
    let general = (0..8).map(|n| (GENERAL + n * 2, saved::general(n)));
    let segments = (0..4).map(|n| (SEGMENTS + n * 2, saved::segment(n)));
    let others = [(IP, saved::RIP), (FLAGS, saved::RFLAGS)];
    for (from, to) in general.chain(segments).chain(others) {
        a.movzx(eax, word_ptr(ebp + from))?;
        a.mov(dword_ptr(to), eax)?;
    }
    Ok(())
}
