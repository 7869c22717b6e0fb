//! A machine of KVM.

use std::sync::Arc;

use engine_contract::{
    DirtyLog, EngineError, InterruptController, Layer, Machine, Vcpu, VcpuId, WriteEvents,
};
use machine_bells::{Bells, InterruptBells};
use machine_bus::{Doorbells, SignalLine};
use machine_memory::GuestMemory;

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
    bells: InterruptBells,
    controllers: Arc<Controllers>,
    vm: Arc<Vm>,
}

impl KvmMachine {
    pub(crate) fn new(vm: Arc<Vm>, vcpus: Vec<KvmVcpu>) -> Self {
        let controllers = Arc::new(Controllers::new(Arc::clone(&vm)));
        Self {
            bells: InterruptBells::new(Arc::clone(&controllers) as _, vcpus.len()),
            vcpus: vcpus.into_iter().map(Some).collect(),
            controllers,
            vm,
        }
    }

    fn bells(&self) -> Result<Arc<Bells>, EngineError> {
        let what = "the pages shared with the kernel cannot be used";
        let bells = self.bells.get(self.vm.memory());
        bells.map_err(|error| EngineError::new(what, error))
    }
}

impl Machine for KvmMachine {
    fn memory(&self) -> &GuestMemory {
        self.vm.memory()
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
