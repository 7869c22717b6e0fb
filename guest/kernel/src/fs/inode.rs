//! What a file system offers: inodes, and the abilities some of them have.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;

use guest_hal::Nanos;

use super::entry::Location;
use super::file::File;
use super::metadata::{Change, FileKind, FsStatus, Metadata};
use crate::{Errno, Result};

/// Without what is behind the pointer: that would keep the code for it of every type there is.
impl fmt::Debug for dyn Inode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inode")
    }
}

/// An object of a file system, whatever its name.
pub trait Inode: Any + Send + Sync {
    /// What it is; costs nothing.
    fn kind(&self) -> FileKind;

    /// What `stat` tells.
    ///
    /// # Errors
    /// The file system's.
    fn metadata(&self) -> Result<Metadata>;

    /// Changes metadata; who may do so has been checked.
    ///
    /// # Errors
    /// The file system's; `EPERM` where nothing can be changed.
    fn change(&self, _: &Change) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Opens; who may do so has been checked. `flags`: `O_*`. `O_TRUNC` is the file
    /// system's to honour, `O_CREAT` has been.
    ///
    /// # Errors
    /// The file system's.
    fn open(self: Arc<Self>, flags: u32) -> Result<Arc<dyn File>>;

    /// One of its names was removed or replaced through this kernel.
    fn lost_name(&self) {}

    /// Its ability as a directory.
    fn as_directory(&self) -> Option<&dyn Directory> {
        None
    }

    /// Its ability as a symbolic link.
    fn as_link(&self) -> Option<&dyn Link> {
        None
    }
}

/// What was found under a name.
#[derive(Debug)]
pub struct Found {
    /// The inode; `None`: there is no such name.
    pub inode: Option<Arc<dyn Inode>>,
    /// Until when this may be believed (monotonic clock).
    pub valid_until: Nanos,
}

impl Found {
    /// Something that changes only through this kernel.
    #[must_use]
    pub fn for_good(inode: Option<Arc<dyn Inode>>) -> Self {
        Self {
            inode,
            valid_until: Nanos(u64::MAX),
        }
    }

    /// Something to be asked for anew each time.
    #[must_use]
    pub fn just_now(inode: Option<Arc<dyn Inode>>) -> Self {
        Self {
            inode,
            valid_until: Nanos(0),
        }
    }
}

/// One name of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Inode number.
    pub number: u64,
    /// What it is.
    pub kind: FileKind,
    /// The name.
    pub name: Box<[u8]>,
}

/// The ability of directories.
pub trait Directory {
    /// Looks a name up; never "." or "..".
    ///
    /// # Errors
    /// The file system's; a missing name is no error.
    fn lookup(&self, name: &[u8]) -> Result<Found>;

    /// All names but "." and "..".
    ///
    /// # Errors
    /// The file system's.
    fn list(&self) -> Result<Vec<Record>>;

    /// The ability to change names, where there is one.
    fn as_changeable(&self) -> Option<&dyn Changeable> {
        None
    }
}

/// What is to be made under a new name.
#[derive(Clone, Debug)]
pub struct NewInode<'a> {
    /// Kind and permission bits, the mask applied.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Which device a device node stands for.
    pub represented: u64,
    /// Where a symbolic link points.
    pub target: &'a [u8],
    /// With which flags to open what is made, where that must happen in one step.
    pub open: Option<u32>,
}

/// What was made.
#[derive(Debug)]
pub struct Created {
    /// The inode.
    pub found: Found,
    /// It, open, if that happened in one step.
    pub file: Option<Arc<dyn File>>,
}

/// The ability of directories whose names can be changed. The caller has checked who may
/// do so, and that names that must (not) exist do (not), as far as it could see.
pub trait Changeable {
    /// Makes something new.
    ///
    /// # Errors
    /// The file system's.
    fn create(&self, name: &[u8], new: &NewInode<'_>) -> Result<Created>;

    /// Makes a regular file without a name.
    ///
    /// # Errors
    /// `EOPNOTSUPP` where that is not possible.
    fn create_unnamed(&self, _: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Gives an inode of the same file system another name.
    ///
    /// # Errors
    /// The file system's.
    fn link(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<Found>;

    /// Removes a name, of a directory or of something else.
    ///
    /// # Errors
    /// The file system's.
    fn remove(&self, name: &[u8], directory: bool) -> Result<()>;

    /// Moves a name to another directory of the same file system. `flags`: `RENAME_*`.
    ///
    /// # Errors
    /// The file system's.
    fn rename(&self, name: &[u8], to: &Arc<dyn Inode>, to_name: &[u8], flags: u32) -> Result<()>;
}

/// The ability of symbolic links.
pub trait Link {
    /// The text.
    ///
    /// # Errors
    /// The file system's.
    fn target(&self) -> Result<Vec<u8>>;

    /// Where it leads without regard to the text, as some links of `/proc` do.
    fn jump(&self) -> Option<Result<Location>> {
        None
    }
}

/// Without what is behind the pointer: that would keep the code for it of every type there is.
impl fmt::Debug for dyn FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileSystem")
    }
}

/// A file system.
pub trait FileSystem: Send + Sync {
    /// Its root directory.
    fn root(&self) -> Arc<dyn Inode>;

    /// Its name in `/proc/mounts`.
    fn name(&self) -> &'static str;

    /// What `statfs` tells.
    ///
    /// # Errors
    /// The file system's.
    fn status(&self) -> Result<FsStatus>;

    /// Makes everything durable.
    ///
    /// # Errors
    /// The file system's.
    fn sync(&self) -> Result<()> {
        Ok(())
    }
}
