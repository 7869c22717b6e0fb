//! How a device asks for an interrupt.

/// A wire from a device to an interrupt controller.
pub trait InterruptLine: Send + Sync {
    /// Drives the wire high or low. Only changes matter; saying the same again is free.
    fn set(&self, level: bool);
}

/// A wire that ends nowhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLine;

impl InterruptLine for NoLine {
    fn set(&self, _: bool) {}
}

/// A message-signalled interrupt (PCI 3.0, 6.8; SDM vol. 3, 11.11): a store of `data` to
/// `address`. The guest chose both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Message {
    /// Where: destination and how it is chosen.
    pub address: u64,
    /// What: vector, delivery mode, trigger.
    pub data: u32,
}

/// Who delivers messages to local interrupt controllers.
pub trait MessageTarget: Send + Sync {
    /// Delivers one; a message that makes no sense is dropped.
    fn send(&self, message: Message);
}
