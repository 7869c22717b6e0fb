//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Measures the same work natively, under Husk and, when installed, under runsc.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Only workloads whose name contains this; may be given more than once.
    #[arg(long)]
    pub(crate) filter: Vec<String>,
    /// How often each workload runs on each side.
    #[arg(long, default_value_t = 5)]
    pub(crate) runs: usize,
    /// The command to measure.
    #[arg(long, default_value = "target/release/husk")]
    pub(crate) husk: PathBuf,
    /// The engine to ask for.
    #[arg(long)]
    pub(crate) engine: Option<String>,
    /// Leave gVisor's runsc out, even when it is installed.
    #[arg(long)]
    pub(crate) no_peer: bool,
    /// More arguments for runsc, such as --runsc-arg=--platform=systrap.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) runsc_arg: Vec<String>,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
    /// Instead of the workloads: this many idle machines at once.
    #[arg(long, value_name = "N")]
    pub(crate) many: Option<usize>,
    /// Names the workloads and runs none.
    #[arg(long)]
    pub(crate) list: bool,
}

impl Options {
    /// Whether the filters let this name through.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|part| name.contains(part.as_str()))
    }
}
