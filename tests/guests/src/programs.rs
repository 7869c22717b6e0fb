//! Static C programs, each a folder of `../programs`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Builds one into `folder`, under its own name.
pub(crate) fn build(name: &str, folder: &Path) -> Result<PathBuf> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs");
    let sources = sources.join(name);
    let program = folder.join(name);
    let mut command = Command::new("cc");
    command.args(["-O1", "-w", "-static", "-o"]).arg(&program);
    for entry in std::fs::read_dir(&sources)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            command.arg(path);
        }
    }
    let done = command.output();
    let done = done.context("cc does not start: install gcc and libc6-dev")?;
    let complaint = String::from_utf8_lossy(&done.stderr);
    ensure!(
        done.status.success(),
        "{name} does not compile: {complaint}"
    );
    Ok(program)
}
