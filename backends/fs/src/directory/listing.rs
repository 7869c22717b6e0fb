//! Listing directories.
//!
//! What: OPENDIR, READDIR and READDIRPLUS. Each request seeks the host's directory to the
//! guest's cookie and lists from there, a bounded buffer at a time, so a directory may be
//! arbitrarily large and the guest may go back at will.
//!
//! Neighbours: [`super::files`] releases and syncs directory handles as any others.
//!
//! What it does not do: no snapshot of a directory; entries made meanwhile may appear.

use std::ffi::CStr;
use std::mem::MaybeUninit;

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

/// One listing in the making.
struct Listing<'a> {
    nodes: &'a mut Nodes,
    parent: u64,
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
        rustix::fs::seek(directory, SeekFrom::Start(position(read.offset)?))?;
        let room = call.room().min(read.size as usize);
        let mut entries = RawDir::new(directory, host_window(&mut self.listing, room, detail));
        let mut listing = Listing {
            nodes: &mut self.nodes,
            parent,
            detail,
            room,
            any: false,
        };
        while let Some(entry) = entries.next() {
            match entry.and_then(|entry| listing.emit(call, &entry)) {
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
    /// Writes one record; `false` when it does not fit any more.
    fn emit(&mut self, call: &mut Call<'_>, entry: &RawDirEntry<'_>) -> Result<bool> {
        let name = entry.file_name();
        let len = match self.detail {
            Detail::Names => Dirent::record_len(name.count_bytes()),
            Detail::Attributes => Dirent::plus_record_len(name.count_bytes()),
        };
        if len > self.room {
            return if self.any {
                Ok(false)
            } else {
                Err(Errno::INVAL)
            };
        }
        if self.detail == Detail::Attributes {
            call.put(&self.look_up(name))?;
        }
        put_record(call, entry)?;
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

fn put_record(call: &mut Call<'_>, entry: &RawDirEntry<'_>) -> Result<()> {
    let name = entry.file_name().to_bytes();
    call.put(&Dirent {
        ino: entry.ino(),
        off: entry.next_entry_cookie(),
        namelen: name.len() as u32,
        kind: kind_of(entry.file_type()),
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
