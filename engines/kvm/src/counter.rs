//! The time-stamp counter of a virtual CPU: the host's own, without an offset, so that monitor
//! and guest read the same clock and all virtual CPUs agree.
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

/// Takes the offset away; on hosts before Linux 5.16 by setting the counter to what the host's
/// shows, which leaves a difference of some microseconds.
pub(crate) fn follow_host(fd: &VcpuFd) -> Result<(), KvmError> {
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
    let entry = kvm_msr_entry {
        index: MSR_TSC,
        data: counter(),
        ..kvm_msr_entry::default()
    };
    let list = Msrs::from_entries(&[entry]);
    let list = list.map_err(|_| KvmError::Missing("room for a register"))?;
    fd.set_msrs(&list).map(drop).map_err(call("KVM_SET_MSRS"))
}

fn counter() -> u64 {
    // SAFETY: reading the counter has no effect and no precondition.
    unsafe { std::arch::x86_64::_rdtsc() }
}
