//! The bells of machines whose virtual CPUs are called by interrupts: Husk's own kernel on real privilege.

use std::fmt;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};

use guest_abi::bare::VECTOR_MONITOR;
use machine_bus::{Message, MessageTarget};
use machine_memory::{GuestMemory, MemoryError};

use crate::{Attention, Bells};

/// A store here is an interrupt for the local controller in bits 12 to 19, physical
/// destination (SDM vol. 3, 11.11.1).
const MESSAGE_ADDRESS: u64 = 0xfee0_0000;
const DESTINATION_SHIFT: u32 = 12;

/// Such bells, made when they are first asked for: only Husk's own kernel has a use for them.
pub struct InterruptBells {
    made: OnceLock<Arc<Bells>>,
    controllers: Arc<dyn MessageTarget>,
    vcpus: usize,
}

impl fmt::Debug for InterruptBells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InterruptBells").field(&self.made).finish()
    }
}

impl InterruptBells {
    /// For so many virtual CPUs, whose numbers are those of their local interrupt controllers.
    #[must_use]
    pub fn new(controllers: Arc<dyn MessageTarget>, vcpus: usize) -> Self {
        Self {
            made: OnceLock::new(),
            controllers,
            vcpus,
        }
    }

    /// The bells in this memory, the same each time.
    ///
    /// # Errors
    /// As for [`Bells::new`].
    pub fn get(&self, memory: &GuestMemory) -> Result<Arc<Bells>, MemoryError> {
        if let Some(bells) = self.made.get() {
            return Ok(Arc::clone(bells));
        }
        let attention = Box::new(LocalControllers(Arc::clone(&self.controllers)));
        let bells = Bells::new(memory, self.vcpus, attention)?;
        // Whoever was first has made those that count.
        Ok(Arc::clone(self.made.get_or_init(|| Arc::new(bells))))
    }
}

/// Every wait ends with the machine.
impl Drop for InterruptBells {
    fn drop(&mut self) {
        if let Some(bells) = self.made.get() {
            bells.end();
        }
    }
}

/// The local interrupt controllers of the virtual CPUs.
struct LocalControllers(Arc<dyn MessageTarget>);

impl fmt::Debug for LocalControllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalControllers").finish_non_exhaustive()
    }
}

impl LocalControllers {
    /// One interrupt: fixed delivery, edge-triggered.
    fn call(&self, vcpu: usize) {
        self.0.send(Message {
            address: MESSAGE_ADDRESS | (vcpu as u64) << DESTINATION_SHIFT,
            data: u32::from(VECTOR_MONITOR),
        });
    }
}

impl Attention for LocalControllers {
    /// It waits in `hlt`, so an interrupt ends that as it interrupts running code.
    fn wake(&self, vcpu: usize, _: &AtomicU32) {
        self.call(vcpu);
    }

    fn interrupt(&self, vcpu: usize) {
        self.call(vcpu);
    }

    /// Nothing to do: virtual CPUs are threads of the monitor and stop with it.
    fn stop(&self) {}

    fn go_on(&self) {}

    /// It says so by a port, too.
    fn over(&self) {}
}
