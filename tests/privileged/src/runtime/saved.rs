//! What is captured of a case, and the test kernel's variables: addresses.

use crate::layout::SAVED;

/// The vector.
pub(super) const VECTOR: u32 = SAVED;
/// How the capture was entered: one of `by`.
pub(super) const BY: u32 = SAVED + 4;
/// The error code.
pub(super) const ERROR: u32 = SAVED + 8;
pub(super) const CR0: u32 = SAVED + 0x0c;
/// Of 64 bits.
pub(super) const CR2: u32 = SAVED + 0x10;
pub(super) const CR3: u32 = SAVED + 0x18;
pub(super) const CR4: u32 = SAVED + 0x1c;
pub(super) const EFER: u32 = SAVED + 0x20;
pub(super) const DR6: u32 = SAVED + 0x24;
pub(super) const DR7: u32 = SAVED + 0x28;
pub(super) const TR: u32 = SAVED + 0x2c;
pub(super) const LDTR: u32 = SAVED + 0x30;
/// The capture's own code and stack segments, and its stack pointer of 64 bits on entry.
pub(super) const OWN_CS: u32 = SAVED + 0x34;
pub(super) const OWN_SS: u32 = SAVED + 0x38;
pub(super) const OWN_SP: u32 = SAVED + 0x40;
/// The six segment registers, 4 bytes apart, in the order of their numbers.
pub(super) const SEGMENTS: u32 = SAVED + 0x48;
/// Of 64 bits.
pub(super) const RIP: u32 = SAVED + 0x60;
/// Of 64 bits.
pub(super) const RFLAGS: u32 = SAVED + 0x68;
/// The sixteen general registers, of 64 bits, in the order of their numbers.
pub(super) const GENERAL: u32 = SAVED + 0x70;

/// The record of the case that runs, where it lies in the image.
pub(super) const CURRENT: u32 = SAVED + 0x100;
/// A far pointer of 6 bytes.
pub(super) const FAR_POINTER: u32 = SAVED + 0x108;
/// A doubleword for a moment.
pub(super) const SCRATCH: u32 = SAVED + 0x110;

/// The values of the model-specific registers that are shown.
pub(super) const REGISTERS: u32 = SAVED + 0x200;

/// How a capture was entered.
pub(super) mod by {
    /// Real mode's vectors.
    pub(in crate::runtime) const REAL: u32 = 1;
    /// A 16-bit gate.
    pub(in crate::runtime) const GATE_16: u32 = 2;
    /// A 32-bit gate.
    pub(in crate::runtime) const GATE: u32 = 4;
    /// A 64-bit gate.
    pub(in crate::runtime) const GATE_64: u32 = 8;
    /// A task gate.
    pub(in crate::runtime) const TASK: u32 = 9;
}

/// The vectors that push an error code, as bits.
pub(super) const WITH_ERROR: u32 = 1 << 8 | 0x1f << 10 | 1 << 17;

/// A segment register's place, by its number.
pub(super) const fn segment(number: u32) -> u32 {
    SEGMENTS + number * 4
}

/// A general register's place, by its number.
pub(super) const fn general(number: u32) -> u32 {
    GENERAL + number * 8
}
