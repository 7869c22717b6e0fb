//! A cell whose kernel is the attacker: random bytes over all that it shares with the
//! monitor, and no memory left. The monitor has to live on, stay small and end promptly.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::machine::{Bench, Ended, Running, is_gone, kibibytes, last_line, send, text};
use crate::{Case, Verdict};

/// How soon the monitor has to be gone after its cell.
const PROMPT: Duration = Duration::from_secs(5);
/// The most memory of its own that the monitor may have, in KiB.
const OWN_MEMORY_MAX: u64 = 32 << 10;

/// How a scribbling machine is ended.
#[derive(Clone, Copy, Debug)]
enum End {
    CellLeaves,
    CellIsKilled,
    MonitorIsKilled,
}

pub(crate) fn cases(seed: u64) -> Vec<Case> {
    let ends = [End::CellLeaves, End::CellIsKilled, End::MonitorIsKilled];
    let mut cases: Vec<Case> = (seed..)
        .zip(ends)
        .map(|(seed, end)| {
            Case::new(format!("hostile/scribble-{seed}"), move |bench| {
                scribble(bench, seed, end).with_context(|| {
                    format!("seed {seed} (again: --filter scribble --seed {seed})")
                })
            })
        })
        .collect();
    for (which, name) in ["full", "pages-taken", "bells-rung"]
        .into_iter()
        .enumerate()
    {
        cases.push(Case::new(format!("hostile/memory-{name}"), move |bench| {
            memory_full(bench, which)
        }));
    }
    cases
}

fn scribble(bench: &Bench, seed: u64, end: End) -> Result<Verdict> {
    let root = bench.folder()?;
    let volume = bench.folder()?;
    std::fs::copy(bench.program("scribble")?, root.join("scribble"))?;
    std::fs::write(volume.join("file"), "content")?;
    let stats = bench.folder()?.join("stats");
    let stays = !matches!(end, End::CellLeaves);
    let arguments = [
        "--root".to_owned(),
        root.display().to_string(),
        format!("--volume={}:/v:ro", volume.display()),
        format!("--stats={}", stats.display()),
        "/scribble".to_owned(),
        seed.to_string(),
        bench.seconds.to_string(),
        u8::from(stays).to_string(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut running = bench.start(&arguments)?;
    let cell = running.cell()?;
    running.wait_for("scribbling")?;
    let own = watch(&mut running, Duration::from_secs(bench.seconds))?;
    let ended = finish(&mut running, cell, end)?;
    sleep(Duration::from_millis(500));
    ensure!(is_gone(cell), "the cell has outlived its monitor");
    let served = text(&stats);
    let served = served.lines().find(|line| line.contains("file_requests"));
    let served = served.map_or("", str::trim);
    Ok(Verdict::Passed(format!(
        "{} s, {end:?}, status {}, at most {own} KiB of its own {served}",
        bench.seconds, ended.status
    )))
}

/// Looks after the monitor while it is attacked; its largest own memory in KiB.
fn watch(running: &mut Running, time: Duration) -> Result<u64> {
    let end = Instant::now() + time;
    let mut most = 0;
    while Instant::now() < end && running.is_alive()? {
        // It may end between the look and the reading.
        let own = kibibytes(running.id(), "RssAnon").unwrap_or(0);
        most = most.max(own);
        ensure!(own < OWN_MEMORY_MAX, "the monitor has grown to {own} KiB");
        sleep(Duration::from_millis(50));
    }
    Ok(most)
}

fn finish(running: &mut Running, cell: u32, end: End) -> Result<Ended> {
    let expected = match end {
        End::CellLeaves => 0,
        End::CellIsKilled => {
            // What the cell wrote into its report decides what is said, and may have
            // ended the machine by now.
            let sent = send(cell, Signal::KILL);
            ensure!(sent.is_ok() || is_gone(cell), "{sent:?}");
            let ended = running.end_within(PROMPT)?;
            ensure!(ended.status < 126 || ended.status == 137, "{ended:?}");
            return Ok(ended);
        }
        End::MonitorIsKilled => {
            running.signal(Signal::KILL)?;
            137
        }
    };
    let ended = running.end_within(PROMPT)?;
    let (status, said) = (ended.status, last_line(&ended.stderr));
    ensure!(
        status == expected,
        "status {status} instead of {expected}: {said}"
    );
    Ok(ended)
}

fn memory_full(bench: &Bench, which: usize) -> Result<Verdict> {
    let program = bench.program("memory_full")?.display().to_string();
    let mut running = bench.start(&["--memory", "16M", &program, &which.to_string()])?;
    let ended = running.end_within(Duration::from_secs(20))?;
    let (status, said) = (ended.status, last_line(&ended.stderr));
    ensure!(
        !ended.killed && said.contains("husk: "),
        "the monitor ended with status {status} and without a sentence: {said:?}"
    );
    Ok(Verdict::Passed(format!("status {status}, {said}")))
}
