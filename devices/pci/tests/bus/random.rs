//! Any sequence of accesses: no panic, and a bus that was saved and restored in the middle
//! goes on like one that was not.

use proptest::prelude::*;

use crate::fake::Bench;

/// One call: its kind, slot or high address, register or offset, length, value.
type Call = (u8, u16, u16, usize, u64);

fn call(bench: &Bench, &(kind, slot, offset, length, value): &Call) -> String {
    let address = 0xe000_0000 | u64::from(slot) << 12 | u64::from(offset);
    let bytes = value.to_le_bytes();
    let mut data = [0; 8];
    let (data, bytes) = (&mut data[..length], &bytes[..length]);
    match kind {
        0 => bench.host.read_config(slot << 3, offset, data),
        1 | 2 => bench.host.write_config(slot << 3, offset, bytes),
        3 => bench.host.read_memory(address, data),
        4 => bench.host.write_memory(address, bytes),
        5 => bench.fakes[0].interrupts.signal(value as u16 % 4),
        _ => bench.fakes[1].interrupts.set_wire(value & 1 != 0),
    }
    let shown = (
        bench.host.ranges(),
        bench.wire.level(),
        bench.messages.take(),
    );
    format!("{data:?} {shown:?}")
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let slot = prop_oneof![8 => 0..4_u16, 1 => any::<u16>()];
    let offset = prop_oneof![
        8 => prop::sample::select(vec![0x04_u16, 0x10, 0x18, 0x1c, 0x40, 0x42, 0x4c, 0x50]),
        4 => 0..0x100_u16,
        1 => any::<u16>(),
    ];
    let value = prop_oneof![
        6 => prop::sample::select(vec![0_u64, 2, 0x406, 0x8000, 0xc000, 0x8000_0000, u64::MAX, 0xe000_0000, 0xe000_1000]),
        1 => any::<u64>(),
    ];
    let length = prop::sample::select(vec![1_usize, 2, 4, 8]);
    prop::collection::vec((0..7_u8, slot, offset, length, value), 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn accesses(calls in calls(), split in 0..200_usize) {
        let bench = Bench::new();
        let (before, after) = calls.split_at(split.min(calls.len()));
        for one in before {
            call(&bench, one);
        }
        let state = bench.host.save();
        let twin = Bench::new();
        twin.host.restore(&state).expect("a state that the bus reached");
        prop_assert_eq!(twin.host.save(), state);
        // The wire is shared by both functions, so its level is only the last that was said.
        *twin.wire.0.lock().unwrap() = bench.wire.level();
        twin.messages.take();
        for one in after {
            prop_assert_eq!(call(&twin, one), call(&bench, one));
        }
        prop_assert_eq!(twin.host.save(), bench.host.save());
    }
}
