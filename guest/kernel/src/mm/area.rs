//! One range of an address space.

use alloc::sync::Arc;

use guest_hal::host_file::HostFile;
use guest_hal::memory::Extent;
use guest_hal::{GuestAddress, LinearAddress, Protection, platform};

use crate::fs::{OpenFile, PageStore};
use crate::{Errno, Result};

/// A range with one protection and one kind of backing. Its start is its key in the map.
#[derive(Debug)]
pub struct Area {
    /// First address beyond it.
    pub end: u64,
    /// What the program may do.
    pub protection: Protection,
    /// What is behind it.
    pub backing: Backing,
    /// The file it shows, and the offset at its start.
    pub file: Option<FileBacking>,
    /// It is a stack that grows down.
    pub grows: bool,
}

/// What is behind an area.
#[derive(Debug)]
pub enum Backing {
    /// Nothing: reserved, never accessible so far.
    None,
    /// Memory of its own.
    Private(Extent),
    /// A private copy of the file that has yet to be made; not mapped.
    Lazy {
        /// Bytes that were made just before it by the last fault there; zero: none.
        brought: u64,
    },
    /// The file as the host has it, mapped but for writing. What is written of a private one becomes
    /// a copy first.
    Shown {
        /// The host's file.
        file: Arc<HostFile>,
        /// Nobody may write it: its file was not opened for that.
        shared: bool,
        /// As in [`Backing::Lazy`].
        brought: u64,
    },
    /// The file's pages.
    Shared(Arc<PageStore>),
    /// Nothing: the file ended before when it was last looked at.
    BeyondFile {
        /// It is to show the file's own pages.
        shared: bool,
    },
    /// Memory shared with the monitor.
    Device(GuestAddress),
}

/// A file and an offset in it.
#[derive(Clone, Debug)]
pub struct FileBacking {
    /// The file.
    pub file: Arc<OpenFile>,
    /// Where in it.
    pub offset: u64,
}

impl FileBacking {
    /// The same file `bytes` further on.
    #[must_use]
    pub fn after(&self, bytes: u64) -> Self {
        Self {
            file: Arc::clone(&self.file),
            offset: self.offset.saturating_add(bytes),
        }
    }
}

impl Area {
    /// Maps what is behind it at `start`.
    ///
    /// # Errors
    /// `ENOMEM` when the layer below has no room for another mapping.
    pub(super) fn install(&self, start: u64) -> Result<()> {
        let length = self.end - start;
        match &self.backing {
            Backing::Private(extent) => map(start, extent.start(), length, self.protection),
            Backing::Shared(_) => self.install_part(start, start, self.end),
            Backing::Device(physical) => map(start, *physical, length, self.protection),
            Backing::Shown { file, .. } => {
                let offset = self.file.as_ref().map_or(0, |file| file.offset);
                let mapped = file.map(LinearAddress(start), offset, length, self.protection);
                mapped.map_err(|_| Errno::ENOMEM)
            }
            Backing::None | Backing::Lazy { .. } | Backing::BeyondFile { .. } => Ok(()),
        }
    }

    /// Shows the file as the host has it, if that can be; where it is `small`, only if the host
    /// need not be asked for it. Whether it does.
    pub(super) fn show(&mut self, start: u64, shared: bool, small: bool) -> bool {
        // Who has it open for writing expects to see here what is written there.
        let file = self.file.as_ref().map(|file| &file.file);
        let file = file.filter(|file| !file.is_writable());
        let file = file.and_then(|file| file.regular().ok());
        let Some(file) = file.and_then(|file| file.host_file(!small)) else {
            return false;
        };
        let shown = Backing::Shown {
            file,
            shared,
            brought: 0,
        };
        let before = core::mem::replace(&mut self.backing, shown);
        let done = self.install(start).is_ok();
        if !done {
            self.backing = before;
        }
        done
    }

    /// Maps the pages of `from..to` of a shared area that begins at `start`.
    pub(super) fn install_part(&self, start: u64, from: u64, to: u64) -> Result<()> {
        let Backing::Shared(pages) = &self.backing else {
            return Ok(());
        };
        let offset = self.file.as_ref().map_or(0, |file| file.offset) + (from - start);
        let mut at = from;
        for (physical, bytes) in pages.runs(offset, to - from)? {
            map(at, physical, bytes, self.protection)?;
            at += bytes;
        }
        Ok(())
    }

    /// Whether it is worth large pages.
    pub(super) fn is_large(&self, start: u64) -> bool {
        self.end - start >= super::LARGE
            && self.file.is_none()
            && !self.grows
            && self.protection.contains(Protection::WRITE)
            && matches!(self.backing, Backing::Private(_))
    }

    /// Asks the layer below for them.
    pub(super) fn prefer_large_pages(&self, start: u64) {
        platform().prefer_large_pages(LinearAddress(start), self.end - start, true);
    }

    /// Reads the content of a private file mapping; what the file does not have stays zero.
    pub(super) fn fill(&self) -> Result<()> {
        if let (Backing::Private(extent), Some(backing)) = (&self.backing, &self.file) {
            let regular = backing.file.regular()?;
            regular.read_into_extent(backing.offset, extent, 0, extent.len())?;
        }
        Ok(())
    }

    /// Whether others see what is written to it.
    pub(crate) const fn is_shared(&self) -> bool {
        matches!(
            self.backing,
            Backing::Shared(_) | Backing::Shown { shared: true, .. }
        )
    }

    /// Its memory, if that is its own and present.
    #[must_use]
    pub const fn private_memory(&self) -> Option<&Extent> {
        match &self.backing {
            Backing::Private(extent) => Some(extent),
            _ => None,
        }
    }

    /// Where its memory begins.
    pub(super) const fn physical_start(&self) -> Option<GuestAddress> {
        match &self.backing {
            Backing::Private(extent) => Some(extent.start()),
            _ => None,
        }
    }

    /// Where its memory ends.
    pub(super) fn physical_end(&self) -> Option<GuestAddress> {
        match &self.backing {
            Backing::Private(extent) => extent.start().checked_add(extent.len()),
            _ => None,
        }
    }

    /// Cuts off what lies from `at` on; `start` is where the area begins. `None` when
    /// `at` is not inside.
    pub(super) fn split_off(&mut self, start: u64, at: u64) -> Option<Self> {
        if at <= start || at >= self.end {
            return None;
        }
        let kept = at - start;
        let backing = match &mut self.backing {
            Backing::None => Backing::None,
            &mut Backing::BeyondFile { shared } => Backing::BeyondFile { shared },
            Backing::Device(physical) => Backing::Device(GuestAddress(physical.0 + kept)),
            Backing::Private(extent) => Backing::Private(extent.split_off(kept)),
            Backing::Lazy { .. } => Backing::Lazy { brought: 0 },
            Backing::Shown { file, shared, .. } => Backing::Shown {
                file: Arc::clone(file),
                shared: *shared,
                brought: 0,
            },
            Backing::Shared(pages) => Backing::Shared(Arc::clone(pages)),
        };
        let file = self.file.as_ref().map(|file| file.after(kept));
        let rest = Self {
            end: self.end,
            protection: self.protection,
            backing,
            file,
            grows: false,
        };
        self.end = at;
        Some(rest)
    }

    /// Writes back what a shared mapping changed in `length` bytes from `skip` on.
    ///
    /// # Errors
    /// The file's.
    pub(super) fn write_back(&self, skip: u64, length: u64) -> Result<()> {
        match (&self.backing, &self.file) {
            (Backing::Shared(pages), Some(file)) if self.protection.contains(Protection::WRITE) => {
                pages.write_back(file.offset + skip, length)
            }
            _ => Ok(()),
        }
    }
}

fn map(start: u64, physical: GuestAddress, length: u64, protection: Protection) -> Result<()> {
    let mapped = platform().map(LinearAddress(start), physical, length, protection);
    mapped.map_err(|_| Errno::ENOMEM)
}
