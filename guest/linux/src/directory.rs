//! Listing directories.

use alloc::vec::Vec;

use guest_hal::LinearAddress;
use guest_kernel::fs::directory::DirectoryFile;
use guest_kernel::fs::inode::Record;
use guest_kernel::fs::{Caller, FileKind, OpenFile, inotify};
use guest_kernel::{Errno, Result, uaccess};
use linux_raw_sys::general as raw;

use crate::Return;
use crate::descriptor::{downcast, open_file};

/// The most that one call lists.
const LISTING_MAX: u64 = 1 << 20;

/// How a record is laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `struct linux_dirent`: the kind is the last byte.
    Old,
    /// `struct linux_dirent64`: the kind precedes the name.
    New,
}

/// The records "." and "..", which come first.
fn dot(file: &OpenFile, position: u64) -> Result<Record> {
    let (at, name) = match position {
        0 => (file.location.clone(), b".".as_slice()),
        _ => (
            file.location.parent(&Caller::current().root),
            b"..".as_slice(),
        ),
    };
    let number = at.metadata()?.number;
    Ok(Record {
        number,
        kind: FileKind::Directory,
        name: name.into(),
    })
}

/// Both forms have 18 bytes, a kind, the name and a NUL.
const fn record_length(name: &[u8]) -> usize {
    (20 + name.len()).next_multiple_of(8)
}

fn emit(out: &mut Vec<u8>, record: &Record, next: u64, form: Form) {
    let length = record_length(&record.name);
    let end = out.len() + length;
    out.extend_from_slice(&record.number.to_le_bytes());
    out.extend_from_slice(&next.to_le_bytes());
    out.extend_from_slice(&(length as u16).to_le_bytes());
    if form == Form::New {
        out.push(record.kind.record_type());
    }
    out.extend_from_slice(&record.name);
    out.resize(end, 0);
    if form == Form::Old
        && let Some(last) = out.last_mut()
    {
        *last = record.kind.record_type();
    }
}

fn list(fd: i32, into: LinearAddress, count: u64, form: Form) -> Return {
    let file = open_file(fd)?;
    file.file()?;
    let directory: &DirectoryFile = downcast(&file).ok_or(Errno::ENOTDIR)?;
    let room = count.min(LISTING_MAX) as usize;
    let mut position = file.position();
    let listing = directory.listing(position)?;
    let mut out = Vec::new();
    loop {
        let record = match position {
            0 | 1 => dot(&file, position)?,
            _ => match listing.get((position - 2) as usize) {
                Some(record) => record.clone(),
                None => break,
            },
        };
        if out.len() + record_length(&record.name) > room {
            if out.is_empty() {
                return Err(Errno::EINVAL);
            }
            break;
        }
        position += 1;
        emit(&mut out, &record, position, form);
    }
    uaccess::write(into, &out)?;
    inotify::tell(&file.location, raw::IN_ACCESS);
    file.set_position(position);
    Ok(out.len() as u64)
}

/// `getdents64`.
pub fn getdents64(fd: i32, dirp: LinearAddress, count: u32) -> Return {
    list(fd, dirp, u64::from(count), Form::New)
}

/// `getdents`.
pub fn getdents(fd: i32, dirp: LinearAddress, count: u32) -> Return {
    list(fd, dirp, u64::from(count), Form::Old)
}
