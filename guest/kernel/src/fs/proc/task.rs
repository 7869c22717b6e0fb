//! What `/proc` says of a thread, and of the process by its first thread: `stat`, `status`, `comm`.
//! `/proc/self/task`, with a directory for each thread.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;

use guest_hal::{LinearAddress, report};
use linux_raw_sys::general as raw;

use super::memory;
use super::process::owned;
use crate::fs::file::File;
use crate::fs::inode::{Directory, Found, Inode, Record};
use crate::fs::metadata::{FileKind, Metadata};
use crate::fs::pseudo::{TextFile, Tree, metadata};
use crate::process::current;
use crate::thread::{self, Thread};
use crate::{Errno, Result, sched};

/// Writing to a string does not fail.
const WRITES: &str = "a string takes everything";
/// All capabilities a container's root has.
const ALL: u64 = 0x1ff_ffff_ffff;

/// Of whom a file speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The process, as its first thread stands for it.
    Process,
    /// One thread, by number.
    Thread(u32),
}

type Say = fn(Subject, &Thread) -> Vec<u8>;

/// What is different for each thread.
const FILES: [(&str, Say); 3] = [
    ("stat", statistics),
    ("status", status),
    ("schedstat", schedule_statistics),
];

impl Subject {
    /// The thread; of a process whose first thread has ended, the one that asks.
    fn thread(self) -> Result<Arc<Thread>> {
        match self {
            Self::Thread(tid) => current().thread(tid).ok_or(Errno::ESRCH),
            Self::Process => {
                let first = current().thread(current().pid);
                Ok(first.unwrap_or_else(thread::current))
            }
        }
    }

    fn file(self, device: u64, say: Say) -> Arc<dyn Inode> {
        let text = move || Ok(say(self, &*self.thread()?));
        TextFile::new(device, 0o444, Box::new(text))
    }

    fn comm(self, device: u64) -> Arc<dyn Inode> {
        let text = move || {
            let mut name = self.thread()?.name.lock().clone();
            name.push(b'\n');
            Ok(name)
        };
        let taker = move |text: &[u8]| {
            let name = text.iter().copied().take(15).take_while(|&byte| byte != 0);
            *self.thread()?.name.lock() = name.collect();
            Ok(())
        };
        // It belongs to root here, and its process may write it whoever that is.
        TextFile::writable(device, 0o666, Box::new(text), Box::new(taker))
    }

    fn own_file(self, device: u64, name: &[u8]) -> Option<Arc<dyn Inode>> {
        if name == b"comm" {
            return Some(self.comm(device));
        }
        let mut files = FILES.iter();
        let (_, say) = files.find(|(known, _)| known.as_bytes() == name)?;
        Some(self.file(device, *say))
    }
}

/// Adds what is different for each thread, of the process.
pub(super) fn fill(tree: Tree, device: u64) -> Tree {
    let tree = tree.with("comm", Subject::Process.comm(device));
    let add =
        |tree: Tree, (name, say): (&str, Say)| tree.with(name, Subject::Process.file(device, say));
    FILES.into_iter().fold(tree, add)
}

/// `task`: a directory with one for each thread.
#[derive(Debug)]
pub(super) struct Tasks {
    metadata: Metadata,
    /// What is the same for all threads.
    shared: Arc<Tree>,
}

impl Tasks {
    pub(super) fn new(device: u64, shared: Tree) -> Arc<Self> {
        Arc::new(Self {
            metadata: metadata(device, raw::S_IFDIR | 0o555),
            shared: Arc::new(shared),
        })
    }
}

impl Inode for Tasks {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(Metadata {
            links: 2 + current().threads.lock().len() as u32,
            ..owned(self.metadata)
        })
    }

    fn open(self: Arc<Self>, _: u32) -> Result<Arc<dyn File>> {
        Err(Errno::EISDIR)
    }

    fn as_directory(&self) -> Option<&dyn Directory> {
        Some(self)
    }
}

impl Directory for Tasks {
    fn lookup(&self, name: &[u8]) -> Result<Found> {
        let tid = super::descriptors::number(name).map(i32::cast_unsigned);
        let tid = tid.filter(|&tid| current().thread(tid).is_some());
        let task = |tid| {
            Arc::new(Task {
                metadata: metadata(self.metadata.device, raw::S_IFDIR | 0o555),
                subject: Subject::Thread(tid),
                shared: self.shared.clone(),
            }) as Arc<dyn Inode>
        };
        Ok(Found::just_now(tid.map(task)))
    }

    fn list(&self) -> Result<Vec<Record>> {
        let threads = current().threads.lock();
        let record = |&tid: &u32| Record {
            number: self.metadata.number + u64::from(tid),
            kind: FileKind::Directory,
            name: format!("{tid}").into_bytes().into_boxed_slice(),
        };
        Ok(threads.keys().map(record).collect())
    }
}

/// The directory of a thread.
#[derive(Debug)]
struct Task {
    metadata: Metadata,
    subject: Subject,
    shared: Arc<Tree>,
}

impl Inode for Task {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(Metadata {
            links: self.shared.metadata()?.links,
            ..owned(self.metadata)
        })
    }

    fn open(self: Arc<Self>, _: u32) -> Result<Arc<dyn File>> {
        Err(Errno::EISDIR)
    }

    fn as_directory(&self) -> Option<&dyn Directory> {
        Some(self)
    }
}

impl Directory for Task {
    fn lookup(&self, name: &[u8]) -> Result<Found> {
        match self.subject.own_file(self.metadata.device, name) {
            Some(own) => Ok(Found::just_now(Some(own))),
            None => self.shared.lookup(name),
        }
    }

    fn list(&self) -> Result<Vec<Record>> {
        // The tree has the process's files under the same names.
        self.shared.list()
    }
}

/// In ticks of a hundredth of a second, as `/proc` has time.
fn ticks(nanos: guest_hal::Nanos) -> u64 {
    nanos.0 / 10_000_000
}

/// The letter of a thread's state: who asks runs.
fn letter(thread: &Thread) -> char {
    if thread::current().tid == thread.tid {
        'R'
    } else {
        thread.scheduling.lock().letter()
    }
}

fn page_faults() -> u64 {
    let counters = report::counters();
    counters
        .page_faults
        .load(core::sync::atomic::Ordering::Relaxed)
}

fn statistics(subject: Subject, thread: &Thread) -> Vec<u8> {
    let process = current();
    let sizes = memory::Sizes::measure();
    let program = process.program.lock().clone();
    let (user, number, signal) = match subject {
        Subject::Process => (crate::time::processor(), process.pid, 17),
        Subject::Thread(tid) => (sched::ran(thread), tid, -1),
    };
    let user = ticks(user);
    let started = ticks(thread.started);
    let said = thread.scheduling();
    let real_time = i32::from(said.priority);
    let priority = match said.is_real_time {
        true => -1 - real_time,
        false => 20 + i32::from(said.nice),
    };
    let bounds = |(start, length): (LinearAddress, u64)| (start.0, start.0.saturating_add(length));
    let (arg_start, arg_end) = bounds(program.arguments);
    let (env_start, env_end) = bounds(program.environment);
    let (brk, _) = process.memory.lock().brk_range();
    let mut out = format!("{number} (").into_bytes();
    out.extend_from_slice(&thread.name.lock());
    let rest = format!(
        ") {letter} 0 {pid} {pid} 0 -1 4194304 {faults} 0 0 0 {user} 0 0 0 {priority} {nice} \
         {threads} 0 {started} {bytes} {resident} 18446744073709551615 {code} {code_end} {stack} \
         0 0 0 0 0 0 0 0 0 {signal} {vcpu} {real_time} {policy} 0 0 0 {code_end} {brk} {brk} \
         {arg_start} {arg_end} {env_start} {env_end} 0\n",
        letter = letter(thread),
        pid = process.pid,
        faults = page_faults(),
        nice = said.nice,
        threads = process.threads.lock().len(),
        bytes = sizes.bytes,
        resident = sizes.resident / 4096,
        code = sizes.code_start,
        code_end = sizes.code_end,
        stack = program.stack,
        vcpu = thread.scheduling.lock().vcpu(),
        policy = said.policy as u32,
    );
    out.extend_from_slice(rest.as_bytes());
    out
}

/// How long it ran, how long it waited for that, how often.
fn schedule_statistics(_: Subject, thread: &Thread) -> Vec<u8> {
    let (voluntary, forced) = thread.switches();
    let runs = 1 + voluntary + forced;
    format!("{} 0 {runs}\n", sched::ran(thread).0).into_bytes()
}

fn status(subject: Subject, thread: &Thread) -> Vec<u8> {
    let process = current();
    let mut out = String::new();
    let name = thread.name.lock().clone();
    let name = name.escape_ascii();
    let umask = process.fs.lock().umask;
    let pid = process.pid;
    let number = match subject {
        Subject::Process => pid,
        Subject::Thread(tid) => tid,
    };
    let state = match letter(thread) {
        'S' => "S (sleeping)",
        _ => "R (running)",
    };
    write!(
        out,
        "Name:\t{name}\nUmask:\t{umask:04o}\nState:\t{state}\nTgid:\t{pid}\nNgid:\t0\n\
         Pid:\t{number}\nPPid:\t0\nTracerPid:\t0\n"
    )
    .expect(WRITES);
    status_of_owner(&mut out, number);
    memory::status(&mut out);
    status_of_signals(&mut out, thread);
    let is_root = process.credentials.lock().is_root();
    let (capabilities, none) = (if is_root { ALL } else { 0 }, 0);
    let allowed = thread.scheduling().affinity & super::system::cpu_mask();
    let (voluntary, forced) = thread.switches();
    write!(
        out,
        "CapInh:\t{none:016x}\nCapPrm:\t{capabilities:016x}\nCapEff:\t{capabilities:016x}\n\
         CapBnd:\t{ALL:016x}\nCapAmb:\t{none:016x}\nNoNewPrivs:\t0\nSeccomp:\t0\n\
         Seccomp_filters:\t0\nSpeculation_Store_Bypass:\tvulnerable\n\
         SpeculationIndirectBranch:\talways enabled\nCpus_allowed:\t{allowed:x}\n\
         Cpus_allowed_list:\t{list}\nMems_allowed:\t1\nMems_allowed_list:\t0\n\
         voluntary_ctxt_switches:\t{voluntary}\nnonvoluntary_ctxt_switches:\t{forced}\n",
        list = bit_list(allowed),
    )
    .expect(WRITES);
    out.into_bytes()
}

/// The numbers of the bits of a mask, as ranges.
fn bit_list(mask: u64) -> String {
    let has = |bit: u32| bit < 64 && mask >> bit & 1 != 0;
    let mut out = String::new();
    let mut bit = 0;
    while bit < 64 {
        let start = bit;
        while has(bit) {
            bit += 1;
        }
        if bit > start {
            let separator = if out.is_empty() { "" } else { "," };
            write!(out, "{separator}{start}").expect(WRITES);
        }
        if bit > start + 1 {
            write!(out, "-{}", bit - 1).expect(WRITES);
        }
        bit += 1;
    }
    out
}

fn status_of_owner(out: &mut String, number: u32) {
    let process = current();
    let pid = process.pid;
    let credentials = process.credentials.lock().clone();
    for (label, [real, effective, saved]) in [("Uid", credentials.uid), ("Gid", credentials.gid)] {
        writeln!(out, "{label}:\t{real}\t{effective}\t{saved}\t{effective}").expect(WRITES);
    }
    let room = process.files.lock().capacity();
    write!(out, "FDSize:\t{room}\nGroups:\t").expect(WRITES);
    for group in &credentials.groups {
        write!(out, "{group} ").expect(WRITES);
    }
    write!(
        out,
        "\nNStgid:\t{pid}\nNSpid:\t{number}\nNSpgid:\t{pid}\nNSsid:\t{pid}\nKthread:\t0\n"
    )
    .expect(WRITES);
}

fn status_of_signals(out: &mut String, thread: &Thread) {
    let process = current();
    let threads = process.threads.lock().len().max(1);
    let own = thread.signals.lock();
    let signals = process.signals.lock();
    let (mut ignored, mut caught) = (0, 0);
    for signal in 1..=crate::signal::COUNT {
        let bit = 1u64 << (signal - 1);
        match signals.action(signal).handler {
            0 => {}
            1 => ignored |= bit,
            _ => caught |= bit,
        }
    }
    write!(
        out,
        "Threads:\t{threads}\nSigQ:\t0/96365\nSigPnd:\t{:016x}\nShdPnd:\t{:016x}\n\
         SigBlk:\t{:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n",
        own.pending.mask(),
        signals.pending.mask(),
        own.blocked(),
    )
    .expect(WRITES);
}

#[cfg(test)]
mod tests {
    use super::bit_list;

    #[test]
    fn bits_are_shown_as_ranges() {
        for (mask, list) in [
            (0, ""),
            (1, "0"),
            (0b1101, "0,2-3"),
            (1 << 63 | 2, "1,63"),
            (u64::MAX, "0-63"),
        ] {
            assert_eq!(bit_list(mask), list);
        }
    }
}
