//! What needs more than one command: killing a machine half-way, and looking at what stays.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use vocabulary::{family, find_program};

use crate::check::Outcome;
use crate::harness::Harness;
use crate::many_names;
use crate::process::{self, Run};
use crate::repeated;
use crate::scratch::Scratch;
use crate::shown_files;
use crate::traces;

/// A named check of its own.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Harness) -> Result<Outcome>,
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The whole list.
pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "scenario/killed-database",
            run: killed_database,
        },
        Scenario {
            name: "scenario/killed-monitor",
            run: killed_monitor,
        },
        Scenario {
            name: "scenario/killed-cell",
            run: killed_cell,
        },
        Scenario {
            name: "scenario/neighbour-lives",
            run: neighbour_lives,
        },
        Scenario {
            name: "scenario/sigterm-default",
            run: |h| signalled(h, "TERM", false),
        },
        Scenario {
            name: "scenario/sigterm-handled",
            run: |h| signalled(h, "TERM", true),
        },
        Scenario {
            name: "scenario/sigint-default",
            run: |h| signalled(h, "INT", false),
        },
        Scenario {
            name: "scenario/sigint-handled",
            run: |h| signalled(h, "INT", true),
        },
        Scenario {
            name: "scenario/root-is-not-written",
            run: root_is_not_written,
        },
        Scenario {
            name: "scenario/read-only-volume",
            run: read_only_volume,
        },
        Scenario {
            name: "scenario/more-names-than-memory",
            run: many_names::walk,
        },
        Scenario {
            name: "scenario/cut-while-mapped",
            run: shown_files::cut_while_mapped,
        },
        Scenario {
            name: "scenario/more-files-than-descriptors",
            run: shown_files::more_than_descriptors,
        },
        Scenario {
            name: "scenario/trace",
            run: trace,
        },
        Scenario {
            name: "scenario/trace-as-strace",
            run: traces::as_strace,
        },
        Scenario {
            name: "scenario/stats",
            run: stats,
        },
        Scenario {
            name: "scenario/deterministic",
            run: repeated::programs,
        },
    ]
}

/// A machine that writes a database in a volume is killed; what it had confirmed is there.
fn killed_database(harness: &Harness) -> Result<Outcome> {
    let Some(sqlite) = find_program("sqlite3") else {
        return Ok(Outcome::Skipped(
            "no sqlite3 here (Debian package sqlite3)".into(),
        ));
    };
    let scratch = Scratch::empty(harness.fresh_path(), harness.user.as_ref())?;
    let database = scratch.path().join("data.db");
    let mut command = harness.husk_run();
    command
        .arg("--volume")
        .arg(format!("{0}:{0}", scratch.path().display()));
    command.arg(&sqlite).arg(&database);
    let mut machine = Machine::start(command)?;
    machine.say("create table t(n integer, filler text);\n")?;
    let confirmed = insert_for(&mut machine, Duration::from_secs(2))?;
    machine.child.kill()?;
    machine.child.wait()?;
    let mut check = harness.command(&sqlite);
    check
        .arg(&database)
        .arg("pragma integrity_check; select count(*) from t;");
    let run = process::run(&mut check, None, harness.stretched(PATIENCE))?;
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    let rows: u64 = said.lines().nth(1).unwrap_or_default().parse().unwrap_or(0);
    ensure!(said.starts_with("ok\n"), "the database is broken: {said}");
    ensure!(
        rows >= confirmed,
        "{confirmed} rows were confirmed, {rows} are there"
    );
    Ok(Outcome::Passed(format!(
        "{confirmed} confirmed, {rows} there"
    )))
}

/// Inserts one row after the other, each confirmed; returns how many were.
fn insert_for(machine: &mut Machine, time: Duration) -> Result<u64> {
    let end = Instant::now() + time;
    let mut confirmed = 0;
    while Instant::now() < end {
        let row = confirmed + 1;
        machine.say(&format!(
            "insert into t values({row}, hex(zeroblob(500))); select {row};\n"
        ))?;
        ensure!(
            machine.hear()? == format!("{row}\n"),
            "row {row} is not confirmed"
        );
        confirmed = row;
    }
    // One more, cut off half-way.
    machine.say("begin; insert into t select n, filler from t;\n")?;
    Ok(confirmed)
}

/// SIGKILL of the monitor leaves no process, no mount and no file.
fn killed_monitor(harness: &Harness) -> Result<Outcome> {
    let before = (mounts()?, husk_files()?);
    let mut machine = sleeping(harness)?;
    let family = family(machine.child.id())?;
    machine.child.kill()?;
    machine.child.wait()?;
    let gone = || {
        family
            .iter()
            .all(|id| !Path::new(&format!("/proc/{id}")).exists())
    };
    ensure!(until(gone), "processes live on: {family:?}");
    let after = (mounts()?, husk_files()?);
    ensure!(before.0 == after.0, "mounts stay behind");
    let stay: Vec<_> = after.1.difference(&before.1).collect();
    ensure!(stay.is_empty(), "files stay behind: {stay:?}");
    Ok(Outcome::Passed(format!(
        "{} processes went with it",
        family.len()
    )))
}

/// SIGKILL of the cell is reported and ends the monitor with an error or that signal.
fn killed_cell(harness: &Harness) -> Result<Outcome> {
    let mut machine = sleeping(harness)?;
    let family = family(machine.child.id())?;
    let [_, .., cell] = family[..] else {
        return Ok(Outcome::Skipped(
            "this engine has no process beside the monitor".into(),
        ));
    };
    kill("KILL", cell)?;
    let (status, timed_out) = process::wait(
        &mut machine.child,
        Instant::now() + harness.stretched(PATIENCE),
    )?;
    let said = machine.complaints()?;
    ensure!(!timed_out, "the monitor does not notice; it says: {said}");
    let status = process::shell_status(status);
    ensure!(
        [125, 137].contains(&status),
        "status {status}; it says: {said}"
    );
    ensure!(said.starts_with("husk: "), "no sentence in: {said}");
    Ok(Outcome::Passed(said.trim().to_string()))
}

/// One machine is killed, its neighbour works on.
fn neighbour_lives(harness: &Harness) -> Result<Outcome> {
    let mut command = harness.husk_run();
    command.arg("/bin/cat");
    let mut neighbour = Machine::start(command)?;
    neighbour.say("one\n")?;
    ensure!(
        neighbour.hear()? == "one\n",
        "the neighbour does not answer"
    );
    let mut victim = sleeping(harness)?;
    victim.child.kill()?;
    victim.child.wait()?;
    neighbour.say("two\n")?;
    ensure!(neighbour.hear()? == "two\n", "the neighbour died, too");
    drop(neighbour.child.stdin.take());
    let (status, _) = process::wait(
        &mut neighbour.child,
        Instant::now() + harness.stretched(PATIENCE),
    )?;
    ensure!(status.success(), "the neighbour ends with {status}");
    Ok(Outcome::Passed("it answers".into()))
}

/// A signal sent to `husk` reaches the program.
fn signalled(harness: &Harness, signal: &str, handled: bool) -> Result<Outcome> {
    let program = build(harness)?;
    let mut command = harness.husk_run();
    command
        .arg(program)
        .arg(if handled { "handle" } else { "default" });
    let mut machine = Machine::start(command)?;
    ensure!(machine.hear()? == "ready\n", "the program does not start");
    kill(signal, machine.child.id())?;
    let (status, timed_out) = process::wait(
        &mut machine.child,
        Instant::now() + harness.stretched(PATIENCE),
    )?;
    ensure!(!timed_out, "SIG{signal} does not end it");
    let number = if signal == "INT" { 2 } else { 15 };
    let expected = if handled { 40 + number } else { 128 + number };
    let status = process::shell_status(status);
    ensure!(status == expected, "status {status}, not {expected}");
    Ok(Outcome::Passed(format!("status {status}")))
}

/// What a program writes outside its volumes stays in the machine.
fn root_is_not_written(harness: &Harness) -> Result<Outcome> {
    let scratch = Scratch::empty(harness.fresh_path(), harness.user.as_ref())?;
    let file = scratch.path().join("made");
    let run = husk(harness, |command| command.arg("/bin/touch").arg(&file))?;
    ensure!(
        run.status == 0,
        "status {}: {}",
        run.status,
        String::from_utf8_lossy(&run.stderr)
    );
    ensure!(!file.exists(), "the host has the file");
    Ok(Outcome::Passed("the host has nothing of it".into()))
}

fn read_only_volume(harness: &Harness) -> Result<Outcome> {
    let scratch = Scratch::empty(harness.fresh_path(), harness.user.as_ref())?;
    let volume = format!("{}:/data:ro", scratch.path().display());
    let run = husk(harness, |command| {
        command.args(["--volume", &volume, "/bin/touch", "/data/made"])
    })?;
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    ensure!(run.status == 1, "status {}: {said}", run.status);
    ensure!(said.contains("Read-only file system"), "it says: {said}");
    ensure!(
        !scratch.path().join("made").exists(),
        "the host has the file"
    );
    Ok(Outcome::Passed("refused".into()))
}

/// `--trace` prints calls as strace does.
fn trace(harness: &Harness) -> Result<Outcome> {
    let run = husk(harness, |command| {
        command.args(["--trace", "/bin/echo", "traced words"])
    })?;
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    for line in ["write(1, \"traced words\\n\", 13", "exit_group(0)"] {
        ensure!(said.contains(line), "no `{line}` in the trace");
    }
    ensure!(
        run.stdout == b"traced words\n",
        "the program's own output is not kept apart"
    );
    Ok(Outcome::Passed(format!("{} lines", said.lines().count())))
}

/// `--stats=FILE` writes JSON with the fields that the benchmarks read.
fn stats(harness: &Harness) -> Result<Outcome> {
    let Some(jq) = find_program("jq") else {
        return Ok(Outcome::Skipped("no jq here (Debian package jq)".into()));
    };
    let scratch = Scratch::empty(harness.fresh_path(), harness.user.as_ref())?;
    let file = scratch.path().join("stats.json");
    let option = format!("--stats={}", file.display());
    let run = husk(harness, |command| command.args([&option, "/bin/true"]))?;
    ensure!(
        run.status == 0,
        "status {}: {}",
        run.status,
        String::from_utf8_lossy(&run.stderr)
    );
    let mut check = harness.command(jq);
    check
        .args(["-e", ".time.first_instruction_us > 0"])
        .arg(&file);
    let run = process::run(&mut check, None, harness.stretched(PATIENCE))?;
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    ensure!(
        run.status == 0,
        "no JSON with time.first_instruction_us: {said}"
    );
    Ok(Outcome::Passed("JSON".into()))
}

/// A running `husk run` that is talked to.
struct Machine {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Machine {
    fn start(mut command: Command) -> Result<Self> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("husk does not start")?;
        let answers = BufReader::new(child.stdout.take().context("stdout is a pipe")?);
        Ok(Self { child, answers })
    }

    fn say(&mut self, text: &str) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("stdin is a pipe")?;
        stdin
            .write_all(text.as_bytes())
            .context("the machine no longer listens")?;
        Ok(())
    }

    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line)
    }

    fn complaints(&mut self) -> Result<String> {
        let stderr = self.child.stderr.take().context("stderr is a pipe")?;
        Ok(std::io::read_to_string(stderr)?)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Most have ended by now; killing a child that was waited for is refused harmlessly.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds the C program that the scenarios share.
pub(crate) fn build(harness: &Harness) -> Result<PathBuf> {
    let user = harness.user.as_ref();
    harness
        .compiler
        .build("wait_for_signal", &["-static"], user)
}

/// A machine whose program has started and does nothing.
fn sleeping(harness: &Harness) -> Result<Machine> {
    let program = build(harness)?;
    let mut command = harness.husk_run();
    command.arg(program).arg("default");
    let mut machine = Machine::start(command)?;
    let answer = machine.hear()?;
    if answer != "ready\n" {
        let said = machine.complaints()?;
        anyhow::bail!("the program does not start: {said}");
    }
    Ok(machine)
}

pub(crate) fn husk(
    harness: &Harness,
    add: impl FnOnce(&mut Command) -> &mut Command,
) -> Result<Run> {
    let mut command = harness.husk_run();
    add(&mut command);
    process::run(&mut command, None, harness.stretched(PATIENCE))
}

fn kill(signal: &str, id: u32) -> Result<()> {
    let status = Command::new("/bin/kill")
        .arg(format!("-{signal}"))
        .arg(id.to_string())
        .status()?;
    ensure!(status.success(), "kill -{signal} {id} fails");
    Ok(())
}

fn until(done: impl Fn() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(3);
    while !done() && Instant::now() < end {
        thread::sleep(Duration::from_millis(5));
    }
    done()
}

fn mounts() -> Result<String> {
    Ok(fs::read_to_string("/proc/self/mountinfo")?)
}

/// Files that a monitor might leave behind, by name.
fn husk_files() -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for folder in ["/tmp", "/var/tmp", "/dev/shm", "/run"] {
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.contains("husk") && !name.starts_with("husk-conformance-") {
                found.insert(format!("{folder}/{name}"));
            }
        }
    }
    Ok(found)
}
