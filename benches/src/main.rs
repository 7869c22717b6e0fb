//! Does the same work natively, under Husk and under gVisor, turn by turn, and prints the ratios.
//!
//! A workload is a program that prints the time it measured itself, or a command line whose time
//! from start to exit counts. Nothing here judges a time: the table is for people and for the
//! release notes. Beside the workloads there are what Husk says about its own start ([`startup`]),
//! what a machine costs in memory ([`memory`]) and many machines at once ([`many`]).

mod c;
mod many;
mod measure;
mod memory;
mod options;
mod peer;
mod report;
mod startup;
mod workload;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;
use serde_json::json;

use crate::options::Options;
use crate::peer::Bench;

fn main() -> ExitCode {
    match benches(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benches: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn benches(options: &Options) -> Result<()> {
    let workloads = workload::all()
        .into_iter()
        .filter(|work| options.wants(work.name));
    let workloads: Vec<_> = workloads.collect();
    if options.list {
        workloads.iter().for_each(|work| println!("{}", work.name));
        return Ok(());
    }
    let bench = Bench::new(options)?;
    if let Some(machines) = options.many {
        return report::print_facts(options, &json!({ "many": many::run(&bench, machines)? }));
    }
    let rows: Vec<_> = workloads
        .iter()
        .map(|work| measure::row(&bench, work, options))
        .collect();
    let mut facts = json!({});
    if options.wants("startup") {
        facts["startup"] = startup::run(&bench, options.runs);
    }
    if options.wants("memory") {
        facts["memory"] = memory::run(&bench);
    }
    report::print(options, &rows, &facts)
}
