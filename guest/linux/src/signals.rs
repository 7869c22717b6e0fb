//! Signals.

use alloc::sync::Arc;

use guest_hal::LinearAddress;
use guest_kernel::process::current;
use guest_kernel::signal::{self, Action, AlternateStack, COUNT, SignalInfo, UNBLOCKABLE, bit};
use guest_kernel::thread::{self, Thread};
use guest_kernel::{Errno, Result, uaccess, wait};

use crate::{Return, signal_frame, time};

/// Smallest alternate stack.
const MINSIGSTKSZ: u64 = 2048;
const SS_ONSTACK: u32 = 1;
const SS_DISABLE: u32 = 2;
const SS_AUTODISARM: u32 = 1 << 31;
pub(crate) const SI_USER: i32 = 0;
const SI_TKILL: i32 = -6;

fn check_set_size(size: u64) -> Result<()> {
    if size == 8 {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

fn check_signal(signal: u32) -> Result<()> {
    if (1..=COUNT).contains(&signal) {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// `rt_sigaction`.
pub fn rt_sigaction(
    signum: u32,
    act: LinearAddress,
    oldact: LinearAddress,
    sigsetsize: u64,
) -> Return {
    check_set_size(sigsetsize)?;
    check_signal(signum)?;
    if act.0 != 0 && bit(signum) & UNBLOCKABLE != 0 {
        return Err(Errno::EINVAL);
    }
    let new = if act.0 == 0 {
        None
    } else {
        Some(read_action(act)?)
    };
    let old = current().signals.lock().action(signum);
    if let Some(new) = new {
        signal::set_action(signum, new);
    }
    if oldact.0 != 0 {
        let words = [old.handler, old.flags, old.restorer, old.mask];
        uaccess::write(oldact, words.map(u64::to_le_bytes).as_flattened())?;
    }
    Ok(0)
}

fn read_action(from: LinearAddress) -> Result<Action> {
    let mut words = [[0; 8]; 4];
    uaccess::read(from, words.as_flattened_mut())?;
    let [handler, flags, restorer, mask] = words.map(u64::from_le_bytes);
    Ok(Action {
        handler,
        flags,
        restorer,
        mask: mask & !UNBLOCKABLE,
    })
}

/// `rt_sigprocmask`.
pub fn rt_sigprocmask(
    how: u32,
    set: LinearAddress,
    oldset: LinearAddress,
    sigsetsize: u64,
) -> Return {
    check_set_size(sigsetsize)?;
    let new = if set.0 == 0 {
        None
    } else {
        Some(uaccess::read_u64(set)?)
    };
    let old = thread::current().signals.lock().blocked();
    if let Some(new) = new {
        let mask = match how {
            0 => old | new,
            1 => old & !new,
            2 => new,
            _ => return Err(Errno::EINVAL),
        };
        signal::set_blocked(mask);
    }
    if oldset.0 != 0 {
        uaccess::write(oldset, &old.to_le_bytes())?;
    }
    Ok(0)
}

/// `rt_sigpending`.
pub fn rt_sigpending(set: LinearAddress, sigsetsize: u64) -> Return {
    if sigsetsize > 8 {
        return Err(Errno::EINVAL);
    }
    let thread = thread::current();
    let signals = thread.signals.lock();
    let pending = signals.pending.mask() | current().signals.lock().pending.mask();
    let mask = pending & signals.blocked();
    drop(signals);
    let bytes = mask.to_le_bytes();
    uaccess::write(set, bytes.get(..sigsetsize as usize).unwrap_or_default())?;
    Ok(0)
}

/// `rt_sigsuspend`.
pub fn rt_sigsuspend(mask: LinearAddress, sigsetsize: u64) -> Return {
    check_set_size(sigsetsize)?;
    let mask = uaccess::read_u64(mask)?;
    signal::set_temporary_mask(mask);
    pause()
}

/// `pause`.
pub fn pause() -> Return {
    match wait::until(&[], None, &mut || None::<u64>) {
        Err(Errno::RESTART) => Err(Errno::RESTART_NO_HANDLER),
        Err(error) => Err(error),
        Ok(_) => Err(Errno::EINTR),
    }
}

/// `rt_sigtimedwait`.
pub fn rt_sigtimedwait(
    set: LinearAddress,
    info: LinearAddress,
    timeout: LinearAddress,
    sigsetsize: u64,
) -> Return {
    check_set_size(sigsetsize)?;
    let set = uaccess::read_u64(set)? & !UNBLOCKABLE;
    let deadline = time::deadline_after(timeout)?;
    let queues = [&current().signal_queue];
    let taken = wait::until(&queues, deadline, &mut || signal::take_from(set));
    let taken = taken.map_err(|_| Errno::EINTR)?.ok_or(Errno::EAGAIN)?;
    if info.0 != 0 {
        uaccess::write(info, &info_bytes(&taken))?;
    }
    Ok(u64::from(taken.number))
}

/// A `siginfo_t`.
fn info_bytes(info: &SignalInfo) -> [u8; 128] {
    let mut bytes = [0; 128];
    let head = info
        .number
        .to_le_bytes()
        .into_iter()
        .chain([0; 4])
        .chain(info.code.to_le_bytes());
    let fields = head.chain([0; 4]).chain(info.payload);
    bytes
        .iter_mut()
        .zip(fields)
        .for_each(|(to, from)| *to = from);
    bytes
}

/// `sigaltstack`.
pub(crate) fn sigaltstack(ss: LinearAddress, old_ss: LinearAddress, stack_pointer: u64) -> Return {
    let thread = thread::current();
    let old = thread.signals.lock().alternate;
    if ss.0 != 0 {
        let new = read_stack(ss)?;
        if old.size != 0 && old.contains(stack_pointer) && old.flags & SS_AUTODISARM == 0 {
            return Err(Errno::EPERM);
        }
        thread.signals.lock().alternate = new;
    }
    if old_ss.0 != 0 {
        let flags = signal_frame::stack_flags(old, stack_pointer);
        let words = [old.base, u64::from(flags), old.size];
        uaccess::write(old_ss, words.map(u64::to_le_bytes).as_flattened())?;
    }
    Ok(0)
}

fn read_stack(from: LinearAddress) -> Result<AlternateStack> {
    let mut words = [[0; 8]; 3];
    uaccess::read(from, words.as_flattened_mut())?;
    let [base, flags, size] = words.map(u64::from_le_bytes);
    let flags = flags as u32;
    match flags & !SS_AUTODISARM {
        SS_DISABLE => Ok(AlternateStack::default()),
        0 | SS_ONSTACK if size < MINSIGSTKSZ => Err(Errno::ENOMEM),
        0 | SS_ONSTACK => Ok(AlternateStack {
            base,
            size,
            flags: flags & SS_AUTODISARM,
        }),
        _ => Err(Errno::EINVAL),
    }
}

/// Whether a process or group number means the one process there is.
fn is_us(pid: i32) -> bool {
    let own = current().pid as i32;
    pid == own || pid == 0 || pid == -own || pid == -1
}

/// What a signal sent by the program comes with.
pub(crate) fn sent(signal: u32, code: i32) -> SignalInfo {
    let process = current();
    let [uid, ..] = process.credentials.lock().uid;
    SignalInfo::sent(signal, code, process.pid, uid, 0)
}

/// `kill`.
pub fn kill(pid: i32, sig: u32) -> Return {
    if sig > COUNT {
        return Err(Errno::EINVAL);
    }
    if !is_us(pid) {
        return Err(Errno::ESRCH);
    }
    if sig != 0 {
        signal::post(current(), sent(sig, SI_USER));
    }
    Ok(0)
}

/// A thread of the process by number.
fn thread_of(tid: i32) -> Result<Arc<Thread>> {
    let tid = u32::try_from(tid).map_err(|_| Errno::EINVAL)?;
    current().thread(tid).ok_or(Errno::ESRCH)
}

fn post_to(tid: i32, info: SignalInfo) -> Return {
    if tid <= 0 || info.number > COUNT {
        return Err(Errno::EINVAL);
    }
    let thread = thread_of(tid)?;
    if info.number != 0 {
        signal::post_to(&thread, info);
    }
    Ok(0)
}

/// `tkill`.
pub fn tkill(tid: i32, sig: u32) -> Return {
    post_to(tid, sent(sig, SI_TKILL))
}

/// `tgkill`.
pub fn tgkill(tgid: i32, tid: i32, sig: u32) -> Return {
    if tgid <= 0 || tid <= 0 {
        return Err(Errno::EINVAL);
    }
    if tgid != current().pid as i32 {
        return Err(Errno::ESRCH);
    }
    post_to(tid, sent(sig, SI_TKILL))
}

/// What `rt_sigqueueinfo` and its like send.
pub(crate) fn queued(sig: u32, info: LinearAddress) -> Result<SignalInfo> {
    let mut bytes = [0; 40];
    uaccess::read(info, &mut bytes)?;
    let code = bytes.get(8..).and_then(|rest| rest.first_chunk());
    let mut payload = [0; 24];
    payload
        .iter_mut()
        .zip(bytes.iter().skip(16))
        .for_each(|(to, from)| *to = *from);
    Ok(SignalInfo {
        number: sig,
        code: code.copied().map_or(0, i32::from_le_bytes),
        payload,
    })
}

/// `rt_sigqueueinfo`.
pub fn rt_sigqueueinfo(pid: i32, sig: u32, info: LinearAddress) -> Return {
    let info = queued(sig, info)?;
    if sig > COUNT {
        return Err(Errno::EINVAL);
    }
    if pid != current().pid as i32 {
        return Err(Errno::ESRCH);
    }
    if sig != 0 {
        signal::post(current(), info);
    }
    Ok(0)
}

/// `rt_tgsigqueueinfo`.
pub fn rt_tgsigqueueinfo(tgid: i32, tid: i32, sig: u32, info: LinearAddress) -> Return {
    if tgid <= 0 || tid <= 0 {
        return Err(Errno::EINVAL);
    }
    let info = queued(sig, info)?;
    if tgid != current().pid as i32 {
        return Err(Errno::ESRCH);
    }
    post_to(tid, info)
}
