//! A machine that is reset starts anew.
//!
//! A monitor that has confined itself can make no second machine, so each life of a machine has
//! a monitor of its own: a process that husk starts, waits for, and starts again when it
//! was told of a reset. The first process has nothing to do with the guest. It passes signals on, and
//! puts the terminal back should the monitor be killed.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::signal::SigSet;
use rustix::io::FdFlags;
use rustix::process::{Pid, PidfdFlags, Signal};
use rustix::termios::{OptionalActions, Termios};

use crate::arguments::BootOptions;
use crate::debug::Listener;
use crate::error::Failure;
use crate::{run, signals};

/// The hidden option by which a monitor learns where to tell of a reset.
const OPTION: &str = "--told";
/// The hidden option by which it gets the socket for debuggers.
const GDB_OPTION: &str = "--gdb-socket";
const RESET: &[u8] = b"r";

/// The monitor of now, and whether there shall be another.
#[derive(Default)]
struct Life {
    monitor: Option<OwnedFd>,
    /// The signal that ended all.
    signal: Option<u8>,
}

impl Life {
    /// Tells the monitor of the signal, if there are both. It may have ended just now.
    fn pass_on(&self) {
        let signal = self
            .signal
            .and_then(|number| Signal::from_named_raw(number.into()));
        if let (Some(monitor), Some(signal)) = (&self.monitor, signal) {
            let _ = rustix::process::pidfd_send_signal(monitor, signal);
        }
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Life>>);

impl Shared {
    fn life(&self) -> MutexGuard<'_, Life> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs one life after another; the exit status of the last.
pub(super) fn all(options: &BootOptions) -> Result<u8, Failure> {
    // It is there for all lives, and whoever comes between two of them waits.
    let debugger = options.debug.gdb.as_ref().map(Listener::open).transpose()?;
    let held = signals::hold(&signals::ENDING);
    let terminal = rustix::termios::tcgetattr(std::io::stdin()).ok();
    let shared = Shared::default();
    pass_signals_on(held, shared.clone())?;
    loop {
        let fail = |error| Failure::new("the monitor cannot be started", error, "");
        let (reader, child) = start(debugger.as_ref()).map_err(fail)?;
        let (status, is_reset) = wait(reader, child, &shared).map_err(fail)?;
        if let (Some(signal), Some(before)) = (status.signal(), &terminal) {
            put_back(before);
            crate::error::say(&format!(
                "husk: the monitor was ended by signal {signal}, and the machine with it"
            ));
        }
        if !is_reset || options.no_reboot {
            return Ok(status_of(status));
        }
        if let Some(signal) = shared.life().signal {
            return Ok(128 + signal);
        }
    }
}

/// This life is one of several: ends it when the process that counts them is gone.
pub(super) fn end_with_parent() -> Result<(), Failure> {
    let set = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
    set.map_err(|error| Failure::new("the monitor cannot watch its parent", error, ""))
}

/// Where a monitor tells of a reset; opened before it confines itself.
pub(super) fn open(descriptor: u32) -> Result<std::fs::File, Failure> {
    let path = format!("/proc/self/fd/{descriptor}");
    let opened = std::fs::File::options().write(true).open(path);
    opened.map_err(|error| Failure::new(format_args!("{OPTION} {descriptor}"), error, ""))
}

/// Tells of a reset.
pub(super) fn tell(mut to: &std::fs::File) {
    // Without somebody who listens there is no other life.
    let _ = to.write_all(RESET);
}

fn start(debugger: Option<&Listener>) -> std::io::Result<(PipeReader, Child)> {
    let (reader, writer) = std::io::pipe()?;
    rustix::io::fcntl_setfd(&writer, FdFlags::empty())?;
    let mut command = command(&writer);
    if let Some(debugger) = debugger {
        command.args([GDB_OPTION, &debugger.hand_on()?.to_string()]);
    }
    // Our copy of the pipe's end goes with this, and the pipe ends with the monitor.
    command.spawn().map(|child| (reader, child))
}

fn command(writer: &PipeWriter) -> Command {
    let mut arguments = std::env::args_os();
    let mut command = Command::new("/proc/self/exe");
    command.arg0(arguments.next().unwrap_or_else(|| "husk".into()));
    command.args(arguments);
    command.args([OPTION, &writer.as_raw_fd().to_string()]);
    command
}

/// Waits for the end of a life; whether it was a reset.
fn wait(
    mut reader: PipeReader,
    mut child: Child,
    shared: &Shared,
) -> std::io::Result<(ExitStatus, bool)> {
    let monitor = rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    let mut life = shared.life();
    life.monitor = Some(monitor);
    life.pass_on();
    drop(life);
    let mut told = Vec::new();
    reader.read_to_end(&mut told)?;
    let status = child.wait()?;
    shared.life().monitor = None;
    Ok((status, told == RESET && status.code().is_some()))
}

fn pass_signals_on(held: SigSet, shared: Shared) -> Result<(), Failure> {
    run::start_thread("signals", move || {
        loop {
            let number = signals::wait(&held);
            let mut life = shared.life();
            life.signal = Some(number);
            life.pass_on();
        }
    })
}

fn put_back(before: &Termios) {
    // It may be gone.
    let _ = rustix::termios::tcsetattr(std::io::stdin(), OptionalActions::Now, before);
}

fn status_of(status: ExitStatus) -> u8 {
    let signal = status.signal().map(|signal| 128 + (signal as u8 & 0x7f));
    let code = status.code().map(|code| code as u8);
    code.or(signal).unwrap_or(crate::error::STATUS_HUSK)
}
