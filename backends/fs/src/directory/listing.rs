//! Listing directories.
//!
//! What: OPENDIR, READDIR and READDIRPLUS. Each request seeks the host's directory to the
//! guest's cookie and lists from there, a bounded buffer at a time, so a directory may be
//! arbitrarily large and the guest may go back at will. Where runs are to be the same, each request lists all of the directory and
//! goes on behind as many names as the cookie says, in their order.
//!
//! Neighbours: [`super::files`] releases and syncs directory handles as any others.
//!
//! What it does not do: no snapshot of a directory; entries made meanwhile may appear.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use guest_abi::fuse::{Dirent, EntryOut, OpenIn, OpenOut, ReadIn, padded};
use rustix::fs::{FileType, OFlags, RawDir, RawDirEntry, SeekFrom};
use rustix::io::Errno;

use super::files::position;
use super::{DirectoryService, enter};
use crate::confine;
use crate::handles::{Handle, Kind};
use crate::nodes::Nodes;
use crate::wire::{Call, Result};

/// How much the host lists at once, in bytes.
pub(super) const BUFFER: usize = 32 << 10;

/// Whether entries come with their attributes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Names,
    Attributes,
}

/// One entry of a directory.
struct Entry<'n> {
    name: &'n CStr,
    inode: u64,
    kind: FileType,
    /// Where the next one is.
    next: u64,
}

impl<'n> Entry<'n> {
    fn of_host(entry: &'n RawDirEntry<'_>) -> Self {
        Self {
            name: entry.file_name(),
            inode: entry.ino(),
            kind: entry.file_type(),
            next: entry.next_entry_cookie(),
        }
    }
}

/// One listing in the making.
struct Listing<'a> {
    nodes: &'a mut Nodes,
    parent: u64,
    /// Of the parent.
    device: u64,
    detail: Detail,
    /// What still fits, in bytes.
    room: usize,
    /// Whether anything was written.
    any: bool,
}

impl DirectoryService {
    pub(super) fn opendir(&mut self, call: &mut Call<'_>) -> Result<()> {
        let _: OpenIn = call.take()?;
        self.handles.room()?;
        let node = call.header.nodeid;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = self
            .reopener
            .open(self.nodes.directory(node)?.fd(), flags)?;
        let fh = self.handles.insert(Handle {
            fd,
            node,
            kind: Kind::Directory,
            flags,
        })?;
        call.put(&OpenOut {
            fh,
            ..OpenOut::default()
        })
    }

    pub(super) fn readdir(&mut self, call: &mut Call<'_>) -> Result<()> {
        self.list(call, Detail::Names)
    }

    pub(super) fn readdirplus(&mut self, call: &mut Call<'_>) -> Result<()> {
        self.list(call, Detail::Attributes)
    }

    fn list(&mut self, call: &mut Call<'_>, detail: Detail) -> Result<()> {
        let read: ReadIn = call.take()?;
        let parent = call.header.nodeid;
        let directory = self.handles.get(read.fh, parent, Kind::Directory)?.fd();
        let room = call.room().min(read.size as usize);
        let in_order = self.nodes.appearance.is_repeatable();
        let device = self.nodes.get(parent)?.device();
        let mut listing = Listing {
            nodes: &mut self.nodes,
            parent,
            device,
            detail,
            room,
            any: false,
        };
        if in_order {
            return listing.list_in_order(call, directory, &mut self.listing, read.offset);
        }
        rustix::fs::seek(directory, SeekFrom::Start(position(read.offset)?))?;
        let mut entries = RawDir::new(directory, host_window(&mut self.listing, room, detail));
        while let Some(entry) = entries.next() {
            match entry.and_then(|entry| listing.emit(call, &Entry::of_host(&entry))) {
                Ok(true) => {}
                Ok(false) => break,
                Err(errno) if !listing.any => return Err(errno),
                Err(_) => break, // what was found so far counts; the next request fails
            }
        }
        Ok(())
    }
}

impl Listing<'_> {
    /// Lists by name, from the `skip`th on.
    fn list_in_order(
        &mut self,
        call: &mut Call<'_>,
        directory: BorrowedFd<'_>,
        buffer: &mut Vec<u8>,
        skip: u64,
    ) -> Result<()> {
        let all = sorted(directory, buffer)?;
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX);
        for (next, (name, inode, kind)) in (1..).zip(&all).skip(skipped) {
            let entry = Entry {
                name,
                inode: *inode,
                kind: *kind,
                next,
            };
            if !self.emit(call, &entry)? {
                break;
            }
        }
        Ok(())
    }

    /// Writes one record; `false` when it does not fit any more.
    fn emit(&mut self, call: &mut Call<'_>, entry: &Entry<'_>) -> Result<bool> {
        let len = match self.detail {
            Detail::Names => Dirent::record_len(entry.name.count_bytes()),
            Detail::Attributes => Dirent::plus_record_len(entry.name.count_bytes()),
        };
        if len > self.room {
            return if self.any {
                Ok(false)
            } else {
                Err(Errno::INVAL)
            };
        }
        if self.detail == Detail::Attributes {
            call.put(&self.look_up(entry.name))?;
        }
        let number = (self.device, entry.inode);
        put_record(call, entry, self.nodes.appearance.number(number))?;
        self.room -= len;
        self.any = true;
        Ok(true)
    }

    /// The looked-up entry, or none (node id 0) if it vanished or is not to be looked up.
    fn look_up(&mut self, name: &CStr) -> EntryOut {
        if matches!(name.to_bytes(), b"." | b"..") {
            return EntryOut::default();
        }
        self.nodes
            .directory(self.parent)
            .and_then(|parent| confine::open_child(parent.fd(), name))
            .and_then(|fd| enter(self.nodes, fd))
            .unwrap_or_default()
    }
}

/// The part of the buffer that the host may fill: about as much as the reply can hold, since
/// what does not fit is listed again.
fn host_window(buffer: &mut Vec<u8>, room: usize, detail: Detail) -> &mut [MaybeUninit<u8>] {
    let wanted = match detail {
        Detail::Names => room,
        Detail::Attributes => room / 4,
    };
    buffer.clear();
    buffer.reserve(BUFFER);
    let window = buffer.spare_capacity_mut();
    let len = wanted.clamp(1024, BUFFER).min(window.len());
    window.split_at_mut(len).0
}

/// All entries of a directory, by name.
fn sorted(
    directory: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
) -> Result<Vec<(CString, u64, FileType)>> {
    rustix::fs::seek(directory, SeekFrom::Start(0))?;
    let mut all = Vec::new();
    let mut entries = RawDir::new(directory, host_window(buffer, BUFFER, Detail::Names));
    while let Some(entry) = entries.next() {
        let entry = entry?;
        all.push((entry.file_name().to_owned(), entry.ino(), entry.file_type()));
    }
    all.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    Ok(all)
}

fn put_record(call: &mut Call<'_>, entry: &Entry<'_>, number: u64) -> Result<()> {
    let name = entry.name.to_bytes();
    call.put(&Dirent {
        ino: number,
        off: entry.next,
        namelen: name.len() as u32,
        kind: kind_of(entry.kind),
    })?;
    call.put_bytes(name)?;
    let padding = padded(name.len()) - name.len();
    call.put_bytes([0; 7].get(..padding).unwrap_or_default())
}

/// `DT_*`; 0 is "unknown".
fn kind_of(kind: FileType) -> u32 {
    match kind {
        FileType::Unknown => 0,
        known => known.as_raw_mode() >> 12,
    }
}
