//! The KVM engine: hardware guest mode and nested page tables.
//!
//! [`Kvm`] makes machines whose virtual CPUs the host's KVM executes, with KVM's own interrupt
//! controllers (a pair of 8259, I/O APIC, local APICs). There is no timer chip among them: boards
//! bring their own, so its ports come to the world as all others. No type of KVM leaves this
//! package.
//!
//! * `probe`: whether the host's KVM is worth using, found out by running `sample` in a `trial`.
//! * `device`, `error`: `/dev/kvm`, and what to do when it refuses.
//! * `creation`, `vm`: how a machine is made; `cpuid`: what its processors say they
//!   are; `counter`: their time-stamp counter.
//! * `machine`: the machine; `wiring`, `interrupts`, `write_events`, `dirty`: its abilities;
//! * `vcpu`, `exit`: running, and what the guest's accesses become; `exits`: how
//!   many; `kick`: how a run is ended;
//!   `report`: what is said about a guest that cannot go on.
//! * `debugging`: what a debugger asks.
//! * `state`: KVM's registers as an `x86_state::CpuState`, and back.
//!
//! Not here: the state of the interrupt controllers and of KVM's clock, which belong to the
//! machine and not to a virtual CPU; and any code for devices.

mod counter;
mod cpuid;
mod creation;
mod debugging;
mod device;
mod dirty;
mod error;
mod exit;
mod exits;
mod interrupts;
mod kick;
mod machine;
mod probe;
mod report;
mod sample;
mod state;
mod trial;
mod vcpu;
mod vm;
mod wiring;
mod write_events;

use engine_contract::{Creation, Engine, EngineError, Platform, Probe, Resources};

use crate::creation::KvmCreation;

/// The engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kvm;

impl Engine for Kvm {
    fn name(&self) -> &'static str {
        "kvm"
    }

    fn probe(&self) -> Probe {
        probe::probe()
    }

    fn maps_image(&self) -> bool {
        false
    }

    fn platform(&self) -> Platform {
        Platform::Bare
    }

    fn create(&self, resources: Resources<'_>) -> Result<Box<dyn Creation>, EngineError> {
        Ok(Box::new(KvmCreation::start(resources)?))
    }
}
