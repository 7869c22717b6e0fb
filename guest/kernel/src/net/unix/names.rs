//! The names of sockets: paths, and the abstract ones that begin with a zero byte.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;

use guest_hal::sync::Mutex;
use linux_raw_sys::general as raw;

use super::{Kind, UnixSocket};
use crate::fs::caller::Caller;
use crate::fs::inode::Inode;
use crate::fs::metadata::FileKind;
use crate::fs::walk::Follow;
use crate::{Errno, Result, random};

/// A name that was given to a socket.
#[derive(Clone)]
pub(super) enum Name {
    /// The bytes behind the zero byte.
    Abstract(Vec<u8>),
    /// A path as it was said.
    Path {
        path: Vec<u8>,
        /// What it led to, kept so that nobody else gets its identity.
        #[expect(dead_code, reason = "held, not read")]
        inode: Arc<dyn Inode>,
    },
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.shown().escape_ascii())
    }
}

impl Name {
    /// As `getsockname` shows it.
    pub(super) fn shown(&self) -> Vec<u8> {
        match self {
            Self::Abstract(name) => [b"\0", name.as_slice()].concat(),
            Self::Path { path, .. } => path.clone(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Abstract(u8, Vec<u8>),
    Inode(usize),
}

static NAMES: Mutex<BTreeMap<Key, Weak<UnixSocket>>> = Mutex::new(BTreeMap::new());

fn inode_key(inode: &Arc<dyn Inode>) -> Key {
    Key::Inode(Arc::as_ptr(inode).addr())
}

/// Gives a socket a name: that of an empty address is any abstract one.
///
/// # Errors
/// `EADDRINUSE`, or the file system's.
pub(super) fn give(name: &[u8], kind: Kind, socket: &Weak<UnixSocket>) -> Result<Name> {
    match name.split_first() {
        None => loop {
            let mut bytes = [0; 4];
            random::fill(&mut bytes);
            let any = format!("{:05x}", u32::from_le_bytes(bytes) & 0xf_ffff).into_bytes();
            match give_abstract(&any, kind, socket) {
                Err(Errno::EADDRINUSE) => {}
                result => return result,
            }
        },
        Some((0, name)) => give_abstract(name, kind, socket),
        Some(_) => give_path(name, socket),
    }
}

fn give_abstract(name: &[u8], kind: Kind, socket: &Weak<UnixSocket>) -> Result<Name> {
    let mut names = NAMES.lock();
    let key = Key::Abstract(kind as u8, name.to_vec());
    if names
        .get(&key)
        .is_some_and(|other| other.strong_count() > 0)
    {
        return Err(Errno::EADDRINUSE);
    }
    names.retain(|_, socket| socket.strong_count() > 0);
    names.insert(key, socket.clone());
    Ok(Name::Abstract(name.to_vec()))
}

fn give_path(path: &[u8], socket: &Weak<UnixSocket>) -> Result<Name> {
    let caller = Caller::current();
    let made = caller.make_node(&caller.cwd, path, raw::S_IFSOCK | 0o777);
    made.map_err(|errno| match errno {
        Errno::EEXIST => Errno::EADDRINUSE,
        other => other,
    })?;
    let location = caller.find(path, Follow::No)?;
    let inode = Arc::clone(location.inode());
    NAMES.lock().insert(inode_key(&inode), socket.clone());
    let path = path.to_vec();
    Ok(Name::Path { path, inode })
}

/// Whether a path leads somewhere already.
pub(super) fn is_taken(path: &[u8]) -> bool {
    path.first().is_some_and(|&first| first != 0)
        && Caller::current().find(path, Follow::No).is_ok()
}

/// The socket of a name; abstract names of different kinds are different ones.
///
/// # Errors
/// `ECONNREFUSED` when nobody has it (any more); the file system's.
pub(super) fn find(name: &[u8], kind: Kind) -> Result<Arc<UnixSocket>> {
    let key = match name.split_first() {
        None => return Err(Errno::EINVAL),
        Some((0, name)) => Key::Abstract(kind as u8, name.to_vec()),
        Some(_) => {
            let location = Caller::current().find(name, Follow::Yes)?;
            let inode = location.inode();
            if inode.kind() != FileKind::Socket {
                return Err(Errno::ECONNREFUSED);
            }
            inode_key(inode)
        }
    };
    let socket = NAMES.lock().get(&key).and_then(Weak::upgrade);
    socket.ok_or(Errno::ECONNREFUSED)
}
