//! Runs command lines natively and in a machine, and compares what they print, how they end and
//! what they leave behind. The natively run program is the only oracle.
//!
//! Three kinds of checks share one runner: [`case::Case`] compares two runs, [`badinput`] gives
//! Husk something wrong and reads the sentence it answers with, [`scenarios`] kill things and look
//! at what stays. Each prints one line; the last line counts them.

mod audit;
mod badinput;
mod c;
mod case;
mod check;
mod compare;
mod content;
mod gaps;
mod harness;
mod many_names;
mod options;
mod part;
mod process;
mod record;
mod repeated;
mod report;
mod scenarios;
mod scratch;
mod shown_files;
mod table;
mod traces;
mod tree;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;

use crate::harness::Harness;
use crate::options::Options;

fn main() -> ExitCode {
    match conformance(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("conformance: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything passed.
fn conformance(options: &Options) -> Result<bool> {
    let checks = check::selected(options);
    if options.list {
        checks.iter().for_each(|check| println!("{}", check.name()));
        return Ok(true);
    }
    let harness = Harness::new(options)?;
    if options.audit {
        return audit::run(&harness, &checks);
    }
    if options.record.is_some() {
        return harness.keep(report::record_all(&harness, &checks, options.jobs));
    }
    Ok(report::run_all(&harness, &checks, options.jobs))
}
