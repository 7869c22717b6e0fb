//! Native runs kept in a folder, to compare with where running natively is slow.
//!
//! Paths are part of what programs print: whoever compares works in the folder in which the
//! record was made, with the C programs that were built then. The record's folder holds:
//!
//! * `base`: that folder's path,
//! * `programs/`: the C programs,
//! * `runs/NAME/`: of each case `end`, `stdout`, `stderr` and `tree`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::compare::Side;
use crate::process::Run;
use crate::tree::Tree;

const PREFIX: &str = "husk-conformance-";

/// The folder.
#[derive(Debug)]
pub(crate) struct Record {
    folder: PathBuf,
}

impl Record {
    /// An empty one, for what is run in `base`.
    pub(crate) fn create(folder: &Path, base: &Path) -> Result<Self> {
        let failed = || format!("{} cannot be made", folder.display());
        if folder.join("base").exists() {
            fs::remove_dir_all(folder).with_context(failed)?;
        }
        fs::create_dir_all(folder.join("runs")).with_context(failed)?;
        let base = base.to_str().context("the temporary folder is not UTF-8")?;
        fs::write(folder.join("base"), base)?;
        Ok(Self {
            folder: folder.to_path_buf(),
        })
    }

    /// One that was made before.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let missing = || format!("no record in {}: make one with --record", folder.display());
        fs::metadata(folder.join("base")).with_context(missing)?;
        Ok(Self {
            folder: fs::canonicalize(folder)?,
        })
    }

    /// Makes the folder in which the record was made, once more.
    pub(crate) fn base(&self) -> Result<TempDir> {
        let path = PathBuf::from(fs::read_to_string(self.folder.join("base"))?);
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let parent = path.parent().filter(|_| name.starts_with(PREFIX));
        let parent = parent.with_context(|| format!("{} is no base", path.display()))?;
        let failed = || format!("{} cannot be made", path.display());
        let made = tempfile::Builder::new()
            .prefix(name)
            .rand_bytes(0)
            .tempdir_in(parent);
        made.with_context(failed)
    }

    /// Keeps the C programs.
    pub(crate) fn keep_programs(&self, from: &Path) -> Result<()> {
        copy_files(from, &self.folder.join("programs"))
    }

    /// Puts the C programs where they were.
    pub(crate) fn restore_programs(&self, to: &Path) -> Result<()> {
        copy_files(&self.folder.join("programs"), to)
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.join("runs").join(name.replace('/', "-"))
    }

    /// Keeps a run.
    pub(crate) fn write(&self, name: &str, side: &Side) -> Result<()> {
        let place = self.place(name);
        fs::create_dir(&place)?;
        let run = &side.run;
        let end = format!("{} {}", run.status, run.elapsed.as_nanos());
        fs::write(place.join("end"), end)?;
        fs::write(place.join("stdout"), &run.stdout)?;
        fs::write(place.join("stderr"), &run.stderr)?;
        let entries = side.tree.iter().flat_map(|(path, what)| [path, what]);
        let tree: String = entries.map(|text| format!("{text}\0")).collect();
        Ok(fs::write(place.join("tree"), tree)?)
    }

    /// A run, if it was kept.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Side>> {
        let place = self.place(name);
        if !place.exists() {
            return Ok(None);
        }
        let end = fs::read_to_string(place.join("end"))?;
        let (status, elapsed) = end.split_once(' ').context("a broken record")?;
        let run = Run {
            status: status.parse()?,
            stdout: fs::read(place.join("stdout"))?,
            stderr: fs::read(place.join("stderr"))?,
            elapsed: Duration::from_nanos(elapsed.parse()?),
            timed_out: false,
        };
        let tree = tree(&fs::read_to_string(place.join("tree"))?)?;
        Ok(Some(Side { run, tree }))
    }
}

fn tree(text: &str) -> Result<Tree> {
    let words: Vec<&str> = text.split_terminator('\0').collect();
    ensure!(words.len().is_multiple_of(2), "a broken record");
    let pairs = words.chunks_exact(2);
    let entry = |pair: &[&str]| Some((pair.first()?.to_string(), pair.get(1)?.to_string()));
    Ok(pairs.filter_map(entry).collect())
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// A new folder to work in.
pub(crate) fn new_base() -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix(PREFIX).tempdir()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side() -> Side {
        let run = Run {
            status: 7,
            stdout: b"out\xff\0".to_vec(),
            stderr: b"err".to_vec(),
            elapsed: Duration::from_nanos(12345),
            timed_out: false,
        };
        let entries = [("a", "a folder, mode 755"), ("a/b\nc", "a link to x")];
        let tree = entries.map(|(path, what)| (path.to_string(), what.to_string()));
        Side {
            run,
            tree: tree.into_iter().collect(),
        }
    }

    #[test]
    fn a_run_comes_back_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let base = new_base().expect("a folder");
        Record::create(folder.path(), base.path())
            .expect("made")
            .write("p/a", &side())
            .expect("written");
        let record = Record::open(folder.path()).expect("there");
        let found = record.read("p/a").expect("read").expect("kept");
        assert_eq!(found.run.stdout, side().run.stdout);
        assert_eq!(found.run.stderr, side().run.stderr);
        assert_eq!(
            (found.run.status, found.run.elapsed),
            (7, side().run.elapsed)
        );
        assert_eq!(found.tree, side().tree);
        assert!(record.read("p/b").expect("read").is_none());
    }

    #[test]
    fn work_goes_on_where_the_record_was_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let base = new_base().expect("a folder");
        let path = base.path().to_path_buf();
        let record = Record::create(folder.path(), &path).expect("made");
        assert!(record.base().is_err(), "it is in use");
        drop(base);
        assert_eq!(record.base().expect("free").path(), path);
        assert!(Record::open(&folder.path().join("runs")).is_err());
    }

    #[test]
    fn a_record_that_is_cut_is_refused() {
        assert!(tree("a\0b\0c\0").is_err());
        assert_eq!(tree("").expect("empty"), Tree::new());
    }
}
