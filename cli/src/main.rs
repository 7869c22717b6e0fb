//! The `husk` command, a file a verb.
//!
//! What every verb shares: one sentence on stderr for what went wrong
//! (`husk: what: why (remedy)`) and the exit statuses of [`error`].

mod arguments;
mod boot;
mod choice;
mod clock;
mod confine;
mod debug;
mod determinism;
mod ending;
mod engines;
mod error;
mod filter;
mod image;
mod limits;
mod network;
mod run;
mod signals;
mod stats;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Verb};

fn main() -> ExitCode {
    let started = host::cpu::tsc();
    limits::outlive_sizes();
    let mut arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return arguments::refuse(&error),
    };
    if let Err(error) = determinism::settle(&mut arguments) {
        return error.report();
    }
    let result = match &arguments.verb {
        Verb::Run(options) => run::run(options, started),
        Verb::Boot(options) => boot::boot(options),
        Verb::Engines => engines::engines(),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => error.report(),
    }
}
