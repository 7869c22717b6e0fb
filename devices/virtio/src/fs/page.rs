//! The file system device of machines whose kernel shares pages with the monitor.
//!
//! Queue 0 is for urgent requests (interrupts, forgets), the others for the rest; each
//! is served by a thread of its own, in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use backend_fs::service::FuseService;
use guest_abi::device::{self, DevicePage, STATUS_DRIVER_OK};
use guest_abi::layout;
use machine_bus::{Doorbells, Look};
use machine_memory::{GuestMemory, MemoryError, Page};
use virtio_queue::{Queue, QueueT};

use super::chain::answer;
use super::{QUEUE_REQUESTS, tag_bytes};
use crate::queue::{Chain, Memory};

/// Largest number of descriptors of a queue.
const QUEUE_SIZE: u16 = 256;
/// Feature bit: the device follows virtio 1.
const VERSION_1: u64 = 1 << 32;

/// One queue of such a device.
pub struct FsQueue {
    device: FsDevice,
    number: u16,
    /// Once the driver has set it up.
    ring: Option<Queue>,
}

impl FsQueue {
    /// Answers what the driver has made available.
    pub fn work(&mut self, service: &mut dyn FuseService) {
        if self.ring.is_none() {
            self.ring = self.device.configure(self.number);
        }
        if let Some(ring) = &mut self.ring {
            self.device.drain(ring, service);
        }
    }
}

/// One file system device of a machine.
#[derive(Clone)]
pub struct FsDevice {
    number: u32,
    memory: GuestMemory,
    bells: Arc<dyn Doorbells>,
}

impl FsDevice {
    /// Puts the device on its page, where the guest finds it. `tag` names it; it has `requests`
    /// queues beside the urgent one.
    ///
    /// # Errors
    /// When the machine's memory has no such page.
    pub fn new(
        number: u32,
        (tag, requests): (&str, u16),
        memory: &GuestMemory,
        bells: Arc<dyn Doorbells>,
    ) -> Result<Self, MemoryError> {
        let page = Self::page(number, memory)?;
        page.queue_size_max
            .store(u32::from(QUEUE_SIZE), Ordering::Relaxed);
        page.queue_count
            .store(u32::from(QUEUE_REQUESTS + requests), Ordering::Relaxed);
        page.device_features.store(VERSION_1, Ordering::Relaxed);
        let name = tag_bytes(tag);
        for (word, bytes) in page.config.iter().zip(name.chunks_exact(4)) {
            let value = bytes.try_into().map_or(0, u32::from_le_bytes);
            word.store(value, Ordering::Relaxed);
        }
        page.config[9].store(u32::from(requests), Ordering::Relaxed);
        page.device_id
            .store(device::DEVICE_ID_FS, Ordering::Release);
        Ok(Self {
            number,
            memory: memory.clone(),
            bells,
        })
    }

    fn page(number: u32, memory: &GuestMemory) -> Result<Page<DevicePage>, MemoryError> {
        memory.page(layout::DEVICE_PAGES + u64::from(number) * layout::PAGE_SIZE)
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Serves one queue until the machine ends; the thread's whole life.
    pub fn serve(&self, queue: u16, service: &mut dyn FuseService) {
        let mut served = self.queue(queue);
        let mut seen = 0;
        while let Some(count) = self.bells.wait(self.number, queue, seen, Look::Adaptive) {
            seen = count;
            served.work(service);
        }
    }

    /// Has the driver call the monitor whenever it rings for a queue, for which no thread waits.
    pub fn want_calls(&self, queue: u16) {
        let page = Self::page(self.number, &self.memory).ok();
        if let Some(slot) = page
            .as_ref()
            .and_then(|page| page.queues.get(usize::from(queue)))
        {
            slot.asleep.store(1, Ordering::SeqCst);
        }
    }

    /// One of its queues, for whoever serves it.
    #[must_use]
    pub fn queue(&self, number: u16) -> FsQueue {
        FsQueue {
            device: self.clone(),
            number,
            ring: None,
        }
    }

    /// Takes the driver's configuration of a queue, if it is ready and makes sense.
    fn configure(&self, queue: u16) -> Option<Queue> {
        let page = Self::page(self.number, &self.memory).ok()?;
        if page.status.load(Ordering::Acquire) & STATUS_DRIVER_OK == 0 {
            return None;
        }
        let slot = page.queues.get(usize::from(queue))?;
        let size = u16::try_from(slot.size.load(Ordering::Acquire)).ok()?;
        let mut ring = Queue::new(QUEUE_SIZE).ok()?;
        ring.set_size(size);
        let halves = |address: u64| (Some(address as u32), Some((address >> 32) as u32));
        let (low, high) = halves(slot.descriptors.load(Ordering::Relaxed));
        ring.set_desc_table_address(low, high);
        let (low, high) = halves(slot.driver.load(Ordering::Relaxed));
        ring.set_avail_ring_address(low, high);
        let (low, high) = halves(slot.device.load(Ordering::Relaxed));
        ring.set_used_ring_address(low, high);
        ring.set_ready(true);
        ring.is_valid(self.memory.mapping()).then_some(ring)
    }

    fn drain(&self, ring: &mut Queue, service: &mut dyn FuseService) {
        let mapping = self.memory.mapping();
        while let Some(chain) = ring.pop_descriptor_chain(Memory(mapping)) {
            let head = chain.head_index();
            let chain = Chain::new(chain);
            let length = chain.and_then(|chain| answer(&chain, &self.memory, service));
            let length = length.unwrap_or(0);
            if ring.add_used(mapping, head, length).is_err() {
                return;
            }
            self.bells.complete(self.number);
        }
    }
}
