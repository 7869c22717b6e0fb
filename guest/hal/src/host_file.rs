//! Files of the host that an address space shows as they lie in the host's page cache.
//!
//! A server of files hands one over under a token of the kernel's choice, by a way of the
//! platform's own; only the cell has one. What is mapped of it can be read and executed, never
//! written, and costs the machine no memory.

use alloc::collections::BTreeMap;

use crate::LinearAddress;
use crate::platform::{MapError, Protection, lower};
use crate::sync::Mutex;

/// What a platform has that can map files of the host.
pub(crate) trait HostFiles: Sync {
    /// The next file that was handed over: its token and its descriptor. Does not wait.
    fn receive(&self) -> Option<(u64, i32)>;

    /// Maps a file from `offset` on, replacing what was there.
    ///
    /// # Errors
    /// When there is no room for another mapping, or the host maps no file like this one.
    fn map(
        &self,
        descriptor: i32,
        linear: LinearAddress,
        offset: u64,
        length: u64,
        protection: Protection,
    ) -> Result<(), MapError>;

    /// Forgets a file; what is mapped of it stays.
    fn close(&self, descriptor: i32);
}

/// Came for others, who have yet to look.
static OTHERS: Mutex<BTreeMap<u64, i32>> = Mutex::new(BTreeMap::new());

/// A file of the host, forgotten when dropped.
#[derive(Debug)]
pub struct HostFile {
    descriptor: i32,
}

impl HostFile {
    /// Whether this platform can show files of the host.
    #[must_use]
    pub fn can_be_had() -> bool {
        lower().host_files().is_some()
    }

    /// Takes the file that was handed over under `token`. `None` when it did not come: the cell
    /// may have as many descriptors as it can.
    #[must_use]
    pub fn receive(token: u64) -> Option<Self> {
        let files = lower().host_files()?;
        let mut others = OTHERS.lock();
        loop {
            if let Some(descriptor) = others.remove(&token) {
                return Some(Self { descriptor });
            }
            let (came, descriptor) = files.receive()?;
            others.insert(came, descriptor);
        }
    }

    /// Maps `length` bytes from `offset` on (both whole pages) at `linear`, replacing what was
    /// there. Writing is left out of `protection`; who may do anything may read.
    ///
    /// # Errors
    /// When there is no room for another mapping, or the host maps no file like this one.
    pub fn map(
        &self,
        linear: LinearAddress,
        offset: u64,
        length: u64,
        protection: Protection,
    ) -> Result<(), MapError> {
        let files = lower().host_files().ok_or(MapError)?;
        files.map(self.descriptor, linear, offset, length, shown(protection))
    }

    /// Changes the rights of what is mapped, as in [`HostFile::map`].
    ///
    /// # Errors
    /// As there.
    pub fn protect(
        &self,
        linear: LinearAddress,
        length: u64,
        protection: Protection,
    ) -> Result<(), MapError> {
        lower().protect(linear, length, shown(protection))
    }
}

/// What the host is to allow where the program may do `protection`.
const fn shown(protection: Protection) -> Protection {
    if protection.contains(Protection::EXECUTE) {
        Protection::READ.union(Protection::EXECUTE)
    } else if protection.bits() == 0 {
        Protection::NONE
    } else {
        Protection::READ
    }
}

impl Drop for HostFile {
    fn drop(&mut self) {
        if let Some(files) = lower().host_files() {
            files.close(self.descriptor);
        }
    }
}
