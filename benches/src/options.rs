//! The command line.

use std::path::PathBuf;
use std::time::Duration;

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
    /// Instead of the workloads: servers under load by clients of the host, and bulk transfers.
    #[arg(long)]
    pub(crate) network: bool,
    /// Instead of the workloads: hand-overs between two threads.
    #[arg(long)]
    pub(crate) hand_over: bool,
    /// Instead of the workloads: Java, Node, Python and esbuild.
    #[arg(long)]
    pub(crate) runtimes: bool,
    /// Instead of the workloads: processor time of a machine that only listens.
    #[arg(long)]
    pub(crate) idle: bool,
    /// Instead of the workloads: the interpreter and Bochs, in the same guest.
    #[arg(long)]
    pub(crate) interpreters: bool,
    /// A Bochs built with -O3 and without its debugger, instead of Debian's.
    #[arg(long, value_name = "FILE")]
    pub(crate) bochs: Option<PathBuf>,
    /// Where `guests` keeps the kernels.
    #[arg(long, value_name = "DIR", default_value = "target/guests")]
    pub(crate) guests: PathBuf,
    /// How long each run under load takes.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) seconds: u64,
    /// How many virtual CPUs the machine of a server has.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) cpus: u32,
    /// Where `servers` keeps what comes from npm.
    #[arg(long, value_name = "DIR", default_value = "target/servers")]
    pub(crate) kept: PathBuf,
    /// Names the workloads and runs none.
    #[arg(long)]
    pub(crate) list: bool,
}

/// Workloads that are asked for together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// What runs when no other is asked for.
    Plain,
    Network,
    HandOver,
    Runtimes,
    Idle,
}

impl Options {
    /// Whether the filters let this name through.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|part| name.contains(part.as_str()))
    }

    /// Whether a group is asked for.
    pub(crate) fn wants_group(&self, group: Group) -> bool {
        match group {
            Group::Plain => !(self.network || self.hand_over || self.runtimes || self.idle),
            Group::Network => self.network,
            Group::HandOver => self.hand_over,
            Group::Runtimes => self.runtimes,
            Group::Idle => self.idle,
        }
    }

    /// How long each run under load takes.
    pub(crate) const fn window(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_replaces_the_plain_workloads() {
        let none = Options::parse_from(["benches"]);
        assert!(none.wants_group(Group::Plain) && !none.wants_group(Group::Network));
        let two = Options::parse_from(["benches", "--network", "--hand-over"]);
        assert!(two.wants_group(Group::Network) && two.wants_group(Group::HandOver));
        assert!(!two.wants_group(Group::Plain) && !two.wants_group(Group::Idle));
    }
}
