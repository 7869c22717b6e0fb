//! How a machine is made: on a thread of its own, since KVM waits for other processors.

use std::sync::Arc;
use std::thread::JoinHandle;

use engine_contract::{Creation, EngineError, Machine, Resources};
use guest_abi::layout;
use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Cap, Kvm, VcpuFd};

use crate::cpuid::{self, Processor};
use crate::error::{KvmError, call};
use crate::machine::KvmMachine;
use crate::state::{Readable, make_write_back};
use crate::vcpu::KvmVcpu;
use crate::vm::Vm;
use crate::{counter, device};

/// Most virtual CPUs of a machine: as many as have their page in the layout.
const VCPUS_MAX: usize = layout::VCPUS_MAX;
const ACTION: &str = "the machine cannot be made";

/// A machine in the making.
#[derive(Debug)]
pub(crate) struct KvmCreation(JoinHandle<Result<KvmMachine, KvmError>>);

impl KvmCreation {
    /// Begins; what is wrong with the host or the request is known at once.
    pub(crate) fn start(resources: Resources<'_>) -> Result<Self, EngineError> {
        let kvm = device::open().map_err(|error| error.during("the kvm engine cannot run here"))?;
        let (bytes, vcpus) = (resources.memory, resources.vcpus);
        check_count(vcpus, kvm.get_max_vcpus()).map_err(|error| error.during(ACTION))?;
        let thread = std::thread::Builder::new().name("kvm-create".to_owned());
        let started = thread.spawn(move || make(&kvm, bytes, vcpus));
        let fail = |error| EngineError::new("a thread cannot be started", error);
        started.map(Self).map_err(fail)
    }
}

impl Creation for KvmCreation {
    fn finish(self: Box<Self>) -> Result<Box<dyn Machine>, EngineError> {
        let made = self.0.join();
        let made = made.map_err(|_| EngineError::new(ACTION, "its thread failed"))?;
        let machine = made.map_err(|error| error.during(ACTION))?;
        Ok(Box::new(machine))
    }
}

fn check_count(vcpus: u32, host_max: usize) -> Result<(), KvmError> {
    let max = host_max.min(VCPUS_MAX);
    let is_possible = vcpus > 0 && vcpus as usize <= max;
    is_possible.then_some(()).ok_or(KvmError::Count(vcpus, max))
}

fn make(kvm: &Kvm, bytes: u64, vcpus: u32) -> Result<KvmMachine, KvmError> {
    let vm = Arc::new(Vm::new(kvm, machine_memory::create(bytes)?)?);
    let supported = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES);
    let supported = supported.map_err(call("KVM_GET_SUPPORTED_CPUID"))?;
    let deadline_timer = kvm.check_extension(Cap::TscDeadlineTimer);
    let create = |id: u32| -> Result<VcpuFd, KvmError> {
        let fd = vm.fd().create_vcpu(u64::from(id));
        let fd = fd.map_err(call("KVM_CREATE_VCPU"))?;
        // First, since it sets the frequency of which the guest is told.
        counter::follow_host(&fd)?;
        let processor = Processor {
            id,
            count: vcpus,
            // Not to be had where the counter is of no use as a clock.
            frequency_khz: fd.get_tsc_khz().ok(),
            deadline_timer,
        };
        identify(&fd, supported.as_slice(), &processor)?;
        make_write_back(&fd)?;
        Ok(fd)
    };
    let fds = (0..vcpus).map(create).collect::<Result<Vec<_>, _>>()?;
    let readable = Arc::new(Readable::of(kvm, vm.fd(), fds.first())?);
    let vcpus = (0..).zip(fds);
    let vcpus = vcpus.map(|(id, fd)| KvmVcpu::new(id, fd, Arc::clone(&vm), Arc::clone(&readable)));
    let vcpus = vcpus.collect();
    Ok(KvmMachine::new(vm, vcpus))
}

/// Tells a virtual CPU which processor it is.
fn identify(
    fd: &VcpuFd,
    supported: &[kvm_bindings::kvm_cpuid_entry2],
    processor: &Processor,
) -> Result<(), KvmError> {
    let entries = cpuid::adjusted(supported, processor);
    let list = CpuId::from_entries(&entries);
    let list = list.map_err(|_| KvmError::Missing("room for the list of processor features"))?;
    fd.set_cpuid2(&list).map_err(call("KVM_SET_CPUID2"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_1_to_64_virtual_cpus_and_no_more_than_the_host_allows() {
        let check = |vcpus, host| check_count(vcpus, host).is_ok();
        assert!(check(1, 1024) && check(64, 1024) && check(4, 4));
        assert!(!check(0, 1024) && !check(65, 1024) && !check(5, 4));
        let sentence = check_count(65, 1024).unwrap_err().to_string();
        assert!(sentence.contains("not 65"), "{sentence}");
    }
}
