//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::part::Part;

/// Runs programs natively and under Husk and compares them.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Only checks whose name contains this; may be given more than once.
    #[arg(long)]
    pub(crate) filter: Vec<String>,
    /// Leave out checks whose name contains this; may be given more than once.
    #[arg(long)]
    pub(crate) except: Vec<String>,
    /// Do not run checks whose name contains this, but count them as skipped; may be given more
    /// than once.
    #[arg(long)]
    pub(crate) leave_out: Vec<String>,
    /// The command under test.
    #[arg(long, default_value = "target/release/husk")]
    pub(crate) husk: PathBuf,
    /// The engine to ask for.
    #[arg(long)]
    pub(crate) engine: Option<String>,
    /// How many checks run at once.
    #[arg(long, default_value_t = 1)]
    pub(crate) jobs: usize,
    /// Also the checks that move gigabytes.
    #[arg(long)]
    pub(crate) include_slow: bool,
    /// Run everything as this user of the host; needs root.
    #[arg(long, value_name = "NAME")]
    pub(crate) as_user: Option<String>,
    /// Give a check that is not slow at most this many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) limit: Option<u64>,
    /// Give everything this many times the time: the machine is slow.
    #[arg(long, value_name = "FACTOR", default_value_t = 1)]
    pub(crate) patience: u32,
    /// Only this part of the checks, as 1/2 and 2/2.
    #[arg(long, value_name = "I/N")]
    pub(crate) part: Option<Part>,
    /// Runs the cases natively only, and keeps what they did in this folder.
    #[arg(long, value_name = "FOLDER", conflicts_with = "as_user")]
    pub(crate) record: Option<PathBuf>,
    /// Compares with what --record kept; natively runs only what differs from that, since it may
    /// depend on the kernel.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["record", "as_user"])]
    pub(crate) against: Option<PathBuf>,
    /// Names the checks and runs none.
    #[arg(long)]
    pub(crate) list: bool,
    /// Runs natively only, under strace, and reports cases that fork, start threads or do not
    /// repeat themselves.
    #[arg(long)]
    pub(crate) audit: bool,
}

impl Options {
    /// Whether the filters let this name through.
    pub(crate) fn wants(&self, name: &str) -> bool {
        let holds = |part: &String| name.contains(part.as_str());
        (self.filter.is_empty() || self.filter.iter().any(holds)) && !self.except.iter().any(holds)
    }
}
