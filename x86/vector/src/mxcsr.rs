//! `MXCSR` (SDM vol. 1, 10.2.3), in the parts that instructions need: what is chosen, what was raised, what is not
//! masked.

use crate::registers::Vectors;

/// After reset.
pub(crate) const RESET: u32 = 0x1f80;
/// The bits that it has (SDM vol. 1, 11.6.6).
pub(crate) const BITS: u32 = 0xffff;
/// Exceptions, and where their masks are.
const EXCEPTIONS: u32 = 0x3f;
const MASKS_SHIFT: u32 = 7;
const MASKS: u32 = EXCEPTIONS << MASKS_SHIFT;

impl Vectors {
    /// `MXCSR` as a whole.
    pub(crate) const fn mxcsr(&self) -> u32 {
        let masked = EXCEPTIONS & !self.unmasked;
        self.operands.mxcsr & !MASKS | masked << MASKS_SHIFT | self.operands.raised
    }

    /// Sets it. Bits that it does not have are left out.
    pub(crate) const fn set_mxcsr(&mut self, mxcsr: u32) {
        self.operands.mxcsr = mxcsr & BITS & !EXCEPTIONS | MASKS;
        self.operands.raised = mxcsr & EXCEPTIONS;
        self.unmasked = !mxcsr >> MASKS_SHIFT & EXCEPTIONS;
    }
}
