//! Two engines side by side: KVM and the interpreter execute the same kernel, an instruction at a time, and all of
//! their registers are compared after each, their memory from time to time.
//!
//!     lockstep                                    # both kernels, from their first instruction to their end
//!     lockstep --filter husk/ --steps 100000
//!     target/debug/xtask nested-kvm target/release/lockstep
//!
//! * `side`: one of the machines; `lockstep`: the pair; `follower`: KVM's part of it. `instruction`: what comes next, and how it can end.
//! * `compare`, `ram`: how registers and memories differ. `exceptions`: what may differ anywhere, and why;
//!   `deviations`: what may where QEMU emulates the processor.
//! * `husk`, `desk`: our kernel with a program. `protected`: a 32-bit kernel of this suite.
//!
//! Interrupts are held back: when they come is time. Without a KVM everything is skipped, loudly and counted.
#![forbid(unsafe_code)]

mod compare;
mod desk;
mod deviations;
mod exceptions;
mod follower;
mod husk;
mod instruction;
mod lockstep;
mod protected;
mod ram;
mod side;
mod undefined;
mod watchdog;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use engine_contract::Engine;
use engine_emulate::Emulate;
use engine_kvm::Kvm;

use lockstep::{Limits, Lockstep, Outcome};
use protected::{AREAS, Area};
use side::Side;
use watchdog::Watchdog;

/// Steps two engines side by side.
#[derive(Debug, Parser)]
struct Options {
    /// Only kernels whose name contains this
    #[arg(long, default_value = "")]
    filter: String,
    /// Most instructions of a kernel
    #[arg(long, default_value_t = u64::MAX)]
    steps: u64,
    /// Compare memory each so many instructions, and at the end
    #[arg(long, default_value_t = 100_000)]
    every: u64,
    /// Step for so many seconds at most
    #[arg(long)]
    seconds: Option<u64>,
    /// The interpreter beside itself: tries this suite where there is no KVM
    #[arg(long)]
    alone: bool,
}

/// Our own kernel's.
const HUSK: &str = "husk/hello";

/// What became of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    Skipped,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let engine: Box<dyn Engine> = if options.alone {
        Box::new(Emulate)
    } else {
        Box::new(Kvm)
    };
    let areas = AREAS
        .iter()
        .filter(|area| area.name.contains(&options.filter));
    let areas: Vec<&Area> = areas.collect();
    let with_husk = HUSK.contains(&options.filter);
    // A nested KVM is slow, which is nothing here.
    let refusal = engine.probe().refusal;
    let refusal =
        refusal.filter(|_| !(deviations::is_in_tcg() && Side::new(&*engine, 1 << 20).is_ok()));
    if let Some(refusal) = refusal {
        let count = areas.len() + usize::from(with_husk);
        println!("SKIPPED: no KVM to step beside: {refusal}");
        println!("0 passed, 0 failed, {count} skipped");
        return Ok(ExitCode::SUCCESS);
    }
    let limits = Limits {
        steps: options.steps,
        every: options.every,
        until: options
            .seconds
            .map(|seconds| Instant::now() + Duration::from_secs(seconds)),
    };
    let mut verdicts = Vec::new();
    for area in areas {
        verdicts.push(run_area(area, &*engine, &options, limits)?);
    }
    if with_husk {
        verdicts.push(run_husk(&*engine, &options, limits)?);
    }
    let count = |wanted| {
        verdicts
            .iter()
            .filter(|verdict| **verdict == wanted)
            .count()
    };
    let failed = count(Verdict::Failed);
    let (passed, skipped) = (count(Verdict::Passed), count(Verdict::Skipped));
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// An area of the 32-bit kernel: by each engine alone, then side by side.
fn run_area(
    area: &Area,
    engine: &dyn Engine,
    options: &Options,
    limits: Limits,
) -> Result<Verdict> {
    let name = area.name;
    if let Some(why) = area
        .not_emulated
        .filter(|_| !options.alone && deviations::is_in_tcg())
    {
        println!("SKIPPED {name}: {why}");
        return Ok(Verdict::Skipped);
    }
    let mut has_failed = false;
    for engine in [&Emulate, engine] {
        let is_nested = engine.name() == "kvm" && deviations::is_in_tcg();
        if let Some(why) = area.not_alone.filter(|_| is_nested) {
            println!("NOTE {name}: not by KVM alone: {why}");
            continue;
        }
        let mut side = protected::machine(engine, area)?;
        let ended = side.finish(&Watchdog::start(side.kick()))?;
        if ended != protected::PASSED {
            println!(
                "FAIL {name}: by {} alone it ends with {ended}",
                engine.name()
            );
            has_failed = true;
        }
    }
    let (mine, theirs) = (
        protected::machine(&Emulate, area)?,
        protected::machine(engine, area)?,
    );
    let mut pair = Lockstep::new(mine, theirs, limits)?;
    let verdict = judge(name, &mut pair, protected::PASSED)?;
    Ok(match verdict {
        _ if has_failed => Verdict::Failed,
        Verdict::Passed if pair.was_cut() => {
            println!("SKIPPED {name}: the rest of it; there was no more time");
            Verdict::Skipped
        }
        verdict => verdict,
    })
}

fn run_husk(engine: &dyn Engine, options: &Options, limits: Limits) -> Result<Verdict> {
    let files = husk::Files::new()?;
    let (mine, theirs) = ("emulate", "kvm");
    let emulate = husk::machine(&Emulate, mine, &files)?;
    let kvm = husk::machine(engine, theirs, &files)?;
    let mut pair = Lockstep::new(emulate, kvm, limits)?;
    let verdict = judge(HUSK, &mut pair, husk::ENDED)?;
    let said = (files.said(mine)?, files.said(theirs)?);
    let is_whole = options.steps == u64::MAX && !pair.was_cut();
    if is_whole && said != (husk::SAID.to_owned(), husk::SAID.to_owned()) {
        println!("FAIL {HUSK}: the program said {said:?}");
        return Ok(Verdict::Failed);
    }
    Ok(verdict)
}

/// Runs a pair, and says what was seen; `end` is how it ends when all went well.
fn judge(name: &str, pair: &mut Lockstep, end: &str) -> Result<Verdict> {
    let started = Instant::now();
    let outcome = pair.run();
    let outcome = outcome.unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
    let seconds = started.elapsed().as_secs_f64();
    let (counts, history) = (pair.counts(), pair.history());
    let why = match outcome {
        Outcome::Enough => None,
        Outcome::Ended(how) if how == end => None,
        Outcome::Ended(how) => Some(format!("it ends with {how}, after\n{history}")),
        Outcome::Halted => Some(format!("it waits for an interrupt, after\n{history}")),
        Outcome::Failed(why) => Some(why),
    };
    let (word, verdict) = match &why {
        None => ("ok  ", Verdict::Passed),
        Some(_) => ("FAIL", Verdict::Failed),
    };
    let (steps, arrivals) = (counts.steps, counts.arrivals);
    println!(
        "{word} {name}: {steps} instructions in {seconds:.1} s, {arrivals} of them by arrival"
    );
    for (kind, count) in &counts.exceptions {
        println!("  excused: {} ({count} times)", kind.name());
    }
    for (what, count) in &counts.deviations {
        println!("  QEMU's emulation: {what} ({count} times)");
    }
    if let Some(why) = why {
        println!("  {why}");
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_area_passes_by_the_interpreter_alone() {
        for area in &AREAS {
            let mut side = protected::machine(&Emulate, area).unwrap();
            let ended = side.finish(&Watchdog::start(side.kick())).unwrap();
            assert_eq!(ended, protected::PASSED, "{}", area.name);
        }
    }

    #[test]
    fn the_interpreter_does_what_it_does_itself() {
        for area in AREAS.iter().step_by(4) {
            let machine = || protected::machine(&Emulate, area).unwrap();
            let limits = Limits {
                steps: u64::MAX,
                every: u64::MAX,
                until: None,
            };
            let mut pair = Lockstep::new(machine(), machine(), limits).unwrap();
            let outcome = pair.run().unwrap();
            let is_good = matches!(&outcome, Outcome::Ended(how) if how == protected::PASSED);
            assert!(is_good, "{}: {outcome:?}", area.name);
        }
    }
}
