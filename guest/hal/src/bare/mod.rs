//! The bare platform: the kernel at ring 0 of processors, real or virtual.
//!
//! What a host does for a cell is done here: page tables, faults, frames, timer. The program
//! runs at ring 3 in the same address space.
//!
//! * [`start`]: from the first instruction to the upper half's; [`pvh`]: where another monitor
//!   or firmware starts the kernel, with what [`acpi`] and the [`command_line`] say.
//! * [`entry`]: the assembly by which control passes between program and kernel.
//! * [`trap`]: what exceptions and interrupts mean.
//! * [`memory`]: guest-physical memory, made of [`frames`]; the program's [`mappings`];
//!   [`tables`] of the processor.
//! * [`processors`], [`trampoline`]: the processors beside the first; [`translations`]: how all are
//!   made to forget pages that have gone.
//! * [`cpu`], [`apic`], [`clock`], [`serial`]: processor, interrupts and timer, time, last words.
//! * [`hardware`], [`lines`]: devices beside the monitor's own, and their interrupts.
#![cfg_attr(
    kernel_build,
    expect(unsafe_code, reason = "the kernel's meeting point with the processor")
)]

mod acpi;
#[cfg(kernel_build)]
mod apic;
#[cfg(kernel_build)]
mod clock;
mod command_line;
#[cfg(kernel_build)]
mod cpu;
#[cfg(kernel_build)]
mod entry;
mod frames;
#[cfg(kernel_build)]
mod hardware;
#[cfg(kernel_build)]
mod image;
#[cfg(kernel_build)]
mod lines;
mod mappings;
#[cfg(kernel_build)]
mod memory;
#[cfg(kernel_build)]
mod platform;
#[cfg(kernel_build)]
mod processors;
#[cfg(kernel_build)]
mod pvh;
mod ranges;
#[cfg(kernel_build)]
mod serial;
#[cfg(kernel_build)]
mod start;
#[cfg(kernel_build)]
mod tables;
#[cfg(kernel_build)]
mod trampoline;
#[cfg(kernel_build)]
mod translations;
#[cfg(kernel_build)]
mod trap;

pub(crate) use command_line::COMMAND_LINE;
#[cfg(kernel_build)]
pub(crate) use platform::Bare;
#[cfg(kernel_build)]
pub(crate) use start::start;
