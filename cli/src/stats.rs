//! `--stats`: measurements as JSON. The fields are documented in `docs/stats.md`.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use guest_abi::report::ReportPage;
use serde_json::json;

use crate::determinism::Fingerprint;
use crate::error::Failure;

/// What the monitor knows beside the report page.
pub(crate) struct Measured {
    pub(crate) engine: &'static str,
    pub(crate) started: u64,
    pub(crate) released: u64,
    pub(crate) ended: u64,
    pub(crate) memory_limit: u64,
    pub(crate) touched: u64,
    pub(crate) missing: Vec<&'static str>,
    pub(crate) exit_status: u8,
    /// The engine's counters.
    pub(crate) exits: Vec<(String, u64)>,
    /// What it has come to, if that is the same in every run.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// The network's counters.
    pub(crate) network: Vec<(&'static str, u64)>,
}

/// Writes the measurements to a file, or to stderr for `-`.
pub(crate) fn write(to: &Path, page: &ReportPage, measured: &Measured) -> Result<(), Failure> {
    let hertz = host::cpu::tsc_frequency();
    let micros = |tsc: u64| {
        let ticks = tsc.saturating_sub(measured.started);
        hertz.map(|hertz| (u128::from(ticks) * 1_000_000 / u128::from(hertz)) as u64)
    };
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000;
    let main = micros(host::cpu::tsc()).map(|since| now.saturating_sub(since));
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    // A machine with a time of its own cannot say by the host's when that was.
    let first = match measured.fingerprint {
        Some(_) => 0,
        None => count(&page.first_instruction_tsc),
    };
    let exits = object(
        measured
            .exits
            .iter()
            .map(|(name, count)| (name.as_str(), *count)),
    );
    let network = object(measured.network.iter().copied());
    let value = json!({
        "version": 1,
        "engine": measured.engine,
        "exit_status": measured.exit_status,
        "time": {
            "main_monotonic_us": main,
            "cell_released_us": micros(measured.released),
            "first_instruction_us": if first == 0 { None } else { micros(first) },
            "ended_us": micros(measured.ended),
        },
        "memory": {
            "limit_bytes": measured.memory_limit,
            "touched_bytes": measured.touched,
        },
        "system_calls": {
            "total": count(&page.system_calls),
            "trapped": count(&page.trapped_system_calls),
            "patched_sites": count(&page.patched_sites),
        },
        "page_faults": count(&page.page_faults),
        "file_requests": count(&page.requests),
        "missing_layers": measured.missing,
        "exits": exits,
        "network": network,
        "deterministic": measured.fingerprint.as_ref().map(Fingerprint::to_json),
    });
    let text = format!("{value:#}\n");
    if to == Path::new("-") {
        crate::error::say(text.trim_end());
        return Ok(());
    }
    std::fs::write(to, text).map_err(|error| {
        Failure::new(
            to.display(),
            error,
            "give --stats a file that can be written",
        )
    })
}

fn object<'n>(counts: impl Iterator<Item = (&'n str, u64)>) -> serde_json::Value {
    let fields = counts.map(|(name, count)| (name.to_owned(), json!(count)));
    serde_json::Value::Object(fields.collect())
}
