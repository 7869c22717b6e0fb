//! Queues for packets against a device that works on the same memory.

#![expect(unsafe_code, reason = "a device works on memory by address")]

extern crate std;

use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::vec;
use std::vec::Vec;

use super::DeviceError;
use super::packets::{PacketQueue, PacketReceiver, PacketSender};
use super::ring::Ring;
use super::wire::Bell;
use crate::hardware::Registers;
use crate::hardware::fake::{registers, same};
use crate::memory::ram_pointer;

const PAGE: usize = 4096;

/// Address, length, and whether the device writes to it.
type Part = (u64, u32, bool);

/// What reads and writes the rings as a device does.
struct Fake {
    places: [u64; 3],
    size: u16,
    available: u16,
    used: u16,
    /// What was rung.
    bell: Registers,
}

macro_rules! word {
    ($kind:ty, $address:expr) => {
        // SAFETY: an aligned word of the test machine's memory.
        unsafe { &*ram_pointer($address).cast::<$kind>() }
    };
}

impl Fake {
    /// A queue, and the device at its other end.
    fn queue(most: u32, event_index: bool) -> (PacketQueue, Self) {
        crate::hosted::initialize();
        let ring = Ring::new(most, event_index).unwrap();
        let bell = registers(4096);
        let fake = Self {
            places: ring.places(),
            size: ring.size(),
            available: 0,
            used: 0,
            bell: same(&bell),
        };
        (PacketQueue::new(ring, Bell::Half(bell, 1), false), fake)
    }

    fn available_at(&self, index: u64) -> &AtomicU16 {
        word!(AtomicU16, self.places[1] + 2 * index)
    }

    /// The next chain: its head, and its parts.
    fn take(&mut self) -> Option<(u16, Vec<Part>)> {
        if self.available_at(1).load(Ordering::Acquire) == self.available {
            return None;
        }
        let slot = u64::from(self.available % self.size);
        let head = self.available_at(2 + slot).load(Ordering::Relaxed);
        self.available = self.available.wrapping_add(1);
        let (mut parts, mut index) = (Vec::new(), head);
        loop {
            let at = self.places[0] + 16 * u64::from(index);
            let flags = word!(AtomicU16, at + 12).load(Ordering::Relaxed);
            let address = word!(AtomicU64, at).load(Ordering::Relaxed);
            let length = word!(AtomicU32, at + 8).load(Ordering::Relaxed);
            parts.push((address, length, flags & 2 != 0));
            if flags & 1 == 0 {
                return Some((head, parts));
            }
            index = word!(AtomicU16, at + 14).load(Ordering::Relaxed);
        }
    }

    /// Gives back; whether the driver wants to be interrupted.
    fn give(&mut self, head: u32, length: u32) -> bool {
        let at = self.places[2] + 4 + 8 * u64::from(self.used % self.size);
        word!(AtomicU32, at).store(head, Ordering::Relaxed);
        word!(AtomicU32, at + 4).store(length, Ordering::Relaxed);
        self.used = self.used.wrapping_add(1);
        word!(AtomicU16, self.places[2] + 2).store(self.used, Ordering::Release);
        let flags = self.available_at(0).load(Ordering::Relaxed);
        let event = self
            .available_at(2 + u64::from(self.size))
            .load(Ordering::Relaxed);
        flags == 0 && event == self.used.wrapping_sub(1)
    }

    /// From which available chain on to be rung.
    fn ring_at(&self, index: u16) {
        let at = self.places[2] + 4 + 8 * u64::from(self.size);
        word!(AtomicU16, at).store(index, Ordering::Relaxed);
    }

    fn be_quiet(&self, quiet: bool) {
        word!(AtomicU16, self.places[2]).store(u16::from(quiet), Ordering::Relaxed);
    }

    /// Whether it was rung since this was asked last.
    fn was_rung(&self) -> bool {
        let rung: u16 = self.bell.read(0);
        self.bell.write(0, 0u16);
        rung != 0
    }

    /// Writes a packet into the next buffers of a page each, as many as it takes.
    fn deliver(&mut self, mut packet: Vec<u8>) {
        let mut used = Vec::new();
        let count = packet.len().div_ceil(PAGE);
        packet[10..12].copy_from_slice(&(count as u16).to_le_bytes());
        for part in packet.chunks(PAGE) {
            let (head, parts) = self.take().expect("a buffer");
            assert_eq!(parts, [(parts[0].0, PAGE as u32, true)]);
            fill(parts[0].0, part);
            used.push((head, part.len()));
        }
        for (head, length) in used {
            self.give(head.into(), length as u32);
        }
    }
}

fn fill(address: u64, bytes: &[u8]) {
    // SAFETY: a buffer that the driver gave, of at least that length.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), ram_pointer(address), bytes.len()) }
}

fn content(parts: &[Part]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (address, length, _) in parts {
        let start = ram_pointer(*address);
        // SAFETY: a buffer that the driver gave.
        bytes.extend_from_slice(unsafe { core::slice::from_raw_parts(start, *length as usize) });
    }
    bytes
}

/// A packet of that length, different for each `seed`.
fn packet(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + seed) as u8).collect()
}

fn received(receiver: &mut PacketReceiver) -> Result<Vec<Vec<u8>>, DeviceError> {
    let mut packets = Vec::new();
    receiver.receive(&mut |bytes| packets.push(bytes.to_vec()))?;
    Ok(packets)
}

fn expected(length: usize, seed: usize) -> Vec<u8> {
    let mut packet = packet(length, seed);
    packet[10..12].copy_from_slice(&(length.div_ceil(PAGE) as u16).to_le_bytes());
    packet
}

#[test]
fn merged_packets_come_whole_wherever_the_ring_begins_again() {
    for event_index in [false, true] {
        let (queue, mut device) = Fake::queue(64, event_index);
        let mut receiver = PacketReceiver::merging(queue, 40, 10).unwrap();
        receiver.start();
        assert!(device.was_rung());
        for round in 0..200 {
            let lengths = [60, 60_000, PAGE, PAGE + 1, 1500];
            for (at, length) in lengths.into_iter().enumerate() {
                device.deliver(packet(length, round + at));
            }
            let want = lengths.into_iter().enumerate();
            let want: Vec<_> = want
                .map(|(at, length)| expected(length, round + at))
                .collect();
            assert_eq!(received(&mut receiver).unwrap(), want, "round {round}");
        }
    }
}

#[test]
fn buffers_that_come_out_of_order_are_put_together() {
    let (queue, mut device) = Fake::queue(256, true);
    let mut receiver = PacketReceiver::merging(queue, 4, 10).unwrap();
    let buffers: Vec<_> = core::iter::from_fn(|| device.take()).collect();
    assert_eq!(buffers.len(), 4);
    let whole = expected(PAGE + 100, 3);
    fill(buffers[3].1[0].0, &whole[..PAGE]);
    fill(buffers[1].1[0].0, &whole[PAGE..]);
    device.give(buffers[3].0.into(), PAGE as u32);
    device.give(buffers[1].0.into(), 100);
    assert_eq!(received(&mut receiver).unwrap(), [whole]);
}

#[test]
fn a_device_that_lies_is_not_listened_to() {
    let lie = |tell: &dyn Fn(&mut Fake, u16, u64) -> bool| {
        let (queue, mut device) = Fake::queue(256, true);
        let mut receiver = PacketReceiver::merging(queue, 4, 10).unwrap();
        let (head, parts) = device.take().unwrap();
        fill(parts[0].0, &expected(100, 1));
        tell(&mut device, head, parts[0].0);
        received(&mut receiver).map(|packets| packets.len())
    };
    let broken = Err(DeviceError);
    assert_eq!(lie(&|device, head, _| device.give(head.into(), 100)), Ok(1));
    // Too short to say how many buffers it has.
    assert_eq!(lie(&|device, head, _| device.give(head.into(), 0)), Ok(1));
    // Longer than the buffer, no buffer, one that was given back already, one never given.
    assert_eq!(
        lie(&|device, head, _| device.give(head.into(), 4097)),
        broken
    );
    assert_eq!(
        lie(&|device, head, _| device.give(head.into(), u32::MAX)),
        broken
    );
    for odd in [4, 255, 256, 0xffff, 0x1_0000, u32::MAX] {
        assert_eq!(
            lie(&|device, _, _| device.give(odd, 100)),
            broken,
            "{odd:#x}"
        );
    }
    let twice = |device: &mut Fake, head: u16, at: u64| {
        fill(at + 10, &2u16.to_le_bytes());
        device.give(head.into(), PAGE as u32);
        device.give(head.into(), PAGE as u32)
    };
    assert_eq!(lie(&twice), broken);
    // More buffers than there are, than came, or none.
    for count in [0u16, 2, 18, 19, u16::MAX] {
        let count = |device: &mut Fake, head: u16, at: u64| {
            fill(at + 10, &count.to_le_bytes());
            device.give(head.into(), 100)
        };
        assert_eq!(lie(&count), broken);
    }
    // An index that ran ahead shows the same buffer again.
    let ahead = |device: &mut Fake, head: u16, _: u64| {
        let wanted = device.give(head.into(), 100);
        word!(AtomicU16, device.places[2] + 2).store(0x8000, Ordering::Release);
        wanted
    };
    assert_eq!(lie(&ahead), broken);
}

#[test]
fn a_receiver_is_interrupted_by_the_first_packet_after_it_looked() {
    let (queue, mut device) = Fake::queue(256, true);
    let mut receiver = PacketReceiver::new(queue, 8, 2000).unwrap();
    receiver.start();
    for round in 0..40_000 {
        let (first, parts) = device.take().unwrap();
        assert_eq!(parts.len(), 1);
        let (second, _) = device.take().unwrap();
        assert!(device.give(first.into(), 60), "round {round}");
        assert!(!device.give(second.into(), 60), "round {round}");
        assert_eq!(received(&mut receiver).unwrap().len(), 2);
    }
}

#[test]
fn what_is_sent_is_read_and_the_device_is_rung_when_it_wants() {
    for event_index in [false, true] {
        let (queue, mut device) = Fake::queue(16, event_index);
        let mut sender = PacketSender::new(queue, 8, 70_000).unwrap();
        for round in 0..1000u16 {
            device.ring_at(round.wrapping_mul(2));
            for length in [0, 69_000] {
                let sent = packet(length, round.into());
                let mut fill = |room: &mut [u8]| {
                    room[..length].copy_from_slice(&sent);
                    length
                };
                assert_eq!(sender.send(&mut fill), Ok(true));
            }
            sender.flush();
            assert!(device.was_rung());
            sender.flush();
            assert!(!device.was_rung(), "nothing new");
            for length in [0, 69_000] {
                let (head, parts) = device.take().unwrap();
                assert_eq!(content(&parts), packet(length, round.into()));
                assert!(!device.give(head.into(), 0), "not wanted");
            }
            device.be_quiet(false);
        }
        device.be_quiet(true);
        device.ring_at(5000);
        assert_eq!(sender.send(&mut |_| 1), Ok(true));
        sender.flush();
        assert!(!device.was_rung(), "it looks by itself");
    }
}

#[test]
fn a_sender_without_room_is_told_when_there_is_some() {
    let (queue, mut device) = Fake::queue(256, true);
    let mut sender = PacketSender::new(queue, 8, 1000).unwrap();
    let mut send = || sender.send(&mut |_| 60);
    for _ in 0..50 {
        assert_eq!(
            core::iter::from_fn(|| (send() == Ok(true)).then_some(())).count(),
            8
        );
        assert_eq!(send(), Ok(false));
        let heads: Vec<_> = core::iter::from_fn(|| device.take())
            .map(|chain| chain.0)
            .collect();
        assert_eq!(heads.len(), 8);
        let wanted: Vec<_> = heads
            .iter()
            .map(|head| device.give((*head).into(), 0))
            .collect();
        let once = vec![false, false, false, false, true, false, false, false];
        assert_eq!(wanted, once);
    }
}

#[test]
fn a_sender_is_drained_when_the_device_is_done_with_everything_and_is_told_then() {
    for event_index in [false, true] {
        let (queue, mut device) = Fake::queue(256, event_index);
        let mut sender = PacketSender::new(queue, 8, 1000).unwrap();
        assert!(sender.is_drained(), "nothing was sent");
        for count in [1, 2, 8, 3] {
            for _ in 0..count {
                assert_eq!(sender.send(&mut |_| 60), Ok(true));
            }
            assert!(!sender.is_drained());
            let heads: Vec<_> = core::iter::from_fn(|| device.take()).collect();
            let told = heads.iter().map(|(head, _)| device.give((*head).into(), 0));
            let told: Vec<_> = told.collect();
            let wanted: Vec<_> = (1..=count).map(|at| at == count).collect();
            assert!(!event_index || told == wanted, "{told:?}");
            assert!(sender.is_drained());
        }
    }
}
