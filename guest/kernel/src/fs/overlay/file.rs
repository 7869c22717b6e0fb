//! Open regular files.

use alloc::sync::Arc;

use guest_hal::host_file::HostFile;
use guest_hal::memory::Extent;
use guest_hal::sync::Once;
use linux_raw_sys::general as raw;

use super::content::Content;
use super::inode::OverlayInode;
use crate::fs::buffer::{Destination, Origin};
use crate::fs::file::{File, Io, Positioning, Regular};
use crate::fs::inode::Inode;
use crate::fs::pages::PageStore;
use crate::{Errno, Result};

/// An open regular file.
#[derive(Debug)]
pub struct OverlayFile {
    inode: Arc<OverlayInode>,
    writable: bool,
    /// The lower file, as long as nothing was changed.
    lower: Once<Arc<dyn File>>,
}

impl OverlayFile {
    pub(super) fn open(inode: Arc<OverlayInode>, flags: u32) -> Result<Arc<dyn File>> {
        if flags & raw::O_DIRECT != 0 {
            return Err(Errno::EINVAL);
        }
        if flags & raw::O_TRUNC != 0 {
            inode.resize(0)?;
        }
        let writable = flags & raw::O_ACCMODE != raw::O_RDONLY;
        let file = Self {
            inode,
            writable,
            lower: Once::new(),
        };
        if file.inode.content().is_none() {
            file.lower()?;
        }
        Ok(Arc::new(file))
    }

    /// The inode, for seals.
    #[must_use]
    pub const fn inode(&self) -> &Arc<OverlayInode> {
        &self.inode
    }

    fn lower(&self) -> Result<&Arc<dyn File>> {
        if let Some(file) = self.lower.get() {
            return Ok(file);
        }
        let lower = self.inode.lower.clone().ok_or(Errno::EIO)?;
        let file = lower.open(raw::O_RDONLY)?;
        Ok(self.lower.call_once(|| file))
    }

    fn lower_regular(&self) -> Result<&dyn Regular> {
        self.lower()?.as_regular().ok_or(Errno::EIO)
    }

    fn check_seals(&self, content: &Content, end: u64) -> Result<()> {
        let seals = self.inode.seals().unwrap_or(0);
        let sealed = seals & (raw::F_SEAL_WRITE | raw::F_SEAL_FUTURE_WRITE) != 0;
        let grows = seals & raw::F_SEAL_GROW != 0 && end > content.size();
        if sealed || grows {
            Err(Errno::EPERM)
        } else {
            Ok(())
        }
    }
}

impl File for OverlayFile {
    fn read(&self, io: Io, into: &mut Destination<'_>) -> Result<()> {
        match self.inode.content() {
            Some(content) => content.read(io.offset(), into),
            None => self.lower()?.read(io, into),
        }
    }

    fn write(&self, io: Io, from: &mut Origin<'_>) -> Result<()> {
        let content = self.inode.own_content()?;
        let offset = if io.is_append() {
            content.size()
        } else {
            io.offset()
        };
        self.check_seals(&content, offset.saturating_add(from.remaining()))?;
        let result = content.write(offset, from);
        self.inode.touch()?;
        result
    }

    fn positioning(&self) -> Positioning {
        Positioning::Description
    }

    fn seek(&self, offset: i64, whence: u32) -> Result<u64> {
        let at = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
        match self.inode.content() {
            Some(content) => content.next(at, whence == raw::SEEK_DATA),
            None => self.lower()?.seek(offset, whence),
        }
    }

    fn as_regular(&self) -> Option<&dyn Regular> {
        Some(self)
    }
}

impl Regular for OverlayFile {
    fn size(&self) -> Result<u64> {
        match self.inode.content() {
            Some(content) => Ok(content.size()),
            None => self.inode.metadata().map(|metadata| metadata.size),
        }
    }

    fn truncate(&self, size: u64) -> Result<()> {
        self.inode.resize(size)
    }

    fn allocate(&self, mode: u32, offset: u64, length: u64) -> Result<()> {
        let keep = mode & raw::FALLOC_FL_KEEP_SIZE != 0;
        let end = offset.checked_add(length).ok_or(Errno::EFBIG)?;
        let content = self.inode.own_content()?;
        match mode & !raw::FALLOC_FL_KEEP_SIZE {
            0 => {}
            raw::FALLOC_FL_PUNCH_HOLE if keep => {
                self.check_seals(&content, 0)?;
                content.zero(offset, length)?;
            }
            raw::FALLOC_FL_ZERO_RANGE => {
                self.check_seals(&content, 0)?;
                content.zero(offset, length.min(content.size().saturating_sub(offset)))?;
            }
            _ => return Err(Errno::EOPNOTSUPP),
        }
        if !keep {
            self.check_seals(&content, end)?;
            content.extend(end)?;
        }
        self.inode.touch()
    }

    fn read_into_extent(&self, offset: u64, extent: &Extent, at: u64, length: u64) -> Result<u64> {
        let Some(content) = self.inode.content() else {
            return self
                .lower_regular()?
                .read_into_extent(offset, extent, at, length);
        };
        let length = length.min(content.size().saturating_sub(offset));
        content
            .pages
            .copy_out(&*content, offset, (extent, at), length)
    }

    fn host_file(&self, ask: bool) -> Option<Arc<HostFile>> {
        if self.inode.content().is_some() {
            return None;
        }
        self.lower_regular().ok()?.host_file(ask)
    }

    fn pages(&self) -> Result<Arc<PageStore>> {
        if !self.writable && self.inode.content().is_none() {
            return self.lower_regular()?.pages();
        }
        let content = self.inode.own_content()?;
        Ok(PageStore::new(content.pages.clone(), content))
    }
}
