//! Whole operating systems: booted by `husk boot`, watched, ended.
//!
//! * `bad`: command lines that are refused.
//! * `cases`: what is booted, and what must be seen; `judge`: whether it was.
//! * `kernels`: Debian's kernels and their modules, fetched once; `tiny`: kernels of some bytes.
//! * `initrd`, `cpio`: a first file system with busybox and a script; `programs`: what is in it
//!   besides, in C.
//! * `scenario`: guests with several lives, what is done to them and to their files meanwhile;
//!   `scenarios`: all of them, whose scripts are in `../scripts`.
//! * `runner`: husk on this host, or in the nested environment that `--nested` names.
//!
//! What is missing (packages, a usable KVM) skips cases, loudly and counted.
#![forbid(unsafe_code)]

mod bad;
mod cases;
mod cpio;
mod initrd;
mod judge;
mod kernels;
mod programs;
mod runner;
mod scenario;
mod scenarios;
mod tiny;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;

use cases::CASES;
use judge::{Outcome, Wanted};
use kernels::Kernels;
use runner::{Prepared, Runner};
use scenarios::SCENARIOS;

/// Boots whole operating systems.
#[derive(Debug, Parser)]
struct Options {
    /// The husk to test
    #[arg(long, default_value = "target/release/husk")]
    husk: PathBuf,
    /// The built xtask, to run husk in its nested environment, where there is a KVM
    #[arg(long, value_name = "XTASK")]
    nested: Option<PathBuf>,
    /// Where kernels are kept
    #[arg(long, default_value = "target/guests")]
    folder: PathBuf,
    /// Only cases whose name contains this; several: any of them
    #[arg(long)]
    filter: Vec<String>,
    /// Show what each guest said
    #[arg(long)]
    verbose: bool,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let runner = Runner::new(&options.husk, options.nested.as_deref())?;
    let unusable = runner.unusable()?;
    let mut counts = Counts::default();
    for (arguments, says) in bad::TABLE {
        let name = format!("bad/{arguments}");
        if is_wanted(&name, &options.filter) {
            counts.note(&name, || bad::run(runner.husk(), arguments, says))?;
        }
    }
    let suite = Suite {
        runner,
        kernels: Kernels::new(&options.folder),
        unusable,
        options,
    };
    for case in CASES {
        let prepare = |folder: &Path| case.prepare(&suite.kernels, folder);
        suite.run(case.name, &case.wanted(), prepare, &mut counts)?;
    }
    for scenario in SCENARIOS {
        let prepare =
            |folder: &Path| scenario.prepare(&suite.kernels, folder, suite.runner.is_nested());
        suite.run(scenario.name, &scenario.wanted(), prepare, &mut counts)?;
    }
    let Counts {
        passed,
        failed,
        skipped,
    } = counts;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

#[derive(Debug, Default)]
struct Counts {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Counts {
    /// Runs one, says how it went, and counts it.
    fn note(&mut self, name: &str, run: impl FnOnce() -> Result<Outcome>) -> Result<()> {
        let started = Instant::now();
        match run()? {
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
        Ok(())
    }
}

fn is_wanted(name: &str, filter: &[String]) -> bool {
    filter.is_empty() || filter.iter().any(|part| name.contains(part.as_str()))
}

/// What every guest is run with.
struct Suite {
    options: Options,
    runner: Runner,
    kernels: Kernels,
    /// Why nothing can be booted.
    unusable: Option<String>,
}

impl Suite {
    /// Runs one guest, if it is wanted, and counts it. In the nested environment it has a second
    /// try, which is announced.
    fn run(
        &self,
        name: &str,
        wanted: &Wanted,
        prepare: impl Fn(&Path) -> Result<Prepared>,
        counts: &mut Counts,
    ) -> Result<()> {
        if !is_wanted(name, &self.options.filter) {
            return Ok(());
        }
        counts.note(name, || match &self.unusable {
            Some(reason) => Ok(Outcome::Skipped(reason.clone())),
            None => match self.boot(wanted, &prepare)? {
                // The emulated KVM may have lost an interrupt (docs/nested-kvm.md).
                Outcome::Failed(why) if self.runner.is_nested() => {
                    println!("RETRY   {name}: {why}");
                    self.boot(wanted, &prepare)
                }
                outcome => Ok(outcome),
            },
        })
    }

    fn boot(
        &self,
        wanted: &Wanted,
        prepare: &impl Fn(&Path) -> Result<Prepared>,
    ) -> Result<Outcome> {
        let scratch = tempfile::tempdir()?;
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
