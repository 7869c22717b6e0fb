//! What a machine whose kernel shares pages with the monitor reaches beyond its memory: two
//! ports ([`guest_abi::bare`]). A cell reaches nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine_contract::{EngineError, Kick, Stop, Vcpu, VcpuId, World};
use guest_abi::bare::{PORT_END, PORT_RING};
use machine_bus::{Doorbells, GuestAddress, Port, Vector};

/// The world of such a machine.
pub(super) struct Ports {
    bells: Arc<dyn Doorbells>,
    kick: Arc<dyn Kick>,
    ended: AtomicBool,
}

impl Ports {
    pub(super) fn new(bells: Arc<dyn Doorbells>, kick: Arc<dyn Kick>) -> Self {
        Self {
            bells,
            kick,
            ended: AtomicBool::new(false),
        }
    }

    /// Runs a virtual CPU until the machine has ended.
    pub(super) fn run(&self, vcpu: &mut dyn Vcpu) -> Result<Stop, EngineError> {
        loop {
            match vcpu.run(self)? {
                Stop::Kicked if self.ended.load(Ordering::SeqCst) => return Ok(Stop::Shutdown),
                Stop::Kicked => {}
                stop => return Ok(stop),
            }
        }
    }
}

impl World for Ports {
    fn port_read(&self, _: Port, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn port_write(&self, port: Port, data: &[u8]) {
        match port.0 {
            PORT_RING => {
                if let Ok(value) = <[u8; 4]>::try_from(data).map(u32::from_le_bytes) {
                    self.bells.ring(value >> 16, value as u16);
                }
            }
            PORT_END => {
                self.ended.store(true, Ordering::SeqCst);
                self.kick.kick();
            }
            _ => {}
        }
    }

    fn mmio_read(&self, _: GuestAddress, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn mmio_write(&self, _: GuestAddress, _: &[u8]) {}

    fn take_interrupt(&self, _: VcpuId) -> Option<Vector> {
        None
    }
}
