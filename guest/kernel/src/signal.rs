//! Signals: which are pending, blocked and handled.
//!
//! Delivery itself, building a frame on the program's stack, is the system call layer's,
//! which knows the frame's layout. It asks [`has_work`] on every way back to the program
//! and takes signals with [`Signals::take`].

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicBool, Ordering};

use guest_hal::{LinearAddress, platform};

use crate::process::current;

/// Number of signals; they count from 1.
pub const COUNT: u32 = 64;
/// First real-time signal: those queue up.
const REAL_TIME: u32 = 32;
/// Most queued real-time signals (Linux' `RLIMIT_SIGPENDING` has thousands).
const QUEUE_MAX: usize = 4096;

/// Signal numbers by name.
pub mod number {
    #![expect(missing_docs, reason = "Linux' own names")]
    pub const SIGHUP: u32 = 1;
    pub const SIGINT: u32 = 2;
    pub const SIGILL: u32 = 4;
    pub const SIGTRAP: u32 = 5;
    pub const SIGABRT: u32 = 6;
    pub const SIGBUS: u32 = 7;
    pub const SIGFPE: u32 = 8;
    pub const SIGKILL: u32 = 9;
    pub const SIGSEGV: u32 = 11;
    pub const SIGPIPE: u32 = 13;
    pub const SIGALRM: u32 = 14;
    pub const SIGTERM: u32 = 15;
    pub const SIGCHLD: u32 = 17;
    pub const SIGCONT: u32 = 18;
    pub const SIGSTOP: u32 = 19;
    pub const SIGTSTP: u32 = 20;
    pub const SIGTTIN: u32 = 21;
    pub const SIGTTOU: u32 = 22;
    pub const SIGURG: u32 = 23;
    pub const SIGXFSZ: u32 = 25;
    pub const SIGVTALRM: u32 = 26;
    pub const SIGPROF: u32 = 27;
    pub const SIGWINCH: u32 = 28;
    pub const SIGSYS: u32 = 31;
}

/// What came with a signal: the parts of `siginfo_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalInfo {
    /// The signal.
    pub number: u32,
    /// `si_code`.
    pub code: i32,
    /// What follows the common part, from byte 16 of `siginfo_t` on.
    pub payload: [u8; 24],
}

impl SignalInfo {
    /// Sent by the kernel itself (`SI_KERNEL`).
    #[must_use]
    pub const fn from_kernel(number: u32) -> Self {
        Self {
            number,
            code: 0x80,
            payload: [0; 24],
        }
    }

    /// A fault at an address.
    #[must_use]
    pub fn fault(number: u32, code: i32, address: u64) -> Self {
        let mut payload = [0; 24];
        payload
            .iter_mut()
            .zip(address.to_le_bytes())
            .for_each(|(to, from)| *to = from);
        Self {
            number,
            code,
            payload,
        }
    }

    /// Of a timer made by `timer_create` (`SI_TIMER`).
    #[must_use]
    pub fn timer(number: u32, timer: u32, overrun: u32, value: u64) -> Self {
        Self {
            code: -2,
            ..Self::sent(number, 0, timer, overrun, value)
        }
    }

    /// Sent by a process: `code` is `SI_USER` (0), `SI_TKILL` (-6) or `SI_QUEUE` (-1).
    #[must_use]
    pub fn sent(number: u32, code: i32, pid: u32, uid: u32, value: u64) -> Self {
        let mut payload = [0; 24];
        let fields = pid
            .to_le_bytes()
            .into_iter()
            .chain(uid.to_le_bytes())
            .chain(value.to_le_bytes());
        payload
            .iter_mut()
            .zip(fields)
            .for_each(|(to, from)| *to = from);
        Self {
            number,
            code,
            payload,
        }
    }
}

/// `struct sigaction` of the kernel's interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// `SIG_DFL` (0), `SIG_IGN` (1) or the handler's address.
    pub handler: u64,
    /// `SA_` flags.
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: u64,
    /// Blocked while the handler runs.
    pub mask: u64,
}

impl Action {
    /// Default action.
    pub const DEFAULT: u64 = 0;
    /// Ignore.
    pub const IGNORE: u64 = 1;
}

/// The alternate stack (`stack_t`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlternateStack {
    /// Lowest address.
    pub base: u64,
    /// Bytes; zero: there is none.
    pub size: u64,
    /// `SS_AUTODISARM` or nothing.
    pub flags: u32,
}

impl AlternateStack {
    /// Whether a stack pointer is on it.
    #[must_use]
    pub const fn contains(&self, stack_pointer: u64) -> bool {
        stack_pointer > self.base && stack_pointer - self.base <= self.size
    }
}

/// What a signal does that nobody handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// Nothing.
    Ignore,
    /// Ends the program.
    Terminate,
}

/// What a signal does by default. Stopping is not modelled: a machine whose only
/// program stopped could never be continued from inside.
#[must_use]
pub const fn default_action(signal: u32) -> DefaultAction {
    use number::{SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH};
    match signal {
        SIGCHLD | SIGCONT | SIGURG | SIGWINCH | SIGSTOP | SIGTSTP | SIGTTIN | SIGTTOU => {
            DefaultAction::Ignore
        }
        _ => DefaultAction::Terminate,
    }
}

/// The bit of a signal in a mask.
#[must_use]
pub const fn bit(signal: u32) -> u64 {
    1 << (signal - 1)
}

/// Signals that cannot be blocked, handled or ignored.
pub const UNBLOCKABLE: u64 = bit(number::SIGKILL) | bit(number::SIGSTOP);

/// The signals of a process.
#[derive(Debug)]
pub struct Signals {
    pending: VecDeque<SignalInfo>,
    blocked: u64,
    actions: [Action; COUNT as usize],
    /// The alternate stack.
    pub alternate: AlternateStack,
    /// The mask to return to after a call that waited with another.
    saved_mask: Option<u64>,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            pending: VecDeque::new(),
            blocked: 0,
            actions: [Action::default(); COUNT as usize],
            alternate: AlternateStack::default(),
            saved_mask: None,
        }
    }
}

impl Signals {
    /// None pending or blocked, and those of `ignored` ignored.
    #[must_use]
    pub fn ignoring(ignored: u64) -> Self {
        let mut signals = Self::default();
        for (action, number) in signals.actions.iter_mut().zip(1..) {
            if ignored & !UNBLOCKABLE & bit(number) != 0 {
                action.handler = Action::IGNORE;
            }
        }
        signals
    }

    /// The blocked signals.
    #[must_use]
    pub const fn blocked(&self) -> u64 {
        self.blocked
    }

    /// Blocks exactly `mask`.
    pub fn set_blocked(&mut self, mask: u64) {
        self.blocked = mask & !UNBLOCKABLE;
        note_work();
    }

    /// Blocks `mask` until the next signal has been delivered, or
    /// [`Signals::restore_mask`].
    pub fn set_temporary_mask(&mut self, mask: u64) {
        self.saved_mask.get_or_insert(self.blocked);
        self.set_blocked(mask);
    }

    /// Goes back to the mask before [`Signals::set_temporary_mask`], if that was called.
    pub fn restore_mask(&mut self) {
        if let Some(mask) = self.saved_mask.take() {
            self.set_blocked(mask);
        }
    }

    /// The mask a handler's frame keeps: the one before a temporary one.
    pub fn take_saved_mask(&mut self) -> u64 {
        self.saved_mask.take().unwrap_or(self.blocked)
    }

    /// Pending signals as a mask.
    #[must_use]
    pub fn pending_mask(&self) -> u64 {
        self.pending
            .iter()
            .fold(0, |mask, info| mask | bit(info.number))
    }

    /// How a signal is handled.
    #[must_use]
    pub fn action(&self, signal: u32) -> Action {
        self.actions
            .get(signal as usize - 1)
            .copied()
            .unwrap_or_default()
    }

    /// Changes how a signal is handled.
    pub fn set_action(&mut self, signal: u32, action: Action) {
        if let Some(slot) = self.actions.get_mut(signal as usize - 1) {
            *slot = action;
        }
        if self.is_ignored(signal) {
            self.pending.retain(|info| info.number != signal);
        }
    }

    /// Handlers become the default, as at exec; ignored signals stay so.
    pub fn reset_handlers(&mut self) {
        for action in &mut self.actions {
            if action.handler != Action::IGNORE {
                *action = Action::default();
            }
        }
        self.alternate = AlternateStack::default();
    }

    /// Whether a signal does nothing.
    #[must_use]
    pub fn is_ignored(&self, signal: u32) -> bool {
        match self.action(signal).handler {
            Action::IGNORE => true,
            Action::DEFAULT => default_action(signal) == DefaultAction::Ignore,
            _ => false,
        }
    }

    /// Makes a signal pending.
    pub fn post(&mut self, info: SignalInfo) {
        let is_blocked = self.blocked & bit(info.number) != 0;
        if self.is_ignored(info.number) && !is_blocked {
            return;
        }
        let queued = self.pending.iter().any(|other| other.number == info.number);
        if (info.number < REAL_TIME && queued) || self.pending.len() >= QUEUE_MAX {
            return;
        }
        self.pending.push_back(info);
        note_work();
    }

    /// Posts a fault's signal so that it cannot be missed: blocked or ignored, it ends
    /// the program, as on Linux.
    pub fn force(&mut self, info: SignalInfo) {
        let mask = bit(info.number);
        if self.blocked & mask != 0 || self.action(info.number).handler == Action::IGNORE {
            self.set_action(info.number, Action::default());
            self.blocked &= !mask;
        }
        self.pending.retain(|other| other.number != info.number);
        self.pending.push_front(info);
        note_work();
    }

    /// Whether a signal wants the program's attention.
    #[must_use]
    pub fn is_deliverable(&self) -> bool {
        self.pending
            .iter()
            .any(|info| self.blocked & bit(info.number) == 0 && !self.is_ignored(info.number))
    }

    /// Takes the next signal to deliver: faults first, then by number.
    pub fn take(&mut self) -> Option<SignalInfo> {
        let blocked = self.blocked;
        self.take_from(!blocked)
    }

    /// Takes the next pending signal of `set`, blocked or not.
    pub fn take_from(&mut self, set: u64) -> Option<SignalInfo> {
        let candidates = self.pending.iter().enumerate();
        let wanted = candidates.filter(|(_, info)| set & bit(info.number) != 0);
        let (index, _) = wanted.min_by_key(|(_, info)| (!is_fault(info.number), info.number))?;
        self.pending.remove(index)
    }
}

const fn is_fault(signal: u32) -> bool {
    use number::{SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
    matches!(
        signal,
        SIGSEGV | SIGBUS | SIGFPE | SIGILL | SIGTRAP | SIGSYS
    )
}

/// There may be a signal to deliver.
static WORK: AtomicBool = AtomicBool::new(false);

/// Says that there may be a signal to deliver.
fn note_work() {
    WORK.store(true, Ordering::Relaxed);
}

/// Whether there may be a signal to deliver; cheap, for every way back to the program.
#[must_use]
pub fn has_work() -> bool {
    WORK.load(Ordering::Relaxed)
}

/// Says that everything deliverable has been delivered.
pub fn clear_work() {
    WORK.store(false, Ordering::Relaxed);
}

/// Takes what came from outside and from timers.
pub fn collect() {
    let outside = platform().take_signals();
    for signal in 1..=COUNT {
        if outside & bit(signal) != 0 {
            current()
                .signals
                .lock()
                .post(SignalInfo::sent(signal, 0, 0, 0, 0));
        }
    }
    crate::time::expire();
}

/// Posts a signal to the process that runs, as if it had sent it to itself.
pub fn post_to_current(signal: u32) {
    let process = current();
    let uid = process
        .credentials
        .lock()
        .uid
        .first()
        .copied()
        .unwrap_or_default();
    process
        .signals
        .lock()
        .post(SignalInfo::sent(signal, 0, process.pid, uid, 0));
}

/// Posts the signal of a fault at `address` to the process that runs.
pub fn fault(signal: u32, code: i32, address: LinearAddress) {
    current()
        .signals
        .lock()
        .force(SignalInfo::fault(signal, code, address.0));
}

#[cfg(test)]
mod tests {
    use super::number::{SIGALRM, SIGCHLD, SIGINT, SIGSEGV, SIGTERM};
    use super::*;

    fn sent(number: u32) -> SignalInfo {
        SignalInfo::sent(number, 0, 1, 0, 0)
    }

    #[test]
    fn a_blocked_signal_waits_until_it_is_unblocked() {
        let mut signals = Signals::default();
        signals.set_blocked(bit(SIGTERM));
        signals.post(sent(SIGTERM));
        assert!(!signals.is_deliverable());
        assert_eq!(signals.take(), None);
        signals.set_blocked(0);
        assert_eq!(signals.take().map(|info| info.number), Some(SIGTERM));
    }

    #[test]
    fn ordinary_signals_do_not_queue_and_real_time_ones_do() {
        let mut signals = Signals::default();
        for _ in 0..3 {
            signals.post(sent(SIGINT));
            signals.post(sent(40));
        }
        assert_eq!(signals.pending.len(), 4);
    }

    #[test]
    fn what_was_ignored_at_the_start_is_ignored_but_for_what_cannot_be() {
        let signals = Signals::ignoring(bit(SIGALRM) | bit(9));
        assert!(signals.is_ignored(SIGALRM));
        assert!(!signals.is_ignored(9));
    }

    #[test]
    fn ignored_signals_vanish() {
        let mut signals = Signals::default();
        signals.post(sent(SIGCHLD));
        assert_eq!(signals.pending_mask(), 0);
        signals.post(sent(SIGALRM));
        signals.set_action(
            SIGALRM,
            Action {
                handler: Action::IGNORE,
                ..Action::default()
            },
        );
        assert_eq!(signals.pending_mask(), 0);
    }

    #[test]
    fn a_fault_comes_first_and_cannot_be_blocked() {
        let mut signals = Signals::default();
        signals.set_blocked(u64::MAX);
        signals.post(sent(SIGINT));
        signals.force(SignalInfo::fault(SIGSEGV, 1, 0));
        assert_eq!(signals.take().map(|info| info.number), Some(SIGSEGV));
    }

    #[test]
    fn kill_and_stop_are_never_blocked() {
        let mut signals = Signals::default();
        signals.set_blocked(u64::MAX);
        assert_eq!(signals.blocked() & UNBLOCKABLE, 0);
    }

    #[test]
    fn a_temporary_mask_is_undone_once() {
        let mut signals = Signals::default();
        signals.set_blocked(1);
        signals.set_temporary_mask(2);
        signals.set_temporary_mask(4);
        assert_eq!(signals.take_saved_mask(), 1);
    }
}
