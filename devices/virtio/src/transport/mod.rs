//! The ways in which a driver reaches a device's registers.

pub(crate) mod mmio;
pub(crate) mod pci;
