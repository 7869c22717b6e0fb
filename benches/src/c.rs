//! Builds the C programs of `programs/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::workload::found;

/// Where the sources lie.
pub(crate) fn programs() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/programs"))
}

/// Builds a program statically into the folder, once.
pub(crate) fn build(folder: &Path, name: &str) -> Result<PathBuf> {
    let program = folder.join(name);
    if program.exists() {
        return Ok(program);
    }
    let source = programs().join(format!("{name}.c"));
    let result = Command::new(found("cc")?)
        .args(["-O2", "-static", "-pthread", "-Wall", "-Wextra", "-o"])
        .args([&program, &source])
        .arg("-lm")
        .output()
        .context("cc does not start")?;
    let complaint = String::from_utf8_lossy(&result.stderr);
    ensure!(
        result.status.success(),
        "{name}.c does not compile: {complaint}"
    );
    Ok(program)
}
