//! The file system device.
//!
//! Queue 0 is for urgent requests (interrupts, forgets), queue 1 for all others; each
//! is served by a thread of its own, in order.

use std::io;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use backend_fs::service::{FuseService, Reply, Request};
use guest_abi::device::{self, DevicePage, STATUS_DRIVER_OK};
use guest_abi::fuse::OutHeader;
use guest_abi::layout;
use machine_bus::Doorbells;
use machine_memory::{GuestMemory, MemoryError, Page, Pieces};
use virtio_queue::{Queue, QueueT};
use vm_memory::GuestMemoryMmap;
use zerocopy::IntoBytes;

/// Queue of urgent requests.
pub const QUEUE_URGENT: u16 = 0;
/// Queue of ordinary requests.
pub const QUEUE_REQUESTS: u16 = 1;
/// Largest number of descriptors of a queue.
const QUEUE_SIZE: u16 = 256;
/// Feature bit: the device follows virtio 1.
const VERSION_1: u64 = 1 << 32;

/// One file system device of a machine.
#[derive(Clone)]
pub struct FsDevice {
    number: u32,
    memory: GuestMemory,
    bells: Arc<dyn Doorbells>,
}

impl FsDevice {
    /// Puts the device on its page, where the guest finds it. `tag` names it.
    ///
    /// # Errors
    /// When the machine's memory has no such page.
    pub fn new(
        number: u32,
        tag: &str,
        memory: &GuestMemory,
        bells: Arc<dyn Doorbells>,
    ) -> Result<Self, MemoryError> {
        let page = Self::page(number, memory)?;
        page.queue_size_max
            .store(u32::from(QUEUE_SIZE), Ordering::Relaxed);
        page.queue_count.store(2, Ordering::Relaxed);
        page.device_features.store(VERSION_1, Ordering::Relaxed);
        let mut name = [0u8; 36];
        name.iter_mut()
            .zip(tag.bytes())
            .for_each(|(to, from)| *to = from);
        for (word, bytes) in page.config.iter().zip(name.chunks_exact(4)) {
            let value = bytes.try_into().map_or(0, u32::from_le_bytes);
            word.store(value, Ordering::Relaxed);
        }
        page.config[9].store(1, Ordering::Relaxed);
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

    /// Serves one queue until the machine ends; the thread's whole life.
    pub fn serve(&self, queue: u16, service: &mut dyn FuseService) {
        let mut ring: Option<Queue> = None;
        let mut seen = 0;
        while let Some(count) = self.bells.wait(self.number, queue, seen) {
            seen = count;
            if ring.is_none() {
                ring = self.configure(queue);
            }
            if let Some(ring) = &mut ring {
                self.drain(ring, service);
            }
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
        let mapping: &GuestMemoryMmap<()> = self.memory.mapping();
        while let Some(chain) = ring.pop_descriptor_chain(Memory(mapping)) {
            let head = chain.head_index();
            let length = self.answer(chain, service).unwrap_or(0);
            if ring.add_used(mapping, head, length).is_err() {
                return;
            }
            self.bells.complete(self.number);
        }
    }

    /// Answers one request; `None` for a chain that points outside of the memory.
    fn answer(
        &self,
        chain: virtio_queue::DescriptorChain<Memory<'_>>,
        service: &mut dyn FuseService,
    ) -> Option<u32> {
        let range = |descriptor: virtio_queue::desc::split::Descriptor| {
            (descriptor.addr().0, descriptor.len())
        };
        let readable = self
            .memory
            .pieces(chain.clone().readable().map(range))
            .ok()?;
        let writable: Vec<_> = chain.writable().map(range).collect();
        let mut header = self.memory.pieces(writable.iter().copied()).ok()?;
        let mut body = self.memory.pieces(writable.into_iter()).ok()?;
        body.read(&mut [0; size_of::<OutHeader>()]);
        let mut request = ChainRequest(readable);
        let mut reply = ChainReply {
            header: &mut header,
            body,
        };
        Some(service.serve(&mut request, &mut reply))
    }
}

/// Guest memory as the queue's crate wants it passed.
#[derive(Clone, Copy)]
struct Memory<'m>(&'m GuestMemoryMmap<()>);

impl Deref for Memory<'_> {
    type Target = GuestMemoryMmap<()>;

    fn deref(&self) -> &Self::Target {
        self.0
    }
}

struct ChainRequest<'m>(Pieces<'m>);

impl Request for ChainRequest<'_> {
    fn remaining(&self) -> usize {
        self.0.remaining()
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        self.0.read(into)
    }

    fn copy_to_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: Option<u64>,
        len: usize,
    ) -> io::Result<usize> {
        self.0.drain_to(file, offset, len)
    }
}

struct ChainReply<'m, 'h> {
    header: &'h mut Pieces<'m>,
    body: Pieces<'m>,
}

impl Reply for ChainReply<'_, '_> {
    fn remaining(&self) -> usize {
        self.body.remaining()
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        self.body.write(bytes)
    }

    fn copy_from_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: Option<u64>,
        len: usize,
    ) -> io::Result<usize> {
        self.body.fill_from(file, offset, len)
    }

    fn set_header(&mut self, header: OutHeader) {
        self.header.write(header.as_bytes());
    }
}
