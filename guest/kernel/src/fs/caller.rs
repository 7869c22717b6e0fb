//! On whose behalf paths are resolved and files are opened.

use alloc::sync::Arc;

use linux_raw_sys::general as raw;

use super::access;
use super::directory::DirectoryFile;
use super::entry::Location;
use super::file::File;
use super::inode::NewInode;
use super::inotify;
use super::metadata::FileKind;
use super::open::OpenFile;
use super::walk::{Follow, Last, Walk};
use crate::process::{Credentials, current};
use crate::{Errno, Result};

/// The root, working directory and file mode creation mask of a process.
#[derive(Clone, Debug)]
pub struct FsContext {
    /// What "/" is.
    pub root: Location,
    /// Where relative paths start.
    pub cwd: Location,
    /// Permission bits that new files do not get.
    pub umask: u32,
}

/// Who asks: a snapshot of what path resolution needs of a process.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What "/" is.
    pub root: Location,
    /// Where relative paths start.
    pub cwd: Location,
    /// Permission bits that new files do not get.
    pub umask: u32,
    /// What it may do.
    pub credentials: Credentials,
}

/// How to open; `mode` and `resolve` as `openat2` has them.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// `O_*`.
    pub flags: u32,
    /// Permission bits of a new file.
    pub mode: u32,
    /// `RESOLVE_*`.
    pub resolve: u64,
}

impl How {
    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    fn is_exclusive(&self) -> bool {
        self.has(raw::O_CREAT) && self.has(raw::O_EXCL)
    }

    fn follow(&self) -> Follow {
        if self.has(raw::O_NOFOLLOW) || self.is_exclusive() {
            Follow::No
        } else {
            Follow::Yes
        }
    }
}

/// Which accesses an access mode stands for.
const fn wanted_access(flags: u32) -> u32 {
    let wanted = match flags & raw::O_ACCMODE {
        raw::O_RDONLY => access::READ,
        raw::O_WRONLY => access::WRITE,
        _ => access::READ | access::WRITE,
    };
    if flags & raw::O_TRUNC != 0 {
        wanted | access::WRITE
    } else {
        wanted
    }
}

impl Caller {
    /// The process that runs.
    #[must_use]
    pub fn current() -> Self {
        let process = current();
        let FsContext { root, cwd, umask } = process.fs.lock().clone();
        Self {
            root,
            cwd,
            umask,
            credentials: process.credentials.lock().clone(),
        }
    }

    /// The kernel itself, from a root.
    #[must_use]
    pub fn kernel(root: &Location) -> Self {
        let credentials = Credentials {
            uid: [0; 3],
            gid: [0; 3],
            groups: alloc::vec::Vec::new(),
        };
        Self {
            root: root.clone(),
            cwd: root.clone(),
            umask: 0,
            credentials,
        }
    }

    /// Resolves a path from the working directory.
    ///
    /// # Errors
    /// As Linux' path resolution.
    pub fn find(&self, path: &[u8], follow: Follow) -> Result<Location> {
        self.find_from(&self.cwd, path, follow)
    }

    /// Resolves a path from a directory.
    ///
    /// # Errors
    /// As Linux' path resolution.
    pub fn find_from(&self, start: &Location, path: &[u8], follow: Follow) -> Result<Location> {
        let mut walk = Walk::new(self, start, path, 0)?;
        walk.reach_end(follow)?;
        Ok(walk.at)
    }

    /// Opens, and creates if asked.
    ///
    /// # Errors
    /// As `openat2`.
    pub fn open(&self, start: &Location, path: &[u8], how: How) -> Result<Arc<OpenFile>> {
        if how.flags & raw::O_TMPFILE & !raw::O_DIRECTORY != 0 {
            return self.open_temporary(start, path, how);
        }
        let mut walk = Walk::new(self, start, path, how.resolve)?;
        loop {
            let Last::Name(name, slashes) = walk.reach_parent()? else {
                return self.open_existing(walk.at, false, how);
            };
            let child = walk.at.child(&name)?;
            match child {
                Some(link) if is_followed(&link, slashes, how) => walk.follow(&link, slashes)?,
                Some(child) => return self.open_existing(child, slashes, how),
                None => return self.open_new(&walk.at, &name, slashes, how),
            }
        }
    }

    fn open_existing(&self, at: Location, slashes: bool, how: How) -> Result<Arc<OpenFile>> {
        let kind = at.inode().kind();
        if how.is_exclusive() {
            return Err(Errno::EEXIST);
        }
        if kind == FileKind::Link && !how.has(raw::O_PATH) {
            return Err(Errno::ELOOP);
        }
        if kind == FileKind::Directory && how.has(raw::O_CREAT) {
            return Err(Errno::EISDIR);
        }
        if kind != FileKind::Directory && (slashes || how.has(raw::O_DIRECTORY)) {
            return Err(Errno::ENOTDIR);
        }
        self.open_location(at, how.flags)
    }

    fn open_new(
        &self,
        parent: &Location,
        name: &[u8],
        slashes: bool,
        how: How,
    ) -> Result<Arc<OpenFile>> {
        if !how.has(raw::O_CREAT) {
            return Err(Errno::ENOENT);
        }
        if slashes {
            return Err(Errno::EISDIR);
        }
        let flags = how.flags & !(raw::O_TRUNC | raw::O_EXCL | raw::O_CREAT);
        let mode = raw::S_IFREG | (how.mode & 0o7777 & !self.umask);
        let new = self.new_inode(mode);
        let (at, file) = self.create(
            parent,
            name,
            NewInode {
                open: Some(flags),
                ..new
            },
        )?;
        let file = match file {
            Some(file) => file,
            None => at.inode().clone().open(flags)?,
        };
        inotify::tell(&at, raw::IN_OPEN);
        Ok(OpenFile::new(at, file, how.flags))
    }

    /// A description of something new that is the caller's.
    pub(super) fn new_inode(&self, mode: u32) -> NewInode<'static> {
        let (uid, gid) = (self.credentials.euid(), self.credentials.egid());
        NewInode {
            mode,
            uid,
            gid,
            represented: 0,
            target: b"",
            open: None,
        }
    }

    /// Makes something new under a name that is free.
    ///
    /// # Errors
    /// `EROFS`, `EACCES`, `EPERM`, the file system's.
    pub(super) fn create(
        &self,
        parent: &Location,
        name: &[u8],
        mut new: NewInode<'_>,
    ) -> Result<(Location, Option<Arc<dyn File>>)> {
        let directory = self.changeable(parent)?;
        let above = parent.metadata()?;
        if above.mode & raw::S_ISGID != 0 {
            new.gid = above.gid;
            if new.mode & raw::S_IFMT == raw::S_IFDIR {
                new.mode |= raw::S_ISGID;
            }
        }
        let created = directory.create(name, &new)?;
        let entry = parent
            .entry
            .install(name, created.found)
            .ok_or(Errno::ENOENT)?;
        inotify::created(parent, name, entry.inode());
        Ok((
            Location {
                mount: parent.mount.clone(),
                entry,
            },
            created.file,
        ))
    }

    /// The ability to change a directory's names, if the caller may.
    pub(super) fn changeable<'a>(
        &self,
        parent: &'a Location,
    ) -> Result<&'a dyn super::inode::Changeable> {
        let directory = parent.inode().as_directory().ok_or(Errno::ENOTDIR)?;
        if parent.entry.is_gone() {
            return Err(Errno::ENOENT);
        }
        parent.mount.check_writable()?;
        let wanted = access::WRITE | access::EXECUTE;
        access::check(&parent.metadata()?, wanted, &self.credentials)?;
        directory.as_changeable().ok_or(Errno::EACCES)
    }

    /// `O_TMPFILE`: a file without a name.
    fn open_temporary(&self, start: &Location, path: &[u8], how: How) -> Result<Arc<OpenFile>> {
        let parent = self.find_from(start, path, Follow::Yes)?;
        if !parent.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        if how.flags & raw::O_ACCMODE == raw::O_RDONLY {
            return Err(Errno::EINVAL);
        }
        let new = self.new_inode(raw::S_IFREG | (how.mode & 0o7777 & !self.umask));
        let inode = self.changeable(&parent)?.create_unnamed(&new)?;
        let flags = how.flags & !(raw::O_TMPFILE | raw::O_TRUNC);
        let file = inode.clone().open(flags)?;
        Ok(OpenFile::new(
            parent.unnamed(inode),
            file,
            flags | raw::O_TMPFILE,
        ))
    }

    /// Opens what a location stands for, if the caller may.
    ///
    /// # Errors
    /// `EACCES`, `EISDIR`, `EROFS`, `ENXIO`, the file system's.
    pub fn open_location(&self, at: Location, flags: u32) -> Result<Arc<OpenFile>> {
        if flags & raw::O_PATH != 0 {
            return Ok(OpenFile::path_only(at, flags));
        }
        let wanted = wanted_access(flags);
        let kind = at.inode().kind();
        if kind == FileKind::Directory && wanted & access::WRITE != 0 {
            return Err(Errno::EISDIR);
        }
        let metadata = at.metadata()?;
        access::check(&metadata, wanted, &self.credentials)?;
        if kind == FileKind::Regular && wanted & access::WRITE != 0 {
            at.mount.check_writable()?;
        }
        if flags & raw::O_NOATIME != 0 && !access::owns(&metadata, &self.credentials) {
            return Err(Errno::EPERM);
        }
        let file = match kind {
            FileKind::Directory => Arc::new(DirectoryFile::new(at.inode().clone())),
            FileKind::Socket => return Err(Errno::ENXIO),
            _ => at.inode().clone().open(flags)?,
        };
        inotify::tell(&at, raw::IN_OPEN);
        if flags & raw::O_TRUNC != 0 {
            inotify::tell(&at, raw::IN_MODIFY);
        }
        Ok(OpenFile::new(at, file, flags))
    }

    /// Opens a program to be run.
    ///
    /// # Errors
    /// `EACCES` for what is not an executable regular file; as `open`.
    pub fn open_program(&self, start: &Location, path: &[u8]) -> Result<Arc<OpenFile>> {
        let at = self.find_from(start, path, Follow::Yes)?;
        self.check_program(&at)?;
        let file = at.inode().clone().open(raw::O_RDONLY)?;
        Ok(OpenFile::new(at, file, raw::O_RDONLY))
    }

    /// Checks that a location may be run.
    ///
    /// # Errors
    /// `EACCES`.
    pub fn check_program(&self, at: &Location) -> Result<()> {
        if at.inode().kind() != FileKind::Regular || at.mount.flags.no_exec {
            return Err(Errno::EACCES);
        }
        access::check(&at.metadata()?, access::EXECUTE, &self.credentials)
    }
}

fn is_followed(at: &Location, slashes: bool, how: How) -> bool {
    at.inode().kind() == FileKind::Link && (slashes || how.follow() == Follow::Yes)
}
