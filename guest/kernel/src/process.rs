//! The process. There is one so far; everything is an object nevertheless, since there
//! will be more.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use guest_hal::sync::{Mutex, Once};
use guest_hal::{LinearAddress, Nanos};

use crate::fs::{FileTable, FsContext};
use crate::mm::AddressSpace;
use crate::signal::Signals;
use crate::thread::Thread;
use crate::time::Timers;
use crate::wait::WaitQueue;

/// Who the process is, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Real, effective and saved user.
    pub uid: [u32; 3],
    /// Real, effective and saved group.
    pub gid: [u32; 3],
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl Credentials {
    /// The effective user.
    #[must_use]
    pub const fn euid(&self) -> u32 {
        let [_, effective, _] = self.uid;
        effective
    }

    /// The effective group.
    #[must_use]
    pub const fn egid(&self) -> u32 {
        let [_, effective, _] = self.gid;
        effective
    }

    /// Whether the process may do what only root may.
    #[must_use]
    pub const fn is_root(&self) -> bool {
        self.euid() == 0
    }
}

/// What started: for `/proc` and the auxiliary vector.
#[derive(Clone, Debug, Default)]
pub struct ProgramInfo {
    /// Absolute path of the program's file.
    pub path: Vec<u8>,
    /// The command name, at most 15 bytes.
    pub name: Vec<u8>,
    /// Where the arguments lie: NUL-terminated strings.
    pub arguments: (LinearAddress, u64),
    /// Where the environment lies.
    pub environment: (LinearAddress, u64),
    /// The auxiliary vector as the program got it.
    pub auxiliary: Vec<u8>,
    /// Stack pointer at the start.
    pub stack: u64,
}

/// A process.
#[derive(Debug)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its address space.
    pub memory: Mutex<AddressSpace>,
    /// Its descriptors.
    pub files: Mutex<FileTable>,
    /// Its root, working directory and mask.
    pub fs: Mutex<FsContext>,
    /// Its credentials.
    pub credentials: Mutex<Credentials>,
    /// Its signals: those for any of its threads, and how all are handled.
    pub signals: Mutex<Signals>,
    /// Told whenever a signal becomes pending for any of its threads.
    pub signal_queue: WaitQueue,
    /// Its threads by number.
    pub threads: Mutex<BTreeMap<u32, Arc<Thread>>>,
    /// Told whenever a thread has ended.
    pub ended_threads: WaitQueue,
    /// Its timers.
    pub timers: Mutex<Timers>,
    /// Soft and hard limits by `RLIMIT_` number; `u64::MAX`: none.
    pub limits: Mutex<[(u64, u64); 16]>,
    /// What it runs.
    pub program: Mutex<ProgramInfo>,
    /// Processor time of its threads, in nanoseconds, as far as it was counted.
    pub(crate) processor_time: AtomicU64,
    /// What it has registered for barriers among its threads, as `membarrier` numbers it.
    pub barriers: AtomicU32,
    /// How often threads that have ended were switched: see [`Process::switches`].
    pub(crate) ended_switches: Mutex<(u64, u64)>,
    /// The number that was given to a thread last.
    last_tid: AtomicU32,
}

/// What a process begins with.
#[derive(Debug)]
pub struct Beginning {
    /// Its number.
    pub pid: u32,
    /// Its address space.
    pub memory: AddressSpace,
    /// Its descriptors.
    pub files: FileTable,
    /// Its root, working directory and mask.
    pub fs: FsContext,
    /// Its credentials.
    pub credentials: Credentials,
    /// Signals that it ignores, as a mask.
    pub ignored_signals: u64,
    /// Its limits.
    pub limits: [(u64, u64); 16],
}

/// Numbers of threads lie below (Linux' `PID_MAX_DEFAULT`).
const TID_MAX: u32 = 32768;

impl Process {
    /// A process without threads.
    #[must_use]
    pub fn new(beginning: Beginning) -> Self {
        Self {
            pid: beginning.pid,
            memory: Mutex::new(beginning.memory),
            files: Mutex::new(beginning.files),
            fs: Mutex::new(beginning.fs),
            credentials: Mutex::new(beginning.credentials),
            signals: Mutex::new(Signals::ignoring(beginning.ignored_signals)),
            signal_queue: WaitQueue::new(),
            threads: Mutex::new(BTreeMap::new()),
            ended_threads: WaitQueue::new(),
            timers: Mutex::new(Timers::default()),
            limits: Mutex::new(beginning.limits),
            program: Mutex::new(ProgramInfo::default()),
            processor_time: AtomicU64::new(0),
            barriers: AtomicU32::new(0),
            ended_switches: Mutex::new((0, 0)),
            last_tid: AtomicU32::new(beginning.pid),
        }
    }

    /// A number for a new thread; `None` when all are taken.
    pub fn new_tid(&self) -> Option<u32> {
        let threads = self.threads.lock();
        let last = self.last_tid.load(Ordering::Relaxed);
        let numbers = (last + 1..TID_MAX).chain(self.pid + 1..=last);
        let free = numbers.into_iter().find(|tid| !threads.contains_key(tid))?;
        self.last_tid.store(free, Ordering::Relaxed);
        Some(free)
    }

    /// One of its threads by number.
    #[must_use]
    pub fn thread(&self, tid: u32) -> Option<Arc<Thread>> {
        self.threads.lock().get(&tid).cloned()
    }

    /// How often its threads went from running to waiting, and how often they had to make room for
    /// others.
    pub fn switches(&self) -> (u64, u64) {
        let ended = *self.ended_switches.lock();
        let threads = self.threads.lock();
        let switches = threads.values().map(|thread| thread.switches());
        switches.fold(ended, |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    pub(crate) fn add_processor_time(&self, time: Nanos) {
        self.processor_time.fetch_add(time.0, Ordering::Relaxed);
    }

    /// Closes the descriptors that an exec closes.
    pub fn close_for_exec(&self) {
        let mut files = self.files.lock();
        let marked = files.numbers().into_iter().filter(|&fd| {
            files
                .descriptor(fd)
                .is_ok_and(|descriptor| descriptor.close_on_exec)
        });
        let marked: Vec<i32> = marked.collect();
        let closed: Vec<_> = marked.into_iter().map(|fd| files.remove(fd)).collect();
        // Closing may ask a file system, so not under the lock.
        drop(files);
        drop(closed);
    }
}

static CURRENT: Once<Arc<Process>> = Once::new();

/// Makes the first process; once.
pub fn set_current(process: Process) -> &'static Arc<Process> {
    CURRENT.call_once(|| Arc::new(process))
}

/// The process that runs.
///
/// # Panics
/// Before there is one.
#[must_use]
pub fn current() -> &'static Arc<Process> {
    CURRENT.get().expect("system calls come from a process")
}

/// Number of the `RLIMIT_` limits by name.
pub mod limit {
    #![expect(missing_docs, reason = "Linux' own names")]
    pub const FSIZE: usize = 1;
    pub const DATA: usize = 2;
    pub const STACK: usize = 3;
    pub const CORE: usize = 4;
    pub const NOFILE: usize = 7;
    pub const MEMLOCK: usize = 8;
    pub const AS: usize = 9;
    pub const NICE: usize = 13;
    pub const RTPRIO: usize = 14;
}

static HOST_NAME: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// The machine's name.
#[must_use]
pub fn host_name() -> Vec<u8> {
    HOST_NAME.lock().clone()
}

/// Renames the machine.
pub fn set_host_name(name: Vec<u8>) {
    *HOST_NAME.lock() = name;
}
