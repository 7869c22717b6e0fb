//! How one instruction is done.

use host_processor::stub::{Slot, Stub};
use iced_x86::{
    EncodingKind, Instruction, InstructionInfo, MemorySize, Mnemonic, OpAccess, OpKind, Register,
    RflagsBits,
};
use x86_semantics::{Cpu, Exception, Size};

use crate::address::check_alignment;
use crate::available::{self, Uses};
use crate::numeric::Beside;
use crate::registers::Vectors;
use crate::run::{Step, handler};
use crate::{moves, usual, x87};

/// Arithmetic flags, as iced has them: it counts x87's conditions among the flags, too.
const FLAGS: u32 = RflagsBits::OF
    | RflagsBits::SF
    | RflagsBits::ZF
    | RflagsBits::AF
    | RflagsBits::CF
    | RflagsBits::PF;

/// Does an instruction of x87 on its usual way, with this register beside the top; `false`: it is not usual, and
/// nothing has changed but buffers.
pub(crate) type Quick = fn(&mut Vectors, Beside) -> bool;

/// Does an instruction.
pub(crate) type Handler = fn(&Prepared, &mut Step<'_>) -> Result<(), Exception>;

/// How one decoded instruction is done.
#[derive(Clone, Copy, Debug)]
pub struct Prepared {
    pub(crate) handler: Handler,
    stub: Option<Stub>,
    /// Where the stub's registers are.
    pub(crate) at: [Slot; 4],
    /// Bytes of the memory operand.
    pub(crate) memory_bytes: u8,
    /// Bytes to a multiple of which it has to be aligned while alignment is checked.
    granule: u8,
    pub(crate) uses: Uses,
    /// Its memory operand, if it has one, is one that is read or written whole.
    is_ordinary: bool,
    /// Nothing but its stub on vector registers and memory.
    is_plain: bool,
    pub(crate) simple: Option<Move>,
    pub(crate) quick: Option<Quick>,
    bits: u16,
}

/// What else there is to know of an instruction, in `bits`.
mod bit {
    /// Two bits: which operand is in memory.
    pub(super) const MEMORY_OPERAND: u16 = 3;
    pub(super) const READS_MEMORY: u16 = 1 << 2;
    pub(super) const WRITES_MEMORY: u16 = 1 << 3;
    pub(super) const ALIGNED: u16 = 1 << 4;
    /// Four bits: which general register.
    pub(super) const GENERAL_SHIFT: u32 = 5;
    pub(super) const HAS_GENERAL: u16 = 1 << 9;
    pub(super) const WRITES_GENERAL: u16 = 1 << 10;
    pub(super) const WRITES_FLAGS: u16 = 1 << 11;
    pub(super) const HAS_LENGTHS: u16 = 1 << 12;
    pub(super) const GIVES_INDEX: u16 = 1 << 13;
    pub(super) const MMX: u16 = 1 << 14;
    pub(super) const WRITES_MMX: u16 = 1 << 15;
}

/// The memory operand of an instruction that has at most one, of an ordinary kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// There is none.
    None,
    /// So many bytes are read.
    Read(u8),
    /// So many bytes are written.
    Write(u8),
}

/// A move between the vector registers and memory, or between two of the former.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Of the register that is written, or read where memory is written.
    pub register: u8,
    /// Of the register that is read, if no memory is.
    pub from: u8,
    /// Bytes that are moved: 4, 8, 16 or 32.
    pub bytes: u8,
    /// Bytes of the register up to which it is cleared behind them, if it is written: 16, or 32 with VEX.
    pub cleared: u8,
}

impl Prepared {
    /// The move that it is, if it is nothing else.
    #[must_use]
    pub const fn simple(&self) -> Option<Move> {
        self.simple
    }

    /// Whether it can be done by [`Vectors::run`](crate::Vectors::run).
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// What there is in memory, if whoever executes the instruction can bring it
    /// ([`execute_given`](crate::execute_given)).
    #[must_use]
    pub fn operand(&self) -> Option<Operand> {
        // Others have operands of other kinds: tables, whole states, what is masked.
        if !self.is_ordinary {
            return None;
        }
        Some(if self.reads_memory() {
            Operand::Read(self.memory_bytes)
        } else if self.writes_memory() {
            Operand::Write(self.memory_bytes)
        } else {
            Operand::None
        })
    }

    /// Whether [`Vectors::quick`] may do it, and flags of the processor do not count.
    #[must_use]
    pub const fn is_quick(&self) -> bool {
        self.quick.is_some() && !self.writes_flags()
    }

    /// The x87 register that it names beside the top.
    #[must_use]
    pub const fn beside(&self) -> Beside {
        Beside::new(self.at[0].x87_number())
    }

    /// Whether the memory operand's address has to be a multiple of its size.
    #[must_use]
    pub const fn is_aligned(&self) -> bool {
        self.has(bit::ALIGNED)
    }

    /// One that is done here, without the host's.
    pub(crate) const fn by_hand(handler: Handler, uses: Uses) -> Self {
        Self {
            handler,
            stub: None,
            at: [Slot::vector(0); 4],
            memory_bytes: 0,
            granule: 1,
            uses,
            is_ordinary: false,
            is_plain: false,
            simple: None,
            quick: None,
            bits: 0,
        }
    }

    /// One that a stub does. The handler is chosen when its operands are known.
    pub(crate) const fn by_stub(stub: Stub, handler: Handler, uses: Uses) -> Self {
        Self {
            stub: Some(stub),
            is_ordinary: true,
            ..Self::by_hand(handler, uses)
        }
    }

    /// An instruction on x87's stack that sets some conditions. Its other register is the second where it
    /// names none.
    pub(crate) const fn by_stack(
        stub: Stub,
        handler: Handler,
        quick: Option<Quick>,
        conditions: u16,
    ) -> Self {
        Self {
            at: [Slot::x87(1); 4],
            quick,
            bits: x87::pack(conditions) << bit::GENERAL_SHIFT,
            ..Self::by_stub(stub, handler, Uses::X87)
        }
    }

    /// The same, with what does it usually.
    pub(crate) const fn with_quick(self, quick: Quick) -> Self {
        Self {
            quick: Some(quick),
            ..self
        }
    }

    /// The same with the x87 register that an instruction names beside the top, or the top where it names no
    /// other.
    pub(crate) fn with_registers_of(self, instruction: &Instruction) -> Self {
        let named = [instruction.op0_register(), instruction.op1_register()];
        let numbers = named.iter().filter(|register| register.is_st());
        let number = numbers.map(|register| register.number()).max();
        Self {
            at: [Slot::x87(number.unwrap_or(0) as u8); 4],
            is_ordinary: true,
            ..self
        }
    }

    /// Whether its unit is available.
    #[inline]
    pub(crate) fn check(&self, cpu: &Cpu) -> Result<(), Exception> {
        available::check(self.uses, cpu)
    }

    /// The stub, which all have that ask for it.
    #[inline]
    pub(crate) fn stub(&self) -> Result<Stub, Exception> {
        self.stub.ok_or(Exception::InvalidOpcode)
    }

    /// `#AC` if alignment is checked, and this address is not aligned.
    #[inline]
    pub(crate) const fn check_alignment(&self, cpu: &Cpu, address: u64) -> Result<(), Exception> {
        check_alignment(cpu, address, self.granule)
    }

    const fn has(&self, bit: u16) -> bool {
        self.bits & bit != 0
    }

    pub(crate) const fn memory_operand(&self) -> u32 {
        (self.bits & bit::MEMORY_OPERAND) as u32
    }

    /// The size of the memory operand, if it is as long as a general register.
    #[inline]
    pub(crate) const fn number_size(&self) -> Option<Size> {
        match self.memory_bytes {
            4 => Some(Size::Double),
            8 => Some(Size::Quad),
            _ => None,
        }
    }

    pub(crate) const fn reads_memory(&self) -> bool {
        self.has(bit::READS_MEMORY)
    }

    pub(crate) const fn writes_memory(&self) -> bool {
        self.has(bit::WRITES_MEMORY)
    }

    pub(crate) const fn general(&self) -> Option<usize> {
        if self.has(bit::HAS_GENERAL) {
            Some((self.bits >> bit::GENERAL_SHIFT & 15) as usize)
        } else {
            None
        }
    }

    /// Conditions of x87 that it sets or clears, as four bits: these have no general register.
    pub(crate) const fn conditions(&self) -> u16 {
        self.bits >> bit::GENERAL_SHIFT & 15
    }

    pub(crate) const fn writes_general(&self) -> bool {
        self.has(bit::WRITES_GENERAL)
    }

    pub(crate) const fn writes_flags(&self) -> bool {
        self.has(bit::WRITES_FLAGS)
    }

    pub(crate) const fn has_lengths(&self) -> bool {
        self.has(bit::HAS_LENGTHS)
    }

    pub(crate) const fn gives_index(&self) -> bool {
        self.has(bit::GIVES_INDEX)
    }

    pub(crate) const fn is_mmx(&self) -> bool {
        self.has(bit::MMX)
    }

    /// The MMX register that it writes.
    pub(crate) fn mmx_written(&self) -> Option<usize> {
        self.has(bit::WRITES_MMX).then(|| self.at[0].x87_number())
    }

    /// What the operands of an instruction say.
    pub(crate) fn describe(&mut self, instruction: &Instruction, info: &InstructionInfo) {
        for operand in 0..instruction.op_count() {
            let access = info.op_access(operand);
            match instruction.op_kind(operand) {
                OpKind::Memory => self.describe_memory(instruction, operand, access),
                OpKind::Register => {
                    self.describe_register(instruction.op_register(operand), operand, access);
                }
                _ => {}
            }
        }
        if instruction.rflags_modified() & FLAGS != 0 {
            self.bits |= bit::WRITES_FLAGS;
        }
        self.bits |= describe_strings(instruction.mnemonic());
    }

    fn describe_memory(&mut self, instruction: &Instruction, operand: u32, access: OpAccess) {
        self.memory_bytes = instruction.memory_size().size() as u8;
        self.granule = granule(instruction);
        self.bits |= operand as u16 & bit::MEMORY_OPERAND;
        self.bits |= if access == OpAccess::Write {
            bit::WRITES_MEMORY
        } else {
            bit::READS_MEMORY
        };
        if wants_alignment(instruction, self.memory_bytes) {
            self.bits |= bit::ALIGNED;
        }
    }

    fn describe_register(&mut self, register: Register, operand: u32, access: OpAccess) {
        let number = register.number() as u8;
        let is_written = operand == 0 && !matches!(access, OpAccess::Read | OpAccess::CondRead);
        if register.is_vector_register() {
            self.at[operand as usize & 3] = Slot::vector(number);
        } else if register.is_mm() {
            self.at[operand as usize & 3] = Slot::x87(number);
            self.bits |= bit::MMX;
            self.bits |= if is_written { bit::WRITES_MMX } else { 0 };
        } else if register.is_st() && number != 0 {
            self.at[0] = Slot::x87(number);
        } else if register.is_gpr() {
            self.bits |= bit::HAS_GENERAL | u16::from(number) << bit::GENERAL_SHIFT;
            self.bits |= if is_written { bit::WRITES_GENERAL } else { 0 };
        }
    }

    /// What does no more than it has to.
    pub(crate) fn choose(&mut self, instruction: &Instruction, is_float: bool) {
        let more =
            bit::HAS_GENERAL | bit::WRITES_FLAGS | bit::HAS_LENGTHS | bit::GIVES_INDEX | bit::MMX;
        let special =
            moves::handler(self, instruction).or_else(|| usual::handler(self, instruction));
        let has_more = self.has(more);
        let is_known = matches!(self.uses, Uses::Sse | Uses::Avx);
        self.is_plain = special.is_none() && is_known && !is_float && !has_more;
        self.simple = moves::simple(self, instruction);
        self.handler = special.unwrap_or_else(|| handler(self, is_float, has_more));
    }
}

/// To what a memory operand has to be aligned while that is checked (SDM vol. 3, table 6-7): a number to its size, a whole
/// register of x87's to 8 bytes, its environment to the size of what is in it. Vectors of 16 bytes and more may or may not
/// be asked for it; here as on Intel's they are not, nor are halves of numbers.
fn granule(instruction: &Instruction) -> u8 {
    match (instruction.mnemonic(), instruction.memory_size()) {
        (Mnemonic::Vcvtph2ps | Mnemonic::Vcvtps2ph, _) => 1,
        (_, MemorySize::FpuEnv14 | MemorySize::FpuState94) => 2,
        (_, MemorySize::FpuEnv28 | MemorySize::FpuState108) => 4,
        (_, size) => match size.size() {
            bytes @ (2 | 4 | 8) => bytes as u8,
            10 => 8,
            _ => 1,
        },
    }
}

/// Those that compare strings have general registers without naming them.
const fn describe_strings(mnemonic: Mnemonic) -> u16 {
    use Mnemonic as M;
    match mnemonic {
        M::Pcmpestri | M::Vpcmpestri | M::Pcmpestri64 | M::Vpcmpestri64 => {
            bit::HAS_LENGTHS | bit::GIVES_INDEX
        }
        M::Pcmpestrm | M::Vpcmpestrm | M::Pcmpestrm64 | M::Vpcmpestrm64 => bit::HAS_LENGTHS,
        M::Pcmpistri | M::Vpcmpistri => bit::GIVES_INDEX,
        _ => 0,
    }
}

/// Whether the memory operand has to be aligned: 16 bytes without VEX, but for a few; with VEX only where the
/// name says so (SDM vol. 1, 14.9).
fn wants_alignment(instruction: &Instruction, bytes: u8) -> bool {
    use Mnemonic as M;
    let mnemonic = instruction.mnemonic();
    if instruction.code().op_code().encoding() == EncodingKind::VEX {
        return matches!(
            mnemonic,
            M::Vmovaps
                | M::Vmovapd
                | M::Vmovdqa
                | M::Vmovntps
                | M::Vmovntpd
                | M::Vmovntdq
                | M::Vmovntdqa
        );
    }
    let is_free = matches!(
        mnemonic,
        M::Movups
            | M::Movupd
            | M::Movdqu
            | M::Lddqu
            // AMD's do not ask for it.
            | M::Sha1msg1
            | M::Sha1msg2
            | M::Sha1nexte
            | M::Sha1rnds4
            | M::Sha256msg1
            | M::Sha256msg2
            | M::Sha256rnds2
            | M::Pcmpestri
            | M::Pcmpestrm
            | M::Pcmpistri
            | M::Pcmpistrm
            | M::Pcmpestri64
            | M::Pcmpestrm64
    );
    bytes == 16 && !is_free
}
