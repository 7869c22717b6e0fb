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
    kicks: Vec<Arc<dyn Kick>>,
    ended: AtomicBool,
}

impl Ports {
    pub(super) fn new(bells: Arc<dyn Doorbells>, kicks: Vec<Arc<dyn Kick>>) -> Self {
        Self {
            bells,
            kicks,
            ended: AtomicBool::new(false),
        }
    }

    /// Runs a virtual CPU until the machine has ended, or it ends the machine.
    pub(super) fn run(&self, vcpu: &mut dyn Vcpu) -> Result<Stop, EngineError> {
        let ended = self.run_until_end(vcpu);
        self.end();
        ended
    }

    /// Ends the runs of all virtual CPUs.
    fn end(&self) {
        if !self.ended.swap(true, Ordering::SeqCst) {
            self.kicks.iter().for_each(|kick| kick.kick());
        }
    }

    fn run_until_end(&self, vcpu: &mut dyn Vcpu) -> Result<Stop, EngineError> {
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
            PORT_END => self.end(),
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
