//! qcow2 images, by the `imago` crate.
//!
//! Backing files are opened and locked as the image itself is, but only for reading, and only where
//! [`Backing`] allows it: an image may come from anywhere, and its guest reads what it names.
//! External data files, which would be written, are refused.

mod check;

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use imago::file::File as Storage;
use imago::format::builder::FormatDriverBuilder;
use imago::format::gate::ImplicitOpenGate;
use imago::qcow2::Qcow2;
use imago::{FormatAccess, StorageOpenOptions};

use crate::disk::{Disk, DiskError, SECTOR, Sink, Source, check_range, check_writable};
use crate::file;
use crate::open::{Backing, Options, identity};

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
    pub(crate) fn new(file: File, how: &Options) -> io::Result<Self> {
        let (path, read_only) = (how.path.as_path(), how.read_only);
        if !read_only {
            check::check(&file)?;
        }
        let options = StorageOpenOptions::new().filename(path).write(!read_only);
        let storage = Storage::from_open_file(file, options)?;
        let builder = Qcow2::<Storage>::builder(storage).write(!read_only);
        let image = FormatAccess::new(builder.open(Gate {
            depth: 0,
            folder: folder(how)?,
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

/// The folder to which backing files are confined.
fn folder(how: &Options) -> io::Result<Option<PathBuf>> {
    if how.backing == Backing::Anywhere {
        return Ok(None);
    }
    let image = how.path.canonicalize()?;
    Ok(Some(image.parent().unwrap_or(&image).to_owned()))
}

/// Opens what images refer to.
struct Gate {
    depth: u32,
    /// Where it must lie; `None`: anywhere.
    folder: Option<PathBuf>,
}

impl Gate {
    fn open(&self, path: &Path) -> io::Result<File> {
        let refused =
            |why: &dyn fmt::Display| io::Error::other(format!("its file {} {why}", path.display()));
        // What is opened is what was looked at.
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(error) => return Err(refused(&file::reason(error, false))),
        };
        let outside = |folder: &PathBuf| !real.starts_with(folder);
        if self.folder.as_ref().is_some_and(outside) {
            return Err(refused(
                &"lies outside of the image's folder (add ,backing=anywhere if you trust the image)",
            ));
        }
        file::open(&real, false).map_err(|reason| refused(&reason))
    }
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
            folder: self.folder.clone(),
        };
        Ok(FormatAccess::new(builder.open(below)?))
    }

    fn open_storage(&mut self, options: StorageOpenOptions) -> io::Result<Storage> {
        // An external data file is asked for as one to write, whatever its image is.
        if options.get_writable() {
            let why = "it has an external data file (convert it: qemu-img convert -O qcow2)";
            return Err(io::Error::other(why));
        }
        let path = options.get_filename().unwrap_or(Path::new("")).to_owned();
        Storage::from_open_file(self.open(&path)?, options)
    }
}
