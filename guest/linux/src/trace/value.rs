//! Values in the program's memory as text, as strace shows them.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use guest_hal::LinearAddress;
use guest_kernel::uaccess;

use super::sets::{self, Names};
use super::shape::Value;
use crate::names;

/// How much of a buffer is shown, as strace does.
const SHOWN: u64 = 32;
/// The most elements of a list that are shown.
const LIST_MAX: u64 = 32;
/// The limit that is none.
const UNLIMITED: u64 = u64::MAX;

/// The value at `address`; `None` when it cannot be read. `length` counts what the value
/// consists of, where it does not say so itself.
pub(super) fn show(value: Value, address: LinearAddress, length: u64) -> Option<String> {
    match value {
        Value::Path => path(address),
        Value::Bytes(_) | Value::Returned | Value::Link => bytes(address, length, octal),
        Value::Random => bytes(address, length, hexadecimal),
        Value::Entries => entries(address, length),
        Value::Stat => stat(address),
        Value::Statx => statx(address),
        Value::Pipe => {
            numbers32(address).map(|[a, b]| alloc::format!("[{}, {}]", a as i32, b as i32))
        }
        Value::Time => words(address).map(|[s, n]| time(s, n, "tv_nsec")),
        Value::TimeOfDay => words(address).map(|[s, u]| time(s, u, "tv_usec")),
        Value::Times => words(address).map(|[a, b, c, d]| {
            alloc::format!("[{}, {}]", time(a, b, "tv_nsec"), time(c, d, "tv_nsec"))
        }),
        Value::Interval => words(address).map(|[a, b, c, d]| {
            let (interval, value) = (time(a, b, "tv_usec"), time(c, d, "tv_usec"));
            alloc::format!("{{it_interval={interval}, it_value={value}}}")
        }),
        Value::Limit => words(address).map(|[now, most]| {
            alloc::format!("{{rlim_cur={}, rlim_max={}}}", limit(now), limit(most))
        }),
        Value::Action => action(address),
        Value::Signals => words(address).map(|[set]| signals(set)),
        Value::Stack => stack(address),
        Value::Vectors(_) => vectors(address, length),
        Value::Polls(_) => polls(address, length),
        Value::Strings => strings(address),
        Value::Environment => environment(address),
        Value::System => system(address),
    }
}

/// Flags by name. What has no name comes last, in hexadecimal.
pub(super) fn set(value: u64, names: Names) -> String {
    let mut rest = value;
    let mut found: Vec<&str> = Vec::new();
    for (flag, name) in names {
        if *flag != 0 && rest & flag == *flag {
            found.push(name);
            rest &= !flag;
        }
    }
    if value == 0 {
        let zero = names.iter().find(|(flag, _)| *flag == 0);
        return String::from(zero.map_or("0", |(_, name)| name));
    }
    let mut text = found.join("|");
    if rest != 0 {
        let separator = if text.is_empty() { "" } else { "|" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{rest:#x}");
    }
    text
}

/// One of several values by name.
pub(super) fn one(value: u64, names: Names) -> String {
    match names.iter().find(|(known, _)| *known == value) {
        Some((_, name)) => String::from(*name),
        None => alloc::format!("{value:#x}"),
    }
}

/// Flags of `open`.
pub(super) fn open(flags: u64) -> String {
    let access = one(flags & 3, sets::ACCESS_MODE);
    match flags & !3 {
        0 => access,
        rest => alloc::format!("{access}|{}", set(rest, sets::OPEN)),
    }
}

/// Flags of `statx`.
pub(super) fn statx_flags(flags: u64) -> String {
    const SYNC: u64 = 0x6000;
    let sync = one(flags & SYNC, sets::STATX_SYNC);
    match flags & !SYNC {
        0 => sync,
        rest => alloc::format!("{sync}|{}", set(rest, sets::AT)),
    }
}

/// A mode in octal, three digits at least.
pub(crate) fn mode(mode: u64) -> String {
    let digits = alloc::format!("0{:o}", mode & 0o7777);
    alloc::format!("{digits:0>3}")
}

fn words<const N: usize>(address: LinearAddress) -> Option<[u64; N]> {
    let mut bytes = [[0; 8]; N];
    uaccess::read(address, bytes.as_flattened_mut()).ok()?;
    Some(bytes.map(u64::from_le_bytes))
}

fn numbers32<const N: usize>(address: LinearAddress) -> Option<[u32; N]> {
    let mut bytes = [[0; 4]; N];
    uaccess::read(address, bytes.as_flattened_mut()).ok()?;
    Some(bytes.map(u32::from_le_bytes))
}

fn path(address: LinearAddress) -> Option<String> {
    let path = uaccess::read_path(address).ok()?;
    Some(alloc::format!("\"{}\"", octal(&path)))
}

fn bytes(address: LinearAddress, length: u64, escape: fn(&[u8]) -> String) -> Option<String> {
    let bytes = uaccess::read_vec(address, length.min(SHOWN)).ok()?;
    let more = if length > SHOWN { "..." } else { "" };
    Some(alloc::format!("\"{}\"{more}", escape(&bytes)))
}

/// Text; what cannot be printed in as few octal digits as are clear.
pub(super) fn octal(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, &byte) in bytes.iter().enumerate() {
        let digit_follows = bytes.get(index + 1).is_some_and(u8::is_ascii_digit);
        // Writing to a string cannot fail.
        let _ = match byte {
            b'"' => write!(text, "\\\""),
            b'\\' => write!(text, "\\\\"),
            b'\t' => write!(text, "\\t"),
            b'\n' => write!(text, "\\n"),
            0x0b => write!(text, "\\v"),
            0x0c => write!(text, "\\f"),
            b'\r' => write!(text, "\\r"),
            b' '..=b'~' => write!(text, "{}", char::from(byte)),
            _ if digit_follows => write!(text, "\\{byte:03o}"),
            _ => write!(text, "\\{byte:o}"),
        };
    }
    text
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "\\x{byte:02x}");
    }
    text
}

/// How many entries lie in a buffer of `getdents64`.
fn entries(address: LinearAddress, length: u64) -> Option<String> {
    let bytes = uaccess::read_vec(address, length).ok()?;
    let (mut at, mut count) = (0, 0);
    while let Some([low, high]) = bytes.get(at + 16..).and_then(<[u8]>::first_chunk::<2>) {
        let size = usize::from(u16::from_le_bytes([*low, *high]));
        if size == 0 {
            break;
        }
        at += size;
        count += 1;
    }
    Some(alloc::format!("{:#x} /* {count} entries */", address.0))
}

/// Type and rights of a file: `S_IFREG|0644`.
fn file_mode(mode: u64) -> String {
    let mut text = one(mode & 0o170_000, sets::FILE_TYPE);
    for (bit, name) in sets::MODE_BITS {
        if mode & bit != 0 {
            text.push('|');
            text.push_str(name);
        }
    }
    text.push('|');
    text.push_str(&self::mode(mode & 0o777));
    text
}

/// What strace shows of a file: its size, or which device it is.
fn size_or_device(prefix: &str, mode: u64, size: u64, device: (u64, u64)) -> String {
    match mode & 0o170_000 {
        0o020_000 | 0o060_000 => {
            let (major, minor) = device;
            alloc::format!("{prefix}_rdev=makedev({major:#x}, {minor:#x})")
        }
        _ => alloc::format!("{prefix}_size={size}"),
    }
}

fn stat(address: LinearAddress) -> Option<String> {
    let [_, _, _, mode_user, _, device, size] = words(address)?;
    let mode = mode_user & 0xffff_ffff;
    let device = (
        device >> 8 & 0xfff | device >> 32 & 0xffff_f000,
        device & 0xff | device >> 12 & 0xffff_ff00,
    );
    let rest = size_or_device("st", mode, size, device);
    Some(alloc::format!(
        "{{st_mode={}, {rest}, ...}}",
        file_mode(mode)
    ))
}

fn statx(address: LinearAddress) -> Option<String> {
    let [mask_size, attributes, _, mode, _, size] = words(address)?;
    let [device] = words(LinearAddress(address.0 + 128))?;
    let mode = mode >> 32 & 0xffff;
    let device = (device & 0xffff_ffff, device >> 32);
    let rest = size_or_device("stx", mode, size, device);
    let mask = set(mask_size & 0xffff_ffff, sets::STATX);
    let attributes = set(attributes, &[]);
    Some(alloc::format!(
        "{{stx_mask={mask}, stx_attributes={attributes}, stx_mode={}, {rest}, ...}}",
        file_mode(mode)
    ))
}

fn time(seconds: u64, rest: u64, name: &str) -> String {
    const NOW: u64 = (1 << 30) - 1;
    const OMIT: u64 = (1 << 30) - 2;
    match rest {
        NOW => String::from("UTIME_NOW"),
        OMIT => String::from("UTIME_OMIT"),
        _ => alloc::format!("{{tv_sec={}, {name}={rest}}}", seconds as i64),
    }
}

fn limit(value: u64) -> String {
    match value {
        UNLIMITED => String::from("RLIM64_INFINITY"),
        value if value > 1024 && value.is_multiple_of(1024) => {
            alloc::format!("{}*1024", value / 1024)
        }
        value => alloc::format!("{value}"),
    }
}

fn action(address: LinearAddress) -> Option<String> {
    let [handler, flags, restorer, mask] = words(address)?;
    let field = if flags & 4 != 0 {
        "sa_sigaction"
    } else {
        "sa_handler"
    };
    let handler = match handler {
        0 => String::from("SIG_DFL"),
        1 => String::from("SIG_IGN"),
        _ => alloc::format!("{handler:#x}"),
    };
    let mut text = alloc::format!(
        "{{{field}={handler}, sa_mask={}, sa_flags={}",
        signals(mask),
        set(flags, sets::ACTION)
    );
    if flags & 0x0400_0000 != 0 {
        // Writing to a string cannot fail.
        let _ = write!(text, ", sa_restorer={restorer:#x}");
    }
    text.push('}');
    Some(text)
}

/// A set; when most signals are in it, those that are not.
pub(super) fn signals(set: u64) -> String {
    let inverted = set.count_ones() > 42;
    let shown = if inverted { !set } else { set };
    let numbers = (1..=64).filter(|number| shown >> (number - 1) & 1 != 0);
    let names: Vec<String> = numbers
        .map(|number| match number {
            32 => String::from("RTMIN"),
            33.. => alloc::format!("RT_{}", number - 32),
            _ => String::from(names::signal(number).trim_start_matches("SIG")),
        })
        .collect();
    let mark = if inverted { "~" } else { "" };
    alloc::format!("{mark}[{}]", names.join(" "))
}

fn stack(address: LinearAddress) -> Option<String> {
    let [start, flags, size] = words(address)?;
    let start = match start {
        0 => String::from("NULL"),
        _ => alloc::format!("{start:#x}"),
    };
    let flags = set(flags & 0xffff_ffff, sets::STACK);
    Some(alloc::format!(
        "{{ss_sp={start}, ss_flags={flags}, ss_size={size}}}"
    ))
}

/// A list, of which the first elements are shown.
fn list(count: u64, element: impl Fn(u64) -> Option<String>) -> Option<String> {
    let shown: Option<Vec<String>> = (0..count.min(LIST_MAX)).map(element).collect();
    let more = if count > LIST_MAX { ", ..." } else { "" };
    Some(alloc::format!("[{}{more}]", shown?.join(", ")))
}

fn vectors(address: LinearAddress, count: u64) -> Option<String> {
    list(count, |index| {
        let [base, length] = words(LinearAddress(address.0 + index * 16))?;
        let text = bytes(LinearAddress(base), length, octal);
        let text = text.unwrap_or_else(|| alloc::format!("{base:#x}"));
        Some(alloc::format!("{{iov_base={text}, iov_len={length}}}"))
    })
}

fn polls(address: LinearAddress, count: u64) -> Option<String> {
    list(count, |index| {
        let [fd, events] = numbers32(LinearAddress(address.0 + index * 8))?;
        let events = set(u64::from(events & 0xffff), sets::POLL);
        Some(alloc::format!("{{fd={}, events={events}}}", fd as i32))
    })
}

fn strings(address: LinearAddress) -> Option<String> {
    let count = count_pointers(address)?;
    list(count, |index| {
        let [at] = words(LinearAddress(address.0 + index * 8))?;
        path(LinearAddress(at))
    })
}

fn environment(address: LinearAddress) -> Option<String> {
    let count = count_pointers(address)?;
    Some(alloc::format!("{:#x} /* {count} vars */", address.0))
}

/// How many pointers there are before a null one; a list without an end has as many as
/// anybody would look at.
fn count_pointers(address: LinearAddress) -> Option<u64> {
    for index in 0..4096 {
        let at = address.0.checked_add(index * 8)?;
        let [pointer] = words(LinearAddress(at))?;
        if pointer == 0 {
            return Some(index);
        }
    }
    Some(4096)
}

fn system(address: LinearAddress) -> Option<String> {
    let name = |offset| path(LinearAddress(address.0 + offset));
    Some(alloc::format!(
        "{{sysname={}, nodename={}, ...}}",
        name(0)?,
        name(65)?
    ))
}
