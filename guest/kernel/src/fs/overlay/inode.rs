//! Inodes: identity and metadata.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use guest_hal::sync::Mutex;
use linux_raw_sys::general as raw;

use super::OverlayFs;
use super::content::Content;
use super::directory::Names;
use super::file::OverlayFile;
use crate::fs::file::File;
use crate::fs::inode::{Directory, Inode, Link, NewInode};
use crate::fs::metadata::{Change, FileKind, Metadata, NewTime, Timestamp};
use crate::fs::pipe::Pipe;
use crate::{Errno, Result};

/// An inode.
pub struct OverlayInode {
    pub(super) fs: Arc<OverlayFs>,
    pub(super) kind: FileKind,
    /// What it stands for, if it was not made here.
    pub(super) lower: Option<Arc<dyn Inode>>,
    pub(super) state: Mutex<State>,
}

/// What differs from below.
pub(super) struct State {
    /// Metadata, once changed. Length and blocks of regular files are the content's.
    pub(super) own: Option<Metadata>,
    pub(super) body: Body,
    /// `F_SEAL_*`; `None`: cannot be sealed.
    pub(super) seals: Option<u32>,
}

/// What the inode holds.
pub(super) enum Body {
    /// A directory: names that differ from below.
    Directory(Names),
    /// A regular file: its content, once changed.
    Regular(Option<Arc<Content>>),
    /// A symbolic link: its text; `None`: that of the lower one.
    Link(Option<Box<[u8]>>),
    /// A named pipe: the pipe, once opened.
    Fifo(Option<Arc<Pipe>>),
    /// Something that is only a name here.
    Other,
}

impl fmt::Debug for OverlayInode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverlayInode")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Drop for OverlayInode {
    fn drop(&mut self) {
        if let Some(lower) = &self.lower {
            self.fs.remove_dead(lower);
        }
    }
}

impl OverlayInode {
    /// Something new.
    pub(super) fn new(fs: &Arc<OverlayFs>, new: &NewInode<'_>) -> Arc<Self> {
        let mut metadata = Metadata::new(fs.device, fs.new_number(), new.mode);
        metadata.uid = new.uid;
        metadata.gid = new.gid;
        metadata.represented = new.represented;
        let kind = metadata.kind();
        let body = match kind {
            FileKind::Directory => {
                metadata.links = 2;
                metadata.size = 4096;
                Body::Directory(Names {
                    slots: BTreeMap::new(),
                    opaque: true,
                })
            }
            FileKind::Regular => Body::Regular(Some(Content::empty())),
            FileKind::Link => {
                metadata.size = new.target.len() as u64;
                Body::Link(Some(new.target.into()))
            }
            FileKind::Fifo => Body::Fifo(None),
            _ => Body::Other,
        };
        Self::make(
            fs,
            kind,
            None,
            State {
                own: Some(metadata),
                body,
                seals: None,
            },
        )
    }

    /// What stands for a lower inode.
    pub(super) fn over(fs: &Arc<OverlayFs>, lower: Arc<dyn Inode>) -> Arc<Self> {
        let kind = lower.kind();
        let body = match kind {
            FileKind::Directory => Body::Directory(Names {
                slots: BTreeMap::new(),
                opaque: false,
            }),
            FileKind::Regular => Body::Regular(None),
            FileKind::Link => Body::Link(None),
            FileKind::Fifo => Body::Fifo(None),
            _ => Body::Other,
        };
        Self::make(
            fs,
            kind,
            Some(lower),
            State {
                own: None,
                body,
                seals: None,
            },
        )
    }

    fn make(
        fs: &Arc<OverlayFs>,
        kind: FileKind,
        lower: Option<Arc<dyn Inode>>,
        state: State,
    ) -> Arc<Self> {
        Arc::new(Self {
            fs: fs.clone(),
            kind,
            lower,
            state: Mutex::new(state),
        })
    }

    /// A file without a name that may be sealed, for `memfd_create`.
    #[must_use]
    pub fn sealable(fs: &Arc<OverlayFs>, new: &NewInode<'_>, seals: u32) -> Arc<Self> {
        let inode = Self::new(fs, new);
        {
            let mut state = inode.state.lock();
            state.seals = Some(seals);
            if let Some(own) = &mut state.own {
                own.links = 0;
            }
        }
        inode
    }

    /// The seals; `None` if it cannot have any.
    pub fn seals(&self) -> Option<u32> {
        self.state.lock().seals
    }

    /// Adds seals.
    ///
    /// # Errors
    /// `EINVAL` if it cannot have any; `EPERM` if further ones are sealed off.
    pub fn add_seals(&self, seals: u32) -> Result<()> {
        let mut state = self.state.lock();
        let known = state.seals.as_mut().ok_or(Errno::EINVAL)?;
        if *known & raw::F_SEAL_SEAL != 0 {
            return Err(Errno::EPERM);
        }
        *known |= seals;
        Ok(())
    }

    /// What the lower file system says, with this one's device.
    fn lower_metadata(&self) -> Result<Metadata> {
        let lower = self.lower.as_ref().ok_or(Errno::EIO)?;
        Ok(Metadata {
            device: self.fs.device,
            ..lower.metadata()?
        })
    }

    /// Changes the metadata of this inode, which are its own from now on.
    pub(super) fn update(&self, change: impl FnOnce(&mut Metadata)) -> Result<()> {
        if self.state.lock().own.is_none() {
            let metadata = self.lower_metadata()?;
            self.state.lock().own = Some(metadata);
            self.fs.keep(self);
        }
        if let Some(own) = &mut self.state.lock().own {
            change(own);
        }
        Ok(())
    }

    /// The content was changed just now.
    pub(super) fn touch(&self) -> Result<()> {
        let now = Timestamp::now();
        self.update(|own| {
            own.modified = now;
            own.changed = now;
        })
    }

    /// Gets or loses names; without any it needs no longer be kept.
    pub(super) fn count_links(&self, difference: i32) -> Result<()> {
        let now = Timestamp::now();
        let mut left = 0;
        self.update(|own| {
            own.links = own.links.saturating_add_signed(difference);
            own.changed = now;
            left = own.links;
        })?;
        if left == 0 {
            self.fs.release(self);
        }
        Ok(())
    }

    /// The content, if it differs from below.
    pub(super) fn content(&self) -> Option<Arc<Content>> {
        match &self.state.lock().body {
            Body::Regular(content) => content.clone(),
            _ => None,
        }
    }

    /// The content to be changed.
    pub(super) fn own_content(&self) -> Result<Arc<Content>> {
        if let Some(content) = self.content() {
            return Ok(content);
        }
        let lower = self.lower.as_ref().ok_or(Errno::EIO)?;
        let size = lower.metadata()?.size;
        let content = Content::over(lower.clone().open(raw::O_RDONLY)?, size);
        self.set_content(content)
    }

    /// Replaces the content.
    pub(super) fn set_content(&self, content: Arc<Content>) -> Result<Arc<Content>> {
        self.update(|_| {})?;
        let old = core::mem::replace(
            &mut self.state.lock().body,
            Body::Regular(Some(content.clone())),
        );
        drop(old);
        Ok(content)
    }

    /// Sets the length.
    pub(super) fn resize(&self, size: u64) -> Result<()> {
        let seals = self.seals().unwrap_or(0);
        if self.kind != FileKind::Regular {
            return Err(Errno::EINVAL);
        }
        if size == 0 && self.content().is_none() {
            self.set_content(Content::empty())?;
            return self.touch();
        }
        let content = self.own_content()?;
        let grows = size > content.size();
        let forbidden = if grows {
            raw::F_SEAL_GROW
        } else {
            raw::F_SEAL_SHRINK
        };
        if size != content.size() && seals & forbidden != 0 {
            return Err(Errno::EPERM);
        }
        content.resize(size)?;
        self.touch()
    }

    fn pipe(&self) -> Result<Arc<Pipe>> {
        match &mut self.state.lock().body {
            Body::Fifo(pipe) => Ok(pipe.get_or_insert_with(Pipe::new).clone()),
            _ => Err(Errno::ENXIO),
        }
    }
}

impl Inode for OverlayInode {
    fn kind(&self) -> FileKind {
        self.kind
    }

    fn metadata(&self) -> Result<Metadata> {
        let (own, content) = {
            let state = self.state.lock();
            let content = match &state.body {
                Body::Regular(content) => content.clone(),
                _ => None,
            };
            (state.own, content)
        };
        let mut metadata = match own {
            Some(own) => own,
            None => self.lower_metadata()?,
        };
        if let Some(content) = content {
            metadata.size = content.size();
            metadata.blocks = content.blocks();
        }
        Ok(metadata)
    }

    fn change(&self, change: &Change) -> Result<()> {
        if let Some(size) = change.size {
            self.resize(size)?;
        }
        let now = Timestamp::now();
        self.update(|own| {
            if let Some(permissions) = change.permissions {
                own.mode = (own.mode & raw::S_IFMT) | (permissions & 0o7777);
            }
            own.uid = change.uid.unwrap_or(own.uid);
            own.gid = change.gid.unwrap_or(own.gid);
            own.accessed = change.accessed.map_or(own.accessed, NewTime::stamp);
            own.modified = change.modified.map_or(own.modified, NewTime::stamp);
            own.changed = now;
        })
    }

    fn open(self: Arc<Self>, flags: u32) -> Result<Arc<dyn File>> {
        match self.kind {
            FileKind::Regular => OverlayFile::open(self, flags),
            FileKind::Fifo => self.pipe()?.open_named(flags),
            _ => Err(Errno::ENXIO),
        }
    }

    fn as_directory(&self) -> Option<&dyn Directory> {
        (self.kind == FileKind::Directory).then_some(self as _)
    }

    fn as_link(&self) -> Option<&dyn Link> {
        (self.kind == FileKind::Link).then_some(self as _)
    }
}

impl Link for OverlayInode {
    fn target(&self) -> Result<Vec<u8>> {
        if let Body::Link(Some(text)) = &self.state.lock().body {
            return Ok(text.to_vec());
        }
        let lower = self.lower.as_ref().and_then(|lower| lower.as_link());
        lower.ok_or(Errno::EINVAL)?.target()
    }
}
