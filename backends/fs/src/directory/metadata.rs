//! Operations on attributes.
//!
//! What: GETATTR, SETATTR, STATFS, ACCESS and the answer that there are no extended attributes.
//!
//! Neighbours: [`crate::wire`] converts attributes.
//!
//! What it does not do: it does not check the guest's users against permission bits; their
//! kernel does.

use std::os::fd::{AsFd, BorrowedFd};

use guest_abi::fuse::{AccessIn, GetattrIn, GetxattrIn, GetxattrOut, SetattrIn, StatfsOut};
use guest_abi::fuse::{GETATTR_FH, setattr};
use rustix::fs::{AtFlags, FileType, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;

use super::files::{drop_privilege_bits, position};
use super::names::chown;
use super::{Access, DirectoryService};
use crate::handles::Kind;
use crate::wire::{Call, Result};

impl DirectoryService {
    pub(super) fn getattr(&mut self, call: &mut Call<'_>) -> Result<()> {
        let getattr: GetattrIn = call.take()?;
        let node = call.header.nodeid;
        let fd = if getattr.getattr_flags & GETATTR_FH != 0 {
            self.handles.any(getattr.fh, node)?.fd()
        } else {
            self.nodes.get(node)?.fd()
        };
        let stat = rustix::fs::fstat(fd)?;
        call.put(&self.attributes_out(&stat))
    }

    /// Applies the changes in the order in which they do not undo each other: a new owner
    /// clears privilege bits, a new length sets times.
    pub(super) fn setattr(&mut self, call: &mut Call<'_>) -> Result<()> {
        let wanted: SetattrIn = call.take()?;
        let id = call.header.nodeid;
        let node = self.nodes.get(id)?.fd();
        let has = |bit| wanted.valid & bit != 0;
        let times = times(&wanted)?;
        if has(setattr::UID | setattr::GID) {
            let uid = has(setattr::UID).then_some(wanted.uid);
            chown(node, uid, has(setattr::GID).then_some(wanted.gid))?;
        }
        if has(setattr::MODE) {
            self.reopener.set_mode(node, wanted.mode)?;
        }
        if has(setattr::SIZE) {
            self.set_size(id, &wanted)?;
        }
        if let Some(times) = times {
            let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::utimensat(node, c"", &times, flags)?;
        }
        let stat = rustix::fs::fstat(node)?;
        call.put(&self.attributes_out(&stat))
    }

    fn set_size(&self, id: u64, wanted: &SetattrIn) -> Result<()> {
        let size = position(wanted.size)?;
        let kill = wanted.valid & setattr::KILL_SUIDGID != 0;
        if wanted.valid & setattr::FH != 0 {
            let file = self.handles.get(wanted.fh, id, Kind::File)?;
            return truncate(file.fd(), size, kill);
        }
        let node = self.nodes.get(id)?;
        match node.kind {
            FileType::RegularFile => truncate(
                self.reopener.open(node.fd(), OFlags::WRONLY)?.as_fd(),
                size,
                kill,
            ),
            FileType::Directory => Err(Errno::ISDIR),
            _ => Err(Errno::INVAL),
        }
    }

    pub(super) fn statfs(&mut self, call: &mut Call<'_>) -> Result<()> {
        let figures = rustix::fs::fstatvfs(self.nodes.get(call.header.nodeid)?.fd())?;
        call.put(&self.nodes.appearance.room(StatfsOut {
            blocks: figures.f_blocks,
            bfree: figures.f_bfree,
            bavail: figures.f_bavail,
            files: figures.f_files,
            ffree: figures.f_ffree,
            bsize: u32::try_from(figures.f_bsize).unwrap_or(4096),
            namelen: u32::try_from(figures.f_namemax).unwrap_or(255),
            frsize: u32::try_from(figures.f_frsize).unwrap_or(4096),
            ..StatfsOut::default()
        }))
    }

    /// Whether the host would let the monitor; the guest's kernel has asked the mode bits.
    pub(super) fn check_access(&mut self, call: &mut Call<'_>) -> Result<()> {
        let asked: AccessIn = call.take()?;
        let node = self.nodes.get(call.header.nodeid)?;
        if asked.mask > 7 {
            return Err(Errno::INVAL);
        }
        let access = rustix::fs::Access::from_bits_retain(asked.mask);
        if access.contains(rustix::fs::Access::WRITE_OK) && self.access == Access::ReadOnly {
            return Err(Errno::ROFS);
        }
        self.reopener.check_access(node.fd(), access)
    }
}

fn truncate(file: BorrowedFd<'_>, size: u64, kill: bool) -> Result<()> {
    if kill {
        drop_privilege_bits(file)?;
    }
    rustix::fs::ftruncate(file, size)
}

/// There are no extended attributes: an empty list.
pub(super) fn listxattr(call: &mut Call<'_>) -> Result<()> {
    let asked: GetxattrIn = call.take()?;
    if asked.size == 0 {
        call.put(&GetxattrOut::default())
    } else {
        Ok(())
    }
}

/// The time stamps to set, if any.
fn times(wanted: &SetattrIn) -> Result<Option<Timestamps>> {
    let access = (setattr::ATIME, setattr::ATIME_NOW);
    let modification = (setattr::MTIME, setattr::MTIME_NOW);
    if wanted.valid & (access.0 | access.1 | modification.0 | modification.1) == 0 {
        return Ok(None);
    }
    let valid = wanted.valid;
    Ok(Some(Timestamps {
        last_access: stamp(valid, access, wanted.atime, wanted.atimensec)?,
        last_modification: stamp(valid, modification, wanted.mtime, wanted.mtimensec)?,
    }))
}

/// One time stamp: the present, the given one, or what it was.
fn stamp(valid: u32, (set, now): (u32, u32), seconds: u64, nanoseconds: u32) -> Result<Timespec> {
    if valid & now != 0 {
        return Ok(Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        });
    }
    if valid & set == 0 {
        return Ok(Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        });
    }
    if nanoseconds >= 1_000_000_000 {
        return Err(Errno::INVAL);
    }
    Ok(Timespec {
        tv_sec: seconds.cast_signed(),
        tv_nsec: nanoseconds.into(),
    })
}
