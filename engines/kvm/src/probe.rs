//! Whether the host's KVM is worth using.
//!
//! Some hosts offer a `/dev/kvm` whose calls all work, but which interprets privileged code at
//! a microsecond an instruction, or gives up at the first instruction it does not know. Neither
//! the device nor a processor flag tells; running something does.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use engine_contract::Probe;

use crate::sample::{self, INSTRUCTIONS, Needs};
use crate::trial::Trial;

/// Fewer instructions a second than this are an interpreter's.
const SPEED_MIN: u64 = 50_000_000;
/// Turns of the loop at first, then for a figure worth showing: 2 instructions each.
const TURNS: (u32, u32) = (100_000, 10_000_000);
/// The longest that all of it may take; an interpreter needs a fifth.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tries the host's KVM: opens it, runs a loop against the clock and the instructions that
/// kernels start with.
pub(crate) fn probe() -> Probe {
    let (refusal, summary) = match in_time(measure, PATIENCE) {
        Ok(speed) => (
            None,
            format!("{speed} million instructions a second in guest mode"),
        ),
        Err(refusal) => (Some(refusal), String::new()),
    };
    Probe {
        refusal,
        summary,
        layers: Vec::new(),
    }
}

/// Runs it on a thread of its own, which is left behind if a virtual CPU never comes back; it
/// ends with the process.
fn in_time(what: fn() -> Result<u64, String>, patience: Duration) -> Result<u64, String> {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::Builder::new().name("kvm-probe".to_owned());
    let started = thread.spawn(move || {
        // Nobody listens any more when it was too late.
        let _ = sender.send(what());
    });
    started.map_err(|error| format!("a thread cannot be started: {error}"))?;
    let late = |_| format!("a virtual CPU did not come back within {patience:?}");
    receiver.recv_timeout(patience).map_err(late)?
}

/// Millions of instructions a second, or why it is not to be used.
fn measure() -> Result<u64, String> {
    let mut trial = Trial::new().map_err(|error| error.to_string())?;
    // The first run meets tables and caches that are cold: the best of some counts.
    let mut slow = 0;
    for _ in 0..3 {
        slow = slow.max(speed(&mut trial, TURNS.0)?);
    }
    if slow < SPEED_MIN {
        return Err(format!(
            "it runs {:.1} million instructions a second, a KVM that interprets guest kernels \
             (at least {} are needed)",
            millions(slow),
            SPEED_MIN / 1_000_000
        ));
    }
    for instruction in INSTRUCTIONS {
        if instruction.needs == Needs::Smap && !trial.has_smap() {
            continue;
        }
        let done = trial.run(instruction.code);
        done.map_err(|error| format!("it cannot run `{}`: {error}", instruction.name))?;
    }
    speed(&mut trial, TURNS.1).map(|speed| speed / 1_000_000)
}

/// Instructions a second in a loop.
fn speed(trial: &mut Trial, turns: u32) -> Result<u64, String> {
    let code = sample::counting_loop(turns);
    let start = Instant::now();
    let done = trial.run(&code);
    done.map_err(|error| format!("it cannot run a loop: {error}"))?;
    let nanos = start.elapsed().as_nanos().max(1);
    let speed = u128::from(turns) * 2 * 1_000_000_000 / nanos;
    Ok(u64::try_from(speed).unwrap_or(u64::MAX))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a figure for people, far below 2^52"
)]
fn millions(speed: u64) -> f64 {
    speed as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_gets_a_figure_or_a_reason() {
        let probe = probe();
        match &probe.refusal {
            None => assert!(probe.summary.contains("million")),
            Some(refusal) => assert!(!refusal.is_empty() && probe.summary.is_empty()),
        }
    }

    #[test]
    fn what_takes_too_long_is_given_up() {
        fn never() -> Result<u64, String> {
            loop {
                std::thread::park();
            }
        }
        let refusal = in_time(never, Duration::from_millis(20)).unwrap_err();
        assert!(refusal.contains("did not come back"), "{refusal}");
    }
}
