//! A machine whose instructions are interpreted.

use std::sync::Arc;

use engine_contract::{
    Creation, EngineError, InterruptController, Layer, Machine, MemoryRange, Reporter, Resources,
    Vcpu, VcpuId, VirtualTime,
};
use guest_abi::layout;
use machine_bells::{Bells, InterruptBells};
use machine_bus::{Doorbells, SignalLine};
use machine_irqchip::{Controllers, Signal, Wires};
use machine_memory::GuestMemory;
use x86_vector::{Features, Unit};

use crate::shared::Shared;
use crate::vcpu::EmulatedVcpu;
use crate::xen::Xen;
use crate::{EmulateWith, Hypervisor};

const ACTION: &str = "the machine cannot be made";

/// A machine that is made at once.
#[derive(Debug)]
pub(crate) struct EmulatedCreation(EmulatedMachine);

impl EmulatedCreation {
    pub(crate) fn start(resources: &Resources<'_>, with: EmulateWith) -> Result<Self, EngineError> {
        let vcpus = resources.vcpus;
        let max = layout::VCPUS_MAX as u32;
        if vcpus == 0 || vcpus > max {
            let why = format!("a machine has 1 to {max} virtual CPUs, not {vcpus} (change --cpus)");
            return Err(EngineError::new(ACTION, why));
        }
        let memory = machine_memory::create(resources.memory);
        let memory = memory.map_err(|error| EngineError::new(ACTION, error))?;
        // The host's instructions want memory that can be executed, which the monitor gives up the right to.
        let unit = Unit::new(Features::of_host());
        unit.map_err(|error| EngineError::new(ACTION, error))?;
        let xen = match with.hypervisor {
            Hypervisor::Kvm => Ok(None),
            Hypervisor::Xen => Xen::new(vcpus).map(Some),
        };
        let xen = xen.map_err(|error| EngineError::new(ACTION, error))?;
        Ok(Self(EmulatedMachine::new(memory, vcpus, with.seed, xen)))
    }
}

impl Creation for EmulatedCreation {
    fn finish(self: Box<Self>) -> Result<Box<dyn Machine>, EngineError> {
        Ok(Box::new(self.0))
    }
}

/// The machine.
#[derive(Debug)]
pub(crate) struct EmulatedMachine {
    memory: GuestMemory,
    /// By number; those taken are gone.
    vcpus: Vec<Option<EmulatedVcpu>>,
    bells: InterruptBells,
    wires: Wires,
    shared: Arc<Shared>,
}

impl EmulatedMachine {
    fn new(memory: GuestMemory, vcpus: u32, seed: Option<u64>, xen: Option<Xen>) -> Self {
        let signals: Vec<_> = (0..vcpus).map(|_| Arc::new(Signal::default())).collect();
        let controllers = Controllers::new(signals.iter().map(Arc::clone));
        let own = Arc::clone(&controllers);
        let shared = match seed {
            Some(seed) => Shared::deterministic(own, signals.clone(), seed),
            None => Shared::new(own, vcpus),
        };
        let shared = Arc::new(shared.over(xen));
        let vcpu = |(id, signal)| {
            let (memory, shared) = (memory.clone(), Arc::clone(&shared));
            Some(EmulatedVcpu::new(VcpuId(id), memory, shared, signal))
        };
        let (count, wires) = (signals.len(), Wires(controllers));
        let vcpus = (0..).zip(signals).map(vcpu).collect();
        Self {
            memory,
            vcpus,
            bells: InterruptBells::new(Arc::new(wires.clone()), count),
            wires,
            shared,
        }
    }

    fn bells(&self) -> Result<Arc<Bells>, EngineError> {
        let what = "the pages shared with the kernel cannot be used";
        let bells = self.bells.get(&self.memory);
        bells.map_err(|error| EngineError::new(what, error))
    }
}

impl Machine for EmulatedMachine {
    fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    fn vcpu(&mut self, id: VcpuId) -> Result<Box<dyn Vcpu>, EngineError> {
        Ok(Box::new(id.take(&mut self.vcpus)?))
    }

    fn doorbells(&self) -> Result<Arc<dyn Doorbells>, EngineError> {
        Ok(self.bells()? as _)
    }

    fn signals(&self) -> Result<Arc<dyn SignalLine>, EngineError> {
        Ok(self.bells()? as _)
    }

    fn interrupt_controller(&self) -> Option<Arc<dyn InterruptController>> {
        Some(Arc::new(self.wires.clone()))
    }

    fn virtual_time(&self) -> Option<Arc<dyn VirtualTime>> {
        Some(Arc::clone(self.shared.counted()?) as _)
    }

    fn describe_memory(&self, map: Vec<MemoryRange>) {
        if let Some(xen) = &self.shared.xen {
            xen.describe_memory(map);
        }
    }

    fn report_to(&self, reporter: Reporter) {
        self.shared.unknown.report_to(reporter);
    }

    fn touched_bytes(&self) -> u64 {
        self.memory.touched_bytes()
    }

    fn missing_layers(&self) -> Result<&[Layer], EngineError> {
        Ok(&[])
    }
}
