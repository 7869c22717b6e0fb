//! How a machine ended, as an exit status and a sentence.

use std::sync::atomic::Ordering;

use engine_contract::Stop;
use guest_abi::report::{self, ReportPage, TEXT_MAX};
use rustix::io::Errno;

use crate::error::{
    Failure, STATUS_HUSK, STATUS_KILLED, STATUS_NOT_EXECUTABLE, STATUS_NOT_FOUND, say,
};

/// Signals that mean a fault of the program: worth a word, since nobody else says it.
const FAULTS: [u32; 6] = [4, 5, 7, 8, 11, 31];

/// A copy of the report page.
struct Report {
    kind: u32,
    value: u32,
    text: String,
}

fn read(page: &ReportPage) -> Report {
    let kind = page.kind.load(Ordering::Acquire);
    let length = (page.text_length.load(Ordering::Relaxed) as usize).min(TEXT_MAX);
    let bytes: Vec<u8> = page
        .text
        .iter()
        .take(length)
        .map(|byte| byte.load(Ordering::Relaxed))
        .collect();
    // What the guest says goes to a terminal: no control characters.
    let text = String::from_utf8_lossy(&bytes);
    let text = text
        .chars()
        .map(|c| if c.is_control() && c != '\n' { '?' } else { c })
        .collect();
    Report {
        kind,
        value: page.value.load(Ordering::Relaxed),
        text,
    }
}

/// The exit status for how the machine ended, or the sentence to say first.
pub(crate) fn status(
    page: &ReportPage,
    stop: Stop,
    program: &str,
    memory: u64,
) -> Result<u8, Failure> {
    let report = read(page);
    let value = report.value;
    match report.kind {
        _ if stop == Stop::OutOfMemory => Err(out_of_memory(program, memory)),
        report::KIND_EXITED => Ok(exited(value as u8, &report.text, program)),
        report::KIND_SIGNALED => Ok(signaled(value, &report.text, program)),
        report::KIND_NOT_STARTED => Err(not_started(value, report.text)),
        report::KIND_OUT_OF_MEMORY => Err(out_of_memory(program, memory)),
        report::KIND_PANIC => Err(Failure::new(
            "the machine's kernel failed",
            report.text,
            "this is a fault of Husk; please report it",
        )),
        _ if stop == Stop::Halted => Err(Failure::new(
            program,
            "it waits for what cannot come any more",
            "with --deterministic all input is standard input and files",
        )),
        _ => Err(died(stop)),
    }
}

fn out_of_memory(program: &str, memory: u64) -> Failure {
    let why = format!("out of memory: it used all of its {} MiB", memory >> 20);
    Failure {
        status: STATUS_KILLED,
        ..Failure::new(program, why, "give the machine more with --memory")
    }
}

fn exited(status: u8, hint: &str, program: &str) -> u8 {
    if status != 0 && !hint.is_empty() {
        say(&format!("husk: {program}: {}", hint.trim()));
    }
    status
}

fn signaled(number: u32, text: &str, program: &str) -> u8 {
    if FAULTS.contains(&number) {
        say(&format!("husk: {program}: ended by {text}"));
    }
    128 + (number as u8 & 0x7f)
}

fn not_started(errno: u32, text: String) -> Failure {
    if let Some(why) = text.strip_prefix("working directory ") {
        let (what, why) = why.split_once(": ").unwrap_or((why, "cannot be entered"));
        let remedy = "give a directory that exists inside the machine";
        return Failure::new(format_args!("--workdir {what}"), why, remedy);
    }
    let (status, remedy) = match Errno::from_raw_os_error(errno as i32) {
        Errno::NOENT | Errno::NOTDIR => (
            STATUS_NOT_FOUND,
            "check the path; it is looked up inside the machine's root",
        ),
        Errno::ACCESS => (
            STATUS_NOT_EXECUTABLE,
            "it must be a file with execute permission",
        ),
        Errno::ISDIR => (STATUS_NOT_EXECUTABLE, "give a program, not a directory"),
        Errno::TOOBIG => (STATUS_HUSK, "pass fewer arguments, or less environment"),
        _ => (
            STATUS_NOT_EXECUTABLE,
            "give an x86-64 Linux program or a script with a #! line",
        ),
    };
    let (what, why) = text
        .split_once(": ")
        .map_or((text.as_str(), "cannot be started"), |parts| parts);
    Failure {
        status,
        ..Failure::new(what, why, remedy)
    }
}

fn died(stop: Stop) -> Failure {
    match stop {
        Stop::Died {
            signal: Some(signal),
            ..
        } => Failure {
            status: 128 + (signal as u8 & 0x7f),
            ..Failure::new(
                "the machine",
                format_args!("its cell was killed by the host's signal {signal}"),
                "somebody on this host ended it, or the host ran out of memory",
            )
        },
        Stop::Died { status, .. } => Failure::new(
            "the machine",
            format_args!("its cell ended with status {status} before the program did"),
            "`husk engines` shows what this host allows",
        ),
        Stop::TripleFault => Failure::new(
            "the machine",
            "its kernel could not handle an exception (triple fault)",
            "this is a fault of Husk's kernel: please report it",
        ),
        _ => Failure::new("the machine", "it powered off without a report", ""),
    }
}
