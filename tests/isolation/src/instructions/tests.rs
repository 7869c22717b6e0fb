//! What is tried, and that it is the same.

use host_processor::{CODE, Mode};

use super::harmless::{LOOKED_AT, look};
use crate::random::Random;

/// Bytes as [`look`] wants them: behind them there is nothing.
fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut all = bytes.to_vec();
    all.resize(LOOKED_AT, 0);
    all
}

#[test]
fn what_may_do_harm_is_not_tried() {
    let harmful: [(&str, &[u8]); 24] = [
        ("syscall", &[0x0f, 0x05]),
        ("sysenter", &[0x0f, 0x34]),
        ("int 0x80", &[0xcd, 0x80]),
        ("icebp", &[0xf1]),
        ("jmp", &[0xeb, 0]),
        ("call", &[0xe8, 0, 0, 0, 0]),
        ("ret", &[0xc3]),
        ("retf", &[0xcb]),
        ("iret", &[0xcf]),
        ("loop", &[0xe2, 0]),
        ("jmp rax", &[0xff, 0xe0]),
        ("mov gs, eax", &[0x8e, 0xe8]),
        ("pop fs", &[0x0f, 0xa1]),
        ("lss eax, [rax]", &[0x0f, 0xb2, 0]),
        ("mov fs:[rax], eax", &[0x64, 0x89, 0]),
        ("lock add fs:[rax], eax, too long", &[0x64; 20]),
        ("wrfsbase eax", &[0xf3, 0x0f, 0xae, 0xd0]),
        (
            "the same with more prefixes",
            &[0xf2, 0xf3, 0x0f, 0xae, 0xd0],
        ),
        ("lock wrfsbase eax", &[0xf0, 0xf3, 0x0f, 0xae, 0xd0]),
        ("rdrand eax", &[0x0f, 0xc7, 0xf0]),
        ("rdtsc", &[0x0f, 0x31]),
        ("cpuid", &[0x0f, 0xa2]),
        ("xbegin", &[0xc7, 0xf8, 0, 0, 0, 0]),
        ("lock syscall", &[0xf0, 0x0f, 0x05]),
    ];
    for (name, bytes) in harmful {
        for mode in [Mode::Long, Mode::Protected] {
            assert!(
                look(mode, &padded(bytes), CODE).is_err(),
                "{name}, {mode:?}"
            );
        }
    }
}

#[test]
fn what_is_refused_for_a_detail_is_tried() {
    let refused: [(&str, &[u8]); 6] = [
        ("lock nop", &[0xf0, 0x90]),
        ("lock mov [rax], eax", &[0xf0, 0x89, 0]),
        ("vaddps behind data16", &[0x66, 0xc5, 0xf8, 0x58, 0xc0]),
        ("vsqrtps of three", &[0xc5, 0x80, 0x51, 0xc0]),
        ("lea of a register", &[0x8d, 0xc0]),
        ("x87's without a name", &[0xd9, 0xe2]),
    ];
    for (name, bytes) in refused {
        let trial = look(Mode::Long, &padded(bytes), CODE);
        assert!(trial.is_ok_and(|trial| trial.is_refused), "{name}");
    }
    let mut long = vec![0x66; 15];
    long.push(0x90);
    let trial = look(Mode::Long, &padded(&long), CODE);
    assert!(trial.is_ok_and(|trial| trial.is_refused && trial.length == 16));
}

#[test]
fn random_programs_come_to_the_same() {
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let input: Vec<u8> = (0..300).map(|_| random.bits() as u8).collect();
        println!("seed {seed}");
        super::instructions(&input);
    }
    println!("{}", super::instructions_tally());
}
