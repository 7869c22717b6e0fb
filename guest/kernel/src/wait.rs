//! Waiting without burning the processor.
//!
//! Whatever a thread can wait for has a [`WaitQueue`], on which it says that something changed.
//! [`until`] looks, and sleeps until one of the queues says so.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use guest_hal::sync::Mutex;
use guest_hal::{Nanos, platform};

use crate::fs::file::Events;
use crate::{Errno, Result, sched, signal, thread};

/// Who is told that something changed. Telling does no more than to note it: it may happen
/// under locks.
pub trait Listener: core::any::Any + Send + Sync {
    /// Something changed; `events` is what a file may have become ready for, all bits for others.
    fn notified(&self, events: Events);
}

/// Those who want to know when something changes.
#[derive(Default)]
pub struct WaitQueue(Mutex<Vec<Arc<dyn Listener>>>);

impl fmt::Debug for WaitQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waiting", self.0.lock().len())
    }
}

impl WaitQueue {
    /// Nobody.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Adds one, until [`WaitQueue::remove`].
    pub fn add(&self, listener: Arc<dyn Listener>) {
        self.0.lock().push(listener);
    }

    /// Removes one.
    pub fn remove(&self, listener: &Arc<dyn Listener>) {
        let mut listeners = self.0.lock();
        if let Some(at) = listeners.iter().position(|one| Arc::ptr_eq(one, listener)) {
            listeners.remove(at);
        }
    }

    /// Removes those for which `is_it` holds.
    pub fn forget(&self, is_it: &dyn Fn(&dyn Listener) -> bool) {
        self.0.lock().retain(|listener| !is_it(&**listener));
    }

    /// Whether nobody wants to know.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Says that something changed.
    pub fn notify(&self) {
        self.notify_of(Events::MAX);
    }

    /// Says that a file may be ready for `events` now.
    pub fn notify_of(&self, events: Events) {
        for listener in &*self.0.lock() {
            listener.notified(events);
        }
    }
}

/// Waits until `ready` gives something, a signal wants the thread's attention, or `deadline`
/// (monotonic clock) has passed: then `Ok(None)`. It looks again when one of `queues` says that
/// something changed.
///
/// # Errors
/// `Errno::RESTART` when a signal is to be delivered.
pub fn until<T>(
    queues: &[&WaitQueue],
    deadline: Option<Nanos>,
    ready: &mut dyn FnMut() -> Option<T>,
) -> Result<Option<T>> {
    let Some(thread) = thread::try_current() else {
        return before_threads(deadline, ready);
    };
    let listener: Arc<dyn Listener> = thread.clone();
    queues
        .iter()
        .for_each(|queue| queue.add(Arc::clone(&listener)));
    let result = loop {
        let seen = sched::events_of(&thread);
        if let Some(value) = ready() {
            break Ok(Some(value));
        }
        if thread.is_killed() || signal::is_deliverable() {
            break Err(Errno::RESTART);
        }
        if deadline.is_some_and(|at| guest_hal::time::monotonic() >= at) {
            break Ok(None);
        }
        sched::park(&thread, seen, deadline);
    };
    queues.iter().for_each(|queue| queue.remove(&listener));
    result
}

/// Waits while there is no thread yet, so that nobody else can run.
fn before_threads<T>(
    deadline: Option<Nanos>,
    ready: &mut dyn FnMut() -> Option<T>,
) -> Result<Option<T>> {
    loop {
        let ticket = platform().ticket();
        if let Some(value) = ready() {
            return Ok(Some(value));
        }
        if deadline.is_some_and(|at| guest_hal::time::monotonic() >= at) {
            return Ok(None);
        }
        platform().idle(ticket, deadline, true);
    }
}

/// As [`until`], however long it takes: for what cannot be interrupted.
pub fn uninterrupted(queue: &WaitQueue, ready: &mut dyn FnMut() -> bool) {
    let thread = thread::current();
    let listener: Arc<dyn Listener> = thread.clone();
    queue.add(Arc::clone(&listener));
    loop {
        let seen = sched::events_of(&thread);
        if ready() {
            break;
        }
        sched::park(&thread, seen, None);
    }
    queue.remove(&listener);
}
