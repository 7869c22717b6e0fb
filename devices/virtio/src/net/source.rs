//! A frame in guest memory.

use std::io::{self, Write};
use std::os::fd::BorrowedFd;

use backend_net::Source;
use backend_net::checksum::Sum;
use machine_memory::Pieces;

/// Bytes copied at a time to be summed; even.
const STEP: usize = 4096;

pub(super) struct Frame<'m>(pub(super) Pieces<'m>);

/// The sum of the next `length` bytes.
pub(super) fn sum(pieces: &Pieces<'_>, length: usize) -> Sum {
    let (mut pieces, mut left, mut sum) = (pieces.clone(), length, Sum::default());
    let mut bytes = [0; STEP];
    while left > 0 {
        let most = left.min(STEP);
        let count = pieces.read(bytes.get_mut(..most).unwrap_or_default());
        if count == 0 {
            break;
        }
        sum = sum.with(bytes.get(..count).unwrap_or_default());
        left -= count;
    }
    sum
}

impl Source for Frame<'_> {
    fn remaining(&self) -> usize {
        self.0.remaining()
    }

    fn peek(&self, into: &mut [u8]) -> usize {
        self.0.peek(into)
    }

    fn skip(&mut self, count: usize) {
        self.0.skip(count);
    }

    fn sum(&self, length: usize) -> u16 {
        sum(&self.0, length).folded()
    }

    fn send(&mut self, socket: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
        self.0.send_to(socket, length)
    }

    fn write(&mut self, file: BorrowedFd<'_>, head: &[u8]) -> io::Result<()> {
        match self.0.write_behind(file, head) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                let mut bytes = head.to_vec();
                bytes.resize(head.len() + self.0.remaining(), 0);
                self.0.read(bytes.get_mut(head.len()..).unwrap_or_default());
                std::fs::File::from(file.try_clone_to_owned()?).write_all(&bytes)
            }
            written => written.map(drop),
        }
    }
}
