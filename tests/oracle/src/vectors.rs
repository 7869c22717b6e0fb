//! The registers of x87 and vectors that code starts with.

use std::ops::Range;

use host_processor::Extended;
use x86_vector::Vectors;

use crate::Numbers;

/// Vector and x87 registers with numbers, and control words of all kinds, the usual ones most often.
#[must_use]
pub fn vectors(numbers: &mut Numbers) -> Extended {
    let mut extended = Extended::default();
    for number in 0..16 {
        let halves = [numbers.half(), numbers.half()];
        extended.set_vector(number, std::array::from_fn(|at| halves[at / 16][at % 16]));
    }
    let mxcsr = match numbers.below(4) {
        0 => 0x1f80,
        1 => 0x1fa0,
        2 => 0x1f80 | numbers.random() as u16 & 0xe07f,
        _ => numbers.random() as u16,
    };
    extended.bytes[24..28].copy_from_slice(&u32::from(mxcsr).to_le_bytes());
    x87(numbers, &mut extended.bytes);
    // As a processor would have it.
    extended.bytes[512] = 7;
    let normal = Vectors::from_xsave(&extended.bytes).to_xsave();
    extended.bytes.copy_from_slice(&normal);
    extended
}

fn x87(numbers: &mut Numbers, bytes: &mut [u8]) {
    let control = match numbers.below(4) {
        0 | 1 => 0x37f,
        2 => 0x37f & !(numbers.random() as u16 & 0xf00) | numbers.random() as u16 & 0xc00,
        _ => numbers.random() as u16,
    };
    let status = numbers.random() as u16;
    // Mostly without a waiting exception.
    let status = match numbers.below(8) {
        0 => status,
        _ => status & !0x3f | status & control & 0x3f,
    };
    let tags = match numbers.below(3) {
        0 => 0xff,
        1 => 0xff << numbers.below(8) | 0xff >> numbers.below(8),
        _ => numbers.random() as u8,
    };
    bytes[..2].copy_from_slice(&control.to_le_bytes());
    bytes[2..4].copy_from_slice(&status.to_le_bytes());
    bytes[4] = tags;
    for register in bytes[32..160].chunks_mut(16) {
        register[..10].copy_from_slice(&numbers.extended());
    }
}

/// What is compared of the standard form of `XSAVE` beside x87's registers, by name.
pub const VECTOR_PARTS: [(&str, Range<usize>); 6] = [
    ("x87 control", 0..2),
    ("x87 status", 2..4),
    ("x87 tags", 4..5),
    ("mxcsr", 24..28),
    ("xmm", 160..416),
    ("ymm", 576..832),
];
