//! Message-signalled interrupts, and the wire.

use device_pci::MsixTable;
use machine_bus::Message;

use crate::fake::Bench;

/// A message of vector 1, unmasked, through the bus.
fn enabled() -> Bench {
    let bench = Bench::new();
    bench.write(1, 0x18, 0xe000_0000);
    bench.write(1, 0x04, 6);
    bench.write(1, 0x40, 0x8000_0000);
    bench.store(0xe000_1010, 0xfee0_0000);
    bench.store(0xe000_1018, 0x4041);
    bench.store(0xe000_101c, 0);
    bench
}

const MESSAGE: Message = Message {
    address: 0xfee0_0000,
    data: 0x4041,
};

#[test]
fn a_vector_is_sent_and_a_masked_one_waits() {
    let bench = enabled();
    let interrupts = &bench.fakes[0].interrupts;
    interrupts.signal(1);
    assert_eq!(bench.messages.take(), [MESSAGE]);
    bench.store(0xe000_101c, 1);
    interrupts.signal(1);
    interrupts.signal(1);
    assert_eq!(
        (bench.messages.take(), bench.memory(0xe000_2000)),
        (vec![], 2)
    );
    bench.store(0xe000_101c, 0);
    assert_eq!(
        (bench.messages.take(), bench.memory(0xe000_2000)),
        (vec![MESSAGE], 0)
    );
    // All at once, by the function's mask.
    bench.write(1, 0x40, 0xc000_0000);
    interrupts.signal(1);
    assert_eq!(bench.messages.take(), []);
    bench.write(1, 0x40, 0x8000_0000);
    assert_eq!(bench.messages.take(), [MESSAGE]);
    // A vector that does not exist, and pending bits that cannot be written.
    interrupts.signal(3);
    bench.store(0xe000_2000, 7);
    assert_eq!(
        (bench.messages.take(), bench.memory(0xe000_2000)),
        (vec![], 0)
    );
}

#[test]
fn the_wire_serves_while_msix_does_not() {
    let bench = Bench::new();
    let interrupts = &bench.fakes[0].interrupts;
    interrupts.signal(0);
    interrupts.set_wire(true);
    assert!(bench.wire.level() && bench.read(1, 4) >> 19 & 1 == 1);
    bench.write(1, 0x04, 0x400);
    assert!(!bench.wire.level());
    bench.write(1, 0x04, 0);
    assert!(bench.wire.level());
    bench.write(1, 0x40, 0x8000_0000);
    assert!(!bench.wire.level());
    bench.write(1, 0x40, 0);
    interrupts.set_wire(false);
    assert!(!bench.wire.level() && bench.read(1, 4) >> 19 & 1 == 0);
    assert_eq!(
        (bench.messages.take(), bench.read(1, 0x3c) >> 8),
        (vec![], 1)
    );
}

#[test]
fn impossible_tables_are_refused() {
    let refused = |change: fn(&mut device_pci::MsixState)| {
        let mut state = MsixTable::new(4).save();
        change(&mut state);
        MsixTable::restore(state).is_err()
    };
    assert!(refused(|s| s.pending.push(false)));
    assert!(refused(|s| s.entries[0].address = 2));
    assert!(refused(|s| {
        s.enabled = true;
        s.entries[0].masked = false;
        s.pending[0] = true;
    }));
    assert!(!refused(|s| s.pending[0] = true));
}
