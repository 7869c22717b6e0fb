//! The monitor's own confinement: what it may still do once the guest runs.
//!
//! The guest talks to the monitor through virtqueues; a fault in what serves them must
//! not become a way into the host. So before the first guest instruction the monitor
//! gives up every capability but those that serving files takes, the right to regain
//! any, and every system call it will not need: no program can be started, no process
//! traced, nothing mounted, and no socket opened unless the machine's network is made of them. The lists are documented in
//! `docs/isolation.md`.

use engine_contract::Engine;
use engine_kvm::Kvm;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::error::Failure;
use crate::filter::{self, Check};
use crate::network::Reach;

/// Serving files of the root and the volumes.
const FILES: &[i64] = &[
    libc::SYS_openat2,
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_readlinkat,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_fchownat,
    libc::SYS_fchmodat,
    libc::SYS_fchmod,
    libc::SYS_utimensat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getdents64,
    libc::SYS_copy_file_range,
    libc::SYS_flock,
    libc::SYS_geteuid,
    libc::SYS_getuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
];

/// What is open: files and disks.
const OPEN_FILES: &[i64] = &[
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_lseek,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fcntl,
    // Moving bytes.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
];

/// What the monitor does for itself.
const OWN: &[i64] = &[
    // Waiting, time, signals.
    libc::SYS_futex,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    libc::SYS_getpid,
    libc::SYS_gettid,
    // What a thread does first; some may still be starting.
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    libc::SYS_sched_getaffinity,
    // Memory of our own, and the end.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_getrandom,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The cell: interrupting and reaping it, handing files over to it.
const CELL: &[i64] = &[
    libc::SYS_pidfd_send_signal,
    libc::SYS_waitid,
    libc::SYS_sendmsg,
];

/// A thread of this process, as the C library starts one: shares memory, file systems, files,
/// signal handlers and semaphores, is a thread, and says where its number and its own data go.
const THREAD: &[u32] = &[(libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID) as u32];

/// Devices of an operating system are switched on and off by it, and with them their threads. Of
/// the newer call the filter cannot see the flags: without it the C library takes the older.
const STARTING_THREADS: &[(i64, Check)] = &[
    (libc::SYS_clone, Check::OneOf(0, THREAD)),
    (libc::SYS_clone3, Check::Refuse(libc::ENOSYS as u16)),
];

/// Sockets of the user network's flows, and of the question which addresses are this host's.
/// Nothing can be listened on: published ports were opened before.
const SOCKETS: &[i64] = &[
    libc::SYS_connect,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_getsockname,
    libc::SYS_shutdown,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_recvmsg,
    libc::SYS_recvfrom,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
];

/// Waiting for an interface: as much of the above.
const WAITING: &[i64] = &[libc::SYS_epoll_ctl, libc::SYS_epoll_pwait];

/// Which sockets: of IP, and those that tell of addresses.
const FAMILIES: &[u32] = &[
    libc::AF_INET as u32,
    libc::AF_INET6 as u32,
    libc::AF_NETLINK as u32,
];
/// What is said of them: no delay, reset at the end, where to look.
const OPTIONS_SET: &[u32] = &[
    libc::TCP_NODELAY as u32,
    libc::SO_LINGER as u32,
    libc::SO_PEEK_OFF as u32,
];
/// What is asked: how it ended, how much it takes.
const OPTIONS_ASKED: &[u32] = &[libc::SO_ERROR as u32, libc::SO_MEMINFO as u32];

const OPENING_SOCKETS: &[(i64, Check)] = &[
    (libc::SYS_socket, Check::OneOf(0, FAMILIES)),
    (libc::SYS_setsockopt, Check::OneOf(2, OPTIONS_SET)),
    (libc::SYS_getsockopt, Check::OneOf(2, OPTIONS_ASKED)),
];
/// What the guest completes of an interface's frames.
const TAP_IOCTLS: &[u32] = &[0x4004_54d0];

/// What may be asked of a terminal, or of a pipe's length.
const IOCTLS: &[u32] = &[
    libc::TCGETS as u32,
    libc::TCSETS as u32,
    libc::TCSETSW as u32,
    libc::TCSETSF as u32,
    0x802c_542a,
    0x402c_542b,
    0x402c_542c,
    0x402c_542d,
    libc::TIOCGWINSZ as u32,
    libc::TIOCSWINSZ as u32,
    libc::FIONREAD as u32,
    libc::TCSBRK as u32,
    libc::TCFLSH as u32,
    libc::TCXONC as u32,
];

/// What may further be asked of KVM, where the machine runs with it: running, interrupts, and
/// the registers for a report (`linux/kvm.h`).
const KVM_IOCTLS: &[u32] = &[
    // Running; wires and messages.
    0xae80,
    0x4008_ae61,
    0x4020_aea5,
    // Registers, of all kinds; where an address leads.
    0x8090_ae81,
    0x8138_ae83,
    0x8140_aecc,
    0xc008_ae88,
    0x9000_aea4,
    0x8188_aea6,
    0x8080_aea1,
    0x8040_ae9f,
    0x8004_ae98,
    0xc018_ae85,
];

/// What a debugger takes: to come, and for KVM to stop a guest and change its registers.
const DEBUGGER: &[i64] = &[libc::SYS_accept4];
const KVM_DEBUGGING_IOCTLS: &[u32] = &[
    0x4048_ae9b,
    0x4090_ae82,
    0x4138_ae84,
    0x4140_aecd,
    0x4008_ae89,
    0x5000_aea5,
    0x4188_aea7,
    0x4080_aea2,
    0x4040_aea0,
    0x4004_ae99,
];

/// What a network takes: plain calls, others, requests.
type Taken = (&'static [i64], &'static [(i64, Check)], &'static [u32]);

const fn network(reach: Reach) -> Taken {
    match reach {
        Reach::Nothing => (&[], &[], &[]),
        Reach::Frames => (WAITING, &[], TAP_IOCTLS),
        Reach::Sockets => (SOCKETS, OPENING_SOCKETS, &[]),
    }
}

/// The privileges that serving files takes.
pub(crate) const SERVING_FILES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID);

/// What the monitor of an operating system does while that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Devices.
    Devices,
    /// Devices, and files of volumes.
    DevicesAndFiles,
}

/// Gives up all privileges but `kept`, in this thread and those it starts.
pub(crate) fn drop_privileges(kept: CapabilitySet) -> Result<(), Failure> {
    let fail = |error| Failure::new("the monitor cannot give up its privileges", error, "");
    rustix::thread::set_no_new_privs(true).map_err(fail)?;
    let now = rustix::thread::capabilities(None).map_err(fail)?;
    let sets = CapabilitySets {
        effective: now.effective & kept,
        permitted: now.permitted & kept,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets).map_err(fail)
}

/// What an engine asks of the host's devices.
fn of_engine(engine: &dyn Engine, held: Held) -> Vec<u32> {
    match (engine.name() == Kvm.name(), held) {
        (true, Held::ByDebugger) => [KVM_IOCTLS, KVM_DEBUGGING_IOCTLS].concat(),
        (true, Held::ByNobody) => KVM_IOCTLS.to_vec(),
        (false, _) => Vec::new(),
    }
}

/// Whether a debugger may hold the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    ByNobody,
    ByDebugger,
}

impl Held {
    /// By this debugger, if there is one.
    pub(crate) const fn by<T>(debugger: Option<&T>) -> Self {
        match debugger {
            Some(_) => Self::ByDebugger,
            None => Self::ByNobody,
        }
    }

    const fn calls(self) -> &'static [i64] {
        match self {
            Self::ByNobody => &[],
            Self::ByDebugger => DEBUGGER,
        }
    }
}

/// Closes the filter over every thread. Other calls answer `EPERM`.
pub(crate) fn close(engine: &dyn Engine, reach: Reach, held: Held) -> Result<(), Failure> {
    let (plain, special, requests) = network(reach);
    let ioctls = [IOCTLS, &of_engine(engine, held), requests].concat();
    install(
        &[FILES, OPEN_FILES, OWN, CELL, plain, held.calls()],
        special.to_vec(),
        ioctls,
    )
}

/// As [`close`], for a monitor of an operating system.
pub(crate) fn close_for_systems(
    engine: &dyn Engine,
    extent: Extent,
    reach: Reach,
    held: Held,
) -> Result<(), Failure> {
    let files = match extent {
        Extent::Devices => &[],
        Extent::DevicesAndFiles => FILES,
    };
    let (plain, special, requests) = network(reach);
    let special = [STARTING_THREADS, special].concat();
    let ioctls = [IOCTLS, &of_engine(engine, held), requests].concat();
    install(
        &[files, OPEN_FILES, OWN, plain, held.calls()],
        special,
        ioctls,
    )
}

fn install(plain: &[&[i64]], special: Vec<(i64, Check)>, ioctls: Vec<u32>) -> Result<(), Failure> {
    let fail = |error: &dyn std::fmt::Display| {
        Failure::new(
            "the monitor cannot confine itself",
            error,
            "it needs seccomp",
        )
    };
    let plain = plain.iter().copied().flatten();
    let plain = plain.map(|&number| (number, Check::Any));
    let checked = [
        // Once in a process's life.
        (libc::SYS_ioctl, Check::OneOf(1, ioctls.leak())),
        // The name of a thread that is starting.
        (libc::SYS_prctl, Check::OneOf(0, &[15])),
    ];
    let all = plain.chain(checked).chain(special);
    let calls: Vec<(u32, Check)> = all.map(|(number, check)| (number as u32, check)).collect();
    let program = filter::program(&calls, libc::EPERM as u16);
    seccompiler::apply_filter_all_threads(&program).map_err(|error| fail(&error))
}
