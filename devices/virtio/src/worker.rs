//! The threads on which devices work, and what wakes them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Wakes a thread that serves a queue. A call that comes while nobody waits is kept; several
/// are kept as one.
#[derive(Debug, Default)]
pub struct Notifier {
    called: Mutex<bool>,
    changed: Condvar,
}

impl Notifier {
    /// Calls one of those who wait.
    pub fn notify(&self) {
        *self.called.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
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
}

impl Workers {
    /// Starts a thread that calls `work` at once and then after each call of `notifier`.
    ///
    /// # Errors
    /// When the host has no thread.
    pub fn start(
        &mut self,
        name: &str,
        notifier: &Arc<Notifier>,
        mut work: impl FnMut(&Stop) + Send + 'static,
    ) -> io::Result<()> {
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
