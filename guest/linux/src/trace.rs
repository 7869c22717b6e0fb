//! The trace, in strace's format, and the names of calls that are not served.

use alloc::string::String;
use core::fmt::Write;

use guest_hal::sync::Mutex;
use guest_kernel::fs::console;
use guest_kernel::signal::SignalInfo;
use guest_kernel::{Errno, Result};

use crate::{Return, names, table};

/// The line that is being built: a call before it returns.
static LINE: Mutex<String> = Mutex::new(String::new());
/// The first call that was not served, for the report at the end.
static UNKNOWN: Mutex<Option<u64>> = Mutex::new(None);

/// Notes a call with its arguments.
pub(crate) fn enter(number: u64, registers: [u64; 6]) {
    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = match names::name(number) {
        Some(name) => write!(line, "{name}("),
        None => write!(line, "syscall_{number:#x}("),
    };
    let _ = table::show(number, registers, &mut line);
    line.push(')');
    if matches!(number, 60 | 231) {
        line.push_str(" = ?\n");
        console::log(line.as_bytes());
        return;
    }
    *LINE.lock() = line;
}

/// Writes the line of the call that returns.
pub(crate) fn leave(result: &Result<u64>) {
    let mut line = core::mem::take(&mut *LINE.lock());
    while line.len() < 39 {
        line.push(' ');
    }
    let _ = match result {
        Ok(value) if *value > 0xffff_ffff => write!(line, " = {value:#x}"),
        Ok(value) => write!(line, " = {value}"),
        Err(Errno::RESTART | Errno::RESTART_NO_HANDLER) => {
            write!(
                line,
                " = ? ERESTARTSYS (To be restarted if SA_RESTART is set)"
            )
        }
        Err(error) => write!(line, " = -1 {error} ({})", names::describe(*error)),
    };
    line.push('\n');
    console::log(line.as_bytes());
}

/// Writes that a signal is delivered.
pub(crate) fn signal(info: &SignalInfo) {
    let name = names::signal(info.number);
    let mut line = String::new();
    let _ = writeln!(
        line,
        "--- {name} {{si_signo={name}, si_code={}}} ---",
        info.code
    );
    console::log(line.as_bytes());
}

/// Answers a call that is not served.
pub(crate) fn unknown(number: u64) -> Return {
    UNKNOWN.lock().get_or_insert(number);
    Err(Errno::ENOSYS)
}

/// The first call that was not served, by name.
pub(crate) fn first_unknown() -> Option<String> {
    let number = (*UNKNOWN.lock())?;
    Some(match names::name(number) {
        Some(name) => String::from(name),
        None => alloc::format!("number {number}"),
    })
}
