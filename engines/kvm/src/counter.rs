//! The time-stamp counter of a virtual CPU: the host's own, at its rate and without an offset, so
//! that monitor and guest read the same clock and all virtual CPUs agree.
//!
//! The rate is asked for although it is what KVM gives by itself: what it gives is the frequency
//! that Linux believed in when KVM was loaded. Where Linux has corrected itself since, by more than
//! 250 parts per million, KVM scales the counter. Without a processor that can, it fails at that,
//! silently but for a line in the host's log, and takes the guest's counter for zero: deadlines then
//! come when the time since the host's start has doubled.
#![expect(
    unsafe_code,
    reason = "kvm-ioctls has no call for it on this architecture"
)]

use std::os::fd::AsRawFd;

use kvm_bindings::{KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, Msrs, kvm_device_attr, kvm_msr_entry};
use kvm_ioctls::VcpuFd;

use crate::error::{KvmError, call};

/// `KVM_SET_DEVICE_ATTR` (`linux/kvm.h`).
const SET_DEVICE_ATTR: libc::c_ulong = 0x4018_aee1;
/// The counter as a model-specific register.
const MSR_TSC: u32 = 0x10;

/// Most that KVM's reading may lie outside two of ours, in ticks: the difference that setting the
/// counter leaves on old hosts.
const SLACK: u64 = 1 << 20;

/// Makes the counter the host's.
///
/// # Errors
/// When KVM still reads another one, as where it has no counter that is of use as a clock.
pub(crate) fn follow_host(fd: &VcpuFd) -> Result<(), KvmError> {
    // Zero is the frequency that Linux believes in now. A failure shows in what is read then.
    let rate = fd.set_tsc_khz(0);
    take_offset_away(fd)?;
    let before = counter();
    let found = reading(fd)?;
    let after = counter();
    if is_between(before, found, after) {
        return Ok(());
    }
    let reason = rate
        .err()
        .map(|error| format!(" (KVM_SET_TSC_KHZ: {error})"));
    Err(KvmError::Counter(reason.unwrap_or_default()))
}

fn is_between(before: u64, found: u64, after: u64) -> bool {
    found.saturating_add(SLACK) >= before && found <= after.saturating_add(SLACK)
}

/// The counter as KVM has it.
fn reading(fd: &VcpuFd) -> Result<u64, KvmError> {
    let mut list = one_register(0)?;
    fd.get_msrs(&mut list).map_err(call("KVM_GET_MSRS"))?;
    let entry = list.as_slice().first();
    Ok(entry.map_or(0, |entry| entry.data))
}

/// The list of the counter alone.
fn one_register(data: u64) -> Result<Msrs, KvmError> {
    let entry = kvm_msr_entry {
        index: MSR_TSC,
        data,
        ..kvm_msr_entry::default()
    };
    Msrs::from_entries(&[entry]).map_err(|_| KvmError::Missing("room for a register"))
}

/// On hosts before Linux 5.16 by setting the counter to what the host's shows, which leaves a
/// difference of some microseconds.
fn take_offset_away(fd: &VcpuFd) -> Result<(), KvmError> {
    let offset = 0u64;
    let attribute = kvm_device_attr {
        flags: 0,
        group: KVM_VCPU_TSC_CTRL,
        attr: u64::from(KVM_VCPU_TSC_OFFSET),
        addr: (&raw const offset).addr() as u64,
    };
    // SAFETY: the structure is that of the call; KVM reads eight bytes at `addr`, which live.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), SET_DEVICE_ATTR, &raw const attribute) };
    if result == 0 {
        return Ok(());
    }
    let list = one_register(counter())?;
    fd.set_msrs(&list).map(drop).map_err(call("KVM_SET_MSRS"))
}

fn counter() -> u64 {
    // SAFETY: reading the counter has no effect and no precondition.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_between_two_others_but_for_the_slack() {
        let (before, after) = (1 << 40, (1 << 40) + 1000);
        assert!(is_between(before, before, after) && is_between(before, after, after));
        assert!(is_between(before, before - SLACK, after));
        assert!(is_between(before, after + SLACK, after));
        assert!(!is_between(before, before - SLACK - 1, after));
        assert!(!is_between(before, after + SLACK + 1, after));
        assert!(!is_between(before, 0, after) && !is_between(before, u64::MAX, after));
    }
}
