//! Words with an owner (`FUTEX_LOCK_PI` and its like): they are handed over, not fought for.

use alloc::sync::Arc;

use guest_hal::{LinearAddress, Nanos};

use super::inheritance;
use super::{
    ANY, Key, OWNER, OWNER_DIED, WAITERS, WAITERS_BY_KEY, Waiter, Wants, add, remove, take,
    until_woken, update, wake,
};
use crate::thread::{self, Thread};
use crate::{Errno, Result, uaccess};

/// What became of an attempt to own a word.
enum Attempt {
    Owned,
    /// Somebody else owns it, and it says so that it is waited for.
    Waits(Arc<Thread>),
}

/// Makes a thread the owner of a word if it is free; else says in it that it is waited for, if
/// that is wanted. `more`: others wait for it too.
///
/// # Errors
/// `EDEADLK` for its owner, and where the owner waits for the thread; `ESRCH` if the owner is
/// gone; `EAGAIN` if it is not to be waited for; `EFAULT`.
fn attempt(thread: &Arc<Thread>, word: LinearAddress, waits: bool, more: bool) -> Result<Attempt> {
    loop {
        let value = uaccess::read_u32(word)?;
        let owner = value & OWNER;
        if owner == 0 {
            let waiters = if more { WAITERS } else { value & WAITERS };
            let new = thread.tid | waiters | value & OWNER_DIED;
            if uaccess::compare_exchange(word, value, new)? == value {
                return Ok(Attempt::Owned);
            }
            continue;
        }
        if owner == thread.tid {
            return Err(Errno::EDEADLK);
        }
        let owner = thread.process.thread(owner).ok_or(Errno::ESRCH)?;
        if !waits {
            return Err(Errno::EAGAIN);
        }
        if inheritance::waits_for(&owner, thread) {
            return Err(Errno::EDEADLK);
        }
        if uaccess::compare_exchange(word, value, value | WAITERS)? == value {
            return Ok(Attempt::Waits(owner));
        }
    }
}

/// Becomes the owner of a word, waiting for it if `deadline` says how long (`Some(None)`: for
/// ever); `None`: not at all.
///
/// # Errors
/// `EAGAIN`, `EDEADLK` for its owner or one for whom the owner waits, `ESRCH` if the owner is
/// gone, `ETIMEDOUT`, `EFAULT`, `RESTART_ALWAYS`.
pub fn lock((address, key): (LinearAddress, Key), deadline: Option<Option<Nanos>>) -> Result<()> {
    let thread = thread::current();
    let owner = match attempt(&thread, address, deadline.is_some(), false)? {
        Attempt::Owned => return Ok(()),
        Attempt::Waits(owner) => owner,
    };
    let waiter = add(Waiter::new(key, ANY, Wants::This(address)));
    inheritance::begin(&waiter, &owner);
    let result = until_woken(&waiter, deadline.flatten(), Errno::RESTART_ALWAYS);
    give_up(&waiter);
    result
}

/// A waiter stops to wait, if it still does.
fn give_up(waiter: &Arc<Waiter>) {
    remove(waiter);
    if !waiter.is_woken() {
        inheritance::end(waiter);
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
            hand_over(key, &waiter);
        }
        return Ok(());
    }
}

/// A waiter owns the word from now on, for which the others go on waiting.
fn hand_over(key: Key, to: &Arc<Waiter>) {
    remove(to);
    inheritance::end(to);
    to.wake();
    wait_for_another(key, &to.thread);
}

/// Those who wait for a word wait for another owner of it now.
fn wait_for_another(key: Key, owner: &Arc<Thread>) {
    let all = WAITERS_BY_KEY.lock();
    let waiters = all.get(&key).cloned().unwrap_or_default();
    drop(all);
    for waiter in waiters.iter().filter(|waiter| is_heir(waiter)) {
        inheritance::end(waiter);
        inheritance::begin(waiter, owner);
    }
}

fn is_heir(waiter: &Waiter) -> bool {
    matches!(waiter.wants(), Wants::This(_))
}

/// The waiter that is to own a word next, and whether there are more.
fn most_urgent(key: Key) -> Option<(Arc<Waiter>, bool)> {
    let all = WAITERS_BY_KEY.lock();
    let heirs = || {
        all.get(&key)
            .into_iter()
            .flatten()
            .filter(|one| is_heir(one))
    };
    let urgency = |waiter: &&Arc<Waiter>| core::cmp::Reverse(crate::sched::urgency(&waiter.thread));
    let first = heirs().min_by_key(urgency)?;
    Some((Arc::clone(first), heirs().count() > 1))
}

/// Waits on a word while it is `expected`, to be moved to another and own that.
///
/// # Errors
/// `EAGAIN` if it is something else, or where a signal came after the move; `EINVAL` for the same
/// word; `ETIMEDOUT`, `EFAULT`, `RESTART_ALWAYS`.
pub fn wait_to_own(
    (address, key): (LinearAddress, Key),
    expected: u32,
    (other, other_key): (LinearAddress, Key),
    deadline: Option<Nanos>,
) -> Result<()> {
    if key == other_key {
        return Err(Errno::EINVAL);
    }
    if uaccess::read_u32(address)? != expected {
        return Err(Errno::EAGAIN);
    }
    let waiter = add(Waiter::new(key, ANY, Wants::Other(other, other_key)));
    let result = until_woken(&waiter, deadline, Errno::RESTART_ALWAYS);
    let was_moved = is_heir(&waiter);
    give_up(&waiter);
    match result {
        // The word it waited on is another by now.
        Err(Errno::RESTART_ALWAYS) if was_moved => Err(Errno::EAGAIN),
        result => result,
    }
}

/// Has the first waiter own another word if that is free, or wait for it, and up to `count` more
/// wait for it; how many there were.
///
/// # Errors
/// `EINVAL` if one does not wait for that; `EDEADLK`, `ESRCH`, `EFAULT`.
pub fn requeue_to_owned(from: Key, to: (LinearAddress, Key), count: u64) -> Result<u64> {
    let (address, key) = to;
    let mut done = 0;
    while done <= count {
        let Some(waiter) = first(from) else { break };
        if !matches!(waiter.wants(), Wants::Other(_, other) if other == key) {
            return Err(Errno::EINVAL);
        }
        let attempt = attempt(&waiter.thread, address, true, done == 0 && count > 0)?;
        take(from, 1, &|other| core::ptr::eq(other, &raw const *waiter));
        *waiter.wants.lock() = Wants::This(address);
        *waiter.key.lock() = key;
        match attempt {
            Attempt::Owned => waiter.wake(),
            Attempt::Waits(owner) => {
                let mut all = WAITERS_BY_KEY.lock();
                all.entry(key).or_default().push_back(waiter.clone());
                drop(all);
                inheritance::begin(&waiter, &owner);
            }
        }
        done += 1;
    }
    Ok(done)
}

fn first(key: Key) -> Option<Arc<Waiter>> {
    let all = WAITERS_BY_KEY.lock();
    all.get(&key)?.front().cloned()
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
    let died = |value: u32| value & WAITERS | OWNER_DIED;
    // A word that is inherited is handed over to who waits for it: see [`owners_end`].
    update(address, &died)?;
    if !inherits && value & WAITERS != 0 {
        // One who wants to own it waits on for whoever else there is.
        let _ = wake(key, 1, ANY);
    }
    Ok(true)
}

/// Hands the words that a thread owns over to those who wait for them, as it ends.
pub fn owners_end(thread: &Thread) {
    loop {
        let Some(waiter) = inheritance::waiters_of(thread).first().cloned() else {
            return;
        };
        let key = *waiter.key.lock();
        let (Wants::This(address), Some((next, _))) = (waiter.wants(), most_urgent(key)) else {
            inheritance::end(&waiter);
            continue;
        };
        let is_free = |value: u32| [0, thread.tid].contains(&(value & OWNER));
        let owned = next.thread.tid | WAITERS | OWNER_DIED;
        let new = |value| {
            if is_free(value) {
                owned
            } else {
                value | WAITERS
            }
        };
        let before = update(address, &new).unwrap_or(0);
        match thread.process.thread(before & OWNER) {
            // It was quicker.
            Some(owner) if !is_free(before) => wait_for_another(key, &owner),
            _ => hand_over(key, &next),
        }
    }
}
