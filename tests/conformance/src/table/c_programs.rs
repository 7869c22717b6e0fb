//! C programs of our own (`programs/*.c`): what the system-call interface promises, line by line.

use crate::case::Case;

const PIE: &[&str] = &["-pie", "-fPIE"];
const NO_PIE: &[&str] = &["-no-pie", "-fno-pie"];
const STATIC: &[&str] = &["-static", "-no-pie", "-fno-pie"];
const STATIC_PIE: &[&str] = &["-static-pie", "-fPIE"];

/// Every way a program can be linked.
const LINKS: [(&str, &[&str]); 4] = [
    ("pie", PIE),
    ("no-pie", NO_PIE),
    ("static", STATIC),
    ("static-pie", STATIC_PIE),
];

/// Programs about starting: built in all four ways.
const STARTING: &[&str] = &["hello", "start", "tls", "signals_basic"];

/// All others: dynamic and static.
const OTHERS: &[&str] = &[
    "access",
    "at_calls",
    "big_frames",
    "brk",
    "clocks",
    "cwd",
    "directories",
    "fcntl",
    "fpu_state",
    "identity",
    "io_vectors",
    "links",
    "longjmp",
    "madvise",
    "memory_mix",
    "mmap_anonymous",
    "mapped_library",
    "mmap_file",
    "mprotect",
    "mremap",
    "open_flags",
    "own_pidfd",
    "pipes",
    "poll",
    "rename",
    "sigaltstack",
    "sigframe",
    "signal_masks",
    "size_limit",
    "sparse",
    "stack_overflow",
    "stat",
    "syscall_conventions",
    "timers",
    "truncate",
    "utimes",
];

/// About threads: dynamic with one virtual CPU and with two, static with two.
const THREADED: &[&str] = &[
    "barriers",
    "epolls",
    "futexes",
    "inotify",
    "net_files",
    "owned_futexes",
    "reuse_port",
    "rseqs",
    "schedules",
    "signal_files",
    "shootdown",
    "thread_files",
    "thread_signals",
    "threads",
    "unix_sockets",
    "watches",
];

/// Ways to end: the program's argument and nothing else decides. All end with another status
/// than 0.
const ENDS: &[&str] = &[
    "segv",
    "segv-write",
    "segv-exec",
    "fpe",
    "ill",
    "abort",
    "trap",
    "bus",
    "alarm",
    "term",
    "kill",
    "pipe",
    "hup",
    "usr1",
    "exit-7",
    "exit-256",
    "quick-exit",
    "raw-exit",
    "overflow",
    "vtalrm",
    "noncanonical",
    "privileged",
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (link, flags) in LINKS {
        cases.extend(STARTING.iter().map(|program| built(program, link, flags)));
    }
    for (link, flags) in [LINKS[0], LINKS[2]] {
        cases.extend(OTHERS.iter().map(|program| built(program, link, flags)));
        cases.extend(ENDS.iter().map(|end| ending(end, link, flags)));
    }
    for program in THREADED {
        cases.push(threaded(program, LINKS[0], 1));
        cases.push(threaded(program, LINKS[0], 2));
        cases.push(threaded(program, LINKS[2], 2));
    }
    cases
}

fn threaded(
    program: &'static str,
    (link, flags): (&str, &'static [&'static str]),
    cpus: u32,
) -> Case {
    let case = Case::c(&format!("c/{program}/{link}-{cpus}"), program, flags).cpus(cpus);
    // The first one's threads are ended by the end of the process; the other gives a wrong
    // signature last.
    if matches!(program, "threads" | "rseqs") {
        case.fails()
    } else {
        case
    }
}

fn built(program: &'static str, link: &str, flags: &'static [&'static str]) -> Case {
    Case::c(&format!("c/{program}/{link}"), program, flags)
}

fn ending(end: &str, link: &str, flags: &'static [&'static str]) -> Case {
    let case = Case::c(&format!("c/end-{end}/{link}"), "ends", flags).argument(end);
    if end == "exit-256" {
        case
    } else {
        case.fails()
    }
}
