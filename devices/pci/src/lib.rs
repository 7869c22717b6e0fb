//! PCI as an operating system expects to find it: one bus of functions behind a host bridge.
//!
//! * [`PciHost`]: the bus. It owns the configuration spaces and sends accesses of PCI memory
//!   to the function whose base address registers claim them at that moment.
//! * [`ConfigPorts`], [`Ecam`], [`Window`]: how the machine's buses reach it: configuration
//!   mechanism 1, memory mapped configuration, and a window of PCI memory.
//! * [`Function`], [`Description`]: what a device implements and how it looks. A function
//!   never knows its address: it sees a base address register's number and an offset.
//! * [`Interrupts`]: a function's MSI-X vectors and its wire.
//! * [`ConfigSpace`], [`MsixTable`]: the pure chips below, which call nobody.
//!
//! Sources: PCI Local Bus Specification 3.0 (chapter 6), PCI Firmware Specification 3.0
//! (4.1, the memory mapped space), virtio 1.2 for what its functions need.
//!
//! What is not here: bridges to other buses, I/O space, expansion ROMs, functions other
//! than 0, PCI Express capabilities. Bus mastering is taken note of and not enforced.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod attach;
mod config;
mod function;
mod host;
mod interrupts;
mod msix;

pub use attach::{ConfigPorts, Ecam, Window};
pub use config::{BarRange, ConfigSpace, ConfigSpaceState};
pub use function::{Bar, Capability, Description, Function, MsixPlace, Width};
pub use host::{FunctionState, PciHost, PciHostState, Room};
pub use interrupts::{Interrupts, InterruptsState};
pub use msix::{Entry, MsixState, MsixTable};

/// What cannot be plugged in or restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PciError {
    /// There are 32 slots, and this is none of the free ones.
    #[error("PCI slot {0} does not exist or is taken")]
    Slot(u8),
    /// A description that no function can have.
    #[error("PCI function: {0}")]
    Description(&'static str),
    /// A saved state in which the part cannot be.
    #[error("state of {part}: {reason}")]
    State {
        /// The part.
        part: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// No room is left for the memory of functions.
    #[error("PCI memory: no room for {0:#x} bytes")]
    Room(u64),
}

/// Copies what `bytes` has from `from` on; the rest of `into` stays.
fn copy(bytes: &[u8], from: usize, into: &mut [u8]) {
    let rest = bytes.get(from..).unwrap_or_default();
    for (to, byte) in into.iter_mut().zip(rest) {
        *to = *byte;
    }
}
