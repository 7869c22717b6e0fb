//! One thread that waits for the machine's time on behalf of all chips, unless the clock itself calls who waits for it.
//!
//! A chip that wants to be looked at sets its deadline after every access; the thread sleeps until
//! the earliest and lets those that are due look at the time. Lock order: a chip's, then the
//! deadlines'; the thread holds no deadline while a chip is called.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use std::{fmt, io};

use engine_contract::Timed as Attended;
use machine_bus::Nanos;

use crate::clock::Clock;

/// What is called when its deadline has come.
pub(crate) trait Timed: Send + Sync {
    /// Time has passed; sets its next deadline.
    fn advance(&self);
}

struct Entry {
    due: Option<Nanos>,
    timed: Weak<dyn Timed>,
}

#[derive(Default)]
struct Inner {
    entries: Vec<Entry>,
    stopped: bool,
}

/// The deadlines of all chips.
pub(crate) struct Timers {
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers").finish_non_exhaustive()
    }
}

/// One deadline.
#[derive(Clone, Debug)]
pub(crate) struct Timer {
    timers: Arc<Timers>,
    number: usize,
}

impl Timer {
    /// The next deadline, or none.
    pub(crate) fn set(&self, due: Option<Nanos>) {
        let mut inner = self.timers.inner();
        let first = inner.first();
        if let Some(entry) = inner.entries.get_mut(self.number) {
            entry.due = due;
        }
        // The thread need not wake up to learn that it may sleep longer.
        if due.is_some_and(|due| first.is_none_or(|first| due < first)) {
            self.timers.changed.notify_all();
        }
    }
}

impl Inner {
    fn first(&self) -> Option<Nanos> {
        self.entries.iter().filter_map(|entry| entry.due).min()
    }

    /// Those whose deadline has come, which with that have none.
    fn take_due(&mut self, now: Nanos) -> Vec<Arc<dyn Timed>> {
        let is_due = |entry: &&mut Entry| entry.due.is_some_and(|due| due <= now);
        let due = self.entries.iter_mut().filter(is_due);
        due.filter_map(|entry| {
            entry.due = None;
            entry.timed.upgrade()
        })
        .collect()
    }
}

impl Timers {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            inner: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// A deadline for whom it wakes.
    pub(crate) fn add(self: &Arc<Self>, timed: Weak<dyn Timed>) -> Timer {
        let mut inner = self.inner();
        inner.entries.push(Entry { due: None, timed });
        Timer {
            timers: Arc::clone(self),
            number: inner.entries.len() - 1,
        }
    }

    /// Lets everyone who is due look at the time.
    pub(crate) fn run_due(&self) {
        let due = self.inner().take_due(self.clock.now());
        for timed in due {
            timed.advance();
        }
    }

    /// Starts the thread, if there has to be one.
    pub(crate) fn start(self: &Arc<Self>) -> io::Result<Option<JoinHandle<()>>> {
        if self.clock.attend(Arc::clone(self) as _) {
            return Ok(None);
        }
        let timers = Arc::clone(self);
        let thread = Builder::new().name("timers".to_owned());
        let started = thread.spawn(move || {
            while timers.wait() {
                timers.run_due();
            }
        });
        started.map(Some)
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.inner().stopped = true;
        self.changed.notify_all();
    }

    /// Until someone is due; whether the thread goes on.
    fn wait(&self) -> bool {
        let mut inner = self.inner();
        while !inner.stopped {
            let now = self.clock.now();
            let left = inner.first().map(|due| due.0.saturating_sub(now.0));
            inner = match left {
                Some(0) => return true,
                Some(left) => {
                    let woken = self.changed.wait_timeout(inner, Duration::from_nanos(left));
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let woken = self.changed.wait(inner);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
        false
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attended for Timers {
    fn next(&self) -> Option<Nanos> {
        self.inner().first()
    }

    fn run_due(&self) {
        Self::run_due(self);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;

    use super::*;
    use crate::clock::HostClock;
    use crate::testing::FakeClock;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Timed for Count {
        fn advance(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn only_those_who_are_due_are_called_and_only_once() {
        let clock = Arc::new(FakeClock::default());
        let timers = Timers::new(clock.clone());
        let (early, late) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let of = |timed: &Arc<Count>| {
            let timed: Weak<Count> = Arc::downgrade(timed);
            timers.add(timed)
        };
        of(&early).set(Some(Nanos(10)));
        let last = of(&late);
        last.set(Some(Nanos(20)));
        let counts = || [&early, &late].map(|count| count.0.load(Ordering::SeqCst));
        timers.run_due();
        assert_eq!(counts(), [0, 0]);
        clock.set(15);
        timers.run_due();
        timers.run_due();
        assert_eq!(counts(), [1, 0]);
        last.set(None);
        clock.set(30);
        timers.run_due();
        assert_eq!(counts(), [1, 0]);
    }

    #[test]
    fn the_thread_wakes_for_a_deadline_and_ends_when_told() {
        struct Tell(mpsc::SyncSender<()>);
        impl Timed for Tell {
            fn advance(&self) {
                let _ = self.0.try_send(());
            }
        }
        let timers = Timers::new(Arc::new(HostClock::start()));
        let (sender, receiver) = mpsc::sync_channel(1);
        let tell = Arc::new(Tell(sender));
        let weak: Weak<Tell> = Arc::downgrade(&tell);
        let timer = timers.add(weak);
        let thread = timers.start().unwrap().unwrap();
        timer.set(Some(Nanos(1)));
        receiver.recv().unwrap();
        timers.stop();
        thread.join().unwrap();
    }
}
