//! A stack that is not the program's yet: where what is interrupted is put.

use x86_paging::Privilege;
use x86_state::Segment;

use crate::descriptor::Rights;
use crate::processor::{allows, is_canonical};
use crate::{Exception, Memory, Size};

/// A stack to be pushed to before it is the program's.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    pub(crate) segment: Segment,
    pub(crate) pointer: u64,
    /// Of 64-bit code: the segment does not count.
    pub(crate) is_long: bool,
    /// In whose name it is written.
    pub(crate) privilege: Privilege,
    /// What is raised where it ends.
    pub(crate) at_end: Exception,
}

impl Stack {
    /// Bits of the pointer that count.
    fn mask(&self) -> u64 {
        match () {
            () if self.is_long => u64::MAX,
            () if Rights(self.segment.rights).is_big() => 0xffff_ffff,
            () => 0xffff,
        }
    }

    /// What the stack pointer is with it, which was this before: a small stack has the low half alone.
    pub(crate) fn pointer_over(&self, before: u64) -> u64 {
        match self.mask() {
            0xffff => before & 0xffff_0000 | self.pointer & 0xffff,
            _ => self.pointer,
        }
    }

    pub(crate) fn push(
        &mut self,
        memory: &mut dyn Memory,
        size: Size,
        value: u64,
    ) -> Result<(), Exception> {
        let (mask, bytes) = (self.mask(), u64::from(size.bytes()));
        let at = self.pointer.wrapping_sub(bytes) & mask;
        let is_there = if self.is_long {
            is_canonical(at) && is_canonical(at.wrapping_add(bytes - 1))
        } else {
            allows(&self.segment, at, bytes, true)
        };
        if !is_there {
            return Err(self.at_end);
        }
        let address = if self.is_long {
            at
        } else {
            self.segment.base.wrapping_add(at) & 0xffff_ffff
        };
        memory.write(address, size, size.cut(value), self.privilege)?;
        self.pointer = if mask == 0xffff {
            self.pointer & !mask | at
        } else {
            at
        };
        Ok(())
    }
}
