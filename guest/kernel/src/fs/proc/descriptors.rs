//! `/proc/self/fd` and `/proc/self/fdinfo`.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as raw;

use super::process::{PlaceLink, owned};
use crate::fs::file::File;
use crate::fs::inode::{Directory, Found, Inode, Record};
use crate::fs::metadata::{FileKind, Metadata};
use crate::fs::pseudo::{TextFile, metadata};
use crate::process::current;
use crate::{Errno, Result};

/// A directory with a name for each descriptor.
#[derive(Debug)]
struct Descriptors {
    metadata: Metadata,
    kind: FileKind,
    make: fn(u64, i32) -> Arc<dyn Inode>,
}

fn place(fd: i32) -> Result<crate::fs::Location> {
    let file = current().files.lock().get(fd).map_err(|_| Errno::ENOENT)?;
    Ok(file.location.clone())
}

fn link(device: u64, fd: i32) -> Arc<dyn Inode> {
    let file = current().files.lock().get(fd);
    let (reads, writes) = file.map_or((true, true), |file| {
        (file.is_readable(), file.is_writable())
    });
    let permissions = 0o100 | if reads { 0o400 } else { 0 } | if writes { 0o200 } else { 0 };
    PlaceLink::new(device, permissions, move || place(fd))
}

fn describe(fd: i32) -> Result<Vec<u8>> {
    let descriptor = current()
        .files
        .lock()
        .descriptor(fd)
        .cloned()
        .map_err(|_| Errno::ENOENT)?;
    let file = &descriptor.file;
    let flags = file.flags()
        | if descriptor.close_on_exec {
            raw::O_CLOEXEC
        } else {
            0
        };
    let number = file.metadata().map_or(0, |metadata| metadata.number);
    let (position, mount) = (file.position(), file.location.mount.id);
    let text = format!("pos:\t{position}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{number}\n");
    Ok(text.into_bytes())
}

fn information_file(device: u64, fd: i32) -> Arc<dyn Inode> {
    TextFile::new(device, 0o444, Box::new(move || describe(fd)))
}

/// `fd`.
pub(super) fn links(device: u64) -> Arc<dyn Inode> {
    let metadata = metadata(device, raw::S_IFDIR | 0o500);
    Arc::new(Descriptors {
        metadata,
        kind: FileKind::Link,
        make: link,
    })
}

/// `fdinfo`.
pub(super) fn information(device: u64) -> Arc<dyn Inode> {
    let metadata = metadata(device, raw::S_IFDIR | 0o555);
    Arc::new(Descriptors {
        metadata,
        kind: FileKind::Regular,
        make: information_file,
    })
}

pub(super) fn number(name: &[u8]) -> Option<i32> {
    let text = core::str::from_utf8(name).ok()?;
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| canonical)
}

impl Inode for Descriptors {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(owned(self.metadata))
    }

    fn open(self: Arc<Self>, _: u32) -> Result<Arc<dyn File>> {
        Err(Errno::EISDIR)
    }

    fn as_directory(&self) -> Option<&dyn Directory> {
        Some(self)
    }
}

impl Directory for Descriptors {
    fn lookup(&self, name: &[u8]) -> Result<Found> {
        let open = number(name).filter(|&fd| current().files.lock().get(fd).is_ok());
        Ok(Found::just_now(
            open.map(|fd| (self.make)(self.metadata.device, fd)),
        ))
    }

    fn list(&self) -> Result<Vec<Record>> {
        let numbers = current().files.lock().numbers();
        let record = |fd: i32| Record {
            number: self.metadata.number + 1 + fd as u64,
            kind: self.kind,
            name: format!("{fd}").into_bytes().into_boxed_slice(),
        };
        Ok(numbers.into_iter().map(record).collect())
    }
}
