//! What the guest sends to its first serial port, on its way to standard output.
//!
//! A virtual CPU puts bytes into a buffer of bounded size, and waits while that is full; a thread
//! writes them out, many at a time. Bytes are not looked at.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use machine_board::Output;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::error::Failure;
use crate::run;

/// Most bytes that wait.
const BUFFER_MAX: usize = 64 << 10;

#[derive(Default)]
struct State {
    buffer: Vec<u8>,
    /// The thread has taken bytes and not written all of them yet.
    is_writing: bool,
    /// Nobody takes them any more: bytes are lost.
    is_lost: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The way out.
pub(super) struct Console(Arc<Shared>);

struct End(Arc<Shared>);

impl Output for End {
    fn put(&mut self, bytes: &[u8]) {
        let is_full = |state: &State| state.buffer.len() >= BUFFER_MAX && !state.is_lost;
        let mut state = self.0.wait_while(is_full);
        if !state.is_lost {
            state.buffer.extend_from_slice(bytes);
            self.0.changed.notify_all();
        }
    }
}

impl Console {
    /// To this descriptor; without, everything is lost.
    pub(super) fn start(to: Option<OwnedFd>) -> Result<Self, Failure> {
        let shared = Arc::<Shared>::default();
        let console = Self(Arc::clone(&shared));
        match to {
            Some(to) => run::start_thread("console-out", move || shared.write_to(&to))?,
            None => shared.lose(),
        }
        Ok(console)
    }

    /// Where the board puts what the guest sends.
    pub(super) fn output(&self) -> Box<dyn Output> {
        Box::new(End(Arc::clone(&self.0)))
    }

    /// The machine has ended; with `wait`, when all is written.
    pub(super) fn finish(&self, wait: bool) {
        if wait {
            let is_left =
                |state: &State| (state.is_writing || !state.buffer.is_empty()) && !state.is_lost;
            drop(self.0.wait_while(is_left));
        }
        self.0.lose();
    }
}

impl Shared {
    fn write_to(&self, to: &OwnedFd) {
        loop {
            let mut state = self.wait_while(|state| state.buffer.is_empty() && !state.is_lost);
            if state.is_lost {
                return;
            }
            let bytes = std::mem::take(&mut state.buffer);
            state.is_writing = true;
            drop(state);
            self.changed.notify_all();
            if write_all(to.as_fd(), &bytes).is_err() {
                return self.lose();
            }
            self.state().is_writing = false;
            self.changed.notify_all();
        }
    }

    fn lose(&self) {
        self.state().is_lost = true;
        self.changed.notify_all();
    }

    fn wait_while(&self, condition: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self
            .changed
            .wait_while(self.state(), |state| condition(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Also to what others have made non-blocking.
fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut ready = [PollFd::new(&to, PollFlags::OUT)];
                // An error shows at the next write.
                let _ = poll(&mut ready, None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn every_byte_arrives_in_order() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let console = Console::start(Some(writer.into())).unwrap();
        let mut output = console.output();
        let thread = std::thread::spawn(move || {
            let mut all = vec![0; 1 << 18];
            reader.read_exact(&mut all).unwrap();
            all
        });
        let sent: Vec<u8> = (0..1 << 18).map(|at: u32| (at ^ (at >> 8)) as u8).collect();
        for piece in sent.chunks(77) {
            output.put(piece);
        }
        console.finish(true);
        assert_eq!(thread.join().unwrap(), sent);
    }

    #[test]
    fn without_a_reader_bytes_are_lost_and_nobody_waits() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        for to in [None, Some(writer.into())] {
            let console = Console::start(to).unwrap();
            let mut output = console.output();
            for _ in 0..4 {
                output.put(&[0; BUFFER_MAX]);
            }
            console.finish(true);
        }
    }

    #[test]
    fn an_end_from_outside_does_not_wait_for_a_reader() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let console = Console::start(Some(writer.into())).unwrap();
        let mut output = console.output();
        output.put(&[0; 2 * BUFFER_MAX]);
        console.finish(false);
        output.put(&[0; 2 * BUFFER_MAX]);
    }
}
