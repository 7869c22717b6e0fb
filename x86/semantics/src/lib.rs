//! What x86 instructions do with values and flags: pure functions, without registers or memory.
//!
//! A value of some [`Size`] is a `u64` whose other bits are zero, on the way in and on the way out.
//! [`Flags`] holds the six arithmetic flags so that they cost little to make: they are
//! worked out when somebody asks. With a constant size each function is a few instructions of the
//! host, which is what an interpreter's fast paths want; whoever has the size as a value calls the
//! same.
//!
//! After the SDM, vol. 2 (the operation of each instruction), and vol. 1, appendix A (flags). Where
//! it calls a flag undefined, the value here is one that makes the
//! computation shortest.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod arithmetic;
pub mod bits;
mod condition;
pub mod decimal;
mod flags;
pub mod multiply;
pub mod shift;
mod size;

pub use condition::Condition;
pub use flags::Flags;
pub use size::Size;
