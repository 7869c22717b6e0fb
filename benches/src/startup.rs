//! What Husk itself says about its start.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::c;
use crate::measure::median;
use crate::peer::Bench;

/// The field of `husk run --stats` with the time from the monitor's start to the program's first
/// instruction.
const FIELD: &str = "/time/first_instruction_us";

/// The median over some runs, or why there is none.
pub(crate) fn run(bench: &Bench, runs: usize) -> Value {
    let times: Result<Vec<u64>> = (0..runs.max(1)).map(|_| first_instruction(bench)).collect();
    match times {
        Ok(times) => json!({ "first_instruction_us": median(times), "runs": runs }),
        Err(error) => json!({ "skipped": format!("{error:#}") }),
    }
}

fn first_instruction(bench: &Bench) -> Result<u64> {
    let program = c::build(bench.folder.path(), "hello")?.into_os_string();
    let stats = stats_of(bench, &[program])?;
    stats
        .pointer(FIELD)
        .and_then(Value::as_u64)
        .with_context(|| format!("--stats has no {FIELD}"))
}

/// Runs a program to its end and reads what `--stats` wrote.
pub(crate) fn stats_of(bench: &Bench, argv: &[std::ffi::OsString]) -> Result<Value> {
    let file = bench.folder.path().join("stats.json");
    let option = format!("--stats={}", file.display());
    let output = bench.husk(&[option], argv).output()?;
    anyhow::ensure!(output.status.success(), "husk ends with {}", output.status);
    let text = std::fs::read_to_string(&file).context("--stats wrote nothing")?;
    serde_json::from_str(&text).context("--stats wrote no JSON")
}
