//! Which instructions stubs are made of.

use iced_x86::{
    Code, CpuidFeature, EncodingKind, FlowControl, IcedError, Instruction, InstructionInfoFactory,
    Mnemonic, OpAccess, OpCodeInfo, OpCodeOperandKind, OpKind, Register, RflagsBits,
};

use super::emit::OPERANDS;
use super::run::place;
use super::stack::{self, Stack};

/// Arithmetic flags, as iced has them: it counts x87's conditions among the flags, too.
const FLAGS: u32 = RflagsBits::OF
    | RflagsBits::SF
    | RflagsBits::ZF
    | RflagsBits::AF
    | RflagsBits::CF
    | RflagsBits::PF;

/// What tells forms from each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    family: Family,
    code: Code,
    has_memory: bool,
    /// The number of an x87 register, which is part of its form.
    x87_register: u8,
    immediate: u8,
}

impl Key {
    /// Instructions with the same key have the same stub, if one of them has one; also those that no decoder
    /// makes.
    pub(super) fn of(family: Family, instruction: &Instruction) -> Self {
        let is = |kind| instruction.op_kinds().any(|there| there == kind);
        let x87_register = match family {
            Family::X87 => stack::other(instruction).number() as u8,
            // There it is always the same.
            Family::Stack(_) | Family::Vector => 0,
        };
        Self {
            family,
            code: instruction.code(),
            has_memory: is(OpKind::Memory),
            x87_register,
            immediate: if is(OpKind::Immediate8) {
                instruction.immediate8()
            } else {
                0
            },
        }
    }
}

/// Which registers it works on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Family {
    Vector,
    /// All of x87's registers.
    X87,
    /// Some of x87's registers.
    Stack(Stack),
}

/// What an instruction reads and writes.
pub(super) struct Form {
    pub(super) family: Family,
    pub(super) instruction: Instruction,
    pub(super) operands: Vec<Operand>,
    /// Flags that it writes, or reads.
    pub(super) writes_flags: bool,
    pub(super) reads_flags: bool,
    /// `xmm0` without naming it.
    pub(super) hidden: Option<OpAccess>,
}

/// One operand.
pub(super) struct Operand {
    pub(super) kind: Kind,
    pub(super) reads: bool,
    pub(super) writes: bool,
}

/// What it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Xmm,
    Ymm,
    Mmx,
    /// The register that it is in a stub, by its size.
    General(Register),
    X87(Register),
    Memory,
    Immediate,
}

impl Form {
    pub(super) fn of(family: Family, instruction: &Instruction) -> Option<Self> {
        match family {
            Family::Vector => Self::vector(instruction),
            Family::X87 => Self::x87(instruction),
            Family::Stack(stack) => Self::stack(instruction, stack),
        }
    }

    fn vector(instruction: &Instruction) -> Option<Self> {
        let form = Self::new(Family::Vector, instruction)?;
        let is_foreign = |operand: &Operand| matches!(operand.kind, Kind::X87(_));
        (!form.operands.iter().any(is_foreign)).then_some(form)
    }

    fn x87(instruction: &Instruction) -> Option<Self> {
        let form = Self::new(Family::X87, instruction)?;
        let is_ours = |operand: &Operand| matches!(operand.kind, Kind::X87(_) | Kind::Memory);
        form.operands.iter().all(is_ours).then_some(form)
    }

    /// The other register that it names becomes the second.
    fn stack(instruction: &Instruction, stack: Stack) -> Option<Self> {
        let mut form = Self::x87(instruction)?;
        form.family = Family::Stack(stack);
        let other = stack::other(instruction);
        for (at, operand) in (0..).zip(&mut form.operands) {
            if operand.kind == Kind::X87(other) && stack.inputs == 2 {
                operand.kind = Kind::X87(Register::ST1);
                form.instruction.set_op_register(at, Register::ST1);
            }
        }
        Some(form)
    }

    fn new(family: Family, instruction: &Instruction) -> Option<Self> {
        let code = instruction.code();
        if !knows(code, family == Family::X87) || !host_has(code) {
            return None;
        }
        let kinds = (0..instruction.op_count())
            .map(|at| Kind::new(instruction, at))
            .collect::<Option<Vec<_>>>()?;
        // Of the registers that it has here, which differ: some do not read what they combine with itself.
        let instruction = substitute(instruction, &kinds).ok()?;
        let mut factory = InstructionInfoFactory::new();
        let info = factory.info(&instruction);
        let operand = |(at, kind)| Operand::new(kind, info.op_access(at));
        Some(Self {
            family,
            instruction,
            operands: (0..).zip(kinds).map(operand).collect(),
            writes_flags: instruction.rflags_modified() & FLAGS != 0,
            reads_flags: instruction.rflags_read() & FLAGS != 0,
            hidden: has_hidden(code.mnemonic()),
        })
    }

    pub(super) fn has(&self, kind: Kind) -> bool {
        self.operands.iter().any(|operand| operand.kind == kind)
    }
}

impl Operand {
    const fn new(kind: Kind, access: OpAccess) -> Self {
        use OpAccess as Access;
        Self {
            kind,
            reads: !matches!(access, Access::Write | Access::None | Access::NoMemAccess),
            writes: matches!(
                access,
                Access::Write | Access::CondWrite | Access::ReadWrite | Access::ReadCondWrite
            ),
        }
    }
}

impl Kind {
    fn new(instruction: &Instruction, at: u32) -> Option<Self> {
        Some(match instruction.op_kind(at) {
            OpKind::Register => Self::of_register(instruction.op_register(at))?,
            OpKind::Memory if !instruction.is_vsib() => Self::Memory,
            OpKind::Immediate8 => Self::Immediate,
            _ => return None,
        })
    }

    fn of_register(register: Register) -> Option<Self> {
        Some(match register {
            _ if register.is_xmm() => Self::Xmm,
            _ if register.is_ymm() => Self::Ymm,
            _ if register.is_mm() => Self::Mmx,
            _ if register.is_gpr32() => Self::General(Register::EAX),
            _ if register.is_gpr64() => Self::General(Register::RAX),
            _ if register.is_st() => Self::X87(register),
            _ => return None,
        })
    }

    /// The register that stands for an operand of this kind: `xmm0` is for those that do not name it.
    pub(super) fn register(self, operand: usize) -> Register {
        let number = operand as u32;
        match self {
            Self::Xmm => Register::XMM1 + number,
            Self::Ymm => Register::YMM1 + number,
            Self::Mmx => Register::MM0 + number,
            Self::General(register) | Self::X87(register) => register,
            Self::Memory | Self::Immediate => Register::None,
        }
    }
}

/// The instruction with the operands that it has in a stub.
fn substitute(given: &Instruction, kinds: &[Kind]) -> Result<Instruction, IcedError> {
    let mut instruction = Instruction::new();
    instruction.set_code(given.code());
    for (index, kind) in (0..).zip(kinds) {
        instruction.try_set_op_kind(index, given.op_kind(index))?;
        match kind {
            Kind::Memory => {
                instruction.set_memory_base(OPERANDS);
                instruction.set_memory_displacement64(place::MEMORY as u64);
                instruction.set_memory_displ_size(8);
            }
            Kind::Immediate => instruction.set_immediate8(given.immediate8()),
            kind => instruction.try_set_op_register(index, kind.register(index as usize))?,
        }
    }
    Ok(instruction)
}

/// How `xmm0` is used by those that do not name it.
const fn has_hidden(mnemonic: Mnemonic) -> Option<OpAccess> {
    Some(match mnemonic {
        Mnemonic::Pblendvb | Mnemonic::Blendvps | Mnemonic::Blendvpd | Mnemonic::Sha256rnds2 => {
            OpAccess::Read
        }
        Mnemonic::Pcmpestrm
        | Mnemonic::Pcmpistrm
        | Mnemonic::Vpcmpestrm
        | Mnemonic::Vpcmpistrm
        | Mnemonic::Pcmpestrm64
        | Mnemonic::Vpcmpestrm64 => OpAccess::Write,
        _ => return None,
    })
}

/// Whether an opcode is of an extension of which stubs are made: for x87 registers or for others. Those
/// that touch memory which is not an operand, or control the unit itself, are left out.
#[must_use]
pub fn knows(code: Code, is_x87: bool) -> bool {
    let info = code.op_code();
    let encoding = matches!(info.encoding(), EncodingKind::Legacy | EncodingKind::VEX);
    let is_plain = code.flow_control() == FlowControl::Next && info.mode64() && !info.fwait();
    let features = code.cpuid_features();
    let is_ours = if is_x87 {
        features.iter().any(|feature| is_numeric(*feature))
    } else {
        has_vector(info)
    };
    encoding
        && is_plain
        && is_ours
        && features.iter().all(|feature| is_known(*feature))
        && !is_control(code.mnemonic())
}

/// Whether an operand is a vector register or one of MMX's.
fn has_vector(info: &OpCodeInfo) -> bool {
    use OpCodeOperandKind as Operand;
    let is_vector = |kind: &Operand| {
        matches!(
            kind,
            Operand::xmm_reg
                | Operand::xmm_rm
                | Operand::xmm_vvvv
                | Operand::xmm_or_mem
                | Operand::ymm_reg
                | Operand::ymm_rm
                | Operand::ymm_vvvv
                | Operand::ymm_or_mem
                | Operand::mm_reg
                | Operand::mm_rm
                | Operand::mm_or_mem
        )
    };
    info.op_kinds().iter().any(is_vector)
}

const fn is_numeric(feature: CpuidFeature) -> bool {
    use CpuidFeature as Feature;
    matches!(feature, Feature::FPU | Feature::FPU287 | Feature::FPU387)
}

const fn is_known(feature: CpuidFeature) -> bool {
    use CpuidFeature as Feature;
    is_numeric(feature)
        || matches!(
            feature,
            Feature::CMOV
                | Feature::MMX
                | Feature::SSE
                | Feature::SSE2
                | Feature::SSE3
                | Feature::SSSE3
                | Feature::SSE4_1
                | Feature::SSE4_2
                | Feature::AES
                | Feature::PCLMULQDQ
                | Feature::SHA
                | Feature::AVX
                | Feature::AVX2
                | Feature::FMA
                | Feature::F16C
                | Feature::VAES
                | Feature::VPCLMULQDQ
        )
}

/// What works on the unit itself.
const fn is_control(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Ldmxcsr
            | M::Vldmxcsr
            | M::Stmxcsr
            | M::Vstmxcsr
            | M::Maskmovq
            | M::Maskmovdqu
            | M::Vmaskmovdqu
            | M::Emms
            | M::Vzeroall
            | M::Vzeroupper
            | M::Wait
            | M::Finit
            | M::Fninit
            | M::Fclex
            | M::Fnclex
            | M::Fldcw
            | M::Fstcw
            | M::Fnstcw
            | M::Fstsw
            | M::Fnstsw
            | M::Fldenv
            | M::Fstenv
            | M::Fnstenv
            | M::Fsave
            | M::Fnsave
            | M::Frstor
            | M::Feni
            | M::Fneni
            | M::Fdisi
            | M::Fndisi
            | M::Fsetpm
            | M::Fnsetpm
    )
}

/// Whether the host's processor has what an opcode needs.
#[must_use]
pub fn host_has(code: Code) -> bool {
    let has = |feature: &CpuidFeature| host_has_feature(*feature);
    code.cpuid_features().iter().all(has)
}

fn host_has_feature(feature: CpuidFeature) -> bool {
    use CpuidFeature as Feature;
    match feature {
        Feature::FPU | Feature::FPU287 | Feature::FPU387 | Feature::CMOV | Feature::MMX => true,
        Feature::SSE => is_x86_feature_detected!("sse"),
        Feature::SSE2 => is_x86_feature_detected!("sse2"),
        Feature::SSE3 => is_x86_feature_detected!("sse3"),
        Feature::SSSE3 => is_x86_feature_detected!("ssse3"),
        Feature::SSE4_1 => is_x86_feature_detected!("sse4.1"),
        Feature::SSE4_2 => is_x86_feature_detected!("sse4.2"),
        Feature::AES => is_x86_feature_detected!("aes"),
        Feature::PCLMULQDQ => is_x86_feature_detected!("pclmulqdq"),
        Feature::SHA => is_x86_feature_detected!("sha"),
        Feature::AVX => is_x86_feature_detected!("avx"),
        Feature::AVX2 => is_x86_feature_detected!("avx2"),
        Feature::FMA => is_x86_feature_detected!("fma"),
        Feature::F16C => is_x86_feature_detected!("f16c"),
        Feature::VAES => is_x86_feature_detected!("vaes"),
        Feature::VPCLMULQDQ => is_x86_feature_detected!("vpclmulqdq"),
        Feature::FXSR => is_x86_feature_detected!("fxsr"),
        Feature::XSAVE => is_x86_feature_detected!("xsave"),
        Feature::XSAVEOPT => is_x86_feature_detected!("xsaveopt"),
        Feature::XSAVEC => is_x86_feature_detected!("xsavec"),
        _ => false,
    }
}
