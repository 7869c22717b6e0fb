//! Packets that the stack owns, with room for an Ethernet header before them.

use alloc::vec::Vec;

use crate::bytes::{Header, put};
use crate::frame::{OutFrame, PartialChecksum};
use crate::interface::Mac;
use crate::socket::Handle;
use crate::wire::ethernet;
use crate::wire::ip::{IpHeader, Sending};

/// A packet to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// Ethernet's header, then the packet.
    bytes: Vec<u8>,
    pub(crate) checksum: Option<PartialChecksum>,
    /// The socket that sent it, and how much of its buffer it takes.
    pub(crate) owner: Option<(Handle, usize)>,
}

impl Packet {
    /// With all headers, and room for what is pushed then.
    pub(crate) fn new(headers: &Header, room: usize) -> Self {
        let mut bytes = Vec::with_capacity(ethernet::HEADER + headers.len() + room);
        bytes.extend_from_slice(&[0; ethernet::HEADER]);
        bytes.extend_from_slice(headers.as_slice());
        Self {
            bytes,
            checksum: None,
            owner: None,
        }
    }

    /// A whole packet from its parts.
    pub(crate) fn with(header: &IpHeader, sending: Sending, payload: &[u8]) -> Self {
        let mut headers = Header::new();
        header.push_to(&mut headers, payload.len(), sending);
        let mut packet = Self::new(&headers, payload.len());
        packet.bytes.extend_from_slice(payload);
        packet
    }

    pub(crate) const fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The packet without Ethernet's header.
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(ethernet::HEADER..).unwrap_or(&[])
    }

    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn address(&mut self, destination: Mac, source: Mac, kind: u16) {
        put(
            &mut self.bytes,
            0,
            &ethernet::header(destination, source, kind),
        );
    }

    pub(crate) fn frame(&self) -> OutFrame<'_> {
        OutFrame {
            header: &self.bytes,
            payload: [&[], &[]],
            checksum: self.checksum,
            gso: None,
        }
    }
}
