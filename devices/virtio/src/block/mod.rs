//! The block device (virtio 1.2, 5.2) on a [`Disk`].
//!
//! One queue, served by several threads, so that as many requests are in flight. A
//! request whose header or status byte is not in memory breaks the queue; all others get a
//! status, whatever they ask for.

mod request;

use std::fmt;
use std::io;
use std::sync::Arc;

use backend_block::{Disk, SECTOR};

use crate::device::{Activation, VirtioDevice, read_bytes};
use crate::queue::Virtqueue;
use crate::worker::{Stop, Workers};
use request::Server;

const ID: u32 = 2;
/// Largest number of descriptors of the queue.
const QUEUE_SIZE: u16 = 256;
/// Most data buffers of a request: a table's worth, without header and status.
const SEGMENTS_MAX: u32 = QUEUE_SIZE as u32 - 2;
/// Threads, and so requests in flight, unless said otherwise.
pub const THREADS: usize = 4;

const FEATURE_SEGMENTS: u64 = 1 << 2;
const FEATURE_READ_ONLY: u64 = 1 << 5;
const FEATURE_BLOCK_SIZE: u64 = 1 << 6;
const FEATURE_FLUSH: u64 = 1 << 9;
const FEATURE_DISCARD: u64 = 1 << 13;
const FEATURE_WRITE_ZEROES: u64 = 1 << 14;

/// Most ranges of one discard or write-zeroes request.
const RANGES_MAX: u32 = 16;
/// Most sectors of one range to discard.
const DISCARD_MAX: u32 = 1 << 21;
/// Most sectors of one range to write zeroes to, which may mean really writing them.
const ZEROES_MAX: u32 = 1 << 15;
/// Sectors to which ranges to discard should be aligned: a page of the host.
const DISCARD_ALIGNMENT: u32 = 8;
const CONFIG_SIZE: u32 = 60;

/// A block device.
pub struct Block {
    disk: Arc<dyn Disk>,
    threads: usize,
    workers: Workers,
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = self.disk.identity();
        f.debug_struct("Block")
            .field("disk", &disk)
            .finish_non_exhaustive()
    }
}

impl Block {
    /// A device with this disk and at most `threads` requests in flight, at least 1.
    pub fn new(disk: Arc<dyn Disk>, threads: usize) -> Self {
        Self {
            disk,
            threads: threads.max(1),
            workers: Workers::default(),
        }
    }

    /// The device's configuration (5.2.4). What goes with features not offered is zero.
    fn config(&self) -> Vec<u8> {
        let mut config = Vec::with_capacity(CONFIG_SIZE as usize);
        config.extend((self.disk.size() / SECTOR).to_le_bytes());
        config.extend(
            [0, SEGMENTS_MAX, 0, SECTOR as u32]
                .map(u32::to_le_bytes)
                .concat(),
        );
        // Topology, writeback, number of queues.
        config.extend([0; 12]);
        let discard = [DISCARD_MAX, RANGES_MAX, DISCARD_ALIGNMENT];
        config.extend(discard.map(u32::to_le_bytes).concat());
        config.extend([ZEROES_MAX, RANGES_MAX].map(u32::to_le_bytes).concat());
        // Zeroes may unmap.
        config.extend([1, 0, 0, 0]);
        config
    }
}

impl VirtioDevice for Block {
    fn id(&self) -> u32 {
        ID
    }

    fn features(&self) -> u64 {
        let always = FEATURE_SEGMENTS | FEATURE_BLOCK_SIZE | FEATURE_FLUSH;
        if self.disk.is_read_only() {
            return always | FEATURE_READ_ONLY;
        }
        always | FEATURE_DISCARD | FEATURE_WRITE_ZEROES
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE]
    }

    fn config_size(&self) -> u32 {
        CONFIG_SIZE
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_bytes(&self.config(), offset, data);
    }

    fn activate(&mut self, activation: Activation) -> io::Result<()> {
        let Some(queue) = activation.queue(0) else {
            return Ok(());
        };
        for number in 0..self.threads {
            let server = Server {
                disk: Arc::clone(&self.disk),
                memory: activation.memory.clone(),
                // A driver that never flushes must find its writes durable (5.2.6.2).
                writes_through: activation.features & FEATURE_FLUSH == 0,
            };
            let (queue, notifier) = (Arc::clone(&queue), Arc::clone(queue.notifier()));
            let name = format!("virtio-block-{number}");
            self.workers
                .start(&name, &notifier, move |stop| work(&queue, &server, stop))?;
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.workers.stop();
    }
}

/// Serves requests until there is none; wakes another thread when there are more.
fn work(queue: &Virtqueue, server: &Server, stop: &Stop) {
    queue.drain(stop, |chain| {
        if queue.has_more() {
            queue.notifier().notify();
        }
        server.serve(chain)
    });
}
