//! The files that the guest has open.
//!
//! What: [`Handles`] maps file handles to open host descriptors, bounded in number. A handle
//! belongs to one node and is either a file's or a directory's; using it for another is an
//! errno.
//!
//! Neighbours: [`crate::directory`] opens and uses them.
//!
//! What it does not do: no positions: reads and writes carry their own.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::wire::Result;

/// Whether a handle reads bytes or entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
}

/// One open file or directory.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) fd: OwnedFd,
    pub(crate) node: u64,
    pub(crate) kind: Kind,
    /// The flags it is open with now.
    pub(crate) flags: OFlags,
}

impl Handle {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether it may be written.
    pub(crate) fn writable(&self) -> bool {
        self.flags.intersects(OFlags::WRONLY | OFlags::RDWR)
    }
}

/// All that the guest has open.
#[derive(Debug)]
pub(crate) struct Handles {
    by_id: HashMap<u64, Handle>,
    next_id: u64,
    limit: usize,
}

impl Handles {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            by_id: HashMap::new(),
            next_id: 1,
            limit: limit.max(1),
        }
    }

    /// `ENFILE` when no further handle fits.
    pub(crate) fn room(&self) -> Result<()> {
        if self.by_id.len() < self.limit {
            Ok(())
        } else {
            Err(Errno::NFILE)
        }
    }

    /// Keeps an open file; returns its handle.
    pub(crate) fn insert(&mut self, handle: Handle) -> Result<u64> {
        self.room()?;
        let id = self.next_id;
        self.next_id += 1;
        self.by_id.insert(id, handle);
        Ok(id)
    }

    /// The handle `id` of `node`: `EBADF` if there is none such, `EISDIR` or `ENOTDIR` if it
    /// is of the other kind.
    pub(crate) fn get(&self, id: u64, node: u64, kind: Kind) -> Result<&Handle> {
        let handle = self.any(id, node)?;
        match (handle.kind, kind) {
            (is, wanted) if is == wanted => Ok(handle),
            (Kind::Directory, _) => Err(Errno::ISDIR),
            (Kind::File, _) => Err(Errno::NOTDIR),
        }
    }

    /// The handle `id` of `node`, of either kind.
    pub(crate) fn any(&self, id: u64, node: u64) -> Result<&Handle> {
        self.by_id
            .get(&id)
            .filter(|handle| handle.node == node)
            .ok_or(Errno::BADF)
    }

    /// A file's handle, to change its flags.
    pub(crate) fn file_mut(&mut self, id: u64, node: u64) -> Result<&mut Handle> {
        self.get(id, node, Kind::File)?;
        self.by_id.get_mut(&id).ok_or(Errno::BADF)
    }

    /// Closes a handle.
    pub(crate) fn close(&mut self, id: u64, node: u64, kind: Kind) -> Result<()> {
        self.get(id, node, kind)?;
        self.by_id.remove(&id);
        Ok(())
    }

    /// Whether the node has any handle.
    pub(crate) fn any_of(&self, node: u64) -> bool {
        self.by_id.values().any(|handle| handle.node == node)
    }

    /// Closes all.
    pub(crate) fn clear(&mut self) {
        self.by_id.clear();
    }
}
