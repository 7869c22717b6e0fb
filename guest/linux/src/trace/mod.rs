//! The trace, in strace's format, and the names of calls that are not served.
//!
//! What a call is given is looked at when it is made, what it gives when it has returned.
//!
//! * `shape`: which argument of which call is what.
//! * `sets`: the names of flags and values.
//! * `value`: what lies in the program's memory, as text.

mod sets;
mod shape;
mod value;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use guest_hal::LinearAddress;
use guest_hal::sync::Mutex;
use guest_kernel::fs::console;
use guest_kernel::signal::SignalInfo;
use guest_kernel::{Errno, Result};

use crate::{Return, names, table};
use shape::{Shape, Value};
pub(crate) use value::mode;

/// The calls that were not served, each once, for the report at the end.
static UNKNOWN: Mutex<Vec<u64>> = Mutex::new(Vec::new());
/// Most calls that the report names.
const UNKNOWN_MAX: usize = 8;

const EXECVE: u64 = 59;
const EXIT: u64 = 60;
const EXIT_GROUP: u64 = 231;
const FCNTL: u64 = 72;
const UMASK: u64 = 95;
/// Calls whose result is an address.
const ADDRESSES: [u64; 3] = [9, 12, 25];
/// Calls for which a result of zero means that the time was over.
const TIMED: [u64; 4] = [7, 23, 270, 271];

/// A call that was made.
pub(crate) struct Call {
    number: u64,
    registers: [u64; 6],
    arguments: Vec<Argument>,
}

/// An argument: its text, or what to look at when the call has returned.
enum Argument {
    Text(String),
    Later(Value, LinearAddress),
}

/// Notes a call; writes one that will not return.
pub(crate) fn enter(number: u64, registers: [u64; 6]) -> Call {
    let arguments = match shape::of(number) {
        Some(shapes) => shapes
            .iter()
            .enumerate()
            .filter_map(|(index, shape)| argument(*shape, index, &registers))
            .collect(),
        None => {
            let mut text = String::new();
            // Writing to a string cannot fail.
            let _ = table::show(number, registers, &mut text);
            alloc::vec![Argument::Text(text)]
        }
    };
    let call = Call {
        number,
        registers,
        arguments,
    };
    if matches!(number, EXIT | EXIT_GROUP) {
        write_line(line(&call, &Err(Errno::EFAULT)), "?");
    }
    call
}

/// One argument; `None` for one that the call does not have this time.
fn argument(shape: Shape, index: usize, registers: &[u64; 6]) -> Option<Argument> {
    let register = |index: usize| registers.get(index).copied().unwrap_or(0);
    let at = register(index);
    let address = LinearAddress(at);
    let before = register(index.wrapping_sub(1));
    Some(Argument::Text(match shape {
        Shape::Int => alloc::format!("{}", at as i32),
        Shape::Long => alloc::format!("{}", at as i64),
        Shape::Size => alloc::format!("{at}"),
        Shape::Hex if at == 0 => String::from("0"),
        Shape::Hex => alloc::format!("{at:#x}"),
        Shape::Address => pointer(at),
        Shape::Directory if at as i32 == -100 => String::from("AT_FDCWD"),
        Shape::Directory => alloc::format!("{}", at as i32),
        Shape::Mode => value::mode(at),
        Shape::ModeIfCreated => return creates(before).then(|| Argument::Text(value::mode(at))),
        Shape::Open => value::open(at & 0xffff_ffff),
        Shape::StatxFlags => value::statx_flags(at & 0xffff_ffff),
        Shape::Set(names) => value::set(at & 0xffff_ffff, names),
        Shape::One(names) => value::one(at & 0xffff_ffff, names),
        Shape::Signal => String::from(names::signal(at as u32)),
        Shape::In(what) => shown(what, address, counted(what, registers)),
        Shape::Out(what) => return Some(Argument::Later(what, address)),
        Shape::OfControl => return of_control(before, at).map(Argument::Text),
        Shape::OfFutex => return of_futex(index, registers).map(Argument::Text),
    }))
}

/// Whether flags of `open` make a file, so that a mode counts.
const fn creates(flags: u64) -> bool {
    const TEMPORARY: u64 = linux_raw_sys::general::O_TMPFILE as u64;
    flags & linux_raw_sys::general::O_CREAT as u64 != 0 || flags & TEMPORARY == TEMPORARY
}

/// The third argument of `fcntl`.
fn of_control(command: u64, argument: u64) -> Option<String> {
    use linux_raw_sys::general as raw;
    match command as u32 {
        raw::F_GETFD | raw::F_GETFL | raw::F_GETOWN | raw::F_GETSIG => None,
        raw::F_SETFD => Some(value::set(argument, sets::DESCRIPTOR)),
        raw::F_SETFL => Some(value::open(argument)),
        raw::F_DUPFD | raw::F_DUPFD_CLOEXEC | raw::F_SETOWN => {
            Some(alloc::format!("{}", argument as i32))
        }
        _ => Some(pointer(argument)),
    }
}

/// The arguments of `futex` behind the operation: a wake has one, a wait two.
fn of_futex(index: usize, registers: &[u64; 6]) -> Option<String> {
    let [_, operation, count, timeout, ..] = *registers;
    let bitset = matches!(operation & 0x7f, 9 | 10);
    match (index, operation & 0x7f) {
        (2, _) => Some(alloc::format!("{}", count as u32)),
        (3, 0 | 9) => Some(shown(Value::Time, LinearAddress(timeout), 0)),
        (3, 1) => None,
        (5, _) if bitset => registers.get(5).map(|mask| match *mask as u32 {
            u32::MAX => String::from("FUTEX_BITSET_MATCH_ANY"),
            mask => alloc::format!("{mask:#x}"),
        }),
        (_, 0 | 1) => None,
        (3 | 4, _) => registers.get(index).map(|&at| pointer(at)),
        _ => registers
            .get(index)
            .map(|number| alloc::format!("{number}")),
    }
}

/// How many bytes or elements an argument has, as another one says.
fn counted(value: Value, registers: &[u64; 6]) -> u64 {
    match value {
        Value::Bytes(by) | Value::Vectors(by) | Value::Polls(by) => {
            registers.get(by).copied().unwrap_or(0)
        }
        _ => 0,
    }
}

fn shown(value: Value, address: LinearAddress, length: u64) -> String {
    if address.0 == 0 {
        return String::from("NULL");
    }
    value::show(value, address, length).unwrap_or_else(|| pointer(address.0))
}

fn pointer(address: u64) -> String {
    match address {
        0 => String::from("NULL"),
        _ => alloc::format!("{address:#x}"),
    }
}

/// The call with its arguments, as far as a failed one has any.
fn line(call: &Call, result: &Result<u64>) -> String {
    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = match names::name(call.number) {
        Some(name) => write!(line, "{name}("),
        None => write!(line, "syscall_{:#x}(", call.number),
    };
    let mut separator = "";
    for argument in &call.arguments {
        line.push_str(separator);
        separator = ", ";
        match (argument, result) {
            (Argument::Text(text), _) => line.push_str(text),
            (Argument::Later(value, address), Ok(length)) => {
                line.push_str(&shown(*value, *address, *length));
            }
            (Argument::Later(_, address), Err(_)) => line.push_str(&pointer(address.0)),
        }
    }
    line.push(')');
    line
}

fn write_line(mut line: String, result: &str) {
    while line.len() < 39 {
        line.push(' ');
    }
    // Writing to a string cannot fail.
    let _ = writeln!(line, " = {result}");
    console::log(line.as_bytes());
}

/// Writes the line of a call that returned.
pub(crate) fn leave(call: &Call, result: &Result<u64>) {
    let text = match result {
        Ok(value) => success(call, *value),
        Err(Errno::RESTART_ALWAYS) => String::from("? ERESTARTNOINTR (To be restarted)"),
        Err(Errno::RESTART | Errno::RESTART_NO_HANDLER) => {
            String::from("? ERESTARTSYS (To be restarted if SA_RESTART is set)")
        }
        Err(error) => alloc::format!("-1 {error} ({})", names::describe(*error)),
    };
    let seen = match (call.number, result) {
        // The memory in which the arguments lay is gone, but they were looked at before.
        (EXECVE, Ok(_)) => &Err(Errno::EFAULT),
        _ => result,
    };
    write_line(line(call, seen), &text);
}

fn success(call: &Call, value: u64) -> String {
    use linux_raw_sys::general::{F_GETFD, F_GETFL};
    let [_, command, ..] = call.registers;
    match call.number {
        number if ADDRESSES.contains(&number) => alloc::format!("{value:#x}"),
        number if TIMED.contains(&number) && value == 0 => String::from("0 (Timeout)"),
        UMASK => value::mode(value),
        FCNTL if command as u32 == F_GETFL => {
            alloc::format!("{value:#x} (flags {})", value::open(value))
        }
        FCNTL if command as u32 == F_GETFD && value != 0 => {
            alloc::format!("{value:#x} (flags {})", value::set(value, sets::DESCRIPTOR))
        }
        _ => alloc::format!("{}", value as i64),
    }
}

/// Writes that a signal is delivered.
pub(crate) fn signal(info: &SignalInfo) {
    let name = names::signal(info.number);
    let code = u64::from(info.code.cast_unsigned());
    let faults = sets::FAULT_CODE
        .iter()
        .find(|(number, _)| *number == info.number);
    let (code, rest) = match faults {
        Some((_, codes)) if (1..0x80).contains(&info.code) => {
            let [address, ..] = info.payload.as_chunks::<8>().0 else {
                return;
            };
            let address = pointer(u64::from_le_bytes(*address));
            (
                value::one(code, codes),
                alloc::format!(", si_addr={address}"),
            )
        }
        _ if matches!(info.code, 0 | -6) => {
            let [sender, user, ..] = info.payload.as_chunks::<4>().0 else {
                return;
            };
            let (sender, user) = (u32::from_le_bytes(*sender), u32::from_le_bytes(*user));
            let rest = alloc::format!(", si_pid={sender}, si_uid={user}");
            (value::one(code, sets::CODE), rest)
        }
        _ => (value::one(code, sets::CODE), String::new()),
    };
    let line = alloc::format!("--- {name} {{si_signo={name}, si_code={code}{rest}}} ---\n");
    console::log(line.as_bytes());
}

/// Writes the start of the machine's program as the call that it would be.
pub(crate) fn started(path: &[u8], arguments: &[Vec<u8>], variables: usize, environment: u64) {
    let quoted = |text: &Vec<u8>| alloc::format!("\"{}\"", value::octal(text));
    let arguments: Vec<String> = arguments.iter().map(quoted).collect();
    let line = alloc::format!(
        "execve(\"{}\", [{}], {environment:#x} /* {variables} vars */)",
        value::octal(path),
        arguments.join(", ")
    );
    write_line(line, "0");
}

/// Writes that a handler has returned.
pub(crate) fn returned(mask: u64, result: u64) {
    let line = alloc::format!("rt_sigreturn({{mask={}}})", value::signals(mask));
    write_line(line, &alloc::format!("{}", result as i64));
}

/// Writes the end: a status, or the signal by number.
pub(crate) fn ended(end: core::result::Result<u8, u32>) {
    let line = match end {
        Ok(status) => alloc::format!("+++ exited with {status} +++\n"),
        Err(number) => alloc::format!("+++ killed by {} +++\n", names::signal(number)),
    };
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
