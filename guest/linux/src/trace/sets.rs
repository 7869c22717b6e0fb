//! Names of flags and of values, in the order in which strace shows them.

use linux_raw_sys::general as raw;
use linux_raw_sys::ioctl;

/// Values and their names. For sets of flags, one that contains others comes first.
pub(super) type Names = &'static [(u64, &'static str)];

macro_rules! names {
    ($source:ident; $($name:ident)*) => {
        &[$(($source::$name as u64, stringify!($name))),*]
    };
}

pub(super) const PROTECTION: Names =
    names![raw; PROT_NONE PROT_READ PROT_WRITE PROT_EXEC PROT_GROWSDOWN PROT_GROWSUP];
pub(super) const MAP: Names = names![raw;
    MAP_SHARED_VALIDATE MAP_SHARED MAP_PRIVATE MAP_FIXED MAP_ANONYMOUS MAP_32BIT MAP_NORESERVE
    MAP_POPULATE MAP_NONBLOCK MAP_GROWSDOWN MAP_DENYWRITE MAP_EXECUTABLE MAP_LOCKED MAP_STACK
    MAP_HUGETLB MAP_SYNC MAP_FIXED_NOREPLACE];
pub(super) const REMAP: Names = names![raw; MREMAP_MAYMOVE MREMAP_FIXED MREMAP_DONTUNMAP];
pub(super) const SYNC: Names = names![raw; MS_SYNC MS_ASYNC MS_INVALIDATE];
pub(super) const ADVICE: Names = names![raw;
    MADV_NORMAL MADV_RANDOM MADV_SEQUENTIAL MADV_WILLNEED MADV_DONTNEED MADV_FREE MADV_REMOVE
    MADV_DONTFORK MADV_DOFORK MADV_MERGEABLE MADV_UNMERGEABLE MADV_HUGEPAGE MADV_NOHUGEPAGE
    MADV_DONTDUMP MADV_DODUMP MADV_WIPEONFORK MADV_KEEPONFORK MADV_COLD MADV_PAGEOUT
    MADV_POPULATE_READ MADV_POPULATE_WRITE];
pub(super) const ACCESS_MODE: Names = names![raw; O_RDONLY O_WRONLY O_RDWR];
pub(super) const OPEN: Names = names![raw;
    O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK O_SYNC O_DSYNC O_DIRECT O_LARGEFILE
    O_NOFOLLOW O_NOATIME O_CLOEXEC O_PATH O_TMPFILE O_DIRECTORY];
pub(super) const PIPE: Names = names![raw; O_NONBLOCK O_DIRECT O_CLOEXEC];
pub(super) const DUP: Names = names![raw; O_CLOEXEC];
pub(super) const DESCRIPTOR: Names = names![raw; FD_CLOEXEC];
pub(super) const ACCESS: Names = &[(0, "F_OK"), (4, "R_OK"), (2, "W_OK"), (1, "X_OK")];
pub(super) const AT: Names = names![raw;
    AT_SYMLINK_NOFOLLOW AT_REMOVEDIR AT_SYMLINK_FOLLOW AT_NO_AUTOMOUNT AT_EMPTY_PATH];
pub(super) const REMOVE: Names = names![raw; AT_REMOVEDIR];
/// The part of `statx`'s flags that is one of several.
pub(super) const STATX_SYNC: Names =
    names![raw; AT_STATX_SYNC_AS_STAT AT_STATX_FORCE_SYNC AT_STATX_DONT_SYNC];
pub(super) const STATX: Names = names![raw;
    STATX_ALL STATX_BASIC_STATS STATX_TYPE STATX_MODE STATX_NLINK STATX_UID STATX_GID STATX_ATIME
    STATX_MTIME STATX_CTIME STATX_INO STATX_SIZE STATX_BLOCKS STATX_BTIME STATX_MNT_ID];
pub(super) const RENAME: Names = names![raw; RENAME_NOREPLACE RENAME_EXCHANGE RENAME_WHITEOUT];
pub(super) const WHENCE: Names = names![raw; SEEK_SET SEEK_CUR SEEK_END SEEK_DATA SEEK_HOLE];
pub(super) const CONTROL: Names = names![raw;
    F_DUPFD F_GETFD F_SETFD F_GETFL F_SETFL F_GETLK F_SETLK F_SETLKW F_SETOWN F_GETOWN F_SETSIG
    F_GETSIG F_OFD_GETLK F_OFD_SETLK F_OFD_SETLKW F_DUPFD_CLOEXEC F_SETPIPE_SZ F_GETPIPE_SZ
    F_ADD_SEALS F_GET_SEALS];
pub(super) const LOCK: Names = names![raw; LOCK_SH LOCK_EX LOCK_UN LOCK_NB];
pub(super) const TERMINAL: Names = names![ioctl;
    TCGETS TCSETS TCSETSW TCSETSF TCGETA TCSBRK TCXONC TCFLSH TIOCGPGRP TIOCSPGRP TIOCGWINSZ
    TIOCSWINSZ TIOCSCTTY TIOCNOTTY TIOCGSID FIONREAD FIONBIO FIOCLEX FIONCLEX];
pub(super) const RANDOM: Names = names![raw; GRND_NONBLOCK GRND_RANDOM GRND_INSECURE];
pub(super) const CLOCK: Names = names![raw;
    CLOCK_REALTIME CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID CLOCK_THREAD_CPUTIME_ID
    CLOCK_MONOTONIC_RAW CLOCK_REALTIME_COARSE CLOCK_MONOTONIC_COARSE CLOCK_BOOTTIME
    CLOCK_REALTIME_ALARM CLOCK_BOOTTIME_ALARM CLOCK_TAI];
pub(super) const TIMER: Names = names![raw; TIMER_ABSTIME];
pub(super) const INTERVAL: Names = names![raw; ITIMER_REAL ITIMER_VIRTUAL ITIMER_PROF];
pub(super) const LIMIT: Names = names![raw;
    RLIMIT_CPU RLIMIT_FSIZE RLIMIT_DATA RLIMIT_STACK RLIMIT_CORE RLIMIT_RSS RLIMIT_NPROC
    RLIMIT_NOFILE RLIMIT_MEMLOCK RLIMIT_AS RLIMIT_LOCKS RLIMIT_SIGPENDING RLIMIT_MSGQUEUE
    RLIMIT_NICE RLIMIT_RTPRIO RLIMIT_RTTIME];
pub(super) const BASE: Names = &[
    (0x1001, "ARCH_SET_GS"),
    (0x1002, "ARCH_SET_FS"),
    (0x1003, "ARCH_GET_FS"),
    (0x1004, "ARCH_GET_GS"),
];
pub(super) const MASK: Names = names![raw; SIG_BLOCK SIG_UNBLOCK SIG_SETMASK];
pub(super) const ACTION: Names = names![raw;
    SA_RESTORER SA_ONSTACK SA_RESTART SA_NODEFER SA_RESETHAND SA_SIGINFO SA_NOCLDSTOP
    SA_NOCLDWAIT];
pub(super) const STACK: Names = names![raw; SS_ONSTACK SS_DISABLE SS_AUTODISARM];
pub(super) const FUTEX: Names = &[
    (0, "FUTEX_WAIT"),
    (1, "FUTEX_WAKE"),
    (3, "FUTEX_REQUEUE"),
    (4, "FUTEX_CMP_REQUEUE"),
    (5, "FUTEX_WAKE_OP"),
    (9, "FUTEX_WAIT_BITSET"),
    (10, "FUTEX_WAKE_BITSET"),
    (0x80, "FUTEX_WAIT_PRIVATE"),
    (0x81, "FUTEX_WAKE_PRIVATE"),
    (0x83, "FUTEX_REQUEUE_PRIVATE"),
    (0x84, "FUTEX_CMP_REQUEUE_PRIVATE"),
    (0x85, "FUTEX_WAKE_OP_PRIVATE"),
    (0x89, "FUTEX_WAIT_BITSET_PRIVATE"),
    (0x8a, "FUTEX_WAKE_BITSET_PRIVATE"),
];
pub(super) const POLL: Names = names![raw;
    POLLIN POLLPRI POLLOUT POLLERR POLLHUP POLLNVAL POLLRDNORM POLLRDBAND POLLWRNORM POLLWRBAND
    POLLMSG POLLRDHUP];
pub(super) const EVENT: Names = names![raw; EFD_SEMAPHORE EFD_CLOEXEC EFD_NONBLOCK];
pub(super) const TIMER_DESCRIPTOR: Names = names![raw; TFD_CLOEXEC TFD_NONBLOCK];
pub(super) const EPOLL: Names = names![raw; EPOLL_CLOEXEC];
pub(super) const EPOLL_CONTROL: Names = names![raw; EPOLL_CTL_ADD EPOLL_CTL_DEL EPOLL_CTL_MOD];
pub(super) const MEMORY_FILE: Names = names![raw; MFD_CLOEXEC MFD_ALLOW_SEALING MFD_HUGETLB];
pub(super) const FALLOCATE: Names = names![raw;
    FALLOC_FL_KEEP_SIZE FALLOC_FL_PUNCH_HOLE FALLOC_FL_COLLAPSE_RANGE FALLOC_FL_ZERO_RANGE
    FALLOC_FL_INSERT_RANGE];
pub(super) const FILE_ADVICE: Names = &[
    (0, "POSIX_FADV_NORMAL"),
    (1, "POSIX_FADV_RANDOM"),
    (2, "POSIX_FADV_SEQUENTIAL"),
    (3, "POSIX_FADV_WILLNEED"),
    (4, "POSIX_FADV_DONTNEED"),
    (5, "POSIX_FADV_NOREUSE"),
];
pub(super) const USAGE: Names = &[(0, "RUSAGE_SELF"), (u32::MAX as u64, "RUSAGE_CHILDREN")];
/// `si_code` of any signal.
pub(super) const CODE: Names = &[
    (0, "SI_USER"),
    (0x80, "SI_KERNEL"),
    (-1i32 as u32 as u64, "SI_QUEUE"),
    (-2i32 as u32 as u64, "SI_TIMER"),
    (-6i32 as u32 as u64, "SI_TKILL"),
];
/// `si_code` of faults, by signal: `SIGILL`, `SIGTRAP`, `SIGBUS`, `SIGFPE`, `SIGSEGV`.
pub(super) const FAULT_CODE: [(u32, Names); 5] = [
    (
        4,
        &[(1, "ILL_ILLOPC"), (2, "ILL_ILLOPN"), (5, "ILL_PRVOPC")],
    ),
    (5, &[(1, "TRAP_BRKPT"), (2, "TRAP_TRACE")]),
    (
        7,
        &[(1, "BUS_ADRALN"), (2, "BUS_ADRERR"), (3, "BUS_OBJERR")],
    ),
    (
        8,
        &[
            (1, "FPE_INTDIV"),
            (3, "FPE_FLTDIV"),
            (4, "FPE_FLTOVF"),
            (5, "FPE_FLTUND"),
        ],
    ),
    (11, &[(1, "SEGV_MAPERR"), (2, "SEGV_ACCERR")]),
];
/// `socket`.
pub(super) const DOMAIN: Names = &[
    (1, "AF_UNIX"),
    (2, "AF_INET"),
    (10, "AF_INET6"),
    (16, "AF_NETLINK"),
    (17, "AF_PACKET"),
];
pub(super) const SOCKET: Names = &[
    (3, "SOCK_RAW"),
    (5, "SOCK_SEQPACKET"),
    (1, "SOCK_STREAM"),
    (2, "SOCK_DGRAM"),
    (0o2_000_000, "SOCK_CLOEXEC"),
    (0o4_000, "SOCK_NONBLOCK"),
];
pub(super) const EXTENDED: Names = &[(1, "XATTR_CREATE"), (2, "XATTR_REPLACE")];
/// `S_IFMT` values.
pub(super) const FILE_TYPE: Names = names![raw;
    S_IFSOCK S_IFLNK S_IFREG S_IFBLK S_IFDIR S_IFCHR S_IFIFO];
pub(super) const MODE_BITS: Names = names![raw; S_ISUID S_ISGID S_ISVTX];
