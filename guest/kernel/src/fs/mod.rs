//! Files: the tree of mounts, file systems, open files, descriptors.
//!
//! * [`inode`], [`file`]: what a file system offers and what can be done with something
//!   open; small traits, with what only some can do as optional abilities.
//! * [`entry`], [`mount`], [`walk`]: names: the tree across file systems, and paths.
//! * [`caller`], [`names`]: what a process does with paths, permissions checked.
//! * [`open`], [`table`]: open file descriptions and descriptors.
//! * [`pages`]: the content of files in memory, and the cache of files of the host.
//! * [`overlay`]: files in memory, over other files or nothing.
//! * [`pseudo`], [`dev`], [`proc`], [`sys`]: what the kernel itself shows as files.
//! * [`fuse`]: directories of the host. [`console`]: the standard streams.
//!
//! Errors are Linux' own. No lock is held while the program's memory is accessed or while
//! one file system calls another.

pub mod access;
pub mod boot;
pub mod buffer;
pub mod caller;
pub mod console;
pub mod dev;
mod direct;
pub mod directory;
pub mod entry;
pub mod epoll;
pub mod event;
pub mod file;
pub mod fuse;
pub mod inode;
pub mod inotify;
pub mod lock;
pub mod metadata;
pub mod mount;
pub mod names;
pub mod open;
pub mod overlay;
pub mod pages;
pub mod pidfd;
pub mod pipe;
pub mod proc;
pub mod pseudo;
pub mod readiness;
pub mod signalfd;
pub mod sys;
pub mod table;
pub mod walk;

#[cfg(test)]
mod tests;

pub use boot::boot;
pub use buffer::{Destination, Origin, Segment};
pub use caller::{Caller, FsContext, How};
pub use entry::Location;
pub use file::{File, Regular};
pub use metadata::{FileKind, Metadata};
pub use open::OpenFile;
pub use pages::PageStore;
pub use table::{Descriptor, FileTable};
pub use walk::Follow;

use core::sync::atomic::{AtomicU64, Ordering};

static MEMORY_LIMIT: AtomicU64 = AtomicU64::new(256 << 20);

/// How much memory the machine may use, in bytes.
#[must_use]
pub fn memory_limit() -> u64 {
    MEMORY_LIMIT.load(Ordering::Relaxed)
}
