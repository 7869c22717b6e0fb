//! The host's random numbers.

use rustix::rand::{GetRandomFlags, getrandom};

/// One; `None` when the host has none to give now.
#[must_use]
pub fn number() -> Option<u64> {
    let mut bytes = [0; 8];
    let filled = getrandom(&mut bytes, GetRandomFlags::NONBLOCK);
    (filled == Ok(bytes.len())).then(|| u64::from_le_bytes(bytes))
}
