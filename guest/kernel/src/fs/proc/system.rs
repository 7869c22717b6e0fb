//! The machine as `/proc` shows it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use guest_hal::{boot, time};

use crate::fs::pages;
use crate::fs::pseudo::Tree;
use crate::process::current;

/// The release of Linux that this kernel behaves as.
pub const RELEASE: &str = "6.1.0-husk";

const WRITES: &str = "a string takes everything";
const SECOND: u64 = 1_000_000_000;

/// How many processors there are.
pub(super) fn cpus() -> u32 {
    boot::info().vcpus.max(1)
}

/// A bit for each processor.
pub(super) fn cpu_mask() -> u64 {
    u64::MAX >> (64 - u64::from(cpus().min(64)))
}

/// The processors as a range.
pub(in crate::fs) fn cpu_list() -> String {
    match cpus() {
        1 => String::from("0"),
        count => format!("0-{}", count - 1),
    }
}

/// All files directly in `/proc` that concern the machine.
pub(super) fn fill(tree: Tree) -> Tree {
    tree.file("meminfo", memory)
        .file("stat", statistics)
        .file("uptime", uptime)
        .file("version", version)
        .file("cmdline", || b"husk\n".into())
        .fixed("loadavg", "0.00 0.00 0.00 1/1 1\n")
        .fixed("filesystems", FILE_SYSTEMS)
        .fixed("devices", DEVICES)
        .fixed(
            "swaps",
            "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
        )
        .fixed("partitions", "major minor  #blocks  name\n\n")
        .fixed("cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\n")
        .fixed("modules", "")
        .fixed("locks", "")
        .fixed("diskstats", "")
        .fixed("interrupts", "")
        .file("vmstat", virtual_memory)
}

const FILE_SYSTEMS: &str = "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\n\
                            nodev\tpipefs\nnodev\toverlay\nnodev\tvirtiofs\n";
const DEVICES: &str = "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n\
                       136 pts\n\nBlock devices:\n";

/// Bytes of the machine's memory that are in use, as far as this kernel can tell.
fn used() -> u64 {
    let mapped = current().memory.lock().mapped_bytes();
    (mapped.saturating_add(pages::resident())).min(crate::fs::memory_limit())
}

fn memory() -> Vec<u8> {
    let total = crate::fs::memory_limit() / 1024;
    let cached = pages::resident() / 1024;
    let free = total.saturating_sub(used() / 1024);
    let mut out = String::new();
    let rows = [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", (free + cached).min(total)),
        ("Buffers", 0),
        ("Cached", cached),
        ("SwapCached", 0),
        ("Active", 0),
        ("Inactive", cached),
        ("Active(anon)", 0),
        ("Inactive(anon)", 0),
        ("Active(file)", 0),
        ("Inactive(file)", cached),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", total.saturating_sub(free + cached)),
        ("Mapped", 0),
        ("Shmem", 0),
        ("KReclaimable", 0),
        ("Slab", 0),
        ("SReclaimable", 0),
        ("SUnreclaim", 0),
        ("KernelStack", 0),
        ("PageTables", 0),
        ("CommitLimit", total),
        ("Committed_AS", total.saturating_sub(free)),
        ("VmallocTotal", 34_359_738_367),
        ("VmallocUsed", 0),
        ("VmallocChunk", 0),
        ("AnonHugePages", 0),
    ];
    for (name, value) in rows {
        let name = format!("{name}:");
        writeln!(out, "{name:<16}{value:>8} kB").expect(WRITES);
    }
    for name in ["Total", "Free", "Rsvd", "Surp"] {
        let name = format!("HugePages_{name}:");
        writeln!(out, "{name:<16}{:>8}", 0).expect(WRITES);
    }
    out.push_str("Hugepagesize:       2048 kB\nHugetlb:               0 kB\n");
    out.into_bytes()
}

fn virtual_memory() -> Vec<u8> {
    let cached = pages::resident() / 4096;
    let free = crate::fs::memory_limit().saturating_sub(used()) / 4096;
    format!("nr_free_pages {free}\nnr_file_pages {cached}\npgfault 0\npgmajfault 0\n").into_bytes()
}

fn statistics() -> Vec<u8> {
    let busy = crate::time::processor().0 / (SECOND / 100);
    let all = time::boottime().0 / (SECOND / 100);
    let idle = all.saturating_sub(busy);
    let (voluntary, forced) = current().switches();
    let switches = voluntary + forced;
    let started = time::realtime().0.saturating_sub(time::boottime().0) / SECOND;
    let mut out = format!("cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\n");
    for cpu in 0..cpus() {
        let (busy, idle) = if cpu == 0 { (busy, idle) } else { (0, all) };
        writeln!(out, "cpu{cpu} {busy} 0 0 {idle} 0 0 0 0 0 0").expect(WRITES);
    }
    write!(
        out,
        "intr 0\nctxt {switches}\nbtime {started}\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n\
         softirq 0 0 0 0 0 0 0 0 0 0 0\n"
    )
    .expect(WRITES);
    out.into_bytes()
}

/// Hundredths of a second as seconds.
fn seconds(nanos: u64) -> String {
    format!("{}.{:02}", nanos / SECOND, nanos % SECOND / (SECOND / 100))
}

fn uptime() -> Vec<u8> {
    let up = time::boottime().0;
    let idle = up.saturating_sub(crate::time::processor().0);
    format!("{} {}\n", seconds(up), seconds(idle)).into_bytes()
}

fn version() -> Vec<u8> {
    format!("Linux version {RELEASE} (husk) #1 SMP PREEMPT_DYNAMIC Husk\n").into_bytes()
}
