//! The way into real mode, and the capture of its vectors.
//!
//! All of this code is in one segment of real mode, whose base protected mode gives it, too.

use iced_x86::code_asm::*;
use iced_x86::{BlockEncoderOptions, IcedError};

use super::enter::{general, segment};
use super::{Blob, saved};
use crate::layout::{self, RECORD, selector};
use crate::record::field;

const REGISTERS: [AsmRegister32; 8] = [eax, ecx, edx, ebx, esp, ebp, esi, edi];
const SEGMENT: u32 = layout::RUNTIME >> 4;

/// An address as an offset in the segment.
const fn near(address: u32) -> u32 {
    address - layout::RUNTIME
}

fn word(address: u32) -> AsmMemoryOperand {
    word_ptr(near(address)).cs()
}

fn dword(address: u32) -> AsmMemoryOperand {
    dword_ptr(near(address)).cs()
}

/// The 16-bit code, which starts with the way in, and the address of the capture.
pub(super) fn assemble(home: u32) -> Result<(Blob, u32), IcedError> {
    let mut a = CodeAssembler::new(16)?;
    enter(&mut a)?;
    let mut label = a.create_label();
    a.set_label(&mut label)?;
    capture(&mut a, home)?;
    // Two pointers to descriptor tables follow the code.
    let options = BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS;
    let assembled = a.assemble_options(near(layout::RUNTIME_16).into(), options)?;
    let place = u32::try_from(assembled.label_ip(&label)?).expect("low addresses");
    let mut bytes = assembled.inner.code_buffer;
    assert!(bytes.len() <= (VECTORS - layout::RUNTIME_16) as usize);
    bytes.resize((VECTORS - layout::RUNTIME_16) as usize, 0);
    bytes.extend([0xff, 0x03, 0, 0, 0, 0, 0, 0]);
    bytes.extend(0x1ffu16.to_le_bytes());
    bytes.extend(layout::GDT.to_le_bytes());
    let address = layout::RUNTIME_16;
    Ok((Blob { address, bytes }, place + layout::RUNTIME))
}

/// What LIDT loads in real mode.
const VECTORS: u32 = layout::RUNTIME_16 + 0x300;
/// What LGDT loads on the way back.
const DESCRIPTORS: u32 = VECTORS + 8;

fn enter(a: &mut CodeAssembler) -> Result<(), IcedError> {
    // Segments of 64 KiB, as real mode expects them.
    a.mov(ax, u32::from(selector::HOME_DATA_16))?;
    for register in [ds, es, fs, gs, ss] {
        a.mov(register, ax)?;
    }
    a.lidt(fword_ptr(near(VECTORS)).cs())?;
    a.mov(eax, cr0)?;
    a.and(eax, -2)?;
    a.mov(cr0, eax)?;
    let mut in_real_mode = a.create_label();
    // A far jump to the next instruction, at a known offset.
    a.push(SEGMENT as i32)?;
    a.call(in_real_mode)?;
    a.set_label(&mut in_real_mode)?;
    a.pop(ax)?;
    a.add(ax, 6)?;
    a.push(ax)?;
    a.retf()?;
    a.mov(ax, SEGMENT)?;
    a.mov(ss, ax)?;
    a.mov(sp, near(layout::REAL_STACK))?;
    a.push(dword(RECORD + field::RFLAGS))?;
    a.popfd()?;
    a.mov(ss, word(segment(2)))?;
    a.mov(esp, dword(general(4)))?;
    for (number, register) in [(0, es), (3, ds), (4, fs), (5, gs)] {
        a.mov(register, word(segment(number)))?;
    }
    for (number, register) in (0..).zip(REGISTERS) {
        if register != esp {
            a.mov(register, dword(general(number)))?;
        }
    }
    // jmp dword ptr cs:[FAR_POINTER], whose selector is 4 bytes behind: so 32 bits of offset.
    let mut bytes = vec![0x66, 0x2e, 0xff, 0x2e];
    bytes.extend((near(saved::FAR_POINTER) as u16).to_le_bytes());
    a.db(&bytes)
}

/// On the stack: the vector, and what an interrupt pushes in real mode.
fn capture(a: &mut CodeAssembler, home: u32) -> Result<(), IcedError> {
    for (number, register) in (0..).zip(REGISTERS) {
        a.mov(dword(saved::general(number)), register)?;
    }
    a.pop(ax)?;
    a.movzx(eax, al)?;
    a.mov(dword(saved::VECTOR), eax)?;
    a.mov(dword(saved::OWN_SP), esp)?;
    a.mov(word(saved::OWN_SS), ss)?;
    a.mov(word(saved::OWN_CS), cs)?;
    for place in [saved::RIP, saved::segment(1), saved::RFLAGS] {
        a.pop(ax)?;
        a.mov(dword(place), eax)?;
    }
    a.mov(dword(saved::general(4)), esp)?;
    for (number, register) in [(0, es), (2, ss), (3, ds), (4, fs), (5, gs)] {
        a.mov(word(saved::segment(number)), register)?;
    }
    a.mov(dword(saved::BY), saved::by::REAL)?;
    a.lgdt(fword_ptr(near(DESCRIPTORS)).cs())?;
    a.mov(eax, cr0)?;
    a.or(eax, 1)?;
    a.mov(cr0, eax)?;
    // jmp HOME_CODE:home, with an offset of 32 bits
    let mut bytes = vec![0x66, 0xea];
    bytes.extend(home.to_le_bytes());
    bytes.extend(selector::HOME_CODE.to_le_bytes());
    a.db(&bytes)
}
