//! Whole operating systems: booted by `husk boot`, watched, ended.
//!
//! * `bad`: command lines that are refused.
//! * `cases`: what is booted, and what must be seen; `judge`: whether it was.
//! * `kernels`: Debian's kernels and their modules, fetched once; `tiny`: kernels of some bytes.
//! * `initrd`, `cpio`: a first file system with busybox and a script.
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
mod runner;
mod tiny;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;

use cases::{CASES, Case};
use judge::Outcome;
use kernels::Kernels;
use runner::Runner;

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
    let kernels = Kernels::new(&options.folder);
    let unusable = runner.unusable()?;
    let mut counts = Counts::default();
    for (arguments, says) in bad::TABLE {
        let name = format!("bad/{arguments}");
        if is_wanted(&name, &options.filter) {
            counts.note(&name, || bad::run(runner.husk(), arguments, says))?;
        }
    }
    for case in CASES
        .iter()
        .filter(|case| is_wanted(case.name, &options.filter))
    {
        counts.note(case.name, || match &unusable {
            Some(reason) => Ok(Outcome::Skipped(reason.clone())),
            None => run(case, &runner, &kernels, options.verbose),
        })?;
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

fn run(case: &Case, runner: &Runner, kernels: &Kernels, verbose: bool) -> Result<Outcome> {
    let scratch = tempfile::tempdir()?;
    let prepared = match case.prepare(kernels, scratch.path()) {
        Ok(prepared) => prepared,
        Err(error) => return Ok(Outcome::Skipped(format!("{error:#}"))),
    };
    let ended = runner.run(&prepared, scratch.path())?;
    if verbose {
        println!("{}", ended.said);
    }
    Ok(judge::judge(case, &ended))
}
