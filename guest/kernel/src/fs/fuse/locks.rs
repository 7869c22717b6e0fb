//! Locks on files of the host: kept by the host, so that machines and its own programs
//! exclude each other.

use core::sync::atomic::Ordering;

use guest_abi::fuse::{FileLock, LK_FLOCK, LOCK_NONE, LOCK_READ, LOCK_WRITE, LkIn, LkOut, Opcode};

use super::file::FuseFile;
use crate::Result;
use crate::fs::file::Lockable;
use crate::fs::lock::{LockKind, Owner, RangeLock};

fn request(fh: u64, owner: Owner, lock: &RangeLock) -> LkIn {
    let (owner, lk_flags) = match owner {
        Owner::Process(id) | Owner::Description(id) => (id, 0),
        Owner::Flock(id) => (id, LK_FLOCK),
    };
    let kind = match lock.kind {
        LockKind::Shared => LOCK_READ,
        LockKind::Exclusive => LOCK_WRITE,
        LockKind::Unlocked => LOCK_NONE,
    };
    let lk = FileLock {
        start: lock.start,
        end: lock.end,
        kind,
        pid: lock.pid,
    };
    LkIn {
        fh,
        owner,
        lk,
        lk_flags,
        padding: 0,
    }
}

impl Lockable for FuseFile {
    fn test_lock(&self, owner: Owner, lock: &RangeLock) -> Result<Option<RangeLock>> {
        let ask = request(self.handle.fh, owner, lock);
        let reply: LkOut =
            self.inode
                .fs
                .session
                .ask(self.inode.request(Opcode::Getlk), &ask, &[])?;
        let kind = match reply.lk.kind {
            LOCK_READ => LockKind::Shared,
            LOCK_WRITE => LockKind::Exclusive,
            _ => return Ok(None),
        };
        Ok(Some(RangeLock {
            kind,
            start: reply.lk.start,
            end: reply.lk.end,
            pid: reply.lk.pid,
        }))
    }

    fn set_lock(&self, owner: Owner, lock: &RangeLock) -> Result<()> {
        let ask = request(self.handle.fh, owner, lock);
        let () = self
            .inode
            .fs
            .session
            .ask(self.inode.request(Opcode::Setlk), &ask, &[])?;
        if lock.kind != LockKind::Unlocked {
            self.inode.locked.store(true, Ordering::Relaxed);
            // What others wrote under their lock must be seen under this one.
            self.inode.refresh()?;
        }
        Ok(())
    }
}
