//! `/proc/self`.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;

use guest_hal::LinearAddress;
use linux_raw_sys::general as raw;

use super::{descriptors, memory};
use crate::fs::caller::Caller;
use crate::fs::entry::Location;
use crate::fs::file::File;
use crate::fs::inode::{Inode, Link};
use crate::fs::metadata::{FileKind, Metadata};
use crate::fs::mount::{self, Mount, MountFlags};
use crate::fs::pseudo::{Taker, TextFile, Tree, metadata};
use crate::fs::walk::Follow;
use crate::process::current;
use crate::thread;
use crate::{Errno, Result, uaccess};

/// A link that leads to a place without regard to its text.
pub(super) struct PlaceLink {
    metadata: Metadata,
    place: Box<dyn Fn() -> Result<Location> + Send + Sync>,
}

impl core::fmt::Debug for PlaceLink {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PlaceLink").finish_non_exhaustive()
    }
}

impl PlaceLink {
    pub(super) fn new(
        device: u64,
        permissions: u32,
        place: impl Fn() -> Result<Location> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let metadata = Metadata {
            size: 64,
            ..metadata(device, raw::S_IFLNK | permissions)
        };
        Arc::new(Self {
            metadata,
            place: Box::new(place),
        })
    }
}

impl Inode for PlaceLink {
    fn kind(&self) -> FileKind {
        FileKind::Link
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(owned(self.metadata))
    }

    fn open(self: Arc<Self>, _: u32) -> Result<Arc<dyn File>> {
        Err(Errno::ELOOP)
    }

    fn as_link(&self) -> Option<&dyn Link> {
        Some(self)
    }
}

impl Link for PlaceLink {
    fn target(&self) -> Result<Vec<u8>> {
        Ok((self.place)()?.path(&Caller::current().root))
    }

    fn jump(&self) -> Option<Result<Location>> {
        Some((self.place)())
    }
}

/// Metadata of what belongs to the process.
pub(super) fn owned(metadata: Metadata) -> Metadata {
    let credentials = current().credentials.lock();
    Metadata {
        uid: credentials.euid(),
        gid: credentials.egid(),
        ..metadata
    }
}

/// A file with text that only the process's own user reads, if `permissions` say so: there
/// is no other user in the machine, so they are widened to all.
fn text(device: u64, text: fn() -> Vec<u8>) -> Arc<TextFile> {
    TextFile::new(device, 0o444, Box::new(move || Ok(text())))
}

fn writable(device: u64, text: fn() -> Vec<u8>, taker: Taker) -> Arc<TextFile> {
    TextFile::writable(device, 0o666, Box::new(move || Ok(text())), taker)
}

/// The directory.
pub(super) fn directory(device: u64) -> Tree {
    let task = common(Tree::new(device));
    let numbered = Tree::new(device).with(&super_pid(), Arc::new(task));
    common(Tree::new(device))
        .with("task", Arc::new(numbered))
        .directory("net", super::system::network)
}

/// The first process's number.
fn super_pid() -> String {
    String::from("1")
}

fn common(tree: Tree) -> Tree {
    let device = tree.metadata().map_or(0, |metadata| metadata.device);
    let program = |path: fn() -> Result<Location>| PlaceLink::new(device, 0o777, path);
    tree.with("exe", program(executable))
        .with("cwd", program(|| Ok(Caller::current().cwd)))
        .with("root", program(|| Ok(Caller::current().root)))
        .with("fd", descriptors::links(device))
        .with("fdinfo", descriptors::information(device))
        .with("comm", writable(device, command, set_command))
        .with(
            "oom_score_adj",
            writable(device, || b"0\n".into(), |_| Ok(())),
        )
        .with("oom_adj", writable(device, || b"0\n".into(), |_| Ok(())))
        .with(
            "coredump_filter",
            writable(device, || b"00000033\n".into(), |_| Ok(())),
        )
        .with(
            "timerslack_ns",
            writable(device, || b"50000\n".into(), |_| Ok(())),
        )
        .with("clear_refs", writable(device, Vec::new, |_| Ok(())))
        .with("cmdline", text(device, command_line))
        .with("environ", text(device, environment))
        .with(
            "auxv",
            text(device, || current().program.lock().auxiliary.clone()),
        )
        .file("stat", statistics)
        .file("status", status)
        .file("statm", memory::pages)
        .file("maps", memory::maps)
        .file("smaps", memory::detailed)
        .file("smaps_rollup", memory::rollup)
        .file("mounts", mounts)
        .file("mountinfo", mount_information)
        .file("limits", limits)
        .file("io", input_output)
        .file("uid_map", || b"         0          0 4294967295\n".into())
        .file("gid_map", || b"         0          0 4294967295\n".into())
        .fixed("cgroup", "0::/\n")
        .fixed("cpuset", "/\n")
        .fixed("loginuid", "4294967295")
        .fixed("sessionid", "4294967295")
        .fixed("personality", "00000000\n")
        .fixed("oom_score", "0\n")
        .fixed("setgroups", "allow\n")
        .fixed("wchan", "0")
        .fixed("syscall", "running\n")
        .fixed("schedstat", "0 0 0\n")
        .fixed("numa_maps", "")
        .fixed("stack", "")
}

fn executable() -> Result<Location> {
    let path = current().program.lock().path.clone();
    Caller::current().find(&path, Follow::Yes)
}

fn command() -> Vec<u8> {
    let mut name = current().program.lock().name.clone();
    name.push(b'\n');
    name
}

fn set_command(text: &[u8]) -> Result<()> {
    let name: Vec<u8> = text
        .iter()
        .copied()
        .take_while(|&byte| byte != b'\n')
        .take(15)
        .collect();
    current().program.lock().name = name;
    Ok(())
}

fn strings((start, length): (LinearAddress, u64)) -> Vec<u8> {
    uaccess::read_vec(start, length).unwrap_or_default()
}

fn command_line() -> Vec<u8> {
    let place = current().program.lock().arguments;
    strings(place)
}

fn environment() -> Vec<u8> {
    let place = current().program.lock().environment;
    strings(place)
}

/// In ticks of a hundredth of a second, as `/proc` has time.
fn ticks(nanos: guest_hal::Nanos) -> u64 {
    nanos.0 / 10_000_000
}

fn statistics() -> Vec<u8> {
    let process = current();
    let sizes = memory::Sizes::measure();
    let program = process.program.lock().clone();
    let user = ticks(crate::time::processor());
    let started = ticks(crate::time::start());
    let name = program.name.escape_ascii();
    let (stack, virtual_bytes, resident) = (program.stack, sizes.bytes, sizes.resident / 4096);
    let (arguments, environment) = (program.arguments, program.environment);
    let bounds = |(start, length): (LinearAddress, u64)| (start.0, start.0.saturating_add(length));
    let (arg_start, arg_end) = bounds(arguments);
    let (env_start, env_end) = bounds(environment);
    let (brk, _) = process.memory.lock().brk_range();
    format!(
        "{pid} ({name}) R 0 {pid} {pid} 0 -1 4194304 0 0 0 0 {user} 0 0 0 20 0 1 0 {started} \
         {virtual_bytes} {resident} 18446744073709551615 {code} {code_end} {stack} 0 0 0 0 0 0 \
         0 0 0 17 0 0 0 0 0 0 {code_end} {brk} {brk} {arg_start} {arg_end} {env_start} \
         {env_end} 0\n",
        pid = process.pid,
        code = sizes.code_start,
        code_end = sizes.code_end,
    )
    .into_bytes()
}

/// Writing to a string does not fail.
const WRITES: &str = "a string takes everything";

fn status() -> Vec<u8> {
    let process = current();
    let mut out = String::new();
    let name = process.program.lock().name.clone();
    let umask = process.fs.lock().umask;
    let pid = process.pid;
    let name = name.escape_ascii();
    write!(
        out,
        "Name:\t{name}\nUmask:\t{umask:04o}\nState:\tR (running)\nTgid:\t{pid}\nNgid:\t0\n\
         Pid:\t{pid}\nPPid:\t0\nTracerPid:\t0\n"
    )
    .expect(WRITES);
    status_of_owner(&mut out);
    memory::status(&mut out);
    status_of_signals(&mut out);
    let (capabilities, all) = (
        if process.credentials.lock().is_root() {
            ALL
        } else {
            0
        },
        0,
    );
    write!(
        out,
        "CapInh:\t{all:016x}\nCapPrm:\t{capabilities:016x}\nCapEff:\t{capabilities:016x}\n\
         CapBnd:\t{ALL:016x}\nCapAmb:\t{all:016x}\nNoNewPrivs:\t0\nSeccomp:\t0\n\
         Seccomp_filters:\t0\nSpeculation_Store_Bypass:\tvulnerable\n\
         SpeculationIndirectBranch:\talways enabled\nCpus_allowed:\t{cpus:x}\n\
         Cpus_allowed_list:\t{list}\nMems_allowed:\t1\nMems_allowed_list:\t0\n\
         voluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n",
        cpus = super::system::cpu_mask(),
        list = super::system::cpu_list(),
    )
    .expect(WRITES);
    out.into_bytes()
}

/// All capabilities a container's root has.
const ALL: u64 = 0x1ff_ffff_ffff;

fn status_of_owner(out: &mut String) {
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
        "\nNStgid:\t{pid}\nNSpid:\t{pid}\nNSpgid:\t{pid}\nNSsid:\t{pid}\nKthread:\t0\n"
    )
    .expect(WRITES);
}

fn status_of_signals(out: &mut String) {
    let process = current();
    let threads = process.threads.lock().len().max(1);
    let own = thread::current();
    let own = own.signals.lock();
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

fn flag_names(flags: MountFlags) -> String {
    let mut names = String::from(if flags.read_only { "ro" } else { "rw" });
    for (set, name) in [
        (flags.no_suid, ",nosuid"),
        (flags.no_dev, ",nodev"),
        (flags.no_exec, ",noexec"),
    ] {
        if set {
            names.push_str(name);
        }
    }
    names.push_str(",relatime");
    names
}

/// Where a mount is, with spaces and the like in octal.
fn mount_point(mount: &Arc<Mount>) -> String {
    let root = Caller::current().root;
    let at = Location {
        mount: mount.clone(),
        entry: mount.root.clone(),
    };
    let mut out = String::new();
    for byte in at.path(&root) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => write!(out, "\\{byte:03o}").expect(WRITES),
            _ => out.push(char::from(byte)),
        }
    }
    out
}

fn mounts() -> Vec<u8> {
    let mut out = String::new();
    for mount in mount::all() {
        let kind = mount.file_system.name();
        let (place, flags) = (mount_point(&mount), flag_names(mount.flags));
        writeln!(out, "{} {place} {kind} {flags} 0 0", mount.source).expect(WRITES);
    }
    out.into_bytes()
}

fn mount_information() -> Vec<u8> {
    let mut out = String::new();
    for mount in mount::all() {
        let parent = mount.place().map_or(1, |place| place.mount.id);
        let device = mount
            .root
            .inode()
            .metadata()
            .map_or(0, |metadata| metadata.device);
        let kind = mount.file_system.name();
        let (place, flags) = (mount_point(&mount), flag_names(mount.flags));
        let access = if mount.flags.read_only { "ro" } else { "rw" };
        let (major, minor) = (device >> 8, device & 0xff);
        writeln!(
            out,
            "{} {parent} {major}:{minor} / {place} {flags} - {kind} {} {access}",
            mount.id, mount.source
        )
        .expect(WRITES);
    }
    out.into_bytes()
}

/// The limits in the order of their numbers, with their units.
const LIMITS: [(&str, &str); 16] = [
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
];

fn limits() -> Vec<u8> {
    let mut out = format!(
        "{:<26}{:<21}{:<21}{:<10}\n",
        "Limit", "Soft Limit", "Hard Limit", "Units"
    );
    let values = *current().limits.lock();
    let show = |value: u64| {
        if value == u64::MAX {
            String::from("unlimited")
        } else {
            format!("{value}")
        }
    };
    for ((name, unit), (soft, hard)) in LIMITS.into_iter().zip(values) {
        writeln!(
            out,
            "{name:<26}{:<21}{:<21}{unit:<10}",
            show(soft),
            show(hard)
        )
        .expect(WRITES);
    }
    out.into_bytes()
}

fn input_output() -> Vec<u8> {
    let names = [
        "rchar",
        "wchar",
        "syscr",
        "syscw",
        "read_bytes",
        "write_bytes",
        "cancelled_write_bytes",
    ];
    let mut out = String::new();
    for name in names {
        writeln!(out, "{name}: 0").expect(WRITES);
    }
    out.into_bytes()
}
