//! The mounts: which file system is where.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use guest_hal::sync::{Mutex, Once};

use super::entry::{Entry, Location};
use super::inode::{FileSystem, Inode};
use crate::{Errno, Result};

/// What a mount allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountFlags {
    /// No changes.
    pub read_only: bool,
    /// No programs.
    pub no_exec: bool,
    /// No set-user-id programs.
    pub no_suid: bool,
    /// No device nodes.
    pub no_dev: bool,
}

/// A file system at its place.
#[derive(Debug)]
pub struct Mount {
    /// Its number in `/proc/self/mountinfo`.
    pub id: u32,
    /// The file system.
    pub file_system: Arc<dyn FileSystem>,
    /// Its root directory.
    pub root: Arc<Entry>,
    /// What `/proc/mounts` calls its source.
    pub source: String,
    /// What it allows.
    pub flags: MountFlags,
    place: Option<Location>,
    hidden: bool,
}

static MOUNTS: Mutex<Vec<Arc<Mount>>> = Mutex::new(Vec::new());
static NEXT_ID: AtomicU32 = AtomicU32::new(20);
static NEXT_DEVICE: AtomicU32 = AtomicU32::new(20);

/// A device number for a file system without a device: major number 0.
#[must_use]
pub fn new_device() -> u64 {
    u64::from(NEXT_DEVICE.fetch_add(1, Ordering::Relaxed))
}

impl Mount {
    /// Where it is mounted; `None` for the root.
    #[must_use]
    pub fn place(&self) -> Option<Location> {
        self.place.clone()
    }

    /// Whether it has no place in the tree.
    #[must_use]
    pub const fn is_hidden(&self) -> bool {
        self.hidden
    }

    fn new(file_system: Arc<dyn FileSystem>, source: &str, flags: MountFlags) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            root: Entry::root(file_system.root(), b"/"),
            file_system,
            source: source.into(),
            flags,
            place: None,
            hidden: false,
        }
    }

    /// `EROFS` when changes are refused.
    ///
    /// # Errors
    /// `EROFS`.
    pub const fn check_writable(&self) -> Result<()> {
        if self.flags.read_only {
            Err(Errno::EROFS)
        } else {
            Ok(())
        }
    }
}

/// Mounts the root; returns its location.
#[must_use]
pub fn mount_root(file_system: Arc<dyn FileSystem>, source: &str, flags: MountFlags) -> Location {
    let mount = Arc::new(Mount::new(file_system, source, flags));
    MOUNTS.lock().push(mount.clone());
    Location {
        entry: mount.root.clone(),
        mount,
    }
}

/// Mounts a file system on a directory.
pub fn mount(
    file_system: Arc<dyn FileSystem>,
    source: &str,
    flags: MountFlags,
    place: Location,
) -> Arc<Mount> {
    place.entry.set_covered(true);
    let mount = Mount {
        place: Some(place),
        ..Mount::new(file_system, source, flags)
    };
    let mount = Arc::new(mount);
    MOUNTS.lock().push(mount.clone());
    mount
}

/// What is mounted on a location, the latest first.
#[must_use]
pub fn on(location: &Location) -> Option<Arc<Mount>> {
    let mounts = MOUNTS.lock();
    mounts
        .iter()
        .rev()
        .find(|mount| mount.place.as_ref() == Some(location))
        .cloned()
}

/// All mounts that have a place, in the order in which they were made.
#[must_use]
pub fn all() -> Vec<Arc<Mount>> {
    MOUNTS.lock().clone()
}

/// Drops the names that were looked up and that nobody uses, and with them what file systems keep
/// for them.
pub(super) fn forget_unused() {
    for mount in all() {
        Entry::forget_unused(&mount.root);
    }
}

/// The location of something that has no name in the tree, such as a pipe; `label` is what
/// `/proc/self/fd` shows.
#[must_use]
pub fn unnamed(inode: Arc<dyn Inode>, label: &[u8]) -> Location {
    static HIDDEN: Once<Arc<Mount>> = Once::new();
    let mount = HIDDEN.call_once(|| {
        let file_system = super::overlay::OverlayFs::empty("anon_inodefs");
        let mount = Mount::new(file_system, "none", MountFlags::default());
        Arc::new(Mount {
            hidden: true,
            ..mount
        })
    });
    Location {
        mount: mount.clone(),
        entry: Entry::root(inode, label),
    }
}
