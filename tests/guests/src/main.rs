//! Whole operating systems: booted by `husk boot`, watched, ended.
//!
//! * `cases`: what is booted, and what must be seen; `judge`: whether it was.
//! * `kernels`: Debian's kernels and their modules, fetched once; `tiny`: kernels of some bytes.
//! * `initrd`, `cpio`: a first file system with busybox and a script.
//! * `runner`: husk on this host, or in the nested environment that `--nested` names.
//!
//! What is missing (packages, a usable KVM) skips cases, loudly and counted.
#![forbid(unsafe_code)]

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
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for case in CASES.iter().filter(|case| is_wanted(case, &options.filter)) {
        let started = Instant::now();
        let outcome = match &unusable {
            Some(reason) => Outcome::Skipped(reason.clone()),
            None => run(case, &runner, &kernels, options.verbose)?,
        };
        let seconds = started.elapsed().as_secs();
        match outcome {
            Outcome::Passed => {
                passed += 1;
                println!("ok      {} ({seconds} s)", case.name);
            }
            Outcome::Failed(why) => {
                failed += 1;
                println!("FAILED  {}: {why}", case.name);
            }
            Outcome::Skipped(why) => {
                skipped += 1;
                println!("SKIPPED {}: {why}", case.name);
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn is_wanted(case: &Case, filter: &[String]) -> bool {
    filter.is_empty() || filter.iter().any(|part| case.name.contains(part.as_str()))
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
