//! The trace, in strace's format, and the names of calls that are not served.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use guest_hal::LinearAddress;
use guest_hal::sync::Mutex;
use guest_kernel::fs::console;
use guest_kernel::signal::SignalInfo;
use guest_kernel::{Errno, Result, uaccess};

use crate::{Return, names, table};

/// The calls that were not served, each once, for the report at the end.
static UNKNOWN: Mutex<Vec<u64>> = Mutex::new(Vec::new());
/// Most calls that the report names.
const UNKNOWN_MAX: usize = 8;
/// How much of a buffer is shown, as strace does.
const SHOWN: u64 = 32;

/// Writes a call that will not return.
pub(crate) fn enter(number: u64, registers: [u64; 6]) {
    if matches!(number, 60 | 231) {
        let mut line = call(number, registers, 0);
        line.push_str(" = ?\n");
        console::log(line.as_bytes());
    }
}

/// A call as text; `result` says how much of a buffer is worth showing.
fn call(number: u64, registers: [u64; 6], result: u64) -> String {
    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = match names::name(number) {
        Some(name) => write!(line, "{name}("),
        None => write!(line, "syscall_{number:#x}("),
    };
    let [fd, buffer, count, offset, ..] = registers;
    let shown = match number {
        0 | 17 => Some(result),
        1 | 18 => Some(count),
        _ => None,
    };
    let bytes = shown.and_then(|length| {
        let bytes = uaccess::read_vec(LinearAddress(buffer), length.min(SHOWN)).ok()?;
        Some((bytes, length))
    });
    let _ = match bytes {
        Some((bytes, length)) => {
            let more = if length > SHOWN { "..." } else { "" };
            let text = bytes.escape_ascii();
            let _ = write!(line, "{}, \"{text}\"{more}, {count}", fd as i32);
            if number > 1 {
                write!(line, ", {}", offset as i64)
            } else {
                Ok(())
            }
        }
        None => table::show(number, registers, &mut line),
    };
    line.push(')');
    line
}

/// Writes the line of a call that returned.
pub(crate) fn leave(number: u64, registers: [u64; 6], result: &Result<u64>) {
    let mut line = call(number, registers, result.unwrap_or(0));
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
    let mut unknown = UNKNOWN.lock();
    if unknown.len() < UNKNOWN_MAX && !unknown.contains(&number) {
        unknown.push(number);
    }
    Err(Errno::ENOSYS)
}

/// The first calls that were not served, by name.
pub(crate) fn unknown_names() -> Vec<String> {
    let name = |&number: &u64| match names::name(number) {
        Some(name) => String::from(name),
        None => alloc::format!("number {number}"),
    };
    UNKNOWN.lock().iter().map(name).collect()
}
