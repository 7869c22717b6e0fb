//! Memory between the program and a server: a request may not refer to the program's own
//! memory, which need not be there.

use guest_abi::layout::PAGE_SIZE;
use guest_hal::memory::Extent;
use guest_hal::sync::Mutex;

use crate::{Errno, Result};

/// Bytes of a bounce buffer.
pub const SIZE: u64 = 1 << 20;

static SPARE: Mutex<Option<Extent>> = Mutex::new(None);

/// Lends a buffer of [`SIZE`] bytes. Nothing is locked meanwhile.
///
/// # Errors
/// `ENOMEM`; what `with` returns.
pub fn with<T>(with: impl FnOnce(&Extent) -> Result<T>) -> Result<T> {
    let spare = SPARE.lock().take();
    let extent = match spare {
        Some(extent) => extent,
        None => Extent::allocate(SIZE, PAGE_SIZE, None).ok_or(Errno::ENOMEM)?,
    };
    let result = with(&extent);
    let other = SPARE.lock().replace(extent);
    drop(other);
    result
}
