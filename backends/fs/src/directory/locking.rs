//! Operations on locks.
//!
//! What: GETLK, SETLK and SETLKW, for POSIX record locks and for flock(2) locks.
//!
//! Neighbours: [`crate::locks`] takes them on the host; FLUSH, RELEASE and FORGET end them.
//!
//! What it does not do: it never waits, see [`crate::locks`].

use std::os::fd::{BorrowedFd, OwnedFd};

use guest_abi::fuse::{LK_FLOCK, LOCK_NONE, LOCK_READ, LOCK_WRITE, LkIn, LkOut};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{Access, DirectoryService};
use crate::confine::Reopener;
use crate::handles::{Handle, Kind};
use crate::locks;
use crate::wire::{Call, Result};

impl DirectoryService {
    pub(super) fn getlk(&mut self, call: &mut Call<'_>) -> Result<()> {
        let asked: LkIn = call.take()?;
        let node = call.header.nodeid;
        let file = self.handles.get(asked.fh, node, Kind::File)?;
        // Through the owner's own description, its own locks are not in the way.
        let fd = self.locks.get((node, asked.owner)).unwrap_or(file.fd());
        let lk = locks::test_record(fd, &asked.lk)?;
        call.put(&LkOut { lk })
    }

    pub(super) fn setlk(&mut self, call: &mut Call<'_>) -> Result<()> {
        let asked: LkIn = call.take()?;
        let node = call.header.nodeid;
        let file = self.handles.get(asked.fh, node, Kind::File)?;
        if asked.lk_flags & LK_FLOCK != 0 {
            return locks::set_flock(file.fd(), asked.lk.kind);
        }
        let holder = (node, asked.owner);
        if asked.lk.kind == LOCK_NONE && self.locks.get(holder).is_none() {
            return Ok(());
        }
        check_rights(file, asked.lk.kind)?;
        let (reopener, access) = (&self.reopener, self.access);
        let open = || open_for_locks(reopener, file.fd(), access);
        let fd = self.locks.description(holder, open)?;
        locks::set_record(fd, &asked.lk)
    }
}

/// fcntl(2): a shared lock needs a readable file, an exclusive one a writable file.
fn check_rights(file: &Handle, kind: u32) -> Result<()> {
    let allowed = match kind {
        LOCK_READ => !file.flags.contains(OFlags::WRONLY),
        LOCK_WRITE => file.writable(),
        _ => true,
    };
    if allowed { Ok(()) } else { Err(Errno::BADF) }
}

/// A description that can hold locks of both kinds, or failing that, of one.
fn open_for_locks(reopener: &Reopener, file: BorrowedFd<'_>, access: Access) -> Result<OwnedFd> {
    if access == Access::ReadWrite
        && let Ok(fd) = reopener.open(file, OFlags::RDWR)
    {
        return Ok(fd);
    }
    reopener
        .open(file, OFlags::RDONLY)
        .or_else(|_| reopener.open(file, OFlags::WRONLY))
}
