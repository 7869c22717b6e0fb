//! What `/dev`, `/proc` and `/sys` are made of: directories whose names the kernel decides
//! and files whose text it writes when they are read.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_hal::sync::Mutex;
use linux_raw_sys::general as raw;

use super::buffer::{Destination, Origin};
use super::file::{File, Io, Positioning};
use super::inode::{Directory, FileSystem, Found, Inode, Link, Record};
use super::metadata::{FileKind, FsStatus, Metadata};
use crate::{Errno, Result};

/// Most bytes of one write to such a file.
const WRITE_MAX: usize = 4096;

/// Writes a file's text.
pub type Text = Box<dyn Fn() -> Result<Vec<u8>> + Send + Sync>;
/// Takes what a program writes to a file.
pub type Taker = Box<dyn Fn(&[u8]) -> Result<()> + Send + Sync>;

static NUMBERS: AtomicU64 = AtomicU64::new(4_026_531_840);

/// An inode number that no other has.
pub fn new_number() -> u64 {
    NUMBERS.fetch_add(1, Ordering::Relaxed)
}

/// Metadata of something that belongs to root and has no length.
#[must_use]
pub fn metadata(device: u64, mode: u32) -> Metadata {
    Metadata {
        block_size: 1024,
        ..Metadata::new(device, new_number(), mode)
    }
}

/// A directory with the same names for ever.
pub struct Tree {
    metadata: Metadata,
    children: BTreeMap<Box<[u8]>, Arc<dyn Inode>>,
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree")
            .field("number", &self.metadata.number)
            .finish_non_exhaustive()
    }
}

impl Tree {
    /// An empty directory of the file system with this device number.
    #[must_use]
    pub fn new(device: u64) -> Self {
        Self {
            metadata: metadata(device, raw::S_IFDIR | 0o555),
            children: BTreeMap::new(),
        }
    }

    const fn device(&self) -> u64 {
        self.metadata.device
    }

    /// With permission bits.
    #[must_use]
    pub const fn mode(mut self, permissions: u32) -> Self {
        self.metadata.mode = raw::S_IFDIR | permissions;
        self
    }

    /// With something under a name.
    #[must_use]
    pub fn with(mut self, name: &str, inode: Arc<dyn Inode>) -> Self {
        self.children.insert(name.as_bytes().into(), inode);
        self
    }

    /// With a directory under a name.
    #[must_use]
    pub fn directory(self, name: &str, fill: impl FnOnce(Self) -> Self) -> Self {
        let inner = fill(Self::new(self.device()));
        self.with(name, Arc::new(inner))
    }

    /// With a file whose text is written anew for each reader.
    #[must_use]
    pub fn file(self, name: &str, text: fn() -> Vec<u8>) -> Self {
        let device = self.device();
        self.with(
            name,
            TextFile::new(device, 0o444, Box::new(move || Ok(text()))),
        )
    }

    /// With a file whose text is always the same.
    #[must_use]
    pub fn fixed(self, name: &str, text: &'static str) -> Self {
        let device = self.device();
        self.with(
            name,
            TextFile::new(device, 0o444, Box::new(move || Ok(text.into()))),
        )
    }

    /// With a symbolic link.
    #[must_use]
    pub fn link(self, name: &str, target: &'static str) -> Self {
        let device = self.device();
        self.with(
            name,
            TextLink::new(device, Box::new(move || Ok(target.into()))),
        )
    }

    /// The child of a name.
    #[must_use]
    pub fn child(&self, name: &[u8]) -> Option<Arc<dyn Inode>> {
        self.children.get(name).cloned()
    }
}

impl Inode for Tree {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }

    fn metadata(&self) -> Result<Metadata> {
        let directories = self
            .children
            .values()
            .filter(|child| child.kind() == FileKind::Directory)
            .count();
        Ok(Metadata {
            links: 2 + directories as u32,
            ..self.metadata
        })
    }

    fn open(self: Arc<Self>, _: u32) -> Result<Arc<dyn File>> {
        Err(Errno::EISDIR)
    }

    fn as_directory(&self) -> Option<&dyn Directory> {
        Some(self)
    }
}

impl Directory for Tree {
    fn lookup(&self, name: &[u8]) -> Result<Found> {
        Ok(Found::for_good(self.child(name)))
    }

    fn list(&self) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for (name, inode) in &self.children {
            let number = inode.metadata()?.number;
            records.push(Record {
                number,
                kind: inode.kind(),
                name: name.clone(),
            });
        }
        Ok(records)
    }
}

/// A file whose text the kernel writes.
pub struct TextFile {
    metadata: Metadata,
    text: Text,
    taker: Option<Taker>,
}

impl fmt::Debug for TextFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextFile")
            .field("number", &self.metadata.number)
            .finish_non_exhaustive()
    }
}

impl TextFile {
    /// A file that is read.
    #[must_use]
    pub fn new(device: u64, permissions: u32, text: Text) -> Arc<Self> {
        let metadata = metadata(device, raw::S_IFREG | permissions);
        Arc::new(Self {
            metadata,
            text,
            taker: None,
        })
    }

    /// A file that is also written.
    #[must_use]
    pub fn writable(device: u64, permissions: u32, text: Text, taker: Taker) -> Arc<Self> {
        let metadata = metadata(device, raw::S_IFREG | permissions);
        Arc::new(Self {
            metadata,
            text,
            taker: Some(taker),
        })
    }
}

impl Inode for TextFile {
    fn kind(&self) -> FileKind {
        FileKind::Regular
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(self.metadata)
    }

    fn open(self: Arc<Self>, flags: u32) -> Result<Arc<dyn File>> {
        if flags & raw::O_ACCMODE != raw::O_RDONLY && self.taker.is_none() {
            return Err(Errno::EACCES);
        }
        Ok(Arc::new(OpenText {
            inode: self,
            text: Mutex::new(Vec::new()),
        }))
    }
}

/// An open file of text: written anew when it is read from the start.
#[derive(Debug)]
struct OpenText {
    inode: Arc<TextFile>,
    text: Mutex<Vec<u8>>,
}

impl File for OpenText {
    fn read(&self, io: Io, into: &mut Destination<'_>) -> Result<()> {
        if io.offset() == 0 {
            let text = (self.inode.text)()?;
            *self.text.lock() = text;
        }
        let text = core::mem::take(&mut *self.text.lock());
        let rest = text.get(io.offset() as usize..).unwrap_or_default();
        let result = into.put(rest);
        *self.text.lock() = text;
        result
    }

    fn write(&self, _: Io, from: &mut Origin<'_>) -> Result<()> {
        let taker = self.inode.taker.as_ref().ok_or(Errno::EACCES)?;
        let length = (from.remaining() as usize).min(WRITE_MAX);
        let mut bytes = alloc::vec![0; length];
        from.take(&mut bytes)?;
        let taken = from.done();
        taker(&bytes).inspect_err(|_| from.rewind(taken - length as u64))
    }

    fn positioning(&self) -> Positioning {
        Positioning::Description
    }
}

/// A symbolic link whose text the kernel writes.
pub struct TextLink {
    metadata: Metadata,
    text: Text,
}

impl fmt::Debug for TextLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextLink")
            .field("number", &self.metadata.number)
            .finish_non_exhaustive()
    }
}

impl TextLink {
    /// A link.
    #[must_use]
    pub fn new(device: u64, text: Text) -> Arc<Self> {
        Arc::new(Self {
            metadata: metadata(device, raw::S_IFLNK | 0o777),
            text,
        })
    }
}

impl Inode for TextLink {
    fn kind(&self) -> FileKind {
        FileKind::Link
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(self.metadata)
    }

    fn open(self: Arc<Self>, _: u32) -> Result<Arc<dyn File>> {
        Err(Errno::ELOOP)
    }

    fn as_link(&self) -> Option<&dyn Link> {
        Some(self)
    }
}

impl Link for TextLink {
    fn target(&self) -> Result<Vec<u8>> {
        (self.text)()
    }
}

/// A file system of such things.
#[derive(Debug)]
pub struct PseudoFs {
    /// Its name in `/proc/mounts`.
    pub name: &'static str,
    /// Its number (`f_type`).
    pub magic: u64,
    /// Its root.
    pub root: Arc<dyn Inode>,
}

impl FileSystem for PseudoFs {
    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn status(&self) -> Result<FsStatus> {
        Ok(FsStatus {
            magic: self.magic,
            block_size: 4096,
            name_max: 255,
            ..FsStatus::default()
        })
    }
}
