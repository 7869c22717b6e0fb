//! How one thread is scheduled.

use guest_hal::Nanos;

use crate::thread::Thread;

/// The weight of a thread that is neither nice nor not.
const WEIGHT: u64 = 1024;
/// Highest real-time priority.
pub const PRIORITY_MAX: u8 = 99;

/// Weights by nice value from -20 on: each step is a tenth of the processor.
const WEIGHTS: [u32; 40] = [
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904,
    3906, 3121, 2501, 1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87,
    70, 56, 45, 36, 29, 23, 18, 15,
];

/// `SCHED_OTHER`, `SCHED_FIFO`, `SCHED_RR`, `SCHED_BATCH`, `SCHED_IDLE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "Linux' own names")]
pub enum Policy {
    #[default]
    Other = 0,
    Fifo = 1,
    RoundRobin = 2,
    Batch = 3,
    Idle = 5,
}

impl Policy {
    /// Whether it is a real-time one.
    #[must_use]
    pub const fn is_real_time(self) -> bool {
        matches!(self, Self::Fifo | Self::RoundRobin)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// Not yet, or no longer.
    #[default]
    Absent,
    Ready,
    Running(usize),
    Waiting,
}

/// How a thread is scheduled.
#[derive(Debug)]
pub struct Scheduling {
    /// -20 to 19.
    pub nice: i8,
    /// The policy.
    pub policy: Policy,
    /// Of the real-time policies, 1 to 99; otherwise zero.
    pub priority: u8,
    /// The real-time priority it has from those who wait for it; zero: none.
    pub(super) inherited: u8,
    /// The virtual CPUs it may run on, a bit each.
    pub affinity: u64,
    /// How often it went from running to waiting, and from running to ready.
    pub switches: (u64, u64),
    pub(super) state: State,
    pub(super) events: u64,
    pub(super) virtual_time: u64,
    pub(super) deadline: Option<Nanos>,
    /// How long it ran before `since`, and since when it runs.
    pub(super) ran: Nanos,
    pub(super) since: Nanos,
    pub(super) slice_end: Nanos,
    pub(super) last_vcpu: usize,
}

impl Default for Scheduling {
    fn default() -> Self {
        Self {
            nice: 0,
            policy: Policy::Other,
            priority: 0,
            inherited: 0,
            affinity: u64::MAX,
            switches: (0, 0),
            state: State::Absent,
            events: 0,
            virtual_time: 0,
            deadline: None,
            ran: Nanos(0),
            since: Nanos(0),
            slice_end: Nanos(0),
            last_vcpu: 0,
        }
    }
}

impl Scheduling {
    /// Whether it comes before all that share fairly.
    #[must_use]
    pub const fn is_real_time(&self) -> bool {
        self.policy.is_real_time() || self.inherited > 0
    }

    /// The real-time priority, its own or of those who wait for it; zero: none.
    #[must_use]
    pub const fn urgency(&self) -> u8 {
        if self.inherited > self.priority {
            self.inherited
        } else {
            self.priority
        }
    }

    /// The letter that `/proc` shows.
    #[must_use]
    pub const fn letter(&self) -> char {
        match self.state {
            State::Waiting => 'S',
            _ => 'R',
        }
    }

    /// The virtual CPU it runs on, or ran on last.
    #[must_use]
    pub const fn vcpu(&self) -> usize {
        match self.state {
            State::Running(vcpu) => vcpu,
            _ => self.last_vcpu,
        }
    }

    fn weight(&self) -> u64 {
        let index = (i32::from(self.nice) + 20).clamp(0, 39) as usize;
        let weight = WEIGHTS.get(index).copied().map_or(WEIGHT, u64::from);
        if self.policy == Policy::Idle {
            3
        } else {
            weight
        }
    }

    /// Where it stands in the queue: smaller is sooner.
    pub(super) const fn rank(&self) -> u64 {
        if self.is_real_time() {
            (PRIORITY_MAX - self.urgency()) as u64
        } else {
            self.virtual_time + PRIORITY_MAX as u64 + 1
        }
    }

    /// Counts the time it ran up to `now`.
    pub(super) fn account(&mut self, now: Nanos) -> Nanos {
        let ran = now.saturating_sub(self.since);
        self.since = now;
        self.ran = self.ran.saturating_add(ran);
        self.virtual_time += ran.0.saturating_mul(WEIGHT) / self.weight();
        ran
    }
}

/// How a thread is scheduled, as far as it was said.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// -20 to 19.
    pub nice: i8,
    /// The policy.
    pub policy: Policy,
    /// Whether that is a real-time one.
    pub is_real_time: bool,
    /// The priority of those.
    pub priority: u8,
    /// The virtual CPUs it may run on, a bit each.
    pub affinity: u64,
}

impl Thread {
    /// How it is scheduled, as far as it was said.
    pub fn scheduling(&self) -> Said {
        let scheduling = self.scheduling.lock();
        Said {
            nice: scheduling.nice,
            policy: scheduling.policy,
            is_real_time: scheduling.policy.is_real_time(),
            priority: scheduling.priority,
            affinity: scheduling.affinity,
        }
    }
}
