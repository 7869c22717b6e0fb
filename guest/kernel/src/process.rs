//! The process. There is one so far; everything is an object nevertheless, since there
//! will be more.

use alloc::sync::Arc;
use alloc::vec::Vec;

use guest_hal::LinearAddress;
use guest_hal::sync::{Mutex, Once};

use crate::fs::{FileTable, FsContext};
use crate::mm::AddressSpace;
use crate::signal::Signals;
use crate::time::Timers;

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
    /// Its signals.
    pub signals: Mutex<Signals>,
    /// Its timers.
    pub timers: Mutex<Timers>,
    /// Soft and hard limits by `RLIMIT_` number; `u64::MAX`: none.
    pub limits: Mutex<[(u64, u64); 16]>,
    /// What it runs.
    pub program: Mutex<ProgramInfo>,
    /// `set_tid_address`'s word.
    pub clear_tid: Mutex<LinearAddress>,
}

impl Process {
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
