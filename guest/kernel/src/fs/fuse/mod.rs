//! Directories of the host, by FUSE.
//!
//! * `session`: requests and replies over a [`Transport`].
//! * `node`: inodes: attributes believed for as long as the server says, pages cached.
//! * `directory`: names.
//! * `file`: open files: cached reads, writes that reach the server at once.
//! * `stream`: long files read from front to back.
//! * `bounce`: memory between the program and the server.
//!
//! Coherence is close-to-open: opening compares size and time stamps with those of the
//! cached pages, and taking a lock drops what is cached.

pub mod bounce;
mod directory;
mod file;
mod locks;
mod node;
pub mod session;
mod stream;
#[cfg(test)]
mod tests;

pub use file::FuseFile;
pub(super) use file::send_write;
pub use node::FuseInode;
pub(super) use node::{metadata, wire_change};
pub use session::{Request, Session, Transport, Waits};

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use core::fmt;
use core::sync::atomic::AtomicBool;

use guest_abi::fuse::{AttrOut, GetattrIn, Opcode, ROOT_ID, StatfsOut};
use guest_hal::host_file::HostFile;
use guest_hal::sync::{Mutex, Once};
use hashbrown::HashMap;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::inode::{FileSystem, Inode};
use super::metadata::FsStatus;
use crate::{Errno, Result};
use file::Handle;

/// How many files that nobody has open stay open at the server, ready for the next open.
const IDLE_HANDLES: usize = 64;

/// How a directory of the host is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Only read, below an overlay: what was seen may be believed as long as the server says.
    Lower,
    /// A volume: shared with the host, which may change it at any time.
    Volume,
}

/// A directory of the host.
pub struct FuseFs {
    session: Session,
    device: u64,
    usage: Use,
    nodes: Mutex<HashMap<u64, Weak<FuseInode>>>,
    idle: Mutex<VecDeque<Arc<Handle>>>,
    /// Whether the server may hand over files, as far as is known.
    hands_over: AtomicBool,
    root: Once<Arc<FuseInode>>,
    this: Weak<Self>,
}

impl fmt::Debug for FuseFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FuseFs")
            .field("usage", &self.usage)
            .finish_non_exhaustive()
    }
}

impl FuseFs {
    /// Opens the file system behind a transport.
    ///
    /// # Errors
    /// `EIO`; the server's.
    pub fn open(transport: Arc<dyn Transport>, usage: Use) -> Result<Arc<Self>> {
        let session = Session::open(transport)?;
        let request = Request::new(Opcode::Getattr, ROOT_ID);
        let root: AttrOut = session.ask(request, &GetattrIn::default(), &[])?;
        let fs = Arc::new_cyclic(|this| Self {
            session,
            device: super::mount::new_device(),
            usage,
            nodes: Mutex::new(HashMap::new()),
            idle: Mutex::new(VecDeque::new()),
            hands_over: AtomicBool::new(HostFile::can_be_had()),
            root: Once::new(),
            this: this.clone(),
        });
        let valid = node::validity(root.attr_valid, root.attr_valid_nsec);
        let inode = FuseInode::new(&fs, ROOT_ID, &root.attr, valid);
        fs.root.call_once(|| inode);
        Ok(fs)
    }

    fn this(&self) -> Arc<Self> {
        self.this
            .upgrade()
            .expect("a file system is only used by reference")
    }

    /// As [`Session::ask`], for what a server has to keep a file for, of which it can keep only so
    /// many: when it has no room (`ENFILE`), it gets back what nobody here uses, and is asked
    /// once more.
    fn ask_to_keep<I, O>(&self, request: Request, input: &I, names: &[&[u8]]) -> Result<O>
    where
        I: IntoBytes + Immutable,
        O: FromBytes + IntoBytes,
    {
        match self.session.ask(request, input, names) {
            Err(Errno::ENFILE) => {
                self.give_back();
                self.session.ask(request, input, names)
            }
            result => result,
        }
    }

    fn give_back(&self) {
        let idle = core::mem::take(&mut *self.idle.lock());
        drop(idle);
        super::mount::forget_unused();
        self.session.send_forgotten();
    }

    /// An inode has gone; another may already stand for the same file.
    fn remove_dead(&self, node: u64) {
        let mut nodes = self.nodes.lock();
        if nodes
            .get(&node)
            .is_some_and(|inode| inode.strong_count() == 0)
        {
            nodes.remove(&node);
        }
    }

    /// Keeps a handle for a while after its last use.
    fn keep(&self, handle: Arc<Handle>) {
        let old = {
            let mut idle = self.idle.lock();
            idle.retain(|kept| !Arc::ptr_eq(kept, &handle));
            idle.push_back(handle);
            if idle.len() > IDLE_HANDLES {
                idle.pop_front()
            } else {
                None
            }
        };
        drop(old);
    }
}

impl FileSystem for FuseFs {
    fn root(&self) -> Arc<dyn Inode> {
        self.root.get().expect("set when it was opened").clone()
    }

    fn name(&self) -> &'static str {
        "virtiofs"
    }

    fn status(&self) -> Result<FsStatus> {
        let reply: StatfsOut = self
            .session
            .ask(Request::new(Opcode::Statfs, ROOT_ID), &(), &[])?;
        Ok(FsStatus {
            magic: 0x6573_5546,
            block_size: u64::from(reply.frsize.max(1)),
            blocks: [reply.blocks, reply.bfree, reply.bavail],
            inodes: [reply.files, reply.ffree],
            name_max: u64::from(reply.namelen),
        })
    }
}
