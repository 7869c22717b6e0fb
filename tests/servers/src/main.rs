//! Servers in machines: real ones and small ones, under load by clients of the host.
//!
//! * `table`: the servers that somebody else wrote, each a [`server::Server`]; `needs`: what they
//!   need of this host; `loads`: what they are asked.
//! * `scenarios`: networks in hard times, with small servers from `../programs`.
//! * `site`: where a case runs.
//!
//! Processes, ports, clients and load are those of `tests/serving`.
//!
//! A failed request fails its case; what is missing on this host skips it, loudly and counted.
//! Figures are shown and never judged.
#![forbid(unsafe_code)]

mod cases;
mod loads;
mod needs;
mod nested;
mod options;
mod programs;
mod scenarios;
mod server;
mod site;
mod table;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::options::Options;

fn main() -> ExitCode {
    match servers(Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("servers: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether nothing failed.
fn servers(mut options: Options) -> Result<bool> {
    let missing = || {
        let husk = options.husk.display();
        format!("no {husk}: run `cargo build --release` first, or say --husk PATH")
    };
    options.husk = options.husk.canonicalize().with_context(missing)?;
    options.folder = std::path::absolute(&options.folder)?;
    if let Some(xtask) = &options.nested {
        return nested::run(xtask, &options);
    }
    let cases = cases::selected(&options);
    if options.list {
        cases.iter().for_each(|case| println!("{}", case.name()));
        return Ok(true);
    }
    raise_open_files()?;
    Ok(cases::run_all(&options, &cases))
}

/// As many open files as the host lets us have; husk inherits them.
fn raise_open_files() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    Ok(setrlimit(Resource::Nofile, limit)?)
}
