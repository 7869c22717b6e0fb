//! The threads on which devices work, and what wakes them; or no threads, where work is done by whoever notifies.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};

/// What is done at each call.
type Work = Box<dyn FnMut(&Stop) + Send>;

/// Wakes a thread that serves a queue. A call that comes while nobody waits is kept; several
/// are kept as one.
#[derive(Default)]
pub struct Notifier {
    called: Mutex<bool>,
    changed: Condvar,
    /// Whoever calls does the work.
    at_once: AtomicBool,
    work: Mutex<Option<Work>>,
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Notifier").field(&self.called).finish()
    }
}

impl Notifier {
    /// Has work done before a call comes back, from the next start on.
    pub(crate) fn work_at_once(&self) {
        self.at_once.store(true, Ordering::Relaxed);
    }

    fn is_at_once(&self) -> bool {
        self.at_once.load(Ordering::Relaxed)
    }

    /// Calls one of those who wait.
    pub fn notify(&self) {
        self.set_called(true);
        if self.is_at_once() {
            self.work();
        } else {
            self.changed.notify_one();
        }
    }

    /// Does what there is to do. A call by who is at it is answered by them.
    fn work(&self) {
        let mut work = match self.work.try_lock() {
            Ok(work) => work,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        while let Some(work) = work.as_mut().filter(|_| self.set_called(false)) {
            work(&Stop::default());
        }
    }

    /// Notes whether there was a call; whether there was one before.
    fn set_called(&self, value: bool) -> bool {
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *called, value)
    }

    /// What is done from now on, beginning with this; one does it where several would.
    fn set_work(&self, work: Option<Work>) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = work;
        self.set_called(true);
        self.work();
    }

    /// Waits for a call, which is used up; `false` when `stop` was set and the wait is over.
    fn wait(&self, stop: &AtomicBool) -> bool {
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if stop.load(Ordering::Acquire) {
                return false;
            }
            if std::mem::take(&mut *called) {
                return true;
            }
            called = self
                .changed
                .wait(called)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Makes everyone look at their stop flag.
    fn wake_all(&self) {
        drop(self.called.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

/// Whether a thread has to end soon.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Whether it has.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The threads of an active device. Dropping them stops and joins them.
#[derive(Debug, Default)]
pub struct Workers {
    stop: Stop,
    threads: Vec<(Arc<Notifier>, JoinHandle<()>)>,
    /// Those whose callers work.
    callers: Vec<Arc<Notifier>>,
}

impl Workers {
    /// Starts a thread that calls `work` at once and then after each call of `notifier`; or has its callers do so.
    ///
    /// # Errors
    /// When the host has no thread.
    pub fn start(
        &mut self,
        name: &str,
        notifier: &Arc<Notifier>,
        mut work: impl FnMut(&Stop) + Send + 'static,
    ) -> io::Result<()> {
        if notifier.is_at_once() {
            self.callers.push(Arc::clone(notifier));
            notifier.set_work(Some(Box::new(work)));
            return Ok(());
        }
        let (stop, own) = (self.stop.clone(), Arc::clone(notifier));
        let body = move || {
            work(&stop);
            while own.wait(&stop.0) {
                work(&stop);
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body)?;
        self.threads.push((Arc::clone(notifier), thread));
        Ok(())
    }

    /// Ends the threads, each after the request that it is at, and waits for them.
    pub fn stop(&mut self) {
        self.stop.0.store(true, Ordering::Release);
        for (notifier, _) in &self.threads {
            notifier.wake_all();
        }
        for (_, thread) in self.threads.drain(..) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
        for notifier in self.callers.drain(..) {
            notifier.set_work(None);
        }
        self.stop = Stop::default();
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_call_while_nobody_waits_is_kept() {
        let (sender, receiver) = mpsc::channel();
        let (notifier, mut workers) = (Arc::<Notifier>::default(), Workers::default());
        workers
            .start("test", &notifier, move |_| {
                sender.send(()).expect("the test listens")
            })
            .expect("it works");
        receiver.recv().expect("it works");
        notifier.notify();
        receiver.recv().expect("it works");
        workers.stop();
        assert!(receiver.recv().is_err());
    }

    #[test]
    fn callers_work_before_they_come_back_and_once_for_each_call() {
        let (sender, receiver) = mpsc::channel();
        let (notifier, mut workers) = (Arc::<Notifier>::default(), Workers::default());
        notifier.work_at_once();
        let (again, mut count) = (Arc::downgrade(&notifier), 0);
        let work = move |_: &Stop| {
            count += 1;
            sender.send(count).expect("the test listens");
            // The third call is its own.
            if count == 2 {
                again.upgrade().expect("it is there").notify();
            }
        };
        workers.start("test", &notifier, work).expect("it works");
        let done = || receiver.try_iter().collect::<Vec<_>>();
        assert_eq!(done(), [1]);
        notifier.notify();
        assert_eq!(done(), [2, 3]);
        workers.stop();
        notifier.notify();
        assert_eq!(done(), []);
    }

    #[test]
    fn threads_can_be_started_again() {
        let (notifier, mut workers) = (Arc::<Notifier>::default(), Workers::default());
        for _ in 0..3 {
            let (sender, receiver) = mpsc::channel();
            for _ in 0..2 {
                let sender = sender.clone();
                workers
                    .start("test", &notifier, move |_| {
                        sender.send(()).expect("the test listens")
                    })
                    .expect("it works");
            }
            receiver.recv().expect("it works");
            receiver.recv().expect("it works");
            workers.stop();
        }
    }
}
