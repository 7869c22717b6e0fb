//! Operands of random instances of an instruction.

use host_processor::{MEMORY, MEMORY_SIZE, Mode, Registers};
use iced_x86::{Instruction, MemoryOperand, OpCodeOperandKind, OpKind, Register};

use oracle::Numbers;

/// Makes operands, and the general registers that go with them.
pub(crate) struct Maker<'n> {
    pub(crate) mode: Mode,
    pub(crate) numbers: &'n mut Numbers,
    pub(crate) registers: Registers,
    /// Where the memory operand is to be.
    pub(crate) place: u64,
}

/// `RDI`.
const RDI: usize = 7;

impl Maker<'_> {
    /// A place in the middle of the memory, mostly aligned; now and then one at its end.
    pub(crate) fn choose_place(&mut self, bytes: u64) {
        let middle = MEMORY_SIZE as u64 / 2;
        let at = match self.numbers.below(16) {
            0 => MEMORY_SIZE as u64 - 1 - self.numbers.below(bytes + 2),
            1 => MEMORY_SIZE as u64 - bytes,
            2 | 3 => middle + self.numbers.below(1024),
            4 => middle - self.numbers.below(64),
            5 => middle + 16 * self.numbers.below(32),
            _ => middle + 64 * self.numbers.below(16),
        };
        self.place = MEMORY + at;
    }

    fn count(&self) -> u64 {
        if self.mode == Mode::Long { 16 } else { 8 }
    }

    fn number(&mut self) -> u32 {
        let count = self.count();
        // Often the same one.
        match self.numbers.below(4) {
            0 => self.numbers.below(3) as u32,
            _ => self.numbers.below(count) as u32,
        }
    }

    pub(crate) fn operand(
        &mut self,
        instruction: &mut Instruction,
        operand: u32,
        kind: OpCodeOperandKind,
    ) -> Option<()> {
        use OpCodeOperandKind as Kind;
        let register = match kind {
            Kind::r32_or_mem
            | Kind::r64_or_mem
            | Kind::xmm_or_mem
            | Kind::ymm_or_mem
            | Kind::mm_or_mem
                if self.numbers.below(2) == 0 =>
            {
                return self.memory(instruction, operand);
            }
            Kind::mem => return self.memory(instruction, operand),
            Kind::mem_vsib32x | Kind::mem_vsib64x => return self.vsib(instruction, operand, false),
            Kind::mem_vsib32y | Kind::mem_vsib64y => return self.vsib(instruction, operand, true),
            Kind::r32_or_mem | Kind::r32_reg | Kind::r32_rm => Register::EAX + self.number(),
            Kind::r64_or_mem | Kind::r64_reg | Kind::r64_rm => Register::RAX + self.number(),
            Kind::xmm_or_mem | Kind::xmm_reg | Kind::xmm_rm | Kind::xmm_vvvv | Kind::xmm_is4 => {
                Register::XMM0 + self.number()
            }
            Kind::ymm_or_mem | Kind::ymm_reg | Kind::ymm_rm | Kind::ymm_vvvv | Kind::ymm_is4 => {
                Register::YMM0 + self.number()
            }
            Kind::mm_or_mem | Kind::mm_reg | Kind::mm_rm => Register::MM0 + self.number() % 8,
            Kind::st0 => Register::ST0,
            Kind::sti_opcode => Register::ST0 + self.numbers.below(8) as u32,
            Kind::ax => Register::AX,
            Kind::imm8 => {
                let value = self.immediate();
                instruction.set_op_kind(operand, OpKind::Immediate8);
                instruction.set_immediate8(value);
                return Some(());
            }
            Kind::seg_rDI => {
                self.registers.general[RDI] = self.place;
                let is_long = self.mode == Mode::Long;
                let kind = if is_long {
                    OpKind::MemorySegRDI
                } else {
                    OpKind::MemorySegEDI
                };
                instruction.set_op_kind(operand, kind);
                return Some(());
            }
            _ => return None,
        };
        instruction.set_op_kind(operand, OpKind::Register);
        instruction.set_op_register(operand, register);
        Some(())
    }

    /// Mostly a small one.
    fn immediate(&mut self) -> u8 {
        match self.numbers.below(3) {
            0 => self.numbers.random() as u8,
            _ => self.numbers.below(32) as u8,
        }
    }

    /// A base, perhaps an index, and what is missing to the place.
    fn memory(&mut self, instruction: &mut Instruction, operand: u32) -> Option<()> {
        let base = self.base();
        let mut index = self.pointer();
        if index == base || matches!(index, Register::ESP | Register::RSP) {
            index = Register::None;
        }
        let scale = 1 << self.numbers.below(4);
        let mut sum = self.registers.general[base.number()];
        if index != Register::None {
            self.registers.general[index.number()] = self.numbers.below(1 << 20);
            sum += self.registers.general[index.number()] * scale;
        }
        let scale = if index == Register::None { 1 } else { scale };
        self.set_memory(instruction, operand, (base, index, scale, sum));
        Some(())
    }

    /// A base, and an index for each element: most near, some outside.
    fn vsib(&mut self, instruction: &mut Instruction, operand: u32, is_whole: bool) -> Option<()> {
        let base = self.base();
        let first = if is_whole {
            Register::YMM0
        } else {
            Register::XMM0
        };
        let index = first + self.number();
        let sum = self.registers.general[base.number()];
        let scale = 1 << self.numbers.below(4);
        self.set_memory(instruction, operand, (base, index, scale, sum));
        Some(())
    }

    fn pointer(&mut self) -> Register {
        let first = if self.mode == Mode::Long {
            Register::RAX
        } else {
            Register::EAX
        };
        first + self.numbers.below(self.count()) as u32
    }

    fn base(&mut self) -> Register {
        let base = self.pointer();
        self.registers.general[base.number()] = self.numbers.below(1 << 30);
        base
    }

    fn set_memory(
        &mut self,
        instruction: &mut Instruction,
        operand: u32,
        (base, index, scale, sum): (Register, Register, u64, u64),
    ) {
        let displacement = self.place.wrapping_sub(sum) as i32;
        let bytes = if self.mode == Mode::Long { 8 } else { 4 };
        let memory = MemoryOperand::new(
            base,
            index,
            scale as u32,
            displacement.into(),
            bytes,
            false,
            Register::None,
        );
        instruction.set_op_kind(operand, OpKind::Memory);
        instruction.set_memory_base(memory.base);
        instruction.set_memory_index(memory.index);
        instruction.set_memory_index_scale(memory.scale);
        instruction.set_memory_displacement64(memory.displacement as u64);
        instruction.set_memory_displ_size(memory.displ_size);
    }
}
