//! Waiting on a word of the program's memory (`futex`).
//!
//! Whoever waits is known by the word's address, or, if others may see the word elsewhere, by the
//! memory behind it ([`Key`]). All happens under the kernel's lock, so between looking at the word
//! and waiting nobody can wake.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use guest_hal::sync::Mutex;
use guest_hal::{LinearAddress, Nanos};

use crate::process::current;
use crate::thread::{self, Thread};
use crate::{Errno, Result, uaccess, wait};

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

/// One who waits.
#[derive(Debug)]
struct Waiter {
    thread: Arc<Thread>,
    bits: u32,
    /// Where it waits now: requeueing changes it.
    key: Mutex<Key>,
    woken: AtomicBool,
    /// It wants to own the word.
    wants: Option<LinearAddress>,
}

impl Waiter {
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
    let waiter = add(Waiter {
        thread: thread::current(),
        bits,
        key: Mutex::new(key),
        woken: AtomicBool::new(false),
        wants: None,
    });
    let result = until_woken(&waiter, deadline);
    remove(&waiter);
    result
}

fn until_woken(waiter: &Waiter, deadline: Option<Nanos>) -> Result<()> {
    let mut ready = || waiter.woken.load(Ordering::Relaxed).then_some(());
    match wait::until(&[], deadline, &mut ready) {
        Ok(Some(())) => Ok(()),
        Ok(None) => Err(Errno::ETIMEDOUT),
        Err(_) => Err(interrupted(deadline)),
    }
}

/// Wakes up to `count` who wait for one of `bits`; how many.
pub fn wake(key: Key, count: u64, bits: u32) -> u64 {
    let woken = take(key, count, &|waiter| {
        waiter.bits & bits != 0 && waiter.wants.is_none()
    });
    woken.iter().for_each(|waiter| waiter.wake());
    woken.len() as u64
}

/// Wakes up to `wake_count` waiters and lets up to `move_count` others wait for `to` instead; how
/// many were woken, and how many moved.
pub fn requeue(from: Key, to: Key, wake_count: u64, move_count: u64) -> (u64, u64) {
    let woken = wake(from, wake_count, ANY);
    let moved = take(from, move_count, &|waiter| waiter.wants.is_none());
    let count = moved.len() as u64;
    if from == to {
        // They wait where they are, in the same order.
        let mut all = WAITERS_BY_KEY.lock();
        let queue = all.entry(to).or_default();
        moved
            .into_iter()
            .rev()
            .for_each(|waiter| queue.push_front(waiter));
        return (woken, count);
    }
    for waiter in moved {
        *waiter.key.lock() = to;
        let mut all = WAITERS_BY_KEY.lock();
        all.entry(to).or_default().push_back(waiter);
    }
    (woken, count)
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

/// Becomes the owner of a word, waiting for it if `deadline` says how long (`Some(None)`: for
/// ever); `None`: not at all.
///
/// # Errors
/// `EAGAIN`, `EDEADLK` for its owner, `ESRCH` if the owner is gone, `ETIMEDOUT`, `EFAULT`,
/// `RESTART`.
pub fn lock((address, key): (LinearAddress, Key), deadline: Option<Option<Nanos>>) -> Result<()> {
    let thread = thread::current();
    loop {
        let value = uaccess::read_u32(address)?;
        let owner = value & OWNER;
        if owner == 0 {
            let new = thread.tid | value & (WAITERS | OWNER_DIED);
            if uaccess::compare_exchange(address, value, new)? == value {
                return Ok(());
            }
            continue;
        }
        if owner == thread.tid {
            return Err(Errno::EDEADLK);
        }
        let Some(deadline) = deadline else {
            return Err(Errno::EAGAIN);
        };
        if thread.process.thread(owner).is_none() && value & OWNER_DIED == 0 {
            return Err(Errno::ESRCH);
        }
        if uaccess::compare_exchange(address, value, value | WAITERS)? != value {
            continue;
        }
        let waiter = add(Waiter {
            thread: Arc::clone(&thread),
            bits: ANY,
            key: Mutex::new(key),
            woken: AtomicBool::new(false),
            wants: Some(address),
        });
        let result = until_woken(&waiter, deadline);
        remove(&waiter);
        return result;
    }
}

/// Lets go of a word that the running thread owns: the most urgent waiter owns it then.
///
/// # Errors
/// `EPERM` for others; `EFAULT`.
pub fn unlock((address, key): (LinearAddress, Key)) -> Result<()> {
    let own = thread::current().tid;
    loop {
        let value = uaccess::read_u32(address)?;
        if value & OWNER != own {
            return Err(Errno::EPERM);
        }
        let next = most_urgent(key);
        let new = next.as_ref().map_or(0, |(waiter, more)| {
            waiter.thread.tid | if *more { WAITERS } else { 0 }
        });
        if uaccess::compare_exchange(address, value, new)? != value {
            continue;
        }
        if let Some((waiter, _)) = next {
            remove(&waiter);
            waiter.wake();
        }
        return Ok(());
    }
}

/// The waiter that is to own a word next, and whether there are more.
fn most_urgent(key: Key) -> Option<(Arc<Waiter>, bool)> {
    let all = WAITERS_BY_KEY.lock();
    let wanting = |waiter: &&Arc<Waiter>| waiter.wants.is_some();
    let queue = all.get(&key)?;
    let count = queue.iter().filter(wanting).count();
    let urgency =
        |waiter: &&Arc<Waiter>| core::cmp::Reverse(waiter.thread.scheduling.lock().priority);
    let first = queue.iter().filter(wanting).min_by_key(urgency)?;
    Some((Arc::clone(first), count > 1))
}

/// Says that the owner of a word, thread `owner`, has ended; whether it was the owner.
///
/// # Errors
/// `EFAULT`.
pub fn owner_ended(address: LinearAddress, owner: u32, inherits: bool) -> Result<bool> {
    let value = uaccess::read_u32(address)?;
    if value & OWNER != owner {
        return Ok(false);
    }
    let key = Key::of(address, true)?;
    let next = if inherits { most_urgent(key) } else { None };
    let died = |value: u32| value & WAITERS | OWNER_DIED;
    let new = |value| match &next {
        Some((waiter, _)) => died(value) | waiter.thread.tid,
        None => died(value),
    };
    update(address, &new)?;
    match next {
        Some((waiter, _)) => {
            remove(&waiter);
            waiter.wake();
        }
        None if value & WAITERS != 0 => {
            wake(key, 1, ANY);
        }
        None => {}
    }
    Ok(true)
}
