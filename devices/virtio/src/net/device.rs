//! The network device behind a transport.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use backend_net::Network;

use super::control::Control;
use super::features::{
    Accepted, CONFIG_SIZE, Config, Counters, ID, WITH_CONTROL, config_bytes, offered,
};
use super::link::Link;
use super::receive::Receiver;
use crate::device::{Activation, VirtioDevice, read_bytes};
use crate::worker::Workers;

/// Largest number of descriptors of a queue for frames, and of the control queue.
const QUEUE_SIZE: u16 = 512;
const CONTROL_SIZE: u16 = 64;
/// Most pairs of queues.
const PAIRS_MAX: u16 = 8;

/// A network device.
pub struct Net {
    network: Arc<dyn Network>,
    mac: Arc<Mutex<[u8; 6]>>,
    pairs: u16,
    counters: Arc<Counters>,
    workers: Workers,
    link: Option<Arc<Link>>,
    /// Threads that wait for the host, and what ends them.
    servers: Vec<JoinHandle<()>>,
    ends: Arc<AtomicBool>,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net")
            .field("network", &self.network)
            .field("pairs", &self.pairs)
            .finish_non_exhaustive()
    }
}

impl Net {
    /// A device with this host end.
    pub fn new(network: Arc<dyn Network>, config: Config) -> Self {
        let most = network.pairs().min(usize::from(PAIRS_MAX)) as u16;
        Self {
            pairs: config.pairs.clamp(1, most.max(1)),
            network,
            mac: Arc::new(Mutex::new(config.mac)),
            counters: Arc::default(),
            workers: Workers::default(),
            link: None,
            servers: Vec::new(),
            ends: Arc::default(),
        }
    }

    /// What happens to it.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    fn start_queues(&mut self, activation: &Activation, link: &Arc<Link>) -> io::Result<()> {
        let pairs = if link.accepted.multi_queue {
            self.pairs
        } else {
            1
        };
        for pair in 0..usize::from(pairs) {
            if let Some(queue) = activation.queue(2 * pair) {
                let (link, notifier) = (Arc::clone(link), Arc::clone(queue.notifier()));
                let name = format!("virtio-net-in-{pair}");
                self.workers
                    .start(&name, &notifier, move |_| link.room(pair))?;
            }
            if let Some(queue) = activation.queue(2 * pair + 1) {
                let (link, notifier) = (Arc::clone(link), Arc::clone(queue.notifier()));
                let name = format!("virtio-net-out-{pair}");
                self.workers.start(&name, &notifier, move |stop| {
                    link.drain(pair, &queue, || stop.is_set());
                })?;
            }
        }
        self.start_control(activation, link, 2 * usize::from(pairs))
    }

    fn start_control(
        &mut self,
        activation: &Activation,
        link: &Arc<Link>,
        number: usize,
    ) -> io::Result<()> {
        let queue = activation.queue(number).filter(|_| link.accepted.control);
        let Some(queue) = queue else {
            return Ok(());
        };
        let (link, mac, pairs) = (Arc::clone(link), Arc::clone(&self.mac), self.pairs);
        let notifier = Arc::clone(queue.notifier());
        self.workers
            .start("virtio-net-control", &notifier, move |stop| {
                let control = Control {
                    mac: &mac,
                    receiver: &link.receiver,
                    pairs,
                };
                queue.drain(stop, |chain| control.serve(chain, &link.memory));
            })
    }

    fn start_servers(&mut self, link: &Arc<Link>) -> io::Result<()> {
        self.ends.store(false, Ordering::Release);
        self.network.begin(&link.receiver);
        let most = usize::from(self.pairs);
        for server in 0..self.network.servers().min(most) {
            let (link, ends) = (Arc::clone(link), Arc::clone(&self.ends));
            let thread = thread::Builder::new().name(format!("net-{server}"));
            let thread = thread.spawn(move || link.attend(server, &ends))?;
            self.servers.push(thread);
        }
        Ok(())
    }
}

impl VirtioDevice for Net {
    fn id(&self) -> u32 {
        ID
    }

    fn features(&self) -> u64 {
        offered(self.network.as_ref()) | WITH_CONTROL
    }

    fn queue_sizes(&self) -> Vec<u16> {
        let mut sizes = vec![QUEUE_SIZE; 2 * usize::from(self.pairs)];
        sizes.push(CONTROL_SIZE);
        sizes
    }

    fn config_size(&self) -> u32 {
        CONFIG_SIZE as u32
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let mac = *self.mac.lock().unwrap_or_else(PoisonError::into_inner);
        let config = config_bytes(mac, self.pairs, self.network.mtu());
        read_bytes(&config, offset, data);
    }

    fn activate(&mut self, activation: Activation) -> io::Result<()> {
        let accepted = Accepted::new(activation.features);
        let pairs = usize::from(self.pairs);
        let queues = (0..pairs).map(|pair| activation.queue(2 * pair));
        let memory = activation.memory.clone();
        let counters = Arc::clone(&self.counters);
        let link = Arc::new(Link {
            network: Arc::clone(&self.network),
            receiver: Receiver::new(memory.clone(), queues, accepted, counters),
            memory,
            accepted,
            counters: Arc::clone(&self.counters),
        });
        self.link = Some(Arc::clone(&link));
        self.start_queues(&activation, &link)?;
        self.start_servers(&link)
    }

    fn stop(&mut self) {
        self.ends.store(true, Ordering::Release);
        if !self.servers.is_empty() {
            self.network.wake();
        }
        for server in self.servers.drain(..) {
            // One that panicked has said so already.
            let _ = server.join();
        }
        self.workers.stop();
        if let Some(link) = self.link.take() {
            link.receiver.stop();
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.stop();
    }
}
