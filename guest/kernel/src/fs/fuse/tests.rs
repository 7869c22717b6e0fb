//! A server that does little, and what becomes of it.

extern crate std;

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::format;
use std::sync::{Arc, Mutex};
use std::vec::Vec;

use guest_abi::fuse::{
    Attr, AttrOut, BatchForgetIn, EntryOut, InHeader, InitOut, MAJOR, Opcode, OpenIn, OpenOut,
    OutHeader, ROOT_ID, SetattrIn, init, setattr,
};
use guest_hal::virtio::{Source, Target};
use linux_raw_sys::general as raw;
use zerocopy::{FromBytes, IntoBytes};

use super::{FuseFs, Transport, Use, Waits};
use crate::fs::caller::Caller;
use crate::fs::file::File;
use crate::fs::inode::FileSystem;
use crate::fs::mount::{self, MountFlags};
use crate::fs::walk::Follow;
use crate::{Errno, Result};

/// The node of the only file, and its length.
const FILE: u64 = 7;
const LENGTH: u64 = 100;

/// Requests with their bodies, without headers.
type Requests = Arc<Mutex<Vec<(Opcode, Vec<u8>)>>>;

#[derive(Debug)]
struct Server {
    abilities: u32,
    requests: Requests,
    /// How many files it can keep, and how many it does.
    room: usize,
    kept: AtomicUsize,
    found: AtomicU64,
}

fn attributes(node: u64) -> Attr {
    let mode = if node == ROOT_ID {
        0o040_755
    } else {
        0o100_644
    };
    Attr {
        ino: node,
        mode,
        size: LENGTH,
        ..Attr::default()
    }
}

impl Server {
    /// Each name leads to another file, the first to [`FILE`].
    fn look_up(&self) -> Result<EntryOut> {
        if self.kept.fetch_add(1, Relaxed) >= self.room {
            self.kept.fetch_sub(1, Relaxed);
            return Err(Errno::ENFILE);
        }
        let nodeid = FILE + self.found.fetch_add(1, Relaxed);
        Ok(EntryOut {
            nodeid,
            attr: attributes(nodeid),
            ..EntryOut::default()
        })
    }

    fn answer(&self, opcode: Opcode, node: u64) -> Result<Vec<u8>> {
        let attr = attributes(node);
        let attributes = AttrOut {
            attr,
            ..AttrOut::default()
        };
        Ok(match opcode {
            Opcode::Init => InitOut {
                major: MAJOR,
                minor: 31,
                flags: self.abilities,
                ..InitOut::default()
            }
            .as_bytes()
            .to_vec(),
            Opcode::Getattr | Opcode::Setattr => attributes.as_bytes().to_vec(),
            Opcode::Lookup => self.look_up()?.as_bytes().to_vec(),
            Opcode::Open => OpenOut::default().as_bytes().to_vec(),
            Opcode::Release | Opcode::Rename => Vec::new(),
            _ => return Err(Errno::ENOSYS),
        })
    }
}

impl Transport for Server {
    fn exchange(
        &self,
        unique: u64,
        send: &[Source<'_>],
        receive: &mut [Target<'_>],
        _: Waits,
    ) -> Result<usize> {
        let mut bytes = Vec::new();
        for piece in send {
            let Source::Bytes(piece) = piece else {
                return Err(Errno::EIO);
            };
            bytes.extend_from_slice(piece);
        }
        let (header, body) = InHeader::read_from_prefix(&bytes).unwrap();
        let opcode = Opcode::try_from(header.opcode).unwrap();
        self.requests.lock().unwrap().push((opcode, body.to_vec()));
        if opcode == Opcode::BatchForget {
            let (head, _) = BatchForgetIn::read_from_prefix(body).unwrap();
            self.kept.fetch_sub(head.count as usize, Relaxed);
            return Ok(0);
        }
        let answer = self.answer(opcode, header.nodeid);
        let body = answer.as_deref().unwrap_or_default();
        let head = OutHeader {
            len: (size_of::<OutHeader>() + body.len()) as u32,
            error: answer.as_ref().err().map_or(0, |errno| -i32::from(errno.0)),
            unique,
        };
        for (piece, bytes) in receive.iter_mut().zip([head.as_bytes(), body]) {
            if let Target::Bytes(room) = piece {
                room[..bytes.len()].copy_from_slice(bytes);
            }
        }
        Ok(head.len as usize)
    }
}

fn mount(abilities: u32) -> (Requests, Arc<FuseFs>) {
    mount_with(abilities, usize::MAX)
}

fn mount_with(abilities: u32, room: usize) -> (Requests, Arc<FuseFs>) {
    guest_hal::initialize_hosted();
    let requests = Requests::default();
    let server = Server {
        abilities,
        requests: requests.clone(),
        room,
        kept: AtomicUsize::new(0),
        found: AtomicU64::new(0),
    };
    let fs = FuseFs::open(Arc::new(server), Use::Volume).unwrap();
    (requests, fs)
}

fn open(fs: &FuseFs, flags: u32) -> Arc<dyn File> {
    let root = fs.root();
    let found = root.as_directory().unwrap().lookup(b"f").unwrap();
    found.inode.unwrap().open(flags).unwrap()
}

/// The bodies of the requests of one kind.
fn bodies<T: FromBytes>(requests: &Requests, wanted: Opcode) -> Vec<T> {
    let requests = requests.lock().unwrap();
    let fitting = requests.iter().filter(|(opcode, _)| *opcode == wanted);
    fitting
        .map(|(_, body)| T::read_from_prefix(body).unwrap().0)
        .collect()
}

#[test]
fn a_file_is_truncated_apart_where_opening_does_not() {
    let flags = raw::O_WRONLY | raw::O_TRUNC | raw::O_CREAT | raw::O_NOCTTY;
    for (abilities, sent, sizes) in [
        (init::ATOMIC_O_TRUNC, raw::O_WRONLY | raw::O_TRUNC, 0),
        (0, raw::O_WRONLY, 1),
    ] {
        let (requests, fs) = mount(abilities);
        drop(open(&fs, flags));
        let opened: Vec<OpenIn> = bodies(&requests, Opcode::Open);
        assert_eq!(
            opened.iter().map(|ask| ask.flags).collect::<Vec<_>>(),
            [sent]
        );
        let changes: Vec<SetattrIn> = bodies(&requests, Opcode::Setattr);
        let is_truncation = |ask: &&SetattrIn| ask.valid & setattr::SIZE != 0 && ask.size == 0;
        assert_eq!(changes.iter().filter(is_truncation).count(), sizes);
    }
}

#[test]
fn locks_are_the_servers_only_if_it_keeps_them() {
    let both = init::POSIX_LOCKS | init::FLOCK_LOCKS;
    for (abilities, kept) in [(both, true), (init::POSIX_LOCKS, false), (0, false)] {
        let (_, fs) = mount(abilities);
        let file = open(&fs, raw::O_RDWR);
        assert_eq!(file.as_lockable().is_some(), kept);
    }
}

#[test]
fn what_is_not_served_is_done_without() {
    let (_, fs) = mount(0);
    let file = open(&fs, raw::O_RDWR);
    assert_eq!(file.seek(10, raw::SEEK_DATA), Ok(10));
    assert_eq!(file.seek(10, raw::SEEK_HOLE), Ok(LENGTH));
    let regular = file.as_regular().unwrap();
    assert_eq!(regular.sync(true), Ok(()));
    assert_eq!(regular.allocate(0, 0, 10), Err(Errno::EOPNOTSUPP));
}

#[test]
fn renaming_needs_its_newer_form_for_flags_only() {
    let (requests, fs) = mount(0);
    let root = fs.root();
    let names = root.as_directory().unwrap().as_changeable().unwrap();
    assert_eq!(names.rename(b"a", &root, b"b", 0), Ok(()));
    let flags = raw::RENAME_NOREPLACE;
    assert_eq!(names.rename(b"a", &root, b"b", flags), Err(Errno::EINVAL));
    let renames: Vec<u64> = bodies(&requests, Opcode::Rename);
    assert_eq!(renames, [ROOT_ID]);
}

#[test]
fn a_server_without_room_gets_back_what_nobody_uses() {
    let (requests, fs) = mount_with(0, 10);
    let root = mount::mount_root(fs, "test", MountFlags::default());
    let caller = Caller::kernel(&root);
    let find = |number: u32| caller.find(format!("/{number}").as_bytes(), Follow::Yes);
    let used: Vec<_> = (0..4).map(|number| find(number).unwrap()).collect();
    for number in 4..100 {
        find(number).unwrap();
    }
    // Those in use are kept: ten of them are all that it has room for.
    let more: Vec<_> = (100..106).map(|number| find(number).unwrap()).collect();
    assert_eq!(find(106).err(), Some(Errno::ENFILE));
    drop(more);
    find(106).unwrap();
    drop(used);
    let given: Vec<BatchForgetIn> = bodies(&requests, Opcode::BatchForget);
    assert!((10..30).contains(&given.len()), "{}", given.len());
}
