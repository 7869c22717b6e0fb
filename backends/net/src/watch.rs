//! Waiting for a file of the host that others may be reading meanwhile.
//!
//! A file that has something ends one wait and then no more, until [`Watch::rest`] says that
//! whoever reads it has stopped: a thread that waits is not woken for what another is at.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

const FILE: u64 = 0;
const WAKE: u64 = 1;

#[derive(Debug)]
pub(crate) struct Watch {
    epoll: OwnedFd,
    wake: OwnedFd,
    /// Whether the file ends the next wait.
    armed: AtomicBool,
}

/// What ends one wait.
const ONCE: EventFlags = EventFlags::IN.union(EventFlags::ONESHOT);

impl Watch {
    /// # Errors
    /// The host's.
    pub(crate) fn new(file: &impl AsFd) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, file, EventData::new_u64(FILE), ONCE)?;
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        Ok(Self {
            epoll,
            wake,
            armed: AtomicBool::new(true),
        })
    }

    /// Waits until the file has something, somebody calls [`Watch::wake`], or for `patience`.
    pub(crate) fn wait(&self, patience: Option<Timespec>) {
        let mut room = [const { MaybeUninit::uninit() }; 2];
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut room, patience.as_ref()) else {
            return;
        };
        for event in events {
            let epoll::Event { data, .. } = *event;
            if data.u64() == FILE {
                self.armed.store(false, Ordering::SeqCst);
            } else {
                // Read by another thread that was woken with this one, perhaps.
                let _ = rustix::io::read(&self.wake, &mut [0; 8]);
            }
        }
    }

    /// Has the file end no wait until [`Watch::rest`]: the caller reads it.
    pub(crate) fn hold(&self, file: &impl AsFd) {
        if self.armed.swap(false, Ordering::SeqCst) {
            let nothing = EventFlags::empty();
            let _ = epoll::modify(&self.epoll, file, EventData::new_u64(FILE), nothing);
        }
    }

    /// Has the file end a wait again, at once if it has something now.
    pub(crate) fn rest(&self, file: &impl AsFd) {
        if !self.armed.swap(true, Ordering::SeqCst) {
            // Of what was added before, nothing can fail but the host's memory.
            let _ = epoll::modify(&self.epoll, file, EventData::new_u64(FILE), ONCE);
        }
    }

    /// Whether somebody reads the file now.
    pub(crate) fn is_held(&self) -> bool {
        !self.armed.load(Ordering::SeqCst)
    }

    /// Ends the wait that is, or the next.
    pub(crate) fn wake(&self) {
        // A counter that is full wakes as well.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn waits(watch: &Watch) -> bool {
        let start = Instant::now();
        watch.wait(Some(Timespec {
            tv_sec: 0,
            tv_nsec: 20_000_000,
        }));
        start.elapsed() >= Duration::from_millis(20)
    }

    #[test]
    fn what_is_there_ends_one_wait_until_its_reader_rests() {
        let file = eventfd(1, EventfdFlags::NONBLOCK).expect("the host has them");
        let watch = Watch::new(&file).expect("it can be watched");
        assert!(!waits(&watch));
        assert!(waits(&watch));
        watch.rest(&file);
        assert!(!waits(&watch));
        rustix::io::read(&file, &mut [0; 8]).expect("it counts");
        watch.rest(&file);
        assert!(waits(&watch));
        watch.wake();
        assert!(!waits(&watch));
    }

    #[test]
    fn what_somebody_reads_ends_no_wait() {
        let file = eventfd(0, EventfdFlags::NONBLOCK).expect("the host has them");
        let watch = Watch::new(&file).expect("it can be watched");
        watch.hold(&file);
        rustix::io::write(&file, &1_u64.to_ne_bytes()).expect("it counts");
        assert!(waits(&watch));
        watch.rest(&file);
        assert!(!waits(&watch));
    }
}
