//! The MSI-X table and pending bits of a function as a pure chip (PCI 3.0, 6.8.2).
//!
//! A vector that is signalled while it is masked becomes pending; it is sent when what masks
//! it goes away. What has to be sent is returned to the caller.

use machine_bus::Message;

use crate::{PciError, copy};

/// Most vectors that a function can have.
const VECTORS_MAX: usize = 2048;
/// Bytes of an entry.
const ENTRY: u64 = 16;
/// In the last word of an entry.
const MASKED: u32 = 1;

/// One vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the message goes.
    pub address: u64,
    /// What it says.
    pub data: u32,
    /// It must wait.
    pub masked: bool,
}

impl Entry {
    const RESET: Self = Self {
        address: 0,
        data: 0,
        masked: true,
    };

    fn bytes(self) -> [u8; ENTRY as usize] {
        let low = self.address.to_le_bytes();
        let high = (u64::from(self.data) | u64::from(self.masked) << 32).to_le_bytes();
        let mut bytes = [0; ENTRY as usize];
        copy(&low, 0, &mut bytes);
        copy(&high, 0, bytes.get_mut(8..).unwrap_or_default());
        bytes
    }

    fn from_bytes(bytes: [u8; ENTRY as usize]) -> Self {
        let all = u128::from_le_bytes(bytes);
        Self {
            // The low two bits of an address are always zero.
            address: all as u64 & !3,
            data: (all >> 64) as u32,
            masked: (all >> 96) as u32 & MASKED != 0,
        }
    }

    fn message(self) -> Message {
        Message {
            address: self.address,
            data: self.data,
        }
    }
}

/// The state of an [`MsixTable`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MsixState {
    /// The vectors.
    pub entries: Vec<Entry>,
    /// Which of them are pending; as long as `entries`.
    pub pending: Vec<bool>,
    /// Message control: the function may send.
    pub enabled: bool,
    /// Message control: all vectors are masked.
    pub masked: bool,
}

/// The vectors of a function.
#[derive(Clone, Debug)]
pub struct MsixTable {
    state: MsixState,
}

impl MsixTable {
    /// As after reset: disabled, each of the `vectors` masked. There are at most 2048.
    pub fn new(vectors: u16) -> Self {
        let count = usize::from(vectors).min(VECTORS_MAX);
        Self {
            state: MsixState {
                entries: vec![Entry::RESET; count],
                pending: vec![false; count],
                enabled: false,
                masked: false,
            },
        }
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.state.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.state.entries.is_empty()
    }

    /// Whether the function may send.
    pub fn is_enabled(&self) -> bool {
        self.state.enabled
    }

    /// The device wants to interrupt: the message to send, if it may be sent now. A vector
    /// that does not exist is none.
    pub fn signal(&mut self, vector: u16) -> Option<Message> {
        if !self.state.enabled {
            return None;
        }
        let at = usize::from(vector);
        let entry = *self.state.entries.get(at)?;
        if !self.state.masked && !entry.masked {
            return Some(entry.message());
        }
        *self.state.pending.get_mut(at)? = true;
        None
    }

    /// Message control was written; what has to be sent now.
    pub fn control(&mut self, enabled: bool, masked: bool) -> Vec<Message> {
        self.state.enabled = enabled;
        self.state.masked = masked;
        self.take_sendable()
    }

    /// Reads the table.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        self.each(offset, data.len(), |entry, at, from| {
            copy(&entry.bytes(), at, data.get_mut(from..).unwrap_or_default());
        });
    }

    /// Writes the table; what has to be sent now.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Vec<Message> {
        for (at, byte) in (offset..).zip(data) {
            let entry = usize::try_from(at / ENTRY).ok();
            let Some(entry) = entry.and_then(|at| self.state.entries.get_mut(at)) else {
                break;
            };
            let mut bytes = entry.bytes();
            if let Some(to) = bytes.get_mut((at % ENTRY) as usize) {
                *to = *byte;
            }
            *entry = Entry::from_bytes(bytes);
        }
        self.take_sendable()
    }

    /// Reads the pending bits. They cannot be written.
    pub fn read_pending(&self, offset: u64, data: &mut [u8]) {
        for (at, byte) in (offset..).zip(data.iter_mut()) {
            let first = usize::try_from(at.saturating_mul(8)).unwrap_or(usize::MAX);
            let bits = self.state.pending.iter().skip(first).take(8);
            let bits = bits.enumerate().map(|(bit, &set)| u8::from(set) << bit);
            *byte = bits.sum();
        }
    }

    /// A copy of the whole state.
    pub fn save(&self) -> MsixState {
        self.state.clone()
    }

    /// A table in the state of `state`.
    ///
    /// # Errors
    /// When no table can be in that state.
    pub fn restore(state: MsixState) -> Result<Self, PciError> {
        let refuse = |reason| {
            let part = "MSI-X table";
            Err(PciError::State { part, reason })
        };
        if state.entries.len() > VECTORS_MAX || state.entries.len() != state.pending.len() {
            return refuse("has vectors or pending bits without the other");
        }
        if state.entries.iter().any(|entry| entry.address & 3 != 0) {
            return refuse("has an address that is not aligned");
        }
        let mut table = Self { state };
        let before = table.state.clone();
        if !table.take_sendable().is_empty() {
            return refuse("has pending vectors that nothing holds back");
        }
        Ok(Self { state: before })
    }

    /// Calls `part` for each entry of an access: the entry, from which of its bytes, and from
    /// which byte of the access.
    fn each(&self, offset: u64, length: usize, mut part: impl FnMut(Entry, usize, usize)) {
        let mut done = 0;
        while done < length {
            let at = offset.saturating_add(done as u64);
            let entry = usize::try_from(at / ENTRY).ok();
            let Some(entry) = entry.and_then(|at| self.state.entries.get(at)) else {
                return;
            };
            let inside = (at % ENTRY) as usize;
            part(*entry, inside, done);
            done += ENTRY as usize - inside;
        }
    }

    fn take_sendable(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        if !self.state.enabled || self.state.masked {
            return messages;
        }
        for (entry, pending) in self.state.entries.iter().zip(&mut self.state.pending) {
            if !entry.masked && std::mem::take(pending) {
                messages.push(entry.message());
            }
        }
        messages
    }
}
