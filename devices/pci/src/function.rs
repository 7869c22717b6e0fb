//! What a device implements to be a PCI function, and how it describes itself.

use std::sync::Arc;

use crate::Interrupts;

/// What answers accesses to the memory of a function. Several virtual CPUs may call at once.
///
/// An access lies inside the base address register's size; what makes no sense reads as the
/// device would have it and writes nothing.
pub trait Function: Send + Sync {
    /// How the function looks; asked once, when it is plugged in.
    fn describe(&self) -> Description;

    /// Its interrupts, if it has any.
    fn interrupts(&self) -> Option<Arc<Interrupts>>;

    /// Fills `data` with what is at `offset` of the memory of base address register `bar`.
    fn read(&self, bar: u8, offset: u64, data: &mut [u8]);

    /// Takes `data` for `offset` of the memory of base address register `bar`.
    fn write(&self, bar: u8, offset: u64, data: &[u8]);

    /// The guest reads the [window](Capability::window) of a capability, whose `body` is as
    /// the guest last wrote it; `at` counts from the window's start.
    fn read_window(&self, body: &[u8], at: usize, data: &mut [u8]) {
        let _ = (body, at, data);
    }

    /// As [`Function::read_window`], for writes.
    fn write_window(&self, body: &[u8], at: usize, data: &[u8]) {
        let _ = (body, at, data);
    }
}

/// How wide a base address register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Below 4 GiB.
    Bits32,
    /// Anywhere; takes two registers.
    Bits64,
}

/// A base address register of memory (PCI 3.0, 6.2.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Number of the (first) register, below 6.
    pub index: u8,
    /// Bytes: a power of two, at least 16.
    pub size: u64,
    /// Where it can be put.
    pub width: Width,
    /// Reads have no effects.
    pub prefetchable: bool,
}

/// A capability (PCI 3.0, 6.7) other than MSI-X.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Its identity.
    pub id: u8,
    /// What follows the identity and the link.
    pub body: Vec<u8>,
    /// Which bits of the body the guest may write; as long as the body or shorter.
    pub writable: Vec<u8>,
    /// From which byte of the body on the function itself answers.
    pub window: Option<usize>,
}

/// Where the MSI-X structures lie in a function's memory (PCI 3.0, 6.8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsixPlace {
    /// Number of the base address register.
    pub bar: u8,
    /// Offset of the table; a multiple of 8.
    pub table: u32,
    /// Offset of the pending bits; a multiple of 8.
    pub pending: u32,
}

/// How a function looks in its configuration space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Who makes it.
    pub vendor: u16,
    /// What it is.
    pub device: u16,
    /// Revision of it.
    pub revision: u8,
    /// Class, subclass and programming interface: 24 bits.
    pub class: u32,
    /// Who makes the card.
    pub subsystem_vendor: u16,
    /// What the card is.
    pub subsystem: u16,
    /// Its memory.
    pub bars: Vec<Bar>,
    /// Its capabilities, in the order of the list.
    pub capabilities: Vec<Capability>,
    /// Where MSI-X is; only with [`Function::interrupts`].
    pub msix: Option<MsixPlace>,
}
