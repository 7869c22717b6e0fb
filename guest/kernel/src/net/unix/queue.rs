//! What came for a socket and was not taken yet.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::Result;
use crate::fs::OpenFile;
use crate::net::{Address, Incoming, Kind, Sender, flag};

/// What a message costs beside its bytes.
const OVERHEAD: u64 = 64;
/// Parts of a stream are put together up to this size.
const JOIN_MAX: usize = 16 << 10;

/// A message, or a part of a stream.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) bytes: Vec<u8>,
    /// How many of them were taken.
    pub(super) taken: usize,
    pub(super) files: Vec<Arc<OpenFile>>,
    pub(super) sender: Sender,
    /// The sender's name.
    pub(super) from: Vec<u8>,
}

impl Packet {
    /// The sender's address, if it has one.
    fn address(&self) -> Option<Address> {
        (!self.from.is_empty()).then(|| Address::Unix(self.from.clone()))
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    packets: VecDeque<Packet>,
    bytes: u64,
}

impl Queue {
    /// Bytes in it, with what they cost.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn messages(&self) -> usize {
        self.packets.len()
    }

    /// What `FIONREAD` says.
    pub(super) fn next_bytes(&self, kind: Kind) -> u64 {
        let rests = self.packets.iter().map(|packet| packet.rest().len() as u64);
        if kind == Kind::Datagram {
            rests.take(1).sum()
        } else {
            rests.sum()
        }
    }

    pub(super) fn push(&mut self, packet: Packet, kind: Kind) {
        if kind == Kind::Stream
            && let Some(last) = self.packets.back_mut()
            && packet.files.is_empty()
            && last.files.is_empty()
            && last.sender == packet.sender
            && last.bytes.len() + packet.bytes.len() <= JOIN_MAX
        {
            self.bytes += packet.bytes.len() as u64;
            last.bytes.extend_from_slice(&packet.bytes);
            return;
        }
        self.bytes += packet.bytes.len() as u64 + OVERHEAD;
        self.packets.push_back(packet);
    }

    fn drop_first(&mut self) {
        if let Some(packet) = self.packets.pop_front() {
            self.bytes = self
                .bytes
                .saturating_sub(packet.bytes.len() as u64 + OVERHEAD);
        }
    }

    /// Gives the next message, or as much of the stream as is wanted: up to where the sender
    /// changes, or files come.
    pub(super) fn take(
        &mut self,
        message: &mut Incoming<'_, '_>,
        kind: Kind,
        with_sender: bool,
    ) -> Result<()> {
        if kind.has_messages() {
            self.take_message(message, with_sender)
        } else {
            self.take_stream(message, with_sender)
        }
    }

    fn take_message(&mut self, message: &mut Incoming<'_, '_>, with_sender: bool) -> Result<()> {
        let peeks = message.flags & flag::PEEK != 0;
        let Some(packet) = self.packets.front_mut() else {
            return Ok(());
        };
        let before = message.into.done();
        let result = message.into.put(&packet.bytes);
        let taken = message.into.done() - before;
        if taken < packet.bytes.len() as u64 {
            message.whole = Some(packet.bytes.len() as u64);
            message.answered |= flag::TRUNC;
        }
        message.from = packet.address();
        message.sender = with_sender.then_some(packet.sender);
        message.answered |= flag::EOR & message.flags;
        message.files = if peeks {
            packet.files.clone()
        } else {
            core::mem::take(&mut packet.files)
        };
        if !peeks {
            self.drop_first();
        }
        result
    }

    fn take_stream(&mut self, message: &mut Incoming<'_, '_>, with_sender: bool) -> Result<()> {
        let peeks = message.flags & flag::PEEK != 0;
        let mut sender = None;
        let mut at = 0;
        while let Some(packet) = self.packets.get_mut(at) {
            let changes = sender.is_some_and(|sender| with_sender && sender != packet.sender);
            let has_files = !packet.files.is_empty() && sender.is_some();
            if changes || has_files || message.into.remaining() == 0 {
                break;
            }
            if sender.is_none() {
                message.from = packet.address();
            }
            sender = Some(packet.sender);
            let had_files = !packet.files.is_empty();
            message.files.extend(if peeks {
                packet.files.clone()
            } else {
                core::mem::take(&mut packet.files)
            });
            let before = message.into.done();
            let result = message.into.put(packet.rest());
            let taken = (message.into.done() - before) as usize;
            if peeks {
                at += 1;
            } else {
                packet.taken += taken;
                if packet.rest().is_empty() {
                    self.drop_first();
                }
            }
            result?;
            if had_files {
                break;
            }
        }
        message.sender = sender.filter(|_| with_sender);
        Ok(())
    }
}
