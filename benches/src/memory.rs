//! What one idle machine costs beside the pages of the guest.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vocabulary::family;

use crate::c;
use crate::peer::Bench;

/// The field of `husk run --stats` with the bytes that the guest touched.
const FIELD: &str = "/memory/touched_bytes";

/// Sizes in KiB, or why there are none.
pub(crate) fn run(bench: &Bench) -> Value {
    cost(bench).unwrap_or_else(|error| json!({ "skipped": format!("{error:#}") }))
}

fn cost(bench: &Bench) -> Result<Value> {
    let file = bench.folder.path().join("memory.json");
    let option = format!("--stats={}", file.display());
    let mut machine = Machine::start(bench.husk(&[option], &[idle(bench)?]))?;
    ensure!(machine.answers(), "the machine does not answer");
    thread::sleep(Duration::from_millis(200));
    let all = machine.pss_kib()?;
    machine.end()?;
    let stats: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
    let guest = stats
        .pointer(FIELD)
        .and_then(Value::as_u64)
        .with_context(|| format!("--stats has no {FIELD}"))?
        / 1024;
    Ok(json!({ "all_kib": all, "guest_kib": guest, "overhead_kib": all.saturating_sub(guest) }))
}

/// A program that answers each line and otherwise sleeps.
pub(crate) fn idle(bench: &Bench) -> Result<OsString> {
    Ok(c::build(bench.folder.path(), "idle")?.into_os_string())
}

/// A machine that runs the idle program.
pub(crate) struct Machine {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Machine {
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("husk does not start")?;
        let answers = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        Ok(Self { child, answers })
    }

    /// Whether it answers a line.
    pub(crate) fn answers(&mut self) -> bool {
        let asked = self
            .child
            .stdin
            .as_mut()
            .is_some_and(|pipe| pipe.write_all(b"?\n").is_ok());
        let mut line = String::new();
        asked && self.answers.read_line(&mut line).is_ok() && line == "here\n"
    }

    /// The memory of all its processes, shared pages in their share.
    pub(crate) fn pss_kib(&self) -> Result<u64> {
        family(self.child.id())?.into_iter().map(pss_kib).sum()
    }

    /// Lets the program come to its end.
    pub(crate) fn end(&mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        ensure!(status.success(), "the machine ends with {status}");
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // One that has ended refuses the kill, harmlessly.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pss_kib(id: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))
        .with_context(|| format!("the memory of process {id} cannot be read"))?;
    pss_in(&text).with_context(|| format!("process {id} has no Pss"))
}

fn pss_in(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_proc_are_read() {
        assert_eq!(
            pss_in("Rss:  9 kB\nPss:      123 kB\nPss_Dirty: 5 kB\n"),
            Some(123)
        );
        assert_eq!(pss_in(""), None);
    }
}
