//! The loop over the cases: where it starts, where every case ends, and what goes on then.

use iced_x86::code_asm::*;
use iced_x86::{BlockEncoderOptions, IcedError};

use super::texts::Texts;
use super::{Blob, Places, capture, enter, print, reset, saved};
use crate::layout::{self, selector};
use crate::record::field;

/// The debug status register's bits that always read as one.
const DR6_CLEAR: u32 = 0xffff_0ff0;
const EFER: u32 = 0xc000_0080;
const COM1: u32 = 0x3f8;
/// Where every capture ends.
pub(super) const HOME: u32 = layout::RUNTIME;

/// Assembles all of the 32-bit code.
pub(super) fn assemble(
    texts: &mut Texts,
    set_back: &[(u32, u32, u32)],
    first: u32,
) -> Result<(Blob, Places), IcedError> {
    let mut a = CodeAssembler::new(32)?;
    let mut marks = Marks::new(&mut a);
    home(&mut a, texts, &mut marks)?;
    start(&mut a, texts, &mut marks, first)?;
    next(&mut a, texts, &mut marks)?;
    reset::subroutine(&mut a, &mut marks.reset, set_back)?;
    enter::code(&mut a, &mut marks.enter)?;
    capture::gates(&mut a, &mut marks)?;
    capture::task(&mut a, &mut marks)?;
    print::subroutines(&mut a, texts, &mut marks)?;

    let options = BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS;
    let assembled = a.assemble_options(layout::RUNTIME.into(), options)?;
    assert_eq!(assembled.label_ip(&marks.home)?, u64::from(HOME));
    let place = |label: &CodeLabel| -> Result<u32, IcedError> {
        let address = assembled.label_ip(label)?;
        Ok(u32::try_from(address).expect("the code is at low addresses"))
    };
    let places = Places {
        start: place(&marks.start)?,
        gate: place(&marks.gate)?,
        gate_16: place(&marks.gate_16)?,
        task: place(&marks.task)?,
    };
    let bytes = assembled.inner.code_buffer;
    assert!(bytes.len() <= (layout::STUBS - layout::RUNTIME) as usize);
    let address = layout::RUNTIME;
    Ok((Blob { address, bytes }, places))
}

/// Labels that parts of the code know of each other.
pub(super) struct Marks {
    pub(super) start: CodeLabel,
    pub(super) home: CodeLabel,
    pub(super) next: CodeLabel,
    pub(super) finish: CodeLabel,
    pub(super) reset: CodeLabel,
    pub(super) enter: CodeLabel,
    pub(super) gate: CodeLabel,
    pub(super) gate_16: CodeLabel,
    pub(super) task: CodeLabel,
    pub(super) line: CodeLabel,
    pub(super) text: CodeLabel,
}

impl Marks {
    fn new(a: &mut CodeAssembler) -> Self {
        Self {
            start: a.create_label(),
            home: a.create_label(),
            next: a.create_label(),
            finish: a.create_label(),
            reset: a.create_label(),
            enter: a.create_label(),
            gate: a.create_label(),
            gate_16: a.create_label(),
            task: a.create_label(),
            line: a.create_label(),
            text: a.create_label(),
        }
    }
}

fn out(a: &mut CodeAssembler, port: u32, value: u32) -> Result<(), IcedError> {
    a.mov(edx, port)?;
    a.mov(eax, value)?;
    a.out(dx, al)
}

/// Once: the serial port, no interrupts, the first case.
fn start(
    a: &mut CodeAssembler,
    texts: &mut Texts,
    marks: &mut Marks,
    first: u32,
) -> Result<(), IcedError> {
    a.set_label(&mut marks.start)?;
    load_tables(a, texts)?;
    // 115200 baud, 8 bits, no parity; no interrupts, neither of it nor of the two 8259s.
    for (register, value) in [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 0), (4, 3)] {
        out(a, COM1 + register, value)?;
    }
    out(a, 0x21, 0xff)?;
    out(a, 0xa1, 0xff)?;
    let begin = texts.text("privileged: start\n");
    a.mov(esi, begin)?;
    a.call(marks.text)?;
    a.mov(ebx, first)?;
    a.jmp(marks.next)
}

/// The flat segments, a stack and plain flags.
fn load_tables(a: &mut CodeAssembler, texts: &mut Texts) -> Result<(), IcedError> {
    let descriptors = texts.pointer(layout::GDT, layout::GDT_ENTRIES * 8);
    let gates = texts.pointer(layout::IDT, 0x800);
    a.lgdt(fword_ptr(descriptors))?;
    a.lidt(fword_ptr(gates))?;
    a.mov(eax, u32::from(selector::HOME_DATA))?;
    for register in [ds, es, fs, gs, ss] {
        a.mov(register, eax)?;
    }
    a.mov(esp, layout::HOME_STACK)?;
    a.push(2)?;
    a.popfd()?;
    // Only IRET clears VIF and VIP for sure, which without NT returns to behind itself.
    let mut here = a.create_label();
    a.push(2)?;
    a.push(i32::from(selector::HOME_CODE))?;
    a.call(here)?;
    a.set_label(&mut here)?;
    a.add(dword_ptr(esp), 5)?;
    a.iretd()
}

/// Where every case ends: notes the control registers and makes the processor plain again.
///
/// The segments are any, and so is the stack; paging is on or off, long mode active or not.
fn home(a: &mut CodeAssembler, texts: &mut Texts, marks: &mut Marks) -> Result<(), IcedError> {
    a.set_label(&mut marks.home)?;
    a.mov(eax, u32::from(selector::HOME_DATA))?;
    a.mov(ds, eax)?;
    a.mov(ss, eax)?;
    a.mov(esp, layout::HOME_STACK)?;
    save_control(a)?;
    // Without CR4.PCIDE paging may be switched off, without paging long mode.
    a.mov(eax, cr4)?;
    a.and(eax, 0x20)?;
    a.mov(cr4, eax)?;
    a.mov(eax, 0x11)?;
    a.mov(cr0, eax)?;
    a.xor(eax, eax)?;
    a.mov(cr4, eax)?;
    a.xor(edx, edx)?;
    a.mov(ecx, EFER)?;
    a.wrmsr()?;
    a.mov(eax, 0x400)?;
    a.mov(dr7, eax)?;
    a.mov(eax, DR6_CLEAR)?;
    a.mov(dr6, eax)?;
    load_tables(a, texts)?;
    a.xor(eax, eax)?;
    a.lldt(ax)?;
    a.call(marks.line)?;
    a.mov(ebx, dword_ptr(saved::CURRENT))?;
    a.mov(ebx, dword_ptr(ebx + field::NEXT))?;
    a.jmp(marks.next)
}

fn save_control(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut is_real = a.create_label();
    let mut was_protected = a.create_label();
    let mut keeps_cr2 = a.create_label();
    a.mov(eax, cr0)?;
    a.cmp(dword_ptr(saved::BY), saved::by::REAL)?;
    a.je(is_real)?;
    a.str(word_ptr(saved::TR))?;
    a.sldt(word_ptr(saved::LDTR))?;
    a.jmp(was_protected)?;
    a.set_label(&mut is_real)?;
    // Real mode is left by setting CR0.PE, and has no tasks.
    a.dec(eax)?;
    a.mov(ecx, dword_ptr(layout::RECORD + field::TR))?;
    a.mov(word_ptr(saved::TR), cx)?;
    a.shr(ecx, 16)?;
    a.mov(word_ptr(saved::LDTR), cx)?;
    a.set_label(&mut was_protected)?;
    a.mov(dword_ptr(saved::CR0), eax)?;
    a.cmp(dword_ptr(saved::BY), saved::by::GATE_64)?;
    a.je(keeps_cr2)?;
    a.mov(eax, cr2)?;
    a.mov(dword_ptr(saved::CR2), eax)?;
    a.and(dword_ptr(saved::CR2 + 4), 0)?;
    a.set_label(&mut keeps_cr2)?;
    a.mov(eax, cr3)?;
    a.mov(dword_ptr(saved::CR3), eax)?;
    a.mov(eax, cr4)?;
    a.mov(dword_ptr(saved::CR4), eax)?;
    a.mov(eax, dr6)?;
    a.mov(dword_ptr(saved::DR6), eax)?;
    a.mov(eax, dr7)?;
    a.mov(dword_ptr(saved::DR7), eax)?;
    a.mov(ecx, EFER)?;
    a.rdmsr()?;
    a.mov(dword_ptr(saved::EFER), eax)?;
    save_registers(a)
}

/// The model-specific registers that the record lists, before FS and GS are loaded.
fn save_registers(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut again, mut done) = (a.create_label(), a.create_label());
    a.mov(ebx, dword_ptr(layout::RECORD + field::MSR_PROBES))?;
    a.mov(ebp, dword_ptr(layout::RECORD + field::MSR_PROBE_COUNT))?;
    a.mov(edi, saved::REGISTERS)?;
    a.set_label(&mut again)?;
    a.test(ebp, ebp)?;
    a.je(done)?;
    a.mov(ecx, dword_ptr(ebx))?;
    a.rdmsr()?;
    a.mov(dword_ptr(edi), eax)?;
    a.mov(dword_ptr(edi + 4), edx)?;
    a.add(ebx, 4)?;
    a.add(edi, 8)?;
    a.dec(ebp)?;
    a.jmp(again)?;
    a.set_label(&mut done)?;
    a.nop()
}

/// Starts the case whose record EBX points to; there is an end.
fn next(a: &mut CodeAssembler, texts: &mut Texts, marks: &mut Marks) -> Result<(), IcedError> {
    a.set_label(&mut marks.next)?;
    a.test(ebx, ebx)?;
    a.je(marks.finish)?;
    a.mov(dword_ptr(saved::CURRENT), ebx)?;
    a.mov(esi, ebx)?;
    a.mov(edi, layout::RECORD)?;
    a.mov(ecx, field::SIZE / 4)?;
    a.rep().movsd()?;
    a.mov(esi, dword_ptr(layout::RECORD + field::NAME))?;
    a.call(marks.text)?;
    a.call(marks.reset)?;
    a.jmp(marks.enter)?;

    a.set_label(&mut marks.finish)?;
    let end = texts.text("privileged: end\n");
    a.mov(esi, end)?;
    a.call(marks.text)?;
    // Until the last letter has left.
    let mut busy = a.create_label();
    a.mov(edx, COM1 + 5)?;
    a.set_label(&mut busy)?;
    a.in_(al, dx)?;
    a.test(al, 0x40)?;
    a.je(busy)?;
    // Husk and QEMU's isa-debug-exit end by port 0xf4, Bochs by a word at port 0x8900.
    out(a, 0xf4, 0)?;
    for letter in b"Shutdown" {
        out(a, 0x8900, u32::from(*letter))?;
    }
    a.cli()?;
    a.hlt()?;
    let mut forever = a.create_label();
    a.set_label(&mut forever)?;
    a.jmp(forever)
}
