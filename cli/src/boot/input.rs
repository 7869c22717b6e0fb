//! Standard input on its way to the guest's first serial port.
//!
//! On a terminal, Ctrl-A is the escape key: Ctrl-A x ends the machine, Ctrl-A Ctrl-A (or Ctrl-A a)
//! sends one Ctrl-A, and any other key after it goes to the guest together with it. Other
//! input goes as it is; its end is not told, since a serial line has none.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::sync_channel;

use machine_board::{Ending, Ends, SerialInput};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::error::Failure;
use crate::run;

/// What a shell says after Ctrl-C.
const STATUS_ENDED: u8 = 130;
const ESCAPE: u8 = 1;

/// Pieces of input from a terminal that wait for the guest at most.
const PIECES_MAX: usize = 1024;

/// Forwards the keys of a terminal until it or the machine ends; a thread's whole life. They must
/// be read while the guest takes none, or the escape key would not work: some wait.
pub(super) fn forward_keys(from: &OwnedFd, to: SerialInput, ends: &Ends) -> Result<(), Failure> {
    let (sender, receiver) = sync_channel::<Vec<u8>>(PIECES_MAX);
    run::start_thread("console-keys", move || {
        let mut pieces = receiver.iter();
        while pieces.next().is_some_and(|piece| to.push(&piece)) {}
    })?;
    let mut keys = Keys::default();
    each(from, |read| {
        let (bytes, is_end) = keys.pass(read);
        if is_end {
            ends.note(Ending::Stopped(STATUS_ENDED));
        }
        // More than that is lost.
        let _ = sender.try_send(bytes);
        !is_end
    });
    Ok(())
}

/// Forwards all bytes until input or the machine ends; a thread's whole life.
pub(super) fn forward(from: &OwnedFd, to: &SerialInput) {
    each(from, |read| to.push(read));
}

/// Reads until the end, or until nobody wants more.
fn each(from: &OwnedFd, mut take: impl FnMut(&[u8]) -> bool) {
    let mut buffer = [0; 4096];
    loop {
        let read = match rustix::io::read(from, &mut buffer) {
            Ok(0) => return,
            Ok(count) => buffer.get(..count).unwrap_or_default(),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => {
                let from = from.as_fd();
                let mut ready = [PollFd::new(&from, PollFlags::IN)];
                // An error shows at the next read.
                let _ = poll(&mut ready, None);
                continue;
            }
            Err(_) => return,
        };
        if !take(read) {
            return;
        }
    }
}

/// Looks for the escape key.
#[derive(Debug, Default)]
struct Keys {
    escaped: bool,
}

impl Keys {
    /// The bytes for the guest, and whether the machine is to end.
    fn pass(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::new();
        for &byte in bytes {
            match (std::mem::take(&mut self.escaped), byte) {
                (false, ESCAPE) => self.escaped = true,
                (true, b'x' | b'X') => return (passed, true),
                (true, ESCAPE | b'a' | b'A') => passed.push(ESCAPE),
                (true, other) => passed.extend([ESCAPE, other]),
                (false, other) => passed.push(other),
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&[u8]], expected: &[u8], ends: bool) {
        let mut keys = Keys::default();
        let mut all = Vec::new();
        let mut ended = false;
        for piece in pieces {
            let (bytes, end) = keys.pass(piece);
            all.extend(bytes);
            ended |= end;
        }
        assert_eq!((all.as_slice(), ended), (expected, ends), "{pieces:?}");
    }

    #[test]
    fn the_escape_key_ends_or_sends_itself() {
        check(&[b"ls\r"], b"ls\r", false);
        check(&[b"a\x01x"], b"a", true);
        check(&[b"a\x01", b"x"], b"a", true);
        check(&[b"\x01\x01x"], b"\x01x", false);
        check(&[b"\x01ab"], b"\x01b", false);
        check(&[b"\x01\x1b[A"], b"\x01\x1b[A", false);
        check(&[b"\x00\xff\x03"], b"\x00\xff\x03", false);
    }
}
