//! Runs a workload on all sides in turn and takes medians.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::options::Options;
use crate::peer::{Bench, Side};
use crate::row::{Row, Unit, median};
use crate::workload::{Kind, Workload};

const STREAM_BYTES: usize = 1 << 30;

/// The longest that one run may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Measures one workload: side A, side B, side A, side B, and so on.
pub(crate) fn row(bench: &Bench, work: &Workload, options: &Options) -> Row {
    eprintln!("{} ...", work.name);
    let row = Row::new(work.name, Unit::Time, work.promise);
    let sides = bench.sides.clone();
    let argv = match work.argv(bench) {
        Ok(argv) => argv,
        Err(error) => return row.without(&error),
    };
    let mut times: Vec<Result<Vec<u64>>> = sides.iter().map(|_| Ok(Vec::new())).collect();
    for _ in 0..options.runs.max(work.runs_min) {
        for (side, times) in sides.iter().zip(&mut times) {
            add(times, || once(bench, *side, work, &argv));
        }
    }
    let medians = times.into_iter().map(|times| times.map(median));
    Row {
        medians: sides.into_iter().zip(medians).collect(),
        ..row
    }
}

/// Adds one more figure; after a failure, the side is left alone.
pub(crate) fn add(times: &mut Result<Vec<u64>>, run: impl FnOnce() -> Result<u64>) {
    if let Ok(list) = times {
        match run() {
            Ok(time) => list.push(time),
            Err(error) => {
                eprintln!("  FAILED: {error:#}");
                *times = Err(error);
            }
        }
    }
}

fn once(bench: &Bench, side: Side, work: &Workload, argv: &[OsString]) -> Result<u64> {
    let command = bench.command(side, work.husk, argv);
    let time = match work.kind {
        Kind::Own(_) | Kind::Host(_) => own_time(command),
        Kind::OwnWhole(_) | Kind::HostWhole(_) => whole_time(command),
        Kind::Stream(_) => stream_time(command),
    };
    time.with_context(|| format!("under {}", side.name()))
}

fn own_time(mut command: Command) -> Result<u64> {
    let output = finish(command.stdout(Stdio::piped()))?;
    let said = String::from_utf8_lossy(&output);
    let time = said.lines().find_map(|line| line.strip_prefix("time_ns "));
    time.context("it prints no time")?
        .trim()
        .parse()
        .context("its time is no number")
}

fn whole_time(mut command: Command) -> Result<u64> {
    let start = Instant::now();
    finish(command.stdout(Stdio::piped()))?;
    Ok(nanoseconds(start.elapsed()))
}

/// Runs to the end and returns what was printed; ends that child when it takes too long.
fn finish(command: &mut Command) -> Result<Vec<u8>> {
    let mut child = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()?;
    let mut pipe = child.stdout.take().context("its output is a pipe")?;
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = pipe.read_to_end(&mut bytes).map(|_| bytes);
        // Nobody listens any more when the limit was reached.
        let _ = sender.send(read);
    });
    let bytes = receiver.recv_timeout(LIMIT);
    if bytes.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    let bytes = bytes.with_context(|| format!("no end after {LIMIT:?}"))??;
    ensure!(status.success(), "it ends with {status}");
    Ok(bytes)
}

/// From the first byte that comes out to the last one.
fn stream_time(mut command: Command) -> Result<u64> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().context("its input is a pipe")?;
    let mut output = child.stdout.take().context("its output is a pipe")?;
    let feeder = thread::spawn(move || -> std::io::Result<()> {
        let block = vec![7; 1 << 16];
        (0..STREAM_BYTES / block.len()).try_for_each(|_| input.write_all(&block))
    });
    let mut block = vec![0; 1 << 16];
    let mut total = output.read(&mut block)?;
    let start = Instant::now();
    loop {
        match output.read(&mut block)? {
            0 => break,
            length => total += length,
        }
    }
    let time = start.elapsed();
    let fed = feeder
        .join()
        .map_err(|_| anyhow::anyhow!("the feeder panicked"))?;
    let status = child.wait()?;
    fed?;
    ensure!(
        status.success() && total == STREAM_BYTES,
        "{total} bytes came out, {status}"
    );
    Ok(nanoseconds(time))
}

pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_tells_its_own_time() {
        let mut command = Command::new("/bin/echo");
        command.arg("time_ns 42");
        assert_eq!(own_time(command).expect("echo runs"), 42);
        assert!(own_time(Command::new("/bin/echo")).is_err());
        assert!(whole_time(Command::new("/bin/false")).is_err());
    }
}
