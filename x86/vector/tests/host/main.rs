//! Each instruction that is known, with random operands, against the host's processor: registers, flags,
//! MXCSR, x87's state and memory must be the same, or the exception.

mod cases;
mod compare;
mod generate;
mod images;
mod operands;

use std::collections::BTreeMap;

use host_processor::{Bench, Mode};
use iced_x86::{Code, CpuidFeature};
use x86_vector::{Features, Unit, knows};

use cases::cases;
use oracle::{Numbers, with_bench};

/// Random instances of each instruction.
const CASES: u64 = 40;

/// What became of an instruction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Trial {
    Same,
    /// Its operands are not made here.
    NotMade,
    /// The host does not have it.
    Missing,
    Differs,
}

/// Whether an instruction can be tried in a mode at all.
fn is_tried(code: Code, mode: Mode) -> bool {
    let info = code.op_code();
    let is_there = match mode {
        Mode::Long => info.mode64(),
        Mode::Protected => info.mode32(),
    };
    info.is_instruction() && is_there && knows(code)
}

fn try_one(bench: &mut Bench, unit: &mut Unit, code: Code, mode: Mode) -> (Trial, u64) {
    // The same cases whichever instructions are tried.
    let mut numbers = Numbers::new(code as u64);
    let mut done = 0;
    for _ in 0..cases(CASES) {
        let Some(case) = generate::case(code, mode, &mut numbers) else {
            return (Trial::NotMade, done);
        };
        match compare::run(bench, unit, &case) {
            Ok(true) => done += 1,
            Ok(false) => return (Trial::Missing, done),
            Err(difference) => {
                println!("{code:?}: {difference}");
                return (Trial::Differs, done);
            }
        }
    }
    (Trial::Same, done)
}

/// Those of which `HUSK_ONLY` is part of the name.
fn is_wanted(code: Code) -> bool {
    let only = std::env::var("HUSK_ONLY").unwrap_or_default();
    format!("{code:?}").contains(&only)
}

fn try_all(bench: &mut Bench, mode: Mode) {
    let mut unit = Unit::new(Features::of_host()).expect("the host gives memory for code");
    let mut named: BTreeMap<Trial, Vec<String>> = BTreeMap::new();
    let mut total = 0;
    for code in Code::values().filter(|code| is_tried(*code, mode) && is_wanted(*code)) {
        let (trial, done) = try_one(bench, &mut unit, code, mode);
        total += done;
        named.entry(trial).or_default().push(format!("{code:?}"));
    }
    let of = |trial| named.get(&trial).map_or(&[][..], Vec::as_slice);
    let same = of(Trial::Same).len();
    println!(
        "{mode:?}: {same} the same in {total} cases, not made: {:?}",
        of(Trial::NotMade)
    );
    let missing = of(Trial::Missing);
    println!(
        "SKIPPED: the host has not {missing:?}: {} skipped",
        missing.len()
    );
    let differing = of(Trial::Differs);
    assert!(
        differing.is_empty(),
        "{} differ: {differing:?}",
        differing.len()
    );
    let made = same + missing.len();
    assert!(
        made > 1100 || std::env::var("HUSK_ONLY").is_ok(),
        "only {made} were made"
    );
}

#[test]
fn code_of_64_bits() {
    with_bench(|bench| try_all(bench, Mode::Long));
}

#[test]
fn code_of_32_bits() {
    with_bench(|bench| try_all(bench, Mode::Protected));
}

#[test]
fn every_opcode_of_an_extension_is_known() {
    use CpuidFeature as Feature;
    let ours = [
        Feature::FPU,
        Feature::FPU287,
        Feature::FPU387,
        Feature::MMX,
        Feature::FXSR,
        Feature::SSE,
        Feature::SSE2,
        Feature::SSE3,
        Feature::SSSE3,
        Feature::SSE4_1,
        Feature::SSE4_2,
        Feature::AES,
        Feature::PCLMULQDQ,
        Feature::SHA,
        Feature::AVX,
        Feature::AVX2,
        Feature::FMA,
        Feature::F16C,
        Feature::VAES,
        Feature::VPCLMULQDQ,
        Feature::XSAVE,
        Feature::XSAVEOPT,
        Feature::XSAVEC,
    ];
    let encodings = [iced_x86::EncodingKind::Legacy, iced_x86::EncodingKind::VEX];
    let unknown: Vec<_> = Code::values()
        .filter(|code| code.op_code().is_instruction() && !code.op_code().fwait())
        .filter(|code| encodings.contains(&code.op_code().encoding()))
        .filter(|code| {
            let features = code.cpuid_features();
            let known = |feature: &Feature| ours.contains(feature) || *feature == Feature::CMOV;
            features.iter().all(known) && features.iter().any(|feature| ours.contains(feature))
        })
        .filter(|code| !knows(*code) && !x86_semantics::knows(code.mnemonic()))
        .map(|code| format!("{code:?}"))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
