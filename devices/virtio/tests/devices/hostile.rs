//! Drivers that break the rules: silence or "needs reset", and never anything else.

use std::sync::{Arc, Mutex};

use device_virtio::console::{Console, Input, Output};
use device_virtio::rng::Rng;
use proptest::prelude::*;

use crate::access::{Access, Mmio};
use crate::driver::{Driver, INDIRECT, SIZE, wait_until};

const NEEDS_RESET: u8 = 64;

fn needs_reset<A: Access>(driver: &mut Driver<A>) {
    wait_until("a need of a reset", || {
        driver.access.status() & NEEDS_RESET != 0
    });
    assert!(driver.access.interrupted());
    // Silent until it is reset, and well after.
    driver.kick(0);
    driver.start(0);
    assert_eq!(driver.call(0, &[], &[16]).1, 16);
}

#[test]
fn an_available_index_that_runs_ahead() {
    let mut driver = Driver::mmio(Rng::new(), 0);
    let [_, available, _] = Driver::<Mmio>::areas(0);
    driver.write(available + 2, &(SIZE + 1).to_le_bytes());
    driver.kick(0);
    needs_reset(&mut driver);
}

#[test]
fn a_head_outside_of_the_table() {
    let mut driver = Driver::pci(Rng::new(), 0, true);
    driver.make_available(0, SIZE);
    driver.kick(0);
    needs_reset(&mut driver);
}

#[test]
fn buffers_outside_of_memory() {
    for address in [1 << 30, u64::MAX, u64::MAX - 8] {
        let mut driver = Driver::mmio(Rng::new(), 0);
        driver.add_descriptors(0, &[(address, 64, 2)]);
        driver.kick(0);
        needs_reset(&mut driver);
    }
}

#[test]
fn an_endless_indirect_table() {
    let mut driver = Driver::mmio(Rng::new(), INDIRECT);
    let list = vec![(0x20_0000, 1, 2); 4000];
    driver.add_descriptors(0, &list);
    driver.kick(0);
    needs_reset(&mut driver);
}

#[test]
fn a_chain_that_bites_its_tail_ends_with_the_table() {
    let mut driver = Driver::mmio(Rng::new(), 0);
    let [table, ..] = Driver::<Mmio>::areas(0);
    let descriptor = [
        &0x20_0000_u64.to_le_bytes()[..],
        &[4, 0, 0, 0],
        &[3, 0],
        &[0, 0],
    ];
    driver.write(table, &descriptor.concat());
    driver.make_available(0, 0);
    driver.kick(0);
    assert_eq!(driver.take_used(0), (0, 4 * u32::from(SIZE)));
}

#[derive(Clone, Default)]
struct Count(Arc<Mutex<usize>>);

impl Output for Count {
    fn write(&mut self, bytes: &[u8]) {
        *self.0.lock().unwrap() += bytes.len();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// Any accesses to registers, with rings full of anything.
    #[test]
    fn registers(
        accesses in prop::collection::vec((0..0x120_u64, prop::sample::select(vec![1_usize, 2, 4, 8]), any::<u64>(), any::<bool>()), 1..100),
        rings in prop::collection::vec(any::<u8>(), 512),
    ) {
        let input = Input::default();
        let driver = Driver::mmio(Console::new(input.clone(), Box::new(Count::default())), 0);
        for queue in 0..2 {
            for area in Driver::<Mmio>::areas(queue) {
                driver.write(area, &rings);
            }
        }
        input.offer(&rings);
        let chip = &driver.access.chip;
        for (offset, length, value, write) in accesses {
            use machine_bus::Device;
            let mut data = value.to_le_bytes();
            if write {
                chip.write(offset, &data[..length]);
            } else {
                chip.read(offset, &mut data[..length]);
            }
            driver.kick(value as u16 % 3);
        }
        let state = chip.save();
        prop_assert!(chip.restore(&state).is_ok());
    }
}
