//! Names: the tree of what has been looked up, across file systems.
//!
//! An [`Entry`] is one name with its inode, a [`Location`] is an entry seen through a mount.
//! The tree is a cache of what the file systems say, and the only place that knows paths:
//! inodes have none.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use guest_hal::Nanos;
use guest_hal::sync::Mutex;
use hashbrown::HashMap;

use super::inode::{Found, Inode};
use super::metadata::{FileKind, Metadata};
use super::mount::Mount;
use crate::{Errno, Result};

/// How many names of one directory are remembered before the unused are dropped.
const CHILDREN_MAX: usize = 4096;
/// How much of the machine's memory there is for each entry, with its inode and what the file
/// system keeps for it, before the unused are dropped: they take some 500 bytes.
const MEMORY_EACH: u64 = 8192;

/// Entries that there are.
static COUNT: AtomicU64 = AtomicU64::new(0);
/// Entries that were left when the unused were dropped the last time.
static LEFT: AtomicU64 = AtomicU64::new(0);

/// A name.
pub struct Entry {
    inode: Arc<dyn Inode>,
    place: Mutex<Place>,
    children: Mutex<HashMap<Box<[u8]>, Child>>,
    covered: AtomicBool,
}

struct Place {
    parent: Option<Arc<Entry>>,
    name: Box<[u8]>,
    gone: bool,
}

struct Child {
    entry: Option<Arc<Entry>>,
    valid_until: Nanos,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("inode", &self.inode)
            .finish_non_exhaustive()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Drops what is not used once there is much of it. What is in use stays, and as much again may
/// come before the next try.
fn bound_count() {
    let most = (super::memory_limit() / MEMORY_EACH).max(1024);
    if COUNT.load(Ordering::Relaxed) < LEFT.load(Ordering::Relaxed) + most {
        return;
    }
    super::mount::forget_unused();
    LEFT.store(COUNT.load(Ordering::Relaxed), Ordering::Relaxed);
}

impl Child {
    /// Whether nobody but the directory has it.
    fn is_unused(&self) -> bool {
        let entry = self.entry.as_ref();
        entry.is_none_or(|entry| Arc::strong_count(entry) == 1)
    }
}

fn is_valid(until: Nanos) -> bool {
    until == Nanos(u64::MAX) || (until.0 > 0 && guest_hal::time::monotonic() < until)
}

impl Entry {
    /// The root of a file system, or something without a place (then `name` describes it).
    #[must_use]
    pub fn root(inode: Arc<dyn Inode>, name: &[u8]) -> Arc<Self> {
        Self::new(inode, None, name)
    }

    fn new(inode: Arc<dyn Inode>, parent: Option<Arc<Self>>, name: &[u8]) -> Arc<Self> {
        COUNT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            inode,
            place: Mutex::new(Place {
                parent,
                name: name.into(),
                gone: false,
            }),
            children: Mutex::new(HashMap::new()),
            covered: AtomicBool::new(false),
        })
    }

    /// The inode.
    #[must_use]
    pub const fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    /// The directory it is in; `None` for a root.
    #[must_use]
    pub fn parent(&self) -> Option<Arc<Self>> {
        self.place.lock().parent.clone()
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> Box<[u8]> {
        self.place.lock().name.clone()
    }

    /// Whether the name was removed.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.place.lock().gone
    }

    /// Whether something is mounted on it.
    #[must_use]
    pub fn is_covered(&self) -> bool {
        self.covered.load(Ordering::Relaxed)
    }

    pub(super) fn set_covered(&self, covered: bool) {
        self.covered.store(covered, Ordering::Relaxed);
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.inode.kind() == FileKind::Directory
    }

    /// Looks a name up; `None`: there is no such name.
    ///
    /// # Errors
    /// `ENOTDIR`; the file system's.
    pub fn child(self: &Arc<Self>, name: &[u8]) -> Result<Option<Arc<Self>>> {
        if let Some(child) = self.children.lock().get(name)
            && is_valid(child.valid_until)
        {
            return Ok(child.entry.clone());
        }
        if self.is_gone() {
            return Ok(None);
        }
        let directory = self.inode.as_directory().ok_or(Errno::ENOTDIR)?;
        let found = directory.lookup(name)?;
        Ok(self.install(name, found))
    }

    /// Remembers what the file system said about a name. An entry that stands for the same
    /// inode stays.
    pub(super) fn install(self: &Arc<Self>, name: &[u8], found: Found) -> Option<Arc<Self>> {
        let known = self.known(name);
        let entry = match (found.inode, &known) {
            (Some(inode), Some(known)) if Arc::ptr_eq(&known.inode, &inode) => Some(known.clone()),
            (Some(inode), _) => Some(Self::new(inode, Some(self.clone()), name)),
            (None, _) => None,
        };
        if let Some(known) = known
            && !entry
                .as_ref()
                .is_some_and(|entry| Arc::ptr_eq(entry, &known))
        {
            known.place.lock().gone = true;
        }
        self.insert(
            name,
            Child {
                entry: entry.clone(),
                valid_until: found.valid_until,
            },
        );
        bound_count();
        entry
    }

    /// The entry of a name, without asking the file system.
    fn known(&self, name: &[u8]) -> Option<Arc<Self>> {
        self.children
            .lock()
            .get(name)
            .and_then(|child| child.entry.clone())
    }

    fn insert(&self, name: &[u8], child: Child) {
        let unused = self.make_room();
        let old = self.children.lock().insert(name.into(), child);
        drop((unused, old));
    }

    /// Takes out entries nobody uses once there are many; dropped by the caller, since
    /// inodes have something to say when they go.
    fn make_room(&self) -> Vec<Child> {
        if self.children.lock().len() < CHILDREN_MAX {
            return Vec::new();
        }
        self.take_unused()
    }

    /// Drops what was remembered below a root and is not used, the deepest first. It is asked for
    /// anew when somebody wants it.
    pub(super) fn forget_unused(root: &Arc<Self>) {
        let mut all = alloc::vec![root.clone()];
        let mut at = 0;
        while let Some(entry) = all.get(at).cloned() {
            all.extend(entry.remembered());
            at += 1;
        }
        while let Some(entry) = all.pop() {
            let unused = entry.take_unused();
            drop(unused);
        }
    }

    /// The names that lead somewhere, without asking the file system.
    fn remembered(&self) -> Vec<Arc<Self>> {
        let children = self.children.lock();
        let entries = children.values().filter_map(|child| child.entry.clone());
        entries.collect()
    }

    /// Takes out what nobody uses.
    fn take_unused(&self) -> Vec<Child> {
        let mut children = self.children.lock();
        children
            .extract_if(|_, child| child.is_unused())
            .map(|(_, child)| child)
            .collect()
    }

    /// A name was removed from this directory.
    pub(super) fn removed(&self, name: &[u8]) {
        let child = self.children.lock().remove(name);
        if let Some(entry) = child.and_then(|child| child.entry) {
            entry.place.lock().gone = true;
        }
    }

    /// A name was moved from this directory to another.
    pub(super) fn moved(&self, name: &[u8], to: &Arc<Self>, to_name: &[u8]) {
        let child = self.children.lock().remove(name);
        to.removed(to_name);
        let Some(child) = child else { return };
        if let Some(entry) = &child.entry {
            let mut place = entry.place.lock();
            place.name = to_name.into();
            let old = place.parent.replace(to.clone());
            drop(place);
            drop(old);
        }
        to.insert(to_name, child);
    }

    /// Two names changed places.
    pub(super) fn exchanged(&self, name: &[u8], to: &Arc<Self>, to_name: &[u8]) {
        let one = self.children.lock().remove(name);
        let other = to.children.lock().remove(to_name);
        // What was cached of either is asked for anew.
        drop((one, other));
    }

    /// Whether `other` lies in this directory or below, or is it.
    pub(super) fn contains(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let mut at = Some(other.clone());
        while let Some(entry) = at {
            if Arc::ptr_eq(&entry, self) {
                return true;
            }
            at = entry.parent();
        }
        false
    }
}

/// A name seen through a mount.
#[derive(Clone, Debug)]
pub struct Location {
    /// The mount.
    pub mount: Arc<Mount>,
    /// The name.
    pub entry: Arc<Entry>,
}

impl PartialEq for Location {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.mount, &other.mount) && Arc::ptr_eq(&self.entry, &other.entry)
    }
}

impl Location {
    /// The inode.
    #[must_use]
    pub fn inode(&self) -> &Arc<dyn Inode> {
        self.entry.inode()
    }

    /// What `stat` tells.
    ///
    /// # Errors
    /// The file system's.
    pub fn metadata(&self) -> Result<Metadata> {
        self.inode().metadata()
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.entry.is_directory()
    }

    /// What is mounted here, if something is.
    #[must_use]
    pub fn enter_mounts(mut self) -> Self {
        while self.entry.is_covered() {
            let Some(mount) = super::mount::on(&self) else {
                break;
            };
            self.entry = mount.root.clone();
            self.mount = mount;
        }
        self
    }

    /// Looks a name up and enters what is mounted there.
    ///
    /// # Errors
    /// `ENOTDIR`; the file system's.
    pub fn child(&self, name: &[u8]) -> Result<Option<Self>> {
        let entry = self.entry.child(name)?;
        Ok(entry.map(|entry| {
            Self {
                mount: self.mount.clone(),
                entry,
            }
            .enter_mounts()
        }))
    }

    /// The directory this is in, but never above `root`.
    #[must_use]
    pub fn parent(&self, root: &Self) -> Self {
        let mut at = self.clone();
        loop {
            if at == *root {
                return at;
            }
            if let Some(entry) = at.entry.parent() {
                return Self {
                    mount: at.mount,
                    entry,
                }
                .enter_mounts();
            }
            let Some(below) = at.mount.place() else {
                return at;
            };
            at = below;
        }
    }

    /// Something without a name in the file system of this location.
    #[must_use]
    pub(super) fn unnamed(&self, inode: Arc<dyn Inode>) -> Self {
        let number = inode.metadata().map_or(0, |metadata| metadata.number);
        let name = alloc::format!("#{number}");
        let entry = Entry::new(inode, Some(self.entry.clone()), name.as_bytes());
        entry.place.lock().gone = true;
        Self {
            mount: self.mount.clone(),
            entry,
        }
    }

    /// The absolute path as seen from `root`, as Linux prints it.
    #[must_use]
    pub fn path(&self, root: &Self) -> Vec<u8> {
        if self.mount.is_hidden() {
            return self.entry.name().into_vec();
        }
        let mut names: Vec<Box<[u8]>> = Vec::new();
        let reached = self.climb(root, &mut names);
        let mut path = Vec::new();
        if !reached {
            path.extend_from_slice(b"(unreachable)");
        }
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if names.is_empty() {
            path.push(b'/');
        }
        if self.entry.is_gone() {
            path.extend_from_slice(b" (deleted)");
        }
        path
    }

    /// Collects names up to `root`; whether it was met.
    fn climb(&self, root: &Self, names: &mut Vec<Box<[u8]>>) -> bool {
        let mut at = self.clone();
        loop {
            if at == *root {
                return true;
            }
            if let Some(parent) = at.entry.parent() {
                names.push(at.entry.name());
                at.entry = parent;
            } else if let Some(below) = at.mount.place() {
                at = below;
            } else {
                return false;
            }
        }
    }
}
