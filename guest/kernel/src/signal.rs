//! Signals: which are pending, blocked and handled.
//!
//! Delivery itself, building a frame on the program's stack, is the system call layer's,
//! which knows the frame's layout. It asks [`has_work`] on every way back to the program
//! and takes signals with [`take`].
//!
//! A signal waits for a thread ([`ThreadSignals`]) or for any thread of the process ([`Signals`]).

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use guest_hal::{LinearAddress, platform};

use crate::process::{Process, current};
use crate::thread::{self, Thread};

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
    pub const SIGQUIT: u32 = 3;
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

/// Signals that wait to be delivered.
#[derive(Debug, Default)]
pub struct Pending(VecDeque<SignalInfo>);

impl Pending {
    /// As a mask.
    #[must_use]
    pub fn mask(&self) -> u64 {
        self.0.iter().fold(0, |mask, info| mask | bit(info.number))
    }

    /// Adds one, unless it is an ordinary signal that waits already, or too many wait.
    fn add(&mut self, info: SignalInfo) {
        let waits = self.0.iter().any(|other| other.number == info.number);
        if (info.number < REAL_TIME && waits) || self.0.len() >= QUEUE_MAX {
            return;
        }
        self.0.push_back(info);
    }

    fn remove(&mut self, signal: u32) {
        self.0.retain(|info| info.number != signal);
    }

    /// Takes the next one of `set`: faults first, then by number.
    fn take_from(&mut self, set: u64) -> Option<SignalInfo> {
        if self.0.is_empty() {
            return None;
        }
        let candidates = self.0.iter().enumerate();
        let wanted = candidates.filter(|(_, info)| set & bit(info.number) != 0);
        let (index, _) = wanted.min_by_key(|(_, info)| (!is_fault(info.number), info.number))?;
        self.0.remove(index)
    }
}

/// The signals of a process: how they are handled, and those for any of its threads.
#[derive(Debug)]
pub struct Signals {
    /// For any thread.
    pub pending: Pending,
    actions: [Action; COUNT as usize],
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            pending: Pending::default(),
            actions: [Action::default(); COUNT as usize],
        }
    }
}

impl Signals {
    /// None pending, and those of `ignored` ignored.
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

    /// How a signal is handled.
    #[must_use]
    pub fn action(&self, signal: u32) -> Action {
        self.actions
            .get(signal as usize - 1)
            .copied()
            .unwrap_or_default()
    }

    /// Changes how a signal is handled. One that is ignored now does not wait any more: see
    /// [`set_action`] for those that wait for a thread.
    fn set_action(&mut self, signal: u32, action: Action) {
        if let Some(slot) = self.actions.get_mut(signal as usize - 1) {
            *slot = action;
        }
        if self.is_ignored(signal) {
            self.pending.remove(signal);
        }
    }

    /// Handlers become the default, as at exec; ignored signals stay so.
    pub fn reset_handlers(&mut self) {
        for action in &mut self.actions {
            if action.handler != Action::IGNORE {
                *action = Action::default();
            }
        }
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

    /// Signals that do something.
    fn effective(&self, mask: u64) -> u64 {
        let set = (1..=COUNT).filter(|&signal| mask & bit(signal) != 0);
        let set = set.filter(|&signal| !self.is_ignored(signal));
        set.fold(0, |mask, signal| mask | bit(signal))
    }
}

/// The signals of a thread: which it blocks, and those for it alone.
#[derive(Debug, Default)]
pub struct ThreadSignals {
    /// For this thread.
    pub pending: Pending,
    blocked: u64,
    /// The alternate stack.
    pub alternate: AlternateStack,
    /// The mask to return to after a call that waited with another.
    saved_mask: Option<u64>,
}

impl ThreadSignals {
    /// Those of a new thread: blocked is what its maker blocks.
    #[must_use]
    pub fn inheriting(blocked: u64, alternate: AlternateStack) -> Self {
        Self {
            blocked,
            alternate,
            ..Self::default()
        }
    }

    /// The blocked signals.
    #[must_use]
    pub const fn blocked(&self) -> u64 {
        self.blocked
    }

    /// Blocks exactly `mask`. See [`set_blocked`] for the running thread.
    pub const fn set_blocked(&mut self, mask: u64) {
        self.blocked = mask & !UNBLOCKABLE;
    }

    /// Blocks `mask` until the next signal has been delivered, or
    /// [`ThreadSignals::restore_mask`].
    fn set_temporary_mask(&mut self, mask: u64) {
        self.saved_mask.get_or_insert(self.blocked);
        self.set_blocked(mask);
    }

    /// Goes back to the mask before a temporary one, if there was one; whether.
    fn restore_mask(&mut self) -> bool {
        match self.saved_mask.take() {
            Some(mask) => {
                self.set_blocked(mask);
                true
            }
            None => false,
        }
    }

    /// The mask a handler's frame keeps: the one before a temporary one.
    pub fn take_saved_mask(&mut self) -> u64 {
        self.saved_mask.take().unwrap_or(self.blocked)
    }
}

const fn is_fault(signal: u32) -> bool {
    use number::{SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
    matches!(
        signal,
        SIGSEGV | SIGBUS | SIGFPE | SIGILL | SIGTRAP | SIGSYS
    )
}

/// Changes how a signal of the process is handled.
pub fn set_action(signal: u32, action: Action) {
    let process = current();
    let mut signals = process.signals.lock();
    signals.set_action(signal, action);
    let is_ignored = signals.is_ignored(signal);
    drop(signals);
    if is_ignored {
        for thread in process.threads.lock().values() {
            thread.signals.lock().pending.remove(signal);
        }
    }
}

/// Makes a signal pending for a process: any thread that does not block it gets it.
pub fn post(process: &Process, info: SignalInfo) {
    let threads = process.threads.lock();
    let blocks = |thread: &Arc<Thread>| thread.signals.lock().blocked & bit(info.number) != 0;
    let willing = threads.values().find(|thread| !blocks(thread)).cloned();
    drop(threads);
    let mut signals = process.signals.lock();
    if willing.is_some() && signals.is_ignored(info.number) {
        return;
    }
    signals.pending.add(info);
    drop(signals);
    if let Some(thread) = willing {
        thread.note_signal();
    }
    process.signal_queue.notify();
}

/// Makes a signal pending for a thread.
pub fn post_to(thread: &Thread, info: SignalInfo) {
    let is_blocked = thread.signals.lock().blocked & bit(info.number) != 0;
    if !is_blocked && thread.process.signals.lock().is_ignored(info.number) {
        return;
    }
    thread.signals.lock().pending.add(info);
    thread.note_signal();
    thread.process.signal_queue.notify();
}

/// Posts a fault's signal to the running thread so that it cannot be missed: blocked or ignored,
/// it ends the program, as on Linux.
pub fn force(info: SignalInfo) {
    let thread = thread::current();
    let mask = bit(info.number);
    let is_blocked = thread.signals.lock().blocked & mask != 0;
    let mut process = thread.process.signals.lock();
    if is_blocked || process.action(info.number).handler == Action::IGNORE {
        process.set_action(info.number, Action::default());
    }
    drop(process);
    let mut signals = thread.signals.lock();
    signals.blocked &= !mask;
    signals.pending.remove(info.number);
    signals.pending.0.push_front(info);
    drop(signals);
    thread.note_own_signal();
}

/// The running thread blocks exactly `mask` from now on.
pub fn set_blocked(mask: u64) {
    let thread = thread::current();
    thread.signals.lock().set_blocked(mask);
    thread.note_own_signal();
    pass_on(&thread);
}

/// What waits for any thread and was to go to this one, which blocks it now, goes to another.
fn pass_on(thread: &Thread) {
    let blocked = thread.signals.lock().blocked;
    let process = &thread.process;
    let passed = process.signals.lock().pending.mask() & blocked;
    if passed == 0 {
        return;
    }
    let threads = process.threads.lock();
    let others = threads.values().filter(|other| other.tid != thread.tid);
    for other in others.filter(|other| passed & !other.signals.lock().blocked != 0) {
        other.note_signal();
    }
}

/// The running thread blocks `mask` until the next signal has been delivered, or
/// [`restore_mask`].
pub fn set_temporary_mask(mask: u64) {
    let thread = thread::current();
    thread.signals.lock().set_temporary_mask(mask);
    thread.note_own_signal();
}

/// Goes back to the mask before [`set_temporary_mask`], if that was called.
pub fn restore_mask() {
    let thread = thread::current();
    if thread.signals.lock().restore_mask() {
        thread.note_own_signal();
    }
}

/// Whether a signal wants the attention of the running thread.
#[must_use]
pub fn is_deliverable() -> bool {
    let thread = thread::current();
    if !thread.signal_work.load(Ordering::Relaxed) {
        return false;
    }
    let own = thread.signals.lock();
    let process = thread.process.signals.lock();
    let pending = (own.pending.mask() | process.pending.mask()) & !own.blocked;
    pending != 0 && process.effective(pending) != 0
}

/// Takes the next signal to deliver to the running thread.
#[must_use]
pub fn take() -> Option<SignalInfo> {
    let blocked = thread::current().signals.lock().blocked;
    take_from(!blocked)
}

/// Takes the next pending signal of `set`, blocked or not, of the running thread or of its
/// process.
#[must_use]
pub fn take_from(set: u64) -> Option<SignalInfo> {
    let thread = thread::current();
    let own = thread.signals.lock().pending.take_from(set);
    own.or_else(|| thread.process.signals.lock().pending.take_from(set))
}

/// Whether there may be a signal to deliver to the running thread.
#[must_use]
pub fn has_work(thread: &Thread) -> bool {
    thread.signal_work.load(Ordering::Relaxed)
}

/// Says that everything deliverable is being delivered to a thread.
pub fn clear_work(thread: &Thread) {
    thread.signal_work.store(false, Ordering::Relaxed);
}

/// Takes what came from outside and from timers.
pub(crate) fn collect() {
    let outside = platform().take_signals();
    if outside & ENDING != 0 {
        ASKED_FOR_END.store(true, Ordering::Relaxed);
    }
    for signal in (1..=COUNT).filter(|&signal| outside & bit(signal) != 0) {
        post(current(), SignalInfo::sent(signal, 0, 0, 0, 0));
    }
    crate::time::expire();
}

/// Signals by which whoever waits for the program asks for its end.
const ENDING: u64 =
    bit(number::SIGHUP) | bit(number::SIGINT) | bit(number::SIGQUIT) | bit(number::SIGTERM);
/// Whether one of them came from outside.
static ASKED_FOR_END: AtomicBool = AtomicBool::new(false);

/// Whether an end was asked for from outside, since [`forget_ending`].
pub(crate) fn asks_for_end() -> bool {
    ASKED_FOR_END.load(Ordering::Relaxed)
}

/// Those that came so far asked for an end that has come.
pub(crate) fn forget_ending() {
    ASKED_FOR_END.store(false, Ordering::Relaxed);
}

/// Posts a signal to the running thread, as if it had sent it to itself.
pub fn post_to_current(signal: u32) {
    let thread = thread::current();
    let [uid, ..] = thread.process.credentials.lock().uid;
    post_to(
        &thread,
        SignalInfo::sent(signal, 0, thread.process.pid, uid, 0),
    );
}

/// Posts the signal of a fault at `address` to the running thread.
pub fn fault(signal: u32, code: i32, address: LinearAddress) {
    force(SignalInfo::fault(signal, code, address.0));
}

#[cfg(test)]
mod tests {
    use super::number::{SIGALRM, SIGCHLD, SIGINT, SIGSEGV, SIGTERM};
    use super::*;

    fn sent(number: u32) -> SignalInfo {
        SignalInfo::sent(number, 0, 1, 0, 0)
    }

    #[test]
    fn ordinary_signals_do_not_queue_and_real_time_ones_do() {
        let mut pending = Pending::default();
        for _ in 0..3 {
            pending.add(sent(SIGINT));
            pending.add(sent(40));
        }
        assert_eq!(pending.0.len(), 4);
    }

    #[test]
    fn what_was_ignored_at_the_start_is_ignored_but_for_what_cannot_be() {
        let signals = Signals::ignoring(bit(SIGALRM) | bit(9));
        assert!(signals.is_ignored(SIGALRM));
        assert!(!signals.is_ignored(9));
    }

    #[test]
    fn signals_that_are_ignored_from_now_on_vanish() {
        let mut signals = Signals::default();
        assert_eq!(signals.effective(bit(SIGCHLD) | bit(SIGALRM)), bit(SIGALRM));
        signals.pending.add(sent(SIGALRM));
        signals.set_action(
            SIGALRM,
            Action {
                handler: Action::IGNORE,
                ..Action::default()
            },
        );
        assert_eq!(signals.pending.mask(), 0);
    }

    #[test]
    fn a_fault_comes_first_then_the_lowest_number_of_the_set() {
        let mut pending = Pending::default();
        for number in [40, SIGTERM, SIGSEGV, SIGINT] {
            pending.add(sent(number));
        }
        let mut take = |set| pending.take_from(set).map(|info| info.number);
        assert_eq!(take(!bit(SIGINT)), Some(SIGSEGV));
        assert_eq!(take(!bit(SIGINT)), Some(SIGTERM));
        assert_eq!(take(u64::MAX), Some(SIGINT));
        assert_eq!(take(bit(SIGTERM)), None);
        assert_eq!(take(u64::MAX), Some(40));
    }

    #[test]
    fn kill_and_stop_are_never_blocked() {
        let mut signals = ThreadSignals::default();
        signals.set_blocked(u64::MAX);
        assert_eq!(signals.blocked() & UNBLOCKABLE, 0);
    }

    #[test]
    fn a_temporary_mask_is_undone_once() {
        let mut signals = ThreadSignals::default();
        signals.set_blocked(1);
        signals.set_temporary_mask(2);
        signals.set_temporary_mask(4);
        assert_eq!(signals.take_saved_mask(), 1);
        assert!(!signals.restore_mask());
    }
}
