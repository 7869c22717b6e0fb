//! Any calls, of which those make sense by chance that are near to it.

use engine_emulate::testing::Way;
use machines::harness::Numbers;

use crate::guest::{ARGUMENT, DEVICE, FREE, Guest, NO_ADDRESS, READ_ONLY, UNMAPPED, VMMCALL};

const CALLS: u32 = 2_000;
/// Of the structure with arguments, and in its place.
const BYTES: u64 = 32;

/// One that is likely to be meant, or any.
fn one_of(numbers: &mut Numbers, likely: &[u64]) -> u64 {
    let choice = numbers.random();
    match likely.get((choice % (likely.len() as u64 + 1)) as usize) {
        Some(number) => *number,
        None => choice >> (choice % 64),
    }
}

/// What a structure or a register may have.
fn argument(numbers: &mut Numbers) -> u64 {
    let frames = [0x30, 0x40, 0x10_0000, 0x400, 0xf_ee00, (1 << 52) - 1];
    let addresses = [
        0,
        ARGUMENT,
        ARGUMENT + 0xfff,
        UNMAPPED - 1,
        READ_ONLY,
        DEVICE,
        FREE,
        FREE + 0xfff,
        NO_ADDRESS - 1,
        u64::MAX,
    ];
    match numbers.random() % 3 {
        0 => one_of(numbers, &frames),
        1 => one_of(numbers, &addresses),
        _ => one_of(numbers, &[0, 1, 3, 0x7ff0, 0x7ff0 | 7 << 32, 32]),
    }
}

/// Registers and memory after so many calls.
fn run(seed: u64, way: Way) -> (Vec<[u64; 16]>, Vec<u8>) {
    let mut numbers = Numbers(seed);
    let mut guest = Guest::new(way, true);
    let mut all = Vec::new();
    for _ in 0..CALLS {
        for at in (0..BYTES).step_by(8) {
            let bytes = argument(&mut numbers).to_le_bytes();
            guest.memory.write(ARGUMENT + at, &bytes).unwrap();
        }
        let number = one_of(&mut numbers, &[12, 17, 24, 29, 34]);
        let operation = one_of(&mut numbers, &[0, 1, 2, 5, 6, 7, 9, 10, 23]);
        let arguments = match numbers.random() % 4 {
            0 => [operation, argument(&mut numbers), argument(&mut numbers)],
            1 => [operation, 0, ARGUMENT],
            _ => [operation, ARGUMENT, argument(&mut numbers)],
        };
        guest.call_by(VMMCALL, number, &arguments);
        guest.state.events.halted = false;
        assert_eq!(guest.state.control.cr2, 0, "no exception was raised");
        all.push(guest.state.general);
    }
    let mut memory = vec![0; 1 << 20];
    guest.memory.read(0, &mut memory).unwrap();
    (all, memory)
}

#[test]
fn any_calls_are_answered_and_raise_nothing() {
    for seed in [1, 2] {
        let (answers, memory) = run(seed, Way::Blocks);
        let good = answers.iter().filter(|general| general[0] == 0).count();
        assert!(good > 50, "{good} calls were right");
        assert!((answers, memory) == run(seed, Way::OneByOne));
    }
}
