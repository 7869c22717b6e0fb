//! What the virtual CPUs of a machine share: interrupt controllers, time, and whose turn it is.
//!
//! Time is the host's, or one that passes with instructions ([`Counted`]); so turns are taken as virtual CPUs come, or in
//! rounds ([`Rounds`]).

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use engine_contract::{VcpuId, VirtualTime};
use host::cpu::{tsc, tsc_frequency_or_measured};
use machine_bus::Nanos;
use machine_irqchip::{Controllers, Signal};

use crate::counted::{self, Counted};
use crate::identity::Identity;
use crate::rounds::Rounds;
use crate::unknown::Unknown;
use crate::xen::Xen;

/// No counter is as slow as that; what is divided by a frequency stays sane.
const LEAST_HERTZ: u64 = 1_000_000;

/// Shared by the virtual CPUs.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) controllers: Arc<Controllers>,
    pub(crate) identity: Identity,
    pub(crate) unknown: Unknown,
    /// Where guests find Xen below themselves.
    pub(crate) xen: Option<Xen>,
    pace: Pace,
    first_stamp: u64,
    /// Frequency of the time stamp counter.
    kilohertz: u64,
}

/// How time passes, and who runs when.
#[derive(Debug)]
enum Pace {
    /// As the host's, since then.
    Host(Instant, Turn),
    /// With instructions.
    Counted(Rounds),
    /// Not at all, and random numbers are none. There is one virtual CPU.
    None,
}

impl Shared {
    pub(crate) fn new(controllers: Arc<Controllers>, vcpus: u32) -> Self {
        let kilohertz = tsc_frequency_or_measured().max(LEAST_HERTZ) / 1000;
        Self {
            pace: Pace::Host(Instant::now(), Turn::default()),
            first_stamp: tsc(),
            ..Self::with(controllers, vcpus, kilohertz)
        }
    }

    /// The same for a machine that does the same in every run.
    pub(crate) fn deterministic(
        controllers: Arc<Controllers>,
        signals: Vec<Arc<Signal>>,
        seed: u64,
    ) -> Self {
        let (vcpus, own) = (signals.len() as u32, Arc::clone(&controllers));
        let rounds = Rounds::new(Arc::new(Counted::new(seed)), own, signals);
        Self {
            pace: Pace::Counted(rounds),
            ..Self::with(controllers, vcpus, counted::KILOHERTZ)
        }
    }

    /// The same in a world in which nothing happens by itself.
    pub(crate) fn standing_still(controllers: Arc<Controllers>) -> Self {
        Self::with(controllers, 1, LEAST_HERTZ / 1000)
    }

    /// The same for guests that find this below themselves.
    pub(crate) fn over(self, xen: Option<Xen>) -> Self {
        let identity = self.identity.over_xen(xen.is_some());
        Self {
            identity,
            xen,
            ..self
        }
    }

    fn with(controllers: Arc<Controllers>, vcpus: u32, kilohertz: u64) -> Self {
        Self {
            identity: Identity::new(vcpus, kilohertz as u32),
            controllers,
            unknown: Unknown::default(),
            xen: None,
            pace: Pace::None,
            first_stamp: 0,
            kilohertz,
        }
    }

    /// The time that passes with instructions, and whose turn it is there.
    pub(crate) const fn rounds(&self) -> Option<&Rounds> {
        match &self.pace {
            Pace::Counted(rounds) => Some(rounds),
            _ => None,
        }
    }

    /// The time that passes with instructions.
    pub(crate) fn counted(&self) -> Option<&Arc<Counted>> {
        self.rounds().map(Rounds::counted)
    }

    /// Time since the machine was made.
    pub(crate) fn now(&self) -> Nanos {
        match &self.pace {
            Pace::Host(start, _) => {
                Nanos(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX))
            }
            Pace::Counted(rounds) => rounds.counted().now(),
            Pace::None => Nanos(0),
        }
    }

    /// The machine's time stamp.
    pub(crate) fn time_stamp(&self) -> u64 {
        match &self.pace {
            Pace::Host(..) => tsc(),
            Pace::Counted(rounds) => rounds.counted().now().0,
            Pace::None => self.first_stamp,
        }
    }

    /// The time stamp when time began.
    pub(crate) const fn first_stamp(&self) -> u64 {
        self.first_stamp
    }

    /// When time began, in nanoseconds since 1970.
    pub(crate) fn beginning(&self) -> u64 {
        if let Some(counted) = self.counted() {
            return counted.beginning();
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_nanos() as u64);
        now.saturating_sub(self.now().0)
    }

    /// Frequency of the time stamp counter.
    pub(crate) const fn kilohertz(&self) -> u64 {
        self.kilohertz
    }

    /// The time that so many ticks of the counter take.
    pub(crate) fn nanos(&self, ticks: u64) -> u64 {
        let nanos = u128::from(ticks) * 1_000_000 / u128::from(self.kilohertz);
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    /// A random number.
    pub(crate) fn random(&self) -> Option<u64> {
        match &self.pace {
            Pace::Host(..) => host::random::number(),
            Pace::Counted(rounds) => Some(rounds.counted().random()),
            Pace::None => None,
        }
    }

    /// A virtual CPU waits for its turn.
    pub(crate) fn take_turn(&self, vcpu: VcpuId) {
        match &self.pace {
            Pace::Host(_, turn) => turn.take(),
            Pace::Counted(rounds) => rounds.take(vcpu),
            Pace::None => {}
        }
    }

    /// Its turn is over.
    pub(crate) fn give_turn(&self, vcpu: VcpuId) {
        match &self.pace {
            Pace::Host(_, turn) => turn.give(),
            Pace::Counted(rounds) => rounds.give(vcpu),
            Pace::None => {}
        }
    }

    /// Others that want to have their turns.
    pub(crate) fn pass_turn(&self, vcpu: VcpuId) {
        match &self.pace {
            Pace::Host(_, turn) if turn.is_wanted() => {
                turn.give();
                turn.take();
            }
            Pace::Counted(rounds) => rounds.pass(vcpu),
            _ => {}
        }
    }

    /// Others have their turns until something has come for this virtual CPU, or so long; `false` when nothing can come.
    pub(crate) fn sleep(&self, vcpu: VcpuId, signal: &Signal, longest: Option<Duration>) -> bool {
        match &self.pace {
            Pace::Host(_, turn) => {
                turn.give();
                signal.sleep(longest);
                turn.take();
                true
            }
            Pace::Counted(rounds) => rounds.sleep(vcpu),
            Pace::None => false,
        }
    }
}

/// Whose turn it is: one virtual CPU runs at a time, those that want to in the order in which they came. So all
/// see memory change in one order, which x86 allows, and no instruction sees half of another's.
#[derive(Debug, Default)]
struct Turn {
    tickets: Mutex<Tickets>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Tickets {
    /// The next to be given.
    next: u64,
    /// The one whose turn it is.
    current: u64,
}

impl Turn {
    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for it.
    fn take(&self) {
        let mut tickets = self.tickets();
        let own = tickets.next;
        tickets.next += 1;
        while tickets.current != own {
            let woken = self.changed.wait(tickets);
            tickets = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives it to the next.
    fn give(&self) {
        self.tickets().current += 1;
        self.changed.notify_all();
    }

    /// Whether somebody waits for it.
    fn is_wanted(&self) -> bool {
        let tickets = self.tickets();
        tickets.next > tickets.current + 1
    }
}
