//! Waiting on a word of the program's memory (`futex`).
//!
//! Whoever waits is known by the word's address, or, if others may see the word elsewhere, by the
//! memory behind it ([`Key`]). All happens under the kernel's lock, so between looking at the word
//! and waiting nobody can wake.
//!
//! * [`owned`]: words that have an owner. [`inheritance`]: who is as urgent as who waits for it.

mod inheritance;
mod owned;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use guest_hal::sync::Mutex;
use guest_hal::{LinearAddress, Nanos};

use crate::process::current;
use crate::thread::{self, Thread};
use crate::{Errno, Result, uaccess, wait};
pub(crate) use inheritance::Inheritance;
pub(crate) use inheritance::priority_changed;
pub use owned::{lock, owner_ended, owners_end, requeue_to_owned, unlock, wait_to_own};

/// The bits of a word with an owner: its thread's number (`FUTEX_TID_MASK`).
pub const OWNER: u32 = 0x3fff_ffff;
/// Somebody waits for the word with an owner.
pub const WAITERS: u32 = 0x8000_0000;
/// The owner ended without letting go.
pub const OWNER_DIED: u32 = 0x4000_0000;
/// Any bit of a waiter's set.
pub const ANY: u32 = u32::MAX;

/// What tells words apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Of this process alone: the address.
    Private(u64),
    /// Wherever it is seen: the guest-physical address.
    Shared(u64),
}

impl Key {
    /// That of a word.
    ///
    /// # Errors
    /// `EINVAL` for an address that is not a word's; `EFAULT` where no memory is.
    pub fn of(address: LinearAddress, shared: bool) -> Result<Self> {
        if !address.0.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        if !shared {
            return Ok(Self::Private(address.0));
        }
        // Brings the page in.
        uaccess::read_u32(address)?;
        let physical = current().memory.lock().physical_address(address);
        physical.map(|at| Self::Shared(at.0)).ok_or(Errno::EFAULT)
    }
}

/// What a waiter is to own when its wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    /// Nothing.
    Nothing,
    /// The word on which it waits, at this address.
    This(LinearAddress),
    /// Another, for which it is to wait first.
    Other(LinearAddress, Key),
}

/// One who waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    thread: Arc<Thread>,
    bits: u32,
    /// Where it waits now: requeueing changes it.
    key: Mutex<Key>,
    woken: AtomicBool,
    wants: Mutex<Wants>,
}

impl Waiter {
    /// The running thread, before it waits.
    fn new(key: Key, bits: u32, wants: Wants) -> Self {
        Self {
            thread: thread::current(),
            bits,
            key: Mutex::new(key),
            woken: AtomicBool::new(false),
            wants: Mutex::new(wants),
        }
    }

    fn wants(&self) -> Wants {
        *self.wants.lock()
    }

    fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        self.woken.store(true, Ordering::Relaxed);
        self.thread.notify();
    }
}

static WAITERS_BY_KEY: Mutex<BTreeMap<Key, VecDeque<Arc<Waiter>>>> = Mutex::new(BTreeMap::new());

fn add(waiter: Waiter) -> Arc<Waiter> {
    let waiter = Arc::new(waiter);
    let key = *waiter.key.lock();
    let mut all = WAITERS_BY_KEY.lock();
    all.entry(key).or_default().push_back(Arc::clone(&waiter));
    waiter
}

fn remove(waiter: &Arc<Waiter>) {
    let key = *waiter.key.lock();
    let mut all = WAITERS_BY_KEY.lock();
    let Some(queue) = all.get_mut(&key) else {
        return;
    };
    queue.retain(|other| !Arc::ptr_eq(other, waiter));
    if queue.is_empty() {
        all.remove(&key);
    }
}

/// Takes up to `count` waiters for which `wanted` holds from a key's queue.
fn take(key: Key, count: u64, wanted: &dyn Fn(&Waiter) -> bool) -> VecDeque<Arc<Waiter>> {
    let mut all = WAITERS_BY_KEY.lock();
    let Some(queue) = all.get_mut(&key) else {
        return VecDeque::new();
    };
    let mut taken = VecDeque::new();
    queue.retain(|waiter| {
        let take = (taken.len() as u64) < count && wanted(waiter);
        if take {
            taken.push_back(Arc::clone(waiter));
        }
        !take
    });
    if queue.is_empty() {
        all.remove(&key);
    }
    taken
}

/// What an interrupted wait answers: one with an end is not started again after a handler.
const fn interrupted(deadline: Option<Nanos>) -> Errno {
    if deadline.is_some() {
        Errno::RESTART_NO_HANDLER
    } else {
        Errno::RESTART
    }
}

/// Waits on a word while it is `expected`, for a wake with one of `bits`.
///
/// # Errors
/// `EAGAIN` if it is something else, `ETIMEDOUT`, `EFAULT`, `RESTART`.
pub fn wait(
    (address, key): (LinearAddress, Key),
    expected: u32,
    bits: u32,
    deadline: Option<Nanos>,
) -> Result<()> {
    if uaccess::read_u32(address)? != expected {
        return Err(Errno::EAGAIN);
    }
    let waiter = add(Waiter::new(key, bits, Wants::Nothing));
    let result = until_woken(&waiter, deadline, interrupted(deadline));
    remove(&waiter);
    result
}

fn until_woken(waiter: &Waiter, deadline: Option<Nanos>, interrupted: Errno) -> Result<()> {
    match wait::until(&[], deadline, &mut || waiter.is_woken().then_some(())) {
        Ok(Some(())) => Ok(()),
        Ok(None) => Err(Errno::ETIMEDOUT),
        Err(_) => Err(interrupted),
    }
}

/// Whether somebody waits for a word to own it or another: such are not woken just so.
fn has_heirs(key: Key) -> bool {
    let all = WAITERS_BY_KEY.lock();
    let queue = all.get(&key);
    queue.is_some_and(|queue| queue.iter().any(|waiter| waiter.wants() != Wants::Nothing))
}

/// Wakes up to `count` who wait for one of `bits`; how many.
///
/// # Errors
/// `EINVAL` if there are such that wait to own a word.
pub fn wake(key: Key, count: u64, bits: u32) -> Result<u64> {
    let woken = take(key, count, &|waiter| {
        waiter.bits & bits != 0 && waiter.wants() == Wants::Nothing
    });
    woken.iter().for_each(|waiter| waiter.wake());
    let count_left = count - woken.len() as u64;
    if count_left > 0 && has_heirs(key) {
        return Err(Errno::EINVAL);
    }
    Ok(woken.len() as u64)
}

/// Wakes up to `wake_count` waiters and lets up to `move_count` others wait for `to` instead; how
/// many were woken, and how many moved.
///
/// # Errors
/// As [`wake`].
pub fn requeue(from: Key, to: Key, wake_count: u64, move_count: u64) -> Result<(u64, u64)> {
    let woken = wake(from, wake_count, ANY)?;
    let moved = take(from, move_count, &|waiter| waiter.wants() == Wants::Nothing);
    let count = moved.len() as u64;
    if from == to {
        // They wait where they are, in the same order.
        let mut all = WAITERS_BY_KEY.lock();
        let queue = all.entry(to).or_default();
        moved
            .into_iter()
            .rev()
            .for_each(|waiter| queue.push_front(waiter));
        return Ok((woken, count));
    }
    for waiter in moved {
        *waiter.key.lock() = to;
        let mut all = WAITERS_BY_KEY.lock();
        all.entry(to).or_default().push_back(waiter);
    }
    Ok((woken, count))
}

/// Changes a word in one step, by what `change` makes of it; what it was.
///
/// # Errors
/// `EFAULT`.
pub fn update(address: LinearAddress, change: &dyn Fn(u32) -> u32) -> Result<u32> {
    let mut value = uaccess::read_u32(address)?;
    loop {
        let before = uaccess::compare_exchange(address, value, change(value))?;
        if before == value {
            return Ok(value);
        }
        value = before;
    }
}
