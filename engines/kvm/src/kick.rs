//! How a run is ended from another thread.
//!
//! KVM looks at a byte of the memory it shares with us, `immediate_exit`, when it is about to
//! enter the guest; a signal brings a virtual CPU that is in the guest, or asleep, out of
//! there. A kick sets the one and sends the other, in that order: whenever the signal arrives, either
//! it interrupts the guest, or the byte is seen at the next entry. The byte stays set until a
//! run has ended for it.
//!
//! The signal is `SIGRTMIN`, with a handler that does nothing. A thread lets it through
//! while it runs a virtual CPU, whatever it blocked before.
#![expect(
    unsafe_code,
    reason = "a byte shared with KVM is reached by address; signals are the C library's"
)]

use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use engine_contract::Kick;
use kvm_ioctls::VcpuFd;

/// The handle of one virtual CPU; may outlive it.
pub(crate) struct VcpuKick(Mutex<Target>);

struct Target {
    /// `immediate_exit`; `None` when the virtual CPU is gone.
    byte: Option<NonNull<u8>>,
    /// Who runs it now.
    thread: Option<libc::pthread_t>,
}

// SAFETY: `byte` is only used for atomic accesses, and only while it is mapped (see `Target`).
unsafe impl Send for Target {}

impl fmt::Debug for VcpuKick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VcpuKick").finish_non_exhaustive()
    }
}

impl VcpuKick {
    /// For a virtual CPU, which must call [`VcpuKick::forget`] before it goes.
    pub(crate) fn new(fd: &mut VcpuFd) -> Self {
        install_handler();
        let byte = &raw mut fd.get_kvm_run().immediate_exit;
        Self(Mutex::new(Target {
            byte: NonNull::new(byte),
            thread: None,
        }))
    }

    fn target(&self) -> MutexGuard<'_, Target> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This thread runs the virtual CPU until the guard goes.
    pub(crate) fn enter(&self) -> Running<'_> {
        let_through();
        // SAFETY: has no preconditions.
        let thread = unsafe { libc::pthread_self() };
        self.target().thread = Some(thread);
        Running(self)
    }

    /// Whether there was a kick, which with that has had its effect.
    pub(crate) fn take(&self) -> bool {
        self.target()
            .with_byte(|byte| byte.swap(0, Ordering::SeqCst))
            == Some(1)
    }

    /// The virtual CPU goes.
    pub(crate) fn forget(&self) {
        self.target().byte = None;
    }
}

impl Target {
    fn with_byte<T>(&self, act: impl FnOnce(&AtomicU8) -> T) -> Option<T> {
        // SAFETY: the byte lies in the memory that KVM shares, which is mapped until the virtual
        // CPU goes, and that calls `forget` first; the lock around this is held meanwhile.
        // We and KVM only ever access it whole.
        let byte = self
            .byte
            .map(|byte| unsafe { AtomicU8::from_ptr(byte.as_ptr()) });
        byte.map(act)
    }
}

impl Kick for VcpuKick {
    fn kick(&self) {
        let target = self.target();
        target.with_byte(|byte| byte.store(1, Ordering::SeqCst));
        if let Some(thread) = target.thread {
            // SAFETY: the thread exists: it takes its name back, under the lock that is held here,
            // before it leaves `run`.
            let sent = unsafe { libc::pthread_kill(thread, libc::SIGRTMIN()) };
            // Fails only for signals that do not exist.
            debug_assert_eq!(sent, 0);
        }
    }
}

/// A thread runs the virtual CPU.
pub(crate) struct Running<'k>(&'k VcpuKick);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.target().thread = None;
    }
}

extern "C" fn do_nothing(_: libc::c_int) {}

/// Once a process.
fn install_handler() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let handler: extern "C" fn(libc::c_int) = do_nothing;
        // SAFETY: zeros are a valid action: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        // Other calls of the thread go on; KVM_RUN ends in any case.
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the action is valid, and its handler touches nothing.
        let set =
            unsafe { libc::sigaction(libc::SIGRTMIN(), &raw const action, std::ptr::null_mut()) };
        // Fails only for signals that do not exist.
        debug_assert_eq!(set, 0);
    });
}

/// The thread takes the signal, even if it was started with all blocked.
fn let_through() {
    // SAFETY: zeros are an empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is a local one, and the signal exists.
    let added = unsafe { libc::sigaddset(&raw mut set, libc::SIGRTMIN()) };
    // SAFETY: the set is a local one.
    let changed =
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
    debug_assert_eq!((added, changed), (0, 0));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A kick of a byte of ours.
    fn of(byte: &mut u8) -> VcpuKick {
        install_handler();
        VcpuKick(Mutex::new(Target {
            byte: NonNull::new(byte),
            thread: None,
        }))
    }

    #[test]
    fn a_kick_before_a_run_is_kept_and_taken_once() {
        let mut byte = 0;
        let kick = of(&mut byte);
        assert!(!kick.take());
        kick.kick();
        kick.kick();
        assert!(kick.take());
        assert!(!kick.take());
    }

    #[test]
    fn a_virtual_cpu_that_is_gone_is_not_kicked() {
        let mut byte = 0;
        let kick = of(&mut byte);
        kick.forget();
        kick.kick();
        assert!(!kick.take());
        assert_eq!(byte, 0);
    }

    #[test]
    fn the_thread_that_runs_is_interrupted() {
        let mut byte = 0;
        let kick = Arc::new(of(&mut byte));
        let other = Arc::clone(&kick);
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let running = other.enter();
            sender.send(()).unwrap();
            // Ends with a signal, if that did not come before; then the byte says so.
            let nap = libc::timespec {
                tv_sec: 0,
                tv_nsec: 1_000_000,
            };
            while !other.take() {
                // SAFETY: the time is a local one; what is left of it is not asked for.
                unsafe { libc::nanosleep(&raw const nap, std::ptr::null_mut()) };
            }
            drop(running);
        });
        receiver.recv().unwrap();
        kick.kick();
        thread.join().unwrap();
        // Nobody runs it: no signal is sent, and the kick waits.
        kick.kick();
        assert!(kick.take());
    }
}
