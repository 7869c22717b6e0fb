//! The way into long mode's segments, and the capture of its gates.

use iced_x86::code_asm::*;
use iced_x86::{BlockEncoderOptions, IcedError};

use super::enter::{general, segment, write_registers};
use super::texts::Texts;
use super::{Blob, saved};
use crate::layout::{self, RECORD, selector};
use crate::record::field;

const REGISTERS: [AsmRegister64; 16] = [
    rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15,
];

/// The 64-bit code, which starts with the way in, and the address of the capture.
pub(super) fn assemble(texts: &mut Texts, home: u32) -> Result<(Blob, u32), IcedError> {
    let mut a = CodeAssembler::new(64)?;
    enter(&mut a)?;
    let mut label = a.create_label();
    a.set_label(&mut label)?;
    capture(&mut a, texts, home)?;
    let options = BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS;
    let assembled = a.assemble_options(layout::RUNTIME_64.into(), options)?;
    let place = u32::try_from(assembled.label_ip(&label)?).expect("low addresses");
    let blob = Blob {
        address: layout::RUNTIME_64,
        bytes: assembled.inner.code_buffer,
    };
    Ok((blob, place))
}

fn enter(a: &mut CodeAssembler) -> Result<(), IcedError> {
    for (number, register) in [(0, es), (3, ds), (4, fs), (5, gs)] {
        a.movzx(eax, word_ptr(segment(number)))?;
        a.mov(register, eax)?;
    }
    // The bases of FS and GS are among them.
    write_registers(a)?;
    a.movzx(eax, word_ptr(segment(2)))?;
    a.push(rax)?;
    a.push(qword_ptr(general(4)))?;
    a.push(qword_ptr(RECORD + field::RFLAGS))?;
    a.movzx(eax, word_ptr(segment(1)))?;
    a.push(rax)?;
    a.push(qword_ptr(RECORD + field::RIP))?;
    for (number, register) in (0..).zip(REGISTERS) {
        if register != rsp {
            a.mov(register, qword_ptr(general(number)))?;
        }
    }
    a.iretq()
}

/// On the stack: the vector, perhaps an error code, and what every gate of long mode pushes.
fn capture(a: &mut CodeAssembler, texts: &mut Texts, home: u32) -> Result<(), IcedError> {
    for (number, register) in (0..).zip(REGISTERS) {
        a.mov(qword_ptr(saved::general(number)), register)?;
    }
    a.pop(rax)?;
    a.movzx(eax, al)?;
    a.mov(dword_ptr(saved::VECTOR), eax)?;
    a.mov(qword_ptr(saved::OWN_SP), rsp)?;
    for (place, register) in [(saved::OWN_CS, cs), (saved::OWN_SS, ss)] {
        a.mov(ecx, register)?;
        a.mov(dword_ptr(place), ecx)?;
    }
    for (number, register) in [(0, es), (3, ds), (4, fs), (5, gs)] {
        a.mov(ecx, register)?;
        a.mov(dword_ptr(saved::segment(number)), ecx)?;
    }
    let mut without_error = a.create_label();
    a.mov(ecx, saved::WITH_ERROR)?;
    a.cmp(eax, 32)?;
    a.jae(without_error)?;
    a.bt(ecx, eax)?;
    a.jnc(without_error)?;
    a.pop(qword_ptr(saved::ERROR))?;
    a.set_label(&mut without_error)?;
    a.pop(qword_ptr(saved::RIP))?;
    a.pop(rax)?;
    a.mov(dword_ptr(saved::segment(1)), eax)?;
    a.pop(qword_ptr(saved::RFLAGS))?;
    a.pop(qword_ptr(saved::general(4)))?;
    a.pop(rax)?;
    a.mov(dword_ptr(saved::segment(2)), eax)?;
    a.mov(dword_ptr(saved::BY), saved::by::GATE_64)?;
    a.mov(rax, cr2)?;
    a.mov(qword_ptr(saved::CR2), rax)?;
    let mut pointer = home.to_le_bytes().to_vec();
    pointer.extend(selector::HOME_CODE.to_le_bytes());
    let pointer = texts.add(&pointer);
    a.jmp(fword_ptr(pointer))
}
