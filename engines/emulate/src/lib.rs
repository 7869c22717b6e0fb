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
//!
//! Decision 22 says why it is made so, decision 23 how every run can be the same.
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

use engine_contract::{Creation, Engine, EngineError, Platform, Probe, Resources};

use crate::machine::EmulatedCreation;

/// The engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Emulate;

/// The engine, with machines that do the same in every run: they have a [`VirtualTime`](engine_contract::VirtualTime), and random
/// numbers that follow from the seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deterministic {
    /// Any number.
    pub seed: u64,
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
        Ok(Box::new(EmulatedCreation::start(&resources, None)?))
    }
}

impl Engine for Deterministic {
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
        let creation = EmulatedCreation::start(&resources, Some(self.seed))?;
        Ok(Box::new(creation))
    }
}
