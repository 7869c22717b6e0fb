//! The files that the guest knows of.
//!
//! What: [`Nodes`] maps node ids to inodes of the host. Each live node holds one `O_PATH`
//! descriptor, which keeps its inode number from being reused, and the number of lookups that
//! the guest has not given back. Ids are never reused.
//!
//! Neighbours: [`crate::directory`] fills it; [`crate::confine`] makes the descriptors.
//!
//! What it does not do: no names and no tree: a node does not know where it lies, which is why
//! renames on either side cannot confuse it.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use guest_abi::fuse::ROOT_ID;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::appearance::{Appearance, Key};
use crate::wire::Result;

/// One file that the guest knows of.
#[derive(Debug)]
pub(crate) struct Node {
    fd: OwnedFd,
    /// What makes two descriptors the same file.
    key: Key,
    lookups: u64,
    /// The inode's kind, which never changes.
    pub(crate) kind: FileType,
}

impl Node {
    /// The device that it lies on.
    pub(crate) const fn device(&self) -> u64 {
        self.key.0
    }

    /// The node's `O_PATH` descriptor.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// All files that the guest knows of, bounded.
#[derive(Debug)]
pub(crate) struct Nodes {
    by_id: HashMap<u64, Node>,
    by_key: HashMap<Key, u64>,
    next_id: u64,
    limit: usize,
    pub(crate) appearance: Appearance,
}

impl Nodes {
    /// Only the root, which is never forgotten.
    pub(crate) fn new(root: OwnedFd, stat: &Stat, limit: usize) -> Self {
        let key = (stat.st_dev, stat.st_ino);
        let node = Node {
            fd: root,
            key,
            lookups: 1,
            kind: FileType::Directory,
        };
        Self {
            by_id: HashMap::from([(ROOT_ID, node)]),
            by_key: HashMap::from([(key, ROOT_ID)]),
            next_id: ROOT_ID + 1,
            limit: limit.max(1),
            appearance: Appearance::default(),
        }
    }

    /// The node with this id, or `ESTALE`.
    pub(crate) fn get(&self, id: u64) -> Result<&Node> {
        self.by_id.get(&id).ok_or(Errno::STALE)
    }

    /// The directory with this id: `ESTALE` or `ENOTDIR` otherwise.
    pub(crate) fn directory(&self, id: u64) -> Result<&Node> {
        let node = self.get(id)?;
        if node.kind == FileType::Directory {
            Ok(node)
        } else {
            Err(Errno::NOTDIR)
        }
    }

    /// `ENFILE` when no further node fits: asked before something is created for one.
    pub(crate) fn room(&self) -> Result<()> {
        if self.by_id.len() < self.limit {
            Ok(())
        } else {
            Err(Errno::NFILE)
        }
    }

    /// Counts one lookup of the file behind `fd`, which is kept if the file is new here.
    pub(crate) fn remember(&mut self, fd: OwnedFd, stat: &Stat) -> Result<u64> {
        let key = (stat.st_dev, stat.st_ino);
        if let Some(&id) = self.by_key.get(&key) {
            if let Some(node) = self.by_id.get_mut(&id) {
                node.lookups = node.lookups.saturating_add(1);
            }
            return Ok(id);
        }
        self.room()?;
        let id = self.next_id;
        self.next_id += 1;
        let kind = FileType::from_raw_mode(stat.st_mode);
        self.by_id.insert(
            id,
            Node {
                fd,
                key,
                lookups: 1,
                kind,
            },
        );
        self.by_key.insert(key, id);
        Ok(id)
    }

    /// Gives lookups back; returns whether the node is gone. Unknown ids and too many lookups
    /// do no harm.
    pub(crate) fn forget(&mut self, id: u64, lookups: u64) -> bool {
        let Some(node) = self.by_id.get_mut(&id).filter(|_| id != ROOT_ID) else {
            return false;
        };
        node.lookups = node.lookups.saturating_sub(lookups);
        if node.lookups > 0 {
            return false;
        }
        let key = node.key;
        self.by_key.remove(&key);
        self.by_id.remove(&id);
        true
    }

    /// Forgets everything but the root.
    pub(crate) fn clear(&mut self) {
        self.by_id.retain(|&id, _| id == ROOT_ID);
        self.by_key.retain(|_, &mut id| id == ROOT_ID);
    }
}
