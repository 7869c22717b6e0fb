//! The bytes of one connection.

use std::os::fd::{AsFd, OwnedFd};

use gdbstub::conn::Connection;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::gate::Gate;

/// Most bytes that wait to be sent.
const OUTPUT_MAX: usize = 8 << 10;
const INPUT_MAX: usize = 4 << 10;

/// A connection, whose reads and writes end when the machine does.
pub(crate) struct Link<'g> {
    stream: OwnedFd,
    gate: &'g Gate,
    input: Vec<u8>,
    /// Bytes of it that were taken.
    taken: usize,
    output: Vec<u8>,
}

/// The peer is gone, or the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl<'g> Link<'g> {
    /// Over a stream that does not block.
    pub(crate) fn new(stream: OwnedFd, gate: &'g Gate) -> Self {
        Self {
            stream,
            gate,
            input: Vec::new(),
            taken: 0,
            output: Vec::new(),
        }
    }

    /// The next byte; `None`: none has come, but there is something at the gate.
    pub(crate) fn next(&mut self) -> Result<Option<u8>, Closed> {
        if let Some(byte) = self.input.get(self.taken) {
            self.taken += 1;
            return Ok(Some(*byte));
        }
        self.input.resize(INPUT_MAX, 0);
        let read = rustix::io::read(&self.stream, &mut self.input[..]);
        self.input.truncate(read.unwrap_or(0));
        self.taken = 0;
        match read {
            Ok(0) => return Err(Closed),
            Ok(_) => return self.next(),
            Err(Errno::AGAIN | Errno::INTR) => self.wait(PollFlags::IN),
            Err(_) => return Err(Closed),
        }
        Ok(None)
    }

    /// Waits for something at the gate.
    pub(crate) fn pause(&self) {
        let mut ready = [PollFd::from_borrowed_fd(self.gate.wake(), PollFlags::IN)];
        // An error shows at the next call.
        let _ = poll(&mut ready, None);
        self.gate.awake();
    }

    /// Waits for the stream, or for something at the gate.
    fn wait(&self, flags: PollFlags) {
        let mut ready = [
            PollFd::new(&self.stream, flags),
            PollFd::from_borrowed_fd(self.gate.wake(), PollFlags::IN),
        ];
        // An error shows at the next call.
        let _ = poll(&mut ready, None);
        self.gate.awake();
    }
}

impl Connection for Link<'_> {
    type Error = Closed;

    fn write(&mut self, byte: u8) -> Result<(), Closed> {
        self.output.push(byte);
        if self.output.len() < OUTPUT_MAX {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Closed> {
        let output = std::mem::take(&mut self.output);
        let mut rest = output.as_slice();
        while !rest.is_empty() {
            match rustix::io::write(self.stream.as_fd(), rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !self.gate.is_over() => self.wait(PollFlags::OUT),
                Err(_) => return Err(Closed),
            }
        }
        Ok(())
    }
}
