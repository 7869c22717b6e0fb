//! The program's floating-point and vector state (SDM vol. 1, chapter 13).
//!
//! The kernel does not use these registers, so the program's values stay in them while
//! a system call runs. They are copied only where Linux shows them: in a signal frame,
//! and when another task is to run.
#![expect(unsafe_code, reason = "XSAVE has no safe wrapper")]

use alloc::vec::Vec;
use core::arch::asm;
use core::arch::x86_64::__cpuid_count;

use crate::sync::Once;

/// Offset of `MXCSR` in the legacy area.
const MXCSR: usize = 24;
/// Offset of `MXCSR_MASK` in the legacy area.
const MXCSR_MASK: usize = 28;
/// Offset of the XSAVE header.
const HEADER: usize = 512;
/// Length of the XSAVE header.
const HEADER_LENGTH: usize = 64;

/// What the processor saves here.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// State components the host has enabled (`XCR0`).
    pub mask: u64,
    /// Bytes of the area for all of them.
    pub size: usize,
    mxcsr_mask: u32,
    /// `XSAVEOPT` is there (SDM vol. 1, 13.9).
    #[cfg(kernel_build)]
    optimized: bool,
}

static FEATURES: Once<Features> = Once::new();

/// What the processor saves here.
pub fn features() -> &'static Features {
    FEATURES.call_once(|| {
        let size = __cpuid_count(0xd, 0).ebx as usize;
        let mut area = AlignedArea::new(size);
        // SAFETY: the host enables XSAVE for every process on processors that have it, and
        // the engine requires it.
        let mask = unsafe { xgetbv() };
        // SAFETY: the area is 64-byte aligned and has the size the processor asks for.
        unsafe { xsave(area.bytes().as_mut_ptr(), 1) };
        let mxcsr_mask = read_u32(area.bytes(), MXCSR_MASK);
        let mxcsr_mask = if mxcsr_mask == 0 { 0xffbf } else { mxcsr_mask };
        Features {
            mask,
            size,
            mxcsr_mask,
            #[cfg(kernel_build)]
            optimized: __cpuid_count(0xd, 1).eax & 1 != 0,
        }
    })
}

/// A copy of the state in the layout of the `XSAVE` instruction's standard form.
#[derive(Clone, Debug)]
pub struct FpuState {
    area: AlignedArea,
}

impl FpuState {
    /// The state as it is in the registers now.
    #[must_use]
    pub fn capture() -> Self {
        let features = features();
        let mut area = AlignedArea::new(features.size);
        // SAFETY: the area is aligned and large enough for every enabled component.
        unsafe { xsave(area.bytes().as_mut_ptr(), features.mask) };
        Self { area }
    }

    /// Captures the state again, in the same place; where the processor knows what has changed
    /// since it was restored from there, only that.
    #[cfg(kernel_build)]
    pub(crate) fn recapture(&mut self) {
        let features = features();
        let area = self.area.bytes().as_mut_ptr();
        if features.optimized {
            // SAFETY: as in `capture`; the processor has the instruction.
            unsafe { xsaveopt(area, features.mask) };
        } else {
            // SAFETY: as in `capture`.
            unsafe { xsave(area, features.mask) };
        }
    }

    /// The state in which Linux starts a program.
    #[must_use]
    pub fn initial() -> Self {
        let mut area = AlignedArea::new(features().size);
        area.bytes()[..2].copy_from_slice(&0x37fu16.to_le_bytes());
        area.bytes()[MXCSR..MXCSR + 4].copy_from_slice(&0x1f80u32.to_le_bytes());
        Self { area }
    }

    /// From bytes that anybody may have written; what the processor would refuse is
    /// repaired as Linux does. Short input leaves components in their initial state.
    #[must_use]
    pub fn from_bytes(bytes: &[u8], with_header: bool) -> Self {
        let features = features();
        let mut state = Self::initial();
        let area = state.area.bytes();
        let length = bytes.len().min(features.size);
        area[..length].copy_from_slice(&bytes[..length]);
        let present = if with_header && length >= HEADER + HEADER_LENGTH {
            read_u64(area, HEADER) & features.mask
        } else {
            3 & features.mask
        };
        area[HEADER..HEADER + HEADER_LENGTH].fill(0);
        area[HEADER..HEADER + 8].copy_from_slice(&present.to_le_bytes());
        let mxcsr = read_u32(area, MXCSR) & features.mxcsr_mask;
        area[MXCSR..MXCSR + 4].copy_from_slice(&mxcsr.to_le_bytes());
        state
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&mut self) -> &mut [u8] {
        self.area.bytes()
    }

    /// Puts the state into the registers.
    pub fn restore(&mut self) {
        let pointer = self.area.bytes().as_ptr();
        // SAFETY: every constructor leaves a well-formed area: no unknown component, no
        // reserved bit in the header or in MXCSR.
        unsafe { xrstor(pointer, features().mask) };
    }
}

/// Bytes aligned to 64, as XSAVE requires.
#[derive(Debug)]
struct AlignedArea {
    storage: Vec<u8>,
    offset: usize,
    length: usize,
}

impl AlignedArea {
    fn new(length: usize) -> Self {
        let storage = alloc::vec![0; length + 63];
        let offset = storage.as_ptr().align_offset(64);
        Self {
            storage,
            offset,
            length,
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.storage[self.offset..self.offset + self.length]
    }
}

impl Clone for AlignedArea {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.length);
        copy.bytes()
            .copy_from_slice(&self.storage[self.offset..self.offset + self.length]);
        copy
    }
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

/// # Safety
/// The processor must have XSAVE enabled.
unsafe fn xgetbv() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: passed on to the caller.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// # Safety
/// `area` must be 64-byte aligned and large enough for the components of `mask`.
unsafe fn xsave(area: *mut u8, mask: u64) {
    // SAFETY: passed on to the caller.
    unsafe {
        asm!("xsave64 [{}]", in(reg) area, in("eax") mask as u32, in("edx") (mask >> 32) as u32,
             options(nostack));
    }
}

/// # Safety
/// As [`xsave`], on a processor that has it.
#[cfg(kernel_build)]
unsafe fn xsaveopt(area: *mut u8, mask: u64) {
    // SAFETY: passed on to the caller.
    unsafe {
        asm!("xsaveopt64 [{}]", in(reg) area, in("eax") mask as u32, in("edx") (mask >> 32) as u32,
             options(nostack));
    }
}

/// # Safety
/// `area` must be aligned, large enough and well formed.
unsafe fn xrstor(area: *const u8, mask: u64) {
    // SAFETY: passed on to the caller. The kernel's own code keeps nothing in these registers;
    // unit tests run where the compiler may, so there the call clobbers them.
    unsafe {
        asm!("xrstor64 [{}]", in(reg) area, in("eax") mask as u32, in("edx") (mask >> 32) as u32,
             options(nostack, readonly));
    }
}
