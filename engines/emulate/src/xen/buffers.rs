//! The guest's memory by the linear addresses of a call's arguments.
//!
//! A page is translated as an access of the caller's is, and only memory is read and written: not devices.

use x86_paging::{Access, Kind};
use x86_semantics::is_canonical;

use super::{Call, Errno, PAGE_SIZE};
use crate::bus::Place;

impl<'m> Call<'_, 'm> {
    /// A copy of a structure.
    pub(super) fn take<const BYTES: usize>(&mut self, address: u64) -> Result<[u8; BYTES], Errno> {
        let mut structure = [0; BYTES];
        let mut rest = &mut structure[..];
        let mut at = check(address, BYTES)?;
        while !rest.is_empty() {
            let place = self.place(at, Kind::Read)?;
            let (part, behind) = rest.split_at_mut(room(at).min(rest.len()));
            self.bus.read_place(place, part);
            at = at.wrapping_add(part.len() as u64);
            rest = behind;
        }
        Ok(structure)
    }

    /// Writes bytes; where that fails, those before may be written.
    pub(super) fn give(&mut self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let mut rest = bytes;
        let mut at = check(address, bytes.len())?;
        while !rest.is_empty() {
            let place = self.place(at, Kind::Write)?;
            let (part, behind) = rest.split_at(room(at).min(rest.len()));
            self.bus.write_place(place, part);
            at = at.wrapping_add(part.len() as u64);
            rest = behind;
        }
        Ok(())
    }

    fn place(&mut self, linear: u64, kind: Kind) -> Result<Place<'m>, Errno> {
        let privilege = self.privilege;
        match self.bus.place(linear, Access { kind, privilege }) {
            Ok(place @ (Place::Memory { .. } | Place::Beside { .. })) => Ok(place),
            Ok(Place::Device(_)) | Err(_) => Err(Errno::Fault),
        }
    }
}

/// Bytes up to the page's end.
const fn room(at: u64) -> usize {
    (PAGE_SIZE - at % PAGE_SIZE) as usize
}

/// The address, if so many bytes from there on have addresses.
fn check(address: u64, bytes: usize) -> Result<u64, Errno> {
    let last = address.checked_add((bytes as u64).saturating_sub(1));
    let has_addresses = last.is_some_and(is_canonical) && is_canonical(address);
    if has_addresses {
        Ok(address)
    } else {
        Err(Errno::Fault)
    }
}
