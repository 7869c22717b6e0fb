//! The interrupts of a function: MSI-X vectors, and the wire that serves without them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use machine_bus::{InterruptLine, Message, MessageTarget};

use crate::{MsixState, MsixTable, PciError};

/// The state of an [`Interrupts`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterruptsState {
    /// The vectors.
    pub msix: MsixState,
    /// The device asks for the wire to be high.
    pub wanted: bool,
    /// The guest forbids use of the wire.
    pub disabled: bool,
}

struct Inner {
    msix: MsixTable,
    wanted: bool,
    disabled: bool,
}

impl Inner {
    /// The wire serves only while MSI-X does not (PCI 3.0, 6.8.3.3).
    fn level(&self) -> bool {
        self.wanted && !self.disabled && !self.msix.is_enabled()
    }
}

/// A function's interrupts: the device signals, the guest configures.
///
/// Messages are sent with no lock held; the wire is driven under one, so that its last level
/// is the right one: an [`InterruptLine`] must not call back.
pub struct Interrupts {
    target: Arc<dyn MessageTarget>,
    line: Option<Arc<dyn InterruptLine>>,
    inner: Mutex<Inner>,
}

impl fmt::Debug for Interrupts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_wire = self.has_wire();
        f.debug_struct("Interrupts")
            .field("has_wire", &has_wire)
            .finish_non_exhaustive()
    }
}

impl Interrupts {
    /// `vectors` MSI-X vectors, at most 2048, delivered by `target`, and perhaps a wire.
    pub fn new(
        vectors: u16,
        target: Arc<dyn MessageTarget>,
        line: Option<Arc<dyn InterruptLine>>,
    ) -> Self {
        Self {
            target,
            line,
            inner: Mutex::new(Inner {
                msix: MsixTable::new(vectors),
                wanted: false,
                disabled: false,
            }),
        }
    }

    /// How many vectors there are.
    pub fn vectors(&self) -> u16 {
        u16::try_from(self.inner().msix.len()).unwrap_or(u16::MAX)
    }

    /// Whether there is a wire.
    pub fn has_wire(&self) -> bool {
        self.line.is_some()
    }

    /// Whether the guest uses MSI-X.
    pub fn msix_is_enabled(&self) -> bool {
        self.inner().msix.is_enabled()
    }

    /// Signals a vector. Without MSI-X, or for a vector that does not exist, nothing happens.
    pub fn signal(&self, vector: u16) {
        let message = self.inner().msix.signal(vector);
        self.send(message);
    }

    /// Asks for the wire to be high or low.
    pub fn set_wire(&self, level: bool) {
        self.change(|inner| {
            inner.wanted = level;
            Vec::new()
        });
    }

    /// Whether the device asks for the wire to be high, whatever the guest makes of it.
    pub fn wire_is_wanted(&self) -> bool {
        self.inner().wanted
    }

    /// The guest wrote what decides about interrupts in the configuration space.
    pub(crate) fn configure(&self, msix: (bool, bool), wire_is_disabled: bool) {
        self.change(|inner| {
            inner.disabled = wire_is_disabled;
            inner.msix.control(msix.0, msix.1)
        });
    }

    pub(crate) fn read_table(&self, offset: u64, data: &mut [u8]) {
        self.inner().msix.read(offset, data);
    }

    pub(crate) fn write_table(&self, offset: u64, data: &[u8]) {
        let messages = self.inner().msix.write(offset, data);
        self.send(messages);
    }

    pub(crate) fn read_pending(&self, offset: u64, data: &mut [u8]) {
        self.inner().msix.read_pending(offset, data);
    }

    /// A copy of the whole state.
    pub fn save(&self) -> InterruptsState {
        let inner = self.inner();
        InterruptsState {
            msix: inner.msix.save(),
            wanted: inner.wanted,
            disabled: inner.disabled,
        }
    }

    /// Takes the state of `state`, and drives the wire as it says.
    ///
    /// # Errors
    /// When these interrupts cannot be in that state.
    pub fn restore(&self, state: &InterruptsState) -> Result<(), PciError> {
        let msix = MsixTable::restore(state.msix.clone())?;
        if msix.len() != usize::from(self.vectors()) {
            let (part, reason) = ("MSI-X table", "has another number of vectors");
            return Err(PciError::State { part, reason });
        }
        self.change(|inner| {
            *inner = Inner {
                msix,
                wanted: state.wanted,
                disabled: state.disabled,
            };
            Vec::new()
        });
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Inner) -> Vec<Message>) {
        let mut inner = self.inner();
        let before = inner.level();
        let messages = change(&mut inner);
        let after = inner.level();
        if let Some(line) = &self.line
            && before != after
        {
            line.set(after);
        }
        drop(inner);
        self.send(messages);
    }

    fn send(&self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            self.target.send(message);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
