//! What Husk itself says about its start.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::c;
use crate::peer::Bench;
use crate::row::median;

/// Microseconds to the program's first instruction.
struct Start {
    /// From the monitor's `main`, as it says.
    from_main: u64,
    /// From just before its process was made.
    from_spawn: u64,
}

/// The median over some runs, or why there is none.
pub(crate) fn run(bench: &Bench, runs: usize) -> Value {
    let starts: Result<Vec<Start>> = (0..runs.max(1)).map(|_| first_instruction(bench)).collect();
    match starts {
        Ok(starts) => json!({
            "first_instruction_from_main_us":
                median(starts.iter().map(|start| start.from_main).collect()),
            "first_instruction_from_spawn_us":
                median(starts.iter().map(|start| start.from_spawn).collect()),
            "runs": runs,
        }),
        Err(error) => json!({ "skipped": format!("{error:#}") }),
    }
}

fn first_instruction(bench: &Bench) -> Result<Start> {
    let program = c::build(bench.folder.path(), "hello")?.into_os_string();
    let spawn = monotonic_us();
    let stats = stats_of(bench, &[program])?;
    let field = |name: &str| {
        let value = stats.pointer(&format!("/time/{name}"));
        let value = value.and_then(Value::as_u64);
        value.with_context(|| format!("--stats has no {name}"))
    };
    let from_main = field("first_instruction_us")?;
    let main = field("main_monotonic_us")?;
    let from_spawn = (main + from_main).saturating_sub(spawn);
    Ok(Start {
        from_main,
        from_spawn,
    })
}

fn monotonic_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
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
