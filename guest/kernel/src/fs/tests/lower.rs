//! A lower file system that only exists in tests: a fixed tree whose regular files can be
//! read into extents.

use alloc::sync::Arc;
use alloc::vec::Vec;

use guest_hal::memory::Extent;
use linux_raw_sys::general as raw;

use crate::fs::buffer::{Destination, Origin};
use crate::fs::file::{File, Io, Positioning, Regular};
use crate::fs::inode::{FileSystem, Inode};
use crate::fs::metadata::{FileKind, Metadata};
use crate::fs::pages::PageStore;
use crate::fs::pseudo::{PseudoFs, Tree, metadata};
use crate::{Errno, Result};

/// What the big lower file holds at an offset.
pub(super) const fn byte_at(offset: u64) -> u8 {
    (offset % 251) as u8
}

/// Length of the big lower file.
pub(super) const BIG: u64 = 100_000;

/// A regular file of fixed content.
#[derive(Debug)]
struct Fixed {
    metadata: Metadata,
    bytes: Vec<u8>,
}

fn fixed(device: u64, bytes: Vec<u8>) -> Arc<Fixed> {
    let size = bytes.len() as u64;
    Arc::new(Fixed {
        metadata: Metadata {
            size,
            ..metadata(device, raw::S_IFREG | 0o644)
        },
        bytes,
    })
}

impl Inode for Fixed {
    fn kind(&self) -> FileKind {
        FileKind::Regular
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(self.metadata)
    }

    fn open(self: Arc<Self>, flags: u32) -> Result<Arc<dyn File>> {
        assert_eq!(
            flags & raw::O_ACCMODE,
            raw::O_RDONLY,
            "the lower file is only read"
        );
        Ok(Arc::new(OpenFixed(self)))
    }
}

#[derive(Debug)]
struct OpenFixed(Arc<Fixed>);

impl OpenFixed {
    fn from(&self, offset: u64) -> &[u8] {
        self.0.bytes.get(offset as usize..).unwrap_or_default()
    }
}

impl File for OpenFixed {
    fn read(&self, io: Io, into: &mut Destination<'_>) -> Result<()> {
        into.put(self.from(io.offset()))
    }

    fn write(&self, _: Io, _: &mut Origin<'_>) -> Result<()> {
        panic!("the lower file is only read")
    }

    fn positioning(&self) -> Positioning {
        Positioning::Description
    }

    fn as_regular(&self) -> Option<&dyn Regular> {
        Some(self)
    }
}

impl Regular for OpenFixed {
    fn size(&self) -> Result<u64> {
        Ok(self.0.metadata.size)
    }

    fn truncate(&self, _: u64) -> Result<()> {
        panic!("the lower file is only read")
    }

    fn read_into_extent(&self, offset: u64, extent: &Extent, at: u64, length: u64) -> Result<u64> {
        let from = self.from(offset);
        let from = from.get(..length as usize).unwrap_or(from);
        extent.write(at, from);
        Ok(from.len() as u64)
    }

    fn pages(&self) -> Result<Arc<PageStore>> {
        Err(Errno::ENODEV)
    }
}

/// `/big`, `/dir/small`, `/dir/sub/deep`, `/link` to `dir/small`.
pub(super) fn file_system() -> Arc<dyn FileSystem> {
    let device = 7;
    let big = (0..BIG).map(byte_at).collect();
    let root = Tree::new(device)
        .mode(0o755)
        .with("big", fixed(device, big))
        .link("link", "dir/small")
        .directory("dir", |tree| {
            tree.mode(0o755)
                .with("small", fixed(device, b"small".into()))
                .directory("sub", |tree| {
                    tree.mode(0o755).with("deep", fixed(device, b"deep".into()))
                })
        });
    Arc::new(PseudoFs {
        name: "lower",
        magic: 0,
        root: Arc::new(root),
    })
}
