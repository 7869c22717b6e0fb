//! The programs of the host that do a part of the work, and what to install for them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// A program and its Debian package.
pub(crate) type Tool = (&'static str, &'static str);

/// What every run needs.
pub(crate) const TO_RUN: &[Tool] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("ldd", "libc-bin"),
    ("setpriv", "util-linux"),
];

/// What making the environment needs besides.
pub(crate) const TO_BUILD: &[Tool] = &[
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("busybox", "busybox-static"),
    ("lz4", "lz4"),
    ("strip", "binutils"),
];

/// Checks that all of these can be found.
///
/// # Errors
/// One sentence for each that is missing.
pub(crate) fn require(tools: &[Tool]) -> Result<()> {
    let missing = tools.iter().filter(|(program, _)| find(program).is_none());
    let lines: Vec<String> = missing
        .map(|(program, of)| self::missing(program, of))
        .collect();
    if !lines.is_empty() {
        bail!("{}", lines.join("\nnested-kvm: "));
    }
    Ok(())
}

/// Where a program is.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let places = std::env::split_paths(&path).map(|folder| folder.join(program));
    places.into_iter().find(|place| place.is_file())
}

/// The sentence for a program that is missing.
pub(crate) fn missing(program: &str, package: &str) -> String {
    format!("{program} is missing: install the Debian package {package}")
}

/// A program that runs in no particular language, with the host's own libraries.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    // Cargo sets the path of libraries for what it runs.
    command
        .env("LC_ALL", "C")
        .env_remove("LD_LIBRARY_PATH")
        .env_remove("LD_PRELOAD");
    command
}

/// Runs a program in a folder and returns what it printed.
///
/// # Errors
/// With what it printed on standard error, when it does not start or fails.
pub(crate) fn output(program: &str, arguments: &[&str], folder: &Path) -> Result<String> {
    let output = command(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .with_context(|| format!("{program} does not start"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint = complaint.trim();
    ensure!(output.status.success(), "{program} failed: {complaint}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_program_gets_a_sentence_with_its_package() {
        let tools = [
            ("no-such-a", "pack-a"),
            ("sh", "dash"),
            ("no-such-b", "pack-b"),
        ];
        let text = require(&tools).expect_err("two are missing").to_string();
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("pack-a") && text.contains("pack-b") && !text.contains("dash"));
    }
}
