//! A machine of KVM.

use std::sync::{Arc, OnceLock};

use engine_contract::{
    DirtyLog, EngineError, InterruptController, Layer, Machine, Vcpu, VcpuId, WriteEvents,
};
use machine_bells::Bells;
use machine_bus::{Doorbells, SignalLine};
use machine_memory::GuestMemory;

use crate::attention::LocalControllers;
use crate::dirty::WrittenPages;
use crate::interrupts::Controllers;
use crate::vcpu::KvmVcpu;
use crate::vm::Vm;
use crate::write_events::Events;

/// The machine.
#[derive(Debug)]
pub(crate) struct KvmMachine {
    /// By number; those taken are gone.
    vcpus: Vec<Option<KvmVcpu>>,
    /// Made when they are first asked for: only Husk's own kernel has a use for them.
    bells: OnceLock<Arc<Bells>>,
    controllers: Arc<Controllers>,
    vm: Arc<Vm>,
}

impl KvmMachine {
    pub(crate) fn new(vm: Arc<Vm>, vcpus: Vec<KvmVcpu>) -> Self {
        Self {
            vcpus: vcpus.into_iter().map(Some).collect(),
            bells: OnceLock::new(),
            controllers: Arc::new(Controllers::new(Arc::clone(&vm))),
            vm,
        }
    }

    fn bells(&self) -> Result<Arc<Bells>, EngineError> {
        if let Some(bells) = self.bells.get() {
            return Ok(Arc::clone(bells));
        }
        let attention = Box::new(LocalControllers(Arc::clone(&self.vm)));
        let bells = Bells::new(self.vm.memory(), self.vcpus.len(), attention);
        let what = "the pages shared with the kernel cannot be used";
        let bells = bells.map_err(|error| EngineError::new(what, error))?;
        // Whoever was first has made those that count.
        Ok(Arc::clone(self.bells.get_or_init(|| Arc::new(bells))))
    }
}

impl Machine for KvmMachine {
    fn memory(&self) -> &GuestMemory {
        self.vm.memory()
    }

    fn vcpu(&mut self, id: VcpuId) -> Result<Box<dyn Vcpu>, EngineError> {
        let count = self.vcpus.len();
        let place = self.vcpus.get_mut(id.0 as usize);
        let reason = match place.map(Option::take) {
            Some(Some(vcpu)) => return Ok(Box::new(vcpu)),
            Some(None) => format!("number {} was taken before", id.0),
            None => format!("there is no number {} (the machine has {count})", id.0),
        };
        Err(EngineError::new("the virtual CPU is not to be had", reason))
    }

    fn doorbells(&self) -> Result<Arc<dyn Doorbells>, EngineError> {
        Ok(self.bells()? as _)
    }

    fn signals(&self) -> Result<Arc<dyn SignalLine>, EngineError> {
        Ok(self.bells()? as _)
    }

    fn interrupt_controller(&self) -> Option<Arc<dyn InterruptController>> {
        Some(Arc::clone(&self.controllers) as _)
    }

    fn write_events(&self) -> Option<Arc<dyn WriteEvents>> {
        Some(Arc::new(Events(Arc::clone(&self.vm))))
    }

    fn dirty_log(&self) -> Option<Arc<dyn DirtyLog>> {
        Some(Arc::new(WrittenPages(Arc::clone(&self.vm))))
    }

    fn touched_bytes(&self) -> u64 {
        self.vm.memory().touched_bytes()
    }

    fn missing_layers(&self) -> Result<&[Layer], EngineError> {
        Ok(&[])
    }
}

impl Drop for KvmMachine {
    fn drop(&mut self) {
        if let Some(bells) = self.bells.get() {
            bells.end();
        }
    }
}
