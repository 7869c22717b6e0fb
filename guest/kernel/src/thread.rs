//! Threads of the program.
//!
//! A thread is a task of the layer below ([`guest_hal::task`]) with what Linux keeps for each:
//! its number, signals, name, and how it is scheduled. [`crate::sched`] decides who runs.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use guest_hal::sync::{Mutex, Once};
use guest_hal::task::Task;
use guest_hal::{LinearAddress, Nanos, UserContext, platform, time};

use crate::fs::file::Events;
use crate::futex::Inheritance;
use crate::process::Process;
use crate::sched::Scheduling;
use crate::signal::ThreadSignals;
use crate::wait::Listener;
use crate::{Errno, Result, sched};

/// Where a thread and the kernel speak about restartable sequences (`struct rseq`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rseq {
    /// Where the structure is.
    pub address: LinearAddress,
    /// How long it is.
    pub length: u32,
    /// What stands before every place where a sequence is given up.
    pub signature: u32,
}

/// A thread.
#[derive(Debug)]
pub struct Thread {
    /// Its number; the first thread has its process's.
    pub tid: u32,
    /// Its process.
    pub process: Arc<Process>,
    task: Once<Arc<Task>>,
    /// When it was made (monotonic clock).
    pub started: Nanos,
    /// How it is scheduled.
    pub(crate) scheduling: Mutex<Scheduling>,
    /// Its own signals.
    pub signals: Mutex<ThreadSignals>,
    /// Its name (`comm`), at most 15 bytes.
    pub name: Mutex<Vec<u8>>,
    /// Cleared, and waiters on it woken, when it ends.
    pub clear_tid: Mutex<LinearAddress>,
    /// Head of its list of robust futexes; zero: none.
    pub robust_list: Mutex<LinearAddress>,
    /// Who waits for words that it owns, and for whose it waits.
    pub(crate) inheritance: Mutex<Inheritance>,
    /// Its restartable sequences, if it has any.
    pub rseq: Mutex<Option<Rseq>>,
    /// It was away from its virtual CPU since it was last in the program.
    pub(crate) was_away: AtomicBool,
    /// What the processor said of its last fault: error, vector, address.
    pub last_fault: Mutex<[u64; 3]>,
    /// There may be a signal to deliver.
    pub(crate) signal_work: AtomicBool,
    /// It ends instead of going back to the program.
    killed: AtomicBool,
}

impl Thread {
    /// Thread `tid` of a process, which starts at `context` with that base of thread-local storage
    /// and the vector state of the caller; not running yet.
    ///
    /// # Errors
    /// `EAGAIN` without memory.
    pub fn new(
        process: &Arc<Process>,
        tid: u32,
        context: &UserContext,
        tls_base: u64,
    ) -> Result<Arc<Self>> {
        let task = Task::new(context, tls_base).ok_or(Errno::EAGAIN)?;
        let thread = Self::taskless(process, tid);
        thread.task.call_once(|| task);
        Ok(Arc::new(thread))
    }

    fn taskless(process: &Arc<Process>, tid: u32) -> Self {
        Self {
            tid,
            process: Arc::clone(process),
            task: Once::new(),
            started: time::monotonic(),
            scheduling: Mutex::new(Scheduling::default()),
            signals: Mutex::new(ThreadSignals::default()),
            name: Mutex::new(Vec::new()),
            clear_tid: Mutex::new(LinearAddress(0)),
            robust_list: Mutex::new(LinearAddress(0)),
            inheritance: Mutex::new(Inheritance::default()),
            rseq: Mutex::new(None),
            was_away: AtomicBool::new(false),
            last_fault: Mutex::new([0; 3]),
            signal_work: AtomicBool::new(false),
            killed: AtomicBool::new(false),
        }
    }

    pub(crate) fn task(&self) -> Arc<Task> {
        Arc::clone(self.task.get().expect("every thread is made with a task"))
    }

    /// Makes it end at its next step.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        self.notify();
        sched::interrupt(self);
    }

    /// Whether it ends instead of going back to the program.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// Has its restartable sequences looked after before it goes back to the program.
    pub fn note_rseq(&self) {
        self.was_away.store(true, Ordering::Relaxed);
        sched::interrupt(self);
    }

    /// Whether it was away from its virtual CPU since [`Thread::take_was_away`] was last asked.
    pub fn was_away(&self) -> bool {
        self.was_away.load(Ordering::Relaxed)
    }

    /// Whether it was away from its virtual CPU since this was last asked.
    pub fn take_was_away(&self) -> bool {
        self.was_away() && self.was_away.swap(false, Ordering::Relaxed)
    }

    /// How often it went from running to waiting, and how often it had to make room for another.
    pub fn switches(&self) -> (u64, u64) {
        self.scheduling.lock().switches
    }

    /// Wakes it if it waits, and keeps it from the next wait that began before.
    pub fn notify(&self) {
        sched::notify(self);
    }

    /// Says that there may be a signal to deliver to the running thread, which this is.
    pub(crate) fn note_own_signal(&self) {
        self.signal_work.store(true, Ordering::Relaxed);
        sched::interrupt(self);
    }

    /// Says that there may be a signal to deliver to it.
    pub(crate) fn note_signal(&self) {
        self.signal_work.store(true, Ordering::Relaxed);
        self.notify();
        sched::interrupt(self);
    }
}

impl Listener for Thread {
    fn notified(&self, _: Events) {
        self.notify();
    }
}

/// The thread that runs here, if the program has started.
#[must_use]
pub fn try_current() -> Option<Arc<Thread>> {
    sched::running(platform().vcpu())
}

/// The thread that runs here.
///
/// # Panics
/// Before the program has started.
#[must_use]
pub fn current() -> Arc<Thread> {
    try_current().expect("system calls come from a thread")
}
