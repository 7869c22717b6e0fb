//! Whole instructions against the host's processor: each that is known, with random operands.
//!
//! Instructions are made from iced's table of opcodes, run on the host, and executed; registers, flags
//! and memory must be the same, or the exception. Flags that are undefined (as iced knows, and
//! [`compare`]) are left out. What jumps or loads segment registers runs in programs of a few instructions
//! ([`flow`], [`segments`]; [`stepping`] runs them).

mod compare;
mod flow;
mod generate;
mod segments;
mod stepping;
mod tables;

use host_processor::{Bench, MEMORY, MEMORY_SIZE, Mode, Registers};
use iced_x86::{Code, Decoder, DecoderOptions, EncodingKind, Mnemonic, OpCodeInfo};
use x86_semantics::{Exception, execute, knows};

use crate::numbers::{Numbers, cases};
use oracle::{Pages, program, with_bench};

/// Random instances of each instruction.
const CASES: u64 = 40;

/// Whether an instruction can be tried in a mode at all.
fn is_tried(info: &OpCodeInfo, mode: Mode) -> bool {
    let is_there = match mode {
        Mode::Long => info.mode64(),
        Mode::Protected => info.mode32(),
    };
    let encoding = matches!(info.encoding(), EncodingKind::Legacy | EncodingKind::VEX);
    info.is_instruction() && is_there && encoding && knows(info.mnemonic())
}

/// Whether the host does something else where it does not have the instruction.
fn is_another(mnemonic: Mnemonic) -> bool {
    match mnemonic {
        Mnemonic::Tzcnt => !is_x86_feature_detected!("bmi1"),
        Mnemonic::Lzcnt => !is_x86_feature_detected!("lzcnt"),
        _ => false,
    }
}

/// What became of an instruction.
#[derive(PartialEq)]
enum Trial {
    Same,
    /// Its operands are not made here.
    NotMade,
    /// The host does not have it.
    Missing,
}

fn try_one(bench: &mut Bench, code: Code, mode: Mode, numbers: &mut Numbers) -> Trial {
    if is_another(code.mnemonic()) {
        return Trial::Missing;
    }
    for _ in 0..cases(CASES) {
        let Some(case) = generate::case(code, mode, numbers) else {
            return Trial::NotMade;
        };
        if !compare::run(bench, &case) {
            return Trial::Missing;
        }
    }
    Trial::Same
}

fn try_all(bench: &mut Bench, mode: Mode) {
    let mut numbers = Numbers::new();
    let codes = Code::values().filter(|code| is_tried(code.op_code(), mode));
    let trials: Vec<_> = codes
        .map(|code| (code, try_one(bench, code, mode, &mut numbers)))
        .collect();
    let named = |wanted: Trial| {
        let some = trials.iter().filter(|(_, trial)| *trial == wanted);
        some.map(|(code, _)| format!("{code:?}"))
            .collect::<Vec<_>>()
    };
    let (tried, missing) = (named(Trial::Same).len(), named(Trial::Missing));
    println!(
        "{mode:?}: {tried} the same, not made: {:?}",
        named(Trial::NotMade)
    );
    println!(
        "SKIPPED: the host has not {missing:?}: {} skipped",
        missing.len()
    );
    assert!(tried > 400, "only {tried} instructions were tried");
}

#[test]
fn code_of_64_bits() {
    with_bench(|bench| try_all(bench, Mode::Long));
}

#[test]
fn code_of_32_bits() {
    with_bench(|bench| try_all(bench, Mode::Protected));
}

/// What the interpreter's functions raise for one instruction of 64-bit code, where there is nothing to read.
fn raised(code: &[u8], source: u64, destination: u64) -> Result<(), Exception> {
    let mut registers = Registers::default();
    (registers.general[6], registers.general[7]) = (source, destination);
    let mut cpu = program(Mode::Long, 0x1000, &registers);
    let mut decoder = Decoder::with_ip(64, code, 0x1000, DecoderOptions::NONE);
    let mut pages = Pages(vec![0; MEMORY_SIZE]);
    execute(&mut cpu, &mut pages, &decoder.decode())
}

/// Where neither of the two can be read, the fault tells which was looked at first. AMD's begin with the second.
#[test]
fn a_comparison_of_strings_reads_its_destination_first() {
    let (code, address) = (4, 0x20);
    let first = Err(Exception::Page { code, address });
    assert_eq!(raised(&[0xa6], 0x10, 0x20), first);
}

/// In 64-bit code prefixes of most segments say nothing: an address that is none is no stack fault.
#[test]
fn a_string_has_no_stack_segment_in_64_bit_code() {
    let nowhere = 1 << 63;
    // movsb, lodsb and cmpsb with a prefix of SS
    for opcode in [0xa4, 0xac, 0xa6] {
        let done = raised(&[0x36, opcode], nowhere, MEMORY);
        assert_eq!(done, Err(Exception::Protection(0)));
    }
}
