//! Moving bytes between guest memory and sockets or tunnel devices, without a copy in between.
#![expect(
    unsafe_code,
    reason = "recvmsg, sendmsg and writev take addresses of guest memory"
)]

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::pieces::{Pieces, RANGES_MAX, Vectors};

/// Bytes that one vector of what is to be skipped takes.
const SKIP_STEP: usize = 64 << 10;

thread_local! {
    /// Where bytes go that nobody wants.
    static SKIPPED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Pieces<'_> {
    /// Looks at what waits in a stream, behind the first `skip` bytes, without taking it:
    /// at most `length` bytes are copied here. Zero is the stream's end.
    ///
    /// # Errors
    /// The host's; "would block" when nothing waits.
    pub fn peek_from(
        &mut self,
        socket: BorrowedFd<'_>,
        skip: usize,
        length: usize,
    ) -> io::Result<usize> {
        if skip == 0 {
            return self.receive(socket, Vectors::new(), length, libc::MSG_PEEK);
        }
        SKIPPED.with_borrow_mut(|skipped| {
            skipped.resize(SKIP_STEP, 0);
            let (base, mut left, mut vectors) = (skipped.as_mut_ptr(), skip, Vectors::new());
            while left > 0 {
                let count = left.min(SKIP_STEP);
                vectors.push(libc::iovec {
                    iov_base: base.cast(),
                    iov_len: count,
                });
                left -= count;
            }
            let got = self.receive(socket, vectors, length, libc::MSG_PEEK)?;
            match got.checked_sub(skip) {
                // What was skipped is all there is; the end hides behind it.
                None | Some(0) => Err(io::ErrorKind::WouldBlock.into()),
                Some(got) => Ok(got),
            }
        })
    }

    /// Takes a datagram, of which at most `length` bytes are kept.
    ///
    /// # Errors
    /// The host's; "would block" when there is none.
    pub fn receive_from(&mut self, socket: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
        self.receive(socket, Vectors::new(), length, 0)
    }

    /// Receives behind what `vectors` take; uses up nothing, since whoever asks writes what
    /// comes before it then.
    fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        mut vectors: Vectors,
        length: usize,
        flags: libc::c_int,
    ) -> io::Result<usize> {
        vectors.extend(self.vectors(length));
        let flags = flags | libc::MSG_DONTWAIT;
        let got = if let [one] = vectors.as_slice() {
            // SAFETY: as below; the host has less to look at.
            unsafe { libc::recv(socket.as_raw_fd(), one.iov_base, one.iov_len, flags) }
        } else {
            let mut message = message(&mut vectors);
            // SAFETY: the vectors describe memory of ours that nobody else uses now and mapped
            // guest memory, both of which outlive the call.
            unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) }
        };
        usize::try_from(got).map_err(|_| io::Error::last_os_error())
    }

    /// Sends at most `length` bytes; returns how many the socket took.
    ///
    /// # Errors
    /// The host's; "would block" when it takes none.
    pub fn send_to(&mut self, socket: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
        let mut vectors = self.vectors(length);
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let sent = if let [one] = vectors.as_slice() {
            // SAFETY: as below; the host has less to look at.
            unsafe { libc::send(socket.as_raw_fd(), one.iov_base, one.iov_len, flags) }
        } else {
            let message = message(&mut vectors);
            // SAFETY: the vectors describe mapped guest memory, which outlives the call.
            unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) }
        };
        let sent = usize::try_from(sent).map_err(|_| io::Error::last_os_error())?;
        self.skip(sent);
        Ok(sent)
    }

    /// Writes `head` and all that is left to `file` as one record.
    ///
    /// # Errors
    /// The host's, and one when there are too many pieces for one record.
    pub fn write_behind(&mut self, file: BorrowedFd<'_>, head: &[u8]) -> io::Result<usize> {
        if self.reach() < self.remaining() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut vectors = vec![libc::iovec {
            iov_base: head.as_ptr().cast_mut().cast(),
            iov_len: head.len(),
        }];
        vectors.extend(self.vectors(self.remaining()));
        let count = vectors.len() as libc::c_int;
        // SAFETY: the vectors describe the head, which is only read, and mapped guest memory;
        // both outlive the call.
        let written = unsafe { libc::writev(file.as_raw_fd(), vectors.as_ptr(), count) };
        usize::try_from(written).map_err(|_| io::Error::last_os_error())
    }

    /// How many bytes one call of the host moves at most.
    #[must_use]
    pub fn reach(&self) -> usize {
        self.lengths().take(RANGES_MAX).sum()
    }
}

/// A message that consists of these, and says nothing else.
fn message(vectors: &mut Vectors) -> libc::msghdr {
    // SAFETY: all bits zero are a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = vectors.len();
    message
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use crate::GuestMemory;

    fn memory() -> GuestMemory {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        GuestMemory::new(file, 1 << 20).unwrap()
    }

    #[test]
    fn a_look_takes_nothing_and_may_skip() {
        let memory = memory();
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(b"0123456789").unwrap();
        for (skip, text) in [(0, b"0123"), (3, b"3456"), (3, b"3456")] {
            let mut pieces = memory.pieces([(10, 1), (50, 3)].into_iter()).unwrap();
            assert_eq!(pieces.peek_from(far.as_fd(), skip, 100).unwrap(), 4);
            let mut found = [0; 4];
            pieces.read(&mut found);
            assert_eq!(&found, text);
        }
        let mut pieces = memory.pieces([(10, 1)].into_iter()).unwrap();
        let nothing = pieces.peek_from(far.as_fd(), 10, 100).unwrap_err();
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn sending_uses_up_what_was_taken() {
        let memory = memory();
        memory.write(100, b"hello").unwrap();
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut pieces = memory.pieces([(100, 2), (102, 3)].into_iter()).unwrap();
        assert_eq!(pieces.send_to(near.as_fd(), 4).unwrap(), 4);
        assert_eq!(pieces.remaining(), 1);
        assert_eq!(pieces.write_behind(near.as_fd(), b"head").unwrap(), 5);
        drop(near);
        let mut text = String::new();
        far.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hellheado");
    }
}
