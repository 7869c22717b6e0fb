//! `/sys`, as far as programs look: processors, nodes, large pages, the control group.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use guest_hal::boot;

use super::inode::FileSystem;
use super::proc::cpu_list;
use super::pseudo::{PseudoFs, Tree};

const SYSFS_MAGIC: u64 = 0x6265_6572;
const CGROUP2_MAGIC: u64 = 0x6367_7270;

fn line(text: &str) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}

fn cpus() -> Vec<u8> {
    line(&cpu_list())
}

fn cpu(tree: Tree) -> Tree {
    tree.fixed("online", "1\n").directory("topology", |tree| {
        tree.fixed("physical_package_id", "0\n")
            .fixed("core_id", "0\n")
            .fixed("die_id", "0\n")
            .fixed("thread_siblings_list", "0\n")
            .fixed("core_siblings_list", "0\n")
            .fixed("package_cpus_list", "0\n")
    })
}

fn processors(mut tree: Tree) -> Tree {
    for number in 0..boot::info().vcpus.max(1) {
        tree = tree.directory(&format!("cpu{number}"), cpu);
    }
    tree.file("online", cpus)
        .file("possible", cpus)
        .file("present", cpus)
        .fixed("offline", "\n")
        .fixed("isolated", "\n")
        .fixed("kernel_max", "63\n")
        .directory("smt", |tree| {
            tree.fixed("active", "0\n")
                .fixed("control", "notsupported\n")
        })
}

fn node_memory() -> Vec<u8> {
    let total = super::memory_limit() / 1024;
    format!("Node 0 MemTotal:       {total} kB\nNode 0 MemFree:        {total} kB\n").into_bytes()
}

fn nodes(tree: Tree) -> Tree {
    tree.fixed("online", "0\n")
        .fixed("possible", "0\n")
        .fixed("has_cpu", "0\n")
        .fixed("has_memory", "0\n")
        .fixed("has_normal_memory", "0\n")
        .directory("node0", |mut tree| {
            for number in 0..boot::info().vcpus.max(1) {
                tree = tree.directory(&format!("cpu{number}"), |tree| tree);
            }
            tree.file("cpulist", cpus)
                .file("cpumap", || line("1"))
                .fixed("distance", "10\n")
                .file("meminfo", node_memory)
        })
}

fn large_pages(tree: Tree) -> Tree {
    tree.fixed("enabled", "always [madvise] never\n")
        .fixed("defrag", "always defer defer+madvise [madvise] never\n")
        .fixed("hpage_pmd_size", "2097152\n")
        .fixed(
            "shmem_enabled",
            "always within_size advise [never] deny force\n",
        )
        .fixed("use_zero_page", "1\n")
        .directory("khugepaged", |tree| tree.fixed("defrag", "1\n"))
}

/// `/sys`.
#[must_use]
pub fn file_system() -> Arc<dyn FileSystem> {
    let root = Tree::new(super::mount::new_device())
        .directory("devices", |tree| {
            tree.directory("system", |tree| {
                tree.directory("cpu", processors)
                    .directory("node", nodes)
                    .directory("clocksource", |tree| {
                        tree.directory("clocksource0", |tree| {
                            tree.fixed("current_clocksource", "tsc\n")
                                .fixed("available_clocksource", "tsc\n")
                        })
                    })
            })
            .directory("virtual", |tree| tree.directory("net", |tree| tree))
        })
        .directory("kernel", |tree| {
            tree.directory("mm", |tree| {
                tree.directory("transparent_hugepage", large_pages)
                    .directory("hugepages", |tree| tree)
            })
            .directory("security", |tree| tree)
        })
        .directory("fs", |tree| tree.directory("cgroup", |tree| tree))
        .directory("class", |tree| {
            tree.directory("net", |tree| tree)
                .directory("dmi", |tree| tree)
        })
        .directory("block", |tree| tree)
        .directory("bus", |tree| tree)
        .directory("dev", |tree| tree)
        .directory("module", |tree| tree);
    Arc::new(PseudoFs {
        name: "sysfs",
        magic: SYSFS_MAGIC,
        root: Arc::new(root),
    })
}

fn memory_max() -> Vec<u8> {
    line(&format!("{}", super::memory_limit()))
}

fn memory_current() -> Vec<u8> {
    line(&format!("{}", super::pages::resident()))
}

fn memory_statistics() -> Vec<u8> {
    let mut out = String::from("anon 0\n");
    out.push_str(&format!(
        "file {}\nkernel 0\nshmem 0\nslab 0\n",
        super::pages::resident()
    ));
    out.into_bytes()
}

/// `/sys/fs/cgroup`: one control group, the machine.
#[must_use]
pub fn control_group() -> Arc<dyn FileSystem> {
    let root = Tree::new(super::mount::new_device())
        .fixed("cgroup.controllers", "cpuset cpu io memory pids\n")
        .fixed("cgroup.subtree_control", "\n")
        .fixed("cgroup.procs", "1\n")
        .fixed("cgroup.threads", "1\n")
        .fixed("cgroup.type", "domain\n")
        .fixed("cgroup.events", "populated 1\nfrozen 0\n")
        .file("memory.max", memory_max)
        .fixed("memory.high", "max\n")
        .fixed("memory.low", "0\n")
        .fixed("memory.min", "0\n")
        .fixed("memory.swap.max", "0\n")
        .fixed("memory.swap.current", "0\n")
        .file("memory.current", memory_current)
        .file("memory.stat", memory_statistics)
        .fixed("memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n")
        .fixed("cpu.max", "max 100000\n")
        .fixed("cpu.weight", "100\n")
        .fixed("cpu.stat", "usage_usec 0\nuser_usec 0\nsystem_usec 0\n")
        .file("cpuset.cpus.effective", cpus)
        .file("cpuset.cpus", cpus)
        .fixed("cpuset.mems.effective", "0\n")
        .fixed("pids.max", "max\n")
        .fixed("pids.current", "1\n");
    Arc::new(PseudoFs {
        name: "cgroup2",
        magic: CGROUP2_MAGIC,
        root: Arc::new(root),
    })
}
