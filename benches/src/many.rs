//! Many idle machines at once: does each start, does each answer, what do they cost?

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::memory::{Machine, idle};
use crate::peer::Bench;

const LIMIT: Duration = Duration::from_secs(300);

/// Starts them one after the other, then asks each, then ends each by its own id.
pub(crate) fn run(bench: &Bench, count: usize) -> Result<Value> {
    let program = idle(bench)?;
    let start = Instant::now();
    let mut machines = Vec::with_capacity(count);
    for number in 0..count {
        if start.elapsed() > LIMIT {
            bail!("only {number} machines have started after {LIMIT:?}");
        }
        machines.push(Machine::start(
            bench.husk(&[], std::slice::from_ref(&program)),
        )?);
    }
    let alive = machines
        .iter_mut()
        .filter_map(|machine| machine.answers().then_some(()))
        .count();
    let ready = start.elapsed();
    let memory: u64 = machines
        .iter()
        .filter_map(|machine| machine.pss_kib().ok())
        .sum();
    let ended = machines
        .iter_mut()
        .filter_map(|machine| machine.end().ok())
        .count();
    if alive < count {
        bail!("{alive} of {count} machines answer");
    }
    Ok(json!({
        "machines": count,
        "answered": alive,
        "ended_well": ended,
        "start_ms": u64::try_from(ready.as_millis()).unwrap_or(u64::MAX),
        "kib_per_machine": memory / u64::try_from(count.max(1))?,
    }))
}
