//! The kernel's lower half: everything that needs `unsafe`, and nothing else.
//!
//! What the upper half (`guest/kernel`, `guest/linux`, `guest/drivers`, all without
//! `unsafe`) gets from here:
//!
//! * [`Platform`]: the dozen things only the layer below can do, with one
//!   implementation a platform: the cell, ring 0, and a hosted one for unit tests. Which one
//!   runs is known to nobody above this crate.
//! * [`Kernel`]: what the upper half provides: the answer to a system call, a fault,
//!   an interrupt, each on a [`UserContext`].
//! * [`memory`]: owned extents of guest-physical memory, and the kernel's heap.
//! * [`user`]: copies from and to the program's memory that survive any address.
//! * [`host_file`]: files of the host that an address space shows.
//! * [`fpu`]: the program's floating-point and vector state. The kernel itself has
//!   none: it is compiled without SSE, so that state stays in the registers.
//! * [`task`]: flows of control in the kernel, switched when those above say so.
//! * [`sync`]: locks that let others run while they are awaited.
//! * [`virtio`]: devices and the queues on which a driver sends requests; [`serial`]: a port.
//!
//! It knows no Linux: numbers of system calls, signals and errors appear only where
//! the host's own are spoken (`cell`), those of processors where there is no host (`bare`).
#![no_std]
#![cfg_attr(
    not(kernel_build),
    expect(
        dead_code,
        reason = "the hosted platform uses a part of the lower half"
    )
)]

extern crate alloc;

mod address;
#[cfg(kernel_build)]
mod area;
mod bare;
pub mod boot;
#[cfg(kernel_build)]
mod builtins;
#[cfg(kernel_build)]
mod cell;
mod context;
pub mod fpu;
#[cfg(kernel_build)]
mod frame;
mod hardware;
pub mod host_file;
#[cfg(not(kernel_build))]
mod hosted;
#[cfg(kernel_build)]
mod lock;
pub mod memory;
mod platform;
pub mod report;
pub mod serial;
#[cfg(kernel_build)]
mod start;
pub mod sync;
pub mod task;
pub mod time;
pub mod user;
pub mod vdso;
pub mod virtio;

pub use address::{GuestAddress, LinearAddress, Nanos};
pub use context::{Entry, Kernel, Leave, Trap, UserContext, set_kernel};
#[cfg(not(kernel_build))]
pub use hosted::initialize as initialize_hosted;
pub use platform::{MapError, Platform, Protection, Ticket, platform, syscall_entry};
