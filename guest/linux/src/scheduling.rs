//! Scheduling: affinities, policies, nice values.

use alloc::sync::Arc;

use guest_hal::{LinearAddress, platform};
use guest_kernel::process::{current, limit};
use guest_kernel::sched::{self, PRIORITY_MAX, Policy};
use guest_kernel::thread::{self, Thread};
use guest_kernel::{Errno, Result, uaccess};

use crate::{Return, time};

/// Bytes of a processor mask the kernel has.
const MASK_SIZE: u64 = 8;
/// `SCHED_RESET_ON_FORK`, which means processes.
const RESET_ON_FORK: i32 = 0x4000_0000;

/// A thread by number; zero is the caller.
fn thread_of(pid: i32) -> Result<Arc<Thread>> {
    match pid {
        0 => Ok(thread::current()),
        pid if pid < 0 => Err(Errno::EINVAL),
        pid => current().thread(pid as u32).ok_or(Errno::ESRCH),
    }
}

/// `sched_yield`.
pub fn sched_yield() -> Return {
    sched::yield_now();
    Ok(0)
}

/// The virtual CPUs there are, a bit each.
fn all_vcpus() -> u64 {
    u64::MAX >> (64 - sched::vcpus())
}

/// `sched_getaffinity`.
pub fn sched_getaffinity(pid: i32, cpusetsize: u64, mask: LinearAddress) -> Return {
    let thread = thread_of(pid)?;
    if cpusetsize < MASK_SIZE || !cpusetsize.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    let affinity = thread.scheduling().affinity & all_vcpus();
    uaccess::write(mask, &affinity.to_le_bytes())?;
    Ok(MASK_SIZE)
}

/// `sched_setaffinity`.
pub fn sched_setaffinity(pid: i32, cpusetsize: u64, mask: LinearAddress) -> Return {
    let thread = thread_of(pid)?;
    let mut bytes = [0; MASK_SIZE as usize];
    let length = cpusetsize.min(MASK_SIZE) as usize;
    uaccess::read(mask, bytes.get_mut(..length).unwrap_or_default())?;
    let affinity = u64::from_le_bytes(bytes) & all_vcpus();
    if affinity == 0 {
        return Err(Errno::EINVAL);
    }
    sched::set_affinity(&thread, affinity);
    Ok(0)
}

const fn policy_of(number: i32) -> Option<Policy> {
    match number {
        0 => Some(Policy::Other),
        1 => Some(Policy::Fifo),
        2 => Some(Policy::RoundRobin),
        3 => Some(Policy::Batch),
        5 => Some(Policy::Idle),
        _ => None,
    }
}

/// `sched_getscheduler`.
pub fn sched_getscheduler(pid: i32) -> Return {
    Ok(thread_of(pid)?.scheduling().policy as u64)
}

/// Whether the process may have threads of a real-time priority.
fn may_have(priority: u8) -> bool {
    let limits = current().limits.lock();
    let (allowed, _) = limits.get(limit::RTPRIO).copied().unwrap_or_default();
    u64::from(priority) <= allowed || current().credentials.lock().is_root()
}

fn set_policy(thread: &Thread, policy: Policy, priority: u32) -> Return {
    let is_real_time = policy.is_real_time();
    let range = if is_real_time {
        1..=u32::from(PRIORITY_MAX)
    } else {
        0..=0
    };
    if !range.contains(&priority) {
        return Err(Errno::EINVAL);
    }
    let priority = priority as u8;
    let before = thread.scheduling();
    let raises = is_real_time && (!before.is_real_time || priority > before.priority);
    if raises && !may_have(priority) {
        return Err(Errno::EPERM);
    }
    sched::set_policy(thread, policy, priority);
    Ok(0)
}

/// `sched_setscheduler`.
pub fn sched_setscheduler(pid: i32, policy: i32, param: LinearAddress) -> Return {
    let priority = uaccess::read_u32(param)?;
    let thread = thread_of(pid)?;
    let policy = policy_of(policy & !RESET_ON_FORK).ok_or(Errno::EINVAL)?;
    set_policy(&thread, policy, priority)
}

/// `sched_getparam`.
pub fn sched_getparam(pid: i32, param: LinearAddress) -> Return {
    let priority = u32::from(thread_of(pid)?.scheduling().priority);
    uaccess::write(param, &priority.to_le_bytes())?;
    Ok(0)
}

/// `sched_setparam`.
pub fn sched_setparam(pid: i32, param: LinearAddress) -> Return {
    let priority = uaccess::read_u32(param)?;
    let thread = thread_of(pid)?;
    let policy = thread.scheduling().policy;
    set_policy(&thread, policy, priority)
}

/// `sched_get_priority_max`.
pub fn sched_get_priority_max(policy: i32) -> Return {
    match policy_of(policy) {
        Some(Policy::Fifo | Policy::RoundRobin) => Ok(u64::from(PRIORITY_MAX)),
        Some(_) => Ok(0),
        None => Err(Errno::EINVAL),
    }
}

/// `sched_get_priority_min`.
pub fn sched_get_priority_min(policy: i32) -> Return {
    sched_get_priority_max(policy).map(|max| u64::from(max > 0))
}

/// `sched_rr_get_interval`.
pub fn sched_rr_get_interval(pid: i32, tp: LinearAddress) -> Return {
    thread_of(pid)?;
    time::write_timespec(tp, sched::SLICE)?;
    Ok(0)
}

/// The threads that `getpriority` and `setpriority` mean: of one number, or all.
fn threads_of(which: i32, who: i32) -> Result<alloc::vec::Vec<Arc<Thread>>> {
    let process = current();
    match which {
        0 => Ok(alloc::vec![thread_of(who).map_err(|_| Errno::ESRCH)?]),
        1 | 2 => Ok(process.threads.lock().values().cloned().collect()),
        _ => Err(Errno::EINVAL),
    }
}

/// `getpriority`: as the call returns it, 20 minus the nice value.
pub fn getpriority(which: i32, who: i32) -> Return {
    let threads = threads_of(which, who)?;
    let nice = threads.iter().map(|thread| thread.scheduling().nice).min();
    nice.map(|nice| (20 - i64::from(nice)) as u64)
        .ok_or(Errno::ESRCH)
}

/// `setpriority`.
pub fn setpriority(which: i32, who: i32, prio: i32) -> Return {
    let nice = prio.clamp(-20, 19) as i8;
    let threads = threads_of(which, who)?;
    let (allowed, _) = current()
        .limits
        .lock()
        .get(limit::NICE)
        .copied()
        .unwrap_or_default();
    let is_root = current().credentials.lock().is_root();
    for thread in threads {
        let raises = nice < thread.scheduling().nice;
        if raises && !is_root && (20 - i64::from(nice)) as u64 > allowed {
            return Err(Errno::EACCES);
        }
        sched::set_nice(&thread, nice);
    }
    Ok(0)
}

/// `getcpu`.
pub fn getcpu(cpu: LinearAddress, node: LinearAddress) -> Return {
    for (out, number) in [(cpu, platform().vcpu() as u32), (node, 0)] {
        if out.0 != 0 {
            uaccess::write(out, &number.to_le_bytes())?;
        }
    }
    Ok(0)
}
