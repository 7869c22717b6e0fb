//! Changing how threads are scheduled, and reaching those that run elsewhere.

use alloc::sync::Arc;
use alloc::vec::Vec;

use guest_hal::{Nanos, platform, time};

use super::scheduling::{Scheduling, State};
use super::{Policy, SCHEDULER, ask_for_turn, interrupt, running, vcpus};
use crate::futex;
use crate::thread::Thread;

/// Changes how a thread is scheduled; one that is ready finds its new place in the queue, and one
/// that runs comes to [`super::take_turns`].
fn reconsider(thread: &Thread, change: &dyn Fn(&mut Scheduling)) {
    let mut scheduler = SCHEDULER.lock();
    let mut scheduling = thread.scheduling.lock();
    change(&mut scheduling);
    let is_it = |other: &Arc<Thread>| core::ptr::eq(&raw const **other, thread);
    let place = scheduler.ready.iter().find(|(_, other)| is_it(other));
    let place = place.map(|(key, _)| *key);
    if let Some(ready) = place.and_then(|key| scheduler.ready.remove(&key)) {
        scheduler.enqueue(&ready, &mut scheduling);
        scheduler.announce(&scheduling);
    }
    let state = scheduling.state;
    drop(scheduling);
    if let State::Running(vcpu) = state {
        scheduler.vcpu(vcpu).reschedule = true;
        drop(scheduler);
        ask_for_turn(vcpu);
        interrupt(thread);
    }
}

/// Gives a thread a nice value.
pub fn set_nice(thread: &Thread, nice: i8) {
    reconsider(thread, &|scheduling| scheduling.nice = nice);
}

/// Gives a thread a policy and the priority that belongs to it.
pub fn set_policy(thread: &Thread, policy: Policy, priority: u8) {
    reconsider(thread, &|scheduling| {
        (scheduling.policy, scheduling.priority) = (policy, priority);
    });
    futex::priority_changed(thread);
}

/// How urgent a thread is: its real-time priority, with what it inherits; zero: not at all.
pub(crate) fn urgency(thread: &Thread) -> u8 {
    thread.scheduling.lock().urgency()
}

/// Has a thread be as urgent as those who wait for it; whether that changes how urgent it is.
pub(crate) fn set_inherited(thread: &Thread, inherited: u8) -> bool {
    let before = {
        let scheduling = thread.scheduling.lock();
        if scheduling.inherited == inherited {
            return false;
        }
        scheduling.urgency()
    };
    reconsider(thread, &|scheduling| scheduling.inherited = inherited);
    urgency(thread) != before
}

/// Says on which virtual CPUs a thread may run; not on none.
pub fn set_affinity(thread: &Thread, affinity: u64) {
    reconsider(thread, &|scheduling| scheduling.affinity = affinity);
}

/// A new thread is scheduled as its maker is.
pub fn inherit(maker: &Thread, thread: &Thread) {
    let maker = maker.scheduling.lock();
    let mut new = thread.scheduling.lock();
    new.nice = maker.nice;
    new.policy = maker.policy;
    new.priority = maker.priority;
    new.affinity = maker.affinity;
    new.virtual_time = maker.virtual_time;
}

/// Has the thread that runs on a virtual CPU leave its restartable sequence.
pub fn restart_sequence(vcpu: usize) {
    if let Some(thread) = running(vcpu) {
        thread.note_rseq();
    }
}

/// How often to look whether an interrupt has been served.
const LOOK: Nanos = Nanos(20_000);

/// Interrupts every other virtual CPU that runs the program, and waits until each has been in the
/// kernel.
///
/// # Errors
/// `RESTART` when a signal is to be delivered.
pub fn interrupt_others() -> crate::Result<()> {
    let here = platform().vcpu();
    let turns = |vcpu| SCHEDULER.lock().vcpu(vcpu).turns;
    let others = (0..vcpus()).filter(|vcpu| *vcpu != here && running(*vcpu).is_some());
    let others: Vec<_> = others.map(|vcpu| (vcpu, turns(vcpu))).collect();
    for (vcpu, _) in &others {
        ask_for_turn(*vcpu);
        platform().interrupt(*vcpu);
    }
    let all_were_here = || {
        others
            .iter()
            .all(|(vcpu, before)| turns(*vcpu) != *before || running(*vcpu).is_none())
    };
    while !all_were_here() {
        let until = time::monotonic().saturating_add(LOOK);
        crate::wait::until(&[], Some(until), &mut || all_were_here().then_some(()))?;
    }
    Ok(())
}
