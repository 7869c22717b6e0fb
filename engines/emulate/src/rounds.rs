//! Whose turn it is where every run is the same: virtual CPUs follow each other by number.
//!
//! Each is on a thread of its own, whose turn another gives it. The first turn begins when all are there. One that waits for an
//! interrupt is passed over until something has come for it. If all wait, time goes on to the next moment that any of
//! them, or somebody outside, waits for; if there is none, nothing can happen any more, and the first that waits is told so.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use engine_contract::{VcpuId, VirtualTime};
use machine_bus::Nanos;
use machine_irqchip::{Controllers, Signal};

use crate::counted::Counted;

/// What a virtual CPU does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nobody runs it.
    Away,
    Ready,
    Waits,
}

#[derive(Debug)]
struct State {
    places: Vec<Place>,
    /// All have been there.
    has_begun: bool,
    current: Option<usize>,
    /// After whom it is the next one's turn.
    last: usize,
    /// Nothing can come for those who wait.
    is_stuck: bool,
}

/// The turns of a machine's virtual CPUs.
pub(crate) struct Rounds {
    state: Mutex<State>,
    changed: Condvar,
    counted: Arc<Counted>,
    controllers: Arc<Controllers>,
    signals: Vec<Arc<Signal>>,
}

impl fmt::Debug for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rounds").field(&self.state).finish()
    }
}

impl Rounds {
    /// Nobody is there yet. What comes for a virtual CPU sets its signal.
    pub(crate) fn new(
        counted: Arc<Counted>,
        controllers: Arc<Controllers>,
        signals: Vec<Arc<Signal>>,
    ) -> Self {
        let state = State {
            places: vec![Place::Away; signals.len()],
            has_begun: false,
            current: None,
            // The first is the next.
            last: signals.len().saturating_sub(1),
            is_stuck: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            counted,
            controllers,
            signals,
        }
    }

    pub(crate) const fn counted(&self) -> &Arc<Counted> {
        &self.counted
    }

    /// Something happened to a virtual CPU: it looks around after this instruction.
    pub(crate) fn call(&self, vcpu: VcpuId) {
        if let Some(signal) = self.signals.get(vcpu.0 as usize) {
            signal.set();
        }
    }

    /// Comes, and waits for its turn.
    pub(crate) fn take(&self, vcpu: VcpuId) {
        let mut state = self.state();
        put(&mut state, vcpu, Place::Ready);
        let all_are_there = !state.places.contains(&Place::Away);
        if state.current.is_none() && (state.has_begun || all_are_there) {
            state.has_begun = true;
            self.choose(&mut state);
        }
        drop(self.wait(state, vcpu));
    }

    /// Goes. Others go on without it.
    pub(crate) fn give(&self, vcpu: VcpuId) {
        let mut state = self.state();
        put(&mut state, vcpu, Place::Away);
        self.choose(&mut state);
    }

    /// Lets the others have their turns.
    pub(crate) fn pass(&self, vcpu: VcpuId) {
        let mut state = self.state();
        self.choose(&mut state);
        drop(self.wait(state, vcpu));
    }

    /// Waits until something has come for it; `false` when nothing can.
    pub(crate) fn sleep(&self, vcpu: VcpuId) -> bool {
        let mut state = self.state();
        put(&mut state, vcpu, Place::Waits);
        self.choose(&mut state);
        let mut state = self.wait(state, vcpu);
        put(&mut state, vcpu, Place::Ready);
        !std::mem::take(&mut state.is_stuck)
    }

    /// The next one's turn begins.
    fn choose(&self, state: &mut State) {
        state.current = self.find(state);
        state.last = state.current.unwrap_or(state.last);
        self.changed.notify_all();
    }

    fn find(&self, state: &mut State) -> Option<usize> {
        let count = state.places.len();
        let order = (1..=count).map(|step| (state.last + step) % count);
        loop {
            self.counted.run_due();
            let now = self.counted.now();
            let mut is_ready = |number: &usize| match state.places.get(*number) {
                Some(Place::Ready) => true,
                Some(Place::Waits) => self.has_something(*number, now),
                _ => false,
            };
            if let Some(number) = order.clone().find(&mut is_ready) {
                return Some(number);
            }
            let first = state
                .places
                .iter()
                .position(|place| *place == Place::Waits)?;
            match self.next(state, now) {
                Some(next) => self.counted.skip_to(next),
                None => {
                    state.is_stuck = true;
                    return Some(first);
                }
            }
        }
    }

    /// Whether something has come for one that waits.
    fn has_something(&self, number: usize, now: Nanos) -> bool {
        self.controllers.expire(VcpuId(number as u32), now);
        self.signals
            .get(number)
            .is_some_and(|signal| signal.is_set())
    }

    /// The next moment that anybody waits for.
    fn next(&self, state: &State, now: Nanos) -> Option<Nanos> {
        let waiting = (0..).zip(&state.places);
        let waiting = waiting.filter(|(_, place)| **place == Place::Waits);
        let timers = waiting.filter_map(|(id, _)| self.controllers.next_event(VcpuId(id), now));
        timers.chain(self.counted.next()).min()
    }

    fn wait<'s>(&'s self, state: MutexGuard<'s, State>, vcpu: VcpuId) -> MutexGuard<'s, State> {
        let is_others = |state: &mut State| state.current != Some(vcpu.0 as usize);
        let waited = self.changed.wait_while(state, is_others);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put(state: &mut State, vcpu: VcpuId, place: Place) {
    if let Some(own) = state.places.get_mut(vcpu.0 as usize) {
        *own = place;
    }
}
