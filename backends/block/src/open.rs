//! From a path and a format to a disk, or one sentence that says why not.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::disk::{Disk, SECTOR};
use crate::file;
use crate::qcow2::Qcow2Disk;
use crate::raw::RawDisk;

/// First bytes of a qcow2 image.
const QCOW2_MAGIC: [u8; 4] = *b"QFI\xfb";

/// How an image holds a disk's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The file is the disk.
    Raw,
    /// QEMU's format: grows with use, may have a backing file.
    Qcow2,
}

impl Format {
    /// What the first bytes of a file look like. The guest of a raw disk chooses them: guess
    /// only for images that no guest has written as raw, since a qcow2 header can name
    /// any file of the host as its backing file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn guess(path: &Path) -> io::Result<Self> {
        let mut magic = Vec::new();
        let file = file::open_at_once(path, false)?;
        file.take(4).read_to_end(&mut magic)?;
        Ok(if magic == QCOW2_MAGIC {
            Self::Qcow2
        } else {
            Self::Raw
        })
    }
}

/// Which disk to open, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The image.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// The guest must not write.
    pub read_only: bool,
    /// Where files may be that the image names.
    pub backing: Backing,
}

/// Which files of the host an image may name as its backing file, and these as theirs. They are
/// only read, and the guest sees what is in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backing {
    /// Those in the folder of the disk's image, or below it.
    #[default]
    Beside,
    /// Any that the monitor may read: whoever made the image is trusted.
    Anywhere,
}

/// Why an image cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// Nothing is there.
    #[error("does not exist")]
    Missing,
    /// It is a directory.
    #[error("is a directory, not a disk image")]
    Directory,
    /// It is neither a file nor a block device.
    #[error("is neither a file nor a block device")]
    Kind,
    /// Another machine has it open.
    #[error("is in use by another machine")]
    Locked,
    /// The file system is mounted read-only.
    #[error("cannot be written: its file system is read-only (open the disk read-only)")]
    ReadOnlyFileSystem,
    /// Its mode does not allow writing.
    #[error("may not be written by this user (open the disk read-only, or change its mode)")]
    NotWritable,
    /// Its mode does not allow reading.
    #[error("may not be read by this user")]
    NotReadable,
    /// It holds less than a sector.
    #[error("is empty")]
    Empty,
    /// It does not hold what the format says.
    #[error("cannot be used as a qcow2 image: {0}")]
    Corrupt(String),
    /// The host failed.
    #[error("cannot be opened: {0}")]
    Host(io::Error),
}

/// An image that cannot be opened, in one sentence.
#[derive(Debug, thiserror::Error)]
#[error("disk {path} {reason}")]
pub struct OpenError {
    /// The image.
    pub path: String,
    /// Why.
    pub reason: Reason,
}

/// Opens a disk and locks its file until it is dropped.
///
/// # Errors
/// When it cannot be opened, is no such image, or is in use.
pub fn open(options: &Options) -> Result<Box<dyn Disk>, OpenError> {
    let path = options.path.as_path();
    open_disk(options).map_err(|reason| OpenError {
        path: path.display().to_string(),
        reason,
    })
}

fn open_disk(options: &Options) -> Result<Box<dyn Disk>, Reason> {
    let file = file::open(&options.path, !options.read_only)?;
    let disk: Box<dyn Disk> = match options.format {
        Format::Raw => {
            let disk = RawDisk::new(file, &options.path, options.read_only);
            Box::new(disk.map_err(Reason::Host)?)
        }
        Format::Qcow2 => {
            let disk = Qcow2Disk::new(file, options);
            Box::new(disk.map_err(|error| Reason::Corrupt(error.to_string()))?)
        }
    };
    if disk.size() < SECTOR {
        return Err(Reason::Empty);
    }
    Ok(disk)
}

/// A name for a disk: that of its file.
pub(crate) fn identity(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}
