//! File locks: `fcntl` record locks of processes and of open file descriptions, and `flock`.
//!
//! Locks on files of volumes are kept by the host; all others here.

use alloc::vec::Vec;

use guest_hal::sync::Mutex;

use super::file::Lockable;
use super::open::OpenFile;
use crate::{Errno, Result};

/// The last byte of a lock that goes on to the end of the file, wherever that is.
pub const TO_END: u64 = i64::MAX as u64;

/// Whose a lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A process: POSIX record locks.
    Process(u64),
    /// An open file description: OFD record locks.
    Description(u64),
    /// An open file description: `flock`.
    Flock(u64),
}

impl Owner {
    const fn is_flock(self) -> bool {
        matches!(self, Self::Flock(_))
    }
}

/// What a lock excludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Other exclusive ones.
    Shared,
    /// All others.
    Exclusive,
    /// None.
    Unlocked,
}

/// A lock on a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeLock {
    /// Shared, exclusive, none.
    pub kind: LockKind,
    /// First byte.
    pub start: u64,
    /// Last byte; [`TO_END`]: to the end.
    pub end: u64,
    /// The process that has it.
    pub pid: u32,
}

impl RangeLock {
    const fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    fn excludes(&self, other: &Self) -> bool {
        let exclusive = [self.kind, other.kind].contains(&LockKind::Exclusive);
        let none = [self.kind, other.kind].contains(&LockKind::Unlocked);
        exclusive && !none && self.overlaps(other)
    }
}

/// A file: device and inode number.
type FileKey = (u64, u64);

#[derive(Clone, Copy, Debug)]
struct Held {
    file: FileKey,
    owner: Owner,
    lock: RangeLock,
}

static HELD: Mutex<Vec<Held>> = Mutex::new(Vec::new());

fn key(file: &OpenFile) -> Result<FileKey> {
    let metadata = file.metadata()?;
    Ok((metadata.device, metadata.number))
}

fn elsewhere(file: &OpenFile) -> Result<Option<&dyn Lockable>> {
    Ok(file.file()?.as_lockable())
}

fn conflict(held: &[Held], file: FileKey, owner: Owner, lock: &RangeLock) -> Option<RangeLock> {
    let others = held.iter().filter(|other| {
        other.file == file && other.owner != owner && other.owner.is_flock() == owner.is_flock()
    });
    others
        .map(|other| other.lock)
        .find(|other| other.excludes(lock))
}

/// The lock that is in the way, if one is.
///
/// # Errors
/// `EBADF`; the file system's.
pub fn test(file: &OpenFile, owner: Owner, lock: &RangeLock) -> Result<Option<RangeLock>> {
    if let Some(lockable) = elsewhere(file)? {
        return lockable.test_lock(owner, lock);
    }
    let file = key(file)?;
    Ok(conflict(&HELD.lock(), file, owner, lock))
}

/// Takes or drops a lock, without waiting.
///
/// # Errors
/// `EAGAIN` when another is in the way; `EBADF`; the file system's.
pub fn set(file: &OpenFile, owner: Owner, lock: &RangeLock) -> Result<()> {
    if let Some(lockable) = elsewhere(file)? {
        return lockable.set_lock(owner, lock);
    }
    let file = key(file)?;
    let mut held = HELD.lock();
    if conflict(&held, file, owner, lock).is_some() {
        return Err(Errno::EAGAIN);
    }
    replace(&mut held, file, owner, lock);
    Ok(())
}

/// What an owner had in a range makes way for the new lock.
fn replace(held: &mut Vec<Held>, file: FileKey, owner: Owner, lock: &RangeLock) {
    let mut rests = Vec::new();
    held.retain(|other| {
        let own = other.file == file && other.owner == owner;
        if !own || !other.lock.overlaps(lock) {
            return true;
        }
        if other.lock.start < lock.start {
            let end = lock.start - 1;
            rests.push(Held {
                lock: RangeLock { end, ..other.lock },
                ..*other
            });
        }
        if other.lock.end > lock.end {
            let start = lock.end + 1;
            rests.push(Held {
                lock: RangeLock {
                    start,
                    ..other.lock
                },
                ..*other
            });
        }
        false
    });
    held.append(&mut rests);
    if lock.kind != LockKind::Unlocked {
        held.push(Held {
            file,
            owner,
            lock: *lock,
        });
    }
}

/// A descriptor was closed: the process's record locks on the file end.
pub fn closed(file: &OpenFile, process: u64) {
    if HELD.lock().is_empty() {
        return;
    }
    if let Ok(file) = key(file) {
        let owner = Owner::Process(process);
        HELD.lock()
            .retain(|held| held.file != file || held.owner != owner);
    }
}

/// An open file description is gone: its locks end.
pub(super) fn forget_owner(file: &OpenFile) {
    let id = file.id();
    let own = [Owner::Description(id), Owner::Flock(id)];
    HELD.lock().retain(|held| !own.contains(&held.owner));
    if let Ok(Some(_)) = elsewhere(file)
        && let Ok(file) = file.file()
    {
        // Nobody is left to be told when that fails.
        let _: Result<()> = file.flush(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileKey = (1, 1);

    fn lock(kind: LockKind, start: u64, end: u64) -> RangeLock {
        RangeLock {
            kind,
            start,
            end,
            pid: 1,
        }
    }

    fn ranges(held: &[Held]) -> Vec<(u64, u64)> {
        let mut ranges: Vec<_> = held
            .iter()
            .map(|held| (held.lock.start, held.lock.end))
            .collect();
        ranges.sort_unstable();
        ranges
    }

    #[test]
    fn unlocking_the_middle_leaves_both_ends() {
        let mut held = Vec::new();
        let owner = Owner::Process(1);
        replace(
            &mut held,
            FILE,
            owner,
            &lock(LockKind::Exclusive, 0, TO_END),
        );
        replace(&mut held, FILE, owner, &lock(LockKind::Unlocked, 10, 19));
        assert_eq!(ranges(&held), [(0, 9), (20, TO_END)]);
    }

    #[test]
    fn only_other_owners_of_the_same_family_are_in_the_way() {
        let mut held = Vec::new();
        replace(
            &mut held,
            FILE,
            Owner::Flock(1),
            &lock(LockKind::Exclusive, 0, TO_END),
        );
        replace(
            &mut held,
            FILE,
            Owner::Description(2),
            &lock(LockKind::Shared, 0, 9),
        );
        let wanted = lock(LockKind::Exclusive, 5, 5);
        assert!(conflict(&held, FILE, Owner::Flock(2), &wanted).is_some());
        assert!(conflict(&held, FILE, Owner::Flock(1), &wanted).is_none());
        assert!(conflict(&held, FILE, Owner::Process(1), &wanted).is_some());
        assert!(conflict(&held, FILE, Owner::Description(2), &wanted).is_none());
        let shared = lock(LockKind::Shared, 5, 5);
        assert!(conflict(&held, FILE, Owner::Process(1), &shared).is_none());
    }
}
