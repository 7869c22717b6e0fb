//! Devices that work on the thread of the virtual CPU that rings for them, before it goes on: for machines whose runs are to be
//! the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use backend_console::Interrupter;
use backend_fs::service::FuseService;
use device_virtio::fs::{FsDevice, FsQueue};
use machine_bus::{Doorbells, Look, SignalLine};

/// A queue, and who answers what is in it.
type Served = Mutex<(FsQueue, Box<dyn FuseService>)>;

/// The doorbells of a machine with such devices.
pub(super) struct AtOnce {
    bells: Arc<dyn Doorbells>,
    queues: HashMap<(u32, u16), Served>,
}

impl AtOnce {
    /// Without any device; completions go to `bells`.
    pub(super) fn new(bells: Arc<dyn Doorbells>) -> Self {
        Self {
            bells,
            queues: HashMap::new(),
        }
    }

    /// Serves a queue of a device.
    pub(super) fn add(&mut self, device: &FsDevice, queue: u16, service: Box<dyn FuseService>) {
        device.want_calls(queue);
        let served = Mutex::new((device.queue(queue), service));
        self.queues.insert((device.number(), queue), served);
    }
}

impl Doorbells for AtOnce {
    fn wait(&self, device: u32, queue: u16, seen: u32, look: Look) -> Option<u32> {
        self.bells.wait(device, queue, seen, look)
    }

    fn complete(&self, device: u32) {
        self.bells.complete(device);
    }

    fn ring(&self, device: u32, queue: u16) {
        if let Some(served) = self.queues.get(&(device, queue)) {
            let mut served = served.lock().unwrap_or_else(PoisonError::into_inner);
            let (queue, service) = &mut *served;
            queue.work(service.as_mut());
        }
    }
}

/// Signals for a program whose virtual CPU may itself wait for standard input or output: they end that.
pub(super) struct WakingLine {
    pub(super) line: Arc<dyn SignalLine>,
    pub(super) interrupter: Interrupter,
}

impl SignalLine for WakingLine {
    fn post(&self, number: u32) {
        self.line.post(number);
        self.interrupter.interrupt_all();
    }

    fn stop(&self) {
        self.line.stop();
    }

    fn go_on(&self) {
        self.line.go_on();
    }
}
