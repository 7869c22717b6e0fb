//! Clocks and timers of the process.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_hal::Nanos;

use crate::process::current;
use crate::signal::{SignalInfo, number};
use crate::{Errno, Result};

/// What a timer measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Real time.
    Real,
    /// Processor time of the program (user time; the kernel's share is not told apart).
    Processor,
}

/// `ITIMER_REAL`, `ITIMER_VIRTUAL`, `ITIMER_PROF`.
pub const INTERVAL_TIMERS: usize = 3;

/// One armed timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Armed {
    /// When it goes off, on its own clock.
    pub at: Nanos,
    /// Then again after this long; zero: not.
    pub interval: Nanos,
}

/// The signal by which a timer says that it went off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its number.
    pub signal: u32,
    /// The value that comes with it.
    pub value: u64,
    /// The thread that gets it; `None`: any.
    pub thread: Option<u32>,
}

/// A timer made by `timer_create`.
#[derive(Clone, Copy, Debug)]
pub struct PosixTimer {
    /// What it measures.
    pub measure: Measure,
    /// What it posts; `None`: nothing.
    pub notice: Option<Notice>,
    armed: Option<Armed>,
    /// How often it went off beyond the signal that was posted last.
    pub overrun: u64,
}

/// Most timers of a process (Linux bounds them by `RLIMIT_SIGPENDING`).
const POSIX_MAX: usize = 1024;

/// The timers of a process.
#[derive(Debug, Default)]
pub struct Timers {
    interval: [Option<Armed>; INTERVAL_TIMERS],
    posix: Vec<Option<PosixTimer>>,
}

/// When the program started, monotonic.
static START: AtomicU64 = AtomicU64::new(0);

/// Notes the start of the program.
pub fn note_start() {
    START.store(guest_hal::time::monotonic().0, Ordering::Relaxed);
}

/// When the program started, on the monotonic clock.
#[must_use]
pub fn start() -> Nanos {
    Nanos(START.load(Ordering::Relaxed))
}

/// Processor time of the program's threads, of all virtual CPUs.
#[must_use]
pub fn processor() -> Nanos {
    let counted = current().processor_time.load(Ordering::Relaxed);
    Nanos(counted).saturating_add(crate::sched::uncounted())
}

/// When the next timer of the process goes off, if one is armed.
#[must_use]
pub fn next_deadline() -> Option<Nanos> {
    let timers = current().timers.lock();
    if timers.has_none() {
        return None;
    }
    timers.next_deadline()
}

fn now(measure: Measure) -> Nanos {
    match measure {
        Measure::Real => guest_hal::time::monotonic(),
        Measure::Processor => processor(),
    }
}

const fn measure_of(timer: usize) -> Measure {
    if timer == 0 {
        Measure::Real
    } else {
        Measure::Processor
    }
}

const SIGNALS: [u32; INTERVAL_TIMERS] = [number::SIGALRM, number::SIGVTALRM, number::SIGPROF];

impl PosixTimer {
    /// Time left and interval.
    #[must_use]
    pub fn left(&self) -> (Nanos, Nanos) {
        self.armed.map_or((Nanos(0), Nanos(0)), |armed| {
            (
                armed.at.saturating_sub(now(self.measure)).max(Nanos(1)),
                armed.interval,
            )
        })
    }
}

impl Timers {
    /// Time left and interval of an interval timer.
    #[must_use]
    pub fn interval(&self, timer: usize) -> (Nanos, Nanos) {
        let armed = self.interval.get(timer).copied().flatten();
        armed.map_or((Nanos(0), Nanos(0)), |armed| {
            let left = armed.at.saturating_sub(now(measure_of(timer)));
            (left.max(Nanos(1)), armed.interval)
        })
    }

    /// Arms an interval timer to go off after `value`; zero disarms it.
    pub fn set_interval(&mut self, timer: usize, value: Nanos, interval: Nanos) {
        let at = now(measure_of(timer)).saturating_add(value);
        if let Some(slot) = self.interval.get_mut(timer) {
            *slot = (value.0 != 0).then_some(Armed { at, interval });
        }
        crate::sched::timers_changed();
    }

    /// Whether none is armed.
    fn has_none(&self) -> bool {
        self.interval.iter().all(Option::is_none)
            && self
                .posix
                .iter()
                .flatten()
                .all(|timer| timer.armed.is_none())
    }

    /// When the next one goes off, on the monotonic clock; one that measures processor
    /// time can go off no earlier than if the program ran all the while.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        let due = |measure, armed: &Armed| {
            let left = armed.at.saturating_sub(now(measure));
            now(Measure::Real).saturating_add(left)
        };
        let slots = self.interval.iter().enumerate();
        let interval =
            slots.filter_map(|(timer, armed)| Some(due(measure_of(timer), armed.as_ref()?)));
        let posix = self.posix.iter().flatten();
        let posix = posix.filter_map(|timer| Some(due(timer.measure, timer.armed.as_ref()?)));
        interval.chain(posix).min()
    }

    /// Makes a timer; its number.
    ///
    /// # Errors
    /// `EAGAIN` when there are too many.
    pub fn create(&mut self, measure: Measure, notice: Option<Notice>) -> Result<usize> {
        let timer = PosixTimer {
            measure,
            notice,
            armed: None,
            overrun: 0,
        };
        if let Some((free, slot)) = self
            .posix
            .iter_mut()
            .enumerate()
            .find(|(_, slot)| slot.is_none())
        {
            *slot = Some(timer);
            return Ok(free);
        }
        if self.posix.len() >= POSIX_MAX {
            return Err(Errno::EAGAIN);
        }
        self.posix.push(Some(timer));
        Ok(self.posix.len() - 1)
    }

    /// A timer by number.
    ///
    /// # Errors
    /// `EINVAL` when there is none.
    pub fn posix(&mut self, number: i32) -> Result<&mut PosixTimer> {
        let index = usize::try_from(number).map_err(|_| Errno::EINVAL)?;
        let slot = self.posix.get_mut(index);
        slot.and_then(Option::as_mut).ok_or(Errno::EINVAL)
    }

    /// Removes a timer.
    ///
    /// # Errors
    /// `EINVAL` when there is none.
    pub fn delete(&mut self, number: i32) -> Result<()> {
        self.posix(number)?;
        if let Some(slot) = self.posix.get_mut(number as usize) {
            *slot = None;
        }
        crate::sched::timers_changed();
        Ok(())
    }

    /// Arms a timer to go off after `value`; zero disarms it.
    ///
    /// # Errors
    /// `EINVAL` when there is none.
    pub fn arm(&mut self, number: i32, value: Nanos, interval: Nanos) -> Result<()> {
        let timer = self.posix(number)?;
        let at = now(timer.measure).saturating_add(value);
        timer.armed = (value.0 != 0).then_some(Armed { at, interval });
        crate::sched::timers_changed();
        Ok(())
    }

    /// Posts the signals of the timers made by `timer_create` that went off.
    fn expire_posix(&mut self, post: &mut dyn FnMut(SignalInfo, Option<u32>)) {
        for (number, timer) in self.posix.iter_mut().enumerate() {
            let Some(timer) = timer else { continue };
            let now = now(timer.measure);
            let Some(armed) = timer.armed.filter(|armed| armed.at <= now) else {
                continue;
            };
            timer.armed = next_after(armed, now);
            let missed = now.saturating_sub(armed.at).0.checked_div(armed.interval.0);
            timer.overrun = missed.unwrap_or(0);
            if let Some(notice) = timer.notice {
                let overrun = timer.overrun as u32;
                let info = SignalInfo::timer(notice.signal, number as u32, overrun, notice.value);
                post(info, notice.thread);
            }
        }
    }

    /// Takes the signals of the timers that went off.
    fn take_expired(&mut self) -> [Option<u32>; INTERVAL_TIMERS] {
        let mut signals = [None; INTERVAL_TIMERS];
        let slots = self
            .interval
            .iter_mut()
            .zip(&mut signals)
            .zip(SIGNALS)
            .enumerate();
        for (timer, ((slot, out), signal)) in slots {
            let now = now(measure_of(timer));
            if let Some(armed) = slot
                && armed.at <= now
            {
                *out = Some(signal);
                *slot = next_after(*armed, now);
            }
        }
        signals
    }
}

/// The timer after it went off: the next multiple of its interval that is not yet over.
fn next_after(armed: Armed, now: Nanos) -> Option<Armed> {
    if armed.interval.0 == 0 {
        return None;
    }
    let missed = now.saturating_sub(armed.at).0 / armed.interval.0 + 1;
    let at = armed
        .at
        .saturating_add(Nanos(armed.interval.0.saturating_mul(missed)));
    Some(Armed {
        at,
        interval: armed.interval,
    })
}

/// Posts the signals of the timers that went off, and asks for the next interrupt.
pub fn expire() {
    let process = current();
    let mut timers = process.timers.lock();
    if timers.has_none() {
        return;
    }
    let signals = timers.take_expired();
    let mut posted = Vec::new();
    timers.expire_posix(&mut |info, thread| posted.push((info, thread)));
    // Always: the interrupt may have come a little before our clock shows the time.
    crate::sched::timers_changed();
    drop(timers);
    for signal in signals.into_iter().flatten() {
        crate::signal::post(process, SignalInfo::from_kernel(signal));
    }
    for (info, thread) in posted {
        match thread {
            None => crate::signal::post(process, info),
            // One that has ended gets nothing.
            Some(tid) => {
                if let Some(thread) = process.thread(tid) {
                    crate::signal::post_to(&thread, info);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_was_missed_goes_off_at_its_next_multiple() {
        let armed = Armed {
            at: Nanos(100),
            interval: Nanos(10),
        };
        assert_eq!(
            next_after(armed, Nanos(100)).map(|armed| armed.at),
            Some(Nanos(110))
        );
        assert_eq!(
            next_after(armed, Nanos(135)).map(|armed| armed.at),
            Some(Nanos(140))
        );
        assert_eq!(
            next_after(
                Armed {
                    interval: Nanos(0),
                    ..armed
                },
                Nanos(100)
            ),
            None
        );
    }
}
