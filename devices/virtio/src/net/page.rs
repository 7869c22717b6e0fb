//! The network device of machines whose kernel shares pages with the monitor.
//!
//! A driver finds on the device's page (`guest_abi::device`): device 1; queue 0 for what it
//! receives, queue 1 for what it sends, up to 256 descriptors each; features as those of the
//! device on a bus, without the control queue; and virtio's configuration (5.1.4): MAC address,
//! status, one pair, MTU. It sets up both queues, writes the features that it takes, sets
//! "driver ok" and rings; frames have virtio's header of 12 bytes. A device is set up once.
//!
//! Two threads wait, one for the driver's bell, one for the host. Whichever is woken works for
//! both directions until there is nothing left, and the other sleeps on. Before it sleeps, it looks
//! for a while, as long as a sleep would cost; with one processor nobody does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, TryLockError};
use std::time::Duration;

use backend_net::Network;
use guest_abi::device::{DevicePage, STATUS_DRIVER_OK};
use guest_abi::layout;
use machine_bus::{Doorbells, Look};
use machine_memory::{GuestMemory, MemoryError, Page};
use rustix::thread::sched_getaffinity;

use super::features::{Accepted, Counters, ID, config_bytes, offered};
use super::link::Link;
use super::receive::Receiver;
use super::{QUEUE_RECEIVE, QUEUE_TRANSMIT};
use crate::device::{Interrupt, Signals};
use crate::queue::Virtqueue;
use crate::state::QueueState;
use crate::worker::Notifier;

/// Largest number of descriptors of a queue.
const QUEUE_SIZE: u16 = 256;
/// Feature bits of the rings, and that the device follows virtio 1.
const INDIRECT: u64 = 1 << 28;
const EVENT_INDEX: u64 = 1 << 29;
const VERSION_1: u64 = 1 << 32;

/// How long is looked before sleeping: about what sleeping and being woken take two processors.
const LOOK: Duration = Duration::from_micros(20);

/// Calls the virtual CPU.
struct Bell {
    number: u32,
    bells: Arc<dyn Doorbells>,
}

impl Interrupt for Bell {
    fn queue(&self, _: u16) {
        self.bells.complete(self.number);
    }

    // Its kernel has no way to see either; a queue that is broken stays silent.
    fn config(&self) {}
}

/// The device when its driver is ready.
struct Active {
    link: Link,
    transmit: Arc<Virtqueue>,
    look: Duration,
    duty: Duty,
}

/// Work that one thread does at a time, for all who want it done.
#[derive(Default)]
struct Duty {
    at_work: Mutex<()>,
    wanted: AtomicBool,
}

impl Duty {
    /// Has `work` done from the start after this call: here, or by who is at it.
    fn run(&self, work: impl Fn()) {
        self.wanted.store(true, Ordering::SeqCst);
        while self.wanted.load(Ordering::SeqCst) {
            let _at_work = match self.at_work.try_lock() {
                Ok(guard) => guard,
                // One that panicked has said so, and holds nothing.
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            self.wanted.store(false, Ordering::SeqCst);
            work();
        }
    }
}

impl Active {
    fn work(&self) {
        self.duty
            .run(|| self.link.work(0, &self.transmit, self.look));
    }
}

/// One network device of a machine.
#[derive(Clone)]
pub struct NetPage {
    number: u32,
    memory: GuestMemory,
    bells: Arc<dyn Doorbells>,
    network: Arc<dyn Network>,
    counters: Arc<Counters>,
    active: Arc<OnceLock<Option<Active>>>,
}

impl NetPage {
    /// Puts the device on its page, where the guest finds it.
    ///
    /// # Errors
    /// When the machine's memory has no such page.
    pub fn new(
        number: u32,
        mac: [u8; 6],
        network: Arc<dyn Network>,
        memory: &GuestMemory,
        bells: Arc<dyn Doorbells>,
    ) -> Result<Self, MemoryError> {
        let page = Self::page(number, memory)?;
        page.queue_size_max
            .store(u32::from(QUEUE_SIZE), Ordering::Relaxed);
        page.queue_count
            .store(u32::from(QUEUE_TRANSMIT) + 1, Ordering::Relaxed);
        let features = Self::features(network.as_ref());
        page.device_features.store(features, Ordering::Relaxed);
        page.one_bell.store(1, Ordering::Relaxed);
        let config = config_bytes(mac, 1, network.mtu());
        for (word, bytes) in page.config.iter().zip(config.as_chunks().0) {
            word.store(u32::from_le_bytes(*bytes), Ordering::Relaxed);
        }
        page.device_id.store(ID, Ordering::Release);
        Ok(Self {
            number,
            memory: memory.clone(),
            bells,
            network,
            counters: Arc::default(),
            active: Arc::default(),
        })
    }

    fn features(network: &dyn Network) -> u64 {
        offered(network) | INDIRECT | EVENT_INDEX | VERSION_1
    }

    fn page(number: u32, memory: &GuestMemory) -> Result<Page<DevicePage>, MemoryError> {
        memory.page(layout::DEVICE_PAGES + u64::from(number) * layout::PAGE_SIZE)
    }

    /// What happens to it.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Serves the driver until the machine ends; a thread's whole life.
    pub fn serve(&self) {
        let mut seen = 0;
        while let Some(count) = self
            .bells
            .wait(self.number, QUEUE_RECEIVE, seen, Look::Never)
        {
            seen = count;
            if let Some(active) = self.active() {
                active.work();
            }
        }
    }

    /// Brings what the host has; a thread's whole life. It does not end with the machine.
    pub fn serve_host(&self) {
        let Some(active) = self.active.wait() else {
            return;
        };
        loop {
            active.link.network.wait(0);
            active.work();
        }
    }

    /// The device, once its driver is ready. What the driver wrote then is final.
    fn active(&self) -> Option<&Active> {
        if let Some(active) = self.active.get() {
            return active.as_ref();
        }
        let page = Self::page(self.number, &self.memory).ok()?;
        if page.status.load(Ordering::Acquire) & STATUS_DRIVER_OK == 0 {
            return None;
        }
        self.active.get_or_init(|| self.configure(&page)).as_ref()
    }

    fn configure(&self, page: &DevicePage) -> Option<Active> {
        let features = page.driver_features.load(Ordering::Acquire);
        let features = features & Self::features(self.network.as_ref());
        let bell = Bell {
            number: self.number,
            bells: Arc::clone(&self.bells),
        };
        let signals = Arc::new(Signals::new(Box::new(bell)));
        let queue = |number: u16| self.queue(page, number, features, &signals).map(Arc::new);
        let (receive, transmit) = (queue(QUEUE_RECEIVE)?, queue(QUEUE_TRANSMIT)?);
        let accepted = Accepted::new(features);
        let counters = Arc::clone(&self.counters);
        let queues = std::iter::once(Some(receive));
        let receiver = Receiver::new(self.memory.clone(), queues, accepted, counters);
        self.network.begin(&receiver);
        let processors = sched_getaffinity(None).map_or(1, |set| set.count());
        Some(Active {
            link: Link {
                network: Arc::clone(&self.network),
                receiver,
                memory: self.memory.clone(),
                accepted,
                counters: Arc::clone(&self.counters),
            },
            transmit,
            look: if processors > 1 { LOOK } else { Duration::ZERO },
            duty: Duty::default(),
        })
    }

    fn queue(
        &self,
        page: &DevicePage,
        number: u16,
        features: u64,
        signals: &Arc<Signals>,
    ) -> Option<Virtqueue> {
        let slot = page.queues.get(usize::from(number))?;
        let size = u16::try_from(slot.size.load(Ordering::Acquire)).ok()?;
        let fits = size.is_power_of_two() && size <= QUEUE_SIZE;
        let state = QueueState {
            size: fits.then_some(size)?,
            ready: true,
            descriptors: slot.descriptors.load(Ordering::Relaxed),
            driver: slot.driver.load(Ordering::Relaxed),
            device: slot.device.load(Ordering::Relaxed),
            next_available: 0,
            next_used: 0,
        };
        let event_index = features & EVENT_INDEX != 0;
        let notifier = Arc::<Notifier>::default();
        let memory = &self.memory;
        Virtqueue::new(number, &state, event_index, memory, signals, &notifier)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn what_is_wanted_while_somebody_works_is_done_by_them() {
        let (duty, rounds) = (Duty::default(), AtomicU32::new(0));
        let (begun, wait) = channel();
        let (go_on, may_go_on) = channel();
        std::thread::scope(|scope| {
            let (duty, rounds) = (&duty, &rounds);
            let worker = scope.spawn(move || {
                duty.run(|| {
                    if rounds.fetch_add(1, Ordering::SeqCst) == 0 {
                        begun.send(()).expect("the test waits");
                        may_go_on.recv().expect("the test goes on");
                    }
                });
            });
            wait.recv().expect("it works");
            // Comes back at once, and nothing is done here.
            for _ in 0..3 {
                duty.run(|| unreachable!("somebody is at it"));
            }
            go_on.send(()).expect("it waits");
            worker.join().expect("nothing panics");
        });
        assert_eq!(rounds.into_inner(), 2);
    }
}
