//! A device that is saved and restored goes on where it was.

use device_virtio::rng::Rng;
use device_virtio::{VirtioMmio, VirtioPci};

use crate::access::{Access, Mmio, Pci};
use crate::driver::{Driver, EVENT_INDEX};

#[test]
fn an_active_device_goes_on_over_mmio() {
    let mut driver = Driver::mmio(Rng::new(), EVENT_INDEX);
    for _ in 0..21 {
        driver.call(0, &[], &[8]);
    }
    let state = driver.access.chip.save();
    assert_eq!(state.device.queues[0].next_available, 21);
    driver.call(0, &[], &[8]);
    let state = driver.access.chip.save();
    let twin = Mmio::new(Box::new(Rng::new()), &driver.memory);
    twin.chip.restore(&state).unwrap();
    assert_eq!(twin.chip.save(), state);
    driver.access = twin;
    for _ in 0..21 {
        assert_eq!(driver.call(0, &[], &[8]).1, 8);
    }
}

#[test]
fn an_active_device_goes_on_over_pci() {
    let mut driver = Driver::pci(Rng::new(), 0, true);
    driver.call(0, &[], &[8]);
    let (bus, state) = (driver.access.host.save(), driver.access.function.save());
    let twin = Pci::new(Box::new(Rng::new()), &driver.memory, true);
    twin.host.restore(&bus).unwrap();
    twin.function.restore(&state).unwrap();
    assert_eq!((twin.host.save(), twin.function.save()), (bus, state));
    driver.access = twin;
    assert_eq!(driver.call(0, &[], &[8]).1, 8);
    assert!(driver.access.interrupted());
}

#[test]
fn a_device_that_needs_a_reset_still_does() {
    let mut driver = Driver::mmio(Rng::new(), 0);
    driver.make_available(0, 99);
    driver.kick(0);
    crate::driver::wait_until("a need of a reset", || driver.access.status() & 64 != 0);
    let state = driver.access.chip.save();
    assert!(state.device.needs_reset);
    let twin = Mmio::new(Box::new(Rng::new()), &driver.memory);
    twin.chip.restore(&state).unwrap();
    for chip in [&driver.access, &twin] {
        driver.write(Driver::<Mmio>::areas(0)[1] + 2, &2_u16.to_le_bytes());
        chip.notify(0);
        assert_eq!(chip.status(), 0x4f);
    }
    assert_eq!(twin.chip.save().device.queues, state.device.queues);
}

#[test]
fn impossible_states_are_refused() {
    let fresh = Mmio::new(Box::new(Rng::new()), &crate::driver::memory());
    let refused = |change: fn(&mut device_virtio::MmioState)| {
        let mut state = fresh.chip.save();
        change(&mut state);
        let chip: &VirtioMmio = &fresh.chip;
        chip.restore(&state).is_err()
    };
    assert!(refused(|s| s.interrupt_status = 4));
    assert!(refused(|s| s.device.queues.clear()));
    assert!(refused(|s| s.device.queues[0].size = 128));
    assert!(refused(|s| s.device.queues[0].size = 0));
    assert!(refused(|s| s.device.status = 0x40));
    assert!(refused(|s| s.device.status = 8));
    assert!(!refused(|s| s.device.queue_select = 7));
    let fresh = Pci::new(Box::new(Rng::new()), &crate::driver::memory(), true);
    let function: &VirtioPci = &fresh.function;
    let mut state = function.save();
    state.queue_vectors.push(0);
    assert!(function.restore(&state).is_err());
    // An active device whose rings are nowhere comes back needing a reset.
    let mut state = function.save();
    state.device.driver_features = 1 << 32;
    state.device.status = 15;
    state.device.queues[0].ready = true;
    state.device.queues[0].device = 1 << 50;
    function.restore(&state).unwrap();
    assert_eq!(fresh.status(), 0x4f);
}
