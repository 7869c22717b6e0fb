//! What a case needs of this host, and what to install when it is missing.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context as _, Result};
use vocabulary::find_program;

use crate::site;

/// Something that is there or not.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    /// A program by name, or a file by path; the Debian package that has it.
    Debian(&'static str, &'static str),
    /// A package of npm with its version; comes when it is first needed.
    Npm {
        name: &'static str,
        version: &'static str,
        /// Where it is kept.
        folder: &'static str,
    },
}

/// One fetch at a time.
static FETCHING: Mutex<()> = Mutex::new(());

/// What is missing, in words.
pub(crate) fn missing(needs: &[Need], kept: &Path) -> Option<String> {
    needs.iter().find_map(|need| match need {
        Need::Debian(program, package) => {
            let absent = find_program(program).is_none();
            absent.then(|| format!("{program} is missing: install the Debian package {package}"))
        }
        Need::Npm {
            name,
            version,
            folder,
        } => {
            let fetched = fetch(&format!("{name}@{version}"), &kept.join(folder));
            let why = fetched.err()?;
            Some(format!("{name}@{version} does not come from npm: {why:#}"))
        }
    })
}

/// By npm, with its checks of what comes.
fn fetch(package: &str, folder: &Path) -> Result<()> {
    let _only = FETCHING.lock().expect("nobody panics here");
    if folder.is_dir() {
        return Ok(());
    }
    let npm = find_program("npm").context("install the Debian package npm")?;
    let base = folder.parent().context("a folder lies in a folder")?;
    fs::create_dir_all(base)?;
    let scratch = tempfile::tempdir_in(base)?;
    let mut command = Command::new(npm);
    command.args(["pack", "--silent", package]);
    let printed = site::run(command.current_dir(&scratch))?;
    let printed = String::from_utf8_lossy(&printed);
    let file = printed.lines().last().context("npm names no file")?;
    let mut unpack = Command::new("/usr/bin/tar");
    site::run(unpack.args(["xzf", file]).current_dir(&scratch))?;
    Ok(fs::rename(scratch.path().join("package"), folder)?)
}
