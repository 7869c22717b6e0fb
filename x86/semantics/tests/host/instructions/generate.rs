//! Random instances of an instruction, whose memory operands lie in the bench's memory.

use host_processor::{MEMORY, MEMORY_SIZE, Mode, Registers};
use iced_x86::{
    Code, Decoder, DecoderOptions, Encoder, FlowControl, Instruction, MemoryOperand, Mnemonic,
    OpCodeOperandKind, OpKind, Register,
};

use x86_semantics::needs_system;

use crate::numbers::Numbers;

/// One instruction, and what it starts with.
pub(crate) struct Case {
    pub(crate) mode: Mode,
    pub(crate) bytes: Vec<u8>,
    pub(crate) instruction: Instruction,
    pub(crate) registers: Registers,
    pub(crate) memory: Vec<u8>,
}

/// Where the decoder believes that the code is.
const IP: u64 = 0x1000;
/// `RCX`, `RSP`, and others that point somewhere, in the order of encoding.
const RCX: usize = 1;
const RBX: usize = 3;
const RSP: usize = 4;
const RBP: usize = 5;
const RSI: usize = 6;
const RDI: usize = 7;

const fn bits(mode: Mode) -> u32 {
    match mode {
        Mode::Protected => 32,
        Mode::Long => 64,
    }
}

/// Attempts to make an instance: some are another instruction with some operands.
const ATTEMPTS: usize = 16;

/// A random instance; `None` for an instruction with operands that are not made here.
pub(crate) fn case(code: Code, mode: Mode, numbers: &mut Numbers) -> Option<Case> {
    if is_left_out(code) {
        return None;
    }
    (0..ATTEMPTS).find_map(|_| attempt(code, mode, numbers))
}

fn attempt(code: Code, mode: Mode, numbers: &mut Numbers) -> Option<Case> {
    let mut maker = Maker {
        mode,
        numbers,
        registers: Registers::default(),
    };
    let instruction = maker.instruction(code)?;
    let mut encoder = Encoder::new(bits(mode));
    encoder.encode(&instruction, IP).ok()?;
    let bytes = encoder.take_buffer();
    let mut decoder = Decoder::with_ip(bits(mode), &bytes, IP, DecoderOptions::NONE);
    let instruction = decoder.decode();
    let registers = maker.registers;
    let memory = (0..MEMORY_SIZE / 8)
        .flat_map(|_| numbers.any().to_le_bytes())
        .collect();
    (instruction.code() == code).then_some(Case {
        mode,
        bytes,
        instruction,
        registers,
        memory,
    })
}

/// What cannot be compared here: what goes elsewhere; flags that are popped, which may have the
/// processor stop after each instruction; what is not the same on all processors.
fn is_left_out(code: Code) -> bool {
    use FlowControl::{Exception, Interrupt, Next};
    let goes_on = matches!(code.flow_control(), Next | Exception | Interrupt);
    let pops_flags = [Mnemonic::Popf, Mnemonic::Popfd, Mnemonic::Popfq];
    let differs = [
        Code::Movsxd_r16_rm16,
        Code::Reservednop_rm16_r16_0F0D,
        Code::Reservednop_rm32_r32_0F0D,
        Code::Reservednop_rm64_r64_0F0D,
    ];
    // Selectors are tried in `segments`.
    let of_segments = [
        Mnemonic::Lar,
        Mnemonic::Lsl,
        Mnemonic::Verr,
        Mnemonic::Verw,
        Mnemonic::Lds,
        Mnemonic::Les,
        Mnemonic::Lss,
        Mnemonic::Lfs,
        Mnemonic::Lgs,
    ];
    let elsewhere = [&pops_flags[..], &of_segments].concat();
    // What systems do is not for a program of the host's to try.
    !goes_on
        || needs_system(code.mnemonic())
        || elsewhere.contains(&code.mnemonic())
        || differs.contains(&code)
}

struct Maker<'n> {
    mode: Mode,
    numbers: &'n mut Numbers,
    registers: Registers,
}

impl Maker<'_> {
    fn instruction(&mut self, code: Code) -> Option<Instruction> {
        for general in &mut self.registers.general {
            *general = self.numbers.any();
        }
        self.registers.flags = self.numbers.random() & 0x8d5;
        self.point(code.mnemonic());
        let mut instruction = Instruction::new();
        instruction.set_code(code);
        let info = code.op_code();
        for operand in 0..info.op_count() {
            self.operand(&mut instruction, operand, info.op_kind(operand))?;
        }
        let is_memory = instruction.op_kinds().any(|kind| kind == OpKind::Memory);
        if info.can_use_lock_prefix() && instruction.op0_kind() == OpKind::Memory {
            instruction.set_has_lock_prefix(self.numbers.below(2) == 0);
        }
        if info.can_use_rep_prefix() && !is_memory {
            instruction.set_has_rep_prefix(self.numbers.below(2) == 0);
        }
        if info.can_use_repne_prefix() && !is_memory && !instruction.has_rep_prefix() {
            instruction.set_has_repne_prefix(self.numbers.below(2) == 0);
        }
        if self.mode == Mode::Protected {
            let all = &mut self.registers.general;
            *all = all.map(|value| value & 0xffff_ffff);
        }
        Some(instruction)
    }

    /// A place in the middle of the memory; now and then one at its end.
    fn place(&mut self) -> u64 {
        let at = match self.numbers.below(16) {
            0 => MEMORY_SIZE as u64 - 1 - self.numbers.below(8),
            _ => MEMORY_SIZE as u64 / 2 + self.numbers.below(1024),
        };
        MEMORY + at
    }

    /// Sets the registers that some instructions take for addresses and counts.
    fn point(&mut self, mnemonic: Mnemonic) {
        let middle = MEMORY + MEMORY_SIZE as u64 / 2;
        self.registers.general[RSP] = middle + self.numbers.below(512);
        match mnemonic {
            Mnemonic::Xlatb => self.registers.general[RBX] = middle,
            Mnemonic::Enter | Mnemonic::Leave => self.registers.general[RBP] = middle + 300,
            _ if is_string(mnemonic) => {
                self.registers.general[RSI] = middle + self.numbers.below(64);
                self.registers.general[RDI] = middle + self.numbers.below(64);
                self.registers.general[RCX] = self.numbers.below(20);
            }
            _ => {}
        }
    }

    /// A general register of this size.
    fn register(&mut self, bytes: usize) -> Register {
        let count = if self.mode == Mode::Long { 16 } else { 8 };
        let number = self.numbers.below(count) as u32;
        match bytes {
            1 if self.mode == Mode::Protected || self.numbers.below(3) == 0 => {
                Register::AL + number % 8
            }
            1 if number < 4 => Register::AL + number,
            1 => Register::SPL + (number - 4),
            2 => Register::AX + number,
            4 => Register::EAX + number,
            _ => Register::RAX + number,
        }
    }

    fn operand(
        &mut self,
        instruction: &mut Instruction,
        operand: u32,
        kind: OpCodeOperandKind,
    ) -> Option<()> {
        use OpCodeOperandKind as Kind;
        let register = match kind {
            Kind::r8_or_mem | Kind::r16_or_mem | Kind::r32_or_mem | Kind::r64_or_mem
                if self.numbers.below(2) == 0 =>
            {
                return self.memory(instruction, operand);
            }
            Kind::mem => return self.memory(instruction, operand),
            Kind::r8_or_mem | Kind::r8_reg | Kind::r8_opcode => self.register(1),
            Kind::r16_or_mem | Kind::r16_reg | Kind::r16_rm | Kind::r16_opcode => self.register(2),
            Kind::r32_or_mem | Kind::r32_reg | Kind::r32_rm | Kind::r32_opcode | Kind::r32_vvvv => {
                self.register(4)
            }
            Kind::r64_or_mem | Kind::r64_reg | Kind::r64_rm | Kind::r64_opcode | Kind::r64_vvvv => {
                self.register(8)
            }
            Kind::al => Register::AL,
            Kind::cl => Register::CL,
            Kind::ax => Register::AX,
            Kind::dx => Register::DX,
            Kind::eax => Register::EAX,
            Kind::rax => Register::RAX,
            Kind::es if instruction.mnemonic() == Mnemonic::Push => Register::ES,
            Kind::cs if instruction.mnemonic() == Mnemonic::Push => Register::CS,
            Kind::ss if instruction.mnemonic() == Mnemonic::Push => Register::SS,
            Kind::ds if instruction.mnemonic() == Mnemonic::Push => Register::DS,
            _ => return self.other(instruction, operand, kind),
        };
        instruction.set_op_kind(operand, OpKind::Register);
        instruction.set_op_register(operand, register);
        Some(())
    }

    /// Immediates, offsets without registers, and strings.
    fn other(
        &mut self,
        instruction: &mut Instruction,
        operand: u32,
        kind: OpCodeOperandKind,
    ) -> Option<()> {
        use OpCodeOperandKind as Kind;
        let value = self.numbers.any();
        let is_enter = instruction.mnemonic() == Mnemonic::Enter;
        match kind {
            Kind::imm8 if is_enter => {
                instruction.set_op_kind(operand, OpKind::Immediate8_2nd);
                instruction.set_immediate8_2nd(value as u8 & 7);
            }
            Kind::imm16 if is_enter => {
                instruction.set_op_kind(operand, OpKind::Immediate16);
                instruction.set_immediate16(value as u16 & 0xff);
            }
            Kind::imm8 => set(instruction, operand, OpKind::Immediate8, value as u8 as i64),
            Kind::imm8_const_1 => set(instruction, operand, OpKind::Immediate8, 1),
            Kind::imm8sex16 => set(
                instruction,
                operand,
                OpKind::Immediate8to16,
                value as i8 as i64,
            ),
            Kind::imm8sex32 => set(
                instruction,
                operand,
                OpKind::Immediate8to32,
                value as i8 as i64,
            ),
            Kind::imm8sex64 => set(
                instruction,
                operand,
                OpKind::Immediate8to64,
                value as i8 as i64,
            ),
            Kind::imm16 => set(
                instruction,
                operand,
                OpKind::Immediate16,
                value as u16 as i64,
            ),
            Kind::imm32 => set(
                instruction,
                operand,
                OpKind::Immediate32,
                value as u32 as i64,
            ),
            Kind::imm32sex64 => {
                set(
                    instruction,
                    operand,
                    OpKind::Immediate32to64,
                    value as i32 as i64,
                );
            }
            Kind::imm64 => set(instruction, operand, OpKind::Immediate64, value as i64),
            Kind::mem_offs => {
                let bytes = bits(self.mode) / 8;
                instruction.set_op_kind(operand, OpKind::Memory);
                instruction.set_memory_displ_size(bytes);
                instruction.set_memory_displacement64(self.place());
            }
            Kind::seg_rSI => instruction.set_op_kind(operand, self.string(true)),
            Kind::es_rDI => instruction.set_op_kind(operand, self.string(false)),
            Kind::seg_rBX_al => {
                instruction.set_op_kind(operand, OpKind::Memory);
                let base = [Register::EBX, Register::RBX][usize::from(self.mode == Mode::Long)];
                instruction.set_memory_base(base);
                instruction.set_memory_index(Register::AL);
            }
            _ => return None,
        }
        Some(())
    }

    const fn string(&self, is_source: bool) -> OpKind {
        match (self.mode, is_source) {
            (Mode::Long, true) => OpKind::MemorySegRSI,
            (Mode::Long, false) => OpKind::MemoryESRDI,
            (Mode::Protected, true) => OpKind::MemorySegESI,
            (Mode::Protected, false) => OpKind::MemoryESEDI,
        }
    }

    /// A base, perhaps an index, and what is missing to a place in the memory.
    fn memory(&mut self, instruction: &mut Instruction, operand: u32) -> Option<()> {
        self.tame(instruction, operand);
        let bytes = bits(self.mode) as usize / 8;
        let base = self.register(bytes);
        let mut index = self.register(bytes);
        if index == base || matches!(index, Register::ESP | Register::RSP) {
            index = Register::None;
        }
        let scale = 1 << self.numbers.below(4);
        let at = |register: Register| register as usize - Register::RAX as usize;
        let number = |register: Register| at(register.full_register());
        if !matches!(base, Register::ESP | Register::RSP) {
            self.registers.general[number(base)] = self.numbers.below(1 << 30);
        }
        let mut sum = self.registers.general[number(base)];
        if index != Register::None {
            self.registers.general[number(index)] = self.numbers.below(1 << 20);
            sum += self.registers.general[number(index)] * scale;
        }
        let displacement = self.place().wrapping_sub(sum) as i32;
        let scale = if index == Register::None {
            1
        } else {
            scale as u32
        };
        let memory = MemoryOperand::new(
            base,
            index,
            scale,
            displacement.into(),
            bytes as u32,
            false,
            Register::None,
        );
        instruction.set_op_kind(operand, OpKind::Memory);
        instruction.set_memory_base(memory.base);
        instruction.set_memory_index(memory.index);
        instruction.set_memory_index_scale(memory.scale);
        instruction.set_memory_displacement64(memory.displacement as u64);
        instruction.set_memory_displ_size(memory.displ_size);
        Some(())
    }

    /// Bits of memory are counted by a whole register: keeps them near.
    fn tame(&mut self, instruction: &Instruction, operand: u32) {
        let is_far = matches!(
            instruction.mnemonic(),
            Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc
        );
        if operand == 0 && is_far {
            for general in &mut self.registers.general {
                *general &= 0x3fff;
            }
        }
    }
}

/// An immediate as the operand's kind holds it.
fn set(instruction: &mut Instruction, operand: u32, kind: OpKind, value: i64) {
    instruction.set_op_kind(operand, kind);
    instruction.set_immediate_i64(operand, value);
}

fn is_string(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Movsb
            | Mnemonic::Movsw
            | Mnemonic::Movsd
            | Mnemonic::Movsq
            | Mnemonic::Stosb
            | Mnemonic::Stosw
            | Mnemonic::Stosd
            | Mnemonic::Stosq
            | Mnemonic::Lodsb
            | Mnemonic::Lodsw
            | Mnemonic::Lodsd
            | Mnemonic::Lodsq
            | Mnemonic::Scasb
            | Mnemonic::Scasw
            | Mnemonic::Scasd
            | Mnemonic::Scasq
            | Mnemonic::Cmpsb
            | Mnemonic::Cmpsw
            | Mnemonic::Cmpsd
            | Mnemonic::Cmpsq
    )
}
