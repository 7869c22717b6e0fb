//! The only ways by which a name or a node becomes a host descriptor.
//!
//! What: [`open_child`] takes one step down from a directory's descriptor and never follows a
//! symbolic link, so no path, no `..` and no race with a renaming host program can leave the
//! exported tree: there is no path to race on. [`Reopener`] turns a node's `O_PATH` descriptor
//! into one for I/O, by opening `/proc/self/fd/N` relative to a descriptor of that directory
//! that is kept from the start. The number is the service's own, the guest chooses no part of
//! that path, and the magic link leads to the very inode that was looked up, wherever it has
//! been moved since. Linux has no other race-free way (`openat2` on the parent would open
//! whatever bears the name by then); virtiofsd does the same.
//!
//! Neighbours: [`crate::directory`] is the only caller.
//!
//! What it does not do: it does not decide what may be opened; `directory::files` does.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::DecInt;

use crate::wire::Result;

/// What one step may do: stay below, follow nothing.
const ONE_STEP: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_SYMLINKS);

/// Opens the root of an export, which the host's user named: links on the way are followed.
pub(crate) fn open_root(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Opens the entry `name` of `parent` as a mere reference (`O_PATH`); a symbolic link itself,
/// not what it points to. `name` must be a plain name (see [`crate::wire::Names`]).
pub(crate) fn open_child(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    step(parent, name, OFlags::PATH, Mode::empty())
}

/// Creates the regular file `name` in `parent` and opens it; fails if the name exists.
pub(crate) fn create_child(
    parent: BorrowedFd<'_>,
    name: &CStr,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd> {
    step(parent, name, flags | OFlags::CREATE | OFlags::EXCL, mode)
}

/// One step down. Where the host lacks `openat2` (before Linux 5.6, or under an old container
/// runtime's filter), `openat` is as good: the name has one component and is not followed.
fn step(parent: BorrowedFd<'_>, name: &CStr, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat2(parent, name, flags, mode, ONE_STEP) {
        Err(Errno::NOSYS) => rustix::fs::openat(parent, name, flags, mode),
        outcome => outcome,
    }
}

/// Reaches an inode again through a descriptor that the service already holds.
#[derive(Debug)]
pub(crate) struct Reopener {
    /// `/proc/self/fd`, opened once; stays good after the monitor has given up its view of
    /// the file system.
    descriptors: OwnedFd,
}

impl Reopener {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptors = rustix::fs::openat(CWD, c"/proc/self/fd", flags, Mode::empty())?;
        if rustix::fs::fstatfs(&descriptors)?.f_type != rustix::fs::PROC_SUPER_MAGIC {
            return Err(io::Error::other("/proc is not a proc file system"));
        }
        Ok(Self { descriptors })
    }

    /// Opens the inode behind `fd` anew.
    pub(crate) fn open(&self, fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd> {
        let flags = (flags | OFlags::CLOEXEC | OFlags::NOCTTY) - OFlags::NOFOLLOW;
        rustix::fs::openat(&self.descriptors, DecInt::from_fd(fd), flags, Mode::empty())
    }

    /// Sets permission bits; fchmod(2) refuses `O_PATH` descriptors.
    pub(crate) fn set_mode(&self, fd: BorrowedFd<'_>, mode: u32) -> Result<()> {
        let mode = Mode::from_bits_truncate(mode & 0o7777);
        rustix::fs::chmodat(
            &self.descriptors,
            DecInt::from_fd(fd),
            mode,
            AtFlags::empty(),
        )
    }

    /// Gives the inode behind `fd` another name; linkat(2) on the descriptor itself needs a
    /// capability.
    pub(crate) fn link(
        &self,
        fd: BorrowedFd<'_>,
        parent: BorrowedFd<'_>,
        name: &CStr,
    ) -> Result<()> {
        let from = DecInt::from_fd(fd);
        rustix::fs::linkat(
            &self.descriptors,
            from,
            parent,
            name,
            AtFlags::SYMLINK_FOLLOW,
        )
    }

    /// Asks whether the monitor itself may access the inode so.
    pub(crate) fn check_access(
        &self,
        fd: BorrowedFd<'_>,
        access: rustix::fs::Access,
    ) -> Result<()> {
        let name = DecInt::from_fd(fd);
        rustix::fs::accessat(self.descriptors.as_fd(), name, access, AtFlags::EACCESS)
    }
}
