//! Both machines, side by side, an instruction at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use engine_contract::{Points, Stop, Tracer, VcpuId};
use x86_state::CpuState;

use crate::compare::{differences, lines};
use crate::deviations::Deviations;
use crate::exceptions::Kind;
use crate::follower::Follower;
use crate::side::Side;

/// Steps between two looks at the time.
const LOOK: u64 = 256;

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) steps: u64,
    /// Of these, through a gate, to another task, or many turns at once.
    pub(crate) arrivals: u64,
    pub(crate) exceptions: BTreeMap<Kind, u64>,
    pub(crate) deviations: BTreeMap<&'static str, u64>,
    pub(crate) memory_compared: u64,
}

/// How it ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// As both machines say.
    Ended(String),
    /// Both wait for an interrupt.
    Halted,
    /// After as many steps as were asked for.
    Enough,
    /// They differ.
    Failed(String),
}

/// The pair: the interpreter runs, and tells of each instruction; KVM does the same one then.
pub(crate) struct Lockstep {
    emulate: Side,
    follower: Arc<Mutex<Follower>>,
    was_cut: bool,
}

/// How far, and how often memory is compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) steps: u64,
    pub(crate) every: u64,
    pub(crate) until: Option<Instant>,
}

impl Limits {
    /// Whether that is enough.
    pub(crate) fn are_reached(&self, steps: u64) -> bool {
        let is_late = || self.until.is_some_and(|until| Instant::now() >= until);
        steps >= self.steps || steps.is_multiple_of(LOOK) && is_late()
    }
}

struct Tell(Arc<Mutex<Follower>>);

impl Tracer for Tell {
    fn executed(&self, _: VcpuId, before: &CpuState, after: &CpuState, code: &[u8]) {
        lock(&self.0).follow(before, after, code);
    }
}

fn lock(follower: &Mutex<Follower>) -> MutexGuard<'_, Follower> {
    follower.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lockstep {
    /// Two machines that stand at their first instruction.
    pub(crate) fn new(mut emulate: Side, mut kvm: Side, limits: Limits) -> Result<Self> {
        // Kinds of memory begin as firmware leaves them with one, and as after reset with the other.
        let mine = emulate.vcpu.state()?;
        kvm.vcpu.set_state(&mine)?;
        let different = differences(&mine, &kvm.vcpu.state()?);
        if !different.is_empty() {
            bail!(
                "the machines differ before the first instruction:\n{}",
                lines(&different)
            );
        }
        kvm.hides_busy_task = Deviations::of_host().hides_busy_task();
        kvm.set_state(mine)?;
        let follower = Arc::new(Mutex::new(Follower::new(&emulate, kvm, limits)));
        let tracing = emulate.vcpu.tracing();
        let tracing = tracing.context("the interpreter has nothing for traces")?;
        tracing.trace(&[0..=u64::MAX], Arc::new(Tell(Arc::clone(&follower))));
        Ok(Self {
            emulate,
            follower,
            was_cut: false,
        })
    }

    /// Steps both until something ends it.
    pub(crate) fn run(&mut self) -> Result<Outcome> {
        let points = Points {
            holds_interrupts: true,
            ..Points::default()
        };
        let outcome = loop {
            let stop = self.emulate.run(&points)?;
            let mut follower = lock(&self.follower);
            if let Some(outcome) = follower.take_outcome() {
                break outcome?;
            }
            let resumed = follower.take_resumed();
            drop(follower);
            match (stop, resumed) {
                (Stop::Kicked, Some(state)) => self.emulate.set_state(state)?,
                (Stop::Kicked, None) => {}
                (stop, _) => break Outcome::Failed(format!("the interpreter stops: {stop:?}")),
            }
        };
        if matches!(outcome, Outcome::Failed(_)) {
            return Ok(outcome);
        }
        self.was_cut = matches!(outcome, Outcome::Enough);
        let state = self.emulate.vcpu.state()?;
        let failed = lock(&self.follower).compare_memory(&state)?;
        Ok(failed.unwrap_or(outcome))
    }

    /// Whether it was ended before its end.
    pub(crate) const fn was_cut(&self) -> bool {
        self.was_cut
    }

    /// The last instructions.
    pub(crate) fn history(&self) -> String {
        lock(&self.follower).history()
    }

    /// What was seen.
    pub(crate) fn counts(&self) -> Counts {
        lock(&self.follower).counts()
    }
}
