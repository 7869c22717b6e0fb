//! The registers that instructions work with.

use x86_paging::Privilege;
use x86_state::{Control, Segment, Segments, Table};

use crate::Flags;
use crate::descriptor::Rights;

/// `DF`.
const DIRECTION: u64 = 1 << 10;
/// `VM` and `AC`.
const VIRTUAL_8086: u64 = 1 << 17;
const ALIGNMENT_CHECK: u64 = 1 << 18;
/// `CR0.AM`, and `CR0.PE`.
const ALIGNMENT_MASK: u64 = 1 << 18;
const PROTECTION: u64 = 1;
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

    /// The bits of an instruction's address that follows on another: beyond the segment's end it is refused,
    /// not found at its start.
    #[must_use]
    pub const fn following(self) -> u64 {
        match self {
            Self::Quad => u64::MAX,
            _ => 0xffff_ffff,
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

/// Model-specific registers that instructions use (SDM vol. 4; for those of `SYSCALL`, APM vol. 2, 6.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelSpecific {
    /// `STAR`: the selectors of `SYSCALL` and `SYSRET`, and where the first leads outside long mode.
    pub star: u64,
    /// `LSTAR`: where it leads from 64-bit code.
    pub lstar: u64,
    /// `CSTAR`: where it leads from compatibility mode.
    pub cstar: u64,
    /// `SFMASK`: the flags that it clears.
    pub flag_mask: u64,
    /// What `SWAPGS` puts into the base of `GS`.
    pub kernel_gs_base: u64,
    /// Selector of `SYSENTER`.
    pub sysenter_cs: u64,
    /// Its stack pointer.
    pub sysenter_esp: u64,
    /// Where it leads.
    pub sysenter_eip: u64,
    /// What `RDTSCP` and `RDPID` tell.
    pub tsc_aux: u64,
    /// Page attribute table.
    pub pat: u64,
}

/// Registers between two instructions. By default, all are zero.
#[derive(Clone, Debug, Default)]
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
    /// Control registers.
    pub control: Control,
    /// Global descriptor table.
    pub gdt: Table,
    /// Interrupt descriptor table.
    pub idt: Table,
    /// `dr0..dr3`, `dr6`, `dr7`.
    pub debug: [u64; 6],
    /// Model-specific registers that instructions use.
    pub model_specific: ModelSpecific,
    /// The instruction before loaded `SS` or allowed interrupts: they wait for one more.
    pub interrupt_shadow: bool,
    /// It waits for an interrupt.
    pub halted: bool,
    /// Somebody looks at each step of a repeated instruction: it ends after one, and is met again.
    pub by_steps: bool,
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
        self.control.efer & LONG_MODE_ACTIVE != 0
    }

    /// Whether segments have descriptors: neither real nor virtual-8086 mode.
    #[must_use]
    pub const fn is_protected(&self) -> bool {
        self.control.cr0 & PROTECTION != 0 && self.system_flags & VIRTUAL_8086 == 0
    }

    /// Whether the mode is virtual-8086 mode.
    #[must_use]
    pub const fn is_virtual_8086(&self) -> bool {
        self.system_flags & VIRTUAL_8086 != 0
    }

    /// The current privilege level (SDM vol. 3, 5.5).
    #[must_use]
    pub const fn level(&self) -> u8 {
        if self.is_virtual_8086() {
            3
        } else if self.is_protected() {
            self.segments.cs.selector as u8 & 3
        } else {
            0
        }
    }

    /// Whether accesses to memory have to be aligned.
    #[must_use]
    pub const fn checks_alignment(&self) -> bool {
        self.control.cr0 & ALIGNMENT_MASK != 0
            && self.system_flags & ALIGNMENT_CHECK != 0
            && self.level() == 3
    }

    /// In whose name it accesses memory.
    #[must_use]
    pub const fn privilege(&self) -> Privilege {
        self.privilege_at(self.level())
    }

    /// In whose name it would access memory at a level.
    pub(crate) const fn privilege_at(&self, level: u8) -> Privilege {
        if level == 3 {
            Privilege::User
        } else {
            Privilege::Supervisor {
                alignment_check: self.system_flags & ALIGNMENT_CHECK != 0,
            }
        }
    }

    /// The bits of a linear address that count for the system's tables.
    pub(crate) const fn linear_mask(&self) -> u64 {
        if self.is_long() {
            u64::MAX
        } else {
            0xffff_ffff
        }
    }

    /// Width of the code.
    #[must_use]
    pub const fn code_size(&self) -> CodeSize {
        let rights = Rights(self.segments.cs.rights);
        if self.is_long() && rights.is_long() {
            CodeSize::Quad
        } else if rights.is_big() {
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
            _ if Rights(self.segments.ss.rights).is_big() => 0xffff_ffff,
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

/// A segment register by its name, to be changed; `None` for other registers.
pub(crate) const fn segment_mut(
    segments: &mut Segments,
    name: iced_x86::Register,
) -> Option<&mut Segment> {
    use iced_x86::Register;
    Some(match name {
        Register::ES => &mut segments.es,
        Register::CS => &mut segments.cs,
        Register::SS => &mut segments.ss,
        Register::DS => &mut segments.ds,
        Register::FS => &mut segments.fs,
        Register::GS => &mut segments.gs,
        _ => return None,
    })
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
