//! Whole operating systems: booted by `husk boot`, watched, ended.
//!
//! * `bad`: command lines that are refused.
//! * `cases`: what is booted, and what must be seen; `judge`: whether it was.
//! * `kernels`: Debian's kernels and their modules; `packages`: how they are fetched, once; `tiny`:
//!   kernels of some bytes.
//! * `initrd`, `cpio`: a first file system with busybox and a script; `programs`: what is in it
//!   besides, in C.
//! * `debug`: machines in the hands of gdb.
//! * `scenario`: guests with several lives, what is done to them and to their files meanwhile;
//!   `scenarios`: all of them, whose scripts are in `../scripts`.
//! * `systems`: what packages bring whole: Xen, Memtest86+, Debian's installer; and a Xen that somebody built.
//! * `when`: which of them are left out where they would take too long.
//! * `runner`: husk on this host, or in the nested environment that `--nested` names.
//!
//! The engine is KVM's unless `--engine` names another. What is missing (packages, a usable KVM) skips cases, loudly and counted.
#![forbid(unsafe_code)]

mod bad;
mod cases;
mod cpio;
mod debug;
mod initrd;
mod judge;
mod kernels;
mod packages;
mod programs;
mod runner;
mod scenario;
mod scenarios;
mod systems;
mod tiny;
mod when;

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::ScopedJoinHandle;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;

use cases::CASES;
use debug::DEBUGGED;
use judge::{Outcome, Wanted};
use kernels::Kernels;
use runner::{Prepared, Runner};
use scenarios::SCENARIOS;
use systems::{Given, SYSTEMS};
use when::When;

/// Boots whole operating systems.
#[derive(Debug, Parser)]
struct Options {
    /// The husk to test
    #[arg(long, default_value = "target/release/husk")]
    husk: PathBuf,
    /// The engine to ask for
    #[arg(long, default_value = "kvm")]
    engine: String,
    /// The built xtask, to run husk in its nested environment, where there is a KVM
    #[arg(long, value_name = "XTASK")]
    nested: Option<PathBuf>,
    /// Where kernels are kept
    #[arg(long, default_value = "target/guests")]
    folder: PathBuf,
    /// A Xen that can be a guest of another, unpacked (docs/guests.md)
    #[arg(long, value_name = "FILE")]
    pvh_xen: Option<PathBuf>,
    /// Only cases whose name contains this; several: any of them
    #[arg(long)]
    filter: Vec<String>,
    /// Also what takes minutes where every instruction is interpreted or emulated
    #[arg(long)]
    slow: bool,
    /// How many guests run at a time
    #[arg(long, default_value_t = 1, value_name = "N")]
    jobs: usize,
    /// Show what each guest said
    #[arg(long)]
    verbose: bool,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let runner = Runner::new(&options.husk, &options.engine, options.nested.as_deref())?;
    let unusable = runner.unusable()?;
    let kernels = Mutex::new(Kernels::new(&options.folder));
    let suite = Suite {
        runner,
        unusable,
        options,
    };
    let (suite, kernels) = (&suite, &kernels);
    let mut tests = Vec::new();
    for (arguments, says) in bad::TABLE {
        let run = || bad::run(suite.runner.husk(), arguments, says);
        tests.push(Test::new(format!("bad/{arguments}"), When::Always, run));
    }
    // Kernels are fetched and unpacked by one test at a time.
    let locked = move || kernels.lock().unwrap_or_else(PoisonError::into_inner);
    for case in CASES {
        let prepare = move |folder: &Path| case.prepare(&locked(), folder);
        let run = move || suite.run(case.name, &case.wanted(), &prepare);
        tests.push(Test::new(case.name.to_owned(), case.when, run));
    }
    for scenario in SCENARIOS {
        let is_nested = suite.runner.is_nested();
        let prepare = move |folder: &Path| scenario.prepare(&locked(), folder, is_nested);
        let run = move || suite.run(scenario.name, &scenario.wanted(), &prepare);
        tests.push(Test::new(scenario.name.to_owned(), scenario.when, run));
    }
    for debugged in DEBUGGED {
        let runner = &suite.runner;
        let place = (runner.husk(), runner.engine(), runner.is_nested());
        let prepare = move |folder: &Path| debugged.prepare(&locked(), folder, place);
        let run = move || suite.run(debugged.name, &debugged.wanted(), &prepare);
        tests.push(Test::new(debugged.name.to_owned(), When::Always, run));
    }
    for system in SYSTEMS {
        let given = Given {
            pvh_xen: suite.options.pvh_xen.as_deref(),
            engine: suite.runner.engine(),
        };
        let prepare = move |folder: &Path| system.prepare(&locked(), folder, given);
        let run = move || suite.run(system.name, &system.wanted(), &prepare);
        tests.push(Test::new(system.name.to_owned(), system.when, run));
    }
    tests.retain(|test| is_wanted(&test.name, &suite.options.filter));
    let (is_nested, slow) = (suite.runner.is_nested(), suite.options.slow);
    let (tests, left_out): (Vec<_>, Vec<_>) = tests
        .into_iter()
        .partition(|test| test.when.is_now(is_nested, slow));
    if !left_out.is_empty() {
        println!("{} left out that take long (--slow)", left_out.len());
    }
    let Counts {
        passed,
        failed,
        skipped,
    } = run_all(&tests, suite.options.jobs)?;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// Something to be tested, under a name.
struct Test<'a> {
    name: String,
    when: When,
    run: Box<dyn Fn() -> Result<Outcome> + Sync + 'a>,
}

impl<'a> Test<'a> {
    fn new(name: String, when: When, run: impl Fn() -> Result<Outcome> + Sync + 'a) -> Self {
        let run = Box::new(run);
        Self { name, when, run }
    }
}

/// Runs all of them, `jobs` at a time, in their order.
fn run_all(tests: &[Test<'_>], jobs: usize) -> Result<Counts> {
    let next = AtomicUsize::new(0);
    let counts = Mutex::new(Counts::default());
    let work = || {
        while let Some(test) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
            let started = Instant::now();
            let outcome = (test.run)()?;
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.note(&test.name, started, outcome);
        }
        Ok(())
    };
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        let mut joined = workers.into_iter().map(ScopedJoinHandle::join);
        joined.try_for_each(|worker| worker.unwrap_or_else(|panic| resume_unwind(panic)))
    })?;
    Ok(counts.into_inner().unwrap_or_else(PoisonError::into_inner))
}

#[derive(Debug, Default)]
struct Counts {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Counts {
    /// Says how one went, and counts it.
    fn note(&mut self, name: &str, started: Instant, outcome: Outcome) {
        match outcome {
            Outcome::Passed => {
                self.passed += 1;
                println!("ok      {name} ({} s)", started.elapsed().as_secs());
            }
            Outcome::Failed(why) => {
                self.failed += 1;
                println!("FAILED  {name}: {why}");
            }
            Outcome::Skipped(why) => {
                self.skipped += 1;
                println!("SKIPPED {name}: {why}");
            }
        }
    }
}

fn is_wanted(name: &str, filter: &[String]) -> bool {
    filter.is_empty() || filter.iter().any(|part| name.contains(part.as_str()))
}

/// What every guest is run with.
struct Suite {
    options: Options,
    runner: Runner,
    /// Why nothing can be booted.
    unusable: Option<String>,
}

impl Suite {
    /// Runs one guest. In the nested environment it has a second try, which is announced.
    fn run(
        &self,
        name: &str,
        wanted: &Wanted,
        prepare: &impl Fn(&Path) -> Result<Prepared>,
    ) -> Result<Outcome> {
        match &self.unusable {
            Some(reason) => Ok(Outcome::Skipped(reason.clone())),
            None => match self.boot(wanted, prepare)? {
                // The emulated KVM may have lost an interrupt (docs/nested-kvm.md).
                Outcome::Failed(why) if self.runner.is_nested() => {
                    println!("RETRY   {name}: {why}");
                    self.boot(wanted, prepare)
                }
                outcome => Ok(outcome),
            },
        }
    }

    fn boot(
        &self,
        wanted: &Wanted,
        prepare: &impl Fn(&Path) -> Result<Prepared>,
    ) -> Result<Outcome> {
        // The nested environment has the host's files, but not those in /tmp.
        let folder = std::path::absolute(&self.options.folder)?;
        std::fs::create_dir_all(&folder)?;
        let scratch = tempfile::tempdir_in(folder)?;
        let prepared = match prepare(scratch.path()) {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Outcome::Skipped(format!("{error:#}"))),
        };
        let ended = self.runner.run(&prepared, scratch.path())?;
        if self.options.verbose {
            println!("{}", ended.said);
        }
        Ok(judge::judge(wanted, &ended))
    }
}
