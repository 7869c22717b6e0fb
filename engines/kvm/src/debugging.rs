//! What a debugger asks of a virtual CPU: `KVM_SET_GUEST_DEBUG`.
//!
//! A single step is KVM's own, and interrupts wait where it can hold them back. Breakpoints and watchpoints are the
//! processor's debug registers, which the guest then does not have for itself.

use engine_contract::{Limits, Met, Points, Watched, Watchpoint};
use kvm_bindings::{
    KVM_CAP_SET_GUEST_DEBUG2, KVM_GUESTDBG_BLOCKIRQ, KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_INJECT_DB,
    KVM_GUESTDBG_SINGLESTEP, KVM_GUESTDBG_USE_HW_BP, kvm_debug_exit_arch, kvm_guest_debug,
};
use kvm_ioctls::{VcpuFd, VmFd};

use crate::error::{KvmError, call};

pub(crate) const LIMITS: Limits = Limits {
    points: 4,
    aligned: true,
};
/// `DR6`: which register it was; `DR7`: what is always one.
const FIRED: u64 = 0xf;
const DR7: u64 = 1 << 10;

/// A use of a debug register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Breakpoint(u64),
    Watchpoint(Watchpoint),
}

impl Use {
    const fn address(self) -> u64 {
        match self {
            Self::Breakpoint(address) => address,
            Self::Watchpoint(watchpoint) => watchpoint.address,
        }
    }

    /// Its fields in `DR7` (SDM vol. 3, 17.2.4), lowest first.
    const fn fields(self) -> u64 {
        match self {
            Self::Breakpoint(_) => 0,
            Self::Watchpoint(watchpoint) => {
                // There is none for reads alone.
                let kind = match watchpoint.kind {
                    Watched::Writes => 1,
                    Watched::Reads | Watched::Accesses => 3,
                };
                let length = match watchpoint.length {
                    1 => 0,
                    2 => 1,
                    8 => 2,
                    _ => 3,
                };
                kind | length << 2
            }
        }
    }
}

/// What a debugger wants, and what of it KVM has been told.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) points: Points,
    /// KVM has been told something.
    is_told: bool,
}

/// What KVM watches for during one run.
#[derive(Debug, Default)]
pub(crate) struct Armed {
    uses: Vec<Use>,
    control: u32,
}

/// What becomes of an exit for debugging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Met(Met),
    /// It is the guest's own affair.
    Guest,
}

impl Wanted {
    /// Whether there is anything to do at a run.
    pub(crate) fn is_some(&self) -> bool {
        self.is_told || self.points != Points::default()
    }

    /// Tells KVM. With `over`: all but what is at this address, for one step.
    pub(crate) fn arm(
        &mut self,
        (fd, vm): (&VcpuFd, &VmFd),
        over: Option<u64>,
    ) -> Result<Armed, KvmError> {
        let points = &self.points;
        let breakpoints = points.breakpoints.iter().copied();
        let breakpoints = breakpoints.filter(|address| Some(*address) != over);
        let watchpoints = points.watchpoints.iter().copied().map(Use::Watchpoint);
        let uses: Vec<Use> = watchpoints
            .chain(breakpoints.map(Use::Breakpoint))
            .collect();
        let control = control(&uses, points, over, vm);
        self.is_told = control != 0;
        let armed = Armed { uses, control };
        tell(fd, &armed, 0)?;
        Ok(armed)
    }
}

fn control(uses: &[Use], points: &Points, over: Option<u64>, vm: &VmFd) -> u32 {
    let mut control = 0;
    if points.steps || over.is_some() {
        control |= KVM_GUESTDBG_SINGLESTEP;
    }
    if points.holds_interrupts || over.is_some() {
        let known = vm.check_extension_raw(KVM_CAP_SET_GUEST_DEBUG2.into());
        control |= known.cast_unsigned() & KVM_GUESTDBG_BLOCKIRQ;
    }
    if !uses.is_empty() {
        control |= KVM_GUESTDBG_USE_HW_BP;
    }
    if control != 0 {
        control |= KVM_GUESTDBG_ENABLE;
    }
    control
}

/// Tells KVM, with something for the guest if that is not zero.
fn tell(fd: &VcpuFd, armed: &Armed, inject: u32) -> Result<(), KvmError> {
    let mut debug = kvm_guest_debug {
        control: armed.control | inject,
        ..Default::default()
    };
    let mut enables = DR7;
    for (number, used) in armed.uses.iter().enumerate() {
        debug.arch.debugreg[number] = used.address();
        enables |= 2 << (2 * number) | used.fields() << (16 + 4 * number);
    }
    debug.arch.debugreg[7] = enables;
    fd.set_guest_debug(&debug)
        .map_err(call("KVM_SET_GUEST_DEBUG"))
}

/// Gives the guest the exception that was its own.
pub(crate) fn give_back(fd: &VcpuFd, armed: &Armed) -> Result<(), KvmError> {
    tell(fd, armed, KVM_GUESTDBG_INJECT_DB)
}

impl Armed {
    /// What an exit for debugging means.
    pub(crate) fn outcome(&self, exit: &kvm_debug_exit_arch) -> Outcome {
        match self.fired(exit.dr6) {
            Some(Use::Breakpoint(_)) => Outcome::Met(Met::Breakpoint),
            Some(Use::Watchpoint(watchpoint)) => Outcome::Met(Met::Watchpoint(watchpoint)),
            None if self.control & KVM_GUESTDBG_SINGLESTEP != 0 => Outcome::Met(Met::Step),
            None => Outcome::Guest,
        }
    }

    /// What a debug register said.
    fn fired(&self, dr6: u64) -> Option<Use> {
        let number = (dr6 & FIRED).trailing_zeros() as usize;
        self.uses.get(number).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watchpoint(kind: Watched, length: u64) -> Watchpoint {
        Watchpoint {
            address: 0x1000,
            length,
            kind,
        }
    }

    #[test]
    fn debug_registers_have_the_processor_s_form() {
        let fields = |kind, length| Use::Watchpoint(watchpoint(kind, length)).fields();
        assert_eq!(Use::Breakpoint(1).fields(), 0);
        assert_eq!(fields(Watched::Writes, 1), 0b0001);
        assert_eq!(fields(Watched::Reads, 2), 0b0111);
        assert_eq!(fields(Watched::Accesses, 4), 0b1111);
        assert_eq!(fields(Watched::Writes, 8), 0b1001);
    }

    #[test]
    fn exits_are_told_apart() {
        let watched = watchpoint(Watched::Writes, 4);
        let uses = vec![Use::Breakpoint(0x10), Use::Watchpoint(watched)];
        let check = |control, dr6, expected| {
            let exit = kvm_debug_exit_arch {
                exception: 1,
                dr6,
                ..Default::default()
            };
            let uses = uses.clone();
            assert_eq!(Armed { uses, control }.outcome(&exit), expected, "{dr6:#x}");
        };
        check(0, 0xffff_0ff1, Outcome::Met(Met::Breakpoint));
        check(0, 0xffff_0ff2, Outcome::Met(Met::Watchpoint(watched)));
        let single = KVM_GUESTDBG_SINGLESTEP;
        check(single, 0xffff_4ff2, Outcome::Met(Met::Watchpoint(watched)));
        check(single, 0xffff_4ff0, Outcome::Met(Met::Step));
        // The guest steps by itself, or uses a register that we do not.
        check(0, 0xffff_4ff0, Outcome::Guest);
        check(0, 0xffff_0ff8, Outcome::Guest);
    }
}
