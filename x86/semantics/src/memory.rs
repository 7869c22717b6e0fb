//! Memory as an instruction sees it: by linear addresses.

use x86_paging::{Access, Privilege};

use crate::{Exception, Size, System};

/// Whether somebody is allowed an access, and what is there. Whoever implements it translates, and splits
/// what crosses pages: both pages are looked at before anything is written.
pub trait Memory {
    /// Reads a value. An access of the kind [`Kind::Write`](x86_paging::Kind::Write) is for a place that is
    /// written next.
    ///
    /// # Errors
    /// A page fault, or what else the access raises.
    fn read(&mut self, address: u64, size: Size, access: Access) -> Result<u64, Exception>;

    /// Writes a value.
    ///
    /// # Errors
    /// As for reading.
    fn write(
        &mut self,
        address: u64,
        size: Size,
        value: u64,
        privilege: Privilege,
    ) -> Result<(), Exception>;

    /// Writes the new value if there is the old one, in one step for all virtual CPUs; whether it did.
    ///
    /// # Errors
    /// As for reading.
    fn exchange(
        &mut self,
        address: u64,
        size: Size,
        old_and_new: (u64, u64),
        privilege: Privilege,
    ) -> Result<bool, Exception>;

    /// Reads bytes, which may cross a page.
    ///
    /// # Errors
    /// As for reading.
    fn read_bytes(
        &mut self,
        address: u64,
        into: &mut [u8],
        access: Access,
    ) -> Result<(), Exception>;

    /// Writes bytes; both pages of those that cross one are looked at before anything is written.
    ///
    /// # Errors
    /// As for reading.
    fn write_bytes(
        &mut self,
        address: u64,
        bytes: &[u8],
        privilege: Privilege,
    ) -> Result<(), Exception>;

    /// What is around the processor, for the instructions of systems; without, they are unknown.
    fn system(&mut self) -> Option<&mut dyn System> {
        None
    }
}
