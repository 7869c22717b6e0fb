//! A folder that is gone when its owner is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// A new, empty folder; dropping it removes it with all that is in it.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one below `parent`, which is made where it is missing. Its name starts with `.`,
    /// `purpose` and our process's number.
    pub(crate) fn new(parent: &Path, purpose: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!(".{purpose}-{}-{count}", std::process::id());
        let path = std::path::absolute(parent.join(name))?;
        if path.exists() {
            // Left by a process of this number that was killed.
            fs::remove_dir_all(&path)?;
        }
        let failed = || format!("{} cannot be made", path.display());
        fs::create_dir_all(&path).with_context(failed)?;
        Ok(Self { path })
    }

    /// Where it is, as an absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may have been moved away; what cannot be removed is no reason to fail.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_new_and_goes_with_its_owner() {
        let parent = std::env::temp_dir();
        let one = Scratch::new(&parent, "scratch").expect("writable");
        let other = Scratch::new(&parent, "scratch").expect("writable");
        assert_ne!(one.path(), other.path());
        fs::write(one.path().join("file"), "x").expect("writable");
        let path = one.path().to_path_buf();
        drop(one);
        assert!(!path.exists());
        assert!(other.path().is_dir());
    }
}
