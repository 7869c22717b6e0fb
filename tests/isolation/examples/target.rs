//! Runs the body of a fuzz target on files, or on random inputs: `target NAME FILE...`, `target NAME --random COUNT [SEED]`.

use std::env::args;

use isolation::{Random, body, instructions_tally};

/// Most bytes of a random input.
const LONGEST: u64 = 300;

fn main() {
    let arguments: Vec<String> = args().skip(1).collect();
    let [name, rest @ ..] = &arguments[..] else {
        panic!("a target's name is missing");
    };
    let target = body(name);
    let number = |at: usize| {
        rest.get(at)
            .map_or(0, |text| text.parse().expect("a number"))
    };
    if rest.first().is_some_and(|first| first == "--random") {
        for seed in number(2)..number(2) + number(1) {
            println!("seed {seed}");
            target(&input(seed));
        }
        print!("{}", instructions_tally());
        return;
    }
    for file in rest {
        println!("{file}");
        target(&std::fs::read(file).expect("a file that can be read"));
    }
}

/// Bytes of which many are zero.
fn input(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let length = random.below(LONGEST);
    let zeros = random.below(4);
    let byte = |_| match random.below(4) {
        kind if kind < zeros => 0,
        _ => random.bits() as u8,
    };
    (0..length).map(byte).collect()
}
