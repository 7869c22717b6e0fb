//! A server's process: husk with the server in a machine, or the server itself natively.

use std::fs::File;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to its first answer, and to its end.
const START: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(20);

/// What every server's environment holds, whatever the caller's was.
const ENVIRONMENT: [(&str, &str); 3] = [
    ("PATH", "/usr/bin:/bin:/usr/sbin:/sbin"),
    ("LANG", "C.UTF-8"),
    ("HOME", "/tmp"),
];

/// A process that this suite started, and ends.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    said: PathBuf,
    patience: u32,
}

/// What is to be started.
#[derive(Debug)]
pub struct Start {
    /// husk with its options, or nothing.
    pub husk: Vec<String>,
    /// The program with its arguments.
    pub command: Vec<String>,
    /// Where both streams go.
    pub said: PathBuf,
    /// As this user of the host.
    pub user: Option<u32>,
    /// Everything may take this many times as long.
    pub patience: u32,
}

impl Machine {
    /// Starts it.
    ///
    /// # Errors
    /// When the host cannot.
    pub fn start(start: &Start) -> Result<Self> {
        let mut words = start.husk.iter().chain(&start.command);
        let program = words.next().context("nothing to start")?;
        let said = File::create(&start.said)?;
        let mut command = Command::new(program);
        command.args(words).env_clear().envs(ENVIRONMENT);
        command.current_dir("/");
        if let Some(user) = start.user {
            command.uid(user).gid(user);
        }
        // Some servers end with their standard input.
        command.stdin(Stdio::piped());
        command.stdout(said.try_clone()?).stderr(said);
        let child = command.spawn();
        let child = child.with_context(|| format!("{program} does not start"))?;
        Ok(Self {
            child,
            said: start.said.clone(),
            patience: start.patience,
        })
    }

    /// The process itself: the monitor, or the server natively.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it said so far.
    pub fn said(&self) -> String {
        said(&self.said)
    }

    /// Asks until there is an answer.
    ///
    /// # Errors
    /// When it ends before, or never answers: what it last answered, and what it said.
    pub fn wait_ready(&mut self, ask: impl Fn() -> Result<()>) -> Result<()> {
        let deadline = Instant::now() + START * self.patience;
        let mut pause = Duration::from_millis(5);
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended at once, {status}: {}", tail(&self.said()));
            }
            let Err(error) = ask() else { return Ok(()) };
            if Instant::now() > deadline {
                bail!("it never answers: {error:#}: {}", tail(&self.said()));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    /// Ends it by `SIGTERM`; its status must be this one, as a shell counts.
    ///
    /// # Errors
    /// When it has ended before, does not end, or ends otherwise.
    pub fn end(self, wanted: i32) -> Result<()> {
        self.end_as_one_of(&[wanted])
    }

    /// Ends it by `SIGTERM`; its status must be one of these, as a shell counts.
    ///
    /// # Errors
    /// When it has ended before, does not end, or ends otherwise.
    pub fn end_as_one_of(mut self, wanted: &[i32]) -> Result<()> {
        let status = self.stop()?;
        ensure!(
            wanted.contains(&status),
            "after SIGTERM its status is {status}, not of {wanted:?}: {}",
            tail(&self.said())
        );
        Ok(())
    }

    /// Ends it by `SIGTERM`; its status as a shell counts.
    ///
    /// # Errors
    /// When it has ended before, or does not end.
    pub fn stop(&mut self) -> Result<i32> {
        if let Some(status) = self.child.try_wait()? {
            bail!("it ended by itself, {status}: {}", tail(&self.said()));
        }
        self.tell(Signal::TERM)?;
        self.wait(END)
    }

    /// Waits until it ends by itself; its status as a shell counts.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn wait(&mut self, limit: Duration) -> Result<i32> {
        let deadline = Instant::now() + limit * self.patience;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(shell_status(status));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("it does not end: {}", tail(&self.said()))
    }

    fn tell(&self, signal: Signal) -> Result<()> {
        let id = Pid::from_raw(self.child.id() as i32).context("a process has an id")?;
        Ok(kill_process(id, signal)?)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn shell_status(status: ExitStatus) -> i32 {
    let signal = status.signal().map_or(-1, |signal| 128 + signal);
    status.code().unwrap_or(signal)
}

/// What a process said into this file.
fn said(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last lines.
pub fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
    let from = lines.len().saturating_sub(6);
    let last = lines.get(from..).unwrap_or_default().join(" | ");
    if last.is_empty() {
        "(it said nothing)".to_owned()
    } else {
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Machine {
        let start = Start {
            husk: Vec::new(),
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            said: folder.join("said"),
            user: None,
            patience: 1,
        };
        Machine::start(&start).expect("sh starts")
    }

    #[test]
    fn the_status_after_a_signal_is_looked_at() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done";
        for (wanted, right) in [(7, true), (143, false)] {
            let mut machine = shell(script, folder.path());
            let up = || {
                let said = said(&folder.path().join("said"));
                ensure!(said.contains("up"), "not yet");
                Ok(())
            };
            machine.wait_ready(up).expect("it says so");
            assert_eq!(machine.end(wanted).is_ok(), right);
        }
    }

    #[test]
    fn an_early_end_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut machine = shell("echo no such option; exit 3", folder.path());
        let error = machine.wait_ready(|| bail!("nobody there"));
        let error = error.expect_err("it ended").to_string();
        assert!(error.contains("no such option"), "{error}");
    }
}
