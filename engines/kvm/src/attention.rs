//! How Husk's own kernel on real privilege is called: by an interrupt.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use guest_abi::bare::VECTOR_MONITOR;
use machine_bells::Attention;
use machine_bus::Message;

use crate::interrupts;
use crate::vm::Vm;

/// A store here is an interrupt for the local controller in bits 12 to 19, physical
/// destination (SDM vol. 3, 11.11.1).
const MESSAGE_ADDRESS: u64 = 0xfee0_0000;

const DESTINATION_SHIFT: u32 = 12;

/// The local interrupt controllers of the virtual CPUs.
#[derive(Debug)]
pub(crate) struct LocalControllers(pub(crate) Arc<Vm>);

impl LocalControllers {
    /// One interrupt: fixed delivery, edge-triggered. A virtual CPU's number is its controller's.
    fn call(&self, vcpu: usize) {
        let message = Message {
            address: MESSAGE_ADDRESS | (vcpu as u64) << DESTINATION_SHIFT,
            data: u32::from(VECTOR_MONITOR),
        };
        interrupts::send(&self.0, message);
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
