//! A virtual machine of KVM and the memory it runs in.
#![expect(
    unsafe_code,
    reason = "KVM is told where the guest's memory is by address"
)]

use std::fmt;

use kvm_bindings::{
    KVM_CAP_X2APIC_API, KVM_MEM_LOG_DIRTY_PAGES, KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK,
    KVM_X2APIC_API_USE_32BIT_IDS, kvm_enable_cap, kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, Kvm, VmFd};
use machine_memory::GuestMemory;

use crate::error::{KvmError, call};
use crate::wiring;

/// Where processors of Intel that cannot run real mode by themselves have a page table and,
/// behind it, a task state of three pages: in the hole, clear of controllers and firmware.
const IDENTITY_MAP: u64 = 0xfeff_c000;
const TASK_STATE: usize = 0xfeff_d000;

/// A virtual machine. Everything of it holds on to it, so that its memory outlives all that
/// KVM has of it.
pub(crate) struct Vm {
    fd: VmFd,
    /// After the machine, which must not outlive it.
    memory: GuestMemory,
}

impl fmt::Debug for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vm").finish_non_exhaustive()
    }
}

impl Vm {
    /// A machine with interrupt controllers and this memory, and no virtual CPU yet.
    pub(crate) fn new(kvm: &Kvm, memory: GuestMemory) -> Result<Self, KvmError> {
        let fd = kvm.create_vm().map_err(call("KVM_CREATE_VM"))?;
        let vm = Self { fd, memory };
        vm.map(0)?;
        let fd = &vm.fd;
        fd.set_identity_map_address(IDENTITY_MAP)
            .map_err(call("KVM_SET_IDENTITY_MAP_ADDR"))?;
        fd.set_tss_address(TASK_STATE)
            .map_err(call("KVM_SET_TSS_ADDR"))?;
        fd.create_irq_chip().map_err(call("KVM_CREATE_IRQCHIP"))?;
        wiring::connect(fd)?;
        vm.widen_destinations()?;
        Ok(vm)
    }

    pub(crate) const fn fd(&self) -> &VmFd {
        &self.fd
    }

    pub(crate) const fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Begins to note written pages, or stops.
    pub(crate) fn log_writes(&self, on: bool) -> Result<(), KvmError> {
        self.map(if on { KVM_MEM_LOG_DIRTY_PAGES } else { 0 })
    }

    /// Gives KVM the memory, a slot a region, or changes the slots' flags.
    fn map(&self, flags: u32) -> Result<(), KvmError> {
        for (slot, region) in (0..).zip(self.memory.regions()) {
            let region = kvm_userspace_memory_region {
                slot,
                flags,
                guest_phys_addr: region.guest,
                memory_size: region.length,
                userspace_addr: region.host as u64,
            };
            // SAFETY: the range is mapped as long as `memory` lives, which lives as long as
            // this; all that refers to the machine holds this.
            unsafe { self.fd.set_user_memory_region(region) }
                .map_err(call("KVM_SET_USER_MEMORY_REGION"))?;
        }
        Ok(())
    }

    /// Interrupts for virtual CPUs past number 254, and none by accident for all: where KVM can.
    fn widen_destinations(&self) -> Result<(), KvmError> {
        if !self.fd.check_extension(Cap::X2ApicApi) {
            return Ok(());
        }
        let mut capability = kvm_enable_cap {
            cap: KVM_CAP_X2APIC_API,
            ..Default::default()
        };
        capability.args[0] =
            u64::from(KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK);
        let enabled = self.fd.enable_cap(&capability);
        enabled.map_err(call("KVM_ENABLE_CAP"))
    }
}
