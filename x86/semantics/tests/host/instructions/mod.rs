//! Whole instructions against the host's processor: each that is known, with random operands.
//!
//! Instructions are made from iced's table of opcodes, run on the host, and executed; registers, flags
//! and memory must be the same, or the exception. Flags that are undefined (as iced knows, and
//! [`compare`]) are left out. What jumps runs in programs of a few instructions ([`flow`]).

mod compare;
mod flow;
mod generate;
mod pages;
mod program;

use host_processor::{Bench, Mode};
use iced_x86::{Code, EncodingKind, OpCodeInfo};
use x86_semantics::knows;

use crate::generate::Numbers;

/// Random instances of each instruction, unless `HUSK_CASES` says otherwise.
const CASES: u64 = 40;

fn cases() -> u64 {
    let wanted = std::env::var("HUSK_CASES").ok();
    wanted.map_or(CASES, |count| {
        count.parse().expect("HUSK_CASES is a number")
    })
}

/// Whether an instruction can be tried in a mode at all.
fn is_tried(info: &OpCodeInfo, mode: Mode) -> bool {
    let is_there = match mode {
        Mode::Long => info.mode64(),
        Mode::Protected => info.mode32(),
    };
    let encoding = matches!(info.encoding(), EncodingKind::Legacy | EncodingKind::VEX);
    info.is_instruction() && is_there && encoding && knows(info.mnemonic())
}

fn try_all(mode: Mode) {
    let mut bench = match Bench::new() {
        Ok(bench) => bench,
        Err(error) => {
            println!("SKIPPED: the host gives no place for code: {error}");
            return;
        }
    };
    let mut numbers = Numbers(0x0123_4567_89ab_cdef);
    let (mut instructions, mut runs, mut left_out) = (0, 0, Vec::new());
    for code in Code::values() {
        if !is_tried(code.op_code(), mode) {
            continue;
        }
        let before = runs;
        for _ in 0..cases() {
            let Some(case) = generate::case(code, mode, &mut numbers) else {
                break;
            };
            compare::run(&mut bench, &case);
            runs += 1;
        }
        if runs > before {
            instructions += 1;
        } else {
            left_out.push(format!("{code:?}"));
        }
    }
    println!("{mode:?}: {instructions} instructions, {runs} runs; not tried: {left_out:?}");
    assert!(
        instructions > 400,
        "only {instructions} instructions were tried"
    );
}

#[test]
fn code_of_64_bits() {
    try_all(Mode::Long);
}

#[test]
fn code_of_32_bits() {
    try_all(Mode::Protected);
}
