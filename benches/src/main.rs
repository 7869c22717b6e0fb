//! Does the same work natively, under Husk and under gVisor, turn by turn, and prints the ratios.
//!
//! A workload is a program that prints the time it measured itself, or a command line whose time
//! from start to exit counts. Nothing here judges a time: the table is for people and for the
//! release notes. Beside the workloads there are what Husk says about its own start ([`startup`]),
//! what a machine costs in memory ([`memory`]) and many machines at once ([`many`]). Servers
//! ([`network`]) run on all sides at the same time and are asked in turn; what a silent one costs is
//! in [`idle`]. The interpreter has a peer of its own ([`interpreters`]).

mod bulk;
mod c;
mod idle;
mod interpreters;
mod many;
mod measure;
mod memory;
mod network;
mod options;
mod peer;
mod place;
mod report;
mod row;
mod spring;
mod startup;
mod workload;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;
use serde_json::json;

use crate::options::{Group, Options};
use crate::peer::Bench;
use crate::row::Row;
use crate::workload::Workload;

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
    let workloads: Vec<_> = workload::all()
        .into_iter()
        .filter(|work| options.wants_group(work.group) && options.wants(work.name))
        .collect();
    if options.list {
        list(options, &workloads);
        return Ok(());
    }
    let bench = Bench::new(options)?;
    if let Some(machines) = options.many {
        return report::print_facts(options, &json!({ "many": many::run(&bench, machines)? }));
    }
    if options.interpreters {
        let rows = interpreters::run(&bench, options)?;
        return report::print_facts(options, &json!({ "interpreters": rows }));
    }
    let rows = measure_all(&bench, options, &workloads)?;
    let mut facts = json!({});
    let is_plain = options.wants_group(Group::Plain);
    if is_plain && options.wants("startup") {
        facts["startup"] = startup::run(&bench, options.runs);
    }
    if is_plain && options.wants("memory") {
        facts["memory"] = memory::run(&bench);
    }
    report::print(options, &rows, &facts)
}

fn list(options: &Options, workloads: &[Workload]) {
    workloads.iter().for_each(|work| println!("{}", work.name));
    if wants_spring(options) {
        println!("{}", spring::NAME);
    }
    if options.wants_group(Group::Network) {
        network::names(options).for_each(|name| println!("{name}"));
    }
    if wants_idle(options) {
        println!("{}", idle::NAME);
    }
}

fn wants_spring(options: &Options) -> bool {
    options.wants_group(Group::Runtimes) && options.wants(spring::NAME)
}

fn wants_idle(options: &Options) -> bool {
    options.wants_group(Group::Idle) && options.wants(idle::NAME)
}

/// The servers last: they confine this process to two processors.
fn measure_all(bench: &Bench, options: &Options, workloads: &[Workload]) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = workloads
        .iter()
        .map(|work| measure::row(bench, work, options))
        .collect();
    if wants_spring(options) {
        rows.push(spring::row(bench, options));
    }
    if wants_idle(options) {
        rows.push(idle::row(bench, options));
    }
    if options.wants_group(Group::Network) {
        rows.extend(network::rows(bench, options)?);
    }
    Ok(rows)
}
