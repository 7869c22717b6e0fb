//! What lies between a virtual CPU and its devices: addresses, accesses, interrupts.
//!
//! * [`Device`]: what answers accesses at offsets of its own; it never knows its address.
//! * [`Bus`]: ranges of an address space and the device in each; it owns what a bad access
//!   returns.
//! * [`InterruptLine`], [`MessageTarget`]: how a device asks for an interrupt, by a wire or
//!   by a message.
//! * [`Doorbells`], [`SignalLine`]: how devices and Husk's own kernel call each other where
//!   they share pages instead of registers.
//!
//! Nothing here knows an engine, and no type is the guest's: every value that a guest chose
//! is a plain number that any implementation must survive.
#![forbid(unsafe_code)]

mod address;
mod bus;
mod interrupt;
mod shared;

pub use address::{GuestAddress, Nanos, Port, Vector};
pub use bus::{Bus, BusError, Device};
pub use interrupt::{InterruptLine, Message, MessageTarget, NoLine};
pub use shared::{Doorbells, Look, SignalLine};
