//! The console device (virtio 1.2, 5.3) with one port.
//!
//! Output goes to an [`Output`] in the order in which the driver sends it. Input comes from
//! whoever holds the [`Input`]: it waits in a buffer of bounded size until the driver has room.
//! Neither knows a descriptor of the host: connecting them is the work of others.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use machine_memory::GuestMemory;

use crate::device::{Activation, Signals, VirtioDevice, read_bytes};
use crate::queue::{Chain, Virtqueue};
use crate::worker::{Notifier, Stop, Workers};

const ID: u32 = 3;
/// The configuration has the window's size.
const FEATURE_SIZE: u64 = 1;
/// Largest number of descriptors of a queue.
const QUEUE_SIZE: u16 = 64;
const QUEUE_RECEIVE: usize = 0;
const QUEUE_TRANSMIT: usize = 1;
/// Bytes of input that wait at most.
pub const INPUT_MAX: usize = 64 << 10;
/// Bytes of output that are copied at a time.
const OUTPUT_STEP: usize = 4096;
/// Columns, rows, number of ports, emergency write.
const CONFIG_SIZE: u32 = 12;

/// Where a machine's output goes.
pub trait Output: Send {
    /// Takes all of `bytes`; may wait, on the device's own thread, but not for ever: a reset
    /// of the device waits for it. What cannot be written is lost, as on a line that nobody
    /// listens to.
    fn write(&mut self, bytes: &[u8]);
}

#[derive(Debug, Default)]
struct Shared {
    buffer: VecDeque<u8>,
    closed: bool,
    size: (u16, u16),
    /// Set while the device is active.
    receiver: Option<Arc<Notifier>>,
    signals: Option<Arc<Signals>>,
}

/// Where input for a machine is handed in, and the size of its window.
#[derive(Clone, Debug, Default)]
pub struct Input {
    shared: Arc<(Mutex<Shared>, Condvar)>,
}

impl Input {
    /// Hands in as many of `bytes` as there is room for; returns their number.
    pub fn offer(&self, bytes: &[u8]) -> usize {
        let mut shared = self.lock();
        let taken = (INPUT_MAX - shared.buffer.len()).min(bytes.len());
        shared.buffer.extend(bytes.iter().take(taken));
        if taken > 0
            && let Some(receiver) = &shared.receiver
        {
            receiver.notify();
        }
        taken
    }

    /// Hands all of `bytes` in, waiting for room; `false` when the console is gone.
    pub fn push(&self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.offer(rest);
            rest = rest.get(taken..).unwrap_or_default();
            let mut shared = self.lock();
            while !rest.is_empty() && shared.buffer.len() == INPUT_MAX && !shared.closed {
                let room = &self.shared.1;
                shared = room.wait(shared).unwrap_or_else(PoisonError::into_inner);
            }
            if shared.closed {
                return false;
            }
        }
        true
    }

    /// The window has a new size: columns and rows.
    pub fn resize(&self, columns: u16, rows: u16) {
        let mut shared = self.lock();
        shared.size = (columns, rows);
        let signals = shared.signals.clone();
        drop(shared);
        if let Some(signals) = signals {
            signals.config_changed();
        }
    }

    fn size(&self) -> (u16, u16) {
        self.lock().size
    }

    /// Copies what waits into the driver's buffer; `None` when nothing waits.
    fn take(&self, most: usize) -> Option<Vec<u8>> {
        let mut shared = self.lock();
        let count = shared.buffer.len().min(most);
        if count == 0 {
            return None;
        }
        let bytes = shared.buffer.drain(..count).collect();
        self.shared.1.notify_all();
        Some(bytes)
    }

    fn has_some(&self) -> bool {
        !self.lock().buffer.is_empty()
    }

    fn connect(&self, receiver: Option<Arc<Notifier>>, signals: Option<Arc<Signals>>) {
        let mut shared = self.lock();
        shared.receiver = receiver;
        shared.signals = signals;
    }

    fn close(&self) {
        self.lock().closed = true;
        self.shared.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A console device.
pub struct Console {
    input: Input,
    output: Arc<Mutex<Box<dyn Output>>>,
    workers: Workers,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("input", &self.input)
            .finish_non_exhaustive()
    }
}

impl Console {
    /// A console whose output goes to `output` and whose input comes from `input`.
    pub fn new(input: Input, output: Box<dyn Output>) -> Self {
        Self {
            input,
            output: Arc::new(Mutex::new(output)),
            workers: Workers::default(),
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.input.close();
    }
}

impl VirtioDevice for Console {
    fn id(&self) -> u32 {
        ID
    }

    fn features(&self) -> u64 {
        FEATURE_SIZE
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; 2]
    }

    fn config_size(&self) -> u32 {
        CONFIG_SIZE
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let (columns, rows) = self.input.size();
        let config = [columns, rows, 1, 0].map(u16::to_le_bytes).concat();
        read_bytes(&config, offset, data);
    }

    fn activate(&mut self, activation: Activation) -> io::Result<()> {
        if let Some(queue) = activation.queue(QUEUE_RECEIVE) {
            let (input, memory) = (self.input.clone(), activation.memory.clone());
            let notifier = Arc::clone(queue.notifier());
            input.connect(
                Some(Arc::clone(&notifier)),
                Some(activation.signals.clone()),
            );
            self.workers
                .start("virtio-console-in", &notifier, move |stop| {
                    receive(&queue, &input, &memory, stop);
                })?;
        }
        if let Some(queue) = activation.queue(QUEUE_TRANSMIT) {
            let (output, memory) = (Arc::clone(&self.output), activation.memory);
            let notifier = Arc::clone(queue.notifier());
            self.workers
                .start("virtio-console-out", &notifier, move |stop| {
                    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
                    queue.drain(stop, |chain| transmit(chain, &memory, output.as_mut()));
                })?;
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.input.connect(None, None);
        self.workers.stop();
    }
}

/// Moves input into the driver's buffers while there are both.
fn receive(queue: &Virtqueue, input: &Input, memory: &GuestMemory, stop: &Stop) {
    while !stop.is_set() && input.has_some() {
        let Some(chain) = queue.pop() else {
            return;
        };
        let Some(mut target) = chain.writer(memory) else {
            queue.fail();
            return;
        };
        let bytes = input.take(target.remaining()).unwrap_or_default();
        let length = target.write(&bytes);
        queue.push(chain.head, length as u32);
    }
}

/// Passes a chain's bytes on.
fn transmit(chain: &Chain, memory: &GuestMemory, output: &mut dyn Output) -> Option<u32> {
    let mut source = chain.reader(memory)?;
    let mut bytes = [0; OUTPUT_STEP];
    loop {
        let count = source.read(&mut bytes);
        if count == 0 {
            return Some(0);
        }
        output.write(bytes.get(..count).unwrap_or_default());
    }
}
