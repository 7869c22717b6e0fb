//! The entropy device (virtio 1.2, 5.4): fills buffers with the host's random bytes, or with those that follow from a seed.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use machine_entropy::{Consumer, Source};
use machine_memory::{GuestMemory, Pieces};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::device::{Activation, VirtioDevice};
use crate::queue::Chain;
use crate::worker::Workers;

const ID: u32 = 4;
/// Largest number of descriptors of the queue.
const QUEUE_SIZE: u16 = 64;
/// Most bytes given for one request; a driver that wants more asks again.
pub const REQUEST_MAX: usize = 64 << 10;
/// Bytes fetched from the host at a time, which it delivers whole.
const FETCH: usize = 256;

/// An entropy device.
#[derive(Debug, Default)]
pub struct Rng {
    workers: Workers,
    /// Of the bytes, if they are not the host's.
    source: Option<Arc<Mutex<Source>>>,
}

impl Rng {
    /// A device that is not active.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with bytes that follow from a seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let source = Source::new(seed, Consumer::Device);
        Self {
            workers: Workers::default(),
            source: Some(Arc::new(Mutex::new(source))),
        }
    }
}

impl VirtioDevice for Rng {
    fn id(&self) -> u32 {
        ID
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE]
    }

    fn config_size(&self) -> u32 {
        0
    }

    fn read_config(&self, _: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn activate(&mut self, activation: Activation) -> io::Result<()> {
        let Some(queue) = activation.queue(0) else {
            return Ok(());
        };
        let notifier = Arc::clone(queue.notifier());
        let source = self.source.clone();
        self.workers.start("virtio-rng", &notifier, move |stop| {
            queue.drain(stop, |chain| {
                serve(chain, &activation.memory, source.as_deref())
            });
        })
    }

    fn stop(&mut self) {
        self.workers.stop();
    }
}

fn serve(chain: &Chain, memory: &GuestMemory, source: Option<&Mutex<Source>>) -> Option<u32> {
    let mut target = chain.writer(memory)?;
    Some(fill(&mut target, source))
}

/// Fills with random bytes; returns how many. The host may have none before it has started.
fn fill(target: &mut Pieces<'_>, source: Option<&Mutex<Source>>) -> u32 {
    let mut done = 0;
    while done < REQUEST_MAX && target.remaining() > 0 {
        let mut bytes = [0; FETCH];
        let got = fetch(&mut bytes, source);
        if got == 0 {
            break;
        }
        done += target.write(bytes.get(..got).unwrap_or_default());
    }
    done as u32
}

/// The next random bytes; returns how many.
fn fetch(bytes: &mut [u8], source: Option<&Mutex<Source>>) -> usize {
    let Some(source) = source else {
        return getrandom(bytes, GetRandomFlags::empty()).unwrap_or(0);
    };
    let mut source = source.lock().unwrap_or_else(PoisonError::into_inner);
    source.fill(bytes);
    bytes.len()
}
