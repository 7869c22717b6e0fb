//! What stubs work on, and how they are run.
#![expect(unsafe_code, reason = "calls the code of stubs")]

use std::arch::asm;
use std::mem::offset_of;
use std::num::NonZero;

/// Bytes of a vector register, and of an x87 register as it is kept.
const VECTOR: usize = 32;
const X87: usize = 16;
/// Where MXCSR lies in an image of FXSAVE.
const IMAGE_MXCSR: usize = 24;

/// MXCSR of the host's own code: all exceptions masked, rounding to nearest.
pub(super) const MXCSR_HOST: u32 = 0x1f80;
/// x87's control word of the host's own code.
pub(super) const CONTROL_HOST: u16 = 0x37f;
/// MXCSR's flags, its masks, and what can be chosen beside these: rounding, and what becomes of tiny numbers.
const MXCSR_FLAGS: u32 = 0x3f;
const MXCSR_MASKS: u32 = 0x1f80;
const MXCSR_CHOICES: u32 = 0xe040;

/// Registers and what else an instruction works on.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Operands {
    /// `ymm0..ymm15`.
    pub vector: [[u8; VECTOR]; 16],
    /// The x87 registers by their physical number, which are `mm0..mm7`, in the first 10 bytes each.
    pub x87: [[u8; X87]; 8],
    /// The memory operand.
    pub memory: [u8; 64],
    /// The general register that an operand names.
    pub general: u64,
    /// `rax`, `rdx` and `rcx` where they are meant without being named.
    pub accumulator: u64,
    /// `rdx`.
    pub data: u64,
    /// `rcx`.
    pub counter: u64,
    /// `RFLAGS`: for those that read or write its arithmetic flags.
    pub flags: u64,
    /// `MXCSR` for [`Stub::run_with_mxcsr`]: its control bits, with all exceptions masked, and no flags.
    pub mxcsr: u32,
    /// Flags of `MXCSR` that were raised since they were cleared here, in the last six bits; others are the caller's.
    pub raised: u32,
    stored_mxcsr: u32,
    host_mxcsr: u32,
    /// x87's control word, for stubs of [`super::Stubs::stack`], which mask all exceptions.
    pub control: u16,
    host_control: u16,
    /// Flags of x87's status word that have to be clear before, for these stubs.
    pub clear: u16,
    /// x87's status word after them.
    pub status: u16,
    /// x87 state as FXSAVE64 has it, for stubs of [`super::Stubs::x87`]. No exception may wait in it, or the
    /// host's processor raises it.
    pub image: [u8; 512],
}

/// Where things are, for the code.
pub(super) mod place {
    use super::{Operands, offset_of};

    pub(in super::super) const MEMORY: usize = offset_of!(Operands, memory);
    pub(in super::super) const GENERAL: usize = offset_of!(Operands, general);
    pub(in super::super) const ACCUMULATOR: usize = offset_of!(Operands, accumulator);
    pub(in super::super) const DATA: usize = offset_of!(Operands, data);
    pub(in super::super) const COUNTER: usize = offset_of!(Operands, counter);
    pub(in super::super) const FLAGS: usize = offset_of!(Operands, flags);
    pub(in super::super) const CONTROL: usize = offset_of!(Operands, control);
    pub(in super::super) const HOST_CONTROL: usize = offset_of!(Operands, host_control);
    pub(in super::super) const CLEAR: usize = offset_of!(Operands, clear);
    pub(in super::super) const STATUS: usize = offset_of!(Operands, status);
    pub(in super::super) const IMAGE: usize = offset_of!(Operands, image);
    pub(in super::super) const IMAGE_MXCSR: usize = IMAGE + super::IMAGE_MXCSR;
}

// XSAVE's part for x87 has to be aligned.
const _: () = assert!(place::IMAGE.is_multiple_of(64));

impl Default for Operands {
    /// All zero, but MXCSR, which is as after reset.
    fn default() -> Self {
        Self {
            vector: [[0; VECTOR]; 16],
            x87: [[0; X87]; 8],
            memory: [0; 64],
            general: 0,
            accumulator: 0,
            data: 0,
            counter: 0,
            flags: 0,
            mxcsr: MXCSR_HOST,
            raised: 0,
            stored_mxcsr: 0,
            host_mxcsr: MXCSR_HOST,
            control: CONTROL_HOST,
            host_control: CONTROL_HOST,
            clear: 0,
            status: 0,
            image: [0; 512],
        }
    }
}

impl Operands {
    /// Sets a vector register to another, at once where the processor can: it waits where a read has more bytes than the
    /// last write to them.
    #[inline(always)]
    pub fn copy(&mut self, to: u8, from: u8) {
        let (to, from) = (usize::from(to & 15), usize::from(from & 15));
        if !is_x86_feature_detected!("avx") {
            self.vector[to] = self.vector[from];
            return;
        }
        // SAFETY: both are whole registers, and the processor and its system know these instructions.
        unsafe {
            asm!(
                "vmovups ymm0, ymmword ptr [{from}]",
                "vmovups ymmword ptr [{to}], ymm0",
                "vzeroupper",
                from = in(reg) &raw const self.vector[from],
                to = in(reg) &raw mut self.vector[to],
                // The upper halves of all are gone.
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                options(nostack, preserves_flags)
            );
        }
    }
}

/// A register among [`Operands`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot(u8);

impl Slot {
    /// Bytes that it counts.
    const UNIT: usize = 16;

    /// A vector register.
    #[must_use]
    pub const fn vector(number: u8) -> Self {
        Self((number & 15) * (VECTOR / Self::UNIT) as u8)
    }

    /// A register of x87 by its physical number, or of MMX.
    #[must_use]
    pub const fn x87(number: u8) -> Self {
        let first = offset_of!(Operands, x87) / Self::UNIT;
        Self(first as u8 + (number & 7) * (X87 / Self::UNIT) as u8)
    }

    /// The physical number of a register of x87.
    #[inline]
    #[must_use]
    pub const fn x87_number(self) -> usize {
        let first = offset_of!(Operands, x87) / Self::UNIT;
        (self.0 as usize).wrapping_sub(first) & 7
    }

    /// The number of a vector register.
    #[inline]
    #[must_use]
    pub const fn vector_number(self) -> usize {
        (self.0 as usize / (VECTOR / Self::UNIT)) & 15
    }

    #[inline]
    const fn offset(self) -> usize {
        self.0 as usize * Self::UNIT
    }
}

/// Where a stub begins. It is called with the address of the operands and with where in them each of four registers is, as
/// [`super::emit`] has it. It keeps the general registers but `rax` and `rcx`, and returns with the vector registers' upper
/// halves empty, x87's stack empty, and the control bits of x87 and MXCSR as they were.
pub(super) type Entry = NonZero<usize>;

/// Calls a stub with what stands before it and behind it: a convention of our own, by which the caller's values stay where
/// they are.
macro_rules! call {
    ($entry:expr, $operands:expr, $at:expr, [$($before:literal),*], [$($behind:literal),*] $(, $($more:tt)*)?) => {{
        let [first, second, third, fourth] = $at.map(Slot::offset);
        asm!(
            $($before,)*
            "call rax",
            $($behind,)*
            $($($more)*)?
            inout("rax") $entry.get() => _,
            in("r10") &raw mut *$operands,
            in("r8") first,
            in("r9") second,
            in("r11") third,
            inout("rcx") fourth => _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            out("mm0") _, out("mm1") _, out("mm2") _, out("mm3") _,
            out("mm4") _, out("mm5") _, out("mm6") _, out("mm7") _,
        );
    }};
}

/// Code that runs one instruction.
#[derive(Clone, Copy, Debug)]
pub struct Stub(Entry);

impl Stub {
    pub(super) const fn new(entry: Entry) -> Self {
        Self(entry)
    }

    /// Runs it. Floating-point numbers are treated as the host's own code has them treated; what they
    /// raise is lost.
    #[inline]
    pub fn run(self, operands: &mut Operands, at: [Slot; 4]) {
        // SAFETY: slots lie in the operands with all their bytes, and the code touches these alone (see the
        // module's documentation).
        unsafe { call!(self.0, operands, at, [], []) };
    }

    /// Runs it by [`Operands::mxcsr`], and adds the flags to [`Operands::raised`]. With other control bits
    /// than those above it takes those above.
    #[inline]
    pub fn run_with_mxcsr(self, operands: &mut Operands, at: [Slot; 4]) {
        if operands.mxcsr & !MXCSR_CHOICES != MXCSR_MASKS {
            operands.mxcsr = operands.mxcsr & MXCSR_CHOICES | MXCSR_MASKS;
        }
        // What is loaded does not depend on what was stored before: the processor need not wait for that.
        // SAFETY: as for `run`; MXCSR has no reserved bit and masks all exceptions.
        unsafe {
            call!(
                self.0,
                operands,
                at,
                ["ldmxcsr dword ptr [r10 + {mxcsr}]"],
                ["stmxcsr dword ptr [r10 + {stored}]"],
                mxcsr = const offset_of!(Operands, mxcsr),
                stored = const offset_of!(Operands, stored_mxcsr),
            );
        }
        if operands.mxcsr != MXCSR_HOST {
            restore_mxcsr(operands);
        }
        operands.raised |= operands.stored_mxcsr & MXCSR_FLAGS;
    }
}

/// Gives the host's own code its MXCSR back. Flags do not matter to it: they are left as they are where the
/// rest is the same.
#[inline]
fn restore_mxcsr(operands: &Operands) {
    // SAFETY: this is what the host's code has.
    unsafe {
        asm!(
            "ldmxcsr dword ptr [{place}]",
            place = in(reg) &raw const operands.host_mxcsr,
            options(nostack, readonly, preserves_flags),
        );
    }
}
