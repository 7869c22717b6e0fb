//! A virtual machine of one processor and a few pages that runs a piece of code.
#![expect(
    unsafe_code,
    reason = "KVM is told where the guest's memory is by address"
)]

use std::fs::File;

use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{VcpuExit, VcpuFd, VmFd};
use machine_memory::GuestMemory;

use crate::device;
use crate::error::{KvmError, call};
use crate::sample::HALT;

/// Guest-physical layout: three tables that map the first 2 MiB to themselves, the code, and
/// a page that code may write and that is its stack.
const SPAN: u64 = 0x1_0000;
const TABLES: [u64; 3] = [0x1000, 0x2000, 0x3000];
const CODE: u64 = 0x4000;
const STACK_TOP: u64 = 0x9000;

const PRESENT_WRITABLE: u64 = 3;
const LARGE_PAGE: u64 = 1 << 7;

/// Control registers for 64-bit mode with everything a kernel turns on (SDM vol. 3, 2.5).
const CR0: u64 = 1 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 16 | 1 << 31;
const CR4: u64 = 1 << 5 | 1 << 9 | 1 << 10 | 1 << 16 | 1 << 18;
const EFER: u64 = 1 | 1 << 8 | 1 << 10 | 1 << 11;
/// CPUID leaf 7, `ebx`.
const LEAF_7_SMAP: u32 = 1 << 20;

/// A virtual machine, ready to run any number of pieces of code.
pub(crate) struct Trial {
    vcpu: VcpuFd,
    /// Lives as long as its virtual processor; the guest's memory must outlive both.
    _vm: VmFd,
    memory: GuestMemory,
    has_smap: bool,
}

impl Trial {
    /// Opens `/dev/kvm` and makes the machine.
    pub(crate) fn new() -> Result<Self, KvmError> {
        let kvm = device::open()?;
        let vm = kvm.create_vm().map_err(call("KVM_CREATE_VM"))?;
        let memory = memory()?;
        let (host, length) = memory.host_range()?;
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: length as u64,
            userspace_addr: host as u64,
        };
        // SAFETY: the range is mapped as long as `memory` lives, which the fields' order makes
        // longer than the machine.
        unsafe { vm.set_user_memory_region(region) }.map_err(call("KVM_SET_USER_MEMORY_REGION"))?;
        let vcpu = vm.create_vcpu(0).map_err(call("KVM_CREATE_VCPU"))?;
        let cpuid = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(call("KVM_GET_SUPPORTED_CPUID"))?;
        vcpu.set_cpuid2(&cpuid).map_err(call("KVM_SET_CPUID2"))?;
        let mut leaves = cpuid.as_slice().iter();
        let leaf = leaves.find(|entry| entry.function == 7 && entry.index == 0);
        let has_smap = leaf.is_some_and(|entry| entry.ebx & LEAF_7_SMAP != 0);
        Ok(Self {
            vcpu,
            _vm: vm,
            memory,
            has_smap,
        })
    }

    /// Whether the processor has supervisor-mode access prevention.
    pub(crate) const fn has_smap(&self) -> bool {
        self.has_smap
    }

    /// Runs `code` at ring 0 in 64-bit mode to its end.
    pub(crate) fn run(&mut self, code: &[u8]) -> Result<(), KvmError> {
        self.memory.write(CODE, code)?;
        self.memory.write(CODE + code.len() as u64, &[HALT])?;
        set_registers(&self.vcpu)?;
        match self.vcpu.run() {
            Ok(VcpuExit::Hlt) => Ok(()),
            Ok(VcpuExit::InternalError) => Err(KvmError::Exit("KVM gives up on it".to_owned())),
            Ok(VcpuExit::Shutdown) => Err(KvmError::Exit("it faults".to_owned())),
            Ok(other) => Err(KvmError::Exit(format!("it ends with {other:?}"))),
            Err(error) => Err(call("KVM_RUN")(error)),
        }
    }
}

/// A few pages with the tables in them.
fn memory() -> Result<GuestMemory, KvmError> {
    let fail = |error: rustix::io::Errno| KvmError::Memory(error.to_string());
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let file = rustix::fs::memfd_create("husk-kvm-probe", flags).map_err(fail)?;
    rustix::fs::ftruncate(&file, SPAN).map_err(fail)?;
    let memory = GuestMemory::new(File::from(file), SPAN)?;
    for (table, next) in TABLES.into_iter().zip(TABLES.into_iter().skip(1)) {
        memory.write(table, &(next | PRESENT_WRITABLE).to_le_bytes())?;
    }
    memory.write(TABLES[2], &(PRESENT_WRITABLE | LARGE_PAGE).to_le_bytes())?;
    Ok(memory)
}

/// 64-bit mode, ring 0, flat segments, no interrupts.
fn set_registers(vcpu: &VcpuFd) -> Result<(), KvmError> {
    let mut special = vcpu.get_sregs().map_err(call("KVM_GET_SREGS"))?;
    let code = kvm_segment {
        limit: u32::MAX,
        selector: 8,
        // Executable, readable, accessed.
        type_: 0xb,
        present: 1,
        s: 1,
        l: 1,
        g: 1,
        ..Default::default()
    };
    let data = kvm_segment {
        selector: 16,
        // Writable, accessed.
        type_: 3,
        db: 1,
        l: 0,
        ..code
    };
    special.cs = code;
    for segment in [
        &mut special.ds,
        &mut special.es,
        &mut special.fs,
        &mut special.gs,
        &mut special.ss,
    ] {
        *segment = data;
    }
    special.cr0 = CR0;
    special.cr3 = TABLES[0];
    special.cr4 = CR4;
    special.efer = EFER;
    // No table of interrupts: a fault ends the trial.
    special.idt.limit = 0;
    vcpu.set_sregs(&special).map_err(call("KVM_SET_SREGS"))?;
    let general = kvm_regs {
        rip: CODE,
        rsp: STACK_TOP,
        rflags: 2,
        ..Default::default()
    };
    vcpu.set_regs(&general).map_err(call("KVM_SET_REGS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_lead_from_one_to_the_next() {
        let memory = memory().unwrap();
        for (table, expected) in [(0x1000, 0x2003u64), (0x2000, 0x3003), (0x3000, 0x83)] {
            let mut entry = [0; 8];
            memory.read(table, &mut entry).unwrap();
            assert_eq!(u64::from_le_bytes(entry), expected);
        }
    }
}
