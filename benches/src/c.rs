//! Builds the C programs of `programs/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Builds a program statically into the folder, once.
pub(crate) fn build(folder: &Path, name: &str) -> Result<PathBuf> {
    let program = folder.join(name);
    if program.exists() {
        return Ok(program);
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("programs")
        .join(format!("{name}.c"));
    let result = Command::new("cc")
        .args(["-O2", "-static", "-Wall", "-Wextra", "-o"])
        .args([&program, &source])
        .arg("-lm")
        .output()
        .context("cc does not start: install gcc and libc6-dev")?;
    let complaint = String::from_utf8_lossy(&result.stderr);
    ensure!(
        result.status.success(),
        "{name}.c does not compile: {complaint}"
    );
    Ok(program)
}
