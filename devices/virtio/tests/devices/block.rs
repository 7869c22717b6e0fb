//! The block device, on disks in memory and in files.

use std::sync::{Arc, Barrier};

use backend_block::testing::MemoryDisk;
use backend_block::{Backing, Disk, DiskError, Format, Options, Sink, Source};
use device_virtio::block::{Block, THREADS};
use proptest::prelude::*;

use crate::access::{Access, Mmio, Pci};
use crate::driver::{Driver, EVENT_INDEX, INDIRECT, SIZE, wait_until};

const READ: u32 = 0;
const WRITE: u32 = 1;
const FLUSH: u32 = 4;
const IDENTITY: u32 = 8;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;
const FEATURE_FLUSH: u64 = 1 << 9;
/// Everything that the device may offer.
const ALL: u64 = u32::MAX as u64;

fn header(kind: u32, sector: u64) -> [u8; 16] {
    (u128::from(kind) | u128::from(sector) << 64).to_le_bytes()
}

fn range(sector: u64, count: u32, flags: u32) -> [u8; 16] {
    (u128::from(sector) | u128::from(count) << 64 | u128::from(flags) << 96).to_le_bytes()
}

fn disk() -> Arc<MemoryDisk> {
    let bytes = (0..64 * 512).map(|at| (at / 512) as u8).collect();
    Arc::new(MemoryDisk::new(bytes, false))
}

fn mmio(disk: Arc<dyn Disk>, features: u64) -> Driver<Mmio> {
    Driver::mmio(Block::new(disk, THREADS), features)
}

/// The status of a request that has data for the device, or none.
fn status<A: Access>(driver: &mut Driver<A>, kind: u32, sector: u64, data: &[&[u8]]) -> u8 {
    let head = header(kind, sector);
    let readable = [&[&head[..]], data].concat();
    driver.call(0, &readable, &[1]).0[0]
}

/// Reads; the data and the status.
fn read<A: Access>(driver: &mut Driver<A>, sector: u64, length: usize) -> (Vec<u8>, u8, u32) {
    let (mut bytes, written) = driver.call(0, &[&header(READ, sector)], &[length, 1]);
    let status = bytes.pop().expect("there is a status");
    (bytes, status, written)
}

#[test]
fn data_are_read_and_written_whatever_the_framing() {
    let disk = disk();
    for features in [
        0,
        ALL,
        INDIRECT | FEATURE_FLUSH,
        EVENT_INDEX | FEATURE_FLUSH,
    ] {
        let mut driver = mmio(disk.clone(), features);
        let (bytes, status, written) = read(&mut driver, 3, 1024);
        assert_eq!(
            (bytes, status, written),
            ([[3; 512], [4; 512]].concat(), 0, 1025)
        );
    }
    let mut driver = Driver::pci(Block::new(disk.clone(), 2), ALL, true);
    // The header in pieces, together with data; data and status in one buffer.
    let all = [&header(WRITE, 5)[..], &[0xaa; 512], &[0xbb; 512]].concat();
    let (first, rest) = all.split_at(7);
    assert_eq!(driver.call(0, &[first, rest], &[1]).0, [0]);
    let (bytes, length) = driver.call(0, &[&header(READ, 5)], &[100, 413 + 511, 1]);
    assert_eq!((bytes.len(), length), (1025, 1025));
    assert_eq!(bytes, [&[0xaa; 512][..], &[0xbb; 512], &[0]].concat());
}

#[test]
fn the_configuration_says_what_the_disk_is() {
    let driver = mmio(disk(), ALL);
    assert_eq!(driver.config_bytes(0), 64_u64.to_le_bytes());
    assert_eq!(driver.config_bytes(12), 254_u32.to_le_bytes());
    assert_eq!(driver.config_bytes(20), 512_u32.to_le_bytes());
    assert_eq!(driver.config_bytes(56), [1, 0, 0, 0, 0]);
    assert_eq!(driver.access.features() & 0x6264, 0x6244);
    let fixed = Arc::new(MemoryDisk::new(vec![0; 512], true));
    let mut driver = mmio(fixed, ALL);
    assert_eq!(driver.access.features() & 0x6264, 0x0264);
    assert_eq!(status(&mut driver, WRITE, 0, &[&[1; 512]]), 1);
    assert_eq!(status(&mut driver, DISCARD, 0, &[&range(0, 1, 0)]), 1);
    assert_eq!(status(&mut driver, FLUSH, 0, &[]), 0);
    let (bytes, _) = driver.call(0, &[&header(IDENTITY, 0)], &[20, 1]);
    assert_eq!(bytes, b"a disk in the memory\0");
}

#[test]
fn what_cannot_be_has_a_status() {
    let disk = disk();
    disk.break_sector(10);
    let mut driver = mmio(disk.clone(), ALL);
    // In the middle, past the end, wrapping, and not whole sectors.
    let (bytes, bad, written) = read(&mut driver, 9, 1536);
    assert_eq!(
        (bad, written, &bytes[..513]),
        (1, 513, &[&[9; 512][..], &[0xee]].concat()[..])
    );
    for (sector, length) in [
        (63, 1024),
        (64, 512),
        (u64::MAX, 512),
        (1 << 55, 512),
        (0, 100),
    ] {
        assert_eq!(read(&mut driver, sector, length).1, 1);
    }
    assert_eq!(read(&mut driver, 64, 0).1, 0);
    assert_eq!(status(&mut driver, WRITE, 9, &[&[1; 1024]]), 1);
    for kind in [2, 3, 5, 6, 7, 9, 10, 12, 14, u32::MAX] {
        assert_eq!(status(&mut driver, kind, 0, &[]), 2);
    }
    // Well after all that.
    assert_eq!(read(&mut driver, 63, 512).1, 0);
}

#[test]
fn ranges_are_discarded_and_zeroed() {
    let disk = disk();
    let mut driver = mmio(disk.clone(), ALL);
    assert_eq!(
        status(&mut driver, DISCARD, 0, &[&range(1, 2, 0), &range(8, 8, 0)]),
        0
    );
    assert_eq!(disk.discarded(), [(512, 1024), (4096, 4096)]);
    assert_eq!(
        status(
            &mut driver,
            WRITE_ZEROES,
            0,
            &[&range(1, 2, 1), &range(4, 1, 0)]
        ),
        0
    );
    let bytes = disk.bytes();
    assert_eq!(
        [bytes[511], bytes[512], bytes[1535], bytes[1536]],
        [0, 0, 0, 3]
    );
    assert_eq!([bytes[4 * 512], bytes[5 * 512]], [0, 5]);
    // Flags that mean nothing, past the end, too many sectors or ranges, half a range.
    assert_eq!(status(&mut driver, DISCARD, 0, &[&range(1, 1, 1)]), 2);
    assert_eq!(status(&mut driver, WRITE_ZEROES, 0, &[&range(1, 1, 2)]), 2);
    assert_eq!(status(&mut driver, WRITE_ZEROES, 0, &[&range(64, 1, 0)]), 1);
    assert_eq!(
        status(&mut driver, DISCARD, 0, &[&range(u64::MAX, u32::MAX, 0)]),
        1
    );
    let many = [range(0, 1, 0); 17].concat();
    assert_eq!(status(&mut driver, DISCARD, 0, &[&many]), 1);
    assert_eq!(status(&mut driver, DISCARD, 0, &[&many[..24]]), 1);
}

#[test]
fn without_flush_writes_are_flushed() {
    let disk = disk();
    let mut driver = mmio(disk.clone(), 0);
    assert_eq!(status(&mut driver, WRITE, 0, &[&[1; 512]]), 0);
    assert_eq!(disk.flushes(), 1);
    let mut driver = mmio(disk.clone(), FEATURE_FLUSH);
    assert_eq!(status(&mut driver, WRITE, 0, &[&[1; 512]]), 0);
    assert_eq!(disk.flushes(), 1);
    assert_eq!(status(&mut driver, FLUSH, 0, &[]), 0);
    assert_eq!(disk.flushes(), 2);
}

#[test]
fn requests_without_header_or_status_need_a_reset() {
    let shapes: [(&[&[u8]], &[usize]); 4] = [
        (&[], &[1]),
        (&[&[0; 16]], &[]),
        (&[&[0; 15]], &[1]),
        (&[&[0; 16]], &[0, 0]),
    ];
    for (readable, writable) in shapes {
        let mut driver = mmio(disk(), FEATURE_FLUSH);
        driver.add(0, readable, writable);
        driver.kick(0);
        wait_until("a need of a reset", || driver.access.status() & 64 != 0);
        driver.start(0);
        assert_eq!(read(&mut driver, 1, 512).1, 0);
    }
}

/// A disk on which nothing is read before a number of requests have come.
struct Together(Barrier);

impl Disk for Together {
    fn size(&self) -> u64 {
        1 << 20
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn identity(&self) -> &str {
        ""
    }

    fn read_at(&self, _: u64, into: &mut dyn Sink) -> Result<(), DiskError> {
        self.0.wait();
        into.write(&[1; 512]);
        Ok(())
    }

    fn write_at(&self, _: u64, _: &mut dyn Source) -> Result<(), DiskError> {
        Err(DiskError::Unsupported)
    }

    fn flush(&self) -> Result<(), DiskError> {
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> Result<(), DiskError> {
        Ok(())
    }

    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> Result<(), DiskError> {
        Ok(())
    }
}

#[test]
fn several_requests_are_in_flight() {
    let disk = Arc::new(Together(Barrier::new(THREADS)));
    for features in [0, EVENT_INDEX] {
        let mut driver = mmio(disk.clone(), features | FEATURE_FLUSH);
        for _ in 0..10 {
            for _ in 0..THREADS {
                driver.add(0, &[&header(READ, 0)], &[512, 1]);
            }
            driver.kick(0);
            for _ in 0..THREADS {
                assert_eq!(driver.take_used(0).1, 513);
            }
        }
    }
}

#[test]
fn a_reset_waits_for_requests_and_drops_the_rest() {
    let disk = disk();
    let mut driver = Driver::pci(Block::new(disk.clone(), THREADS), ALL, true);
    for round in 0..50_u8 {
        for _ in 0..SIZE / 2 {
            driver.add(0, &[&header(WRITE, 0), &[round; 512]], &[1]);
        }
        driver.kick(0);
        driver.access.set_status(0);
        // Nothing is written from here on.
        let before = disk.bytes();
        driver.start(ALL);
        assert_eq!(disk.bytes(), before);
        assert_eq!(status(&mut driver, WRITE, 0, &[&[0xff; 512]]), 0);
    }
}

#[test]
fn a_file_is_a_disk() {
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("image");
    std::fs::write(&path, vec![0; 1 << 20]).expect("there is room");
    let options = Options {
        path: path.clone(),
        format: Format::Raw,
        read_only: false,
        backing: Backing::default(),
    };
    let disk = backend_block::open(&options).expect("it is fine");
    let mut driver: Driver<Pci> = Driver::pci(Block::new(disk.into(), THREADS), ALL, false);
    let data: Vec<u8> = (0..128 << 10).map(|at| (at % 253) as u8).collect();
    assert_eq!(status(&mut driver, WRITE, 100, &[&data]), 0);
    assert_eq!(status(&mut driver, FLUSH, 0, &[]), 0);
    assert_eq!(
        read(&mut driver, 100, 128 << 10),
        (data.clone(), 0, (128 << 10) + 1)
    );
    let content = std::fs::read(&path).expect("it is there");
    assert_eq!(content[100 * 512..][..data.len()], data);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// Any request gets an answer or ends the queue, and the disk is what a model says.
    #[test]
    fn requests(list in prop::collection::vec((0..16_u32, 0..70_u64, 0..3_usize, any::<u8>()), 1..40)) {
        let disk = disk();
        let mut model = disk.bytes();
        let mut driver = mmio(disk.clone(), ALL);
        for (kind, sector, count, value) in list {
            let at = sector as usize * 512;
            let fits = sector as usize + count <= 64;
            if kind == READ {
                let (bytes, status, _) = read(&mut driver, sector, count * 512);
                prop_assert_eq!(status == 0, fits);
                prop_assert!(!fits || bytes == model[at..at + count * 512]);
                continue;
            }
            let status = status(&mut driver, kind, sector, &[&vec![value; count * 512]]);
            if kind == WRITE {
                prop_assert_eq!(status == 0, fits);
                if fits {
                    model[at..at + count * 512].fill(value);
                }
            }
            prop_assert!(status <= 2);
            prop_assert!(kind == WRITE_ZEROES || disk.bytes() == model);
            model = disk.bytes();
        }
    }
}
