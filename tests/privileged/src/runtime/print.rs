//! The line of a case, after its name.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

use super::enter::general;
use super::home::Marks;
use super::saved;
use super::texts::Texts;
use crate::layout::RECORD;
use crate::record::field;

const COM1: u32 = 0x3f8;
const GENERAL: [&str; 16] = [
    "ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];
const SEGMENTS: [(u32, &str); 6] = [
    (1, "cs"),
    (2, "ss"),
    (3, "ds"),
    (0, "es"),
    (4, "fs"),
    (5, "gs"),
];

/// The subroutines that print.
pub(super) fn subroutines(
    a: &mut CodeAssembler,
    texts: &mut Texts,
    marks: &mut Marks,
) -> Result<(), IcedError> {
    let mut parts = Parts {
        field: a.create_label(),
        character: a.create_label(),
        text: marks.text,
    };
    line(a, texts, &mut marks.line, &parts)?;
    field_subroutine(a, &mut parts)?;
    a.set_label(&mut marks.text)?;
    text_subroutine(a, &parts)?;
    character_subroutine(a, &mut parts)
}

struct Parts {
    /// Prints the label at ESI and EDX:EAX in hexadecimal.
    field: CodeLabel,
    /// Prints AL.
    character: CodeLabel,
    /// Prints what is at ESI up to a zero byte.
    text: CodeLabel,
}

/// What is written of a case, in this order.
struct Line<'a> {
    a: &'a mut CodeAssembler,
    texts: &'a mut Texts,
    parts: &'a Parts,
}

impl Line<'_> {
    /// Prints EDX:EAX.
    fn value(&mut self, label: &str) -> Result<(), IcedError> {
        let text = self.texts.text(&format!(" {label}="));
        self.a.mov(esi, text)?;
        self.a.call(self.parts.field)
    }

    /// Prints a doubleword of memory.
    fn show(&mut self, label: &str, address: u32) -> Result<(), IcedError> {
        self.a.mov(eax, dword_ptr(address))?;
        self.a.xor(edx, edx)?;
        self.value(label)
    }

    /// Prints a selector: what processors push above one differs.
    fn show_16(&mut self, label: &str, address: u32) -> Result<(), IcedError> {
        self.a.movzx(eax, word_ptr(address))?;
        self.a.xor(edx, edx)?;
        self.value(label)
    }

    /// Prints a doubleword unless it equals another.
    fn show_changed(&mut self, label: &str, address: u32, old: u32) -> Result<(), IcedError> {
        let mut same = self.a.create_label();
        self.a.mov(eax, dword_ptr(address))?;
        self.a.cmp(eax, dword_ptr(old))?;
        self.a.je(same)?;
        self.a.xor(edx, edx)?;
        self.value(label)?;
        self.a.set_label(&mut same)?;
        self.a.nop()
    }

    /// The same for selectors.
    fn show_changed_16(&mut self, label: &str, address: u32, old: u32) -> Result<(), IcedError> {
        let mut same = self.a.create_label();
        self.a.movzx(eax, word_ptr(address))?;
        self.a.cmp(ax, word_ptr(old))?;
        self.a.je(same)?;
        self.a.xor(edx, edx)?;
        self.value(label)?;
        self.a.set_label(&mut same)?;
        self.a.nop()
    }

    /// Prints how far a quadword is from another.
    fn show_distance(&mut self, label: &str, address: u32, old: u32) -> Result<(), IcedError> {
        self.a.mov(eax, dword_ptr(address))?;
        self.a.mov(edx, dword_ptr(address + 4))?;
        self.a.sub(eax, dword_ptr(old))?;
        self.a.sbb(edx, dword_ptr(old + 4))?;
        self.narrow()?;
        self.value(label)
    }

    /// Outside of long mode there is no upper half.
    fn narrow(&mut self) -> Result<(), IcedError> {
        let mut wide = self.a.create_label();
        self.a.cmp(dword_ptr(RECORD + field::WIDE), 0)?;
        self.a.jne(wide)?;
        self.a.xor(edx, edx)?;
        self.a.set_label(&mut wide)?;
        self.a.nop()
    }

    /// Prints a general register if it changed.
    fn show_general(&mut self, number: u32) -> Result<(), IcedError> {
        let (address, old) = (saved::general(number), general(number));
        let mut same = self.a.create_label();
        let mut changed = self.a.create_label();
        self.a.mov(eax, dword_ptr(address))?;
        self.a.mov(edx, dword_ptr(address + 4))?;
        self.narrow()?;
        self.a.cmp(eax, dword_ptr(old))?;
        self.a.jne(changed)?;
        self.a.cmp(dword_ptr(RECORD + field::WIDE), 0)?;
        self.a.je(same)?;
        self.a.cmp(edx, dword_ptr(old + 4))?;
        self.a.je(same)?;
        self.a.set_label(&mut changed)?;
        self.value(GENERAL[number as usize])?;
        self.a.set_label(&mut same)?;
        self.a.nop()
    }

    fn unless_vector(&mut self, vector: u32) -> Result<CodeLabel, IcedError> {
        let other = self.a.create_label();
        self.a.cmp(dword_ptr(saved::VECTOR), vector)?;
        self.a.jne(other)?;
        Ok(other)
    }
}

fn line(
    a: &mut CodeAssembler,
    texts: &mut Texts,
    label: &mut CodeLabel,
    parts: &Parts,
) -> Result<(), IcedError> {
    a.set_label(label)?;
    let mut line = Line { a, texts, parts };
    line.show("v", saved::VECTOR)?;
    error(&mut line)?;
    let mut other = line.unless_vector(14)?;
    line.a.mov(eax, dword_ptr(saved::CR2))?;
    line.a.mov(edx, dword_ptr(saved::CR2 + 4))?;
    line.value("cr2")?;
    line.a.set_label(&mut other)?;
    let mut other = line.unless_vector(1)?;
    line.show("dr6", saved::DR6)?;
    line.a.set_label(&mut other)?;
    line.show_distance("ip", saved::RIP, RECORD + field::RIP)?;
    line.show_distance("sp", saved::general(4), general(4))?;
    line.show("fl", saved::RFLAGS)?;
    for (number, label) in SEGMENTS {
        line.show_16(label, saved::segment(number))?;
    }
    line.show_16("hcs", saved::OWN_CS)?;
    line.show_16("hss", saved::OWN_SS)?;
    line.a.mov(edx, dword_ptr(saved::OWN_SP + 4))?;
    line.a.mov(eax, dword_ptr(saved::OWN_SP))?;
    line.value("hsp")?;
    general_registers(&mut line)?;
    line.show_changed("cr0", saved::CR0, RECORD + field::CR0)?;
    line.show_changed("cr3", saved::CR3, RECORD + field::CR3)?;
    line.show_changed("cr4", saved::CR4, RECORD + field::CR4)?;
    line.show_changed("efer", saved::EFER, RECORD + field::EFER)?;
    line.show_changed("dr7", saved::DR7, RECORD + field::DEBUG + 16)?;
    line.show_changed_16("tr", saved::TR, RECORD + field::TR)?;
    line.show_changed_16("ldtr", saved::LDTR, RECORD + field::LDTR)?;
    probes(&mut line)?;
    registers(&mut line)?;
    line.a.mov(al, 10)?;
    line.a.call(parts.character)?;
    line.a.ret()
}

/// R8 to R15 are those of long mode only.
fn general_registers(line: &mut Line<'_>) -> Result<(), IcedError> {
    for number in [0, 1, 2, 3, 5, 6, 7] {
        line.show_general(number)?;
    }
    let mut narrow = line.a.create_label();
    line.a.cmp(dword_ptr(RECORD + field::WIDE), 0)?;
    line.a.je(narrow)?;
    for number in 8..16 {
        line.show_general(number)?;
    }
    line.a.set_label(&mut narrow)?;
    line.a.nop()
}

/// The error code of exceptions that have one; in real mode none has.
fn error(line: &mut Line<'_>) -> Result<(), IcedError> {
    let mut none = line.a.create_label();
    line.a.cmp(dword_ptr(saved::BY), saved::by::REAL)?;
    line.a.je(none)?;
    line.a.mov(eax, dword_ptr(saved::VECTOR))?;
    line.a.cmp(eax, 32)?;
    line.a.jae(none)?;
    line.a.mov(ecx, saved::WITH_ERROR)?;
    line.a.bt(ecx, eax)?;
    line.a.jnc(none)?;
    line.show("e", saved::ERROR)?;
    line.a.set_label(&mut none)?;
    line.a.nop()
}

/// Memory that the record lists.
fn probes(line: &mut Line<'_>) -> Result<(), IcedError> {
    let [mut next, mut word, mut done] = [(); 3].map(|()| line.a.create_label());
    line.a.mov(ebx, dword_ptr(RECORD + field::PROBES))?;
    line.a.mov(ebp, dword_ptr(RECORD + field::PROBE_COUNT))?;
    line.a.set_label(&mut next)?;
    line.a.test(ebp, ebp)?;
    line.a.je(done)?;
    line.a.mov(eax, dword_ptr(ebx))?;
    line.a.xor(edx, edx)?;
    line.value("at")?;
    line.a.set_label(&mut word)?;
    line.a.mov(eax, dword_ptr(ebx))?;
    line.a.add(dword_ptr(ebx), 4)?;
    line.a.mov(eax, dword_ptr(eax))?;
    line.a.xor(edx, edx)?;
    let colon = line.texts.text(":");
    line.a.mov(esi, colon)?;
    line.a.call(line.parts.field)?;
    line.a.dec(dword_ptr(ebx + 4))?;
    line.a.jne(word)?;
    line.a.add(ebx, 8)?;
    line.a.dec(ebp)?;
    line.a.jmp(next)?;
    line.a.set_label(&mut done)?;
    line.a.nop()
}

/// Model-specific registers that the record lists.
fn registers(line: &mut Line<'_>) -> Result<(), IcedError> {
    let (mut next, mut done) = (line.a.create_label(), line.a.create_label());
    line.a.mov(ebx, dword_ptr(RECORD + field::MSR_PROBES))?;
    line.a
        .mov(ebp, dword_ptr(RECORD + field::MSR_PROBE_COUNT))?;
    let value = saved::SCRATCH;
    line.a.mov(dword_ptr(value), saved::REGISTERS)?;
    line.a.set_label(&mut next)?;
    line.a.test(ebp, ebp)?;
    line.a.je(done)?;
    line.a.mov(eax, dword_ptr(ebx))?;
    line.a.xor(edx, edx)?;
    line.value("msr")?;
    line.a.mov(ecx, dword_ptr(value))?;
    line.a.mov(eax, dword_ptr(ecx))?;
    line.a.mov(edx, dword_ptr(ecx + 4))?;
    line.a.add(dword_ptr(value), 8)?;
    let colon = line.texts.text(":");
    line.a.mov(esi, colon)?;
    line.a.call(line.parts.field)?;
    line.a.add(ebx, 4)?;
    line.a.dec(ebp)?;
    line.a.jmp(next)?;
    line.a.set_label(&mut done)?;
    line.a.nop()
}

/// EBX and EBP stay.
fn field_subroutine(a: &mut CodeAssembler, parts: &mut Parts) -> Result<(), IcedError> {
    let [mut digit, mut print, mut skip, mut letter] = [(); 4].map(|()| a.create_label());
    a.set_label(&mut parts.field)?;
    a.push(eax)?;
    a.push(edx)?;
    a.call(parts.text)?;
    a.pop(edx)?;
    a.pop(edi)?;
    // EDX:EDI is the number, CL how many digits remain, CH whether one has been printed.
    a.mov(ecx, 16)?;
    a.set_label(&mut digit)?;
    a.mov(eax, edx)?;
    a.shr(eax, 28)?;
    a.shld(edx, edi, 4)?;
    a.shl(edi, 4)?;
    a.or(ch, al)?;
    a.jne(print)?;
    a.cmp(cl, 1)?;
    a.jne(skip)?;
    a.set_label(&mut print)?;
    a.or(ch, 0x10)?;
    a.cmp(al, 10)?;
    a.jb(letter)?;
    a.add(al, i32::from(b'a' - b'0' - 10))?;
    a.set_label(&mut letter)?;
    a.add(al, i32::from(b'0'))?;
    a.push(edx)?;
    a.call(parts.character)?;
    a.pop(edx)?;
    a.set_label(&mut skip)?;
    a.dec(cl)?;
    a.jne(digit)?;
    a.ret()
}

fn text_subroutine(a: &mut CodeAssembler, parts: &Parts) -> Result<(), IcedError> {
    let mut done = a.create_label();
    a.lodsb()?;
    a.test(al, al)?;
    a.je(done)?;
    a.call(parts.character)?;
    a.jmp(parts.text)?;
    a.set_label(&mut done)?;
    a.ret()
}

/// Changes AH and EDX only.
fn character_subroutine(a: &mut CodeAssembler, parts: &mut Parts) -> Result<(), IcedError> {
    let mut busy = a.create_label();
    a.set_label(&mut parts.character)?;
    a.mov(ah, al)?;
    a.mov(edx, COM1 + 5)?;
    a.set_label(&mut busy)?;
    a.in_(al, dx)?;
    a.test(al, 0x20)?;
    a.je(busy)?;
    a.mov(al, ah)?;
    a.mov(edx, COM1)?;
    a.out(dx, al).and_then(|()| a.ret())
}
