//! Starts husk, finds the processes of a machine and reads what the host says of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The sources of the attack programs.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/programs");
/// How long a machine may take to show its cell.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Longest output that is kept of a run.
const OUTPUT_MAX: u64 = 4 << 20;

/// What the cases have in common.
pub(crate) struct Bench {
    pub(crate) husk: PathBuf,
    pub(crate) seconds: u64,
    folder: TempDir,
}

impl Bench {
    pub(crate) fn new(husk: PathBuf, seconds: u64) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("isolation-")
            .tempdir()
            .context("a folder for the programs")?;
        Ok(Self {
            husk,
            seconds,
            folder,
        })
    }

    /// A new empty folder that lives as long as this.
    pub(crate) fn folder(&self) -> Result<PathBuf> {
        Ok(tempfile::Builder::new()
            .tempdir_in(self.folder.path())?
            .keep())
    }

    /// An attack program, compiled on first use.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        let built = self.folder.path().join(name);
        if built.exists() {
            return Ok(built);
        }
        let flags = [
            "-static",
            "-no-pie",
            "-mno-red-zone",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Wno-unused",
        ];
        let compiled = Command::new("cc")
            .args(flags)
            .arg("-o")
            .arg(&built)
            .arg(format!("{PROGRAMS}/{name}.c"))
            .output()
            .context("cc does not start (install gcc and libc6-dev)")?;
        let said = String::from_utf8_lossy(&compiled.stderr);
        ensure!(compiled.status.success(), "{name}.c: {said}");
        Ok(built)
    }

    /// `husk run` with these arguments, its temporary files kept apart.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.husk);
        command.arg("run").args(arguments);
        command.env("TMPDIR", self.folder.path());
        command
    }

    /// Starts a machine.
    pub(crate) fn start(&self, arguments: &[&str]) -> Result<Running> {
        Running::start(self.command(arguments), self.folder()?)
    }
}

/// A command that runs, its output going to files.
pub(crate) struct Running {
    child: Child,
    folder: PathBuf,
    ended: Option<ExitStatus>,
}

/// How it ended and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    /// As a shell counts: 128 + N when signal N ended it.
    pub(crate) status: i32,
    /// Whether a signal ended husk itself, and not just the program in the machine.
    pub(crate) killed: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Running {
    pub(crate) fn start(mut command: Command, folder: PathBuf) -> Result<Self> {
        let output = |name| File::create(folder.join(name));
        let child = command
            .stdin(Stdio::null())
            .stdout(output("stdout")?)
            .stderr(output("stderr")?)
            .spawn()
            .with_context(|| format!("{} does not start", command.get_program().display()))?;
        Ok(Self {
            child,
            folder,
            ended: None,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        send(self.child.id(), signal)
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> Result<bool> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended.is_none())
    }

    /// The process in which the guest's code runs: the monitor's child under its own name.
    pub(crate) fn cell(&mut self) -> Result<u32> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let family = vocabulary::family(self.id())?;
            let cell = family.into_iter().skip(1).find(|&id| is_closed(id));
            if let Some(cell) = cell {
                return Ok(cell);
            }
            ensure!(self.is_alive()?, "the machine ended at its start");
            ensure!(Instant::now() < deadline, "no cell within {START_LIMIT:?}");
            sleep(Duration::from_millis(2));
        }
    }

    /// What it has said so far on stdout.
    pub(crate) fn stdout(&self) -> String {
        text(&self.folder.join("stdout"))
    }

    /// Waits for a line of stdout.
    pub(crate) fn wait_for(&mut self, line: &str) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while !self.stdout().contains(line) {
            ensure!(
                self.is_alive()?,
                "it ended without saying {line:?}: {}",
                self.stderr()
            );
            ensure!(Instant::now() < deadline, "it never said {line:?}");
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn stderr(&self) -> String {
        text(&self.folder.join("stderr"))
    }

    /// Waits for the end; past the limit that is an error.
    pub(crate) fn end_within(&mut self, limit: Duration) -> Result<Ended> {
        if !self.has_ended_within(limit)? {
            self.kill();
            bail!("it did not end within {limit:?}: {}", self.stderr());
        }
        self.end()
    }

    /// Waits for the end, and past the limit ends it.
    pub(crate) fn end_or_stop(&mut self, limit: Duration) -> Result<Ended> {
        if !self.has_ended_within(limit)? {
            self.kill();
            self.has_ended_within(limit)?;
        }
        self.end()
    }

    fn has_ended_within(&mut self, limit: Duration) -> Result<bool> {
        let deadline = Instant::now() + limit;
        while self.is_alive()? {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            sleep(Duration::from_millis(5));
        }
        Ok(true)
    }

    fn end(&self) -> Result<Ended> {
        let status = self.ended.context("it has ended")?;
        let signal = status.signal();
        Ok(Ended {
            status: status.code().unwrap_or(128 + signal.unwrap_or(0)),
            killed: signal.is_some(),
            stdout: self.stdout(),
            stderr: self.stderr(),
        })
    }
}

impl Running {
    /// Ends it and what it started (under strace: the monitor, too).
    fn kill(&mut self) {
        for id in vocabulary::family(self.id()).unwrap_or_default() {
            let _ = send(id, Signal::KILL);
        }
        self.ended = self.child.wait().ok();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.is_alive(), Ok(true)) {
            self.kill();
        }
    }
}

/// Whether a process has ended; its first process may reap it when it likes.
pub(crate) fn is_gone(id: u32) -> bool {
    status_of(id, None).map_or(true, |status| {
        field(&status, "State").starts_with(['Z', 'X'])
    })
}

/// Whether the sandbox of this process has closed: its stub runs under the filter.
fn is_closed(id: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    name.contains("husk-cell") && status_of(id, None).is_ok_and(|s| field(&s, "Seccomp") == "2")
}

pub(crate) fn send(id: u32, signal: Signal) -> Result<()> {
    let id = Pid::from_raw(id.cast_signed()).context("no process has this number")?;
    Ok(kill_process(id, signal)?)
}

/// The fields of `/proc/ID/status`, or of one of its threads.
pub(crate) fn status_of(id: u32, thread: Option<u32>) -> Result<BTreeMap<String, String>> {
    let path = match thread {
        None => format!("/proc/{id}/status"),
        Some(thread) => format!("/proc/{id}/task/{thread}/status"),
    };
    let text = fs::read_to_string(path)?;
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    Ok(fields
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect())
}

pub(crate) fn field<'s>(status: &'s BTreeMap<String, String>, name: &str) -> &'s str {
    status.get(name).map_or("", String::as_str)
}

/// A size in `/proc/ID/status`, in KiB.
pub(crate) fn kibibytes(id: u32, name: &str) -> Result<u64> {
    let status = status_of(id, None)?;
    let number = field(&status, name).split_whitespace().next();
    Ok(number.context("no such size")?.parse()?)
}

/// The numbers that a folder of `/proc` has for names: descriptors, threads.
pub(crate) fn numbers_in(path: &str) -> Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(path)? {
        numbers.push(entry?.file_name().to_string_lossy().parse()?);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

pub(crate) fn text(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(OUTPUT_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last line that says something.
pub(crate) fn last_line(text: &str) -> &str {
    let said = text.lines().rev().find(|line| !line.trim().is_empty());
    said.unwrap_or("")
}
