//! A chain of buffers as the file services see it.

use std::io;
use std::os::fd::BorrowedFd;

use backend_fs::service::{FuseService, Reply, Request};
use guest_abi::fuse::OutHeader;
use machine_memory::{GuestMemory, Pieces};
use zerocopy::IntoBytes;

use crate::queue::Chain;

/// Answers one request; returns how many bytes were written, `None` for a chain that points
/// outside of the memory.
pub(super) fn answer(
    chain: &Chain,
    memory: &GuestMemory,
    service: &mut dyn FuseService,
) -> Option<u32> {
    let mut request = ChainRequest(chain.reader(memory)?);
    let mut header = chain.writer(memory)?;
    let mut body = chain.writer(memory)?;
    body.read(&mut [0; size_of::<OutHeader>()]);
    let mut reply = ChainReply {
        header: &mut header,
        body,
    };
    Some(service.serve(&mut request, &mut reply))
}

struct ChainRequest<'m>(Pieces<'m>);

impl Request for ChainRequest<'_> {
    fn remaining(&self) -> usize {
        self.0.remaining()
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        self.0.read(into)
    }

    fn copy_to_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: Option<u64>,
        len: usize,
    ) -> io::Result<usize> {
        self.0.drain_to(file, offset, len)
    }
}

struct ChainReply<'m, 'h> {
    header: &'h mut Pieces<'m>,
    body: Pieces<'m>,
}

impl Reply for ChainReply<'_, '_> {
    fn remaining(&self) -> usize {
        self.body.remaining()
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        self.body.write(bytes)
    }

    fn copy_from_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: Option<u64>,
        len: usize,
    ) -> io::Result<usize> {
        self.body.fill_from(file, offset, len)
    }

    fn set_header(&mut self, header: OutHeader) {
        self.header.write(header.as_bytes());
    }
}
