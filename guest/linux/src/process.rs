//! The process: who it is, its limits, its end.

use core::fmt;
use core::sync::atomic::Ordering;

use guest_hal::report::{self, End};
use guest_hal::{LinearAddress, UserContext, boot, platform, time as clock};
use guest_kernel::fs::proc::RELEASE;
use guest_kernel::net::network;
use guest_kernel::process::current;
use guest_kernel::signal::SignalInfo;
use guest_kernel::time::processor;
use guest_kernel::{Errno, Result, random, sched, thread, uaccess};
use linux_raw_sys::{general as raw, prctl as raw_prctl};

use crate::argument::Flags;
use crate::dispatch::Registers;
use crate::path::check_flags;
use crate::{Return, descriptor, dispatch, names, pidfd, threads, time, trace};

/// Build string of `uname`.
pub const VERSION: &str = "#1 SMP PREEMPT_DYNAMIC Husk";
const UTS_FIELD: usize = 65;
const ARCH_SET_GS: u32 = 0x1001;
const ARCH_SET_FS: u32 = 0x1002;
const ARCH_GET_FS: u32 = 0x1003;

/// `getpid` and `gettid`.
pub fn getpid() -> Return {
    Ok(u64::from(current().pid))
}

/// `getppid`: the machine's monitor is outside of what the program can see.
pub fn getppid() -> Return {
    Ok(0)
}

/// `getpgrp`.
pub fn getpgrp() -> Return {
    getpid()
}

fn check_self(pid: i32) -> Result<()> {
    match pid {
        0 => Ok(()),
        pid if pid == current().pid as i32 => Ok(()),
        _ => Err(Errno::ESRCH),
    }
}

/// `getpgid`.
pub fn getpgid(pid: i32) -> Return {
    check_self(pid)?;
    getpid()
}

/// `getsid`.
pub fn getsid(pid: i32) -> Return {
    getpgid(pid)
}

/// `setpgid`: the process leads its session, whose group cannot change.
pub fn setpgid(pid: i32, pgid: i32) -> Return {
    check_self(pid)?;
    if pgid < 0 {
        Err(Errno::EINVAL)
    } else {
        Err(Errno::EPERM)
    }
}

/// `setsid`: the process already leads a group.
pub fn setsid() -> Return {
    Err(Errno::EPERM)
}

/// `getuid`.
pub fn getuid() -> Return {
    let [real, ..] = current().credentials.lock().uid;
    Ok(u64::from(real))
}

/// `geteuid`.
pub fn geteuid() -> Return {
    Ok(u64::from(current().credentials.lock().euid()))
}

/// `getgid`.
pub fn getgid() -> Return {
    let [real, ..] = current().credentials.lock().gid;
    Ok(u64::from(real))
}

/// `getegid`.
pub fn getegid() -> Return {
    Ok(u64::from(current().credentials.lock().egid()))
}

/// Changes identifiers: `None` keeps one. Without privilege each must be one of the
/// present three.
fn change_ids(ids: &mut [u32; 3], wanted: [Option<u32>; 3], privileged: bool) -> Result<()> {
    let allowed = |id: &u32| privileged || ids.contains(id);
    if !wanted.iter().flatten().all(allowed) {
        return Err(Errno::EPERM);
    }
    for (id, new) in ids.iter_mut().zip(wanted) {
        *id = new.unwrap_or(*id);
    }
    Ok(())
}

const fn given(id: u32) -> Option<u32> {
    if id == u32::MAX { None } else { Some(id) }
}

/// `setuid`.
pub fn setuid(uid: u32) -> Return {
    let id = given(uid).ok_or(Errno::EINVAL)?;
    let mut credentials = current().credentials.lock();
    let root = credentials.is_root();
    let others = root.then_some(id);
    change_ids(&mut credentials.uid, [others, Some(id), others], root)?;
    Ok(0)
}

/// `setgid`.
pub fn setgid(gid: u32) -> Return {
    let id = given(gid).ok_or(Errno::EINVAL)?;
    let mut credentials = current().credentials.lock();
    let root = credentials.is_root();
    let others = root.then_some(id);
    change_ids(&mut credentials.gid, [others, Some(id), others], root)?;
    Ok(0)
}

/// `setreuid`.
pub fn setreuid(ruid: u32, euid: u32) -> Return {
    let mut credentials = current().credentials.lock();
    let root = credentials.is_root();
    let saved =
        given(euid).filter(|id| given(ruid).is_some() || credentials.uid.first() != Some(id));
    change_ids(
        &mut credentials.uid,
        [given(ruid), given(euid), saved],
        root,
    )?;
    Ok(0)
}

/// `setregid`.
pub fn setregid(rgid: u32, egid: u32) -> Return {
    let mut credentials = current().credentials.lock();
    let root = credentials.is_root();
    let saved =
        given(egid).filter(|id| given(rgid).is_some() || credentials.gid.first() != Some(id));
    change_ids(
        &mut credentials.gid,
        [given(rgid), given(egid), saved],
        root,
    )?;
    Ok(0)
}

/// `setresuid`.
pub fn setresuid(ruid: u32, euid: u32, suid: u32) -> Return {
    let mut credentials = current().credentials.lock();
    let root = credentials.is_root();
    change_ids(
        &mut credentials.uid,
        [given(ruid), given(euid), given(suid)],
        root,
    )?;
    Ok(0)
}

/// `setresgid`.
pub fn setresgid(rgid: u32, egid: u32, sgid: u32) -> Return {
    let mut credentials = current().credentials.lock();
    let root = credentials.is_root();
    change_ids(
        &mut credentials.gid,
        [given(rgid), given(egid), given(sgid)],
        root,
    )?;
    Ok(0)
}

fn write_ids(places: [LinearAddress; 3], ids: [u32; 3]) -> Return {
    for (place, id) in places.into_iter().zip(ids) {
        uaccess::write(place, &id.to_le_bytes())?;
    }
    Ok(0)
}

/// `getresuid`.
pub fn getresuid(ruid: LinearAddress, euid: LinearAddress, suid: LinearAddress) -> Return {
    let ids = current().credentials.lock().uid;
    write_ids([ruid, euid, suid], ids)
}

/// `getresgid`.
pub fn getresgid(rgid: LinearAddress, egid: LinearAddress, sgid: LinearAddress) -> Return {
    let ids = current().credentials.lock().gid;
    write_ids([rgid, egid, sgid], ids)
}

/// `setfsuid`: file access goes by the effective user; reports it and changes nothing.
pub fn setfsuid(_fsuid: u32) -> Return {
    geteuid()
}

/// `setfsgid`.
pub fn setfsgid(_fsgid: u32) -> Return {
    getegid()
}

/// `getgroups`.
pub fn getgroups(size: i32, list: LinearAddress) -> Return {
    let groups = current().credentials.lock().groups.clone();
    if size != 0 {
        if usize::try_from(size).map_err(|_| Errno::EINVAL)? < groups.len() {
            return Err(Errno::EINVAL);
        }
        let bytes: alloc::vec::Vec<u8> = groups.iter().flat_map(|id| id.to_le_bytes()).collect();
        uaccess::write(list, &bytes)?;
    }
    Ok(groups.len() as u64)
}

/// `setgroups`.
pub fn setgroups(size: u64, list: LinearAddress) -> Return {
    if !current().credentials.lock().is_root() {
        return Err(Errno::EPERM);
    }
    if size > 65536 {
        return Err(Errno::EINVAL);
    }
    let bytes = uaccess::read_vec(list, size * 4)?;
    let groups = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|four| u32::from_le_bytes(*four))
        .collect();
    current().credentials.lock().groups = groups;
    Ok(0)
}

/// `uname`.
pub fn uname(buf: LinearAddress) -> Return {
    let host = guest_kernel::process::host_name();
    let fields: [&[u8]; 6] = [
        b"Linux",
        &host,
        RELEASE.as_bytes(),
        VERSION.as_bytes(),
        b"x86_64",
        b"(none)",
    ];
    let mut bytes = [[0; UTS_FIELD]; 6];
    for (slot, field) in bytes.iter_mut().zip(fields) {
        slot.iter_mut()
            .zip(field.iter().take(UTS_FIELD - 1))
            .for_each(|(to, from)| *to = *from);
    }
    uaccess::write(buf, bytes.as_flattened())?;
    Ok(0)
}

/// `sethostname`.
pub fn sethostname(name: LinearAddress, length: u64) -> Return {
    if !current().credentials.lock().is_root() {
        return Err(Errno::EPERM);
    }
    if length > 64 {
        return Err(Errno::EINVAL);
    }
    let name = uaccess::read_vec(name, length)?;
    guest_kernel::process::set_host_name(name);
    Ok(0)
}

/// `sysinfo`.
pub fn sysinfo(info: LinearAddress) -> Return {
    let uptime = clock::boottime().0 / 1_000_000_000;
    let total = boot::info().memory_limit;
    let used = current().memory.lock().mapped_bytes().min(total);
    let words = [uptime, 0, 0, 0, total, total - used, 0, 0, 0, 0, 1, 0, 0, 1];
    let mut bytes = [[0; 8]; 14];
    for (slot, word) in bytes.iter_mut().zip(words) {
        *slot = word.to_le_bytes();
    }
    uaccess::write(info, bytes.as_flattened())?;
    Ok(0)
}

/// `getrusage`.
pub fn getrusage(who: i32, usage: LinearAddress) -> Return {
    let thread = thread::current();
    let (used, switches) = match who {
        0 => (processor(), current().switches()),
        1 => (sched::ran(&thread), thread.switches()),
        -1 => (guest_hal::Nanos(0), (0, 0)),
        _ => return Err(Errno::EINVAL),
    };
    let mut words = [0; 18];
    let [seconds, micros] = time::timeval(used);
    let faults = report::counters().page_faults.load(Ordering::Relaxed);
    let resident = current().memory.lock().mapped_bytes() / 1024;
    let values = [seconds, micros, 0, 0, resident, 0, 0, 0, faults];
    // What comes between (major faults to signals) nobody counts.
    let all = values.into_iter().chain([0; 7]);
    let all = all.chain([switches.0, switches.1]);
    words.iter_mut().zip(all).for_each(|(to, from)| *to = from);
    uaccess::write(usage, words.map(u64::to_le_bytes).as_flattened())?;
    Ok(0)
}

/// `times`.
pub fn times(buf: LinearAddress) -> Return {
    const TICK: u64 = 10_000_000;
    if buf.0 != 0 {
        let words = [processor().0 / TICK, 0, 0, 0];
        uaccess::write(buf, words.map(u64::to_le_bytes).as_flattened())?;
    }
    Ok(clock::monotonic().0 / TICK)
}

/// `prlimit64`.
pub fn prlimit64(
    pid: i32,
    resource: u32,
    new_limit: LinearAddress,
    old_limit: LinearAddress,
) -> Return {
    check_self(pid)?;
    let process = current();
    let old = process
        .limits
        .lock()
        .get(resource as usize)
        .copied()
        .ok_or(Errno::EINVAL)?;
    if new_limit.0 != 0 {
        let new = read_limit(new_limit)?;
        let (soft, hard) = new;
        if soft > hard {
            return Err(Errno::EINVAL);
        }
        if hard > old.1 && !process.credentials.lock().is_root() {
            return Err(Errno::EPERM);
        }
        if let Some(slot) = process.limits.lock().get_mut(resource as usize) {
            *slot = new;
        }
    }
    if old_limit.0 != 0 {
        write_limit(old_limit, old)?;
    }
    Ok(0)
}

fn read_limit(from: LinearAddress) -> Result<(u64, u64)> {
    let mut words = [[0; 8]; 2];
    uaccess::read(from, words.as_flattened_mut())?;
    let [soft, hard] = words.map(u64::from_le_bytes);
    Ok((soft, hard))
}

fn write_limit(to: LinearAddress, (soft, hard): (u64, u64)) -> Result<()> {
    uaccess::write(to, [soft, hard].map(u64::to_le_bytes).as_flattened())
}

/// `getrlimit`.
pub fn getrlimit(resource: u32, rlim: LinearAddress) -> Return {
    prlimit64(0, resource, LinearAddress(0), rlim)
}

/// `setrlimit`.
pub fn setrlimit(resource: u32, rlim: LinearAddress) -> Return {
    prlimit64(0, resource, rlim, LinearAddress(0))
}

/// `prctl`.
pub fn prctl(option: u32, arg2: u64, _arg3: u64, _arg4: u64, _arg5: u64) -> Return {
    match option {
        raw_prctl::PR_SET_NAME => {
            let mut name = [0; 16];
            let text = uaccess::read_c_string(LinearAddress(arg2), 16, Errno::EINVAL);
            let text = text.or_else(|_| uaccess::read_vec(LinearAddress(arg2), 15))?;
            name.iter_mut()
                .zip(text.iter().take(15))
                .for_each(|(to, from)| *to = *from);
            *thread::current().name.lock() = text.into_iter().take(15).collect();
            Ok(0)
        }
        raw_prctl::PR_GET_NAME => {
            let mut bytes = [0; 16];
            let name = thread::current().name.lock().clone();
            bytes
                .iter_mut()
                .zip(name.iter().take(15))
                .for_each(|(to, from)| *to = *from);
            uaccess::write(LinearAddress(arg2), &bytes)?;
            Ok(0)
        }
        raw_prctl::PR_GET_DUMPABLE | raw_prctl::PR_GET_NO_NEW_PRIVS => Ok(1),
        raw_prctl::PR_CAPBSET_READ if arg2 <= 40 => Ok(1),
        raw_prctl::PR_GET_KEEPCAPS | raw_prctl::PR_GET_SECCOMP | raw_prctl::PR_GET_SECUREBITS => {
            Ok(0)
        }
        raw_prctl::PR_GET_TIMERSLACK => Ok(50_000),
        raw_prctl::PR_GET_PDEATHSIG => {
            uaccess::write(LinearAddress(arg2), &[0; 4])?;
            Ok(0)
        }
        raw_prctl::PR_SET_DUMPABLE
        | raw_prctl::PR_SET_PDEATHSIG
        | raw_prctl::PR_SET_NO_NEW_PRIVS
        | raw_prctl::PR_SET_TIMERSLACK
        | raw_prctl::PR_SET_KEEPCAPS
        | raw_prctl::PR_SET_PTRACER
        | raw_prctl::PR_SET_CHILD_SUBREAPER => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// `arch_prctl`. `gs` belongs to the kernel.
pub fn arch_prctl(code: u32, addr: u64) -> Return {
    match code {
        ARCH_SET_FS if addr >= guest_abi::layout::APP_END => Err(Errno::EPERM),
        ARCH_SET_FS => {
            platform().set_tls_base(addr);
            Ok(0)
        }
        ARCH_GET_FS => {
            let base = platform().tls_base();
            uaccess::write(LinearAddress(addr), &base.to_le_bytes())?;
            Ok(0)
        }
        ARCH_SET_GS => Err(Errno::EPERM),
        _ => Err(Errno::EINVAL),
    }
}

/// `personality`.
pub fn personality(persona: u64) -> Return {
    match persona as u32 {
        0 | 0xffff_ffff => Ok(0),
        // ADDR_NO_RANDOMIZE and its like take effect at the next exec, which there is not.
        _ => Err(Errno::EINVAL),
    }
}

/// `capget`: root has all, others none.
pub fn capget(header: LinearAddress, data: LinearAddress) -> Return {
    const VERSION_3: u32 = 0x2008_0522;
    if uaccess::read_u32(header)? != VERSION_3 {
        uaccess::write(header, &VERSION_3.to_le_bytes())?;
        return if data.0 == 0 {
            Ok(0)
        } else {
            Err(Errno::EINVAL)
        };
    }
    if data.0 != 0 {
        let root = current().credentials.lock().is_root();
        let (low, high) = if root { (u32::MAX, 0x1ff) } else { (0, 0) };
        let words = [low, low, 0, high, high, 0];
        uaccess::write(data, words.map(u32::to_le_bytes).as_flattened())?;
    }
    Ok(0)
}

/// `capset`: capabilities may be given up, which here changes nothing.
pub fn capset(header: LinearAddress, data: LinearAddress) -> Return {
    uaccess::read_u32(header)?;
    uaccess::read_u32(data)?;
    if current().credentials.lock().is_root() {
        Ok(0)
    } else {
        Err(Errno::EPERM)
    }
}

/// `getrandom`.
pub fn getrandom(buf: LinearAddress, count: u64, flags: Flags) -> Return {
    let known = raw::GRND_NONBLOCK | raw::GRND_RANDOM | raw::GRND_INSECURE;
    if flags.0 & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let count = count.min(i32::MAX as u64);
    let mut done = 0;
    let mut bytes = [0; 256];
    while done < count {
        let length = (count - done).min(256);
        let piece = bytes.get_mut(..length as usize).unwrap_or_default();
        random::fill(piece);
        uaccess::write(LinearAddress(buf.0.wrapping_add(done)), piece)?;
        done += length;
    }
    Ok(count)
}

/// `fork`, `vfork`: a machine has one process so far.
pub fn fork() -> Return {
    trace::unknown(57)
}

/// What `wait4` and `waitid` may be told beside for whom to wait.
const WAIT_FLAGS: u32 = raw::WNOHANG | raw::__WNOTHREAD | raw::__WCLONE | raw::__WALL;
/// What a child may have done.
const WAIT_EVENTS: u32 = raw::WEXITED | raw::WSTOPPED | raw::WCONTINUED;

/// `wait4`: there are no children.
pub fn wait4(_pid: i32, _wstatus: LinearAddress, options: Flags, _rusage: LinearAddress) -> Return {
    check_flags(options, WAIT_FLAGS | raw::WUNTRACED | raw::WCONTINUED)?;
    Err(Errno::ECHILD)
}

/// `waitid`: there are no children.
pub fn waitid(
    idtype: u32,
    id: i32,
    _infop: LinearAddress,
    options: Flags,
    _rusage: LinearAddress,
) -> Return {
    check_flags(options, WAIT_FLAGS | WAIT_EVENTS | raw::WNOWAIT)?;
    if options.0 & WAIT_EVENTS == 0 {
        return Err(Errno::EINVAL);
    }
    match idtype {
        raw::P_ALL => {}
        raw::P_PID if id > 0 => {}
        raw::P_PGID if id >= 0 => {}
        raw::P_PIDFD if id >= 0 => pidfd::check_process(id)?,
        _ => return Err(Errno::EINVAL),
    }
    Err(Errno::ECHILD)
}

/// `settimeofday`: the clocks are the host's.
pub fn settimeofday(_tv: LinearAddress, _tz: LinearAddress) -> Return {
    Err(Errno::EPERM)
}

/// `clock_settime`: the clocks are the host's.
pub fn clock_settime(_clockid: i32, _tp: LinearAddress) -> Return {
    Err(Errno::EPERM)
}

/// `ptrace`: there is nobody to trace.
pub fn ptrace(_request: u64, _pid: i32, _addr: LinearAddress, _data: LinearAddress) -> Return {
    Err(Errno::EPERM)
}

/// `exit_group`; `exit` of the last thread.
pub fn exit_group(status: i32) -> Return {
    wind_up();
    if dispatch::is_tracing() {
        trace::ended(Ok(status as u8));
    }
    report::end(End::Exited(status as u8), format_args!("{}", Hint))
}

/// Ends the machine as a signal ends a program.
pub(crate) fn end_by_signal(context: &UserContext, info: SignalInfo) -> ! {
    wind_up();
    if dispatch::is_tracing() {
        trace::ended(Err(info.number));
    }
    let end = End::Signaled(info.number as u8);
    let name = names::signal(info.number);
    report::end(
        end,
        format_args!("{name} at {}{}", Registers(context), Hint),
    )
}

/// Brings to the host what it has not seen yet, and to others what was sent to them. Another
/// thread may have begun with it: then the caller just ends.
pub(crate) fn wind_up() {
    if thread::current().is_killed() {
        threads::end();
    }
    current().memory.lock().write_back_all();
    if network::has_links() {
        threads::kill_others();
        if network::close_all() {
            descriptor::close_all();
            network::linger();
        }
    }
}

/// Which calls the program missed, if any.
struct Hint;

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &trace::unknown_names()[..] {
            [] => Ok(()),
            [name] => write!(f, "\nsystem call {name} is not served"),
            names => write!(f, "\nsystem calls {} are not served", names.join(", ")),
        }
    }
}
