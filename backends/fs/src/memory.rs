//! Requests and replies in plain memory.
//!
//! What: [`MemoryRequest`] and [`MemoryReply`] implement the seam over vectors, so that a
//! service can be tested and fuzzed without a machine.
//!
//! Neighbours: [`crate::service`] defines the seam, [`crate::testing`] uses these.
//!
//! What it does not do: no scatter lists; a real device has them.

use std::io;
use std::os::fd::BorrowedFd;

use guest_abi::fuse::OutHeader;
use zerocopy::IntoBytes;

use crate::service::{Reply, Request};
use crate::wire::HEADER_LEN;

/// A request whose bytes lie in a vector.
#[derive(Clone, Debug, Default)]
pub struct MemoryRequest {
    bytes: Vec<u8>,
    at: usize,
}

impl MemoryRequest {
    /// A request of exactly these bytes, header first.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }
}

impl Request for MemoryRequest {
    fn remaining(&self) -> usize {
        self.rest().len()
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.rest().len());
        if let (Some(to), Some(from)) = (into.get_mut(..count), self.rest().get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        count
    }

    fn copy_to_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: Option<u64>,
        len: usize,
    ) -> io::Result<usize> {
        let rest = self.rest();
        let bytes = rest.get(..len).unwrap_or(rest);
        let moved = match offset {
            Some(offset) => rustix::io::pwrite(file, bytes, offset)?,
            None => rustix::io::write(file, bytes)?,
        };
        self.at += moved;
        Ok(moved)
    }
}

/// A reply that collects its bytes in a vector of bounded length.
#[derive(Clone, Debug)]
pub struct MemoryReply {
    header: Option<OutHeader>,
    payload: Vec<u8>,
    room: usize,
}

impl MemoryReply {
    /// A reply with room for `capacity` bytes, the header's 16 included.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            header: None,
            payload: Vec::new(),
            room: capacity.saturating_sub(HEADER_LEN),
        }
    }

    /// The header, once the service has set it.
    #[must_use]
    pub fn header(&self) -> Option<&OutHeader> {
        self.header.as_ref()
    }

    /// What the service wrote behind the header.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The reply as a driver would see it: header and payload, as long as the header says.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let Some(header) = self.header else {
            return Vec::new();
        };
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(&self.payload);
        bytes.truncate(header.len as usize);
        bytes
    }
}

impl Reply for MemoryReply {
    fn remaining(&self) -> usize {
        self.room.saturating_sub(self.payload.len())
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        let fitting = bytes.get(..self.remaining()).unwrap_or(bytes);
        self.payload.extend_from_slice(fitting);
        fitting.len()
    }

    fn copy_from_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: Option<u64>,
        len: usize,
    ) -> io::Result<usize> {
        let mut bytes = vec![0; len.min(self.remaining())];
        let moved = match offset {
            Some(offset) => rustix::io::pread(file, &mut bytes, offset)?,
            None => rustix::io::read(file, &mut bytes)?,
        };
        bytes.truncate(moved);
        self.payload.append(&mut bytes);
        Ok(moved)
    }

    fn set_header(&mut self, header: OutHeader) {
        self.header = Some(header);
    }
}
