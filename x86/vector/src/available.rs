//! Whether a unit may be used now (SDM vol. 3, 2.5 and 13.1; vol. 2, 2.4 and 2.5).

use x86_semantics::{Cpu, Exception};

/// `CR0.PE`, `CR0.EM` and `CR0.TS`.
const PROTECTION: u64 = 1;
const EMULATION: u64 = 1 << 2;
pub(crate) const TASK_SWITCHED: u64 = 1 << 3;
/// `CR4.OSFXSR` and `CR4.OSXSAVE`.
const OS_FXSR: u64 = 1 << 9;
const OS_XSAVE: u64 = 1 << 18;
/// SSE and AVX in `XCR0`.
const VECTORS: u64 = 0b110;
/// `RFLAGS.VM`.
const VIRTUAL_8086: u64 = 1 << 17;

/// What an instruction uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Uses {
    /// x87.
    X87,
    /// x87, for `WAIT`, which looks itself.
    Wait,
    /// MMX registers alone.
    Mmx,
    /// Vector registers.
    Sse,
    /// Vector registers, by an instruction with a VEX prefix.
    Avx,
    /// The state as a whole, by `FXSAVE` and `FXRSTOR`.
    Image,
    /// The state as a whole, by the `XSAVE` family.
    ExtendedImage,
}

/// What there must be, or must not be.
#[derive(Clone, Copy)]
struct Need {
    /// In `CR0`: not there at all with the first, not at hand with the second.
    invalid: u64,
    absent: u64,
    /// In `CR0`, `CR4` and `XCR0`.
    cr0: u64,
    cr4: u64,
    xcr0: u64,
    /// In `RFLAGS`, what must not be.
    flags: u64,
}

const NOTHING: Need = Need {
    invalid: 0,
    absent: 0,
    cr0: 0,
    cr4: 0,
    xcr0: 0,
    flags: 0,
};
const X87: Need = Need {
    absent: EMULATION | TASK_SWITCHED,
    ..NOTHING
};
const MMX: Need = Need {
    invalid: EMULATION,
    absent: TASK_SWITCHED,
    ..NOTHING
};
const SSE: Need = Need {
    cr4: OS_FXSR,
    ..MMX
};
const EXTENDED: Need = Need {
    absent: TASK_SWITCHED,
    cr4: OS_XSAVE,
    ..NOTHING
};
const AVX: Need = Need {
    cr0: PROTECTION,
    xcr0: VECTORS,
    flags: VIRTUAL_8086,
    ..EXTENDED
};

/// By the number of [`Uses`].
const NEEDS: [Need; 7] = [X87, NOTHING, MMX, SSE, AVX, X87, EXTENDED];

/// Whether vector registers are available now, with and without VEX.
#[must_use]
pub fn are_available(cpu: &Cpu) -> bool {
    check(Uses::Sse, cpu).is_ok() && check(Uses::Avx, cpu).is_ok()
}

/// Whether it is there.
#[inline]
pub(crate) fn check(uses: Uses, cpu: &Cpu) -> Result<(), Exception> {
    check_need(&NEEDS[uses as usize], cpu)
}

/// The same where it is known long before.
#[inline]
pub(crate) fn check_known<const USES: u8>(cpu: &Cpu) -> Result<(), Exception> {
    check_need(const { &NEEDS[USES as usize] }, cpu)
}

#[inline]
fn check_need(need: &Need, cpu: &Cpu) -> Result<(), Exception> {
    // One test for what is nearly always so.
    if invalid(need, cpu) | cpu.control.cr0 & need.absent == 0 {
        Ok(())
    } else {
        Err(why(need, cpu))
    }
}

/// Bits for which it is not there at all.
#[inline]
const fn invalid(need: &Need, cpu: &Cpu) -> u64 {
    let control = &cpu.control;
    control.cr0 & need.invalid
        | !control.cr0 & need.cr0
        | !control.cr4 & need.cr4
        | !control.xcr0 & need.xcr0
        | cpu.system_flags & need.flags
}

/// What its absence raises: `#UD` where it is not there at all, and `#NM` where it is only not at hand.
#[cold]
const fn why(need: &Need, cpu: &Cpu) -> Exception {
    if invalid(need, cpu) != 0 {
        Exception::InvalidOpcode
    } else {
        Exception::DeviceNotAvailable
    }
}
