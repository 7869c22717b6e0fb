//! A board like a PC's: which chips and devices sit where, and what they are wired to.
//!
//! [`Board::new`] attaches the chips of `devices/legacy`, [`Board::plug`] puts virtio devices on
//! the PCI bus, [`Board::description`] says what an operating system must be told, and
//! [`Board::start`] makes a [`Running`] board of it, the [`World`](engine_contract::World) of
//! the virtual CPUs. [`places`] has every address and interrupt.
//!
//! * `attached`: a chip on a bus: its lock, its interrupt line, its time, its timer.
//! * `chips`, `event_timer`, `serial`: what is special about each chip.
//! * [`Clock`], `timers`: the machine's time, and the one thread that waits for it where the engine does not.
//! * `wire`: lines that several devices share, or that one takes from another.
//! * [`Ends`]: how the machine ends, told once to all who wait for it.
//!
//! Interrupt controllers are the engine's and are handed in. No chip knows its address, and the
//! board knows neither engine nor guest.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)
)]

mod attached;
mod board;
mod chips;
mod clock;
mod ends;
mod event_timer;
pub mod places;
mod running;
mod serial;
mod timers;
mod wire;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use board::{Board, BoardError, Config, Parts, Work};
pub use clock::{Clock, HostClock, VirtualClock};
pub use ends::{Ending, Ends};
pub use running::Running;
pub use serial::{Output, SerialInput};
