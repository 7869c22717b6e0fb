//! The files that a guest starts from, read once and in ranges.
//!
//! Kernels are big; their parts go from the file to guest memory without a copy of the whole
//! in between. Whoever parses a header reads it once into a small buffer and believes the copy.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use machine_memory::GuestMemory;
use zerocopy::FromBytes;

use crate::error::BootError;

/// Largest kernel that is accepted, in bytes.
pub const KERNEL_MAX: u64 = 1 << 30;
/// Most that is moved by one call, in bytes.
const STEP: u64 = 1 << 30;

/// What a file is to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The kernel.
    Kernel,
    /// An initial RAM disk, or a module of a Multiboot kernel.
    Module,
}

impl Part {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "the kernel",
            Self::Module => "the initial RAM disk",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A kernel, an initial RAM disk or a module.
#[derive(Debug)]
pub struct Image {
    part: Part,
    name: String,
    bytes: Bytes,
    length: u64,
}

#[derive(Debug)]
enum Bytes {
    File(File),
    Memory(Vec<u8>),
}

impl Image {
    /// Opens a file.
    ///
    /// # Errors
    /// When it cannot be opened, is empty or no regular file, or is larger than [`KERNEL_MAX`]
    /// though it is to be a kernel.
    pub fn open(part: Part, path: &Path) -> Result<Self, BootError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // A pipe would wait for its writer; what it is can be seen without opening it.
        let read = |error| BootError::Read { part, error };
        if !path.metadata().map_err(read)?.is_file() {
            return Err(BootError::NotRegular(part));
        }
        Self::from_file(part, &name, File::open(path).map_err(read)?)
    }

    /// From an open file; `name` is what a Multiboot kernel sees as its name.
    ///
    /// # Errors
    /// As [`Image::open`].
    pub fn from_file(part: Part, name: &str, file: File) -> Result<Self, BootError> {
        let metadata = file.metadata();
        let metadata = metadata.map_err(|error| BootError::Read { part, error })?;
        if !metadata.is_file() {
            return Err(BootError::NotRegular(part));
        }
        Self::new(part, name, Bytes::File(file), metadata.len())
    }

    /// From bytes that are in the monitor's memory already.
    ///
    /// # Errors
    /// When there are none, or too many.
    pub fn from_bytes(part: Part, name: &str, bytes: Vec<u8>) -> Result<Self, BootError> {
        let length = bytes.len() as u64;
        Self::new(part, name, Bytes::Memory(bytes), length)
    }

    fn new(part: Part, name: &str, bytes: Bytes, length: u64) -> Result<Self, BootError> {
        if length == 0 {
            return Err(BootError::Empty(part));
        }
        if part == Part::Kernel && length > KERNEL_MAX {
            let limit = KERNEL_MAX;
            return Err(BootError::FileTooLarge {
                part,
                length,
                limit,
            });
        }
        let name = name.to_owned();
        Ok(Self {
            part,
            name,
            bytes,
            length,
        })
    }

    /// Its length when it was opened, in bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn truncated(&self, missing: &'static str) -> BootError {
        let part = self.part;
        BootError::Truncated { part, missing }
    }

    /// Its first bytes, at most `most`; fewer when it is shorter.
    pub(crate) fn head(&self, most: usize) -> Result<Vec<u8>, BootError> {
        let length = usize::try_from(self.length).map_or(most, |length| length.min(most));
        let mut head = vec![0; length];
        self.read(0, &mut head, "what it had when it was opened")?;
        Ok(head)
    }

    /// A structure of it.
    pub(crate) fn value<T: FromBytes + zerocopy::IntoBytes>(
        &self,
        offset: u64,
        missing: &'static str,
    ) -> Result<T, BootError> {
        let mut value = T::new_zeroed();
        self.read(offset, value.as_mut_bytes(), missing)?;
        Ok(value)
    }

    /// Fills `into` from `offset` on; `missing` is what it is, should the file end before.
    pub(crate) fn read(
        &self,
        offset: u64,
        into: &mut [u8],
        missing: &'static str,
    ) -> Result<(), BootError> {
        match &self.bytes {
            Bytes::File(file) => match file.read_exact_at(into, offset) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    Err(self.truncated(missing))
                }
                other => other.map_err(|error| self.failed(error)),
            },
            Bytes::Memory(bytes) => {
                let found = slice(bytes, offset, into.len() as u64);
                into.copy_from_slice(found.ok_or_else(|| self.truncated(missing))?);
                Ok(())
            }
        }
    }

    /// Copies `length` bytes from `offset` on to guest memory at `address`.
    pub(crate) fn load(
        &self,
        memory: &GuestMemory,
        address: u64,
        offset: u64,
        length: u64,
    ) -> Result<(), BootError> {
        match &self.bytes {
            Bytes::File(file) => self.load_file(memory, file, (address, offset, length)),
            Bytes::Memory(bytes) => {
                let found = slice(bytes, offset, length);
                let found = found.ok_or_else(|| self.truncated("what it is to load"))?;
                Ok(memory.write(address, found)?)
            }
        }
    }

    fn load_file(
        &self,
        memory: &GuestMemory,
        file: &File,
        (mut address, mut offset, mut length): (u64, u64, u64),
    ) -> Result<(), BootError> {
        while length > 0 {
            let step = u32::try_from(length.min(STEP)).unwrap_or(u32::MAX);
            let mut pieces = memory.pieces([(address, step)].into_iter())?;
            let got = match pieces.fill_from(file.as_fd(), Some(offset), step as usize) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.map_err(|error| self.failed(error))? as u64,
            };
            if got == 0 {
                return Err(self.truncated("what it had when it was opened"));
            }
            // Neither sum is larger than the end of a range that exists.
            address = address.saturating_add(got);
            offset = offset.saturating_add(got);
            length = length.saturating_sub(got);
        }
        Ok(())
    }

    const fn failed(&self, error: io::Error) -> BootError {
        let part = self.part;
        BootError::Read { part, error }
    }
}

fn slice(bytes: &[u8], offset: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let length = usize::try_from(length).ok()?;
    bytes.get(start..start.checked_add(length)?)
}
