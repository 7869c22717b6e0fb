//! Servers of this suite's own, in `../programs`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::site;

/// Where one lies.
pub(crate) fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("programs")
        .join(name)
}

/// Compiles one in C into a folder.
///
/// # Errors
/// When the compiler complains.
pub(crate) fn c(name: &str, folder: &Path) -> Result<PathBuf> {
    let program = folder.join(name);
    let mut command = Command::new("/usr/bin/cc");
    command.args(["-O1", "-Wall", "-Werror", "-pthread", "-o"]);
    command.arg(&program).arg(source(&format!("{name}.c")));
    site::run(&mut command)?;
    Ok(program)
}

/// Compiles one in Java into a folder.
///
/// # Errors
/// When the compiler complains.
pub(crate) fn java(name: &str, libraries: &str, folder: &Path) -> Result<()> {
    let mut command = Command::new("/usr/bin/javac");
    command.args(["-cp", libraries, "-d"]).arg(folder);
    command.arg(source(&format!("{name}.java")));
    site::run(&mut command).map(drop)
}
