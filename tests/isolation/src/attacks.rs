//! Host system calls from inside a cell, in every way that the programs know.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::machine::{Bench, Ended, Running, last_line};
use crate::oracle;
use crate::{Case, Verdict};

/// One attack may take this long, under strace too.
const LIMIT: Duration = Duration::from_secs(180);
/// One step of those that may hang of themselves.
const STEP_LIMIT: Duration = Duration::from_secs(10);
/// One step under strace that ends by a signal without it.
const DYING_LIMIT: Duration = Duration::from_secs(1);
/// Statuses with which a cell may die of what it did to itself: faults and filtered calls
/// that it could not handle, and the stub's own exit.
const DEATHS: [i32; 6] = [125, 132, 133, 135, 139, 159];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (watch, kind) in [(false, "calls"), (true, "watched")] {
        for name in ["direct", "gate", "rewrite"] {
            cases.push(Case::new(format!("{kind}/{name}"), move |bench| {
                Attacker::new(bench, watch).map_or_else(no_strace, |by| whole_attack(by, name))
            }));
        }
        for (name, attack) in [("frames", frames as Steps), ("offsets", offsets)] {
            cases.push(Case::new(format!("{kind}/{name}"), move |bench| {
                Attacker::new(bench, watch).map_or_else(no_strace, attack)
            }));
        }
    }
    cases
}

type Steps = fn(Attacker<'_>) -> Result<Verdict>;

fn no_strace() -> Result<Verdict> {
    let why = "strace is not installed, so nobody saw what the host served";
    Ok(Verdict::Skipped(why.to_owned()))
}

/// Runs attacks and counts.
struct Attacker<'b> {
    bench: &'b Bench,
    strace: Option<PathBuf>,
    runs: usize,
    deaths: usize,
    filtered: usize,
}

impl<'b> Attacker<'b> {
    /// `None` when it shall watch and cannot.
    fn new(bench: &'b Bench, watch: bool) -> Option<Self> {
        let strace = vocabulary::find_program("strace").filter(|_| watch);
        (strace.is_some() == watch).then_some(Self {
            bench,
            strace,
            runs: 0,
            deaths: 0,
            filtered: 0,
        })
    }

    fn verdict(&self, tried: &str) -> Verdict {
        let Self { runs, deaths, .. } = self;
        let watched = match self.strace {
            Some(_) => format!("; the host trapped {} calls", self.filtered),
            None => String::new(),
        };
        Verdict::Passed(format!(
            "{tried}; {runs} runs, {deaths} cells died{watched}"
        ))
    }

    fn arguments(&self, name: &str, argument: Option<usize>) -> Result<Vec<String>> {
        let program = self.bench.program(name)?.display().to_string();
        let argument = argument.map(|number| number.to_string());
        Ok(std::iter::once(program).chain(argument).collect())
    }

    /// Runs a program in a machine; then, if asked, once more under strace.
    fn run(&mut self, name: &str, argument: Option<usize>, limit: Duration) -> Result<Ended> {
        self.run_until(name, argument, limit, Running::end_within)
    }

    fn run_until(
        &mut self,
        name: &str,
        argument: Option<usize>,
        limit: Duration,
        end: fn(&mut Running, Duration) -> Result<Ended>,
    ) -> Result<Ended> {
        let arguments = self.arguments(name, argument)?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ended = end(&mut self.bench.start(&arguments)?, limit)?;
        self.runs += 1;
        self.deaths += usize::from(ended.status != 0);
        if let Some(strace) = self.strace.clone() {
            // A traced first process of a namespace survives its own faults for ever.
            let limit = if ended.status > 128 {
                DYING_LIMIT
            } else {
                limit
            };
            self.watch(&strace, &arguments, limit)?;
        }
        Ok(ended)
    }

    /// Fails for a call that the host should not have served.
    fn watch(&mut self, strace: &Path, arguments: &[&str], limit: Duration) -> Result<()> {
        let mut seen = self.watched(strace, arguments, limit)?;
        if !seen.closed {
            // The host is busy: it had not come that far.
            seen = self.watched(strace, arguments, STEP_LIMIT)?;
        } else if seen.doubtful && !seen.excess().is_empty() {
            // It was killed behind a call; one that the host serves is served again.
            seen = self.watched(strace, arguments, limit)?;
        }
        ensure!(seen.closed, "strace saw no cell close its sandbox");
        let excess = seen.excess();
        ensure!(excess.is_empty(), "the host served {excess:?}");
        self.filtered += seen.filtered;
        Ok(())
    }

    /// What strace sees until the end, or until it was ended.
    fn watched(&self, strace: &Path, arguments: &[&str], limit: Duration) -> Result<oracle::Seen> {
        let folder = self.bench.folder()?;
        let log = folder.join("strace");
        let mut command = Command::new(strace);
        command.args(["-f", "-n", "-qq", "-e", "raw=all", "-o"]);
        command.arg(&log);
        command.arg(&self.bench.husk).arg("run").args(arguments);
        // Its end was judged without strace.
        let _ = Running::start(command, folder.clone())?.end_within(limit);
        let seen = oracle::read(&String::from_utf8_lossy(&std::fs::read(&log)?));
        std::fs::remove_dir_all(folder)?;
        Ok(seen)
    }
}

fn whole_attack(mut by: Attacker<'_>, name: &str) -> Result<Verdict> {
    let ended = by.run(name, None, LIMIT)?;
    ensure!(
        ended.status == 0 && ended.stdout.contains("tried"),
        "status {}: {}{}",
        ended.status,
        ended.stdout,
        ended.stderr
    );
    Ok(by.verdict(last_line(&ended.stdout)))
}

/// A run that may end by the death of the cell, but not by a hole nor of the monitor.
fn check_end(ended: &Ended) -> Result<()> {
    let said = format!("{}{}", ended.stdout, ended.stderr);
    ensure!(!said.contains("HOLE") && !said.contains("BROKEN"), "{said}");
    let spoke = DEATHS.contains(&ended.status) && ended.stderr.contains("husk: ");
    ensure!(
        ended.status == 0 || spoke,
        "status {}: {said}",
        ended.status
    );
    Ok(())
}

fn frames(mut by: Attacker<'_>) -> Result<Verdict> {
    for number in 0.. {
        let ended = by.run("frames", Some(number), STEP_LIMIT);
        let ended = ended.and_then(|ended| check_end(&ended).map(|()| ended));
        let ended = ended.with_context(|| format!("frame {number}"))?;
        if ended.stdout.contains("no more") {
            break;
        }
    }
    Ok(by.verdict("forged signal frames"))
}

/// How long a cell may stay where it jumped to: the stub also has code that waits.
const JUMP_LIMIT: Duration = Duration::from_secs(1);

/// Goes on behind each offset at which the cell ended, or waits for ever: that harms only itself.
fn offsets(mut by: Attacker<'_>) -> Result<Verdict> {
    let mut next = 0;
    loop {
        let ended = by.run_until("offsets", Some(next), JUMP_LIMIT, Running::end_or_stop);
        let ended = ended.and_then(|ended| {
            let waits = ended.killed && ended.status == 128 + 9;
            if waits {
                Ok(ended)
            } else {
                check_end(&ended).map(|()| ended)
            }
        });
        let ended = ended.with_context(|| format!("from offset {next}"))?;
        let last = ended.stdout.lines().rev().find_map(offset_in);
        next = last.context("it did not say where it was")? + 1;
        if ended.stdout.contains("tried") {
            break;
        }
    }
    Ok(by.verdict(&format!("{next} bytes of the stub's text")))
}

/// The offset in `at N of M`.
fn offset_in(line: &str) -> Option<usize> {
    line.strip_prefix("at ")?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_read() {
        assert_eq!(offset_in("at 17 of 900"), Some(17));
        assert_eq!(offset_in("tried 17"), None);
    }

    #[test]
    fn a_hole_fails_whatever_the_status() {
        let ended = |status, stdout: &str, stderr: &str| Ended {
            status,
            killed: false,
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        };
        assert!(check_end(&ended(0, "tried 1", "")).is_ok());
        assert!(check_end(&ended(0, "HOLE x", "")).is_err());
        assert!(check_end(&ended(139, "", "husk: the machine: x")).is_ok());
        assert!(check_end(&ended(134, "", "husk: the machine: x")).is_err());
        assert!(check_end(&ended(139, "", "")).is_err());
    }
}
