//! Signals for the program: what the monitor receives, the program receives.

use std::sync::Arc;

use machine_bus::SignalLine;
use nix::sys::signal::{SigSet, Signal};

/// The signals that are passed on to a program.
pub(crate) const FORWARDED: [Signal; 9] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCONT,
    Signal::SIGWINCH,
    Signal::SIGTSTP,
];

/// The signals that end husk, with what runs in it.
pub(crate) const ENDING: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

/// Holds these signals back from now on, in this thread and those it starts; those that whoever
/// started us ignores stay ignored (`nohup`). Before any other thread.
pub(crate) fn hold(signals: &[Signal]) -> SigSet {
    let ignored = host::inherited::ignored_signals();
    let heard = |signal: &Signal| ignored >> (*signal as u32 - 1) & 1 == 0;
    let set: SigSet = signals.iter().copied().filter(heard).collect();
    // Fails only for an invalid operation, which this is not.
    let _ = set.thread_block();
    set
}

/// Lets these signals through that whoever started us held back.
pub(crate) fn let_through(signals: &[Signal]) {
    let set: SigSet = signals.iter().copied().collect();
    // As above.
    let _ = set.thread_unblock();
}

/// Waits for one of them; its number.
pub(crate) fn wait(set: &SigSet) -> u8 {
    loop {
        if let Ok(signal) = set.wait() {
            return signal as u8;
        }
    }
}

/// Passes signals on to the program for ever; a thread's whole life.
pub(crate) fn forward(set: &SigSet, line: &Arc<dyn SignalLine>) {
    loop {
        match set.wait() {
            // Ctrl-Z stops husk itself, and the program with it.
            Ok(Signal::SIGTSTP) => {
                line.stop();
                let _ = nix::sys::signal::raise(Signal::SIGSTOP);
                line.go_on();
            }
            Ok(signal) => line.post(signal as u32),
            Err(_) => {}
        }
    }
}
