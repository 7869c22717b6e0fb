//! Attacks on the walls of a machine: a line a case, and a count at the end.
//!
//! What is tried from inside is in `programs/`: C programs that take the cell over from
//! its kernel. What is watched from outside, by `/proc` and by strace, is here.
//!
//! * [`machine`]: starts husk and finds its processes.
//! * [`oracle`]: which system calls of the cell the host has served, from strace's log.
//! * [`attacks`]: host system calls in every way.
//! * [`hostile`]: a cell that fills and scribbles over what it shares with the monitor.
//! * [`executables`]: headers that lie.
//! * [`files`]: the file server while the host's side swaps directories and links.
//! * [`ends`]: what is left of a machine, and how its processes are confined.

mod attacks;
mod ends;
mod executables;
mod files;
mod hostile;
mod machine;
mod oracle;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::machine::Bench;

/// Attacks Husk's isolation and says what came of it.
#[derive(Debug, Parser)]
struct Options {
    /// The command under test
    #[arg(long, default_value = "target/release/husk")]
    husk: PathBuf,
    /// How long each of the random attacks lasts
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// First seed of the random attacks
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only cases whose name contains this; may be given more than once
    #[arg(long)]
    filter: Vec<String>,
    /// Names the cases and runs none
    #[arg(long)]
    list: bool,
}

/// How a case went, if it did not fail.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Held; with figures.
    Passed(String),
    /// Could not be tried here, and why.
    Skipped(String),
}

/// What a case does.
type Attempt = dyn Fn(&Bench) -> Result<Verdict>;

/// One case.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) run: Box<Attempt>,
}

impl Case {
    pub(crate) fn new(
        name: impl Into<String>,
        run: impl Fn(&Bench) -> Result<Verdict> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("isolation: {error:#}");
            ExitCode::from(125)
        }
    }
}

/// Runs the cases; how many failed.
fn run(options: &Options) -> Result<usize> {
    let mut cases = attacks::cases();
    cases.extend(hostile::cases(options.seed));
    cases.extend(executables::cases(options.seed));
    cases.extend(files::cases());
    cases.extend(ends::cases());
    let wanted = |name: &str| {
        options.filter.is_empty()
            || options
                .filter
                .iter()
                .any(|part| name.contains(part.as_str()))
    };
    cases.retain(|case| wanted(&case.name));
    if options.list {
        cases.iter().for_each(|case| println!("{}", case.name));
        return Ok(0);
    }
    let husk = std::fs::canonicalize(&options.husk)
        .with_context(|| format!("{}: build husk first", options.husk.display()))?;
    let bench = Bench::new(husk, options.seconds)?;
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for case in &cases {
        match (case.run)(&bench) {
            Ok(Verdict::Passed(figures)) => {
                passed += 1;
                println!("ok    {}: {figures}", case.name);
            }
            Ok(Verdict::Skipped(why)) => {
                skipped += 1;
                println!("SKIP  {}: {why}", case.name);
            }
            Err(error) => {
                failed += 1;
                println!("FAIL  {}: {error:#}", case.name);
            }
        }
    }
    println!("isolation: {passed} passed, {failed} failed, {skipped} skipped");
    Ok(failed)
}
