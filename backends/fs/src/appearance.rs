//! What the guest sees of a file beside its contents.
//!
//! What: [`Appearance`] turns the host's `stat` into the protocol's attributes: as the host has them or, for machines whose
//! runs are to be the same, without what differs between two runs over the same files: inodes are numbered in the order
//! in which the guest meets them, all times are that of the last modification, sizes on disk follow from lengths, directories have
//! neither lengths nor times, and the room on the file system is always the same.
//!
//! Neighbours: [`crate::nodes`] keeps it, [`crate::wire`] has the ordinary form.
//!
//! What it does not do: contents, names, modes, owners, and files' lengths and times of modification are their own.

use std::collections::HashMap;

use guest_abi::fuse::{Attr, StatfsOut};
use rustix::fs::{FileType, Stat};

use crate::wire;

/// A file, as the host knows it: device and inode number.
pub(crate) type Key = (u64, u64);

/// Bytes of a page, and of the unit in which sizes on disk are told.
const PAGE: u64 = 4096;
const UNIT: u64 = 512;
/// Pages of a file system, and its inodes; half of them are free.
const PAGES: u64 = 1 << 24;
const INODES: u64 = 1 << 20;

/// How files look.
#[derive(Debug, Default)]
pub(crate) enum Appearance {
    /// As on the host.
    #[default]
    Host,
    /// The same in every run.
    Repeatable {
        /// The numbers of the files that were met.
        numbers: HashMap<Key, u64>,
    },
}

impl Appearance {
    pub(crate) fn repeatable() -> Self {
        Self::Repeatable {
            numbers: HashMap::new(),
        }
    }

    pub(crate) const fn is_repeatable(&self) -> bool {
        matches!(self, Self::Repeatable { .. })
    }

    /// A file's number.
    pub(crate) fn number(&mut self, (device, inode): Key) -> u64 {
        match self {
            Self::Host => inode,
            Self::Repeatable { numbers } => {
                let next = numbers.len() as u64 + 1;
                *numbers.entry((device, inode)).or_insert(next)
            }
        }
    }

    /// A file's attributes.
    pub(crate) fn attributes(&mut self, stat: &Stat) -> Attr {
        let attributes = wire::attributes(stat);
        if !self.is_repeatable() {
            return attributes;
        }
        let attributes = Attr {
            ino: self.number((stat.st_dev, stat.st_ino)),
            blksize: PAGE as u32,
            ..attributes
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => directory(attributes),
            _ => file(attributes),
        }
    }

    /// The room on a file system.
    pub(crate) fn room(&self, figures: StatfsOut) -> StatfsOut {
        if !self.is_repeatable() {
            return figures;
        }
        StatfsOut {
            blocks: PAGES,
            bfree: PAGES / 2,
            bavail: PAGES / 2,
            files: INODES,
            ffree: INODES / 2,
            bsize: PAGE as u32,
            frsize: PAGE as u32,
            ..figures
        }
    }
}

const fn file(own: Attr) -> Attr {
    Attr {
        blocks: own.size.div_ceil(UNIT),
        atime: own.mtime,
        atimensec: own.mtimensec,
        ctime: own.mtime,
        ctimensec: own.mtimensec,
        ..own
    }
}

/// Whatever is made or removed in it, by whomever, changes its length, its links and its times. One link is what file
/// systems say that do not count them.
fn directory(own: Attr) -> Attr {
    Attr {
        ino: own.ino,
        mode: own.mode,
        uid: own.uid,
        gid: own.gid,
        nlink: 1,
        size: PAGE,
        blocks: PAGE / UNIT,
        blksize: own.blksize,
        ..Attr::default()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes, read_dir, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// A file of the same contents, made anew.
    fn made(folder: &Path) -> Stat {
        let path = folder.join("file");
        std::fs::write(&path, [1; 5000]).unwrap();
        set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        let then = UNIX_EPOCH + Duration::from_secs(1_000_000);
        file.set_times(FileTimes::new().set_modified(then)).unwrap();
        assert_eq!(read_dir(folder).unwrap().count(), 1);
        rustix::fs::fstat(&file).unwrap()
    }

    #[test]
    fn files_that_are_the_same_look_the_same() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let look = |folder: &tempfile::TempDir| {
            let mut appearance = Appearance::repeatable();
            let directory = rustix::fs::stat(folder.path()).unwrap();
            let directory = appearance.attributes(&directory);
            let file = appearance.attributes(&made(folder.path()));
            (directory, file)
        };
        let [one, other] = [look(&folders[0]), look(&folders[1])];
        assert_eq!(format!("{one:?}"), format!("{other:?}"));
        assert_eq!((one.0.ino, one.1.ino), (1, 2));
        assert_eq!((one.1.blocks, one.1.atime), (10, 1_000_000));
    }

    #[test]
    fn a_file_keeps_its_number() {
        let mut appearance = Appearance::repeatable();
        let numbers = [(1, 7), (1, 9), (2, 7), (1, 9)].map(|key| appearance.number(key));
        assert_eq!(numbers, [1, 2, 3, 2]);
        assert_eq!(Appearance::Host.number((1, 9)), 9);
    }
}
