//! The program's memory as a device sees it, for transfers that need no copy.

use guest_hal::Protection;
use guest_hal::memory::Extent;

use super::buffer::Segment;
use crate::process::current;

/// Below this a copy is cheaper than finding out.
const LEAST: u64 = 8 << 10;

/// Calls `transfer` with the extent that holds a piece of the program's memory, the offset
/// and the length; `None` if it is not in one extent, is short, or may not be accessed like
/// that. The program's memory cannot change meanwhile.
pub(super) fn with<T>(
    segment: Segment,
    access: Protection,
    transfer: impl FnOnce(&Extent, u64, u64) -> T,
) -> Option<T> {
    let Segment { address, length } = segment;
    if length < LEAST {
        return None;
    }
    let memory = current().memory.lock();
    let (start, area) = memory.area_at(address)?;
    let offset = address.0.checked_sub(start.0)?;
    let extent = area.private_memory()?;
    let inside = offset.checked_add(length)? <= extent.len();
    let allowed = area.protection.contains(access);
    (inside && allowed).then(|| transfer(extent, offset, length))
}
