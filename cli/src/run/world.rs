//! What a machine whose kernel shares pages with the monitor reaches beyond its memory: two
//! ports ([`guest_abi::bare`]). A cell reaches nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use engine_contract::{EngineError, Kick, Stop, Vcpu, VcpuId, World};
use guest_abi::bare::{PORT_END, PORT_RING};
use machine_bus::{Doorbells, GuestAddress, Port, Vector};
use machine_debugger::Debugger;

/// The world of such a machine.
pub(super) struct Ports {
    bells: Arc<dyn Doorbells>,
    kicks: Vec<Arc<dyn Kick>>,
    ended: AtomicBool,
    /// Who may hold the virtual CPUs.
    debugger: OnceLock<Arc<Debugger>>,
}

impl Ports {
    pub(super) fn new(bells: Arc<dyn Doorbells>, kicks: Vec<Arc<dyn Kick>>) -> Self {
        Self {
            bells,
            kicks,
            ended: AtomicBool::new(false),
            debugger: OnceLock::new(),
        }
    }

    /// A debugger may hold the virtual CPUs, from before they run.
    pub(super) fn hold(&self, debugger: Arc<Debugger>) {
        // There is one.
        let _ = self.debugger.set(debugger);
    }

    /// Runs a virtual CPU until the machine has ended, or it ends the machine.
    pub(super) fn run(&self, id: VcpuId, vcpu: &mut dyn Vcpu) -> Result<Stop, EngineError> {
        let ended = self.run_until_end(id, vcpu);
        self.end();
        ended
    }

    /// Ends the runs of all virtual CPUs.
    pub(super) fn end(&self) {
        if !self.ended.swap(true, Ordering::SeqCst) {
            self.kicks.iter().for_each(|kick| kick.kick());
            if let Some(debugger) = self.debugger.get() {
                debugger.kick();
            }
        }
    }

    fn run_until_end(&self, id: VcpuId, vcpu: &mut dyn Vcpu) -> Result<Stop, EngineError> {
        loop {
            let stop = match self.debugger.get() {
                Some(debugger) => debugger.run(id, vcpu, self),
                None => vcpu.run(self),
            };
            match stop? {
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
