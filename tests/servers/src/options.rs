//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Runs servers in machines and puts them under load.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Options {
    /// Only cases whose name contains this; may be given more than once
    #[arg(long)]
    pub(crate) filter: Vec<String>,
    /// The husk to test
    #[arg(long, default_value = "target/release/husk")]
    pub(crate) husk: PathBuf,
    /// The engine to ask for
    #[arg(long)]
    pub(crate) engine: Option<String>,
    /// How many virtual CPUs a server's machine has
    #[arg(long, value_enum, default_value = "both")]
    pub(crate) cpus: Cpus,
    /// The built xtask, to run all of this in its nested environment, by the KVM engine
    #[arg(long, value_name = "XTASK")]
    pub(crate) nested: Option<PathBuf>,
    /// How many cases run at once
    #[arg(long, default_value_t = 2)]
    pub(crate) jobs: usize,
    /// The longer versions of what has one
    #[arg(long)]
    pub(crate) slow: bool,
    /// Also run each server natively, and show the ratio
    #[arg(long)]
    pub(crate) native: bool,
    /// Run the servers natively only: checks the table itself
    #[arg(long)]
    pub(crate) audit: bool,
    /// Give everything this many times the time: the host is slow
    #[arg(long, value_name = "FACTOR", default_value_t = 1)]
    pub(crate) patience: u32,
    /// Where what comes from npm is kept
    #[arg(long, default_value = "target/servers")]
    pub(crate) folder: PathBuf,
    /// Name the cases and run none
    #[arg(long)]
    pub(crate) list: bool,
    /// Show what each machine said
    #[arg(long)]
    pub(crate) verbose: bool,
}

/// Numbers of virtual CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cpus {
    /// One
    #[value(name = "1")]
    One,
    /// Two
    #[value(name = "2")]
    Two,
    /// Each server with one, then with two
    Both,
}

impl Options {
    /// Whether the filters let this name through.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|part| name.contains(part.as_str()))
    }

    /// The numbers of virtual CPUs to try.
    pub(crate) const fn cpus(&self) -> &'static [u32] {
        match self.cpus {
            Cpus::One => &[1],
            Cpus::Two => &[2],
            Cpus::Both => &[1, 2],
        }
    }
}
