//! Memory as an instruction sees it: by linear addresses.

use crate::{Exception, Size};

/// Whether a program is allowed an access, and what it finds there. Whoever implements it knows the
/// privilege level, translates, and splits what crosses pages: both pages are looked at before
/// anything is written.
pub trait Memory {
    /// Reads a value. With `for_writing` the place must be writable, too: it is written next.
    ///
    /// # Errors
    /// A page fault, or what else the access raises.
    fn read(&mut self, address: u64, size: Size, for_writing: bool) -> Result<u64, Exception>;

    /// Writes a value.
    ///
    /// # Errors
    /// As for reading.
    fn write(&mut self, address: u64, size: Size, value: u64) -> Result<(), Exception>;

    /// Writes the new value if there is the old one, in one step for all virtual CPUs; whether it did.
    ///
    /// # Errors
    /// As for reading.
    fn exchange(
        &mut self,
        address: u64,
        size: Size,
        old_and_new: (u64, u64),
    ) -> Result<bool, Exception>;
}
