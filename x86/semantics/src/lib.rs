//! What x86 instructions do.
//!
//! Two layers. The functions of [`arithmetic`], [`multiply`], [`shift`], [`bits`] and [`decimal`] are of
//! values and [`Flags`] alone. A value of some [`Size`] is a `u64` whose other bits are zero, on the way in
//! and on the way out; flags cost little to make, and are worked out when somebody asks. With a constant
//! size each function is a few instructions of the host, which is what an interpreter's fast paths want.
//!
//! [`execute`] does what a whole instruction does, as iced-x86 has decoded it, to the registers of a [`Cpu`]
//! and to a [`Memory`]; it is the slow way, and the reference of the fast ones. It knows the integer
//! instructions that a program may use, with segments, and jumps, calls and returns to others at the same
//! privilege level ([`knows`]); what it does not know is `#UD`. Not here yet: gates, other levels, tasks, what
//! only a system may do, x87, vectors.
//!
//! After the SDM, vol. 2 (the operation of each instruction), and vol. 1, appendix A (flags). Where it
//! leaves a flag undefined, the value here is one that is short to compute; where processors differ, they
//! do what AMD's do. The tests compare both layers with the host's processor.
#![forbid(unsafe_code)]

pub mod arithmetic;
pub mod bits;
mod condition;
mod cpu;
pub mod decimal;
mod descriptor;
mod exception;
mod execute;
mod flags;
mod interrupt;
mod memory;
pub mod multiply;
mod processor;
pub mod shift;
mod size;
mod stack;
mod system;
mod tables;
mod task;

pub use condition::Condition;
pub use cpu::{CodeSize, Cpu, ModelSpecific, segment};
pub use exception::Exception;
pub use execute::{execute, knows, linear_address, needs_system};
pub use flags::Flags;
pub use interrupt::{Interruption, Shutdown, Source, deliver, raise};
pub use memory::Memory;
pub use processor::{is_canonical, linear};
pub use size::Size;
pub use system::{Features, Forget, System};
