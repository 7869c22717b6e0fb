//! Ending a blocked request from another thread.
//!
//! What: [`Interrupter`] names a request by its number. A service that is about to block enters
//! itself in the [`Registry`] with an eventfd that it polls together with the stream. An
//! interruption either finds it there and writes the eventfd, or came too early and is noted
//! down; both happen under one lock, so none is lost. A note for a request that never blocks
//! is dropped after [`EARLY_MAX`] newer ones, which supposes that numbers are not reused
//! sooner, as the protocol demands anyway.
//!
//! Neighbours: [`crate::stream`] blocks; the device and the INTERRUPT request interrupt.
//!
//! What it does not do: no signals to threads.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;

/// How many interruptions are remembered that came before their request blocked.
const EARLY_MAX: usize = 64;

/// Makes blocked requests of a console end with `EINTR`. Cheap to clone, for any thread.
#[derive(Clone, Debug)]
pub struct Interrupter {
    registry: Arc<Mutex<Registry>>,
}

impl Interrupter {
    /// Makes the read or write with this request number end: with `EINTR` if nothing was
    /// transferred, else with the partial count. If it does not block yet, it will end when it
    /// would; if it has ended, nothing happens.
    pub fn interrupt(&self, unique: u64) {
        let mut registry = self.lock();
        match registry
            .blocked
            .iter()
            .find(|blocked| blocked.unique == unique)
        {
            Some(blocked) => ring(&blocked.bell),
            None => registry.note(unique),
        }
    }

    /// Makes every read and write that blocks now end, as [`Interrupter::interrupt`] does.
    pub fn interrupt_all(&self) {
        self.lock().blocked.iter().for_each(|one| ring(&one.bell));
    }

    /// Makes everything that blocks, now or later, end at once: the machine is going down.
    pub fn shut_down(&self) {
        let mut registry = self.lock();
        registry.closed = true;
        for blocked in &registry.blocked {
            ring(&blocked.bell);
        }
    }

    /// An interrupter with nothing to interrupt yet.
    pub(crate) fn new() -> Self {
        Self {
            registry: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who blocks, and who must not.
#[derive(Debug, Default)]
struct Registry {
    blocked: Vec<Blocked>,
    early: VecDeque<u64>,
    closed: bool,
}

impl Registry {
    fn note(&mut self, unique: u64) {
        if self.early.len() >= EARLY_MAX {
            self.early.pop_front();
        }
        self.early.push_back(unique);
    }

    /// Whether `unique` was interrupted before it blocked; the note is used up.
    fn was_early(&mut self, unique: u64) -> bool {
        let found = self.early.iter().position(|&noted| noted == unique);
        found.and_then(|index| self.early.remove(index)).is_some()
    }
}

/// A request that blocks, and the eventfd that wakes it.
#[derive(Debug)]
struct Blocked {
    unique: u64,
    bell: Arc<OwnedFd>,
}

/// One service's place to block.
#[derive(Debug)]
pub(crate) struct Waiter {
    interrupter: Interrupter,
    bell: Arc<OwnedFd>,
}

impl Waiter {
    pub(crate) fn new(interrupter: Interrupter) -> rustix::io::Result<Self> {
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        Ok(Self { interrupter, bell })
    }

    pub(crate) fn interrupter(&self) -> &Interrupter {
        &self.interrupter
    }

    /// Waits until `stream` has one of `events` (or an error), or until the request is
    /// interrupted: `EINTR`.
    pub(crate) fn wait(
        &self,
        stream: BorrowedFd<'_>,
        events: PollFlags,
        unique: u64,
    ) -> rustix::io::Result<()> {
        self.enter(unique)?;
        let outcome = self.poll(stream, events);
        self.leave();
        outcome
    }

    fn enter(&self, unique: u64) -> rustix::io::Result<()> {
        let mut registry = self.interrupter.lock();
        if registry.was_early(unique) || registry.closed {
            return Err(Errno::INTR);
        }
        registry.blocked.push(Blocked {
            unique,
            bell: Arc::clone(&self.bell),
        });
        Ok(())
    }

    fn poll(&self, stream: BorrowedFd<'_>, events: PollFlags) -> rustix::io::Result<()> {
        let mut both = [
            PollFd::from_borrowed_fd(stream, events),
            PollFd::from_borrowed_fd(self.bell.as_fd(), PollFlags::IN),
        ];
        while let Err(errno) = poll(&mut both, None) {
            if errno != Errno::INTR {
                return Err(errno); // a signal to the monitor is not the guest's
            }
        }
        let [stream, bell] = both;
        match (stream.revents().is_empty(), bell.revents().is_empty()) {
            (true, false) => Err(Errno::INTR),
            _ => Ok(()),
        }
    }

    /// Leaves the registry; nobody can ring after that, so one read silences the bell.
    fn leave(&self) {
        let mut registry = self.interrupter.lock();
        registry
            .blocked
            .retain(|blocked| !Arc::ptr_eq(&blocked.bell, &self.bell));
        let _ = rustix::io::read(&*self.bell, &mut [0; 8]); // EAGAIN: it was silent
    }
}

/// Writes an eventfd; it can only fail by being at its limit, which rings as well.
fn ring(bell: &OwnedFd) {
    let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
}
