//! `pidfd_open`: the process as a file.

use alloc::sync::Arc;

use linux_raw_sys::general as raw;

use super::buffer::{Destination, Origin};
use super::event::AnonymousInode;
use super::file::{Events, File, Io};
use super::open::OpenFile;
use crate::wait::WaitQueue;
use crate::{Errno, Result};

/// Stands for the one process that there is. It becomes readable when that ends, which nobody
/// sees: the machine ends with it.
#[derive(Clone, Copy, Debug)]
pub struct ProcessFile;

impl ProcessFile {
    /// An open file description of it. `flags`: `O_NONBLOCK` or nothing.
    #[must_use]
    pub fn open(flags: u32) -> Arc<OpenFile> {
        AnonymousInode::open_file(Arc::new(Self), "anon_inode:[pidfd]", raw::O_RDWR | flags)
    }
}

impl File for ProcessFile {
    fn read(&self, _: Io, _: &mut Destination<'_>) -> Result<()> {
        Err(Errno::EINVAL)
    }

    fn write(&self, _: Io, _: &mut Origin<'_>) -> Result<()> {
        Err(Errno::EINVAL)
    }

    fn poll(&self) -> Events {
        0
    }

    fn queue(&self) -> Option<&WaitQueue> {
        static END: WaitQueue = WaitQueue::new();
        Some(&END)
    }
}
