//! Inodes of a directory of the host.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use guest_abi::fuse::{
    Attr, AttrOut, EntryOut, GetattrIn, Opcode, ROOT_ID, SetattrIn, SetupmappingIn, setattr,
};
use guest_hal::Nanos;
use guest_hal::host_file::HostFile;
use guest_hal::sync::{Mutex, Once};
use guest_hal::virtio::Target;
use linux_raw_sys::general as raw;

use super::file::{FuseFile, Handle, ServerBacking};
use super::session::Request;
use super::{FuseFs, Use};
use crate::fs::file::File;
use crate::fs::inode::{Directory, Inode, Link};
use crate::fs::metadata::{Change, FileKind, Metadata, NewTime, Timestamp};
use crate::fs::pages::{Backing, Pages};
use crate::fs::pipe::Pipe;
use crate::{Errno, Result};

/// By what the next file that is handed over is known.
static TOKENS: AtomicU64 = AtomicU64::new(1);

/// Until when something that is valid for a while may be believed.
pub(super) fn validity(seconds: u64, nanos: u32) -> Nanos {
    let length = seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(nanos));
    if length == 0 {
        return Nanos(0);
    }
    guest_hal::time::monotonic().saturating_add(Nanos(length))
}

/// An inode of the host.
pub struct FuseInode {
    pub(super) fs: Arc<FuseFs>,
    pub(super) node: u64,
    kind: FileKind,
    lookups: AtomicU64,
    attributes: Mutex<Attributes>,
    pages: Once<Arc<Pages>>,
    text: Once<Vec<u8>>,
    /// A named pipe's content: the host's pipe of that name is another.
    pipe: Once<Arc<Pipe>>,
    reader: Mutex<Weak<Handle>>,
    /// The host's file, while some of it is mapped.
    shown: Mutex<Weak<HostFile>>,
    /// Whether POSIX locks were taken, so that closing must drop them.
    pub(super) locked: AtomicBool,
}

struct Attributes {
    metadata: Metadata,
    valid_until: Nanos,
    /// Whether the server's time stamps have changed by our own doing.
    own_change: bool,
    /// Counts changes of the content.
    version: u64,
}

impl fmt::Debug for FuseInode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FuseInode")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

fn stamp(seconds: u64, nanos: u32) -> Timestamp {
    Timestamp {
        seconds: seconds.cast_signed(),
        nanos,
    }
}

/// Attributes as the server sends them.
pub(in crate::fs) fn metadata(device: u64, attr: &Attr) -> Metadata {
    Metadata {
        device,
        number: attr.ino,
        mode: attr.mode,
        links: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        represented: u64::from(attr.rdev),
        size: attr.size,
        block_size: attr.blksize,
        blocks: attr.blocks,
        accessed: stamp(attr.atime, attr.atimensec),
        modified: stamp(attr.mtime, attr.mtimensec),
        changed: stamp(attr.ctime, attr.ctimensec),
    }
}

fn is_same_content(one: &Metadata, other: &Metadata) -> bool {
    (one.size, one.modified, one.changed) == (other.size, other.modified, other.changed)
}

impl FuseInode {
    pub(super) fn new(fs: &Arc<FuseFs>, node: u64, attr: &Attr, valid_until: Nanos) -> Arc<Self> {
        let metadata = metadata(fs.device, attr);
        Arc::new(Self {
            fs: fs.clone(),
            node,
            kind: metadata.kind(),
            lookups: AtomicU64::new(0),
            attributes: Mutex::new(Attributes {
                metadata,
                valid_until,
                own_change: false,
                version: 0,
            }),
            pages: Once::new(),
            text: Once::new(),
            pipe: Once::new(),
            reader: Mutex::new(Weak::new()),
            shown: Mutex::new(Weak::new()),
            locked: AtomicBool::new(false),
        })
    }

    /// The inode of a reply's entry, which counts as a lookup.
    pub(super) fn of_entry(fs: &FuseFs, entry: &EntryOut) -> Arc<Self> {
        if entry.nodeid == ROOT_ID
            && let Some(root) = fs.root.get()
        {
            return root.clone();
        }
        let valid = validity(entry.attr_valid, entry.attr_valid_nsec);
        let known = fs.nodes.lock().get(&entry.nodeid).and_then(Weak::upgrade);
        let inode = if let Some(inode) = known {
            inode.learn(&entry.attr, valid);
            inode
        } else {
            let inode = Self::new(&fs.this(), entry.nodeid, &entry.attr, valid);
            fs.nodes.lock().insert(entry.nodeid, Arc::downgrade(&inode));
            inode
        };
        inode.lookups.fetch_add(1, Ordering::Relaxed);
        inode
    }

    pub(super) const fn request(&self, opcode: Opcode) -> Request {
        Request::new(opcode, self.node)
    }

    /// Takes attributes from a reply; drops cached pages if the content has changed.
    fn learn(&self, attr: &Attr, valid_until: Nanos) {
        let new = metadata(self.fs.device, attr);
        let same = {
            let mut known = self.attributes.lock();
            let own = core::mem::take(&mut known.own_change);
            let same_size = known.metadata.size == new.size;
            let same = is_same_content(&known.metadata, &new) || (own && same_size);
            known.metadata = new;
            known.valid_until = valid_until;
            known.version += u64::from(!same);
            same
        };
        if !same {
            self.drop_pages();
        }
    }

    /// Forgets cached pages; those that are mapped are read again.
    pub(super) fn drop_pages(&self) {
        let Some(pages) = self.pages.get() else {
            return;
        };
        let reader = self.reader.lock().upgrade();
        let backing = reader.map(|handle| ServerBacking {
            inode: self,
            handle,
            end: self.known_size(),
        });
        pages.invalidate(backing.as_ref().map(|backing| backing as &dyn Backing));
    }

    /// Asks the server for attributes.
    pub(super) fn refresh(&self) -> Result<Metadata> {
        let request = self.request(Opcode::Getattr);
        let reply: AttrOut = self.fs.session.ask(request, &GetattrIn::default(), &[])?;
        self.learn(
            &reply.attr,
            validity(reply.attr_valid, reply.attr_valid_nsec),
        );
        Ok(self.attributes.lock().metadata)
    }

    fn cached(&self) -> Option<Metadata> {
        let known = self.attributes.lock();
        let valid = known.valid_until.0 > 0 && guest_hal::time::monotonic() < known.valid_until;
        valid.then_some(known.metadata)
    }

    /// The length as far as known.
    pub(super) fn known_size(&self) -> u64 {
        self.attributes.lock().metadata.size
    }

    /// A number that changes with the content.
    pub(super) fn version(&self) -> u64 {
        self.attributes.lock().version
    }

    /// The content was changed through this kernel; `size` is the least length now.
    pub(super) fn wrote(&self, size: u64) {
        let mut known = self.attributes.lock();
        known.metadata.size = known.metadata.size.max(size);
        known.own_change = true;
        known.version += 1;
        known.valid_until = Nanos(0);
    }

    /// The length was set through this kernel.
    fn resized(&self, size: u64) {
        if let Some(pages) = self.pages.get() {
            let old = self.known_size();
            pages.truncate(size.min(old));
        }
        let mut known = self.attributes.lock();
        known.metadata.size = size;
        known.own_change = true;
        known.version += 1;
        known.valid_until = Nanos(0);
    }

    /// Attributes are to be asked for anew.
    pub(super) fn forget_attributes(&self) {
        self.attributes.lock().valid_until = Nanos(0);
    }

    pub(super) fn pages(&self) -> &Arc<Pages> {
        self.pages.call_once(Pages::cache)
    }

    /// A handle for reading, shared by all who only read.
    fn shared_reader(&self) -> Result<Arc<Handle>> {
        if let Some(handle) = self.reader.lock().upgrade() {
            return Ok(handle);
        }
        let handle = Handle::open(self, raw::O_RDONLY)?;
        *self.reader.lock() = Arc::downgrade(&handle);
        Ok(handle)
    }

    /// The host's file behind the server's `fh`; if it is not here, it is asked for with `ask`.
    pub(super) fn host_file(&self, fh: u64, ask: bool) -> Option<Arc<HostFile>> {
        let known = self.shown.lock().upgrade();
        if known.is_some() || !ask || !self.fs.hands_over.load(Ordering::Relaxed) {
            return known;
        }
        let token = TOKENS.fetch_add(1, Ordering::Relaxed);
        let setup = SetupmappingIn {
            fh,
            moffset: token,
            ..SetupmappingIn::default()
        };
        let request = self.request(Opcode::Setupmapping);
        match self.fs.session.ask::<_, ()>(request, &setup, &[]) {
            Ok(()) => {
                let file = Arc::new(HostFile::receive(token)?);
                *self.shown.lock() = Arc::downgrade(&file);
                Some(file)
            }
            Err(error) => {
                // This one, or this server, does not: it is copied.
                if error == Errno::ENOSYS {
                    self.fs.hands_over.store(false, Ordering::Relaxed);
                }
                None
            }
        }
    }

    fn set_reader(&self, handle: &Arc<Handle>) {
        let mut reader = self.reader.lock();
        if reader.strong_count() == 0 {
            *reader = Arc::downgrade(handle);
        }
    }

    /// Sends a SETATTR and takes the reply.
    pub(super) fn set(&self, wanted: &SetattrIn) -> Result<()> {
        let request = self.request(Opcode::Setattr);
        let reply: AttrOut = self.fs.session.ask(request, wanted, &[])?;
        self.attributes.lock().own_change = true;
        if wanted.valid & setattr::SIZE != 0 {
            self.resized(wanted.size);
        }
        self.learn(
            &reply.attr,
            validity(reply.attr_valid, reply.attr_valid_nsec),
        );
        Ok(())
    }
}

/// A change as a server wants it.
pub(in crate::fs) fn wire_change(change: &Change) -> SetattrIn {
    let mut wire = SetattrIn::default();
    if let Some(mode) = change.permissions {
        wire.valid |= setattr::MODE;
        wire.mode = mode & 0o7777;
    }
    if let Some(uid) = change.uid {
        wire.valid |= setattr::UID;
        wire.uid = uid;
    }
    if let Some(gid) = change.gid {
        wire.valid |= setattr::GID;
        wire.gid = gid;
    }
    if let Some(size) = change.size {
        wire.valid |= setattr::SIZE;
        wire.size = size;
    }
    match change.accessed {
        None => {}
        Some(NewTime::Now) => wire.valid |= setattr::ATIME | setattr::ATIME_NOW,
        Some(NewTime::At(time)) => {
            wire.valid |= setattr::ATIME;
            (wire.atime, wire.atimensec) = (time.seconds.cast_unsigned(), time.nanos);
        }
    }
    match change.modified {
        None => {}
        Some(NewTime::Now) => wire.valid |= setattr::MTIME | setattr::MTIME_NOW,
        Some(NewTime::At(time)) => {
            wire.valid |= setattr::MTIME;
            (wire.mtime, wire.mtimensec) = (time.seconds.cast_unsigned(), time.nanos);
        }
    }
    wire
}

impl Inode for FuseInode {
    fn kind(&self) -> FileKind {
        self.kind
    }

    fn metadata(&self) -> Result<Metadata> {
        match self.cached() {
            Some(metadata) => Ok(metadata),
            None => self.refresh(),
        }
    }

    fn change(&self, change: &Change) -> Result<()> {
        self.set(&wire_change(change))
    }

    fn open(self: Arc<Self>, flags: u32) -> Result<Arc<dyn File>> {
        if flags & raw::O_DIRECT != 0 {
            return Err(Errno::EINVAL);
        }
        match self.kind {
            FileKind::Regular => {}
            FileKind::Fifo => return self.pipe.call_once(Pipe::new).open_named(flags),
            _ => return Err(Errno::ENXIO),
        }
        let only_reads = flags & raw::O_ACCMODE == raw::O_RDONLY && flags & raw::O_TRUNC == 0;
        let lower = self.fs.usage == Use::Lower;
        let handle = if only_reads && lower {
            self.shared_reader()?
        } else {
            Handle::open(&self, flags)?
        };
        if flags & raw::O_TRUNC != 0 {
            self.resized(0);
        }
        if lower {
            self.metadata()
        } else {
            self.refresh()
        }?;
        if only_reads {
            self.set_reader(&handle);
        }
        Ok(Arc::new(FuseFile::new(self, handle)))
    }

    fn lost_name(&self) {
        self.forget_attributes();
    }

    fn as_directory(&self) -> Option<&dyn Directory> {
        (self.kind == FileKind::Directory).then_some(self as _)
    }

    fn as_link(&self) -> Option<&dyn Link> {
        (self.kind == FileKind::Link).then_some(self as _)
    }
}

impl Link for FuseInode {
    fn target(&self) -> Result<Vec<u8>> {
        if let Some(text) = self.text.get() {
            return Ok(text.clone());
        }
        let mut text = alloc::vec![0; 4096];
        let into = &mut [Target::Bytes(&mut text)];
        let length = self
            .fs
            .session
            .call(self.request(Opcode::Readlink), &[], into)?;
        text.truncate(length);
        text.shrink_to_fit();
        Ok(self.text.call_once(|| text).clone())
    }
}

impl Drop for FuseInode {
    fn drop(&mut self) {
        if self.node != ROOT_ID {
            self.fs.remove_dead(self.node);
            self.fs
                .session
                .forget(self.node, self.lookups.load(Ordering::Relaxed));
        }
    }
}
