//! A device and its rings under a driver that follows a script.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use backend_fs::service::{FuseService, Reply, Request};
use device_virtio::fs::{FsDevice, QUEUE_REQUESTS};
use guest_abi::device::{DevicePage, STATUS_DRIVER_OK};
use guest_abi::fuse::OutHeader;
use guest_abi::layout::{DEVICE_PAGES, PAGE_SIZE};
use machine_bus::{Doorbells, Look};
use machine_memory::{GuestMemory, Page};
use rustix::fs::MemfdFlags;

/// Guest memory: the device's page and some after it.
const SPAN: u64 = DEVICE_PAGES + 64 * PAGE_SIZE;
/// Where a well-behaved driver puts its rings; all within reach of 16 bits.
const RINGS: u64 = DEVICE_PAGES + 16 * PAGE_SIZE;
/// Descriptors of a ring that the script does not choose.
const QUEUE_SIZE: u32 = 8;
/// Most chains that the device takes between two rings before the script steps in: the
/// largest ring, whatever the driver's index says.
const CHAINS_MAX: usize = 1 << 16;

/// Writes to memory, one step a ring: address (16 bits, from a base), length, bytes.
struct Script {
    bytes: Vec<u8>,
    at: usize,
}

impl Script {
    /// The next write; `None` at the end.
    fn step(&mut self, memory: &GuestMemory, base: u64) -> Option<bool> {
        let rest = self.bytes.get(self.at..)?;
        let (&[low, high, shape], tail) = rest.split_first_chunk()?;
        let length = usize::from(shape & 0x7f).min(tail.len());
        let (bytes, _) = tail.split_at(length);
        self.at += 3 + length;
        let address = base + u64::from(u16::from_le_bytes([low, high]));
        // What lies outside is refused, which is as good as any other step.
        let _ = memory.write(address, bytes);
        Some(shape & 0x80 != 0)
    }
}

/// The driver's side: steps of the script up to the one that rings.
struct Driver {
    script: Mutex<Script>,
    memory: GuestMemory,
    base: u64,
    count: AtomicU32,
    answered: AtomicUsize,
}

impl Doorbells for Driver {
    fn wait(&self, _: u32, _: u16, _: u32, _: Look) -> Option<u32> {
        self.answered.store(0, Ordering::Relaxed);
        let mut script = self.script.lock().ok()?;
        while !script.step(&self.memory, self.base)? {}
        Some(self.count.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn complete(&self, _: u32) {
        let answered = self.answered.fetch_add(1, Ordering::Relaxed);
        assert!(answered < CHAINS_MAX, "the device feeds itself");
    }

    fn ring(&self, _: u32, _: u16) {}
}

/// Sends back what it got, in pieces of a size that depends on the first byte.
struct Echo;

impl FuseService for Echo {
    fn serve(&mut self, request: &mut dyn Request, reply: &mut dyn Reply) -> u32 {
        let mut bytes = [0; 512];
        let got = request.read(&mut bytes);
        let size = usize::from(bytes[0]).max(1);
        let mut sent = 0;
        for piece in bytes[..got].chunks(size) {
            sent += reply.write(piece);
        }
        let _: io::Result<usize> = sink(request, reply);
        let len = (sent + size_of::<OutHeader>()) as u32;
        let unique = u64::from(bytes[0]);
        reply.set_header(OutHeader {
            len,
            error: 0,
            unique,
        });
        len
    }
}

/// The paths that move bytes between memory and a file.
fn sink(request: &mut dyn Request, reply: &mut dyn Reply) -> io::Result<usize> {
    use std::os::fd::AsFd;
    let file = rustix::fs::memfd_create("echo", MemfdFlags::CLOEXEC)?;
    let moved = request.copy_to_file(file.as_fd(), Some(0), 4096)?;
    reply.copy_from_file(file.as_fd(), Some(0), moved)
}

fn memory() -> GuestMemory {
    let file = rustix::fs::memfd_create("machine", MemfdFlags::CLOEXEC);
    let file = std::fs::File::from(file.expect("the host has memory files"));
    file.set_len(SPAN).expect("it can be made longer");
    GuestMemory::new(file, SPAN).expect("the host has room")
}

/// Lets a device run while `data` writes from `base` on.
fn drive(memory: &GuestMemory, base: u64, data: &[u8]) {
    let driver = Arc::new(Driver {
        script: Mutex::new(Script {
            bytes: data.to_vec(),
            at: 0,
        }),
        memory: memory.clone(),
        base,
        count: AtomicU32::new(0),
        answered: AtomicUsize::new(0),
    });
    let device = FsDevice::new(0, ("fuzz", 1), memory, driver).expect("the page is there");
    device.serve(QUEUE_REQUESTS, &mut Echo);
}

/// A driver that sets the device up as it likes: the script writes to the device's page.
///
/// # Panics
/// When the device does.
pub fn device_page(data: &[u8]) {
    let memory = memory();
    place_rings(&memory);
    drive(&memory, DEVICE_PAGES, data);
}

/// A driver that set the device up well and writes what it likes to rings and buffers.
///
/// # Panics
/// When the device does.
pub fn virtio_queue(data: &[u8]) {
    let memory = memory();
    let page = place_rings(&memory);
    page.status.store(STATUS_DRIVER_OK, Ordering::Relaxed);
    // One chain of two descriptors, so that a script of a few bytes does something.
    let word = |at: u64, value: u64| memory.write(RINGS + at, &value.to_le_bytes());
    let next = 1 | 1 << 16;
    let written = [
        word(0, RINGS + 0x3000),
        word(8, 64 | next << 32),
        word(16, RINGS + 0x4000),
        word(24, 4096 | 2 << 32),
        word(0x1000, 1 << 16),
    ];
    assert!(written.iter().all(Result::is_ok), "the rings are in memory");
    drive(&memory, RINGS, data);
}

/// Puts the second queue's rings at their places.
fn place_rings(memory: &GuestMemory) -> Page<DevicePage> {
    let page: Page<DevicePage> = memory.page(DEVICE_PAGES).expect("it is in memory");
    let slot = &page.queues[usize::from(QUEUE_REQUESTS)];
    slot.size.store(QUEUE_SIZE, Ordering::Relaxed);
    slot.descriptors.store(RINGS, Ordering::Relaxed);
    slot.driver.store(RINGS + 0x1000, Ordering::Relaxed);
    slot.device.store(RINGS + 0x2000, Ordering::Relaxed);
    page
}
