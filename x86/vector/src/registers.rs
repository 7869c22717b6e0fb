//! The registers, and the form in which they go elsewhere.

use std::fmt;

use host_processor::half;
use host_processor::stub::Operands;

use crate::mxcsr;
use crate::numeric::{Beside, Numeric, REGISTERS};
use crate::on_stack::OnStack;
use crate::prepared::Prepared;

/// Bytes of the standard form for x87, SSE and AVX, and where its parts lie (SDM vol. 1, 13.4).
const SIZE: usize = 832;
const MXCSR_AT: usize = 24;
const X87_AT: usize = 32;
const XMM_AT: usize = 160;
pub(crate) const HEADER_AT: usize = 512;
pub(crate) const UPPER_AT: usize = 576;
const HALF: usize = 16;
/// Bytes of an x87 register that count.
const X87_BYTES: usize = 10;

/// Components (SDM vol. 1, 13.1).
pub(crate) const X87: u64 = 1;
pub(crate) const SSE: u64 = 2;
pub(crate) const AVX: u64 = 4;

/// x87 and vector registers of a virtual CPU.
#[derive(Clone)]
pub struct Vectors {
    /// Registers and `MXCSR`, where the host's instructions find them, and the buffers of one instruction.
    pub(crate) operands: Operands,
    /// x87 but for its data registers.
    pub(crate) numeric: Numeric,
}

impl Default for Vectors {
    /// As after reset.
    fn default() -> Self {
        Self {
            operands: Operands::default(),
            numeric: Numeric::default(),
        }
    }
}

impl PartialEq for Vectors {
    fn eq(&self, other: &Self) -> bool {
        self.to_xsave() == other.to_xsave()
    }
}

impl fmt::Debug for Vectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vectors")
            .field("numeric", &self.numeric)
            .field("x87", &self.operands.x87)
            .field("mxcsr", &self.mxcsr())
            .field("vector", &self.operands.vector)
            .finish()
    }
}

impl Vectors {
    /// An x87 register by its place: its lower 64 bits, and the rest.
    #[inline(always)]
    pub(crate) fn x87(&self, place: u8) -> (u64, u16) {
        let place = usize::from(place & REGISTERS);
        let register = &self.operands.x87.as_flattened()[place..][..HALF];
        let (mantissa, head) = (array(register), array(&register[8..]));
        (u64::from_le_bytes(mantissa), u16::from_le_bytes(head))
    }

    /// Sets one, to its end: a processor waits where a read has more than the last write, and the compiler may read
    /// more than it is told.
    #[inline(always)]
    pub(crate) fn set_x87(&mut self, place: u8, mantissa: u64, head: u16) {
        let place = usize::from(place & REGISTERS);
        let register = &mut self.operands.x87.as_flattened_mut()[place..][..HALF];
        register[..8].copy_from_slice(&mantissa.to_le_bytes());
        register[8..].copy_from_slice(&u64::from(head).to_le_bytes());
    }

    /// Does an instruction of x87 in a few steps, if all is as usual; otherwise it changes nothing and says `false`. It
    /// lies at this offset, and its operand in memory, if it has one, at that one. What is read from there is in
    /// [`operand`](Self::operand), and what is written is there afterwards. Whether x87 is available is the caller's
    /// affair.
    #[inline(always)]
    pub fn quick(&mut self, prepared: &Prepared, instruction: u64, operand: Option<u64>) -> bool {
        let is_done = prepared
            .quick
            .is_some_and(|quick| quick(self, prepared.beside()));
        if is_done {
            self.numeric.instruction = instruction;
            self.numeric.data = operand.unwrap_or(self.numeric.data);
        }
        is_done
    }

    /// The same for an instruction on registers alone, which is known by its type.
    #[inline(always)]
    pub fn quick_on_stack<S: OnStack>(&mut self, other: Beside, instruction: u64) -> bool {
        let is_done = S::run(self, other);
        self.numeric.remember(is_done, instruction)
    }

    /// What that leaves, and is usual, too.
    #[inline(always)]
    pub fn quick_on_stack_seldom<S: OnStack>(&mut self, other: Beside, instruction: u64) -> bool {
        let is_done = S::run_seldom(self, other);
        self.numeric.remember(is_done, instruction)
    }

    /// From the standard form of `XSAVE`: empty means as after reset, and what is missing at its end, or
    /// not in use by its header, is as after reset, too.
    #[must_use]
    pub fn from_xsave(bytes: &[u8]) -> Self {
        let mut vectors = Self::default();
        let mut whole = [0; SIZE];
        let count = bytes.len().min(SIZE);
        whole[..count].copy_from_slice(&bytes[..count]);
        let in_use = match bytes.len() {
            0 => 0,
            // An image of FXSAVE, without a header.
            1..=HEADER_AT => X87 | SSE,
            _ => u64::from_le_bytes(array(&whole[HEADER_AT..])),
        };
        if in_use & X87 != 0 {
            vectors.take_x87(&whole);
        }
        if in_use & SSE != 0 {
            vectors.take_sse(&whole);
        }
        if in_use & (SSE | AVX) != 0 {
            let mxcsr = u32::from_le_bytes(array(&whole[MXCSR_AT..]));
            vectors.set_mxcsr(mxcsr);
        }
        if in_use & AVX != 0 {
            vectors.take_avx(&whole[UPPER_AT..]);
        }
        vectors
    }

    /// In the standard form of `XSAVE`: 832 bytes, whose header says what is in use.
    #[must_use]
    pub fn to_xsave(&self) -> Vec<u8> {
        let mut bytes = vec![0; SIZE];
        self.put_x87(&mut bytes);
        self.put_sse(&mut bytes);
        self.put_mxcsr(&mut bytes);
        self.put_avx(&mut bytes[UPPER_AT..]);
        // With MXCSR, which the form takes only together with vector registers.
        let in_use = self.in_use() | SSE;
        bytes[HEADER_AT..][..8].copy_from_slice(&in_use.to_le_bytes());
        bytes
    }

    /// The memory operand of [`execute_given`](crate::execute_given).
    #[inline]
    pub const fn operand(&mut self) -> &mut [u8; 64] {
        &mut self.operands.memory
    }

    /// The bytes of `ymm` with this number.
    #[inline]
    #[must_use]
    pub fn register(&self, number: u8) -> &[u8; 32] {
        &self.operands.vector[usize::from(number & 15)]
    }

    /// The same, to be written.
    #[inline]
    pub fn register_mut(&mut self, number: u8) -> &mut [u8; 32] {
        &mut self.operands.vector[usize::from(number & 15)]
    }

    /// Sets the lower half of a register at once, to a number of 4 or 8 bytes and behind it what the register `rest` has
    /// there.
    #[inline(always)]
    pub fn set_number<const BYTES: usize>(&mut self, to: u8, rest: u8, number: u64) {
        let half = half::with_number::<BYTES>(array(self.register(rest)), number);
        self.register_mut(to)[..HALF].copy_from_slice(&half);
    }

    /// Sets a register to what another has, at once. For instructions that the host has.
    #[inline(always)]
    pub fn copy(&mut self, to: u8, from: u8) {
        self.operands.copy(to, from);
    }

    /// Does an instruction that is [plain](Prepared::is_plain), where [they are available](crate::are_available);
    /// its operand in memory is as for [`execute_given`](crate::execute_given).
    #[inline]
    pub fn run(&mut self, prepared: &Prepared) {
        if let Ok(stub) = prepared.stub() {
            stub.run(&mut self.operands, prepared.at);
        }
    }

    /// As after reset.
    pub fn init(&mut self) {
        *self = Self::default();
    }

    /// Components that are not in their initial state.
    pub(crate) fn in_use(&self) -> u64 {
        let vectors = &self.operands.vector;
        let is_any = |from: usize| {
            vectors
                .iter()
                .any(|vector| vector[from..][..HALF] != [0; HALF])
        };
        let x87 = self.numeric != Numeric::default()
            || self
                .operands
                .x87
                .iter()
                .any(|register| *register != [0; HALF]);
        (if x87 { X87 } else { 0 })
            | (if is_any(0) { SSE } else { 0 })
            | (if is_any(HALF) { AVX } else { 0 })
    }

    /// From the first 160 bytes of an image.
    pub(crate) fn take_x87(&mut self, image: &[u8]) {
        self.numeric.take(image);
        for number in 0..8 {
            let physical = self.numeric.physical(number);
            let register = &mut self.operands.x87[physical];
            let from = X87_AT + HALF * number;
            register[..X87_BYTES].copy_from_slice(&image[from..][..X87_BYTES]);
        }
    }

    /// To the first 160 bytes of an image, but for MXCSR.
    pub(crate) fn put_x87(&self, image: &mut [u8]) {
        self.numeric.put(image);
        for number in 0..8 {
            let physical = self.numeric.physical(number);
            let register = &self.operands.x87[physical];
            image[X87_AT + HALF * number..][..HALF].copy_from_slice(register);
        }
    }

    /// MXCSR, and which bits it has.
    pub(crate) fn put_mxcsr(&self, image: &mut [u8]) {
        image[MXCSR_AT..][..4].copy_from_slice(&self.mxcsr().to_le_bytes());
        image[MXCSR_AT + 4..][..4].copy_from_slice(&mxcsr::BITS.to_le_bytes());
    }

    /// `xmm0..xmm15` from an image.
    pub(crate) fn take_sse(&mut self, image: &[u8]) {
        for (number, vector) in self.operands.vector.iter_mut().enumerate() {
            vector[..HALF].copy_from_slice(&image[XMM_AT + HALF * number..][..HALF]);
        }
    }

    /// `xmm0..xmm15` to an image.
    pub(crate) fn put_sse(&self, image: &mut [u8]) {
        for (number, vector) in self.operands.vector.iter().enumerate() {
            image[XMM_AT + HALF * number..][..HALF].copy_from_slice(&vector[..HALF]);
        }
    }

    /// The upper halves of `ymm0..ymm15`.
    pub(crate) fn take_avx(&mut self, component: &[u8]) {
        for (number, vector) in self.operands.vector.iter_mut().enumerate() {
            vector[HALF..].copy_from_slice(&component[HALF * number..][..HALF]);
        }
    }

    /// The upper halves of `ymm0..ymm15`.
    pub(crate) fn put_avx(&self, component: &mut [u8]) {
        for (number, vector) in self.operands.vector.iter().enumerate() {
            component[HALF * number..][..HALF].copy_from_slice(&vector[HALF..]);
        }
    }
}

/// Leaves of the pointers in an image only what it has without `REX.W`: 32 bits of each, and selectors, which
/// are zero.
pub(crate) fn narrow(image: &mut [u8]) {
    for upper in [12..16, 20..24] {
        image[upper].fill(0);
    }
}

/// The first bytes, of which there are enough.
pub(crate) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut first = [0; N];
    first.copy_from_slice(&bytes[..N]);
    first
}
