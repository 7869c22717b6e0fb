//! Any bytes, decoded and done with any state: nothing panics, and the host's processor raises nothing.

use std::hint::black_box;

use iced_x86::{Decoder, DecoderOptions};
use x86_vector::{Features, Unit, Vectors, execute};

use crate::machine::{Bytes, cpu, real};

/// What may stand before an opcode: the maps that have vectors, and x87.
const BEGINNINGS: [&[u8]; 14] = [
    &[0x0f],
    &[0x66, 0x0f],
    &[0xf3, 0x0f],
    &[0xf2, 0x0f],
    &[0x66, 0x0f, 0x38],
    &[0x66, 0x0f, 0x3a],
    &[0x0f, 0x38],
    &[0x0f, 0xae],
    &[0x0f, 0xc7],
    &[0xc5],
    &[0xc4],
    &[0x66, 0x48, 0x0f],
    &[0x67, 0x0f],
    &[],
];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        self.0 >> 24
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }

    fn code(&mut self) -> Vec<u8> {
        let beginning = BEGINNINGS[self.next() as usize % BEGINNINGS.len()];
        let mut code = beginning.to_vec();
        if beginning.is_empty() {
            code.push(0xd8 | self.next() as u8 & 7);
        }
        code.extend(self.bytes::<12>());
        code
    }
}

#[test]
fn any_bytes_are_done_or_refused() {
    let count = std::env::var("HUSK_CASES").map_or(20, |count| count.parse().expect("a number"));
    let mut unit = Unit::new(Features::of_host()).expect("memory for code");
    let mut random = Random(7);
    let mut memory = Bytes(vec![0; 0x1_0000]);
    let mut done = 0;
    for _ in 0..5000 * count {
        let code = random.code();
        let bits = [16, 32, 64][random.next() as usize % 3];
        let mut decoder = Decoder::with_ip(bits, &code, 0x100, DecoderOptions::NONE);
        let instruction = decoder.decode();
        let Some(prepared) = unit.prepare(&instruction) else {
            continue;
        };
        let mut cpu = if bits == 16 { real() } else { cpu() };
        if bits == 32 {
            cpu.segments.cs.rights = 0xc0fb;
        }
        cpu.general = std::array::from_fn(|_| random.next() & 0xff_fff0);
        let mut vectors = Vectors::from_xsave(&random.bytes::<832>());
        for byte in &mut memory.0[..64] {
            *byte = random.next() as u8;
        }
        let ended = execute(&prepared, &mut vectors, &mut cpu, &mut memory, &instruction);
        done += u32::from(ended.is_ok());
        // Our own numbers are rounded as before.
        assert_eq!(black_box(1.0_f64) / black_box(3.0), 1.0 / 3.0);
    }
    println!("{done} were done");
    assert!(done > 1000, "only {done} were done");
}
