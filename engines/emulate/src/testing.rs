//! A virtual CPU for tests: it has its machine for itself, nothing happens to it by itself, and it runs so many
//! instructions, by blocks or one by one.

use std::sync::Arc;

use engine_contract::{EngineError, MemoryRange, Stop, Vcpu, VcpuId, World};
use machine_irqchip::{Controllers, Signal};
use machine_memory::{GuestMemory, MemoryError};

use crate::shared::Shared;
use crate::vcpu::{EmulatedVcpu, Limit};
use crate::xen::Xen;

/// How instructions are executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As ever.
    Blocks,
    /// Each decoded and executed for itself, by the reference.
    OneByOne,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// [`Stop::Kicked`], too, when its instructions were used up; [`Stop::Halted`] when it waits.
    pub stop: Stop,
    /// Instructions that it executed. A block is never left because they are used up.
    pub instructions: u64,
}

/// The virtual CPU. Its time stands still, and it finds no random numbers.
#[derive(Debug)]
pub struct Trial(EmulatedVcpu);

impl Trial {
    /// With this memory, as after reset.
    #[must_use]
    pub fn new(memory: GuestMemory) -> Self {
        Self::with(memory, None)
    }

    /// The same, and below the guest is Xen, which tells it this map of memory.
    ///
    /// # Errors
    /// When the host has no memory.
    pub fn over_xen(memory: GuestMemory, map: Vec<MemoryRange>) -> Result<Self, MemoryError> {
        let xen = Xen::new(1)?;
        xen.describe_memory(map);
        Ok(Self::with(memory, Some(xen)))
    }

    fn with(memory: GuestMemory, xen: Option<Xen>) -> Self {
        let signal = Arc::new(Signal::default());
        let controllers = Controllers::new([Arc::clone(&signal)]);
        let shared = Arc::new(Shared::standing_still(controllers).over(xen));
        Self(EmulatedVcpu::new(VcpuId(0), memory, shared, signal))
    }

    /// Its registers, and what ends a run early.
    pub fn vcpu(&mut self) -> &mut dyn Vcpu {
        &mut self.0
    }

    /// Runs so many instructions, or until it waits or cannot go on.
    ///
    /// # Errors
    /// As [`Vcpu::run`].
    pub fn run(
        &mut self,
        world: &dyn World,
        instructions: u32,
        way: Way,
    ) -> Result<Ran, EngineError> {
        let limit = Limit {
            left: instructions.into(),
            by_one: way == Way::OneByOne,
        };
        let (stop, left) = self.0.run_within(world, limit)?;
        let instructions = i64::from(instructions) - left;
        Ok(Ran {
            stop,
            instructions: instructions.unsigned_abs(),
        })
    }
}
