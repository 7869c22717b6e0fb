//! `/proc/self`.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;

use guest_hal::LinearAddress;
use linux_raw_sys::general as raw;

use super::{descriptors, memory, task};
use crate::fs::caller::Caller;
use crate::fs::entry::Location;
use crate::fs::file::File;
use crate::fs::inode::{Inode, Link};
use crate::fs::metadata::{FileKind, Metadata};
use crate::fs::mount::{self, Mount, MountFlags};
use crate::fs::pseudo::{TextFile, Tree, metadata};
use crate::fs::walk::Follow;
use crate::process::current;
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

fn writable(device: u64, text: fn() -> Vec<u8>, taker: fn(&[u8]) -> Result<()>) -> Arc<TextFile> {
    TextFile::writable(device, 0o666, Box::new(move || Ok(text())), Box::new(taker))
}

/// The directory.
pub(super) fn directory(device: u64) -> Tree {
    common(Tree::new(device))
        .with("task", task::Tasks::new(device, common(Tree::new(device))))
        .directory("net", super::network::fill)
}

fn common(tree: Tree) -> Tree {
    let device = tree.metadata().map_or(0, |metadata| metadata.device);
    let program = |path: fn() -> Result<Location>| PlaceLink::new(device, 0o777, path);
    task::fill(tree, device)
        .with("exe", program(executable))
        .with("cwd", program(|| Ok(Caller::current().cwd)))
        .with("root", program(|| Ok(Caller::current().root)))
        .with("fd", descriptors::links(device))
        .with("fdinfo", descriptors::information(device))
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
        .fixed("numa_maps", "")
        .fixed("stack", "")
}

fn executable() -> Result<Location> {
    let path = current().program.lock().path.clone();
    Caller::current().find(&path, Follow::Yes)
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

/// Writing to a string does not fail.
const WRITES: &str = "a string takes everything";

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
