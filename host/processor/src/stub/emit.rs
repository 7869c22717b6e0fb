//! The code of a stub.
//!
//! `r10` is the address of the operands, `r8`, `r9`, `r11` and `rcx` are the places of its registers in
//! them. Operand number n is loaded into vector register n + 1 (`xmm0` is for those that do not name
//! it) or MMX register n, and a general register is `rax`.

use iced_x86::{
    Code, Encoder, IcedError, Instruction, MemoryOperand, Mnemonic, OpAccess, Register,
};

use super::form::{Family, Form, Kind, Operand};
use super::run::{CONTROL_HOST, MXCSR_HOST, place};
use super::stack::Stack;

/// Where the places come in.
const PLACES: [Register; 4] = [Register::R8, Register::R9, Register::R11, Register::RCX];
/// The address of the operands.
pub(super) const OPERANDS: Register = Register::R10;
/// The place of `xmm0`.
const HIDDEN: usize = 3;
/// Masks of all exceptions in x87's control word.
const EXCEPTIONS: i32 = 0x3f;
/// Arithmetic flags.
const FLAGS: i32 = 0x8d5;

/// The code; `None` for what cannot be encoded, which is nothing that a decoder makes.
pub(super) fn code(form: &Form) -> Option<Vec<u8>> {
    let mut writer = Writer {
        encoder: Encoder::new(64),
    };
    let written = match form.family {
        Family::Vector => writer.vector(form),
        Family::X87 => writer.x87(form),
        Family::Stack(stack) => writer.stack(form, stack),
    };
    written.ok()?;
    Some(writer.encoder.take_buffer())
}

struct Writer {
    encoder: Encoder,
}

type Written = Result<(), IcedError>;

/// What lies somewhere in the operands.
fn at(offset: usize) -> MemoryOperand {
    MemoryOperand::with_base_displ(OPERANDS, offset as i64)
}

/// What lies where the caller says.
fn slot(operand: usize) -> MemoryOperand {
    MemoryOperand::with_base_index(OPERANDS, PLACES[operand])
}

impl Writer {
    fn put(&mut self, instruction: &Instruction) -> Written {
        self.encoder.encode(instruction, 0).map(drop)
    }

    fn vector(&mut self, form: &Form) -> Written {
        let is_vex = form.instruction.code().op_code().encoding() == iced_x86::EncodingKind::VEX;
        for (number, operand) in form.operands.iter().enumerate() {
            self.load(operand, number, is_vex)?;
        }
        self.load_unnamed(form)?;
        self.put(&form.instruction)?;
        self.store_unnamed(form, is_vex)?;
        for (number, operand) in form.operands.iter().enumerate() {
            self.store(operand, number, is_vex)?;
        }
        self.leave_vector(form)
    }

    /// What is read without being named. Of the registers with the lengths of strings one is the caller's.
    fn load_unnamed(&mut self, form: &Form) -> Written {
        if form.hidden == Some(OpAccess::Read) {
            let (code, from) = (Code::Movups_xmm_xmmm128, slot(HIDDEN));
            self.put(&Instruction::with2(code, Register::XMM0, from)?)?;
        }
        if explicit_lengths(form.instruction.mnemonic()) {
            self.put(&Instruction::with1(Code::Push_r64, Register::RDX)?)?;
            self.load_general(Register::RAX, place::ACCUMULATOR)?;
            self.load_general(Register::RDX, place::DATA)?;
        }
        Ok(())
    }

    /// What is written without being named.
    fn store_unnamed(&mut self, form: &Form, is_vex: bool) -> Written {
        if explicit_lengths(form.instruction.mnemonic()) {
            self.put(&Instruction::with1(Code::Pop_r64, Register::RDX)?)?;
        }
        if form.writes_flags {
            self.store_flags()?;
        }
        if gives_index(form.instruction.mnemonic()) {
            self.store_general(Register::RCX, place::COUNTER)?;
        }
        if form.hidden == Some(OpAccess::Write) {
            self.store_vector(Register::YMM0, HIDDEN, is_vex)?;
        }
        Ok(())
    }

    /// What the host's own code expects.
    fn leave_vector(&mut self, form: &Form) -> Written {
        if form.has(Kind::Ymm) {
            self.put(&Instruction::with(Code::VEX_Vzeroupper))?;
        }
        if form.has(Kind::Mmx) {
            self.put(&Instruction::with(Code::Emms))?;
        }
        self.put(&Instruction::with(Code::Retnq))
    }

    fn load(&mut self, operand: &Operand, number: usize, is_vex: bool) -> Written {
        if !operand.reads {
            return Ok(());
        }
        let code = match operand.kind {
            Kind::Xmm if is_vex => Code::VEX_Vmovups_xmm_xmmm128,
            Kind::Xmm => Code::Movups_xmm_xmmm128,
            Kind::Ymm => Code::VEX_Vmovups_ymm_ymmm256,
            Kind::Mmx => Code::Movq_mm_mmm64,
            Kind::General(_) => return self.load_general(Register::RAX, place::GENERAL),
            Kind::X87(_) | Kind::Memory | Kind::Immediate => return Ok(()),
        };
        let to = operand.kind.register(number);
        self.put(&Instruction::with2(code, to, slot(number))?)
    }

    fn store(&mut self, operand: &Operand, number: usize, is_vex: bool) -> Written {
        if !operand.writes {
            return Ok(());
        }
        match operand.kind {
            Kind::Xmm | Kind::Ymm => self.store_vector(Kind::Ymm.register(number), number, is_vex),
            Kind::Mmx => {
                let from = Kind::Mmx.register(number);
                self.put(&Instruction::with2(
                    Code::Movq_mmm64_mm,
                    slot(number),
                    from,
                )?)
            }
            Kind::General(_) => self.store_general(Register::RAX, place::GENERAL),
            Kind::X87(_) | Kind::Memory | Kind::Immediate => Ok(()),
        }
    }

    /// A vector register as it was written: with VEX whole, without only its lower half.
    fn store_vector(&mut self, from: Register, number: usize, is_vex: bool) -> Written {
        let to = slot(number);
        let store = if is_vex {
            Instruction::with2(Code::VEX_Vmovups_ymmm256_ymm, to, from)
        } else {
            let half = Register::XMM0 + from.number() as u32;
            Instruction::with2(Code::Movups_xmmm128_xmm, to, half)
        };
        self.put(&store?)
    }

    fn load_general(&mut self, to: Register, offset: usize) -> Written {
        self.put(&Instruction::with2(Code::Mov_r64_rm64, to, at(offset))?)
    }

    fn store_general(&mut self, from: Register, offset: usize) -> Written {
        self.put(&Instruction::with2(Code::Mov_rm64_r64, at(offset), from)?)
    }

    fn store_flags(&mut self) -> Written {
        self.put(&Instruction::with(Code::Pushfq))?;
        self.put(&Instruction::with1(Code::Pop_rm64, at(place::FLAGS))?)
    }

    fn load_flags(&mut self) -> Written {
        self.load_general(Register::RAX, place::FLAGS)?;
        self.put(&Instruction::with2(
            Code::And_EAX_imm32,
            Register::EAX,
            FLAGS,
        )?)?;
        self.put(&Instruction::with1(Code::Push_r64, Register::RAX)?)?;
        self.put(&Instruction::with(Code::Popfq))
    }

    /// Only those registers of the stack that take part: the top and another, or one of them, or none.
    fn stack(&mut self, form: &Form, stack: Stack) -> Written {
        let control = at(place::CONTROL);
        self.put(&Instruction::with2(
            Code::Or_rm16_imm8,
            control,
            EXCEPTIONS,
        )?)?;
        self.clear_exceptions()?;
        self.unless_usual(&Instruction::with1(Code::Fldcw_m2byte, control)?)?;
        for input in (0..stack.inputs).rev() {
            let from = slot(usize::from(input));
            self.put(&Instruction::with1(Code::Fld_m80fp, from)?)?;
        }
        self.put(&form.instruction)?;
        self.put(&Instruction::with1(Code::Fnstsw_m2byte, at(place::STATUS))?)?;
        if form.writes_flags {
            self.store_flags()?;
        }
        for to in stack.results() {
            self.put(&Instruction::with1(Code::Fstp_m80fp, slot(to))?)?;
        }
        let control = at(place::HOST_CONTROL);
        self.unless_usual(&Instruction::with1(Code::Fldcw_m2byte, control)?)?;
        self.put(&Instruction::with(Code::Retnq))
    }

    /// Executes an instruction unless the control word is the one that the host's own code has: to load one takes a
    /// third of all.
    fn unless_usual(&mut self, instruction: &Instruction) -> Written {
        let length = Encoder::new(64).encode(instruction, 0)? as u64;
        let usual = i32::from(CONTROL_HOST);
        self.put(&Instruction::with2(
            Code::Cmp_rm16_imm16,
            at(place::CONTROL),
            usual,
        )?)?;
        // Its own two bytes, and those that it leaves out.
        self.put(&Instruction::with_branch(Code::Je_rel8_64, 2 + length)?)?;
        self.put(instruction)
    }

    /// Clears what was raised before, if it is asked for and there is something: it takes longer than all
    /// the rest.
    fn clear_exceptions(&mut self) -> Written {
        /// Bytes of `fnclex`.
        const LENGTH: u64 = 2;
        self.put(&Instruction::with1(Code::Fnstsw_AX, Register::AX)?)?;
        self.put(&Instruction::with2(
            Code::Test_rm16_r16,
            at(place::CLEAR),
            Register::AX,
        )?)?;
        // Its own two bytes, and those that it leaves out.
        let jump = Instruction::with_branch(Code::Je_rel8_64, 2 + LENGTH)?;
        self.put(&jump)?;
        self.put(&Instruction::with(Code::Fnclex))
    }

    /// All of x87's state around the instruction, which keeps its registers.
    fn x87(&mut self, form: &Form) -> Written {
        // A reserved bit of MXCSR would be a fault.
        self.put(&Instruction::with2(
            Code::Mov_rm32_imm32,
            at(place::IMAGE_MXCSR),
            MXCSR_HOST,
        )?)?;
        self.put(&Instruction::with1(
            Code::Fxrstor64_m512byte,
            at(place::IMAGE),
        )?)?;
        if form.reads_flags {
            self.load_flags()?;
        }
        self.put(&form.instruction)?;
        if form.writes_flags {
            self.store_flags()?;
        }
        self.put(&Instruction::with1(
            Code::Fxsave64_m512byte,
            at(place::IMAGE),
        )?)?;
        self.put(&Instruction::with(Code::Fninit))?;
        self.put(&Instruction::with(Code::Retnq))
    }
}

/// Those that find the lengths of their strings in `rax` and `rdx`.
const fn explicit_lengths(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Pcmpestri
            | Mnemonic::Pcmpestrm
            | Mnemonic::Vpcmpestri
            | Mnemonic::Vpcmpestrm
            | Mnemonic::Pcmpestri64
            | Mnemonic::Pcmpestrm64
            | Mnemonic::Vpcmpestri64
            | Mnemonic::Vpcmpestrm64
    )
}

/// Those that leave an index in `rcx`.
const fn gives_index(mnemonic: Mnemonic) -> bool {
    matches!(
        mnemonic,
        Mnemonic::Pcmpestri
            | Mnemonic::Pcmpistri
            | Mnemonic::Vpcmpestri
            | Mnemonic::Vpcmpistri
            | Mnemonic::Pcmpestri64
            | Mnemonic::Vpcmpestri64
    )
}
