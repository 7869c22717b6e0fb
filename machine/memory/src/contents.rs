//! All that is in memory, for whoever compares machines.

use std::os::unix::fs::FileExt;

use guest_abi::layout::PAGE_SIZE;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::{GuestMemory, MemoryError};

const PAGE: usize = PAGE_SIZE as usize;

impl GuestMemory {
    /// Calls with each page that is not all zeros: its guest-physical address and its bytes, by ascending address. What was never
    /// touched is not touched by that. The machine should not run meanwhile.
    ///
    /// # Errors
    /// When the memory's file cannot be read.
    pub fn each_page(&self, mut call: impl FnMut(u64, &[u8; PAGE])) -> Result<(), MemoryError> {
        let failed = |error: std::io::Error| MemoryError::Create(format!("guest memory: {error}"));
        for region in self.regions() {
            let end = region.offset + region.length;
            let mut at = region.offset;
            while let Some((from, to)) = self.data(at).map_err(|error| failed(error.into()))? {
                let (from, to) = (from.max(at), to.min(end));
                for offset in (from..to).step_by(PAGE) {
                    let mut page = [0; PAGE];
                    self.file.read_exact_at(&mut page, offset).map_err(failed)?;
                    if page.iter().any(|byte| *byte != 0) {
                        call(region.guest + (offset - region.offset), &page);
                    }
                }
                at = to.max(from);
                if at >= end {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The next part of the file that exists.
    fn data(&self, at: u64) -> rustix::io::Result<Option<(u64, u64)>> {
        let file = self.file.as_ref();
        match seek(file, SeekFrom::Data(at)) {
            Ok(from) => Ok(Some((from, seek(file, SeekFrom::Hole(from))?))),
            // Nothing more.
            Err(Errno::NXIO) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HOLE, create};

    #[test]
    fn pages_that_are_not_zero_are_called_with_where_the_guest_has_them() {
        let memory = create(HOLE.start + 0x10_0000).unwrap();
        memory.write(0x5ff8, b"first").unwrap();
        memory.write(0x7000, &[0; 8]).unwrap();
        memory.write(HOLE.end + 0x3000, b"last").unwrap();
        let mut seen = Vec::new();
        let call = |address, page: &[u8; PAGE]| seen.push((address, page[0xff8], page[0]));
        memory.each_page(call).unwrap();
        assert_eq!(seen, [(0x5000, b'f', 0), (HOLE.end + 0x3000, 0, b'l')]);
    }
}
