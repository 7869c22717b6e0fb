//! The file system device behind a transport.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use backend_fs::service::FuseService;

use super::chain::answer;
use super::{TAG_SIZE, tag_bytes};
use crate::device::{Activation, VirtioDevice, read_bytes};
use crate::worker::Workers;

const ID: u32 = 26;
/// Largest number of descriptors of a queue.
const QUEUE_SIZE: u16 = 256;

/// A service, which waits here while the device is not active.
type Service = Arc<Mutex<Box<dyn FuseService>>>;

/// A file system: queue 0 is for urgent requests, queue 1 for all others; each has a thread
/// of its own and is answered in order. Its state is that of its rings: which files the
/// guest knows is the service's, and a new service does not know them.
pub struct FileSystem {
    tag: [u8; TAG_SIZE],
    services: [Service; 2],
    workers: Workers,
}

impl fmt::Debug for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSystem")
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

impl FileSystem {
    /// A file system that drivers know as `tag`, at most 36 bytes. The service answers both
    /// queues, a request at a time: what is forgotten urgently is what was looked up.
    pub fn new(tag: &str, service: Box<dyn FuseService>) -> Self {
        let service = Arc::new(Mutex::new(service));
        Self::of(tag, [Arc::clone(&service), service])
    }

    /// As [`FileSystem::new`], with a service of its own for the urgent queue: for those whose
    /// ordinary requests may wait for long.
    pub fn with_urgent(
        tag: &str,
        urgent: Box<dyn FuseService>,
        requests: Box<dyn FuseService>,
    ) -> Self {
        Self::of(
            tag,
            [urgent, requests].map(|service| Arc::new(Mutex::new(service))),
        )
    }

    fn of(tag: &str, services: [Service; 2]) -> Self {
        Self {
            tag: tag_bytes(tag),
            services,
            workers: Workers::default(),
        }
    }
}

impl VirtioDevice for FileSystem {
    fn id(&self) -> u32 {
        ID
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; self.services.len()]
    }

    fn config_size(&self) -> u32 {
        TAG_SIZE as u32 + 4
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let request_queues = 1_u32.to_le_bytes();
        let config = [&self.tag[..], &request_queues].concat();
        read_bytes(&config, offset, data);
    }

    fn activate(&mut self, activation: Activation) -> io::Result<()> {
        for (number, service) in self.services.iter().enumerate() {
            let Some(queue) = activation.queue(number) else {
                continue;
            };
            let (service, memory) = (Arc::clone(service), activation.memory.clone());
            let notifier = Arc::clone(queue.notifier());
            let name = format!("virtio-fs-{number}");
            self.workers.start(&name, &notifier, move |stop| {
                queue.drain(stop, |chain| {
                    let mut service = service.lock().unwrap_or_else(PoisonError::into_inner);
                    answer(chain, &memory, service.as_mut())
                });
            })?;
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.workers.stop();
    }
}
