//! Scheduling and futexes, for one thread on one processor.

use guest_hal::{LinearAddress, time as clock};
use guest_kernel::{Errno, Result, uaccess, wait};

use crate::argument::Flags;
use crate::{Return, time};

/// Bytes of a processor mask the kernel has.
const MASK_SIZE: u64 = 8;
const FUTEX_WAIT: u32 = 0;
const FUTEX_WAKE: u32 = 1;
const FUTEX_REQUEUE: u32 = 3;
const FUTEX_CMP_REQUEUE: u32 = 4;
const FUTEX_WAIT_BITSET: u32 = 9;
const FUTEX_WAKE_BITSET: u32 = 10;
const FUTEX_CLOCK_REALTIME: u32 = 256;
const FUTEX_COMMAND: u32 = 127;
/// `SCHED_OTHER`, `SCHED_FIFO`, `SCHED_RR`, `SCHED_BATCH`, `SCHED_IDLE`.
const POLICIES: [i32; 5] = [0, 1, 2, 3, 5];

fn check_pid(pid: i32) -> Result<()> {
    match pid {
        pid if pid < 0 => Err(Errno::EINVAL),
        0 => Ok(()),
        pid if pid == guest_kernel::process::current().pid as i32 => Ok(()),
        _ => Err(Errno::ESRCH),
    }
}

/// `sched_yield`.
pub fn sched_yield() -> Return {
    Ok(0)
}

/// `sched_getaffinity`.
pub fn sched_getaffinity(pid: i32, cpusetsize: u64, mask: LinearAddress) -> Return {
    check_pid(pid)?;
    if cpusetsize < MASK_SIZE || !cpusetsize.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    uaccess::write(mask, &1u64.to_le_bytes())?;
    Ok(MASK_SIZE)
}

/// `sched_setaffinity`.
pub fn sched_setaffinity(pid: i32, cpusetsize: u64, mask: LinearAddress) -> Return {
    check_pid(pid)?;
    let mut byte = [0];
    if cpusetsize > 0 {
        uaccess::read(mask, &mut byte)?;
    }
    if byte[0] & 1 == 0 {
        Err(Errno::EINVAL)
    } else {
        Ok(0)
    }
}

/// `sched_getscheduler`.
pub fn sched_getscheduler(pid: i32) -> Return {
    check_pid(pid)?;
    Ok(0)
}

/// `sched_setscheduler`.
pub fn sched_setscheduler(pid: i32, policy: i32, param: LinearAddress) -> Return {
    check_pid(pid)?;
    let priority = uaccess::read_u32(param)?;
    match policy {
        0 | 3 | 5 if priority == 0 => Ok(0),
        1 | 2 => Err(Errno::EPERM),
        _ => Err(Errno::EINVAL),
    }
}

/// `sched_getparam`.
pub fn sched_getparam(pid: i32, param: LinearAddress) -> Return {
    check_pid(pid)?;
    uaccess::write(param, &0u32.to_le_bytes())?;
    Ok(0)
}

/// `sched_setparam`.
pub fn sched_setparam(pid: i32, param: LinearAddress) -> Return {
    check_pid(pid)?;
    if uaccess::read_u32(param)? == 0 {
        Ok(0)
    } else {
        Err(Errno::EINVAL)
    }
}

/// `sched_get_priority_max`.
pub fn sched_get_priority_max(policy: i32) -> Return {
    match policy {
        1 | 2 => Ok(99),
        policy if POLICIES.contains(&policy) => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// `sched_get_priority_min`.
pub fn sched_get_priority_min(policy: i32) -> Return {
    sched_get_priority_max(policy).map(|max| u64::from(max > 0))
}

/// `sched_rr_get_interval`.
pub fn sched_rr_get_interval(pid: i32, tp: LinearAddress) -> Return {
    check_pid(pid)?;
    time::write_timespec(tp, guest_hal::Nanos(4_000_000))?;
    Ok(0)
}

/// `getpriority`: as the call returns it, 20 minus the nice value.
pub fn getpriority(which: i32, _who: i32) -> Return {
    if (0..=2).contains(&which) {
        Ok(20)
    } else {
        Err(Errno::EINVAL)
    }
}

/// `setpriority`: accepted; one thread has nobody to be nice to.
pub fn setpriority(which: i32, _who: i32, _prio: i32) -> Return {
    if (0..=2).contains(&which) {
        Ok(0)
    } else {
        Err(Errno::EINVAL)
    }
}

/// `getcpu`.
pub fn getcpu(cpu: LinearAddress, node: LinearAddress) -> Return {
    for out in [cpu, node] {
        if out.0 != 0 {
            uaccess::write(out, &0u32.to_le_bytes())?;
        }
    }
    Ok(0)
}

/// `membarrier`: one processor sees its own writes in order.
pub fn membarrier(cmd: i32, _flags: Flags, _cpu_id: i32) -> Return {
    const SUPPORTED: i32 = 0x1ff;
    match cmd {
        0 => Ok(SUPPORTED as u64),
        cmd if cmd & !SUPPORTED == 0 && cmd.count_ones() == 1 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// `futex`. With one thread nobody can wake another; waiting lasts until the time-out or
/// a signal.
pub fn futex(
    uaddr: LinearAddress,
    op: Flags,
    val: u32,
    timeout: LinearAddress,
    _uaddr2: LinearAddress,
    val3: u32,
) -> Return {
    if !uaddr.0.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    match op.0 & FUTEX_COMMAND {
        FUTEX_WAKE | FUTEX_REQUEUE | FUTEX_WAKE_BITSET => Ok(0),
        FUTEX_CMP_REQUEUE if uaccess::read_u32(uaddr)? != val3 => Err(Errno::EAGAIN),
        FUTEX_CMP_REQUEUE => Ok(0),
        FUTEX_WAIT => futex_wait(uaddr, val, time::deadline_after(timeout)?),
        FUTEX_WAIT_BITSET => {
            let deadline = absolute_deadline(timeout, op.0 & FUTEX_CLOCK_REALTIME != 0)?;
            futex_wait(uaddr, val, deadline)
        }
        _ => Err(Errno::ENOSYS),
    }
}

fn absolute_deadline(timeout: LinearAddress, realtime: bool) -> Result<Option<guest_hal::Nanos>> {
    if timeout.0 == 0 {
        return Ok(None);
    }
    let at = time::read_timespec(timeout)?;
    let now = if realtime {
        clock::realtime()
    } else {
        clock::monotonic()
    };
    Ok(Some(
        clock::monotonic().saturating_add(at.saturating_sub(now)),
    ))
}

fn futex_wait(uaddr: LinearAddress, val: u32, deadline: Option<guest_hal::Nanos>) -> Return {
    if uaccess::read_u32(uaddr)? != val {
        return Err(Errno::EAGAIN);
    }
    match wait::until(deadline, &mut || None::<()>)? {
        Some(()) => Ok(0),
        None => Err(Errno::ETIMEDOUT),
    }
}
