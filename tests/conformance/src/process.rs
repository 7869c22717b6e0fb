//! Runs one child with a time limit and collects what it says.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::content::Content;

/// How a child ended and what it said.
#[derive(Debug)]
pub(crate) struct Run {
    /// As a shell counts: 128 + N when signal N ended it.
    pub(crate) status: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) elapsed: Duration,
    pub(crate) timed_out: bool,
}

/// How long to wait for pipes that a killed child's own children may still hold.
const GRACE: Duration = Duration::from_secs(5);

/// Runs the command; when the time is over, ends that child and no other process.
pub(crate) fn run(
    command: &mut Command,
    stdin: Option<&Content>,
    timeout: Duration,
) -> Result<Run> {
    let input = if stdin.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    };
    command
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("{} does not start", command.get_program().display()))?;
    feed(&mut child, stdin);
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let (status, timed_out) = wait(&mut child, start + timeout)?;
    let elapsed = start.elapsed();
    let stdout = stdout.recv_timeout(GRACE).unwrap_or_default();
    let stderr = stderr.recv_timeout(GRACE).unwrap_or_default();
    Ok(Run {
        status: shell_status(status),
        stdout,
        stderr,
        elapsed,
        timed_out,
    })
}

/// Waits until the child ends by itself or, at the deadline, by force.
pub(crate) fn wait(child: &mut Child, deadline: Instant) -> Result<(ExitStatus, bool)> {
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, false));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            return Ok((child.wait()?, true));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// The exit status as a shell would show it.
pub(crate) fn shell_status(status: ExitStatus) -> i32 {
    let signal = status.signal().map_or(-1, |signal| 128 + signal);
    status.code().unwrap_or(signal)
}

fn feed(child: &mut Child, content: Option<&Content>) {
    let (Some(content), Some(mut pipe)) = (content.cloned(), child.stdin.take()) else {
        return;
    };
    thread::spawn(move || {
        // A child that stops reading early is no error: its own output says what it thinks.
        let mut buffered = std::io::BufWriter::with_capacity(1 << 16, &mut pipe);
        let _ = content
            .write_to(&mut buffered)
            .and_then(|()| buffered.flush());
    });
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is what there is to compare.
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = sender.send(bytes);
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout_ms: u64) -> Run {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        run(
            &mut command,
            Some(&Content::Text("in")),
            Duration::from_millis(timeout_ms),
        )
        .expect("sh starts")
    }

    #[test]
    fn streams_and_status_are_kept_apart() {
        let run = shell("cat; echo err >&2; exit 7", 5000);
        assert_eq!((run.status, run.timed_out), (7, false));
        assert_eq!(
            (&run.stdout[..], &run.stderr[..]),
            (&b"in"[..], &b"err\n"[..])
        );
    }

    #[test]
    fn a_signal_counts_as_in_a_shell() {
        assert_eq!(shell("kill -11 $$", 5000).status, 139);
    }

    #[test]
    fn an_endless_child_is_ended() {
        let run = shell("exec sleep 100", 50);
        assert_eq!((run.status, run.timed_out), (137, true));
    }
}
