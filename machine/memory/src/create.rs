//! The guest's memory: one file in the host's memory.
//!
//! It can neither shrink nor grow, so that no process that gets hold of it can take away
//! what is mapped. Pages come from the host when they are touched, large ones where it has them.

use std::fs::File;
use std::ops::Range;

use guest_abi::layout;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use crate::{GuestMemory, MemoryError};

/// Where devices are and no memory: the last GiB below 4 GiB.
pub const HOLE: Range<u64> = 0xc000_0000..0x1_0000_0000;

/// Memory of so many bytes, rounded up to whole pages, for a machine with devices below 4 GiB.
///
/// # Errors
/// When it is none at all, or the host has no room for it.
pub fn create(bytes: u64) -> Result<GuestMemory, MemoryError> {
    let bytes = layout::page_up(bytes);
    if bytes == 0 {
        let sentence = "a machine needs memory (change --memory)";
        return Err(MemoryError::Create(sentence.to_owned()));
    }
    let memory = GuestMemory::with_hole(file(bytes)?, bytes, HOLE)?;
    memory.prefer_large_pages();
    Ok(memory)
}

fn file(bytes: u64) -> Result<File, MemoryError> {
    let fail = |error: rustix::io::Errno| {
        MemoryError::Create(format!(
            "the host gives no {bytes} bytes of memory: {error}"
        ))
    };
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create("husk-memory", flags).map_err(fail)?;
    ftruncate(&file, bytes).map_err(fail)?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(&file, seals).map_err(fail)?;
    Ok(File::from(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn three_gibibytes_lie_below_the_hole_and_the_rest_above() {
        let places = |bytes| {
            let memory = create(bytes).unwrap();
            let regions = memory.regions().iter();
            regions.map(|r| (r.guest, r.length)).collect::<Vec<_>>()
        };
        assert_eq!(places(1), [(0, 4096)]);
        assert_eq!(places(3 * GIB), [(0, 3 * GIB)]);
        assert_eq!(places(3 * GIB + 1), [(0, 3 * GIB), (4 * GIB, 4096)]);
        assert_eq!(places(7 * GIB), [(0, 3 * GIB), (4 * GIB, 4 * GIB)]);
    }

    #[test]
    fn no_memory_is_refused() {
        assert!(create(0).unwrap_err().to_string().contains("--memory"));
        assert!(create(u64::MAX).is_err());
    }

    #[test]
    fn the_file_keeps_its_size() {
        let file = file(8192).unwrap();
        assert!(file.set_len(4096).is_err());
        assert!(file.set_len(16384).is_err());
    }
}
