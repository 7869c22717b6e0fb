//! Locks. The kernel runs on one virtual CPU and is not preempted, so a lock that is
//! taken when it is asked for is a fault of the kernel, which spinning would hide.

/// Mutual exclusion.
pub type Mutex<T> = spin::Mutex<T>;
pub use spin::{MutexGuard, Once};
