//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Runs programs natively and under Husk and compares them.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Only checks whose name contains this; may be given more than once.
    #[arg(long)]
    pub(crate) filter: Vec<String>,
    /// Leave out checks whose name contains this; may be given more than once.
    #[arg(long)]
    pub(crate) except: Vec<String>,
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
