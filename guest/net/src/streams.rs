//! What programs call on streams.

use crate::error::{Error, Result};
use crate::socket::{Handle, WriteFlags};
use crate::stack::{Socket, Stack};
use crate::tcp::{Context, Tcp};
use crate::time::Nanos;

impl Stack {
    /// Writes up to `length` bytes to a stream: `fill` is given room once or twice and says how much of
    /// it it filled.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] while the buffer is full, [`Error::Pipe`] once it is closed, or what
    /// became of the connection.
    pub fn write(
        &mut self,
        handle: Handle,
        length: usize,
        flags: WriteFlags,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
        now: Nanos,
    ) -> Result<usize> {
        self.advance(now);
        self.with_stream(handle, |tcp, cx| tcp.write(length, flags, fill, cx))
    }

    /// Reads up to `length` bytes of a stream: `take` is given what is there, in one or two pieces, and
    /// says how much it took. 0 is the end. With `peek` all of it stays.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if there is nothing yet, or what became of the connection.
    pub fn read(
        &mut self,
        handle: Handle,
        length: usize,
        peek: bool,
        take: &mut dyn FnMut(&[u8]) -> usize,
        now: Nanos,
    ) -> Result<usize> {
        self.advance(now);
        self.with_stream(handle, |tcp, cx| tcp.read(length, peek, take, cx))
    }

    /// Takes the urgent byte (`MSG_OOB`).
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is none, [`Error::WouldBlock`] if it is announced.
    pub fn read_urgent(&mut self, handle: Handle, peek: bool, now: Nanos) -> Result<u8> {
        self.advance(now);
        self.with_stream(handle, |tcp, _| tcp.read_urgent(peek))
    }

    /// Whether the urgent byte is next (`SIOCATMARK`).
    #[must_use]
    pub fn is_at_mark(&self, handle: Handle) -> bool {
        matches!(self.sockets.get(handle), Some(Socket::Stream(tcp)) if tcp.is_at_mark())
    }

    pub(crate) fn with_stream<T>(
        &mut self,
        handle: Handle,
        call: impl FnOnce(&mut Tcp, &mut Context<'_>) -> Result<T>,
    ) -> Result<T> {
        let tcp = match self.sockets.get_mut(handle).ok_or(Error::BadHandle)? {
            Socket::Stream(tcp) if tcp.orphan => return Err(Error::BadHandle),
            Socket::Stream(tcp) => tcp,
            Socket::Listener(_) => return Err(Error::NotConnected),
            Socket::Datagram(_) => return Err(Error::NotSupported),
        };
        let mut cx = Context {
            now: self.now,
            memory: &mut self.memory,
        };
        let result = call(tcp, &mut cx);
        self.settle(handle);
        result
    }
}
