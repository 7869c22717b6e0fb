//! Scratch folders: one for each case, made afresh for each of its runs at the same place.

use std::fs::{self, File, FileTimes};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use crate::case::Case;

/// A user of the host that runs are done as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// Looks a user up in `/etc/passwd`.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let table = fs::read_to_string("/etc/passwd")?;
        Self::find(&table, name).with_context(|| format!("no user {name} in /etc/passwd"))
    }

    fn find(table: &str, name: &str) -> Option<Self> {
        let line = table
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line
            .split(':')
            .skip(2)
            .map_while(|field| field.parse().ok());
        Some(Self {
            uid: ids.next()?,
            gid: ids.next()?,
        })
    }
}

/// A folder with the case's files in it; gone when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the folder, fills it and hands it to the user. Every time stamp in it is the same.
    pub(crate) fn new(path: PathBuf, case: &Case, user: Option<&User>) -> Result<Self> {
        let scratch = Self::empty(path, user)?;
        for (name, content) in &case.files {
            let mut file = BufWriter::new(File::create(scratch.path.join(name))?);
            content.write_to(&mut file)?;
            file.flush()?;
        }
        settle(&scratch.path, user)?;
        scratch.prepare(case.prepare, user)?;
        settle(&scratch.path, user)?;
        Ok(scratch)
    }

    /// Makes an empty folder that the user may write to.
    pub(crate) fn empty(path: PathBuf, user: Option<&User>) -> Result<Self> {
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        let scratch = Self { path };
        fs::set_permissions(&scratch.path, fs::Permissions::from_mode(0o755))?;
        settle(&scratch.path, user)?;
        Ok(scratch)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn prepare(&self, script: &str, user: Option<&User>) -> Result<()> {
        if script.is_empty() {
            return Ok(());
        }
        let mut command = Command::new("/bin/sh");
        command
            .args(["-euc", script])
            .env_clear()
            .envs(crate::harness::ENVIRONMENT)
            .env("HOME", &self.path)
            .current_dir(&self.path);
        if let Some(user) = user {
            command.uid(user.uid).gid(user.gid);
        }
        let output = command.output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "preparing failed: {complaint}");
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("conformance: {} stays behind: {error}", self.path.display());
        }
    }
}

/// Sets owner and times of everything below, and of the folder itself, last.
fn settle(path: &Path, user: Option<&User>) -> Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            settle(&entry?.path(), user)?;
        }
    }
    if let Some(user) = user {
        std::os::unix::fs::lchown(path, Some(user.uid), Some(user.gid))?;
    }
    if kind.is_dir() || kind.is_file() {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let times = FileTimes::new().set_accessed(then).set_modified(then);
        File::open(path)?.set_times(times)?;
    }
    Ok(())
}

/// Makes a file of the harness usable by anyone.
pub(crate) fn open_to_all(path: &Path, user: Option<&User>) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    if let Some(user) = user {
        chown(path, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_whole_name() {
        let table = "root:x:0:0:root:/root:/bin/sh\nnobody2:x:1:2::/:/bin/sh\nnobody:x:3:4::/:/";
        assert_eq!(User::find(table, "nobody"), Some(User { uid: 3, gid: 4 }));
        assert_eq!(User::find(table, "nob"), None);
    }
}
