//! A driver's side of rings in guest memory.

use std::fs::File;
use std::time::{Duration, Instant};

use device_virtio::VirtioDevice;
use machine_memory::GuestMemory;

use crate::access::{Access, Mmio, Pci};

pub(crate) const INDIRECT: u64 = 1 << 28;
pub(crate) const EVENT_INDEX: u64 = 1 << 29;
pub(crate) const VERSION_1: u64 = 1 << 32;

const SPAN: u64 = 16 << 20;
/// Bytes of guest memory for each queue's rings.
const RINGS: u64 = 0x10000;
/// Where buffers start.
const BUFFERS: u64 = 1 << 20;
/// Descriptors of a ring.
pub(crate) const SIZE: u16 = 16;

/// How long anything may take before a test fails: no figure, just no hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn memory() -> GuestMemory {
    let file: File = tempfile::tempfile().expect("there is room");
    file.set_len(SPAN).expect("it can grow");
    GuestMemory::new(file, SPAN).expect("the host has room")
}

/// Waits until `done`.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[derive(Clone, Copy, Default)]
struct Ring {
    available: u16,
    used: u16,
    next_descriptor: u16,
}

/// A driver of one device.
pub(crate) struct Driver<A> {
    pub(crate) access: A,
    pub(crate) memory: GuestMemory,
    pub(crate) features: u64,
    rings: Vec<Ring>,
    next_buffer: u64,
}

/// A chain that was made available: where its writable buffers are.
pub(crate) struct Sent {
    pub(crate) head: u16,
    pub(crate) writable: Vec<(u64, u32)>,
}

impl Driver<Mmio> {
    pub(crate) fn mmio(device: impl VirtioDevice + 'static, features: u64) -> Self {
        let memory = memory();
        Self::started(Mmio::new(Box::new(device), &memory), memory, features)
    }
}

impl Driver<Pci> {
    pub(crate) fn pci(device: impl VirtioDevice + 'static, features: u64, msix: bool) -> Self {
        let memory = memory();
        Self::started(Pci::new(Box::new(device), &memory, msix), memory, features)
    }
}

impl<A: Access> Driver<A> {
    /// As far as "driver ok".
    pub(crate) fn started(access: A, memory: GuestMemory, features: u64) -> Self {
        let mut driver = Self {
            access,
            memory,
            features: 0,
            rings: Vec::new(),
            next_buffer: BUFFERS,
        };
        driver.start(features);
        driver
    }

    pub(crate) fn start(&mut self, features: u64) {
        let access = &self.access;
        access.set_status(0);
        assert_eq!(access.status(), 0);
        access.set_status(1);
        access.set_status(3);
        self.features = (features | VERSION_1) & access.features();
        access.accept(self.features);
        access.set_status(11);
        assert_eq!(access.status(), 11);
        self.rings.clear();
        for queue in 0.. {
            let most = access.queue_max(queue);
            if most == 0 {
                break;
            }
            let blank = vec![0; RINGS as usize];
            self.memory
                .write(rings_of(queue), &blank)
                .expect("in memory");
            access.set_queue(queue, most.min(SIZE), Self::areas(queue));
            self.rings.push(Ring::default());
        }
        access.set_status(15);
    }

    pub(crate) fn areas(queue: u16) -> [u64; 3] {
        let base = rings_of(queue);
        [base, base + 0x4000, base + 0x8000]
    }

    pub(crate) fn write(&self, address: u64, bytes: &[u8]) {
        self.memory.write(address, bytes).expect("in memory");
    }

    pub(crate) fn read(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory.read(address, &mut bytes).expect("in memory");
        bytes
    }

    pub(crate) fn word(&self, address: u64) -> u16 {
        let bytes = self.read(address, 2);
        u16::from_le_bytes([bytes[0], bytes[1]])
    }

    pub(crate) fn buffer(&mut self, length: usize) -> u64 {
        let at = self.next_buffer;
        self.next_buffer += (length as u64).next_multiple_of(16);
        if self.next_buffer >= SPAN {
            self.next_buffer = BUFFERS + (length as u64).next_multiple_of(16);
            return BUFFERS;
        }
        at
    }

    /// Makes a chain available without telling the device.
    pub(crate) fn add(&mut self, queue: u16, readable: &[&[u8]], writable: &[usize]) -> Sent {
        let mut descriptors = Vec::new();
        for bytes in readable {
            let at = self.buffer(bytes.len());
            self.write(at, bytes);
            descriptors.push((at, bytes.len() as u32, 0));
        }
        let mut targets = Vec::new();
        for &length in writable {
            let at = self.buffer(length);
            self.write(at, &vec![0xee; length]);
            descriptors.push((at, length as u32, 2));
            targets.push((at, length as u32));
        }
        let head = self.add_descriptors(queue, &descriptors);
        Sent {
            head,
            writable: targets,
        }
    }

    /// Puts descriptors (address, length, flags) into the table, or behind one if indirect
    /// ones were negotiated, and makes them available.
    pub(crate) fn add_descriptors(&mut self, queue: u16, list: &[(u64, u32, u16)]) -> u16 {
        let base = rings_of(queue);
        let head = self.rings[usize::from(queue)].next_descriptor;
        if self.features & INDIRECT != 0 {
            let table = self.buffer(16 * list.len());
            for (number, descriptor) in (0..).zip(list) {
                self.put(
                    table,
                    number,
                    *descriptor,
                    number + 1,
                    usize::from(number) + 1 == list.len(),
                );
            }
            self.put(base, head, (table, 16 * list.len() as u32, 4), 0, true);
            self.rings[usize::from(queue)].next_descriptor = (head + 1) % SIZE;
        } else {
            let mut at = head;
            for (number, descriptor) in list.iter().enumerate() {
                let next = (at + 1) % SIZE;
                self.put(base, at, *descriptor, next, number + 1 == list.len());
                at = next;
            }
            self.rings[usize::from(queue)].next_descriptor = at;
        }
        self.make_available(queue, head);
        head
    }

    fn put(
        &self,
        table: u64,
        at: u16,
        (address, length, flags): (u64, u32, u16),
        next: u16,
        last: bool,
    ) {
        let flags = flags | u16::from(!last);
        let bytes = [
            &address.to_le_bytes()[..],
            &length.to_le_bytes(),
            &flags.to_le_bytes(),
            &next.to_le_bytes(),
        ];
        self.write(table + 16 * u64::from(at), &bytes.concat());
    }

    pub(crate) fn make_available(&mut self, queue: u16, head: u16) {
        let [_, available, _] = Self::areas(queue);
        let ring = &mut self.rings[usize::from(queue)];
        let slot = available + 4 + 2 * u64::from(ring.available % SIZE);
        ring.available = ring.available.wrapping_add(1);
        let index = ring.available;
        self.write(slot, &head.to_le_bytes());
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        self.write(available + 2, &index.to_le_bytes());
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }

    pub(crate) fn kick(&self, queue: u16) {
        self.access.notify(queue);
    }

    /// How many chains were given back that were not taken.
    pub(crate) fn used_count(&self, queue: u16) -> u16 {
        let [_, _, used] = Self::areas(queue);
        let index = self.word(used + 2);
        index.wrapping_sub(self.rings[usize::from(queue)].used)
    }

    /// Waits for the next used chain: its head and length.
    pub(crate) fn take_used(&mut self, queue: u16) -> (u16, u32) {
        wait_until("a used buffer", || self.used_count(queue) > 0);
        let [_, available, used] = Self::areas(queue);
        let ring = &mut self.rings[usize::from(queue)];
        let slot = used + 4 + 8 * u64::from(ring.used % SIZE);
        ring.used = ring.used.wrapping_add(1);
        let event = ring.used;
        if self.features & EVENT_INDEX != 0 {
            self.write(available + 4 + 2 * u64::from(SIZE), &event.to_le_bytes());
        }
        let bytes = self.read(slot, 8);
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        (word(0) as u16, word(4))
    }

    /// Sends one chain and waits for it: the bytes of its writable buffers, as far as the
    /// device says that it wrote, and that number.
    pub(crate) fn call(
        &mut self,
        queue: u16,
        readable: &[&[u8]],
        writable: &[usize],
    ) -> (Vec<u8>, u32) {
        let sent = self.add(queue, readable, writable);
        self.kick(queue);
        let (head, length) = self.take_used(queue);
        assert_eq!(head, sent.head);
        (self.answer(&sent), length)
    }

    /// What is in a chain's writable buffers.
    pub(crate) fn answer(&self, sent: &Sent) -> Vec<u8> {
        let parts = sent
            .writable
            .iter()
            .map(|&(at, length)| self.read(at, length as usize));
        parts.collect::<Vec<_>>().concat()
    }

    pub(crate) fn config_bytes<const N: usize>(&self, offset: u64) -> [u8; N] {
        let mut data = [0; N];
        self.access.config(offset, &mut data);
        data
    }
}

fn rings_of(queue: u16) -> u64 {
    RINGS + RINGS * u64::from(queue)
}
