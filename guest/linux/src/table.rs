//! Every system call that is served: number, name, arguments, function.
//!
//! The dispatch, the trace and the coverage table (`docs/linux-abi.md`) come from here.
//! Calls that are about the program's registers are served in `dispatch`.

use core::fmt;

use guest_hal::LinearAddress;

use crate::argument::{Argument, DirFd, Flags, Mode, PathAddress};
use crate::socket::{message, options};
use crate::{
    Return, copy, descriptor, directory, epoll, event, file, futex, inotify, ioctl, lock,
    membarrier, memory, mount, path, pidfd, pipe, poll, process, rseq, scheduling, select, signals,
    socket, stat, threads, time, xattr,
};

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Number on x86-64.
    pub number: u64,
    /// Name.
    pub name: &'static str,
    /// Names of the arguments.
    pub arguments: &'static [&'static str],
    /// How each is shown.
    shown: &'static [ShowRegister],
}

/// Writes what a register stands for.
type ShowRegister = fn(u64, &mut dyn fmt::Write) -> fmt::Result;

fn show_as<T: Argument>(register: u64, out: &mut dyn fmt::Write) -> fmt::Result {
    T::from_register(register).show(out)
}

/// Writes a call's arguments as a trace shows them.
///
/// # Errors
/// The formatter's.
pub fn show(number: u64, registers: [u64; 6], out: &mut dyn fmt::Write) -> fmt::Result {
    let row = CALLS.iter().find(|row| row.number == number);
    let shown = row.map_or(&[][..], |row| row.shown);
    for (index, (show, register)) in shown.iter().zip(registers).enumerate() {
        if index > 0 {
            out.write_str(", ")?;
        }
        show(register, out)?;
    }
    Ok(())
}

macro_rules! system_calls {
    ($($number:literal $name:ident($($argument:ident: $type:ty),*) => $function:path;)*) => {
        /// What is served, by number.
        pub static CALLS: &[Description] = &[$(Description {
            number: $number,
            name: stringify!($name),
            arguments: &[$(stringify!($argument)),*],
            shown: &[$(show_as::<$type>),*],
        }),*];

        /// Serves a call.
        ///
        /// # Errors
        /// The call's; `ENOSYS` for one that is not in the table.
        pub fn dispatch(number: u64, registers: [u64; 6]) -> Return {
            let [a, b, c, d, e, f] = registers;
            match number {
                $($number => system_calls!(@call $function, (a, b, c, d, e, f), ($($type),*)),)*
                _ => crate::trace::unknown(number),
            }
        }
    };
    (@call $function:path, ($($register:ident),*), ()) => { $function() };
    (@call $function:path, ($a:ident $(, $rest:ident)*), ($A:ty)) => {
        $function(<$A>::from_register($a))
    };
    (@call $function:path, ($a:ident, $b:ident $(, $rest:ident)*), ($A:ty, $B:ty)) => {
        $function(<$A>::from_register($a), <$B>::from_register($b))
    };
    (@call $function:path, ($a:ident, $b:ident, $c:ident $(, $rest:ident)*), ($A:ty, $B:ty, $C:ty)) => {
        $function(<$A>::from_register($a), <$B>::from_register($b), <$C>::from_register($c))
    };
    (@call $function:path, ($a:ident, $b:ident, $c:ident, $d:ident $(, $rest:ident)*),
     ($A:ty, $B:ty, $C:ty, $D:ty)) => {
        $function(
            <$A>::from_register($a),
            <$B>::from_register($b),
            <$C>::from_register($c),
            <$D>::from_register($d),
        )
    };
    (@call $function:path, ($a:ident, $b:ident, $c:ident, $d:ident, $e:ident $(, $rest:ident)*),
     ($A:ty, $B:ty, $C:ty, $D:ty, $E:ty)) => {
        $function(
            <$A>::from_register($a),
            <$B>::from_register($b),
            <$C>::from_register($c),
            <$D>::from_register($d),
            <$E>::from_register($e),
        )
    };
    (@call $function:path, ($a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident),
     ($A:ty, $B:ty, $C:ty, $D:ty, $E:ty, $F:ty)) => {
        $function(
            <$A>::from_register($a),
            <$B>::from_register($b),
            <$C>::from_register($c),
            <$D>::from_register($d),
            <$E>::from_register($e),
            <$F>::from_register($f),
        )
    };
}

system_calls! {
    0 read(fd: i32, buf: LinearAddress, count: u64) => file::read;
    1 write(fd: i32, buf: LinearAddress, count: u64) => file::write;
    2 open(pathname: PathAddress, flags: Flags, mode: Mode) => file::open;
    3 close(fd: i32) => descriptor::close;
    4 stat(pathname: PathAddress, statbuf: LinearAddress) => stat::stat;
    5 fstat(fd: i32, statbuf: LinearAddress) => stat::fstat;
    6 lstat(pathname: PathAddress, statbuf: LinearAddress) => stat::lstat;
    7 poll(fds: LinearAddress, nfds: u64, timeout: i32) => poll::poll;
    8 lseek(fd: i32, offset: i64, whence: u32) => file::lseek;
    9 mmap(addr: LinearAddress, length: u64, prot: Flags, flags: Flags, fd: i32, offset: u64) => memory::mmap;
    10 mprotect(addr: LinearAddress, length: u64, prot: Flags) => memory::mprotect;
    11 munmap(addr: LinearAddress, length: u64) => memory::munmap;
    12 brk(addr: LinearAddress) => memory::brk;
    13 rt_sigaction(signum: u32, act: LinearAddress, oldact: LinearAddress, sigsetsize: u64) => signals::rt_sigaction;
    14 rt_sigprocmask(how: u32, set: LinearAddress, oldset: LinearAddress, sigsetsize: u64) => signals::rt_sigprocmask;
    16 ioctl(fd: i32, op: u32, arg: LinearAddress) => ioctl::ioctl;
    17 pread64(fd: i32, buf: LinearAddress, count: u64, offset: i64) => file::pread64;
    18 pwrite64(fd: i32, buf: LinearAddress, count: u64, offset: i64) => file::pwrite64;
    19 readv(fd: i32, iov: LinearAddress, iovcnt: u64) => file::readv;
    20 writev(fd: i32, iov: LinearAddress, iovcnt: u64) => file::writev;
    21 access(pathname: PathAddress, mode: Flags) => stat::access;
    22 pipe(pipefd: LinearAddress) => pipe::pipe;
    23 select(nfds: i32, readfds: LinearAddress, writefds: LinearAddress, exceptfds: LinearAddress, timeout: LinearAddress) => select::select;
    24 sched_yield() => scheduling::sched_yield;
    25 mremap(old_address: LinearAddress, old_size: u64, new_size: u64, flags: Flags, new_address: LinearAddress) => memory::mremap;
    26 msync(addr: LinearAddress, length: u64, flags: Flags) => memory::msync;
    27 mincore(addr: LinearAddress, length: u64, vec: LinearAddress) => memory::mincore;
    28 madvise(addr: LinearAddress, length: u64, advice: u32) => memory::madvise;
    32 dup(oldfd: i32) => descriptor::dup;
    33 dup2(oldfd: i32, newfd: i32) => descriptor::dup2;
    34 pause() => signals::pause;
    35 nanosleep(req: LinearAddress, rem: LinearAddress) => time::nanosleep;
    36 getitimer(which: u32, curr_value: LinearAddress) => time::getitimer;
    37 alarm(seconds: u32) => time::alarm;
    38 setitimer(which: u32, new_value: LinearAddress, old_value: LinearAddress) => time::setitimer;
    39 getpid() => process::getpid;
    40 sendfile(out_fd: i32, in_fd: i32, offset: LinearAddress, count: u64) => copy::sendfile;
    41 socket(domain: i32, kind: i32, protocol: i32) => socket::socket;
    42 connect(fd: i32, addr: LinearAddress, addrlen: u32) => socket::connect;
    43 accept(fd: i32, addr: LinearAddress, addrlen: LinearAddress) => socket::accept;
    44 sendto(fd: i32, buf: LinearAddress, length: u64, flags: Flags, dest_addr: LinearAddress, addrlen: u32) => message::sendto;
    45 recvfrom(fd: i32, buf: LinearAddress, length: u64, flags: Flags, src_addr: LinearAddress, addrlen: LinearAddress) => message::recvfrom;
    46 sendmsg(fd: i32, msg: LinearAddress, flags: Flags) => message::sendmsg;
    47 recvmsg(fd: i32, msg: LinearAddress, flags: Flags) => message::recvmsg;
    48 shutdown(fd: i32, how: i32) => socket::shutdown;
    49 bind(fd: i32, addr: LinearAddress, addrlen: u32) => socket::bind;
    50 listen(fd: i32, backlog: i32) => socket::listen;
    51 getsockname(fd: i32, addr: LinearAddress, addrlen: LinearAddress) => socket::getsockname;
    52 getpeername(fd: i32, addr: LinearAddress, addrlen: LinearAddress) => socket::getpeername;
    53 socketpair(domain: i32, kind: i32, protocol: i32, sv: LinearAddress) => socket::socketpair;
    54 setsockopt(fd: i32, level: i32, optname: i32, optval: LinearAddress, optlen: u32) => options::setsockopt;
    55 getsockopt(fd: i32, level: i32, optname: i32, optval: LinearAddress, optlen: LinearAddress) => options::getsockopt;
    57 fork() => process::fork;
    58 vfork() => process::fork;
    60 exit(status: i32) => threads::exit;
    61 wait4(pid: i32, wstatus: LinearAddress, options: Flags, rusage: LinearAddress) => process::wait4;
    62 kill(pid: i32, sig: u32) => signals::kill;
    63 uname(buf: LinearAddress) => process::uname;
    72 fcntl(fd: i32, cmd: u32, arg: u64) => descriptor::fcntl;
    73 flock(fd: i32, operation: Flags) => lock::flock;
    74 fsync(fd: i32) => file::fsync;
    75 fdatasync(fd: i32) => file::fdatasync;
    76 truncate(path: PathAddress, length: i64) => file::truncate;
    77 ftruncate(fd: i32, length: i64) => file::ftruncate;
    78 getdents(fd: i32, dirp: LinearAddress, count: u32) => directory::getdents;
    79 getcwd(buf: LinearAddress, size: u64) => path::getcwd;
    80 chdir(path: PathAddress) => path::chdir;
    81 fchdir(fd: i32) => path::fchdir;
    82 rename(oldpath: PathAddress, newpath: PathAddress) => path::rename;
    83 mkdir(pathname: PathAddress, mode: Mode) => path::mkdir;
    84 rmdir(pathname: PathAddress) => path::rmdir;
    85 creat(pathname: PathAddress, mode: Mode) => file::creat;
    86 link(oldpath: PathAddress, newpath: PathAddress) => path::link;
    87 unlink(pathname: PathAddress) => path::unlink;
    88 symlink(target: PathAddress, linkpath: PathAddress) => path::symlink;
    89 readlink(pathname: PathAddress, buf: LinearAddress, bufsiz: i32) => path::readlink;
    90 chmod(pathname: PathAddress, mode: Mode) => stat::chmod;
    91 fchmod(fd: i32, mode: Mode) => stat::fchmod;
    92 chown(pathname: PathAddress, owner: u32, group: u32) => stat::chown;
    93 fchown(fd: i32, owner: u32, group: u32) => stat::fchown;
    94 lchown(pathname: PathAddress, owner: u32, group: u32) => stat::lchown;
    95 umask(mask: Mode) => path::umask;
    96 gettimeofday(tv: LinearAddress, tz: LinearAddress) => time::gettimeofday;
    97 getrlimit(resource: u32, rlim: LinearAddress) => process::getrlimit;
    98 getrusage(who: i32, usage: LinearAddress) => process::getrusage;
    99 sysinfo(info: LinearAddress) => process::sysinfo;
    100 times(buf: LinearAddress) => process::times;
    101 ptrace(request: u64, pid: i32, addr: LinearAddress, data: LinearAddress) => process::ptrace;
    102 getuid() => process::getuid;
    104 getgid() => process::getgid;
    105 setuid(uid: u32) => process::setuid;
    106 setgid(gid: u32) => process::setgid;
    107 geteuid() => process::geteuid;
    108 getegid() => process::getegid;
    109 setpgid(pid: i32, pgid: i32) => process::setpgid;
    110 getppid() => process::getppid;
    111 getpgrp() => process::getpgrp;
    112 setsid() => process::setsid;
    113 setreuid(ruid: u32, euid: u32) => process::setreuid;
    114 setregid(rgid: u32, egid: u32) => process::setregid;
    115 getgroups(size: i32, list: LinearAddress) => process::getgroups;
    116 setgroups(size: u64, list: LinearAddress) => process::setgroups;
    117 setresuid(ruid: u32, euid: u32, suid: u32) => process::setresuid;
    118 getresuid(ruid: LinearAddress, euid: LinearAddress, suid: LinearAddress) => process::getresuid;
    119 setresgid(rgid: u32, egid: u32, sgid: u32) => process::setresgid;
    120 getresgid(rgid: LinearAddress, egid: LinearAddress, sgid: LinearAddress) => process::getresgid;
    121 getpgid(pid: i32) => process::getpgid;
    122 setfsuid(fsuid: u32) => process::setfsuid;
    123 setfsgid(fsgid: u32) => process::setfsgid;
    124 getsid(pid: i32) => process::getsid;
    125 capget(header: LinearAddress, data: LinearAddress) => process::capget;
    126 capset(header: LinearAddress, data: LinearAddress) => process::capset;
    127 rt_sigpending(set: LinearAddress, sigsetsize: u64) => signals::rt_sigpending;
    128 rt_sigtimedwait(set: LinearAddress, info: LinearAddress, timeout: LinearAddress, sigsetsize: u64) => signals::rt_sigtimedwait;
    129 rt_sigqueueinfo(pid: i32, sig: u32, info: LinearAddress) => signals::rt_sigqueueinfo;
    130 rt_sigsuspend(mask: LinearAddress, sigsetsize: u64) => signals::rt_sigsuspend;
    132 utime(filename: PathAddress, times: LinearAddress) => stat::utime;
    133 mknod(pathname: PathAddress, mode: Mode, dev: u64) => path::mknod;
    135 personality(persona: u64) => process::personality;
    137 statfs(path: PathAddress, buf: LinearAddress) => stat::statfs;
    138 fstatfs(fd: i32, buf: LinearAddress) => stat::fstatfs;
    140 getpriority(which: i32, who: i32) => scheduling::getpriority;
    141 setpriority(which: i32, who: i32, prio: i32) => scheduling::setpriority;
    142 sched_setparam(pid: i32, param: LinearAddress) => scheduling::sched_setparam;
    143 sched_getparam(pid: i32, param: LinearAddress) => scheduling::sched_getparam;
    144 sched_setscheduler(pid: i32, policy: i32, param: LinearAddress) => scheduling::sched_setscheduler;
    145 sched_getscheduler(pid: i32) => scheduling::sched_getscheduler;
    146 sched_get_priority_max(policy: i32) => scheduling::sched_get_priority_max;
    147 sched_get_priority_min(policy: i32) => scheduling::sched_get_priority_min;
    148 sched_rr_get_interval(pid: i32, tp: LinearAddress) => scheduling::sched_rr_get_interval;
    149 mlock(addr: LinearAddress, length: u64) => memory::mlock;
    150 munlock(addr: LinearAddress, length: u64) => memory::mlock;
    151 mlockall(flags: Flags) => memory::mlockall;
    152 munlockall() => memory::munlockall;
    155 pivot_root(new_root: PathAddress, put_old: PathAddress) => mount::pivot_root;
    157 prctl(option: u32, arg2: u64, arg3: u64, arg4: u64, arg5: u64) => process::prctl;
    158 arch_prctl(code: u32, addr: u64) => process::arch_prctl;
    160 setrlimit(resource: u32, rlim: LinearAddress) => process::setrlimit;
    161 chroot(path: PathAddress) => path::chroot;
    162 sync() => file::sync;
    164 settimeofday(tv: LinearAddress, tz: LinearAddress) => process::settimeofday;
    165 mount(source: PathAddress, target: PathAddress, filesystemtype: PathAddress, mountflags: u64, data: LinearAddress) => mount::mount;
    166 umount2(target: PathAddress, flags: Flags) => mount::umount2;
    170 sethostname(name: LinearAddress, length: u64) => process::sethostname;
    186 gettid() => threads::gettid;
    187 readahead(fd: i32, offset: i64, count: u64) => file::readahead;
    188 setxattr(path: PathAddress, name: LinearAddress, value: LinearAddress, size: u64, flags: Flags) => xattr::setxattr;
    189 lsetxattr(path: PathAddress, name: LinearAddress, value: LinearAddress, size: u64, flags: Flags) => xattr::lsetxattr;
    190 fsetxattr(fd: i32, name: LinearAddress, value: LinearAddress, size: u64, flags: Flags) => xattr::fsetxattr;
    191 getxattr(path: PathAddress, name: LinearAddress, value: LinearAddress, size: u64) => xattr::getxattr;
    192 lgetxattr(path: PathAddress, name: LinearAddress, value: LinearAddress, size: u64) => xattr::lgetxattr;
    193 fgetxattr(fd: i32, name: LinearAddress, value: LinearAddress, size: u64) => xattr::fgetxattr;
    194 listxattr(path: PathAddress, list: LinearAddress, size: u64) => xattr::listxattr;
    195 llistxattr(path: PathAddress, list: LinearAddress, size: u64) => xattr::llistxattr;
    196 flistxattr(fd: i32, list: LinearAddress, size: u64) => xattr::flistxattr;
    197 removexattr(path: PathAddress, name: LinearAddress) => xattr::removexattr;
    198 lremovexattr(path: PathAddress, name: LinearAddress) => xattr::lremovexattr;
    199 fremovexattr(fd: i32, name: LinearAddress) => xattr::fremovexattr;
    200 tkill(tid: i32, sig: u32) => signals::tkill;
    201 time(tloc: LinearAddress) => time::time;
    202 futex(uaddr: LinearAddress, op: Flags, val: u32, timeout: LinearAddress, uaddr2: LinearAddress, val3: u32) => futex::futex;
    203 sched_setaffinity(pid: i32, cpusetsize: u64, mask: LinearAddress) => scheduling::sched_setaffinity;
    204 sched_getaffinity(pid: i32, cpusetsize: u64, mask: LinearAddress) => scheduling::sched_getaffinity;
    213 epoll_create(size: i32) => epoll::epoll_create;
    217 getdents64(fd: i32, dirp: LinearAddress, count: u32) => directory::getdents64;
    218 set_tid_address(tidptr: LinearAddress) => threads::set_tid_address;
    221 fadvise64(fd: i32, offset: i64, length: i64, advice: u32) => file::fadvise64;
    222 timer_create(clockid: i32, sevp: LinearAddress, timerid: LinearAddress) => time::timer_create;
    223 timer_settime(timerid: i32, flags: Flags, new_value: LinearAddress, old_value: LinearAddress) => time::timer_settime;
    224 timer_gettime(timerid: i32, curr_value: LinearAddress) => time::timer_gettime;
    225 timer_getoverrun(timerid: i32) => time::timer_getoverrun;
    226 timer_delete(timerid: i32) => time::timer_delete;
    227 clock_settime(clockid: i32, tp: LinearAddress) => process::clock_settime;
    228 clock_gettime(clockid: i32, tp: LinearAddress) => time::clock_gettime;
    229 clock_getres(clockid: i32, res: LinearAddress) => time::clock_getres;
    230 clock_nanosleep(clockid: i32, flags: Flags, request: LinearAddress, remain: LinearAddress) => time::clock_nanosleep;
    231 exit_group(status: i32) => process::exit_group;
    232 epoll_wait(epfd: i32, events: LinearAddress, maxevents: i32, timeout: i32) => epoll::epoll_wait;
    233 epoll_ctl(epfd: i32, op: u32, fd: i32, event: LinearAddress) => epoll::epoll_ctl;
    234 tgkill(tgid: i32, tid: i32, sig: u32) => signals::tgkill;
    235 utimes(filename: PathAddress, times: LinearAddress) => stat::utimes;
    247 waitid(idtype: u32, id: i32, infop: LinearAddress, options: Flags, rusage: LinearAddress) => process::waitid;
    253 inotify_init() => inotify::inotify_init;
    254 inotify_add_watch(fd: i32, pathname: PathAddress, mask: Flags) => inotify::inotify_add_watch;
    255 inotify_rm_watch(fd: i32, wd: i32) => inotify::inotify_rm_watch;
    257 openat(dirfd: DirFd, pathname: PathAddress, flags: Flags, mode: Mode) => file::openat;
    258 mkdirat(dirfd: DirFd, pathname: PathAddress, mode: Mode) => path::mkdirat;
    259 mknodat(dirfd: DirFd, pathname: PathAddress, mode: Mode, dev: u64) => path::mknodat;
    260 fchownat(dirfd: DirFd, pathname: PathAddress, owner: u32, group: u32, flags: Flags) => stat::fchownat;
    261 futimesat(dirfd: DirFd, pathname: PathAddress, times: LinearAddress) => stat::futimesat;
    262 newfstatat(dirfd: DirFd, pathname: PathAddress, statbuf: LinearAddress, flags: Flags) => stat::newfstatat;
    263 unlinkat(dirfd: DirFd, pathname: PathAddress, flags: Flags) => path::unlinkat;
    264 renameat(olddirfd: DirFd, oldpath: PathAddress, newdirfd: DirFd, newpath: PathAddress) => path::renameat;
    265 linkat(olddirfd: DirFd, oldpath: PathAddress, newdirfd: DirFd, newpath: PathAddress, flags: Flags) => path::linkat;
    266 symlinkat(target: PathAddress, newdirfd: DirFd, linkpath: PathAddress) => path::symlinkat;
    267 readlinkat(dirfd: DirFd, pathname: PathAddress, buf: LinearAddress, bufsiz: i32) => path::readlinkat;
    268 fchmodat(dirfd: DirFd, pathname: PathAddress, mode: Mode) => stat::fchmodat;
    269 faccessat(dirfd: DirFd, pathname: PathAddress, mode: Flags) => stat::faccessat;
    270 pselect6(nfds: i32, readfds: LinearAddress, writefds: LinearAddress, exceptfds: LinearAddress, timeout: LinearAddress, sigmask: LinearAddress) => select::pselect6;
    271 ppoll(fds: LinearAddress, nfds: u64, tmo_p: LinearAddress, sigmask: LinearAddress, sigsetsize: u64) => poll::ppoll;
    273 set_robust_list(head: LinearAddress, length: u64) => threads::set_robust_list;
    274 get_robust_list(pid: i32, head: LinearAddress, length: LinearAddress) => threads::get_robust_list;
    275 splice(fd_in: i32, off_in: LinearAddress, fd_out: i32, off_out: LinearAddress, len: u64, flags: Flags) => copy::splice;
    276 tee(fd_in: i32, fd_out: i32, len: u64, flags: Flags) => copy::tee;
    277 sync_file_range(fd: i32, offset: i64, nbytes: i64, flags: Flags) => file::sync_file_range;
    278 vmsplice(fd: i32, iov: LinearAddress, nr_segs: u64, flags: Flags) => copy::vmsplice;
    280 utimensat(dirfd: DirFd, pathname: PathAddress, times: LinearAddress, flags: Flags) => stat::utimensat;
    281 epoll_pwait(epfd: i32, events: LinearAddress, maxevents: i32, timeout: i32, sigmask: LinearAddress, sigsetsize: u64) => epoll::epoll_pwait;
    282 signalfd(fd: i32, mask: LinearAddress, sizemask: u64) => event::signalfd;
    283 timerfd_create(clockid: i32, flags: Flags) => event::timerfd_create;
    284 eventfd(initval: u32) => event::eventfd;
    285 fallocate(fd: i32, mode: Flags, offset: i64, length: i64) => file::fallocate;
    286 timerfd_settime(fd: i32, flags: Flags, new_value: LinearAddress, old_value: LinearAddress) => event::timerfd_settime;
    287 timerfd_gettime(fd: i32, curr_value: LinearAddress) => event::timerfd_gettime;
    288 accept4(fd: i32, addr: LinearAddress, addrlen: LinearAddress, flags: Flags) => socket::accept4;
    289 signalfd4(fd: i32, mask: LinearAddress, sizemask: u64, flags: Flags) => event::signalfd4;
    290 eventfd2(initval: u32, flags: Flags) => event::eventfd2;
    291 epoll_create1(flags: Flags) => epoll::epoll_create1;
    292 dup3(oldfd: i32, newfd: i32, flags: Flags) => descriptor::dup3;
    293 pipe2(pipefd: LinearAddress, flags: Flags) => pipe::pipe2;
    294 inotify_init1(flags: Flags) => inotify::inotify_init1;
    295 preadv(fd: i32, iov: LinearAddress, iovcnt: u64, pos_l: i64, pos_h: u64) => file::preadv;
    296 pwritev(fd: i32, iov: LinearAddress, iovcnt: u64, pos_l: i64, pos_h: u64) => file::pwritev;
    297 rt_tgsigqueueinfo(tgid: i32, tid: i32, sig: u32, info: LinearAddress) => signals::rt_tgsigqueueinfo;
    299 recvmmsg(fd: i32, msgvec: LinearAddress, vlen: u32, flags: Flags, timeout: LinearAddress) => message::recvmmsg;
    302 prlimit64(pid: i32, resource: u32, new_limit: LinearAddress, old_limit: LinearAddress) => process::prlimit64;
    303 name_to_handle_at(dirfd: DirFd, pathname: PathAddress, handle: LinearAddress, mount_id: LinearAddress, flags: Flags) => mount::name_to_handle_at;
    306 syncfs(fd: i32) => file::syncfs;
    307 sendmmsg(fd: i32, msgvec: LinearAddress, vlen: u32, flags: Flags) => message::sendmmsg;
    309 getcpu(cpu: LinearAddress, node: LinearAddress) => scheduling::getcpu;
    316 renameat2(olddirfd: DirFd, oldpath: PathAddress, newdirfd: DirFd, newpath: PathAddress, flags: Flags) => path::renameat2;
    318 getrandom(buf: LinearAddress, count: u64, flags: Flags) => process::getrandom;
    319 memfd_create(name: LinearAddress, flags: Flags) => event::memfd_create;
    324 membarrier(cmd: i32, flags: Flags, cpu_id: i32) => membarrier::membarrier;
    325 mlock2(addr: LinearAddress, length: u64, flags: Flags) => memory::mlock2;
    326 copy_file_range(fd_in: i32, off_in: LinearAddress, fd_out: i32, off_out: LinearAddress, len: u64, flags: Flags) => copy::copy_file_range;
    327 preadv2(fd: i32, iov: LinearAddress, iovcnt: u64, pos_l: i64, pos_h: u64, flags: Flags) => file::preadv2;
    328 pwritev2(fd: i32, iov: LinearAddress, iovcnt: u64, pos_l: i64, pos_h: u64, flags: Flags) => file::pwritev2;
    330 pkey_alloc(flags: Flags, access_rights: u64) => memory::pkey_alloc;
    332 statx(dirfd: DirFd, pathname: PathAddress, flags: Flags, mask: Flags, statxbuf: LinearAddress) => stat::statx;
    334 rseq(rseq: LinearAddress, length: u32, flags: Flags, sig: u32) => rseq::rseq;
    424 pidfd_send_signal(pidfd: i32, sig: u32, info: LinearAddress, flags: Flags) => pidfd::pidfd_send_signal;
    434 pidfd_open(pid: i32, flags: Flags) => pidfd::pidfd_open;
    436 close_range(first: u32, last: u32, flags: Flags) => descriptor::close_range;
    437 openat2(dirfd: DirFd, pathname: PathAddress, how: LinearAddress, size: u64) => file::openat2;
    438 pidfd_getfd(pidfd: i32, targetfd: i32, flags: Flags) => pidfd::pidfd_getfd;
    439 faccessat2(dirfd: DirFd, pathname: PathAddress, mode: Flags, flags: Flags) => stat::faccessat2;
    441 epoll_pwait2(epfd: i32, events: LinearAddress, maxevents: i32, timeout: LinearAddress, sigmask: LinearAddress, sigsetsize: u64) => epoll::epoll_pwait2;
    452 fchmodat2(dirfd: DirFd, pathname: PathAddress, mode: Mode, flags: Flags) => stat::fchmodat2;
}
