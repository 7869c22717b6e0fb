//! The state of x87, but for its data registers.

use x86_semantics::Exception;

use crate::registers::array;
use crate::run::Step;

/// Control word after reset (SDM vol. 1, 8.1.5), and the bits that it has; one of them is always set.
const CONTROL_RESET: u16 = 0x037f;
const CONTROL_BITS: u16 = 0x1f3f;
const CONTROL_FIXED: u16 = 0x0040;
/// Exceptions in the status word, and its bits that say that one is not masked (SDM vol. 1, 8.1.3).
pub(crate) const EXCEPTIONS: u16 = 0x3f;
const SUMMARY: u16 = 1 << 7;
const BUSY: u16 = 1 << 15;
/// `SF`.
pub(crate) const STACK_FAULT: u16 = 1 << 6;
/// `C1`.
pub(crate) const CONDITION_1: u16 = 1 << 9;
/// Where the top of the stack is said.
const TOP_SHIFT: u32 = 11;
const TOP: u16 = 7 << TOP_SHIFT;

/// Where the parts of an image are (SDM vol. 1, table 10-2).
const CONTROL_AT: usize = 0;
const STATUS_AT: usize = 2;
const TAGS_AT: usize = 4;
const OPCODE_AT: usize = 6;
const INSTRUCTION_AT: usize = 8;
const DATA_AT: usize = 16;

/// State of x87 but for its data registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numeric {
    /// Control word.
    pub(crate) control: u16,
    /// Status word without the top of the stack, which is by itself: where an instruction finds its registers must not
    /// wait for how the last one's result was rounded.
    pub(crate) conditions: u16,
    /// The top of the stack: the physical number of its register.
    pub(crate) top: u8,
    /// A bit for each register by its physical number that is not empty.
    pub(crate) tags: u8,
    /// Opcode of the last instruction.
    pub(crate) opcode: u16,
    /// Addresses of the last instruction and its operand.
    pub(crate) instruction: u64,
    pub(crate) data: u64,
}

impl Default for Numeric {
    fn default() -> Self {
        Self {
            control: CONTROL_RESET,
            conditions: 0,
            top: 0,
            tags: 0,
            opcode: 0,
            instruction: 0,
            data: 0,
        }
    }
}

impl Numeric {
    /// The physical number of a register of the stack.
    pub(crate) const fn physical(&self, number: usize) -> usize {
        (self.top() + number) & 7
    }

    /// The physical number of the top of the stack.
    pub(crate) const fn top(&self) -> usize {
        self.top as usize & 7
    }

    /// Moves the top of the stack.
    pub(crate) const fn set_top(&mut self, top: usize) {
        self.top = top as u8 & 7;
    }

    /// The status word.
    pub(crate) const fn status(&self) -> u16 {
        self.conditions | (self.top as u16 & 7) << TOP_SHIFT
    }

    /// Makes a register the top, with something in it.
    pub(crate) const fn push(&mut self) {
        self.set_top(self.top() + 7);
        self.fill(self.top());
    }

    /// Empties the top, and makes the next one the top.
    pub(crate) const fn pop(&mut self) {
        self.free(self.top());
        self.set_top(self.top() + 1);
    }

    /// There is something in a register, by its physical number.
    pub(crate) const fn fill(&mut self, physical: usize) {
        self.tags |= 1 << (physical & 7);
    }

    /// There is nothing in it.
    pub(crate) const fn free(&mut self, physical: usize) {
        self.tags &= !(1 << (physical & 7));
    }

    /// Whether a register is not empty, by its physical number.
    pub(crate) const fn is_full(&self, physical: usize) -> bool {
        self.tags >> (physical & 7) & 1 != 0
    }

    /// Whether all exceptions are masked, so that none waits either.
    pub(crate) const fn is_masked(&self) -> bool {
        self.control & EXCEPTIONS == EXCEPTIONS
    }

    /// Whether an exception waits for the next instruction.
    pub(crate) const fn is_pending(&self) -> bool {
        self.conditions & SUMMARY != 0
    }

    /// As an instruction of MMX leaves it: all registers are valid, and the first is the top.
    pub(crate) const fn enter_mmx(&mut self) {
        self.top = 0;
        self.tags = 0xff;
    }

    pub(crate) const fn set_control(&mut self, control: u16) {
        self.control = control & CONTROL_BITS | CONTROL_FIXED;
        self.summarize();
    }

    /// Sets the status word, whose summary follows from the rest.
    pub(crate) const fn set_status(&mut self, status: u16) {
        self.set_top((status >> TOP_SHIFT) as usize);
        self.conditions = status & !TOP;
        self.summarize();
    }

    const fn summarize(&mut self) {
        let unmasked = self.conditions & !self.control & EXCEPTIONS;
        let summary = if unmasked == 0 { 0 } else { SUMMARY | BUSY };
        self.conditions = self.conditions & !(SUMMARY | BUSY) | summary;
    }

    /// `FNCLEX`.
    pub(crate) const fn clear_exceptions(&mut self) {
        self.conditions &= !(EXCEPTIONS | STACK_FAULT | SUMMARY | BUSY);
    }

    /// From the first bytes of an image.
    pub(crate) fn take(&mut self, image: &[u8]) {
        let word = |at: usize| u16::from_le_bytes(array(&image[at..]));
        let quad = |at: usize| u64::from_le_bytes(array(&image[at..]));
        *self = Self {
            control: word(CONTROL_AT) & CONTROL_BITS | CONTROL_FIXED,
            tags: image[TAGS_AT],
            opcode: word(OPCODE_AT) & 0x7ff,
            instruction: quad(INSTRUCTION_AT),
            data: quad(DATA_AT),
            ..Self::default()
        };
        self.set_status(word(STATUS_AT));
    }

    /// To the first bytes of an image, but for MXCSR.
    pub(crate) fn put(&self, image: &mut [u8]) {
        image[CONTROL_AT..][..2].copy_from_slice(&self.control.to_le_bytes());
        image[STATUS_AT..][..2].copy_from_slice(&self.status().to_le_bytes());
        image[TAGS_AT..][..2].copy_from_slice(&u16::from(self.tags).to_le_bytes());
        image[OPCODE_AT..][..2].copy_from_slice(&self.opcode.to_le_bytes());
        image[INSTRUCTION_AT..][..8].copy_from_slice(&self.instruction.to_le_bytes());
        image[DATA_AT..][..8].copy_from_slice(&self.data.to_le_bytes());
    }
}

impl Step<'_> {
    /// `#MF` if an x87 exception waits (SDM vol. 1, 8.7).
    pub(crate) fn deliver(&self) -> Result<(), Exception> {
        if self.vectors.numeric.is_pending() {
            Err(Exception::Numeric)
        } else {
            Ok(())
        }
    }
}
