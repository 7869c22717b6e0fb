//! The state of x87, but for its data registers.

use std::cmp::Ordering;

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
/// `PE`.
const INEXACT: u16 = 1 << 5;
/// `SF`.
pub(crate) const STACK_FAULT: u16 = 1 << 6;
/// `C1`.
const CONDITION_1: u16 = 1 << 9;
/// `C0`, `C3`, and with `C2` what a comparison sets.
const LESS: u16 = 1 << 8;
const EQUAL: u16 = 1 << 14;
const COMPARED: u16 = LESS | 1 << 10 | EQUAL;
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

/// Bytes of a register, and those of all of them that a register begins at.
const REGISTER: u8 = 16;
pub(crate) const REGISTERS: u8 = 0x70;
/// Of all exceptions' masks, of precision and of rounding what makes results precise: 64 bits, to nearest.
const PRECISE: u16 = EXCEPTIONS | 3 << 8;
const PRECISE_OF: u16 = PRECISE | 3 << 10;

/// A register of the stack, in the form in which it is found at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Bytes between the top's register and this one.
    pub offset: u8,
    /// A bit for it.
    pub bit: u8,
}

/// The top itself, and what becomes the top by the next push.
pub(crate) const ON_TOP: Beside = Beside::new(0);
pub(crate) const PUSHED: Beside = Beside::new(7);

impl Beside {
    /// By its number on the stack, 0 for the top.
    #[must_use]
    pub const fn new(number: usize) -> Self {
        let number = number as u8 & 7;
        Self {
            offset: number * REGISTER,
            bit: 1 << number,
        }
    }
}

/// State of x87 but for its data registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numeric {
    /// Control word.
    control: u16,
    /// Status word without what is by itself: the top of the stack, because where an instruction finds its registers
    /// must not wait for how the last one's result was rounded, `PE` and `C1`, because most instructions set them and
    /// few read them.
    rest: u16,
    /// The top of the stack: the bytes between the first register and the top's.
    top: u8,
    /// A bit for each register of the stack, from the top on, that is empty.
    empty: u8,
    /// Whether usual numbers raise nothing but `PE`, and results have all their bits, as the control word says.
    is_precise: bool,
    /// `C1`.
    is_up: bool,
    /// What lay behind the last places of results: `PE` is set unless it is zero.
    behind: u64,
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
            rest: 0,
            top: 0,
            empty: 0xff,
            is_precise: true,
            is_up: false,
            behind: 0,
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
        (self.top / REGISTER) as usize & 7
    }

    /// Moves the top of the stack; registers stay as empty as they are.
    pub(crate) const fn set_top(&mut self, top: usize) {
        let tags = self.tags();
        self.top = (top as u8 & 7) * REGISTER;
        self.set_tags(tags);
    }

    /// A bit for each register that is not empty, by its physical number.
    pub(crate) const fn tags(&self) -> u8 {
        (!self.empty).rotate_left(self.top() as u32)
    }

    pub(crate) const fn set_tags(&mut self, tags: u8) {
        self.empty = !tags.rotate_right(self.top() as u32);
    }

    pub(crate) const fn control(&self) -> u16 {
        self.control
    }

    /// Whether usual numbers raise nothing but `PE`, and results have all their bits.
    #[inline(always)]
    pub(crate) const fn is_precise(&self) -> bool {
        self.is_precise
    }

    /// Where a register of the stack is: bytes from the first one.
    #[inline(always)]
    pub(crate) const fn place(&self, beside: Beside) -> u8 {
        self.top.wrapping_add(beside.offset) & REGISTERS
    }

    /// The status word.
    pub(crate) const fn status(&self) -> u16 {
        self.conditions() | (self.top() as u16) << TOP_SHIFT
    }

    /// The status word without the top of the stack.
    pub(crate) const fn conditions(&self) -> u16 {
        let inexact = if self.behind == 0 { 0 } else { INEXACT };
        let up = if self.is_up { CONDITION_1 } else { 0 };
        self.rest | inexact | up
    }

    /// Sets that, as it is given.
    pub(crate) const fn set_conditions(&mut self, conditions: u16) {
        self.rest = conditions & !(TOP | INEXACT | CONDITION_1);
        self.behind = (conditions & INEXACT) as u64;
        self.is_up = conditions & CONDITION_1 != 0;
    }

    /// Remembers how a result came about: what lay behind its last place, and whether it was made larger (`C1`).
    #[inline(always)]
    pub(crate) const fn note(&mut self, behind: u64, is_up: bool) {
        self.behind |= behind;
        self.is_up = is_up;
    }

    /// Sets `C0`, `C2` and `C3` as a comparison does that has an order; `C1` is clear afterwards.
    #[inline(always)]
    pub(crate) const fn compared(&mut self, ordering: Ordering) {
        let condition = match ordering {
            Ordering::Less => LESS,
            Ordering::Equal => EQUAL,
            Ordering::Greater => 0,
        };
        self.rest = self.rest & !COMPARED | condition;
        self.is_up = false;
    }

    /// Makes a register the top, with something in it.
    #[inline(always)]
    pub(crate) const fn push(&mut self) {
        self.top = self.place(PUSHED);
        self.empty <<= 1;
    }

    /// Empties the top, and makes the next one the top.
    #[inline(always)]
    pub(crate) const fn pop(&mut self) {
        self.top = self.place(Beside::new(1));
        self.empty = self.empty >> 1 | 0x80;
    }

    /// There is something in a register.
    #[inline(always)]
    pub(crate) const fn fill(&mut self, register: Beside) {
        self.empty &= !register.bit;
    }

    /// There is nothing in it.
    pub(crate) const fn free(&mut self, register: Beside) {
        self.empty |= register.bit;
    }

    /// Whether a register is empty.
    #[inline(always)]
    pub(crate) const fn is_empty(&self, register: Beside) -> bool {
        self.empty & register.bit != 0
    }

    /// Whether there is something both in the top and in this one.
    #[inline(always)]
    pub(crate) const fn are_full(&self, register: Beside) -> bool {
        self.empty & (ON_TOP.bit | register.bit) == 0
    }

    /// Whether a register is not empty, by its physical number.
    pub(crate) const fn is_full(&self, physical: usize) -> bool {
        self.tags() >> (physical & 7) & 1 != 0
    }

    /// Whether all exceptions are masked, so that none waits either.
    pub(crate) const fn is_masked(&self) -> bool {
        self.control & EXCEPTIONS == EXCEPTIONS
    }

    /// Whether an exception waits for the next instruction.
    pub(crate) const fn is_pending(&self) -> bool {
        self.rest & SUMMARY != 0
    }

    /// Remembers where an instruction was, if it was done; whether it was.
    #[inline(always)]
    pub(crate) const fn remember(&mut self, is_done: bool, instruction: u64) -> bool {
        if is_done {
            self.instruction = instruction;
        }
        is_done
    }

    /// As an instruction of MMX leaves it: all registers are valid, and the first is the top.
    pub(crate) const fn enter_mmx(&mut self) {
        self.top = 0;
        self.empty = 0;
    }

    /// All registers are empty.
    pub(crate) const fn leave_mmx(&mut self) {
        self.empty = 0xff;
    }

    pub(crate) const fn set_control(&mut self, control: u16) {
        self.control = control & CONTROL_BITS | CONTROL_FIXED;
        self.is_precise = control & PRECISE_OF == PRECISE;
        self.summarize();
    }

    /// Sets the status word, whose summary follows from the rest.
    pub(crate) const fn set_status(&mut self, status: u16) {
        self.set_top((status >> TOP_SHIFT) as usize);
        self.set_conditions(status);
        self.summarize();
    }

    const fn summarize(&mut self) {
        let unmasked = self.conditions() & !self.control & EXCEPTIONS;
        let summary = if unmasked == 0 { 0 } else { SUMMARY | BUSY };
        self.rest = self.rest & !(SUMMARY | BUSY) | summary;
    }

    /// `FNCLEX`.
    pub(crate) const fn clear_exceptions(&mut self) {
        self.rest &= !(EXCEPTIONS | STACK_FAULT | SUMMARY | BUSY);
        self.behind = 0;
    }

    /// From the first bytes of an image.
    pub(crate) fn take(&mut self, image: &[u8]) {
        let word = |at: usize| u16::from_le_bytes(array(&image[at..]));
        let quad = |at: usize| u64::from_le_bytes(array(&image[at..]));
        *self = Self {
            opcode: word(OPCODE_AT) & 0x7ff,
            instruction: quad(INSTRUCTION_AT),
            data: quad(DATA_AT),
            ..Self::default()
        };
        self.set_control(word(CONTROL_AT));
        self.set_status(word(STATUS_AT));
        self.set_tags(image[TAGS_AT]);
    }

    /// To the first bytes of an image, but for MXCSR.
    pub(crate) fn put(&self, image: &mut [u8]) {
        image[CONTROL_AT..][..2].copy_from_slice(&self.control.to_le_bytes());
        image[STATUS_AT..][..2].copy_from_slice(&self.status().to_le_bytes());
        image[TAGS_AT..][..2].copy_from_slice(&u16::from(self.tags()).to_le_bytes());
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
