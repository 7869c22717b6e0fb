//! Large pages of the host.
#![expect(unsafe_code, reason = "madvise takes an address")]

use rustix::mm::{Advice, madvise};

use crate::GuestMemory;

impl GuestMemory {
    /// Asks the host for large pages. It may not have any: then nothing changes but speed.
    pub fn prefer_large_pages(&self) {
        for region in self.regions() {
            let start = std::ptr::with_exposed_provenance_mut(region.host);
            // SAFETY: the region is mapped as long as `self` lives; the advice changes no byte
            // of it.
            let advised = unsafe { madvise(start, region.length as usize, Advice::LinuxHugepage) };
            // Refused by hosts that have none.
            let _ = advised;
        }
    }
}
