//! `/proc/sys`.

use alloc::format;
use alloc::vec::Vec;

use super::system::RELEASE;
use crate::fs::inotify::{EVENTS_MAX, INSTANCES_MAX, WATCHES_MAX};
use crate::fs::pseudo::Tree;
use crate::{process, random};

/// All of it.
pub(super) fn fill(tree: Tree) -> Tree {
    tree.directory("kernel", kernel)
        .directory("vm", virtual_memory)
        .directory("fs", files)
        .directory("net", network)
        .directory("abi", |tree| tree.fixed("vsyscall32", "0\n"))
}

fn kernel(tree: Tree) -> Tree {
    tree.file("hostname", host_name)
        .file("osrelease", || format!("{RELEASE}\n").into_bytes())
        .fixed("ostype", "Linux\n")
        .fixed("version", "#1 SMP PREEMPT_DYNAMIC Husk\n")
        .fixed("domainname", "(none)\n")
        .fixed("arch", "x86_64\n")
        .fixed("pid_max", "4194304\n")
        .fixed("threads-max", "192731\n")
        .fixed("ngroups_max", "65536\n")
        .fixed("cap_last_cap", "40\n")
        .fixed("randomize_va_space", "2\n")
        .fixed("core_pattern", "core\n")
        .fixed("core_uses_pid", "0\n")
        .fixed("dmesg_restrict", "1\n")
        .fixed("kptr_restrict", "1\n")
        .fixed("perf_event_paranoid", "4\n")
        .fixed("panic", "0\n")
        .fixed("printk", "4\t4\t1\t7\n")
        .fixed("sched_child_runs_first", "0\n")
        .fixed("sem", "32000\t1024000000\t500\t32000\n")
        .fixed("shmmax", "18446744073692774399\n")
        .fixed("shmall", "18446744073692774399\n")
        .fixed("shmmni", "4096\n")
        .fixed("msgmax", "8192\n")
        .fixed("msgmnb", "16384\n")
        .fixed("msgmni", "32000\n")
        .fixed("tainted", "0\n")
        .fixed("unprivileged_userns_clone", "0\n")
        .directory("random", |tree| {
            tree.file("boot_id", || identifier(&BOOT_ID))
                .file("uuid", || uuid(random::u64(), random::u64()))
                .fixed("entropy_avail", "256\n")
                .fixed("poolsize", "256\n")
        })
        .directory("seccomp", |tree| tree.fixed("actions_avail", "\n"))
        .directory("yama", |tree| tree.fixed("ptrace_scope", "1\n"))
}

static BOOT_ID: guest_hal::sync::Once<Vec<u8>> = guest_hal::sync::Once::new();

fn identifier(once: &guest_hal::sync::Once<Vec<u8>>) -> Vec<u8> {
    once.call_once(|| uuid(random::u64(), random::u64()))
        .clone()
}

/// A random identifier (RFC 9562, version 4).
fn uuid(high: u64, low: u64) -> Vec<u8> {
    let high = high & !0xf000 | 0x4000;
    let low = low & !(3 << 62) | 2 << 62;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}\n",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
    .into_bytes()
}

fn host_name() -> Vec<u8> {
    let mut name = process::host_name();
    name.push(b'\n');
    name
}

fn virtual_memory(tree: Tree) -> Tree {
    tree.fixed("overcommit_memory", "1\n")
        .fixed("overcommit_ratio", "50\n")
        .fixed("overcommit_kbytes", "0\n")
        .fixed("max_map_count", "65530\n")
        .fixed("mmap_min_addr", "65536\n")
        .fixed("swappiness", "60\n")
        .fixed("nr_hugepages", "0\n")
        .fixed("nr_overcommit_hugepages", "0\n")
        .fixed("min_free_kbytes", "16384\n")
        .fixed("dirty_ratio", "20\n")
        .fixed("dirty_background_ratio", "10\n")
        .fixed("panic_on_oom", "0\n")
        .fixed("oom_kill_allocating_task", "0\n")
        .fixed("vfs_cache_pressure", "100\n")
        .fixed("zone_reclaim_mode", "0\n")
}

fn files(tree: Tree) -> Tree {
    tree.fixed("file-max", "9223372036854775807\n")
        .fixed("file-nr", "64\t0\t9223372036854775807\n")
        .fixed("nr_open", "1048576\n")
        .fixed("inode-nr", "64\t0\n")
        .directory("inotify", |tree| {
            tree.file("max_queued_events", || {
                format!("{EVENTS_MAX}\n").into_bytes()
            })
            .file("max_user_instances", || {
                format!("{INSTANCES_MAX}\n").into_bytes()
            })
            .file("max_user_watches", || {
                format!("{WATCHES_MAX}\n").into_bytes()
            })
        })
        .fixed("pipe-max-size", "1048576\n")
        .fixed("pipe-user-pages-soft", "16384\n")
        .fixed("pipe-user-pages-hard", "0\n")
        .fixed("aio-max-nr", "65536\n")
        .fixed("aio-nr", "0\n")
        .fixed("lease-break-time", "45\n")
        .fixed("leases-enable", "1\n")
        .fixed("mount-max", "100000\n")
        .fixed("overflowuid", "65534\n")
        .fixed("overflowgid", "65534\n")
        .fixed("protected_fifos", "0\n")
        .fixed("protected_hardlinks", "0\n")
        .fixed("protected_regular", "0\n")
        .fixed("protected_symlinks", "0\n")
        .fixed("suid_dumpable", "0\n")
        .directory("inotify", |tree| {
            tree.fixed("max_queued_events", "16384\n")
                .fixed("max_user_instances", "128\n")
                .fixed("max_user_watches", "65536\n")
        })
        .directory("epoll", |tree| tree.fixed("max_user_watches", "65536\n"))
}

fn network(tree: Tree) -> Tree {
    tree.directory("core", |tree| {
        tree.fixed("somaxconn", "4096\n")
            .fixed("rmem_default", "212992\n")
            .fixed("wmem_default", "212992\n")
            .fixed("rmem_max", "212992\n")
            .fixed("wmem_max", "212992\n")
    })
    .directory("ipv4", |tree| {
        tree.fixed("ip_local_port_range", "32768\t60999\n")
            .fixed("tcp_rmem", "4096\t131072\t6291456\n")
            .fixed("tcp_wmem", "4096\t16384\t4194304\n")
            .fixed("tcp_keepalive_time", "7200\n")
            .fixed("tcp_max_syn_backlog", "512\n")
            .fixed("ip_unprivileged_port_start", "1024\n")
    })
}
