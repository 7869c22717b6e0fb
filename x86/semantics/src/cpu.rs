//! The registers that instructions work with.

use x86_state::{Segment, Segments};

use crate::Flags;

/// `DF`.
const DIRECTION: u64 = 1 << 10;
/// Bits of a segment's rights (SDM vol. 3, 3.4.5).
const RIGHTS_LONG: u16 = 1 << 13;
pub(crate) const RIGHTS_BIG: u16 = 1 << 14;
/// `EFER.LMA`.
const LONG_MODE_ACTIVE: u64 = 1 << 10;

/// Width of code, by its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodeSize {
    /// 16 bits.
    Word,
    /// 32 bits.
    Double,
    /// 64 bits.
    Quad,
}

impl CodeSize {
    /// The bits of an instruction's address.
    #[must_use]
    pub const fn mask(self) -> u64 {
        match self {
            Self::Word => 0xffff,
            Self::Double => 0xffff_ffff,
            Self::Quad => u64::MAX,
        }
    }

    /// For the decoder.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Word => 16,
            Self::Double => 32,
            Self::Quad => 64,
        }
    }
}

/// Registers between two instructions.
#[derive(Clone, Debug)]
pub struct Cpu {
    /// `rax rcx rdx rbx rsp rbp rsi rdi r8..r15`.
    pub general: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// The arithmetic flags.
    pub flags: Flags,
    /// The other flags, as in `RFLAGS`.
    pub system_flags: u64,
    /// Segment registers.
    pub segments: Segments,
    /// `EFER`.
    pub efer: u64,
}

impl Cpu {
    /// All flags.
    #[must_use]
    pub const fn rflags(&self) -> u64 {
        self.system_flags | self.flags.bits()
    }

    /// Sets all flags.
    pub const fn set_rflags(&mut self, flags: u64) {
        self.flags = Flags::from_bits(flags);
        self.system_flags = flags & !Flags::MASK;
    }

    /// Whether the mode is 64-bit or compatibility mode.
    #[must_use]
    pub const fn is_long(&self) -> bool {
        self.efer & LONG_MODE_ACTIVE != 0
    }

    /// Width of the code.
    #[must_use]
    pub const fn code_size(&self) -> CodeSize {
        let rights = self.segments.cs.rights;
        if self.is_long() && rights & RIGHTS_LONG != 0 {
            CodeSize::Quad
        } else if rights & RIGHTS_BIG != 0 {
            CodeSize::Double
        } else {
            CodeSize::Word
        }
    }

    /// The bits of the stack pointer that count.
    #[must_use]
    pub const fn stack_mask(&self) -> u64 {
        match self.code_size() {
            CodeSize::Quad => u64::MAX,
            _ if self.segments.ss.rights & RIGHTS_BIG != 0 => 0xffff_ffff,
            _ => 0xffff,
        }
    }

    /// What string instructions add to an address for each byte.
    #[must_use]
    pub const fn step(&self) -> i64 {
        if self.system_flags & DIRECTION == 0 {
            1
        } else {
            -1
        }
    }

    /// Sets or clears `DF`.
    pub const fn set_direction(&mut self, is_down: bool) {
        if is_down {
            self.system_flags |= DIRECTION;
        } else {
            self.system_flags &= !DIRECTION;
        }
    }
}

/// A segment whose base counts in 64-bit code, too.
pub(crate) const fn has_base(segment: iced_x86::Register) -> bool {
    matches!(segment, iced_x86::Register::FS | iced_x86::Register::GS)
}

/// A segment register by its name; `None` for other registers.
#[must_use]
pub const fn segment(segments: &Segments, name: iced_x86::Register) -> Option<&Segment> {
    use iced_x86::Register;
    Some(match name {
        Register::ES => &segments.es,
        Register::CS => &segments.cs,
        Register::SS => &segments.ss,
        Register::DS => &segments.ds,
        Register::FS => &segments.fs,
        Register::GS => &segments.gs,
        _ => return None,
    })
}
