//! virtio devices as the machine sees them.
//!
//! * [`VirtioDevice`]: what a device is, whatever carries its registers. [`block`], [`console`],
//!   [`rng`], [`net`] and [`fs`] are such devices.
//! * [`VirtioPci`], [`VirtioMmio`]: the transports, as chips on a bus.
//! * [`Virtqueue`], [`Workers`]: what devices work with: rings, and threads that are woken
//!   by the driver's notifications. A virtual CPU never waits for a request, unless the transport was told to have
//!   devices [work at once](VirtioPci::working_at_once).
//! * [`fs::FsDevice`], [`net::NetPage`]: the devices of machines whose kernel shares pages
//!   with the monitor instead of registers.
//!
//! The rings are the `virtio-queue` crate's. Everything a driver writes is checked
//! before use; a driver that breaks the rules gets a device that stops answering and says that
//! it needs a reset, and the monitor goes on.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

pub mod block;
pub mod console;
mod device;
pub mod fs;
pub mod net;
mod queue;
mod registers;
pub mod rng;
mod state;
mod transport;
mod worker;

pub use device::{Activation, Interrupt, Signals, VirtioDevice};
pub use queue::{CHAIN_MAX, Chain, Range, Virtqueue};
pub use state::{DeviceState, QueueState, StateError};
pub use transport::mmio::{MmioState, VirtioMmio};
pub use transport::pci::{PciState, VirtioPci};
pub use worker::{Notifier, Stop, Workers};
