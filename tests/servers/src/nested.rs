//! The whole suite in the nested environment, where there is a KVM.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::options::Options;

/// Runs this very program there, and shows what it says; whether nothing failed.
///
/// # Errors
/// When the environment cannot be started.
pub(crate) fn run(xtask: &Path, options: &Options) -> Result<bool> {
    let mut command = Command::new(std::path::absolute(xtask)?);
    command.args(["nested-kvm", "--host-root", "--memory", "4G"]);
    command.args(["--timeout", "3000"]);
    command.arg(std::env::current_exe()?);
    command.arg("--husk").arg(&options.husk);
    command.arg("--folder").arg(&options.folder);
    command.args(["--engine", "kvm", "--cpus", "1", "--jobs", "1"]);
    command.args(["--patience", "8"]);
    for filter in &options.filter {
        command.args(["--filter", filter]);
    }
    for (flag, is_given) in [("--slow", options.slow), ("--verbose", options.verbose)] {
        command.args(is_given.then_some(flag));
    }
    let status = command.status().context("xtask does not start")?;
    Ok(status.success())
}
