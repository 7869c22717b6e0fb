//! A board at work: the world of the virtual CPUs.

use std::sync::Arc;
use std::thread::JoinHandle;

use engine_contract::{VcpuId, World};
use machine_bus::{Bus, GuestAddress, Port, Vector};

use crate::serial::SerialInput;
use crate::timers::Timers;

/// A board whose thread runs. It stops when this is dropped.
#[derive(Debug)]
pub struct Running {
    pub(crate) ports: Bus,
    pub(crate) memory: Bus,
    pub(crate) input: SerialInput,
    pub(crate) timers: Arc<Timers>,
    pub(crate) thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Where input for the first serial port is handed in.
    #[must_use]
    pub fn serial_input(&self) -> SerialInput {
        self.input.clone()
    }

    /// Ends its thread, and the waiting of whoever hands input in.
    pub fn stop(&mut self) {
        self.input.end();
        self.timers.stop();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

impl World for Running {
    fn port_read(&self, port: Port, data: &mut [u8]) {
        self.ports.read(port.0.into(), data);
    }

    fn port_write(&self, port: Port, data: &[u8]) {
        self.ports.write(port.0.into(), data);
    }

    fn mmio_read(&self, address: GuestAddress, data: &mut [u8]) {
        self.memory.read(address.0, data);
    }

    fn mmio_write(&self, address: GuestAddress, data: &[u8]) {
        self.memory.write(address.0, data);
    }

    /// The engine has the controllers, so it never asks.
    fn take_interrupt(&self, _: VcpuId) -> Option<Vector> {
        None
    }
}
