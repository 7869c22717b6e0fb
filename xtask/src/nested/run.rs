//! Runs the machine: QEMU as our child, its output as ours, its end as an [`Ending`].
//!
//! The machine has four serial lines: the console, which goes to a file; the program's standard
//! output and error, which QEMU writes to pipes; and a pulse ([`pulse`]). What QEMU says itself is
//! heard only when the program's status is not.

use std::io::{PipeReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::host_root::Server;
use super::options::Options;
use super::{log, tools};

/// AMD's virtualization with nested paging. QEMU 7.2 cannot keep AVX over an exit from a nested
/// guest, so none is announced.
const CPU: &str = "EPYC,+svm,+npt,-avx,-avx2,-fma,-f16c";

/// What the kernel need not do here, and that it ends the machine when it has failed.
const KERNEL_COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 oops=panic mitigations=off \
    tsc=reliable nokaslr cryptomgr.notests ima=off audit=0 apparmor=0 edd=off";

const INTERVAL: Duration = Duration::from_millis(20);
const PULSE: Duration = Duration::from_millis(100);

/// How the machine ended; all but the first come with the last lines of its console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The program ended with this status, as a shell reports it.
    Status(u8),
    /// Time was up first.
    TimedOut(Vec<String>),
    /// The kernel gave up: with its reason first.
    Panicked(String, Vec<String>),
    /// QEMU ended, and nobody said why.
    Vanished(Vec<String>),
}

/// Runs the machine to its end, or for as long as the options allow. `folder` is for its files.
///
/// # Errors
/// When QEMU does not start.
pub(crate) fn machine(
    kernel: &Path,
    initrd: &Path,
    folder: &Path,
    options: &Options,
) -> Result<Ending> {
    let console = folder.join("console.log");
    let (errors, errors_end) = std::io::pipe()?;
    let beat = folder.join("pulse");
    let mut command = qemu(&console, &beat, options);
    let server = options
        .host_root
        .then(|| Server::start(folder))
        .transpose()?;
    if let Some(server) = &server {
        command.args(server.device(&options.memory));
    }
    command.arg("-kernel").arg(kernel);
    command.arg("-initrd").arg(initrd);
    command.stdin(errors_end);
    let deadline = Instant::now() + options.timeout;
    let mut child = command.spawn().context("QEMU does not start")?;
    // It holds our copy of the pipe's end, without which the copying would never end.
    drop(command);
    let copiers = Copiers::start(&mut child, errors)?;
    thread::spawn(move || pulse(&beat, deadline));
    let in_time = wait_until(&mut child, deadline)?;
    let mut complaints = copiers.finish();
    if let Some(server) = server {
        complaints.extend(server.finish());
    }
    Ok(ending(&log::read(&console), &complaints, in_time))
}

/// `complaints` is what QEMU said itself.
fn ending(console: &[u8], complaints: &[u8], in_time: bool) -> Ending {
    let mut lines = log::last_lines(console);
    let complaints = log::last_lines(complaints).into_iter();
    lines.extend(complaints.filter(|line| !line.contains(": warning: ")));
    match (log::status(console), log::panic(console)) {
        (Some(status), _) => Ending::Status(status),
        (None, Some(reason)) => Ending::Panicked(reason, lines),
        (None, None) if !in_time => Ending::TimedOut(lines),
        (None, None) => Ending::Vanished(lines),
    }
}

/// QEMU without a kernel. It dies with us.
fn qemu(console: &Path, beat: &Path, options: &Options) -> Command {
    let mut command = tools::command("setpriv");
    command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
    command.args(["-accel", "tcg", "-cpu", CPU, "-machine", "q35"]);
    command.args(["-smp", &options.cpus.to_string(), "-m", &options.memory]);
    command.args(["-nodefaults", "-no-user-config", "-no-reboot"]);
    command.args(["-display", "none", "-monitor", "none"]);
    let words = format!("{KERNEL_COMMAND_LINE} {}", options.append);
    command.args(["-append", words.trim_end()]);
    serial_lines(&mut command, console, beat);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Of the three descriptors that a child gets from us, 0 is a pipe's end for writing, too. The
/// third and fourth lines get interrupts of their own: those they usually have are the others'.
fn serial_lines(command: &mut Command, console: &Path, beat: &Path) {
    // A comma in an option's value is written twice.
    let path = |path: &Path| path.to_string_lossy().replace(',', ",,");
    let (console, beat) = (path(console), path(beat));
    let pulse = format!("socket,id=pulse,path={beat},server=on,wait=off");
    command
        .args(["-chardev", &format!("file,id=console,path={console}")])
        .args(["-chardev", &pulse])
        .args(["-chardev", "file,id=output,path=/dev/fd/1"])
        .args(["-chardev", "file,id=errors,path=/dev/fd/0"])
        .args(["-device", "isa-serial,chardev=console"])
        .args(["-device", "isa-serial,chardev=output"])
        .args(["-device", "isa-serial,chardev=errors,iobase=0x3e8,irq=5"])
        .args(["-device", "isa-serial,chardev=pulse,iobase=0x2e8,irq=7"]);
}

/// Sends the machine a byte every now and then, for the sake of its interrupt: QEMU 7.2 can lose the
/// one of a timer while a guest of the guest runs, and delivers it with the next of any kind.
fn pulse(to: &Path, deadline: Instant) {
    let mut line = None;
    while line.is_none() && Instant::now() < deadline {
        thread::sleep(INTERVAL);
        line = UnixStream::connect(to).ok();
    }
    // It ends with QEMU.
    while line
        .as_mut()
        .is_some_and(|line| line.write_all(b".").is_ok())
    {
        thread::sleep(PULSE);
    }
}

/// Waits for the child and ends it when time is up; tells whether it ended in time.
fn wait_until(child: &mut Child, deadline: Instant) -> Result<bool> {
    while child.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        thread::sleep(INTERVAL);
    }
    Ok(true)
}

/// The threads that read what QEMU writes.
struct Copiers {
    output: JoinHandle<()>,
    errors: JoinHandle<()>,
    complaints: JoinHandle<Vec<u8>>,
}

impl Copiers {
    fn start(child: &mut Child, errors: PipeReader) -> Result<Self> {
        let output = child.stdout.take().context("a child without an output")?;
        let complaints = child.stderr.take().context("a child without errors")?;
        Ok(Self {
            output: thread::spawn(|| copy(output, std::io::stdout())),
            errors: thread::spawn(|| copy(errors, std::io::stderr())),
            complaints: thread::spawn(|| collect(complaints)),
        })
    }

    /// Waits for the end of all output; returns what QEMU said itself.
    fn finish(self) -> Vec<u8> {
        // A thread that only copies has nothing to report.
        let _ = self.output.join();
        let _ = self.errors.join();
        self.complaints.join().unwrap_or_default()
    }
}

/// Copies all of `from`, also when nobody reads it any more: the machine must not stand still.
fn copy(mut from: impl Read, mut to: impl Write) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let bytes = buffer.get(..length).unwrap_or_default();
        let _ = to.write_all(bytes).and_then(|()| to.flush());
    }
}

fn collect(mut from: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    // What was read before a failure is kept.
    let _ = from.read_to_end(&mut all);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_counts_more_than_how_the_machine_ended() {
        let reported = b"Kernel panic - x\nnested-kvm status: 4\n";
        assert_eq!(ending(reported, b"", true), Ending::Status(4));
        assert_eq!(ending(reported, b"error", false), Ending::Status(4));
    }

    #[test]
    fn an_end_without_a_status_keeps_the_console() {
        let line = "Kernel panic - x".to_string();
        let panicked = Ending::Panicked(line.clone(), vec![line]);
        assert_eq!(ending(b"Kernel panic - x\n", b"", true), panicked);
        assert_eq!(ending(b"Kernel panic - x\n", b"", false), panicked);
        let lines = vec!["[1.2] x".to_string()];
        assert_eq!(ending(b"[1.2] x\n", b"", false), Ending::TimedOut(lines));
    }

    #[test]
    fn what_qemu_says_is_kept_save_its_warnings() {
        let complaints = b"qemu: warning: TCG lacks it\nqemu: no such file\n";
        let lines = vec!["qemu: no such file".to_string()];
        assert_eq!(ending(b"", complaints, true), Ending::Vanished(lines));
    }

    #[test]
    fn a_child_that_stays_is_ended_and_one_that_goes_is_not() {
        let mut stays = Command::new("sleep").arg("1000").spawn().expect("sleep");
        assert!(!wait_until(&mut stays, Instant::now()).expect("a child"));
        let mut goes = Command::new("true").spawn().expect("true");
        let later = Instant::now() + Duration::from_secs(60);
        assert!(wait_until(&mut goes, later).expect("a child"));
    }

    #[test]
    fn a_comma_in_the_console_s_path_does_not_end_it() {
        let mut command = Command::new("x");
        serial_lines(&mut command, Path::new("/a,b"), Path::new("/c"));
        let has = |text: &str| command.get_args().any(|argument| argument == text);
        assert!(has("file,id=console,path=/a,,b"));
    }
}
