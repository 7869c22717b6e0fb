//! Open directories.

use alloc::sync::Arc;
use alloc::vec::Vec;

use guest_hal::sync::Mutex;

use super::buffer::{Destination, Origin};
use super::file::{File, Io, Positioning};
use super::inode::{Inode, Record};
use crate::{Errno, Result};

/// An open directory: a listing taken when it is first read, and again after rewinding.
#[derive(Debug)]
pub struct DirectoryFile {
    inode: Arc<dyn Inode>,
    listing: Mutex<Option<Arc<Vec<Record>>>>,
}

impl DirectoryFile {
    /// Of a directory.
    #[must_use]
    pub fn new(inode: Arc<dyn Inode>) -> Self {
        Self {
            inode,
            listing: Mutex::new(None),
        }
    }

    /// The listing; taken anew at position 0.
    ///
    /// # Errors
    /// `ENOTDIR`; the file system's.
    pub fn listing(&self, position: u64) -> Result<Arc<Vec<Record>>> {
        if position > 0
            && let Some(listing) = &*self.listing.lock()
        {
            return Ok(listing.clone());
        }
        let directory = self.inode.as_directory().ok_or(Errno::ENOTDIR)?;
        let listing = Arc::new(directory.list()?);
        *self.listing.lock() = Some(listing.clone());
        Ok(listing)
    }
}

impl File for DirectoryFile {
    fn read(&self, _: Io, _: &mut Destination<'_>) -> Result<()> {
        Err(Errno::EISDIR)
    }

    fn write(&self, _: Io, _: &mut Origin<'_>) -> Result<()> {
        Err(Errno::EBADF)
    }

    fn positioning(&self) -> Positioning {
        Positioning::Description
    }
}
