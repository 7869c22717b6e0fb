//! Files in memory, over another file system or over nothing.
//!
//! An [`OverlayFs`] shows its lower file system, which is only read, and keeps all changes in
//! memory. Without a lower one it is a `tmpfs`.
//!
//! An inode refers to the lower inode it stands for, not to a path, so that renaming a lower
//! file or directory copies nothing: the same inode is entered under its new name and the
//! old one is marked as gone. What is changed is what is kept: metadata, names, and pages
//! (those not written still come from below).
//!
//! * `inode`: identity and metadata.
//! * `directory`: names.
//! * `content`: the content of regular files. [`file`]: open ones.

mod content;
mod directory;
mod file;
mod inode;

pub use file::OverlayFile;
pub use inode::OverlayInode;

use alloc::sync::{Arc, Weak};
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_hal::sync::{Mutex, Once};
use hashbrown::HashMap;
use linux_raw_sys::general as raw;

use super::inode::{FileSystem, Inode, NewInode};
use super::metadata::FsStatus;
use crate::Result;

const TMPFS_MAGIC: u64 = 0x0102_1994;
const OVERLAY_MAGIC: u64 = 0x794c_7630;

/// A file system in memory.
pub struct OverlayFs {
    name: &'static str,
    device: u64,
    next_number: AtomicU64,
    lower: Option<Arc<dyn FileSystem>>,
    /// Which inode stands for a lower one.
    by_lower: Mutex<HashMap<usize, Weak<OverlayInode>>>,
    /// Those that differ from their lower one and so must not be forgotten.
    changed: Mutex<HashMap<usize, Arc<OverlayInode>>>,
    root: Once<Arc<OverlayInode>>,
    this: Weak<Self>,
}

impl fmt::Debug for OverlayFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverlayFs")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl OverlayFs {
    /// An empty one.
    #[must_use]
    pub fn empty(name: &'static str) -> Arc<Self> {
        let fs = Self::make(name, None);
        let new = new_directory(0o1777);
        fs.root.call_once(|| OverlayInode::new(&fs, &new));
        fs
    }

    /// One over another file system. Its root has a directory for each of `places`, on which
    /// something is going to be mounted, whatever the other has there: nobody asks it.
    #[must_use]
    pub fn over(lower: Arc<dyn FileSystem>, places: &[&[u8]]) -> Arc<Self> {
        let root = lower.root();
        let fs = Self::make("overlay", Some(lower));
        let root = fs.root.call_once(|| OverlayInode::over(&fs, root));
        for name in places {
            let directory = OverlayInode::new(&fs, &new_directory(0o755));
            root.show(name, &directory);
        }
        fs
    }

    fn make(name: &'static str, lower: Option<Arc<dyn FileSystem>>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            name,
            device: super::mount::new_device(),
            next_number: AtomicU64::new(if lower.is_some() { 1 << 48 } else { 1 }),
            lower,
            by_lower: Mutex::new(HashMap::new()),
            changed: Mutex::new(HashMap::new()),
            root: Once::new(),
            this: this.clone(),
        })
    }

    fn this(&self) -> Arc<Self> {
        self.this
            .upgrade()
            .expect("a file system is only used by reference")
    }

    fn new_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// The inode that stands for a lower one.
    fn standing_for(&self, lower: Arc<dyn Inode>) -> Arc<OverlayInode> {
        let key = key(&lower);
        let known = self.by_lower.lock().get(&key).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let inode = OverlayInode::over(&self.this(), lower);
            self.by_lower.lock().insert(key, Arc::downgrade(&inode));
            inode
        })
    }

    /// An inode has gone; another may already stand for the same lower one.
    fn remove_dead(&self, lower: &Arc<dyn Inode>) {
        let key = key(lower);
        let mut by_lower = self.by_lower.lock();
        if by_lower
            .get(&key)
            .is_some_and(|inode| inode.strong_count() == 0)
        {
            by_lower.remove(&key);
        }
    }

    /// An inode differs from its lower one now.
    fn keep(&self, inode: &OverlayInode) {
        let Some(lower) = &inode.lower else { return };
        let key = key(lower);
        let known = self.by_lower.lock().get(&key).and_then(Weak::upgrade);
        let old = known.and_then(|inode| self.changed.lock().insert(key, inode));
        drop(old);
    }

    /// An inode has no names any more.
    fn release(&self, inode: &OverlayInode) {
        let Some(lower) = &inode.lower else { return };
        let old = self.changed.lock().remove(&key(lower));
        drop(old);
    }
}

/// A directory of the superuser's.
const fn new_directory(mode: u32) -> NewInode<'static> {
    NewInode {
        mode: raw::S_IFDIR | mode,
        uid: 0,
        gid: 0,
        represented: 0,
        target: b"",
        open: None,
    }
}

/// Identifies a lower inode as long as it is referred to.
fn key(lower: &Arc<dyn Inode>) -> usize {
    Arc::as_ptr(lower).addr()
}

impl FileSystem for OverlayFs {
    fn root(&self) -> Arc<dyn Inode> {
        self.root.get().expect("set when it was made").clone()
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn status(&self) -> Result<FsStatus> {
        if let Some(lower) = &self.lower {
            return Ok(FsStatus {
                magic: OVERLAY_MAGIC,
                ..lower.status()?
            });
        }
        let blocks = super::memory_limit() / 4096 / 2;
        Ok(FsStatus {
            magic: TMPFS_MAGIC,
            block_size: 4096,
            blocks: [blocks; 3],
            inodes: [blocks; 2],
            name_max: 255,
        })
    }
}
