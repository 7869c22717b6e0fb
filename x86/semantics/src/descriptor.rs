//! Descriptors of segments as they lie in memory (SDM vol. 3, 3.4.5 and 3.5).

use x86_state::Segment;

use crate::Size;

/// What kinds of system descriptors there are, by their type (SDM vol. 3, table 3-2).
pub(crate) mod system {
    pub(crate) const TASK_16: u8 = 1;
    pub(crate) const LDT: u8 = 2;
    pub(crate) const TASK_16_BUSY: u8 = 3;
    pub(crate) const CALL_GATE_16: u8 = 4;
    pub(crate) const TASK_GATE: u8 = 5;
    pub(crate) const TASK: u8 = 9;
    pub(crate) const TASK_BUSY: u8 = 11;
    pub(crate) const CALL_GATE: u8 = 12;
    pub(crate) const INTERRUPT_GATE_16: u8 = 6;
    pub(crate) const TRAP_GATE_16: u8 = 7;
    pub(crate) const INTERRUPT_GATE: u8 = 14;
    pub(crate) const TRAP_GATE: u8 = 15;
}

/// A segment's access rights, as [`Segment::rights`] has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rights(pub(crate) u16);

impl Rights {
    const ACCESSED: u16 = 1;

    const fn has(self, bit: u32) -> bool {
        self.0 & 1 << bit != 0
    }

    /// Type of a system descriptor.
    pub(crate) const fn kind(self) -> u8 {
        self.0 as u8 & 15
    }

    /// A segment of the system's, or a gate: neither code nor data.
    pub(crate) const fn is_system(self) -> bool {
        !self.has(4)
    }

    pub(crate) const fn is_code(self) -> bool {
        !self.is_system() && self.has(3)
    }

    /// Code that keeps the privilege level of who calls it.
    pub(crate) const fn is_conforming(self) -> bool {
        self.is_code() && self.has(2)
    }

    pub(crate) const fn is_readable(self) -> bool {
        !self.is_system() && (!self.has(3) || self.has(1))
    }

    pub(crate) const fn is_writable(self) -> bool {
        !self.is_system() && !self.has(3) && self.has(1)
    }

    /// Data whose offsets lie above the limit.
    pub(crate) const fn expands_down(self) -> bool {
        !self.has(3) && self.has(2)
    }

    /// The privilege level of the descriptor.
    pub(crate) const fn level(self) -> u8 {
        (self.0 >> 5) as u8 & 3
    }

    pub(crate) const fn is_present(self) -> bool {
        self.has(7)
    }

    /// 64-bit code.
    pub(crate) const fn is_long(self) -> bool {
        self.has(13)
    }

    /// 32-bit code, a 32-bit stack.
    pub(crate) const fn is_big(self) -> bool {
        self.has(14)
    }
}

/// A descriptor of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor(pub(crate) u64);

impl Descriptor {
    /// Its rights; of a gate, those bits that gates have, too.
    pub(crate) const fn rights(self) -> Rights {
        Rights((self.0 >> 40) as u16 & 0xf0ff)
    }

    /// The last offset, in bytes.
    pub(crate) const fn limit(self) -> u32 {
        let limit = (self.0 & 0xffff | self.0 >> 32 & 0xf_0000) as u32;
        if self.rights().has(15) {
            limit << 12 | 0xfff
        } else {
            limit
        }
    }

    const fn base(self) -> u64 {
        self.0 >> 16 & 0xff_ffff | self.0 >> 32 & 0xff00_0000
    }

    /// Whether the processor has noted that it was loaded.
    pub(crate) const fn is_accessed(self) -> bool {
        self.rights().0 & Rights::ACCESSED != 0
    }

    /// With that note.
    pub(crate) const fn accessed(self) -> Self {
        Self(self.0 | (Rights::ACCESSED as u64) << 40)
    }

    /// What a segment register has that was loaded with it.
    pub(crate) const fn segment(self, selector: u16) -> Segment {
        Segment {
            selector,
            base: self.base(),
            limit: self.limit(),
            rights: self.rights().0,
        }
    }
}

/// A gate, in long mode with its second half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gate {
    pub(crate) low: u64,
    pub(crate) high: u64,
}

impl Gate {
    /// Type, level and presence.
    pub(crate) const fn rights(self) -> Rights {
        Descriptor(self.low).rights()
    }

    /// Whether it leads to a handler of interrupts.
    pub(crate) const fn is_handler(self, is_long: bool) -> bool {
        let rights = self.rights();
        rights.is_system()
            && match rights.kind() {
                system::INTERRUPT_GATE | system::TRAP_GATE => true,
                system::INTERRUPT_GATE_16 | system::TRAP_GATE_16 => !is_long,
                _ => false,
            }
    }

    /// Whether it leads to a task.
    pub(crate) const fn is_task(self) -> bool {
        self.rights().is_system() && self.rights().kind() == system::TASK_GATE
    }

    /// Whether further interrupts wait.
    pub(crate) const fn is_for_interrupts(self) -> bool {
        matches!(
            self.rights().kind(),
            system::INTERRUPT_GATE_16 | system::INTERRUPT_GATE
        )
    }

    /// What is pushed at a time.
    pub(crate) const fn size(self, is_long: bool) -> Size {
        match self.rights().kind() {
            system::INTERRUPT_GATE_16 | system::TRAP_GATE_16 | system::CALL_GATE_16 => Size::Word,
            _ if is_long => Size::Quad,
            _ => Size::Double,
        }
    }

    pub(crate) const fn selector(self) -> u16 {
        (self.low >> 16) as u16
    }

    /// Where it leads, in the code of its selector.
    pub(crate) const fn offset(self, is_long: bool) -> u64 {
        let low = self.low & 0xffff | self.low >> 32 & 0xffff_0000;
        match self.size(is_long) {
            Size::Word => low & 0xffff,
            Size::Quad => low | (self.high & 0xffff_ffff) << 32,
            _ => low,
        }
    }

    /// Of a call gate: values that go from the caller's stack to the inner one.
    pub(crate) const fn arguments(self) -> u64 {
        self.low >> 32 & 31
    }

    /// Number of a stack in the interrupt stack table of long mode, or zero.
    pub(crate) const fn interrupt_stack(self) -> u64 {
        self.low >> 32 & 7
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_manual_has_them() {
        // The flat 32-bit code of a program in Linux, and a small data segment of 16 bits.
        let code = Descriptor(0x00cf_fb00_0000_ffff);
        let segment = code.segment(0x23);
        assert_eq!((segment.base, segment.limit), (0, 0xffff_ffff));
        assert_eq!(segment.rights, 0xc0fb);
        let rights = code.rights();
        assert!(rights.is_code() && rights.is_readable() && rights.is_present() && rights.is_big());
        assert!(!rights.is_conforming() && !rights.is_writable() && !rights.is_long());
        assert_eq!(rights.level(), 3);
        let data = Descriptor(0x1200_f634_5678_0fff);
        let segment = data.segment(0x0f);
        assert_eq!((segment.base, segment.limit), (0x1234_5678, 0xfff));
        assert!(data.rights().expands_down() && data.rights().is_writable());
        assert!(!data.is_accessed() && data.accessed().is_accessed());
        assert_eq!(data.accessed().0, 0x1200_f734_5678_0fff);
    }
}
