//! The network device, with a host end that sends every frame back.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use backend_net::checksum::Sum;
use backend_net::{
    Abilities, Body, Delivery, Guest, Head, Network, Offload, PartialChecksum, Source,
};
use device_virtio::net::{Config, Net, NetPage};
use guest_abi::device::{DevicePage, STATUS_DRIVER_OK};
use guest_abi::layout::{DEVICE_PAGES, PAGE_SIZE};
use machine_bus::{Doorbells, Look};
use machine_memory::GuestMemory;

use crate::access::Access;
use crate::driver::{Driver, EVENT_INDEX, INDIRECT, wait_until};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
const CHECKSUM: u64 = 1;
const GUEST_CHECKSUM: u64 = 2;
const MERGEABLE: u64 = 1 << 15;
const CONTROL: u64 = 1 << 17;
const MULTI_QUEUE: u64 = 1 << 22;

#[derive(Debug, Default)]
struct Mirror {
    /// Sent in place of the frame's own bytes.
    stream: Option<UnixStream>,
}

impl Network for Mirror {
    fn abilities(&self) -> Abilities {
        Abilities::ALL
    }

    fn mtu(&self) -> u16 {
        9000
    }

    fn pairs(&self) -> usize {
        2
    }

    fn transmit(&self, pair: usize, frame: &mut dyn Source, offload: Offload, guest: &dyn Guest) {
        let mut bytes = vec![0; frame.remaining()];
        frame.peek(&mut bytes);
        assert_eq!(frame.sum(bytes.len()), Sum::default().with(&bytes).folded());
        let mut head = Head::default();
        head.push(&bytes[..14]);
        head.offload = offload;
        let body = match &self.stream {
            Some(stream) => Body::Peek {
                socket: stream.as_fd(),
                skip: 1,
                length: 5000,
            },
            None => Body::Bytes(&bytes[14..]),
        };
        let _ = guest.deliver(pair, 14, body, &mut |_| Some(head));
    }

    fn transmitted(&self, pair: usize, guest: &dyn Guest) {
        guest.flush(pair);
    }

    fn wait(&self, _: usize) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }

    fn serve(&self, _: usize, _: &dyn Guest) {}

    fn rest(&self, _: usize) {}

    fn wake(&self) {}
}

fn net() -> Net {
    let network = Arc::new(Mirror::default());
    Net::new(network, Config { mac: MAC, pairs: 2 })
}

fn frame(length: usize) -> Vec<u8> {
    (0..length).map(|at| at as u8).collect()
}

const PLAIN: [u8; 12] = [0; 12];

#[test]
fn a_driver_reads_its_address_its_link_its_pairs_and_the_longest_packet() {
    let driver = Driver::pci(net(), 0, true);
    let expected = [2, 0, 0, 0, 0, 9, 1, 0, 2, 0, 0x28, 0x23];
    assert_eq!(driver.config_bytes::<12>(0), expected);
}

#[test]
fn a_frame_comes_back_in_one_buffer() {
    let mut driver = Driver::mmio(net(), INDIRECT | EVENT_INDEX);
    let sent = driver.add(0, &[], &[12, 500]);
    driver.kick(0);
    driver.call(1, &[&PLAIN, &frame(100)], &[]);
    assert_eq!(driver.take_used(0), (sent.head, 112));
    let answer = driver.answer(&sent);
    assert_eq!((answer[10], &answer[12..112]), (1, &frame(100)[..]));
    wait_until("an interrupt", || driver.access.interrupted());
}

#[test]
fn a_long_frame_is_spread_and_seen_at_once() {
    let mut driver = Driver::pci(net(), MERGEABLE | INDIRECT, true);
    let buffers: Vec<_> = (0..6).map(|_| driver.add(0, &[], &[100])).collect();
    driver.kick(0);
    driver.call(1, &[&PLAIN, &frame(300)], &[]);
    wait_until("a frame", || driver.used_count(0) > 0);
    assert_eq!(driver.used_count(0), 4);
    let mut bytes = Vec::new();
    for (buffer, length) in buffers.iter().zip([100, 100, 100, 12]) {
        assert_eq!(driver.take_used(0), (buffer.head, length));
        bytes.extend(&driver.answer(buffer)[..length as usize]);
    }
    assert_eq!((bytes[10], &bytes[12..]), (4, &frame(300)[..]));
}

#[test]
fn what_a_stream_has_goes_straight_into_buffers() {
    let (mut far, near) = UnixStream::pair().unwrap();
    far.write_all(&frame(3000)).unwrap();
    let network = Arc::new(Mirror { stream: Some(near) });
    let device = Net::new(network, Config { mac: MAC, pairs: 1 });
    let mut driver = Driver::mmio(device, MERGEABLE);
    let buffers: Vec<_> = (0..3).map(|_| driver.add(0, &[], &[1500])).collect();
    driver.kick(0);
    driver.call(1, &[&PLAIN, &frame(14)], &[]);
    let mut bytes: Vec<u8> = Vec::new();
    for buffer in &buffers[..3] {
        let (head, length) = driver.take_used(0);
        assert_eq!(head, buffer.head);
        bytes.extend(&driver.answer(buffer)[..length as usize]);
    }
    assert_eq!(bytes[12..26], frame(14));
    assert_eq!(bytes[26..], frame(3000)[1..]);
}

/// A header that leaves the checksum at 50 to others.
const PARTIAL: [u8; 12] = [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0];

#[test]
fn a_checksum_is_completed_for_a_driver_that_makes_none() {
    for accepted in [CHECKSUM, CHECKSUM | GUEST_CHECKSUM] {
        let mut driver = Driver::mmio(net(), accepted);
        let sent = driver.add(0, &[], &[500]);
        driver.kick(0);
        driver.call(1, &[&PARTIAL, &frame(101)], &[]);
        assert_eq!(driver.take_used(0).1, 113);
        let answer = driver.answer(&sent);
        let sum = Sum::default()
            .with(&frame(101)[34..])
            .finish()
            .to_be_bytes();
        if accepted & GUEST_CHECKSUM == 0 {
            assert_eq!((answer[0], &answer[62..64]), (0, &sum[..]));
        } else {
            assert_eq!((answer[0], &answer[12..113]), (1, &frame(101)[..]));
        }
    }
}

#[test]
fn headers_that_cannot_be_are_counted_and_nothing_else() {
    let device = net();
    let counters = device.counters();
    let mut driver = Driver::mmio(device, CHECKSUM);
    let far = [1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0];
    let segments = [1, 1, 0, 0, 9, 0, 34, 0, 16, 0, 0, 0];
    driver.call(1, &[&far, &frame(100)], &[]);
    driver.call(1, &[&segments, &frame(100)], &[]);
    driver.call(1, &[&PLAIN, &frame(13)], &[]);
    driver.call(1, &[&[0; 5]], &[]);
    driver.call(1, &[&PLAIN, &vec![0; 70_000]], &[]);
    assert_eq!((counters.refused(), counters.sent()), (5, 0));
    driver.call(1, &[&PLAIN, &frame(100)], &[]);
    assert_eq!(counters.sent(), 1);
}

#[test]
fn a_frame_that_fits_into_no_buffer_is_lost() {
    let device = net();
    let counters = device.counters();
    let mut driver = Driver::mmio(device, 0);
    let sent = driver.add(0, &[], &[112]);
    driver.kick(0);
    driver.call(1, &[&PLAIN, &frame(101)], &[]);
    assert_eq!(counters.refused(), 1);
    driver.call(1, &[&PLAIN, &frame(100)], &[]);
    assert_eq!(driver.take_used(0), (sent.head, 112));
}

#[test]
fn the_control_queue_sets_pairs_and_address() {
    let mut driver = Driver::pci(net(), CONTROL | MULTI_QUEUE | INDIRECT, true);
    for (command, status) in [
        (&[4, 0, 2, 0][..], 0),
        (&[4, 0, 3, 0], 1),
        (&[4, 0, 0, 0], 1),
        (&[4, 0], 1),
        (&[0, 0, 1], 0),
        (&[1, 1, 2, 2, 2, 2, 2, 3], 0),
        (&[2, 0, 5, 0], 0),
        (&[9, 0, 0], 1),
        (&[1], 1),
    ] {
        let (answer, length) = driver.call(4, &[command], &[1]);
        assert_eq!((answer[0], length), (status, 1), "{command:?}");
    }
    assert_eq!(driver.config_bytes::<6>(0), [2, 2, 2, 2, 2, 3]);
    // The second pair works.
    let sent = driver.add(2, &[], &[500]);
    driver.kick(2);
    driver.call(3, &[&PLAIN, &frame(60)], &[]);
    assert_eq!(driver.take_used(2), (sent.head, 72));
}

#[test]
fn a_driver_may_start_again_with_other_features() {
    let mut driver = Driver::mmio(net(), MERGEABLE);
    for features in [MERGEABLE, 0, CONTROL | INDIRECT, MERGEABLE | EVENT_INDEX] {
        driver.start(features);
        let sent = driver.add(0, &[], &[600]);
        driver.add(0, &[], &[600]);
        driver.kick(0);
        driver.call(1, &[&PLAIN, &frame(70)], &[]);
        assert_eq!(driver.take_used(0), (sent.head, 82));
    }
}

/// Bells of a machine with one device.
#[derive(Default)]
struct Bells {
    counts: Mutex<([u32; 2], bool)>,
    changed: Condvar,
    completed: AtomicU32,
}

impl Bells {
    fn change(&self, change: impl FnOnce(&mut ([u32; 2], bool))) {
        change(&mut self.counts.lock().unwrap());
        self.changed.notify_all();
    }
}

impl Doorbells for Bells {
    fn wait(&self, _: u32, queue: u16, seen: u32, _: Look) -> Option<u32> {
        let mut counts = self.counts.lock().unwrap();
        while counts.0[usize::from(queue)] == seen && !counts.1 {
            counts = self.changed.wait(counts).unwrap();
        }
        (!counts.1).then(|| counts.0[usize::from(queue)])
    }

    fn complete(&self, _: u32) {
        self.completed.fetch_add(1, Ordering::SeqCst);
    }

    fn ring(&self, _: u32, _: u16) {}
}

/// What Husk's kernel does: sets both queues up on the device's page, and rings.
#[test]
fn a_kernel_that_shares_pages_sends_and_receives() {
    const RINGS: u64 = DEVICE_PAGES + 0x1_0000;
    const BUFFER: u64 = RINGS + 0x1_0000;
    let file = tempfile::tempfile().unwrap();
    file.set_len(BUFFER + 0x1_0000).unwrap();
    let memory = GuestMemory::new(file, BUFFER + 0x1_0000).unwrap();
    let (bells, network) = (Arc::new(Bells::default()), Arc::new(Mirror::default()));
    let device = NetPage::new(3, MAC, network, &memory, bells.clone()).unwrap();
    let thread = std::thread::spawn({
        let device = device.clone();
        move || device.serve()
    });
    let page = memory
        .page::<DevicePage>(DEVICE_PAGES + 3 * PAGE_SIZE)
        .unwrap();
    assert_eq!(page.device_id.load(Ordering::SeqCst), 1);
    assert_eq!(page.queue_count.load(Ordering::SeqCst), 2);
    assert_eq!(page.queue_size_max.load(Ordering::SeqCst), 256);
    let offered = page.device_features.load(Ordering::SeqCst);
    let expected = 1 << 32 | MERGEABLE | CHECKSUM | GUEST_CHECKSUM | EVENT_INDEX | INDIRECT;
    assert_eq!((offered & expected, offered & CONTROL), (expected, 0));
    let words = [0, 1, 2].map(|at| page.config[at].load(Ordering::SeqCst).to_le_bytes());
    assert_eq!(words.concat(), [2, 0, 0, 0, 0, 9, 1, 0, 1, 0, 0x28, 0x23]);
    let put = |at: u64, bytes: &[u8]| memory.write(at, bytes).unwrap();
    for (queue, slot) in (0_u64..).zip(&page.queues[..2]) {
        let base = RINGS + 0x4000 * queue;
        slot.size.store(16, Ordering::SeqCst);
        slot.descriptors.store(base, Ordering::SeqCst);
        slot.driver.store(base + 0x1000, Ordering::SeqCst);
        slot.device.store(base + 0x2000, Ordering::SeqCst);
        // One chain of one descriptor, made available.
        let (at, length, flags) = if queue == 0 {
            (BUFFER, 200_u32, 2_u32)
        } else {
            (BUFFER + 0x1000, 12 + 60, 0)
        };
        put(base, &at.to_le_bytes());
        put(base + 8, &length.to_le_bytes());
        put(base + 12, &flags.to_le_bytes());
        put(base + 0x1000, &[0, 0, 1, 0, 0, 0]);
    }
    put(BUFFER + 0x1000, &[&PLAIN[..], &frame(60)].concat());
    page.driver_features
        .store(1 << 32 | MERGEABLE, Ordering::SeqCst);
    page.status.store(STATUS_DRIVER_OK, Ordering::SeqCst);
    assert_eq!(page.bell_of(1).unwrap().0, 0, "one bell for both queues");
    bells.change(|(counts, _)| counts[0] += 1);
    wait_until("a frame", || {
        let mut used = [0; 12];
        memory.read(RINGS + 0x2000, &mut used).unwrap();
        used[2] == 1 && used[8] == 72
    });
    let mut bytes = [0; 60];
    memory.read(BUFFER + 12, &mut bytes).unwrap();
    assert_eq!(bytes[..], frame(60));
    wait_until("a call", || bells.completed.load(Ordering::SeqCst) > 0);
    bells.change(|(_, ended)| *ended = true);
    thread.join().unwrap();
    assert_eq!(device.counters().received(), 1);
}

#[test]
fn a_partial_checksum_says_where() {
    // The header of the tests above is what it is taken for.
    let decoded = backend_net::header::decode(&PARTIAL, 101).unwrap();
    let checksum = PartialChecksum {
        start: 34,
        offset: 16,
    };
    assert_eq!(decoded.checksum, Some(checksum));
    assert_eq!(Delivery::NoRoom, Delivery::NoRoom);
}
