//! Serves one directory of the host to one machine.
//!
//! What: [`DirectoryService`] answers FUSE requests about the tree below [`Export::root`]. One
//! `O_PATH` descriptor stands for each file that the guest knows of; every operation starts
//! from such a descriptor and takes at most one step down ([`crate::confine`]), so nothing
//! outside the tree can be named. Symbolic links are the guest's to resolve. Device nodes,
//! fifos and sockets can be seen and renamed but never opened: they are the guest kernel's own
//! business or nobody's.
//!
//! Ownership: with [`Owner::Requester`] what the guest creates belongs to the guest's user,
//! bits included: a guest's root can make a set-user-id program on the host. Export
//! directories that other users of the host can reach only from a monitor that is not root.
//! Permission bits against the guest's own users are checked by the guest's kernel; the host
//! checks the monitor's.
//!
//! Neighbours: `nodes`, `handles` and `locks` hold the state; `names`, `files`, `listing`,
//! `locking` and `metadata` are the operations by family.
//!
//! What it does not do: it never blocks for the guest's sake (locks answer `EAGAIN`), keeps no
//! cache, has no extended attributes, and is not part of a snapshot: host descriptors cannot
//! be saved.

mod files;
mod listing;
mod locking;
mod metadata;
mod names;

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use guest_abi::fuse::{AttrOut, EntryOut, Opcode, init};
use rustix::fs::Stat;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::appearance::Appearance;
use crate::confine::{self, Reopener};
use crate::handles::{Handles, Kind};
use crate::locks::RecordLocks;
use crate::nodes::Nodes;
use crate::service::{FuseService, HandOver, Reply, Request};
use crate::wire::{self, Call, Result, VALID_SECONDS};

/// What the service can and the guest's kernel may use.
const ABILITIES: u32 = init::ASYNC_READ
    | init::ATOMIC_O_TRUNC
    | init::AUTO_INVAL_DATA
    | init::DO_READDIRPLUS
    | init::READDIRPLUS_AUTO
    | init::PARALLEL_DIROPS
    | init::HANDLE_KILLPRIV_V2
    | init::INIT_EXT;

/// The further abilities with which a guest's kernel asks for its locks here.
const LOCKS: u32 = init::POSIX_LOCKS | init::FLOCK_LOCKS;

/// Whether the guest may change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything that changes answers `EROFS`.
    ReadOnly,
    /// The monitor's own rights decide.
    ReadWrite,
}

/// To whom belongs what the guest creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// To the monitor's user, as with any program of the host.
    Monitor,
    /// To the guest's user, by number; needs `CAP_CHOWN`.
    Requester,
}

impl Owner {
    /// The best that this process can: [`Owner::Requester`] for effective user 0.
    #[must_use]
    pub fn of_process() -> Self {
        if rustix::process::geteuid().is_root() {
            Self::Requester
        } else {
            Self::Monitor
        }
    }
}

/// Whom the guest's locks exclude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locks {
    /// Machines and programs of the host, too. Nothing waits for a lock here: for kernels that ask
    /// again after `EAGAIN`.
    Host,
    /// Only each other: the guest's kernel keeps them, and can wait.
    Guest,
}

/// A directory of the host, and how it is served.
#[derive(Clone, Debug)]
pub struct Export {
    /// The directory; symbolic links on the way to it are followed.
    pub root: PathBuf,
    /// Whether the guest may change anything.
    pub access: Access,
    /// To whom belongs what the guest creates.
    pub owner: Owner,
    /// Whom its locks exclude.
    pub locks: Locks,
}

/// How many host descriptors one service may hold; the guest gets `ENFILE` beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files that the guest knows of, a descriptor each.
    pub nodes: usize,
    /// Files that the guest has open, a descriptor each.
    pub handles: usize,
    /// Owners of record locks, a descriptor each.
    pub lock_owners: usize,
}

impl Limits {
    /// What remains of the present `RLIMIT_NOFILE` for each of `services` exports, after 128
    /// descriptors for the monitor itself: two thirds for nodes, a quarter for handles.
    #[must_use]
    pub fn shared_by(services: usize) -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(1 << 20);
        let each = limit.saturating_sub(128) / services.max(1);
        Self {
            nodes: (each / 12 * 8).max(32),
            handles: (each / 4).max(16),
            lock_owners: (each / 12).max(8),
        }
    }
}

/// Why a directory cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory cannot be opened.
    #[error("{}: {source} (it must be a directory that the monitor may search)", root.display())]
    Root {
        /// The directory.
        root: PathBuf,
        /// The host's reason.
        source: std::io::Error,
    },
    /// `/proc/self/fd` cannot be opened; files are opened through it.
    #[error("/proc/self/fd: {0} (serving directories needs a mounted /proc)")]
    Proc(std::io::Error),
}

/// Serves one directory of the host to one machine.
pub struct DirectoryService {
    access: Access,
    abilities: u32,
    owner: Owner,
    reopener: Reopener,
    nodes: Nodes,
    handles: Handles,
    locks: RecordLocks,
    /// Where the host lists directories to.
    listing: Vec<u8>,
    /// How a file gets to a guest that wants to map it.
    hand_over: Option<HandOver>,
}

impl fmt::Debug for DirectoryService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectoryService")
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

impl DirectoryService {
    /// Opens the export, with the limits of a process that serves only this one.
    ///
    /// # Errors
    /// The directory or `/proc` cannot be opened.
    pub fn new(export: Export) -> core::result::Result<Self, Error> {
        Self::with_limits(export, Limits::shared_by(1))
    }

    /// Opens the export.
    ///
    /// # Errors
    /// The directory or `/proc` cannot be opened.
    pub fn with_limits(export: Export, limits: Limits) -> core::result::Result<Self, Error> {
        let reopener = Reopener::new().map_err(Error::Proc)?;
        let opened = confine::open_root(&export.root)
            .and_then(|root| rustix::fs::fstat(&root).map(|stat| (root, stat)));
        let (root, stat) = opened.map_err(|errno| Error::Root {
            root: export.root,
            source: errno.into(),
        })?;
        Ok(Self {
            access: export.access,
            abilities: match export.locks {
                Locks::Host => ABILITIES | LOCKS,
                Locks::Guest => ABILITIES,
            },
            owner: export.owner,
            reopener,
            nodes: Nodes::new(root, &stat, limits.nodes),
            handles: Handles::new(limits.handles),
            locks: RecordLocks::new(limits.lock_owners),
            listing: Vec::with_capacity(listing::BUFFER),
            hand_over: None,
        })
    }

    /// Lets the guest map files as they lie in the host's page cache; without, it copies them.
    #[must_use]
    pub fn handing_over(mut self, hand_over: HandOver) -> Self {
        self.hand_over = Some(hand_over);
        self
    }

    /// Shows files without what differs between two runs over the same ones.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.nodes.appearance = Appearance::repeatable();
        self
    }

    /// The attributes of a file that the guest knows.
    fn attributes_out(&mut self, stat: &Stat) -> AttrOut {
        AttrOut {
            attr_valid: VALID_SECONDS,
            attr: self.nodes.appearance.attributes(stat),
            ..AttrOut::default()
        }
    }

    /// Carries one request out, by family.
    fn dispatch(&mut self, call: &mut Call<'_>) -> Result<()> {
        if self.access == Access::ReadOnly && changes(call.opcode) {
            return Err(Errno::ROFS);
        }
        match call.opcode {
            Opcode::Init => self.start(call),
            Opcode::Destroy => self.reset(),
            Opcode::Interrupt => Ok(()),
            Opcode::Lookup => self.lookup(call),
            Opcode::Forget => self.forget(call),
            Opcode::BatchForget => self.batch_forget(call),
            Opcode::Readlink => self.readlink(call),
            Opcode::Symlink => self.symlink(call),
            Opcode::Mknod => self.mknod(call),
            Opcode::Mkdir => self.mkdir(call),
            Opcode::Unlink => self.unlink(call),
            Opcode::Rmdir => self.rmdir(call),
            Opcode::Rename => self.rename(call),
            Opcode::Rename2 => self.rename2(call),
            Opcode::Link => self.link(call),
            Opcode::Getattr => self.getattr(call),
            Opcode::Setattr => self.setattr(call),
            Opcode::Statfs => self.statfs(call),
            Opcode::Access => self.check_access(call),
            Opcode::Setxattr | Opcode::Removexattr => Err(Errno::OPNOTSUPP),
            Opcode::Getxattr => Err(Errno::NODATA),
            Opcode::Listxattr => metadata::listxattr(call),
            Opcode::Open => self.open(call),
            Opcode::Create => self.create(call),
            Opcode::Read => self.read(call),
            Opcode::Write => self.write(call),
            Opcode::Release => self.release(call, Kind::File),
            Opcode::Fsync => self.fsync(call, Kind::File),
            Opcode::Flush => self.flush(call),
            Opcode::Lseek => self.lseek(call),
            Opcode::Fallocate => self.fallocate(call),
            Opcode::CopyFileRange => self.copy_file_range(call),
            Opcode::Setupmapping => self.set_up_mapping(call),
            Opcode::Opendir => self.opendir(call),
            Opcode::Readdir => self.readdir(call),
            Opcode::Readdirplus => self.readdirplus(call),
            Opcode::Releasedir => self.release(call, Kind::Directory),
            Opcode::Fsyncdir => self.fsync(call, Kind::Directory),
            Opcode::Getlk => self.getlk(call),
            Opcode::Setlk | Opcode::Setlkw => self.setlk(call),
            Opcode::Ioctl => Err(Errno::NOTTY),
            _ => Err(Errno::NOSYS),
        }
    }

    /// Begins a session: whatever an earlier one left (the machine was reset) is dropped.
    fn start(&mut self, call: &mut Call<'_>) -> Result<()> {
        self.reset()?;
        call.negotiate(self.abilities)
    }

    fn reset(&mut self) -> Result<()> {
        self.handles.clear();
        self.locks.clear();
        self.nodes.clear();
        Ok(())
    }
}

impl FuseService for DirectoryService {
    fn serve(&mut self, request: &mut dyn Request, reply: &mut dyn Reply) -> u32 {
        wire::answer(request, reply, |call| {
            self.dispatch(call).map_err(|errno| match errno {
                // The process's limit is the machine's limit: not the guest process's own.
                Errno::MFILE => Errno::NFILE,
                other => other,
            })
        })
    }
}

/// Makes a file known to the guest, which owes one lookup for it from now on.
fn enter(nodes: &mut Nodes, fd: OwnedFd) -> Result<EntryOut> {
    let stat = rustix::fs::fstat(&fd)?;
    Ok(EntryOut {
        nodeid: nodes.remember(fd, &stat)?,
        entry_valid: VALID_SECONDS,
        attr_valid: VALID_SECONDS,
        attr: nodes.appearance.attributes(&stat),
        ..EntryOut::default()
    })
}

/// Whether an operation changes the export whatever its arguments are.
fn changes(opcode: Opcode) -> bool {
    matches!(
        opcode,
        Opcode::Setattr
            | Opcode::Symlink
            | Opcode::Mknod
            | Opcode::Mkdir
            | Opcode::Unlink
            | Opcode::Rmdir
            | Opcode::Rename
            | Opcode::Rename2
            | Opcode::Link
            | Opcode::Write
            | Opcode::Setxattr
            | Opcode::Removexattr
            | Opcode::Create
            | Opcode::Fallocate
            | Opcode::CopyFileRange
            | Opcode::Tmpfile
    )
}
