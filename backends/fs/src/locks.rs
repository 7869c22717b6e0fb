//! Locks on the host's files, so that machines and host programs exclude each other.
//!
//! What: POSIX record locks of the guest become open-file-description locks (fcntl(2),
//! `F_OFD_SETLK`) of the host. Ordinary POSIX locks would not do: they belong to a process, and
//! all owners in all machines of one monitor are one process. [`RecordLocks`] keeps one
//! description per file and owner, so that one owner's locks never exclude each other however
//! often it has the file open, and all end at once when that owner closes the file. flock(2)
//! locks are flock(2) locks of the handle's own description.
//!
//! Neighbours: [`crate::directory`] calls it for GETLK, SETLK and SETLKW.
//!
//! What it does not do: it never waits. A lock that is taken answers `EAGAIN`, for SETLKW too:
//! the guest's kernel asks again, since the thread that serves it has others to serve.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use guest_abi::fuse::{FileLock, LOCK_NONE, LOCK_READ, LOCK_TO_END, LOCK_WRITE};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::wire::Result;

/// Who holds record locks: a node and the guest's lock owner.
type Holder = (u64, u64);

/// The descriptions by which owners hold record locks.
#[derive(Debug)]
pub(crate) struct RecordLocks {
    held: HashMap<Holder, OwnedFd>,
    limit: usize,
}

impl RecordLocks {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            held: HashMap::new(),
            limit: limit.max(1),
        }
    }

    /// The description of `holder`, opened by `open` if it is new.
    pub(crate) fn description(
        &mut self,
        holder: Holder,
        open: impl FnOnce() -> Result<OwnedFd>,
    ) -> Result<BorrowedFd<'_>> {
        use std::collections::hash_map::Entry;
        let full = self.held.len() >= self.limit;
        let description: &OwnedFd = match self.held.entry(holder) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if full => return Err(Errno::NOLCK),
            Entry::Vacant(free) => free.insert(open()?),
        };
        Ok(description.as_fd())
    }

    /// The description of a holder that may have locks.
    pub(crate) fn get(&self, holder: Holder) -> Option<BorrowedFd<'_>> {
        self.held.get(&holder).map(AsFd::as_fd)
    }

    /// Ends all locks of one owner on one file, as any close(2) does.
    pub(crate) fn end_owner(&mut self, holder: Holder) {
        self.held.remove(&holder);
    }

    /// Whether anybody has locks on this file.
    pub(crate) fn any_on(&self, node: u64) -> bool {
        self.held.keys().any(|&(held_on, _)| held_on == node)
    }

    /// Ends all locks on one file.
    pub(crate) fn end_node(&mut self, node: u64) {
        self.held.retain(|&(held_on, _), _| held_on != node);
    }

    /// Ends all locks.
    pub(crate) fn clear(&mut self) {
        self.held.clear();
    }
}

/// Takes or drops a record lock, without waiting.
pub(crate) fn set_record(file: BorrowedFd<'_>, lock: &FileLock) -> Result<()> {
    let request = to_host(lock)?;
    fcntl(file, FcntlArg::F_OFD_SETLK(&request))
        .map(drop)
        .map_err(from_nix)
}

/// The lock that is in the way of `lock`, or one of kind `LOCK_NONE`.
pub(crate) fn test_record(file: BorrowedFd<'_>, lock: &FileLock) -> Result<FileLock> {
    let mut request = to_host(lock)?;
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut request)).map_err(from_nix)?;
    Ok(from_host(&request))
}

/// Takes or drops a flock(2) lock of this very description, without waiting.
pub(crate) fn set_flock(file: BorrowedFd<'_>, kind: u32) -> Result<()> {
    let operation = match kind {
        LOCK_READ => FlockOperation::NonBlockingLockShared,
        LOCK_WRITE => FlockOperation::NonBlockingLockExclusive,
        LOCK_NONE => FlockOperation::NonBlockingUnlock,
        _ => return Err(Errno::INVAL),
    };
    rustix::fs::flock(file, operation)
}

fn from_nix(errno: nix::errno::Errno) -> Errno {
    Errno::from_raw_os_error(errno as i32)
}

fn to_host(lock: &FileLock) -> Result<libc::flock> {
    let kind = match lock.kind {
        LOCK_READ => libc::F_RDLCK,
        LOCK_WRITE => libc::F_WRLCK,
        LOCK_NONE => libc::F_UNLCK,
        _ => return Err(Errno::INVAL),
    };
    let start = i64::try_from(lock.start).map_err(|_| Errno::INVAL)?;
    Ok(libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: start,
        l_len: length(start, lock.end)?,
        l_pid: 0,
    })
}

/// The length of a range whose last byte is `end`; 0 is "to the end".
fn length(start: i64, end: u64) -> Result<i64> {
    if end >= LOCK_TO_END {
        return Ok(0);
    }
    let end = i64::try_from(end).map_err(|_| Errno::INVAL)?;
    match end.checked_sub(start) {
        Some(distance @ 0..) => Ok(distance + 1),
        _ => Err(Errno::INVAL),
    }
}

fn from_host(lock: &libc::flock) -> FileLock {
    if lock.l_type == libc::F_UNLCK as i16 {
        return FileLock {
            kind: LOCK_NONE,
            ..FileLock::default()
        };
    }
    let kind = if lock.l_type == libc::F_WRLCK as i16 {
        LOCK_WRITE
    } else {
        LOCK_READ
    };
    let end = match lock.l_len {
        0 => LOCK_TO_END,
        len => lock.l_start.saturating_add(len - 1).cast_unsigned(),
    };
    FileLock {
        start: lock.l_start.cast_unsigned(),
        end,
        kind,
        pid: 0,
    }
}
