//! How the processes of a machine are confined, and what is left when one of them ends.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::machine::{Bench, Running, field, is_gone, last_line, numbers_in, send, status_of};
use crate::{Case, Verdict};

const PROMPT: Duration = Duration::from_secs(5);
/// The capabilities that serving files takes: chown, dac_override, dac_read_search,
/// fowner, fsetid.
const FILE_CAPABILITIES: u64 = 0b1_1111;
/// Namespaces of the cell's own.
const NAMESPACES: [&str; 6] = ["user", "pid", "net", "ipc", "uts", "mnt"];
/// Where the cell may have mappings: stub, kernel, memory, and the program below them.
const TASK_END: u64 = 0x7fff_ffff_f000;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("confined/cell", cell_confined),
        Case::new("confined/monitor", monitor_confined),
        Case::new("ends/monitor-killed", monitor_killed),
        Case::new("ends/cell-killed", cell_killed),
        Case::new("ends/spinning-terminated", spinning_terminated),
        Case::new("ends/over-and-running", over_and_running),
        Case::new("ends/stopped-and-continued", stopped_and_continued),
    ]
}

fn sleeping(bench: &Bench) -> Result<Running> {
    let program = bench.program("sleep")?.display().to_string();
    let mut running = bench.start(&[&program])?;
    running.wait_for("sleeping")?;
    Ok(running)
}

fn cell_confined(bench: &Bench) -> Result<Verdict> {
    let mut running = sleeping(bench)?;
    let cell = running.cell()?;
    check_credentials(cell)?;
    let descriptors = numbers_in(&format!("/proc/{cell}/fd"))?;
    let own = |descriptor: &u32| matches!(descriptor, 3 | 4);
    let (own, others): (Vec<_>, Vec<_>) = descriptors.into_iter().partition(own);
    ensure!(own == [3, 4], "its own descriptors are {own:?}");
    check_files(cell, &others)?;
    let threads = numbers_in(&format!("/proc/{cell}/task"))?;
    ensure!(threads.len() == 1, "it has {} threads", threads.len());
    check_root(cell)?;
    check_mappings(cell)?;
    let missing = shared_namespaces(cell)?;
    ensure!(missing.is_empty(), "it shares our namespaces {missing:?}");
    let figures = "memory, a channel and files to read, one thread, an empty root, six namespaces, no capability";
    Ok(Verdict::Passed(figures.to_owned()))
}

/// Regular files that are open for reading alone.
fn check_files(cell: u32, descriptors: &[u32]) -> Result<()> {
    for descriptor in descriptors {
        let file = format!("/proc/{cell}/fd/{descriptor}");
        ensure!(fs::metadata(&file)?.is_file(), "{file} is no file");
        let facts = fs::read_to_string(format!("/proc/{cell}/fdinfo/{descriptor}"))?;
        let flags = facts.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = u32::from_str_radix(flags.unwrap_or_default().trim(), 8)?;
        ensure!(flags & 3 == 0, "{file} is open with flags {flags:o}");
    }
    Ok(())
}

/// An empty file system that cannot be written, and no other mounted anywhere.
fn check_root(cell: u32) -> Result<()> {
    let root: Vec<_> = fs::read_dir(format!("/proc/{cell}/root"))
        .map(Iterator::collect)
        .unwrap_or_default();
    ensure!(root.is_empty(), "its root holds {root:?}");
    let mounts = fs::read_to_string(format!("/proc/{cell}/mountinfo"))?;
    let mounts: Vec<_> = mounts.lines().collect();
    let is_bare = matches!(mounts[..], [root] if root.contains(" / / ro,nosuid,nodev,noexec"));
    ensure!(is_bare, "its mounts are {mounts:?}");
    Ok(())
}

fn check_credentials(cell: u32) -> Result<()> {
    let status = status_of(cell, None)?;
    for (name, value) in [("Seccomp", "2"), ("NoNewPrivs", "1")] {
        let found = field(&status, name);
        ensure!(found == value, "its {name} is {found}");
    }
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let found = field(&status, name);
        ensure!(found == "0000000000000000", "its {name} is {found}");
    }
    Ok(())
}

/// Every mapping is the machine's memory, the stub or the kernel's image, which nobody can
/// write: nothing of the host's is left.
fn check_mappings(cell: u32) -> Result<()> {
    for line in fs::read_to_string(format!("/proc/{cell}/maps"))?.lines() {
        let end = line.split(['-', ' ']).nth(1).context("a range")?;
        if u64::from_str_radix(end, 16)? > TASK_END {
            continue; // the vsyscall page, which is in every process and not mapped in it
        }
        let name = line.split_whitespace().nth(5).unwrap_or("");
        let stub = line.starts_with("7000");
        let memory = name.starts_with("/#") || name.contains("husk-memory");
        let rights = line.split_whitespace().nth(1).unwrap_or("");
        let image = line.starts_with("7010") && name.ends_with("/husk") && !rights.contains('w');
        let file = name.starts_with('/') && !rights.contains('w') && rights.ends_with('s');
        ensure!(stub || memory || image || file, "it maps {line}");
    }
    Ok(())
}

fn shared_namespaces(cell: u32) -> Result<Vec<&'static str>> {
    let of = |id: &str, name: &str| fs::read_link(format!("/proc/{id}/ns/{name}"));
    let mut shared = Vec::new();
    for name in NAMESPACES {
        if of("self", name)? == of(&cell.to_string(), name)? {
            shared.push(name);
        }
    }
    Ok(shared)
}

fn monitor_confined(bench: &Bench) -> Result<Verdict> {
    let mut running = sleeping(bench)?;
    running.cell()?;
    let threads = numbers_in(&format!("/proc/{}/task", running.id()))?;
    for &thread in &threads {
        let status = status_of(running.id(), Some(thread))?;
        let name = field(&status, "Name");
        for (what, value) in [("Seccomp", "2"), ("NoNewPrivs", "1")] {
            let found = field(&status, what);
            ensure!(found == value, "{what} of thread {name} is {found}");
        }
        for what in ["CapEff", "CapPrm", "CapInh"] {
            let capabilities = u64::from_str_radix(field(&status, what), 16)?;
            let beyond = capabilities & !FILE_CAPABILITIES;
            ensure!(beyond == 0, "{what} of thread {name} has {beyond:#x} too");
        }
    }
    let figures = format!(
        "{} threads, each filtered and without privileges",
        threads.len()
    );
    Ok(Verdict::Passed(figures))
}

/// What of Husk's the host has: mounts, shared memory files, temporary files.
fn leftovers(bench: &Bench) -> BTreeSet<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: BTreeSet<String> = mounts.lines().map(str::to_owned).collect();
    let temporary = bench.husk.with_file_name(".");
    for folder in [Path::new("/dev/shm"), &std::env::temp_dir(), &temporary] {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.path().display().to_string());
        found.extend(
            names.filter(|name| name.contains("husk-memory") || name.contains("husk-cell")),
        );
    }
    found
}

fn monitor_killed(bench: &Bench) -> Result<Verdict> {
    let before = leftovers(bench);
    let mut running = sleeping(bench)?;
    let cell = running.cell()?;
    let during: Vec<_> = leftovers(bench).difference(&before).cloned().collect();
    running.signal(Signal::KILL)?;
    let start = Instant::now();
    running.end_within(PROMPT)?;
    while !is_gone(cell) {
        ensure!(
            start.elapsed() < PROMPT,
            "the cell has outlived its monitor"
        );
        sleep(Duration::from_millis(1));
    }
    let gone = start.elapsed();
    let after: Vec<_> = leftovers(bench).difference(&before).cloned().collect();
    ensure!(after.is_empty(), "left behind: {after:?}");
    Ok(Verdict::Passed(format!(
        "the cell was gone after {gone:?}; nothing is left ({} things while it ran)",
        during.len()
    )))
}

fn cell_killed(bench: &Bench) -> Result<Verdict> {
    let mut running = sleeping(bench)?;
    send(running.cell()?, Signal::KILL)?;
    let ended = running.end_within(PROMPT)?;
    let said = last_line(&ended.stderr);
    let right = ended.status == 137 && said.starts_with("husk: ") && said.contains("signal 9");
    ensure!(right, "status {}: {said:?}", ended.status);
    Ok(Verdict::Passed(format!("status 137, {said}")))
}

/// Whoever says that the machine is over has no machine any more.
fn over_and_running(bench: &Bench) -> Result<Verdict> {
    let program = bench.program("over")?.display().to_string();
    let mut running = bench.start(&[&program])?;
    running.wait_for("running")?;
    let ended = running.end_within(PROMPT)?;
    let said = last_line(&ended.stderr);
    let right = ended.status == 137 && said.starts_with("husk: ");
    ensure!(right, "status {}: {said:?}", ended.status);
    Ok(Verdict::Passed(format!("status 137, {said}")))
}

/// A program that never calls anybody is reached by a signal all the same.
fn spinning_terminated(bench: &Bench) -> Result<Verdict> {
    let program = bench.program("spin")?.display().to_string();
    let mut running = bench.start(&[&program])?;
    running.wait_for("spinning")?;
    let start = Instant::now();
    running.signal(Signal::TERM)?;
    let ended = running.end_within(PROMPT).context("after SIGTERM")?;
    ensure!(ended.status == 143, "status {}", ended.status);
    Ok(Verdict::Passed(format!(
        "status 143 after {:?}",
        start.elapsed()
    )))
}

/// Ctrl-Z, `fg`, Ctrl-C.
fn stopped_and_continued(bench: &Bench) -> Result<Verdict> {
    let program = bench.program("spin")?.display().to_string();
    let mut running = bench.start(&[&program])?;
    running.wait_for("spinning")?;
    let cell = running.cell()?;
    running.signal(Signal::TSTP)?;
    for process in [running.id(), cell] {
        wait_for_state(process, "T").context("after SIGTSTP")?;
    }
    running.signal(Signal::CONT)?;
    wait_for_state(cell, "R").context("after SIGCONT")?;
    running.signal(Signal::INT)?;
    let ended = running.end_within(PROMPT).context("after SIGINT")?;
    ensure!(ended.status == 130, "status {}", ended.status);
    Ok(Verdict::Passed(
        "both processes stop and go on, status 130".to_owned(),
    ))
}

fn wait_for_state(process: u32, state: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        let status = status_of(process, None)?;
        let found = field(&status, "State");
        if found.starts_with(state) {
            return Ok(());
        }
        ensure!(start.elapsed() < PROMPT, "process {process} is {found}");
        sleep(Duration::from_millis(5));
    }
}
