//! Files without a name: `eventfd`, `signalfd`, `timerfd`, `memfd_create`.

use alloc::string::String;
use alloc::sync::Arc;

use guest_hal::sync::Once;
use guest_hal::{LinearAddress, Nanos};
use guest_kernel::fs::event::{AnonymousInode, EventCounter, TimerClock, TimerFile};
use guest_kernel::fs::inode::{Inode, NewInode};
use guest_kernel::fs::overlay::{OverlayFs, OverlayInode};
use guest_kernel::fs::signalfd::SignalFile;
use guest_kernel::fs::{Caller, OpenFile, mount};
use guest_kernel::{Errno, Result, uaccess};
use linux_raw_sys::general as raw;

use crate::Return;
use crate::argument::Flags;
use crate::descriptor::{downcast, install, open_file};
use crate::path::check_flags;
use crate::time::{read_timespec, write_timespec};

/// Longest name of a memory file.
const NAME_MAX: usize = 249;

/// `eventfd`.
pub fn eventfd(initval: u32) -> Return {
    eventfd2(initval, Flags(0))
}

/// `eventfd2`.
pub fn eventfd2(initval: u32, flags: Flags) -> Return {
    check_flags(
        flags,
        raw::EFD_SEMAPHORE | raw::EFD_CLOEXEC | raw::EFD_NONBLOCK,
    )?;
    let counter = EventCounter::new(u64::from(initval), flags.0 & raw::EFD_SEMAPHORE != 0);
    let status = raw::O_RDWR | (flags.0 & raw::EFD_NONBLOCK);
    let file = AnonymousInode::open_file(counter, "anon_inode:[eventfd]", status);
    install(file, flags.0 & raw::EFD_CLOEXEC != 0)
}

/// `signalfd`.
pub fn signalfd(fd: i32, mask: LinearAddress, sizemask: u64) -> Return {
    signalfd4(fd, mask, sizemask, Flags(0))
}

/// `signalfd4`.
pub fn signalfd4(fd: i32, mask: LinearAddress, sizemask: u64, flags: Flags) -> Return {
    check_flags(flags, raw::O_CLOEXEC | raw::O_NONBLOCK)?;
    if sizemask != 8 {
        return Err(Errno::EINVAL);
    }
    let mask = uaccess::read_u64(mask)?;
    if fd == -1 {
        let status = raw::O_RDWR | (flags.0 & raw::O_NONBLOCK);
        let file = SignalFile::new(mask);
        let file = AnonymousInode::open_file(file, "anon_inode:[signalfd]", status);
        return install(file, flags.0 & raw::O_CLOEXEC != 0);
    }
    let file = open_file(fd)?;
    let signals: &SignalFile = downcast(&file).ok_or(Errno::EINVAL)?;
    signals.set_mask(mask);
    Ok(fd as u64)
}

/// `timerfd_create`.
pub fn timerfd_create(clockid: i32, flags: Flags) -> Return {
    check_flags(flags, raw::TFD_CLOEXEC | raw::TFD_NONBLOCK)?;
    let clock = match u32::try_from(clockid) {
        Ok(raw::CLOCK_REALTIME) => TimerClock::Realtime,
        Ok(raw::CLOCK_MONOTONIC) => TimerClock::Monotonic,
        Ok(raw::CLOCK_BOOTTIME) => TimerClock::Boottime,
        Ok(raw::CLOCK_REALTIME_ALARM | raw::CLOCK_BOOTTIME_ALARM) => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    };
    let status = raw::O_RDWR | (flags.0 & raw::TFD_NONBLOCK);
    let file = AnonymousInode::open_file(TimerFile::new(clock), "anon_inode:[timerfd]", status);
    install(file, flags.0 & raw::TFD_CLOEXEC != 0)
}

fn timer_of(file: &OpenFile) -> Result<&TimerFile> {
    downcast(file).ok_or(Errno::EINVAL)
}

fn write_setting(to: LinearAddress, (left, interval): (Nanos, Nanos)) -> Result<()> {
    write_timespec(to, interval)?;
    write_timespec(LinearAddress(to.0.wrapping_add(16)), left)
}

/// `timerfd_settime`.
pub fn timerfd_settime(
    fd: i32,
    flags: Flags,
    new_value: LinearAddress,
    old_value: LinearAddress,
) -> Return {
    check_flags(flags, raw::TFD_TIMER_ABSTIME | raw::TFD_TIMER_CANCEL_ON_SET)?;
    let interval = read_timespec(new_value)?;
    let value = read_timespec(LinearAddress(new_value.0.wrapping_add(16)))?;
    let file = open_file(fd)?;
    let timer = timer_of(&file)?;
    let old = timer.set(value, interval, flags.0 & raw::TFD_TIMER_ABSTIME != 0);
    if old_value.0 != 0 {
        write_setting(old_value, old)?;
    }
    Ok(0)
}

/// `timerfd_gettime`.
pub fn timerfd_gettime(fd: i32, curr_value: LinearAddress) -> Return {
    let file = open_file(fd)?;
    write_setting(curr_value, timer_of(&file)?.get())?;
    Ok(0)
}

/// The file system that memory files are in.
fn memory_files() -> &'static Arc<OverlayFs> {
    static FILES: Once<Arc<OverlayFs>> = Once::new();
    FILES.call_once(|| OverlayFs::empty("tmpfs"))
}

/// `memfd_create`.
pub fn memfd_create(name: LinearAddress, flags: Flags) -> Return {
    let known = raw::MFD_CLOEXEC | raw::MFD_ALLOW_SEALING | raw::MFD_NOEXEC_SEAL | raw::MFD_EXEC;
    check_flags(flags, known)?;
    if flags.0 & raw::MFD_EXEC != 0 && flags.0 & raw::MFD_NOEXEC_SEAL != 0 {
        return Err(Errno::EINVAL);
    }
    let name = uaccess::read_c_string(name, NAME_MAX + 1, Errno::EINVAL)?;
    let caller = Caller::current();
    let no_exec = flags.0 & raw::MFD_NOEXEC_SEAL != 0;
    let new = NewInode {
        mode: raw::S_IFREG | if no_exec { 0o666 } else { 0o777 },
        uid: caller.credentials.euid(),
        gid: caller.credentials.egid(),
        represented: 0,
        target: b"",
        open: None,
    };
    let seals = match (flags.0 & raw::MFD_ALLOW_SEALING != 0, no_exec) {
        (_, true) => raw::F_SEAL_EXEC,
        (true, false) => 0,
        (false, false) => raw::F_SEAL_SEAL,
    };
    let inode = OverlayInode::sealable(memory_files(), &new, seals);
    let file = inode.clone().open(raw::O_RDWR)?;
    let mut label = String::from("/memfd:").into_bytes();
    label.extend_from_slice(&name);
    label.extend_from_slice(b" (deleted)");
    let at = mount::unnamed(inode, &label);
    let file = OpenFile::new(at, file, raw::O_RDWR | raw::O_LARGEFILE);
    install(file, flags.0 & raw::MFD_CLOEXEC != 0)
}
