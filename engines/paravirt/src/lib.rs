//! The paravirt engine: a guest kernel that knows, in a process that may nothing.
//!
//! A machine is two processes. This one, the monitor's, holds devices and policy. The
//! *cell* runs the guest's code directly on the processor: our kernel and the program,
//! which asks for pages, sleep and doorbells by nine host system calls that are
//! harmless with any arguments. Everything else traps and is served by the kernel.
//!
//! * `sandbox`: how the cell is made, layer by layer, and which layers the host refused.
//! * `machine`: memory, the virtual CPU, and how its end is noticed.
//! * `probe`: what the host allows, found out by trying.
//!
//! Devices and the virtual CPU call each other by `machine/bells`: futexes in shared memory.
//!
//! The boundary is the cell's seccomp filter (`engines/paravirt/cell`). What the cell
//! shares with this process is guest memory, every byte of which is read once and checked, and
//! files that are handed over to it, to be read.

mod machine;
mod probe;
mod sandbox;
mod threads;

use engine_contract::{Creation, Engine, EngineError, Platform, Probe, Resources};

/// The engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paravirt;

impl Engine for Paravirt {
    fn name(&self) -> &'static str {
        "paravirt"
    }

    fn probe(&self) -> Probe {
        probe::probe()
    }

    fn maps_image(&self) -> bool {
        true
    }

    fn platform(&self) -> Platform {
        Platform::Cell
    }

    fn create(&self, resources: Resources<'_>) -> Result<Box<dyn Creation>, EngineError> {
        if let Some(refusal) = probe::refusal() {
            return Err(EngineError::new(
                "the paravirt engine cannot run here",
                refusal,
            ));
        }
        Ok(Box::new(machine::CellCreation::start(resources)?))
    }
}
