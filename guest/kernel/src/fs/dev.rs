//! `/dev`.

use alloc::sync::Arc;

use guest_hal::LinearAddress;
use linux_raw_sys::general as raw;

use super::buffer::{Destination, Origin};
use super::console::Stream;
use super::file::{Events, File, Io, Positioning};
use super::inode::{FileSystem, Inode};
use super::metadata::{FileKind, Metadata};
use super::pseudo::{PseudoFs, Tree, metadata};
use crate::{Errno, Result, random};

const TMPFS_MAGIC: u64 = 0x0102_1994;

/// A device of memory (`drivers/char/mem.c`): what opening it gives, and its numbers.
struct Device {
    metadata: Metadata,
    open: fn() -> Result<Arc<dyn File>>,
}

impl core::fmt::Debug for Device {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Device")
            .field("number", &self.metadata.represented)
            .finish()
    }
}

impl Inode for Device {
    fn kind(&self) -> FileKind {
        FileKind::CharacterDevice
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(self.metadata)
    }

    fn open(self: Arc<Self>, _: u32) -> Result<Arc<dyn File>> {
        (self.open)()
    }
}

/// Reads as nothing, swallows everything.
#[derive(Debug)]
struct NullFile;

impl File for NullFile {
    fn read(&self, _: Io, _: &mut Destination<'_>) -> Result<()> {
        Ok(())
    }

    fn write(&self, _: Io, from: &mut Origin<'_>) -> Result<()> {
        from.skip(u64::MAX);
        Ok(())
    }

    fn positioning(&self) -> Positioning {
        Positioning::Description
    }
}

/// Reads as zeros, swallows everything.
#[derive(Debug)]
pub struct ZeroFile;

impl File for ZeroFile {
    fn read(&self, _: Io, into: &mut Destination<'_>) -> Result<()> {
        into.put_zeros(u64::MAX)
    }

    fn write(&self, _: Io, from: &mut Origin<'_>) -> Result<()> {
        from.skip(u64::MAX);
        Ok(())
    }

    fn positioning(&self) -> Positioning {
        Positioning::Description
    }
}

/// Reads as zeros, is full.
#[derive(Debug)]
struct FullFile;

impl File for FullFile {
    fn read(&self, _: Io, into: &mut Destination<'_>) -> Result<()> {
        into.put_zeros(u64::MAX)
    }

    fn write(&self, _: Io, from: &mut Origin<'_>) -> Result<()> {
        if from.remaining() == 0 {
            Ok(())
        } else {
            Err(Errno::ENOSPC)
        }
    }

    fn positioning(&self) -> Positioning {
        Positioning::Description
    }
}

/// Reads as random bytes.
#[derive(Debug)]
struct RandomFile;

impl File for RandomFile {
    fn read(&self, _: Io, into: &mut Destination<'_>) -> Result<()> {
        let mut bytes = [0; 256];
        while into.remaining() > 0 {
            let length = (into.remaining() as usize).min(bytes.len());
            let piece = bytes.get_mut(..length).unwrap_or_default();
            random::fill(piece);
            into.put(piece)?;
        }
        Ok(())
    }

    fn write(&self, _: Io, from: &mut Origin<'_>) -> Result<()> {
        from.skip(u64::MAX);
        Ok(())
    }

    fn positioning(&self) -> Positioning {
        Positioning::Description
    }

    fn control(&self, command: u32, argument: LinearAddress) -> Result<u64> {
        /// Asks how much entropy there is.
        const RNDGETENTCNT: u32 = 0x8004_5200;
        if command != RNDGETENTCNT {
            return Err(Errno::ENOTTY);
        }
        crate::uaccess::write(argument, &256u32.to_le_bytes())?;
        Ok(0)
    }

    fn poll(&self) -> Events {
        raw::POLLIN | raw::POLLOUT | raw::POLLRDNORM | raw::POLLWRNORM
    }
}

/// The terminal of the standard streams, if one of them is a terminal.
fn open_terminal() -> Result<Arc<dyn File>> {
    use guest_abi::fuse::{STDERR, STDIN, STDOUT};
    for node in [STDIN, STDOUT, STDERR] {
        let stream = Stream::of_kind(node, FileKind::CharacterDevice)?;
        if stream.is_terminal() {
            return Ok(stream);
        }
    }
    Err(Errno::ENXIO)
}

const fn number(major: u64, minor: u64) -> u64 {
    major << 8 | minor
}

/// `/dev`.
#[must_use]
pub fn file_system() -> Arc<dyn FileSystem> {
    let id = super::mount::new_device();
    let device = |permissions, represented, open| -> Arc<dyn Inode> {
        let metadata = metadata(id, raw::S_IFCHR | permissions);
        Arc::new(Device {
            metadata: Metadata {
                represented,
                ..metadata
            },
            open,
        })
    };
    let root = Tree::new(id)
        .mode(0o755)
        .with(
            "null",
            device(0o666, number(1, 3), || Ok(Arc::new(NullFile))),
        )
        .with(
            "zero",
            device(0o666, number(1, 5), || Ok(Arc::new(ZeroFile))),
        )
        .with(
            "full",
            device(0o666, number(1, 7), || Ok(Arc::new(FullFile))),
        )
        .with(
            "random",
            device(0o666, number(1, 8), || Ok(Arc::new(RandomFile))),
        )
        .with(
            "urandom",
            device(0o666, number(1, 9), || Ok(Arc::new(RandomFile))),
        )
        .with("tty", device(0o666, number(5, 0), open_terminal))
        .with("console", device(0o600, number(5, 1), open_terminal))
        .with("ptmx", device(0o666, number(5, 2), || Err(Errno::ENOSPC)))
        .link("fd", "/proc/self/fd")
        .link("stdin", "/proc/self/fd/0")
        .link("stdout", "/proc/self/fd/1")
        .link("stderr", "/proc/self/fd/2")
        .link("core", "/proc/kcore")
        .directory("pts", |tree| tree.mode(0o755))
        .directory("mqueue", |tree| tree.mode(0o1777))
        .directory("shm", |tree| tree.mode(0o1777));
    Arc::new(PseudoFs {
        name: "devtmpfs",
        magic: TMPFS_MAGIC,
        root: Arc::new(root),
    })
}
