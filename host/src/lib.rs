//! The host system calls that no library wraps safely.
//!
//! Everything else goes through `rustix`. Depends on nothing of Husk's.

pub mod allocator;
pub mod cpu;
pub mod fault;
pub mod image;
pub mod inherited;
pub mod net;
pub mod process;
pub mod random;
