//! Many clients at once: bounded in count and in time, every failure counted.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

/// A client gives up after this many failures.
const ENOUGH: u32 = 5;

/// How much load.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Clients at once, each with a connection of its own.
    pub clients: u32,
    /// What each does at most.
    pub rounds: u32,
    /// No new round begins after this.
    pub limit: Duration,
}

impl Plan {
    /// So much, for ten seconds at most.
    #[must_use]
    pub const fn new(clients: u32, rounds: u32) -> Self {
        Self {
            clients,
            rounds,
            limit: Duration::from_secs(10),
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// Requests with the right answer.
    pub requests: u64,
    /// Requests without it.
    pub failures: u32,
    /// The first of them.
    pub why: Option<String>,
    /// How long it took.
    pub elapsed: Duration,
    /// What else is worth a word.
    pub remark: String,
}

impl Served {
    /// Nothing but a number of requests.
    pub fn some(requests: u64, since: Instant) -> Self {
        Self {
            requests,
            elapsed: since.elapsed(),
            ..Self::default()
        }
    }

    /// With this remark.
    pub fn saying(mut self, remark: impl Into<String>) -> Self {
        self.remark = remark.into();
        self
    }

    /// Requests a second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64().max(1e-6)
    }

    /// # Errors
    /// When something failed, or there was nothing.
    pub fn check(&self) -> Result<()> {
        if let Some(why) = &self.why {
            let (failures, requests) = (self.failures, self.requests);
            bail!("{failures} failed beside {requests} good requests: {why}");
        }
        ensure!(self.requests > 0, "there was no request");
        Ok(())
    }

    fn fail(&mut self, why: String) {
        self.failures += 1;
        self.why.get_or_insert(why);
    }
}

/// Runs `step` by several clients, each with what `open` gives it; `step` returns how many
/// requests it made. After a failure the client opens anew.
pub fn drive<S>(
    plan: Plan,
    open: impl Fn(u32) -> Result<S> + Sync,
    step: impl Fn(&mut S, u32, u32) -> Result<u64> + Sync,
) -> Served {
    let started = Instant::now();
    let sum = Mutex::new(Served::default());
    thread::scope(|scope| {
        for client in 0..plan.clients {
            let (open, step, sum) = (&open, &step, &sum);
            scope.spawn(move || {
                let part = drive_one(
                    plan,
                    started,
                    || open(client),
                    |state, round| step(state, client, round),
                );
                let mut sum = sum.lock().expect("no client panics");
                sum.requests += part.requests;
                sum.failures += part.failures;
                sum.why = sum.why.take().or(part.why);
            });
        }
    });
    let mut served = sum.into_inner().expect("no client panics");
    served.elapsed = started.elapsed();
    served
}

fn drive_one<S>(
    plan: Plan,
    started: Instant,
    open: impl Fn() -> Result<S>,
    step: impl Fn(&mut S, u32) -> Result<u64>,
) -> Served {
    let mut served = Served::default();
    let mut state = None;
    for round in 0..plan.rounds {
        if started.elapsed() > plan.limit || served.failures >= ENOUGH {
            break;
        }
        let mut opened = match state.take().map_or_else(&open, Ok) {
            Ok(opened) => opened,
            Err(error) => {
                served.fail(format!("{error:#}"));
                continue;
            }
        };
        match step(&mut opened, round) {
            Ok(requests) => {
                served.requests += requests;
                state = Some(opened);
            }
            Err(error) => served.fail(format!("round {round}: {error:#}")),
        }
    }
    served
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_is_counted() {
        let plan = Plan::new(4, 25);
        let served = drive(plan, |_| Ok(()), |(), _, _| Ok(2));
        assert_eq!((served.requests, served.failures), (200, 0));
        served.check().expect("nothing failed");
    }

    #[test]
    fn failures_are_counted_and_end_a_client() {
        let served = drive(
            Plan::new(2, 100),
            |_| Ok(()),
            |(), client, round| {
                ensure!(client == 0 || round != 7, "seven");
                if client == 0 { Ok(1) } else { bail!("never") }
            },
        );
        assert_eq!((served.requests, served.failures), (100, ENOUGH));
        let why = served.check().expect_err("it failed").to_string();
        assert!(why.starts_with("5 failed beside 100"), "{why}");
    }
}
