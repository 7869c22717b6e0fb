//! The emulate engine: every instruction interpreted, on any host.
//!
//! A virtual CPU is a [`core`](crate::core) that goes through [`blocks`](crate::blocks) of decoded instructions;
//! [`ops`](crate::ops) do the ordinary cases quickly, and `x86-semantics` everything else.
//!
//! * `machine`, `vcpu`: what the contract asks for.
//! * `shared`: interrupt controllers, time, and whose turn it is: one virtual CPU runs at a time. `counted`, `rounds`: both
//!   where every run is the same.
//! * `identity`, `registers`: what a virtual CPU says it is, and the model-specific registers of a machine;
//!   `paravirtual_clock`: how it tells time; `state`: all registers as others see them.
//! * `bus`, `tlb`: memory by linear addresses, and the world.
//! * [`testing`]: a virtual CPU that runs so many instructions, with blocks and without.
//! * `mode`, `decode`, `blocks`, `ops`, `core`: executing; `breakpoints`: those of the debug registers; `interest`:
//!   what a debugger or a trace wants; `unknown`: instructions that nobody knows.
//! * `xen`: what a guest finds below itself where it is to find Xen there.
//!
//! Decision 22 says why it is made so, decision 23 how every run can be the same, decision 24 what there is of Xen.
#![forbid(unsafe_code)]

mod blocks;
mod breakpoints;
mod bus;
mod contexts;
mod core;
mod counted;
mod decode;
mod identity;
mod interest;
mod machine;
mod memory_types;
mod mode;
mod ops;
mod paravirtual_clock;
mod registers;
mod rounds;
mod shared;
mod state;
pub mod testing;
mod tlb;
mod unknown;
mod vcpu;
mod xen;

use engine_contract::{Creation, Engine, EngineError, Platform, Probe, Resources};

use crate::machine::EmulatedCreation;

/// The engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Emulate;

/// What a guest finds below itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hypervisor {
    /// As much of KVM as its clock needs.
    #[default]
    Kvm,
    /// As much of Xen as a hypervisor needs that is its guest.
    Xen,
}

/// The engine, with machines that are not the usual ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmulateWith {
    /// With any number, machines do the same in every run: they have a [`VirtualTime`](engine_contract::VirtualTime), and random
    /// numbers follow from it.
    pub seed: Option<u64>,
    /// What guests find below themselves.
    pub hypervisor: Hypervisor,
}

impl Engine for Emulate {
    fn name(&self) -> &'static str {
        "emulate"
    }

    fn probe(&self) -> Probe {
        Probe {
            refusal: None,
            summary: "every instruction interpreted: anything runs, slowly".to_owned(),
            layers: Vec::new(),
        }
    }

    fn maps_image(&self) -> bool {
        false
    }

    fn platform(&self) -> Platform {
        Platform::Bare
    }

    fn create(&self, resources: Resources<'_>) -> Result<Box<dyn Creation>, EngineError> {
        Ok(Box::new(EmulatedCreation::start(
            &resources,
            EmulateWith::default(),
        )?))
    }
}

impl Engine for EmulateWith {
    fn name(&self) -> &'static str {
        Emulate.name()
    }

    fn probe(&self) -> Probe {
        Emulate.probe()
    }

    fn maps_image(&self) -> bool {
        Emulate.maps_image()
    }

    fn platform(&self) -> Platform {
        Emulate.platform()
    }

    fn create(&self, resources: Resources<'_>) -> Result<Box<dyn Creation>, EngineError> {
        let creation = EmulatedCreation::start(&resources, *self)?;
        Ok(Box::new(creation))
    }
}
