//! A well set up network device whose driver writes what it likes to rings, frames, commands and
//! registers, and whose host end sends every frame back.

use std::sync::Arc;

use backend_net::{Abilities, Body, Delivery, FRAME_MAX, Guest, Head, Network, Offload, Source};
use device_virtio::VirtioMmio;
use device_virtio::net::{Config, Net};
use machine_bus::{Device, NoLine};
use machine_memory::GuestMemory;

use crate::script::Script;
use crate::virtio::{RINGS, memory_of};

/// Bytes of memory; writes reach the first quarter, where the rings are, and frames.
const SPAN: u64 = 1 << 18;
const RINGS_STEP: u64 = 0x8000;
const QUEUE_SIZE: u16 = 16;
/// Where frames and buffers are put, 4 KiB for each slot of each queue.
const BUFFERS: u64 = 0x2_0000;
const SLOT: u64 = 0x400;
/// Two pairs and a control queue.
const QUEUES: u16 = 5;
/// How often the device's threads get a turn after a notification.
const TURNS: u32 = 16;

/// Sends each frame back.
#[derive(Debug)]
struct Mirror;

impl Network for Mirror {
    fn abilities(&self) -> Abilities {
        Abilities::ALL
    }

    fn mtu(&self) -> u16 {
        1500
    }

    fn pairs(&self) -> usize {
        2
    }

    fn servers(&self) -> usize {
        0
    }

    fn transmit(&self, pair: usize, frame: &mut dyn Source, offload: Offload, guest: &dyn Guest) {
        let mut bytes = vec![0; frame.remaining()];
        assert!(bytes.len() <= FRAME_MAX, "no frame is longer");
        frame.peek(&mut bytes);
        let _ = frame.sum(bytes.len() / 2);
        let mut head = Head::default();
        head.offload = offload;
        let body = Body::Bytes(&bytes);
        let delivered = guest.deliver(pair, 0, body, &mut |_| Some(head));
        assert!(
            !matches!(delivered, Ok(Delivery::Done { moved, .. }) if moved != bytes.len()),
            "all or nothing"
        );
        guest.flush(pair);
    }

    fn wait(&self, _: usize) {}

    fn serve(&self, _: usize, _: &dyn Guest) {}

    fn rest(&self, _: usize) {}

    fn wake(&self) {}
}

struct Driver {
    device: VirtioMmio,
    memory: GuestMemory,
    made: [u16; QUEUES as usize],
}

impl Driver {
    fn start(features: u32) -> Self {
        let memory = memory_of(SPAN);
        let config = Config {
            mac: [2, 0, 0, 0, 0, 1],
            pairs: 2,
        };
        let net = Net::new(Arc::new(Mirror), config);
        let driver = Self {
            device: VirtioMmio::new(Box::new(net), memory.clone(), Arc::new(NoLine)),
            memory,
            made: [0; QUEUES as usize],
        };
        let offered = driver.get(0x10);
        for (register, value) in [(0x70, 1), (0x70, 3), (0x24, 1), (0x20, 1), (0x24, 0)] {
            driver.set(register, value);
        }
        driver.set(0x20, offered & !features);
        driver.set(0x70, 11);
        for queue in 0..QUEUES {
            driver.set(0x30, queue.into());
            driver.set(0x38, QUEUE_SIZE.into());
            for (register, ring) in [0x80, 0x90, 0xa0].into_iter().zip(RINGS) {
                driver.set(register, (ring + RINGS_STEP / 2 * u64::from(queue)) as u32);
            }
            driver.set(0x44, 1);
        }
        driver.set(0x70, 15);
        driver
    }

    fn set(&self, register: u64, value: u32) {
        self.device.write(register, &value.to_le_bytes());
    }

    fn get(&self, register: u64) -> u32 {
        let mut bytes = [0; 4];
        self.device.read(register, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn write(&self, address: u64, bytes: &[u8]) {
        // What lies outside is refused, which is as good as any other step.
        let _ = self.memory.write(address, bytes);
    }

    /// Makes a chain of what is read and what is written available.
    fn send(&mut self, queue: u16, bytes: &[u8], room: u32) {
        let made = &mut self.made[usize::from(queue)];
        let slot = *made % (QUEUE_SIZE / 2);
        *made = made.wrapping_add(1);
        let index = *made;
        let place = BUFFERS + SLOT * u64::from(queue * (QUEUE_SIZE / 2) + slot);
        self.write(place, bytes);
        let [table, available, _] = RINGS.map(|ring| ring + RINGS_STEP / 2 * u64::from(queue));
        let (head, readable, writable) = (slot * 2, bytes.len() as u64, u64::from(room));
        let first = if readable == 0 {
            [place, writable | 2 << 32]
        } else if writable == 0 {
            [place, readable]
        } else {
            [place, readable | 1 << 32 | u64::from(head + 1) << 48]
        };
        let second = [place + SLOT / 2, writable | 2 << 32];
        let list = [first, second].concat();
        let list: Vec<u8> = list.into_iter().flat_map(u64::to_le_bytes).collect();
        self.write(table + 16 * u64::from(head), &list);
        let entry = available + 4 + 2 * u64::from(index.wrapping_sub(1) % QUEUE_SIZE);
        self.write(entry, &head.to_le_bytes());
        self.write(available + 2, &index.to_le_bytes());
    }

    fn step(&mut self, script: &mut Script<'_>) -> Option<()> {
        let shape = script.byte()?;
        let queue = u16::from(shape >> 3 & 7) % QUEUES;
        match shape & 7 {
            0 => {
                let address = script.number::<2>();
                self.write(address, script.bytes(usize::from(shape >> 3)));
            }
            1 | 2 => {
                // A header, and what an Ethernet frame begins with.
                let header = script.bytes(12).to_vec();
                let length = usize::from(script.byte()?) * 2;
                let mut frame = [&header[..], script.bytes(length)].concat();
                frame.resize(header.len() + length, 0x5a);
                self.send(1 + 2 * (queue & 1), &frame, 0);
            }
            3 | 4 => {
                let room = script.number::<2>() as u32;
                self.send(2 * (queue & 1), &[], room);
            }
            5 => {
                let length = usize::from(script.byte()? & 15);
                let command = script.bytes(length).to_vec();
                self.send(QUEUES - 1, &command, 1);
            }
            6 => {
                let (offset, value) = (script.number::<2>() % 0x140, script.number::<4>() as u32);
                if offset & 1 == 0 {
                    self.set(offset & !3, value);
                } else {
                    self.get(offset & !3);
                }
            }
            _ => {}
        }
        if shape & 0x80 != 0 {
            self.set(0x50, queue.into());
            (0..TURNS).for_each(|_| std::thread::yield_now());
        }
        Some(())
    }
}

/// A network device and a hostile driver.
///
/// # Panics
/// When the device does, loses part of a frame, or reaches a state that it refuses.
pub fn virtio_net(data: &[u8]) {
    let mut script = Script::new(data);
    let mut driver = Driver::start(script.number::<4>() as u32);
    while driver.step(&mut script).is_some() {}
    let state = driver.device.save();
    driver.device.restore(&state).expect("it was reached");
    driver.set(0x70, 0);
    assert_eq!(driver.get(0x70), 0, "a reset ends everything");
}
