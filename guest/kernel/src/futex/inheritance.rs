//! Inheritance of priority: who owns a word is at least as urgent as everybody who waits for it.
//!
//! A thread knows who waits for words that it owns, and for whose word it waits itself
//! ([`Inheritance`]). Where either changes, the threads along the chain are looked at anew.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Waiter;
use crate::sched;
use crate::thread::Thread;

/// Who waits for whom, as far as it concerns one thread.
#[derive(Debug, Default)]
pub(crate) struct Inheritance {
    /// Those who wait for words that it owns.
    waiters: Vec<Arc<Waiter>>,
    /// The owner of the word for which it waits.
    waits_for: Option<Arc<Thread>>,
}

fn owner_of_wanted(thread: &Thread) -> Option<Arc<Thread>> {
    thread.inheritance.lock().waits_for.clone()
}

/// Whether `owner` waits for `thread`, through any number of others.
pub(super) fn waits_for(owner: &Arc<Thread>, thread: &Arc<Thread>) -> bool {
    let mut at = Some(owner.clone());
    while let Some(next) = at {
        if Arc::ptr_eq(&next, thread) {
            return true;
        }
        at = owner_of_wanted(&next);
    }
    false
}

/// A waiter waits for `owner` from now on, and for nobody before.
pub(super) fn begin(waiter: &Arc<Waiter>, owner: &Arc<Thread>) {
    owner.inheritance.lock().waiters.push(waiter.clone());
    waiter.thread.inheritance.lock().waits_for = Some(owner.clone());
    look_along(owner.clone());
}

/// A waiter does not wait for anybody any more.
pub(super) fn end(waiter: &Arc<Waiter>) {
    let owner = waiter.thread.inheritance.lock().waits_for.take();
    let Some(owner) = owner else { return };
    let is_other = |other: &Arc<Waiter>| !Arc::ptr_eq(other, waiter);
    owner.inheritance.lock().waiters.retain(is_other);
    look_along(owner);
}

/// Those who wait for words that a thread owns.
pub(super) fn waiters_of(thread: &Thread) -> Vec<Arc<Waiter>> {
    thread.inheritance.lock().waiters.clone()
}

/// The priority of a thread is another: so may be those of the owners for whom it waits.
pub(crate) fn priority_changed(thread: &Thread) {
    if let Some(owner) = owner_of_wanted(thread) {
        look_along(owner);
    }
}

/// Gives a thread, and those for whom it waits, the priority of the most urgent waiter.
fn look_along(thread: Arc<Thread>) {
    let mut at = Some(thread);
    while let Some(next) = at {
        let waiters = waiters_of(&next);
        let urgency = waiters.iter().map(|waiter| sched::urgency(&waiter.thread));
        if !sched::set_inherited(&next, urgency.max().unwrap_or(0)) {
            return;
        }
        at = owner_of_wanted(&next);
    }
}
