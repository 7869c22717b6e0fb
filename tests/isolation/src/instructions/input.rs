//! From an input to a program: the first bytes choose width, registers and flags, the rest are instructions.

use host_processor::{MEMORY, MEMORY_SIZE, Mode, Registers};
use oracle::Numbers;

use super::guest::{FLAGS, Side};
use super::harmless::LOOKED_AT;
use crate::script::Script;

/// How a program starts.
pub(super) struct Start {
    pub(super) mode: Mode,
    pub(super) side: Side,
    pub(super) numbers: Numbers,
}

impl Start {
    pub(super) fn new(script: &mut Script<'_>) -> Self {
        let first = script.byte().unwrap_or(0);
        let mode = if first & 3 == 3 {
            Mode::Protected
        } else {
            Mode::Long
        };
        let flags = script.number::<3>() & FLAGS;
        let choices = script.number::<8>();
        let mut numbers = Numbers::new(script.number::<4>());
        let mut side = Side {
            registers: Registers {
                general: [0; 16],
                flags,
            },
            extended: oracle::vectors(&mut numbers),
            memory: memory(&mut numbers),
        };
        for (number, register) in side.registers.general.iter_mut().enumerate() {
            *register = general(choices >> (4 * number) & 15, &mut numbers);
            if mode == Mode::Protected {
                *register &= 0xffff_ffff;
            }
        }
        Self {
            mode,
            side,
            numbers,
        }
    }
}

/// A general register: often a place in the memory.
fn general(choice: u64, numbers: &mut Numbers) -> u64 {
    let middle = MEMORY + MEMORY_SIZE as u64 / 2;
    match choice {
        0..=4 => middle + 64 * numbers.below(16),
        5 => middle + numbers.below(1024),
        6 => numbers.below(1 << 12),
        7 => numbers.random(),
        _ => numbers.general(),
    }
}

/// Numbers of all kinds.
fn memory(numbers: &mut Numbers) -> Vec<u8> {
    let mut memory = Vec::with_capacity(MEMORY_SIZE);
    while memory.len() < MEMORY_SIZE {
        let half = numbers.half();
        memory.extend(half);
        // Far from each other they may be the same.
        memory.extend([half; 3].concat());
        if numbers.below(4) == 0 {
            let at = memory.len() - 16;
            memory[at..at + 10].copy_from_slice(&numbers.extended());
        }
    }
    memory
}

/// Prefixes of the old kind; those of thread-local segments rarely.
const PREFIXES: [u8; 16] = [
    0x66, 0xf2, 0xf3, 0xf0, 0x66, 0xf2, 0xf3, 0xf0, 0x67, 0x66, 0x26, 0x2e, 0x36, 0x3e, 0x66, 0x64,
];
/// Opcodes of groups, and of strings.
const GROUPS: [u8; 16] = [
    0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3, 0xf6, 0xf7, 0xfe, 0xff, 0x80, 0x81, 0x83, 0xc6, 0xc7, 0x8f,
];
const STRINGS: [u8; 16] = [
    0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0xc8, 0x9d, 0x9c, 0x60, 0x61, 0x0f,
];

/// The next instruction's bytes, and more than it has: prefixes and a map of opcodes by two bytes, then what follows in
/// the input; how many of these there are in front. `None` at the end.
pub(super) fn next(script: &mut Script<'_>, mode: Mode) -> Option<(Vec<u8>, usize)> {
    let shape = script.byte()?;
    let choice = script.byte()?;
    let mut bytes = prefixes(choice, mode, script);
    head(shape, mode, script, &mut bytes);
    let made = bytes.len();
    bytes.extend(script.clone().bytes(LOOKED_AT));
    bytes.resize(LOOKED_AT.max(made + 1), 0);
    bytes.truncate(LOOKED_AT);
    Some((bytes, made))
}

fn prefixes(choice: u8, mode: Mode, script: &mut Script<'_>) -> Vec<u8> {
    let one = |number: u8| PREFIXES[usize::from(number) % PREFIXES.len()];
    let mut bytes = match choice >> 5 {
        0..=3 => Vec::new(),
        4 | 5 => vec![one(choice)],
        6 => vec![one(choice), one(script.byte().unwrap_or(0))],
        _ => {
            let count = choice & 15;
            (0..count)
                .map(|_| one(script.byte().unwrap_or(0)))
                .collect()
        }
    };
    if mode == Mode::Long && choice & 0x10 != 0 {
        bytes.push(0x40 | choice & 15);
    }
    bytes
}

/// The way to a map of opcodes, by the low half of `shape`.
fn head(shape: u8, mode: Mode, script: &mut Script<'_>, bytes: &mut Vec<u8>) {
    let number = usize::from(shape >> 4);
    // In 32-bit code VEX is told from old instructions by these bits.
    let always = if mode == Mode::Protected { 0xc0 } else { 0 };
    match shape & 15 {
        0..=2 => {}
        3..=5 => bytes.push(0x0f),
        6 => bytes.extend([0x0f, 0x38]),
        7 => bytes.extend([0x0f, 0x3a]),
        8 | 9 => {
            let second = script.byte().unwrap_or(0);
            let open = if number < 12 { 0x78 } else { 0 };
            bytes.extend([
                0xc5,
                second | always | if number & 1 == 0 { open } else { 0 },
            ]);
        }
        10..=12 => {
            let map = (shape >> 4) % 3 + 1;
            let second = script.byte().unwrap_or(0) & 0xe0 | map;
            let third = script.byte().unwrap_or(0);
            let open = if number & 1 == 0 { 0x78 } else { 0 };
            bytes.extend([0xc4, second | always, third | open]);
        }
        13 => bytes.push(0xd8 | shape >> 4 & 7),
        14 => bytes.push(GROUPS[number]),
        _ => bytes.push(STRINGS[number]),
    }
}
