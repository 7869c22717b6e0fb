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
/// Beside the flags that were raised: the exceptions that are not masked, and where they are.
const UNMASKED_SHIFT: u32 = 16;
pub(crate) const UNMASKED: u32 = EXCEPTIONS << UNMASKED_SHIFT;
/// `PE`.
pub(crate) const INEXACT: u32 = 1 << 5;

impl Vectors {
    /// `MXCSR` as a whole.
    pub(crate) const fn mxcsr(&self) -> u32 {
        let masked = EXCEPTIONS & !self.unmasked();
        let raised = self.operands.raised & EXCEPTIONS;
        self.operands.mxcsr & !MASKS | masked << MASKS_SHIFT | raised
    }

    /// The exceptions that are not masked, as its flags.
    #[inline]
    pub(crate) const fn unmasked(&self) -> u32 {
        (self.operands.raised & UNMASKED) >> UNMASKED_SHIFT
    }

    /// Sets it. Bits that it does not have are left out.
    pub(crate) const fn set_mxcsr(&mut self, mxcsr: u32) {
        self.operands.mxcsr = mxcsr & BITS & !EXCEPTIONS | MASKS;
        let unmasked = !mxcsr >> MASKS_SHIFT & EXCEPTIONS;
        self.operands.raised = mxcsr & EXCEPTIONS | unmasked << UNMASKED_SHIFT;
    }
}
