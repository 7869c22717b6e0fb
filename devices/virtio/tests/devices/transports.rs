//! Registers of the two transports, and how a device is started.

use std::sync::atomic::Ordering;

use device_virtio::rng::Rng;

use crate::access::{Access, Mmio, Pci, SLOT};
use crate::driver::{Driver, EVENT_INDEX, INDIRECT, VERSION_1, memory, wait_until};

#[test]
fn linux_finds_an_mmio_device() {
    let device = Mmio::new(Box::new(Rng::new()), &memory());
    assert_eq!(device.read(0x00), u32::from_le_bytes(*b"virt"));
    assert_eq!((device.read(0x04), device.read(0x08)), (2, 4));
    assert_ne!(device.read(0x0c), 0);
    // No shared memory regions, and no queue 1.
    assert_eq!((device.read(0xb0), device.read(0xb4)), (u32::MAX, u32::MAX));
    assert_eq!((device.queue_max(0), device.queue_max(1)), (64, 0));
    assert_eq!(device.features(), VERSION_1 | INDIRECT | EVENT_INDEX);
    device.write(0x14, 2);
    assert_eq!(device.read(0x10), 0);
}

#[test]
fn linux_finds_a_pci_device() {
    let device = Pci::new(Box::new(Rng::new()), &memory(), true);
    assert_eq!(device.config_read(0), 0x1044_1af4);
    assert!(device.config_read(8) & 0xff >= 1);
    assert_eq!(device.features(), VERSION_1 | INDIRECT | EVENT_INDEX);
    assert_eq!(device.load(device.common + 18), 1_u16.to_le_bytes());
    assert_eq!((device.queue_max(0), device.queue_max(1)), (64, 0));
    // A vector that does not exist is refused by what is read back.
    device.store(device.common + 16, &9_u16.to_le_bytes());
    assert_eq!(device.load(device.common + 16), [0xff; 2]);
}

#[test]
fn features_are_checked_and_then_fixed() {
    for bad in [0, VERSION_1 | 1 << 40, VERSION_1 | 1] {
        let device = Mmio::new(Box::new(Rng::new()), &memory());
        device.set_status(3);
        device.accept(bad);
        device.set_status(11);
        assert_eq!(device.status(), 3);
        device.accept(VERSION_1);
        device.set_status(11);
        assert_eq!(device.status(), 11);
    }
}

#[test]
fn starting_without_features_or_rings_needs_a_reset() {
    let device = Mmio::new(Box::new(Rng::new()), &memory());
    device.set_status(7);
    assert_eq!(device.status(), 0x47);
    device.set_status(0);
    assert_eq!(device.status(), 0);
    for areas in [
        [1 << 40; 3],
        [8, 16, 32],
        [0x1000, 0x2000, 0x3001],
        [!15; 3],
    ] {
        device.set_status(3);
        device.accept(VERSION_1);
        device.set_status(11);
        device.set_queue(0, 64, areas);
        device.set_status(15);
        assert_eq!(device.status(), 0x4f, "{areas:x?}");
        assert!(device.interrupted());
        device.set_status(0);
    }
}

#[test]
fn sizes_that_cannot_be_are_ignored() {
    let device = Pci::new(Box::new(Rng::new()), &memory(), false);
    for size in [0_u16, 3, 128, 32] {
        device.store(device.common + 24, &size.to_le_bytes());
    }
    assert_eq!(device.queue_max(0), 32);
}

#[test]
fn messages_are_those_of_the_queue() {
    let mut driver = Driver::pci(Rng::new(), 0, true);
    driver.call(0, &[], &[8]);
    wait_until("an interrupt", || driver.access.interrupted());
    assert_eq!(driver.access.interrupts.last.load(Ordering::SeqCst), 0x41);
    assert!(!driver.access.interrupts.level.load(Ordering::SeqCst));
}

#[test]
fn a_driver_that_wants_no_interrupts_gets_none() {
    let mut driver = Driver::pci(Rng::new(), 0, true);
    let [_, available, _] = Driver::<Pci>::areas(0);
    driver.write(available, &1_u16.to_le_bytes());
    driver.call(0, &[], &[8]);
    driver.call(0, &[], &[8]);
    driver.write(available, &0_u16.to_le_bytes());
    assert!(!driver.access.interrupted());
    driver.call(0, &[], &[8]);
    wait_until("an interrupt", || driver.access.interrupted());
}

#[test]
fn structures_are_reached_through_configuration_space() {
    let device = Pci::new(Box::new(Rng::new()), &memory(), false);
    let write = |offset: u16, value: u32| {
        let place = device.window + offset;
        device.host.write_config(SLOT, place, &value.to_le_bytes());
    };
    // The number of queues.
    write(8, 18);
    write(12, 2);
    assert_eq!(device.config_read(device.window + 16), 1);
    // The device status.
    write(8, 20);
    write(12, 1);
    write(16, 3);
    assert_eq!(
        (device.status(), device.config_read(device.window + 16)),
        (3, 3)
    );
    for (offset, length) in [(19, 2), (20, 3), (u32::MAX, 1), (0x8000, 4), (20, 0)] {
        write(8, offset);
        write(12, length);
        write(16, 0);
        assert_eq!(device.config_read(device.window + 16), 0);
    }
    assert_eq!(device.status(), 3);
}
