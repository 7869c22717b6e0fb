//! Starting a process in namespaces of its own.
#![expect(unsafe_code, reason = "clone3 and execveat have no safe wrapper")]

use std::convert::Infallible;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;

/// A process that was started; not reaped when dropped.
#[derive(Debug)]
pub struct Child {
    /// Its number as we see it.
    pub pid: i32,
    /// A descriptor that refers to it and becomes readable when it ends.
    pub pidfd: OwnedFd,
}

/// `CLONE_NEW*` flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(u64);

impl Namespaces {
    /// No namespace of its own.
    pub const NONE: Self = Self(0);
    /// User.
    pub const USER: Self = Self(libc::CLONE_NEWUSER as u64);
    /// Processes.
    pub const PID: Self = Self(libc::CLONE_NEWPID as u64);
    /// Mounts.
    pub const MOUNT: Self = Self(libc::CLONE_NEWNS as u64);
    /// System V and POSIX queues.
    pub const IPC: Self = Self(libc::CLONE_NEWIPC as u64);
    /// Host name.
    pub const UTS: Self = Self(libc::CLONE_NEWUTS as u64);
    /// Network.
    pub const NET: Self = Self(libc::CLONE_NEWNET as u64);
    /// All of the above.
    pub const ALL: Self =
        Self(Self::USER.0 | Self::PID.0 | Self::MOUNT.0 | Self::IPC.0 | Self::UTS.0 | Self::NET.0);

    /// Whether all of `other` are in.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// Sends a signal to one thread of a process; one that has ended gets nothing.
pub fn signal_thread(process: i32, thread: i32, signal: i32) {
    // SAFETY: takes numbers only. A number that was given to another process meanwhile cannot
    // be hit: the caller has not reaped the process yet, and the thread must be one of its.
    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) };
}

/// Starts a process that is a copy of this one, in new namespaces, and runs `child` in
/// it, which ends in an exec or an exit.
///
/// # Errors
/// The host's: `EPERM` where it forbids namespaces, `ENOSPC` where their number is limited.
///
/// # Panics
/// When this process has more than one thread: the copy would have only this one, and
/// whatever locks the others held for ever.
pub fn start(namespaces: Namespaces, child: impl FnOnce() -> Infallible) -> io::Result<Child> {
    assert_eq!(
        thread_count(),
        Some(1),
        "a process is started before any thread"
    );
    let mut pidfd: RawFd = -1;
    // SAFETY: an all-zero clone_args is valid.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = namespaces.0 | libc::CLONE_PIDFD as u64;
    arguments.pidfd = (&raw mut pidfd).addr() as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    let size = size_of::<libc::clone_args>();
    // SAFETY: without CLONE_VM this is a fork: the child runs on a copy of everything. The
    // process has one thread (checked above), so no lock is held by a thread that vanishes.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        #[expect(unreachable_code, reason = "the child never comes back")]
        0 => match child() {},
        pid => Ok(Child {
            pid: pid as i32,
            // SAFETY: the kernel stored a descriptor that nobody else owns.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
    }
}

/// Moves this process, which must have one thread, into new namespaces.
///
/// # Errors
/// The host's.
pub fn unshare(namespaces: Namespaces) -> io::Result<()> {
    // SAFETY: no `CLONE_FILES` among the flags, so no descriptor changes its meaning.
    let result = unsafe { libc::unshare(namespaces.0 as libc::c_int) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Number of threads of this process: the links of the folder that has a folder for each.
fn thread_count() -> Option<u64> {
    let links = std::fs::metadata("/proc/self/task").ok()?.nlink();
    links.checked_sub(2)
}

/// Replaces this process by the program in `file`, with `name` as its only argument and
/// no environment; returns only if that fails.
pub fn execute(file: BorrowedFd<'_>, name: &CStr) -> io::Error {
    let arguments = [name.as_ptr(), std::ptr::null()];
    let environment: [*const libc::c_char; 1] = [std::ptr::null()];
    // SAFETY: all pointers are valid, the lists end in null.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    io::Error::last_os_error()
}

/// Ends this process at once, without running anything else.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: no precondition.
    unsafe { libc::_exit(status) }
}

/// Gives a descriptor the number `number` in this process, open across an exec.
///
/// # Errors
/// The host's.
pub fn duplicate_to(descriptor: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    if descriptor.as_raw_fd() == number {
        // SAFETY: the descriptor is open; its close-on-exec flag is cleared.
        let result = unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
        return if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        };
    }
    // SAFETY: replaces whatever had that number; callers exec right after and own nothing there.
    let result = unsafe { libc::dup2(descriptor.as_raw_fd(), number) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
