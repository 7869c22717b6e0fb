//! Threads: how they begin and end.

use alloc::sync::Arc;

use guest_hal::{LinearAddress, UserContext, platform};
use guest_kernel::futex::{self, Key};
use guest_kernel::process::current;
use guest_kernel::signal::{AlternateStack, ThreadSignals};
use guest_kernel::thread::{self, Thread};
use guest_kernel::{Errno, Result, sched, uaccess, wait};
use linux_raw_sys::general as raw;

use crate::{Return, process, trace};

/// What a thread shares with its maker, all of it or it is a process.
const SHARED: u64 =
    (raw::CLONE_VM | raw::CLONE_FS | raw::CLONE_FILES | raw::CLONE_SIGHAND | raw::CLONE_THREAD)
        as u64;
/// What else may be asked for.
const OPTIONS: u64 = (raw::CLONE_SYSVSEM
    | raw::CLONE_SETTLS
    | raw::CLONE_PARENT_SETTID
    | raw::CLONE_CHILD_CLEARTID
    | raw::CLONE_CHILD_SETTID
    | raw::CLONE_DETACHED
    | raw::CLONE_IO
    | raw::CLONE_UNTRACED
    | raw::CLONE_PTRACE) as u64;
const CLONE: u64 = 56;
const CLONE3: u64 = 435;
/// Bytes of `struct clone_args` in its first version, and the most there may be.
const ARGUMENTS_MIN: u64 = 64;
const ARGUMENTS_MAX: u64 = 4096;
/// Bytes of `struct robust_list_head`.
const ROBUST_HEAD: u64 = 24;
/// Most entries of a robust list that are looked at (Linux' `ROBUST_LIST_LIMIT`).
const ROBUST_MAX: usize = 2048;

/// What `clone` and `clone3` ask for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    flags: u64,
    child_tid: LinearAddress,
    parent_tid: LinearAddress,
    /// Zero: that of the maker.
    stack_pointer: u64,
    tls: u64,
}

/// `clone`.
///
/// # Errors
/// `ENOSYS` for what is no thread, `EINVAL`, `EAGAIN`, `EFAULT`.
pub(crate) fn clone(context: &UserContext) -> Return {
    let wanted = Wanted {
        // The low byte is the signal at its end: threads have none.
        flags: context.rdi & !0xff,
        stack_pointer: context.rsi,
        parent_tid: LinearAddress(context.rdx),
        child_tid: LinearAddress(context.r10),
        tls: context.r8,
    };
    begin(context, wanted, CLONE)
}

/// `clone3`.
///
/// # Errors
/// As [`clone`]; `E2BIG` for arguments of a later version.
pub(crate) fn clone3(context: &UserContext) -> Return {
    let (at, size) = (LinearAddress(context.rdi), context.rsi);
    if size < ARGUMENTS_MIN {
        return Err(Errno::EINVAL);
    }
    if size > ARGUMENTS_MAX {
        return Err(Errno::E2BIG);
    }
    let bytes = uaccess::read_vec(at, size)?;
    let mut words = [0; ARGUMENTS_MIN as usize / 8];
    let (known, later) = bytes.split_at_checked(88).unwrap_or((&bytes, &[]));
    if later.iter().any(|&byte| byte != 0) {
        return Err(Errno::E2BIG);
    }
    for (word, bytes) in words.iter_mut().zip(known.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    let [
        flags,
        _pidfd,
        child_tid,
        parent_tid,
        signal,
        stack,
        stack_size,
        tls,
    ] = words;
    let is_thread = flags & u64::from(raw::CLONE_THREAD) != 0;
    let stack_is_whole = (stack == 0) == (stack_size == 0);
    if signal > 64 || is_thread && signal != 0 || !stack_is_whole || flags & 0xff != 0 {
        return Err(Errno::EINVAL);
    }
    let wanted = Wanted {
        flags,
        child_tid: LinearAddress(child_tid),
        parent_tid: LinearAddress(parent_tid),
        stack_pointer: stack.wrapping_add(stack_size),
        tls,
    };
    begin(context, wanted, CLONE3)
}

/// Whether the flags contradict each other, as Linux sees it.
fn are_wrong(flags: u64) -> bool {
    let has = |flag: u32| flags & flag as u64 != 0;
    has(raw::CLONE_THREAD) && !has(raw::CLONE_SIGHAND)
        || has(raw::CLONE_SIGHAND) && !has(raw::CLONE_VM)
}

fn begin(context: &UserContext, wanted: Wanted, call: u64) -> Return {
    if are_wrong(wanted.flags) {
        return Err(Errno::EINVAL);
    }
    if wanted.flags & SHARED != SHARED || wanted.flags & !(SHARED | OPTIONS) != 0 {
        // Processes.
        return trace::unknown(call);
    }
    let has = |flag: u32| wanted.flags & u64::from(flag) != 0;
    let tls = if has(raw::CLONE_SETTLS) {
        if wanted.tls >= guest_abi::layout::APP_END {
            return Err(Errno::EPERM);
        }
        wanted.tls
    } else {
        platform().tls_base()
    };
    let process = current();
    let tid = process.new_tid().ok_or(Errno::EAGAIN)?;
    let stack = match wanted.stack_pointer {
        0 => context.rsp,
        other => other,
    };
    let start = UserContext {
        rax: 0,
        rsp: stack,
        call: u64::MAX,
        ..*context
    };
    let thread = Thread::new(process, tid, &start, tls)?;
    inherit(&thread);
    if has(raw::CLONE_CHILD_CLEARTID) {
        *thread.clear_tid.lock() = wanted.child_tid;
    }
    if has(raw::CLONE_PARENT_SETTID) {
        uaccess::write(wanted.parent_tid, &tid.to_le_bytes())?;
    }
    if has(raw::CLONE_CHILD_SETTID) {
        // Linux writes it when the thread begins, and does not mind if it cannot.
        let _ = uaccess::write(wanted.child_tid, &tid.to_le_bytes());
    }
    process.threads.lock().insert(tid, Arc::clone(&thread));
    sched::start(&thread);
    Ok(u64::from(tid))
}

/// What a new thread has of its maker.
fn inherit(thread: &Thread) {
    let maker = thread::current();
    let blocked = maker.signals.lock().blocked();
    *thread.signals.lock() = ThreadSignals::inheriting(blocked, AlternateStack::default());
    *thread.name.lock() = maker.name.lock().clone();
    sched::inherit(&maker, thread);
}

/// `exit`: ends the calling thread, or the process with the last one.
pub fn exit(status: i32) -> Return {
    if current().threads.lock().len() == 1 {
        return process::exit_group(status);
    }
    end()
}

/// Ends the calling thread, which is not the last.
pub(crate) fn end() -> ! {
    let thread = thread::current();
    let process = current();
    let_go_of_robust(&thread);
    futex::owners_end(&thread);
    let cleared = *thread.clear_tid.lock();
    if cleared.0 != 0 && uaccess::write(cleared, &[0; 4]).is_ok() {
        // Nobody may wait, and then nothing is to be told.
        if let Ok(key) = Key::of(cleared, true) {
            // One who waits to own it is not woken just so.
            let _ = futex::wake(key, 1, futex::ANY);
        }
    }
    process.threads.lock().remove(&thread.tid);
    process.ended_threads.notify();
    drop(thread);
    sched::leave()
}

/// All threads but the calling one.
fn others() -> alloc::vec::Vec<Arc<Thread>> {
    let own = thread::current();
    let threads = current().threads.lock();
    let others = threads.values().filter(|other| !Arc::ptr_eq(other, &own));
    others.cloned().collect()
}

/// Has all threads but the calling one end instead of going back to the program.
pub(crate) fn kill_others() {
    others().iter().for_each(|other| other.kill());
}

/// Ends all threads but the calling one, which takes over the process's number.
pub(crate) fn end_others() {
    kill_others();
    wait::uninterrupted(&current().ended_threads, &mut || others().is_empty());
}

/// Tells those who wait for what the thread owned that nobody will let go of it.
fn let_go_of_robust(thread: &Thread) {
    let head = *thread.robust_list.lock();
    if head.0 != 0 {
        // A list that leads nowhere ends there.
        let _ = walk_robust(thread.tid, head);
    }
}

/// The list: `next`, the word's offset from an entry, and the entry that was being changed. Bit 0
/// of a pointer: it is a lock with inheritance of priority.
fn walk_robust(tid: u32, head: LinearAddress) -> Result<()> {
    let word = |at: u64| uaccess::read_u64(LinearAddress(at));
    let mut entry = word(head.0)?;
    let offset = word(head.0 + 8)?;
    let changing = word(head.0 + 16)?;
    let give_up = |entry: u64| {
        let at = LinearAddress((entry & !1).wrapping_add(offset));
        futex::owner_ended(at, tid, entry & 1 != 0)
    };
    for _ in 0..ROBUST_MAX {
        if entry & !1 == head.0 {
            break;
        }
        let next = word(entry & !1)?;
        if entry != changing {
            give_up(entry)?;
        }
        entry = next;
    }
    if changing != 0 {
        give_up(changing)?;
    }
    Ok(())
}

/// `gettid`.
pub fn gettid() -> Return {
    Ok(u64::from(thread::current().tid))
}

/// `set_tid_address`.
pub fn set_tid_address(tidptr: LinearAddress) -> Return {
    *thread::current().clear_tid.lock() = tidptr;
    gettid()
}

/// `set_robust_list`.
pub fn set_robust_list(head: LinearAddress, length: u64) -> Return {
    if length != ROBUST_HEAD {
        return Err(Errno::EINVAL);
    }
    *thread::current().robust_list.lock() = head;
    Ok(0)
}

/// `get_robust_list`.
pub fn get_robust_list(pid: i32, head: LinearAddress, length: LinearAddress) -> Return {
    let thread = match pid {
        0 => thread::current(),
        pid => {
            let tid = u32::try_from(pid).map_err(|_| Errno::ESRCH)?;
            current().thread(tid).ok_or(Errno::ESRCH)?
        }
    };
    uaccess::write(length, &ROBUST_HEAD.to_le_bytes())?;
    let list = *thread.robust_list.lock();
    uaccess::write(head, &list.0.to_le_bytes())?;
    Ok(0)
}
