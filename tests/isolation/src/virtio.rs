//! PCI functions and virtio devices under a driver that follows a script.

use std::sync::Arc;

use backend_block::testing::MemoryDisk;
use device_pci::{ConfigPorts, Ecam, Function, PciHost, Room, Window};
use device_virtio::block::Block;
use device_virtio::console::{Console, Input, Output};
use device_virtio::rng::Rng;
use device_virtio::{VirtioMmio, VirtioPci};
use machine_bus::{Device, Message, MessageTarget, NoLine};
use machine_memory::GuestMemory;
use rustix::fs::MemfdFlags;

use crate::script::Script;

/// All of it within reach of 20 bits.
const SPAN: u64 = 1 << 20;
/// Where the functions' memory is put.
const WINDOW: u64 = 0xe000_0000;
/// A queue's rings, where the script finds them.
pub(crate) const RINGS: [u64; 3] = [0x1000, 0x2000, 0x3000];
const QUEUE_SIZE: u32 = 16;
/// The console's configuration, in slot 1, and its message control there.
const CONSOLE: u64 = 1 << 15;
const MSIX_CONTROL: u64 = 0x43;
/// Its table of messages, in its memory.
const MSIX_TABLE: u64 = 0x8000;

struct Nowhere;

impl MessageTarget for Nowhere {
    fn send(&self, _: Message) {}
}

impl Output for Nowhere {
    fn write(&mut self, _: &[u8]) {}
}

fn memory() -> GuestMemory {
    memory_of(SPAN)
}

/// Guest memory of `span` bytes.
pub(crate) fn memory_of(span: u64) -> GuestMemory {
    let file = rustix::fs::memfd_create("machine", MemfdFlags::CLOEXEC);
    let file = std::fs::File::from(file.expect("the host has memory files"));
    file.set_len(span).expect("it can be made longer");
    GuestMemory::new(file, span).expect("the host has room")
}

/// A PCI bus with a console and an entropy device.
struct Machine {
    host: Arc<PciHost>,
    functions: [Arc<VirtioPci>; 2],
    memory: GuestMemory,
}

impl Machine {
    /// `setup`: bit 0, the console is set up well; bit 1, the console's messages are.
    fn new(setup: u8, messages: &Arc<dyn MessageTarget>) -> Self {
        let (host, memory) = (Arc::new(PciHost::new()), memory());
        let input = Input::default();
        input.offer(b"something to read");
        let new = |device| {
            let (memory, messages) = (memory.clone(), Arc::clone(messages));
            Arc::new(VirtioPci::new(
                device,
                memory,
                messages,
                Some(Arc::new(NoLine)),
            ))
        };
        let console = Console::new(input, Box::new(Nowhere));
        let functions = [new(Box::new(console)), new(Box::new(Rng::new()))];
        for (slot, function) in (1..).zip(&functions) {
            host.plug(slot, function.clone()).expect("it fits");
        }
        let room = Room {
            low: WINDOW..=WINDOW + 0xf_ffff,
            high: WINDOW..=WINDOW,
        };
        host.assign(&room).expect("there is room");
        if setup & 2 != 0 {
            enable_messages(&host);
        }
        if setup & 1 != 0 {
            start_console(functions[0].as_ref(), setup & 2 != 0);
        }
        Self {
            host,
            functions,
            memory,
        }
    }
}

/// A bus with a console and an entropy device, whose functions the script drives by ports,
/// configuration and PCI memory, and whose rings and buffers it writes. Half of the scripts find
/// the console set up well, half of those with messages.
///
/// # Panics
/// When the bus or a device does, or reaches a state that it refuses.
pub fn virtio_pci(data: &[u8]) {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    let nowhere: Arc<dyn MessageTarget> = Arc::new(Nowhere);
    let machine = Machine::new(*first, &nowhere);
    let host = &machine.host;
    drive(host, &machine.memory, rest);
    host.restore(&host.save()).expect("it was reached");
    for function in machine.functions {
        function.restore(&function.save()).expect("it was reached");
    }
}

/// Gives every vector of the console's a message and enables them, by its configuration and
/// its memory.
fn enable_messages(host: &Arc<PciHost>) {
    let ecam = Ecam::new(Arc::clone(host));
    let table = host.ranges().first().map_or(0, |range| range.first) + MSIX_TABLE;
    for entry in (table..).step_by(16).take(3) {
        host.write_memory(entry, &0xfee0_0000_u64.to_le_bytes());
        host.write_memory(entry + 8, &[0x41, 0, 0, 0, 0, 0, 0, 0]);
    }
    ecam.write(CONSOLE + MSIX_CONTROL, &[0x80]);
}

/// Negotiates and places both queues.
fn start_console(function: &VirtioPci, messages: bool) {
    let write = |offset: u64, data: &[u8]| function.write(0, offset, data);
    let vector = |number: u8| if messages { [number, 0] } else { [0xff; 2] };
    write(16, &vector(0));
    write(20, &[3]);
    write(8, &[1, 0, 0, 0]);
    write(12, &[1, 0, 0, 0]);
    write(20, &[11]);
    for queue in [0, 1_u8] {
        write(22, &[queue, 0]);
        write(26, &vector(queue + 1));
        write(24, &(QUEUE_SIZE as u16).to_le_bytes());
        for (offset, ring) in [32, 40, 48].into_iter().zip(RINGS) {
            write(offset, &(ring + u64::from(queue) * 0x8000).to_le_bytes());
        }
        write(28, &[1, 0]);
    }
    write(20, &[15]);
}

fn drive(host: &Arc<PciHost>, memory: &GuestMemory, data: &[u8]) {
    let ports = ConfigPorts::new(Arc::clone(host), Arc::new(NoLine));
    let ecam = Ecam::new(Arc::clone(host));
    let window = Window::new(Arc::clone(host), WINDOW);
    let mut script = Script::new(data);
    while let Some(kind) = script.byte() {
        let (offset, value) = (script.number::<3>(), script.number::<4>());
        let length = 1 << (kind >> 4 & 3);
        let device: (&dyn Device, u64) = match kind & 7 {
            0 => (&ports, offset & 7),
            1 | 2 => (&ecam, offset & 0x1_ffff),
            3..=5 => (&window, offset & 0x1_ffff),
            _ => {
                let bytes = script.bytes(usize::from(kind >> 3));
                // What lies outside is refused, which is as good as any other step.
                let _ = memory.write(offset & (SPAN - 1), bytes);
                continue;
            }
        };
        let (device, offset) = device;
        let mut bytes = value.to_le_bytes();
        if kind & 0x80 == 0 {
            device.write(offset, &bytes[..length]);
        } else {
            device.read(offset, &mut bytes[..length]);
        }
    }
}

/// A block device that was set up well; the script writes rings and buffers, and notifies.
///
/// # Panics
/// When the device does.
pub fn virtio_block(data: &[u8]) {
    let memory = memory();
    let disk = MemoryDisk::new(vec![7; 64 * 512], false);
    disk.break_sector(33);
    let block = Block::new(Arc::new(disk), 2);
    let device = VirtioMmio::new(Box::new(block), memory.clone(), Arc::new(NoLine));
    start(&device, data.first().copied().unwrap_or(0));
    one_request(&memory);
    device.write(0x50, &[0; 4]);
    let mut script = Script::new(data.get(1..).unwrap_or_default());
    while let Some(shape) = script.byte() {
        let offset = script.number::<2>();
        let bytes = script.bytes(usize::from(shape & 0x7f));
        let _ = memory.write(offset, bytes);
        if shape & 0x80 != 0 {
            device.write(0x50, &[0; 4]);
        }
    }
    device.restore(&device.save()).expect("it was reached");
}

/// Negotiates, with or without indirect descriptors, event index and flush, and places the
/// queue.
fn start(device: &VirtioMmio, features: u8) {
    let write = |offset: u64, value: u32| device.write(offset, &value.to_le_bytes());
    let rings = u32::from(features & 3) << 28 | u32::from(features & 4) << 7;
    for (offset, value) in [
        (0x70, 1),
        (0x70, 3),
        (0x24, 1),
        (0x20, 1),
        (0x24, 0),
        (0x20, rings),
        (0x70, 11),
    ] {
        write(offset, value);
    }
    write(0x38, QUEUE_SIZE);
    for (offset, ring) in [0x80, 0x90, 0xa0].into_iter().zip(RINGS) {
        write(offset, ring as u32);
    }
    write(0x44, 1);
    write(0x70, 15);
}

/// Reads sector 1: header, a sector, status; so that a script of a few bytes does something.
fn one_request(memory: &GuestMemory) {
    let [table, available, _] = RINGS;
    let chain = [
        (0x4000, 16_u64 | 1 << 32 | 1 << 48),
        (0x5000, 512 | 3 << 32 | 2 << 48),
        (0x6000, 1 | 2 << 32),
    ];
    for (at, (address, rest)) in (table..).step_by(16).zip(chain) {
        let descriptor = [address, rest].map(u64::to_le_bytes).concat();
        memory.write(at, &descriptor).expect("it is in memory");
    }
    memory.write(0x4008, &[1]).expect("it is in memory");
    memory.write(available + 2, &[1]).expect("it is in memory");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    /// Queue 0's place for notifications in the console's memory.
    const NOTIFY: u32 = 0x3000;

    /// Keeps the last message.
    #[derive(Default)]
    struct Last(AtomicU64);

    impl MessageTarget for Last {
        fn send(&self, message: Message) {
            let both = message.address << 32 | u64::from(message.data);
            self.0.store(both, Ordering::SeqCst);
        }
    }

    /// A step of a script: kind, offset, value.
    fn step(kind: u8, offset: u32, value: u32) -> Vec<u8> {
        let offset = offset.to_le_bytes();
        [&[kind], &offset[..3], &value.to_le_bytes()].concat()
    }

    /// A step that writes memory.
    fn put(address: u32, bytes: &[u8]) -> Vec<u8> {
        let kind = 6 | (bytes.len() as u8) << 3;
        [&step(kind, address, 0), bytes].concat()
    }

    #[test]
    fn a_script_reaches_buffers_and_their_messages() {
        let last = Arc::new(Last::default());
        let messages: Arc<dyn MessageTarget> = last.clone();
        let machine = Machine::new(3, &messages);
        let script = [
            put(0x1000, &0x4000_u64.to_le_bytes()),
            put(0x1008, &[16, 0, 0, 0, 2, 0, 0, 0]),
            put(0x2002, &[1, 0]),
            step(3 | 1 << 4, NOTIFY, 0),
        ];
        drive(&machine.host, &machine.memory, &script.concat());
        let start = Instant::now();
        while last.0.load(Ordering::SeqCst) == 0 {
            assert!(start.elapsed() < Duration::from_secs(20), "no message");
            std::thread::yield_now();
        }
        assert_eq!(last.0.load(Ordering::SeqCst), 0xfee0_0000_0000_0041);
    }

    #[test]
    fn both_ways_into_configuration_space_reach_the_same() {
        let nowhere: Arc<dyn MessageTarget> = Arc::new(Nowhere);
        let machine = Machine::new(0, &nowhere);
        let host = &machine.host;
        let line = |slot: u8| {
            let functions = host.save().functions;
            let function = functions.into_iter().find(|function| function.slot == slot);
            function.expect("it is there").config.registers[0x3c]
        };
        // The interrupt line, by ports and by memory.
        let ports = [step(2 << 4, 0, 0x8000_083c), step(0, 4, 7)];
        drive(host, &machine.memory, &ports.concat());
        drive(host, &machine.memory, &step(1, 2 << 15 | 0x3c, 9));
        assert_eq!([line(1), line(2)], [7, 9]);
    }
}
