//! qcow2 images, by the `imago` crate.
//!
//! Every file below an image (backing files, an external data file) is opened and locked as
//! the image itself is, but a backing file and what lies below it only for reading. An image may
//! name any file of the host: whoever opens an image trusts whoever made it that far.

mod check;

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use imago::file::File as Storage;
use imago::format::builder::FormatDriverBuilder;
use imago::format::gate::ImplicitOpenGate;
use imago::qcow2::Qcow2;
use imago::{FormatAccess, StorageOpenOptions};

use crate::disk::{Disk, DiskError, SECTOR, Sink, Source, check_range, check_writable};
use crate::file;
use crate::open::identity;

/// Bytes moved at a time, through a buffer of the thread.
const BUFFER: usize = 128 << 10;
/// Most images below each other.
const DEPTH_MAX: u32 = 32;

thread_local! {
    static PIECE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A disk in a qcow2 image.
pub(crate) struct Qcow2Disk {
    /// Written to give space back, since that must not overtake another request.
    image: RwLock<FormatAccess<Storage>>,
    size: u64,
    read_only: bool,
    identity: String,
}

impl fmt::Debug for Qcow2Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Qcow2Disk")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Qcow2Disk {
    pub(crate) fn new(file: File, path: &Path, read_only: bool) -> io::Result<Self> {
        if !read_only {
            check::check(&file)?;
        }
        let options = StorageOpenOptions::new().filename(path).write(!read_only);
        let storage = Storage::from_open_file(file, options)?;
        let builder = Qcow2::<Storage>::builder(storage).write(!read_only);
        let image = FormatAccess::new(builder.open(Gate {
            depth: 0,
            writable: !read_only,
        })?);
        Ok(Self {
            size: image.size() / SECTOR * SECTOR,
            image: RwLock::new(image),
            read_only,
            identity: identity(path),
        })
    }

    fn image(&self) -> RwLockReadGuard<'_, FormatAccess<Storage>> {
        self.image.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for Qcow2Disk {
    fn size(&self) -> u64 {
        self.size
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn read_at(&self, offset: u64, into: &mut dyn Sink) -> Result<(), DiskError> {
        check_range(self.size, offset, into.remaining() as u64)?;
        let image = self.image();
        let mut offset = offset;
        while into.remaining() > 0 {
            let count = into.remaining().min(BUFFER);
            PIECE.with_borrow_mut(|piece| {
                piece.resize(count, 0);
                image.read(&mut *piece, offset)?;
                into.write(piece);
                io::Result::Ok(())
            })?;
            offset += count as u64;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, from: &mut dyn Source) -> Result<(), DiskError> {
        check_writable(self, offset, from.remaining() as u64)?;
        let image = self.image();
        let mut offset = offset;
        while from.remaining() > 0 {
            let count = from.remaining().min(BUFFER);
            PIECE.with_borrow_mut(|piece| {
                piece.resize(count, 0);
                from.read(piece);
                image.write(&*piece, offset)
            })?;
            offset += count as u64;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), DiskError> {
        if self.read_only {
            return Ok(());
        }
        let image = self.image();
        image.flush()?;
        Ok(image.sync()?)
    }

    fn discard(&self, offset: u64, length: u64) -> Result<(), DiskError> {
        check_writable(self, offset, length)?;
        let mut image = self.image.write().unwrap_or_else(PoisonError::into_inner);
        match image.discard_to_any(offset, length) {
            Err(error) if error.kind() != io::ErrorKind::Unsupported => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn write_zeroes(&self, offset: u64, length: u64, unmap: bool) -> Result<(), DiskError> {
        check_writable(self, offset, length)?;
        if !unmap {
            return Ok(self.image().write_zeroes(offset, length)?);
        }
        let mut image = self.image.write().unwrap_or_else(PoisonError::into_inner);
        Ok(image.discard_to_zero(offset, length)?)
    }
}

/// Opens what images refer to.
struct Gate {
    depth: u32,
    /// The image that refers is written.
    writable: bool,
}

impl ImplicitOpenGate<Storage> for Gate {
    fn open_format<F: FormatDriverBuilder<Storage>>(
        &mut self,
        builder: F,
    ) -> io::Result<FormatAccess<Storage>> {
        if self.depth == DEPTH_MAX {
            return Err(io::Error::other("too many backing files below each other"));
        }
        let below = Self {
            depth: self.depth + 1,
            writable: false,
        };
        Ok(FormatAccess::new(builder.open(below)?))
    }

    fn open_storage(&mut self, options: StorageOpenOptions) -> io::Result<Storage> {
        let path = options.get_filename().unwrap_or(Path::new("")).to_owned();
        // An external data file is asked for as one to write, whatever its image is.
        let writable = options.get_writable() && self.writable;
        let options = options.write(writable);
        let file = file::open(&path, writable);
        let file = file.map_err(|reason| {
            let path = path.display();
            io::Error::other(format!("its file {path} {reason}"))
        })?;
        Storage::from_open_file(file, options)
    }
}
