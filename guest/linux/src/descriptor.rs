//! Descriptors: `dup`, `close`, `fcntl`.

use alloc::sync::Arc;

use guest_hal::LinearAddress;
use guest_kernel::fs::overlay::OverlayFile;
use guest_kernel::fs::pipe::PipeEnd;
use guest_kernel::fs::{Descriptor, OpenFile, lock};
use guest_kernel::process::{current, limit};
use guest_kernel::{Errno, Result};
use linux_raw_sys::general as raw;

use crate::Return;
use crate::argument::Flags;
use crate::lock::{OFD, POSIX, get_lock, set_lock};

const F_GETLK: u32 = 5;
const F_SETLKW: u32 = 7;
const CLOSE_RANGE_UNSHARE: u32 = 2;
const CLOSE_RANGE_CLOEXEC: u32 = 4;

/// The open file of a descriptor.
pub(crate) fn open_file(fd: i32) -> Result<Arc<OpenFile>> {
    current().files.lock().get(fd)
}

/// The soft limit of open files.
pub(crate) fn file_limit() -> u64 {
    current()
        .limits
        .lock()
        .get(limit::NOFILE)
        .map_or(1024, |(soft, _)| *soft)
}

/// Gives an open file a descriptor.
pub(crate) fn install(file: Arc<OpenFile>, close_on_exec: bool) -> Return {
    let limit = file_limit();
    let fd = current().files.lock().insert(file, close_on_exec, limit)?;
    Ok(fd as u64)
}

/// What closing a descriptor does to the file.
fn closed(descriptor: &Descriptor) -> Result<()> {
    let owner = u64::from(current().pid);
    lock::closed(&descriptor.file, owner);
    match descriptor.file.file() {
        Ok(file) => file.flush(owner),
        Err(_) => Ok(()),
    }
}

/// `close`.
pub fn close(fd: i32) -> Return {
    let descriptor = current().files.lock().remove(fd)?;
    closed(&descriptor)?;
    Ok(0)
}

/// Closes all descriptors of a process that ends.
pub(crate) fn close_all() {
    let numbers = current().files.lock().numbers();
    for fd in numbers {
        // Nobody is there to be told.
        let _ = close(fd);
    }
}

/// `close_range`.
pub fn close_range(first: u32, last: u32, flags: Flags) -> Return {
    let known = CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE;
    if flags.0 & !known != 0 || first > last {
        return Err(Errno::EINVAL);
    }
    let numbers = current().files.lock().numbers();
    for fd in numbers
        .into_iter()
        .filter(|&fd| (first..=last).contains(&(fd as u32)))
    {
        if flags.0 & CLOSE_RANGE_CLOEXEC != 0 {
            current().files.lock().set_close_on_exec(fd, true)?;
        } else {
            close(fd)?;
        }
    }
    Ok(0)
}

/// `dup`.
pub fn dup(oldfd: i32) -> Return {
    install(open_file(oldfd)?, false)
}

/// `dup2`.
pub fn dup2(oldfd: i32, newfd: i32) -> Return {
    if oldfd == newfd {
        open_file(oldfd)?;
        return Ok(newfd as u64);
    }
    replace(oldfd, newfd, false)
}

/// `dup3`.
pub fn dup3(oldfd: i32, newfd: i32, flags: Flags) -> Return {
    if flags.0 & !raw::O_CLOEXEC != 0 || oldfd == newfd {
        return Err(Errno::EINVAL);
    }
    replace(oldfd, newfd, flags.0 & raw::O_CLOEXEC != 0)
}

fn replace(oldfd: i32, newfd: i32, close_on_exec: bool) -> Return {
    let file = open_file(oldfd)?;
    let limit = file_limit();
    let descriptor = Descriptor {
        file,
        close_on_exec,
    };
    let old = current().files.lock().replace(newfd, descriptor, limit)?;
    if let Some(old) = old {
        // As on Linux, nobody is told when the close that this implies fails.
        let _: Result<()> = closed(&old);
    }
    Ok(newfd as u64)
}

fn duplicate_from(file: Arc<OpenFile>, from: u64, close_on_exec: bool) -> Return {
    let limit = file_limit();
    let from = i32::try_from(from).map_err(|_| Errno::EINVAL)?;
    if from < 0 || from as u64 >= limit {
        return Err(Errno::EINVAL);
    }
    let descriptor = Descriptor {
        file,
        close_on_exec,
    };
    let fd = current()
        .files
        .lock()
        .insert_from(from, descriptor, limit)?;
    Ok(fd as u64)
}

/// `fcntl`.
pub fn fcntl(fd: i32, cmd: u32, arg: u64) -> Return {
    let file = open_file(fd)?;
    match cmd {
        raw::F_DUPFD => return duplicate_from(file, arg, false),
        raw::F_DUPFD_CLOEXEC => return duplicate_from(file, arg, true),
        raw::F_GETFD => return get_descriptor_flags(fd),
        raw::F_SETFD => return set_descriptor_flags(fd, arg),
        raw::F_GETFL => return Ok(u64::from(file.flags())),
        _ if file.is_path_only() => return Err(Errno::EBADF),
        _ => {}
    }
    let pointer = LinearAddress(arg);
    match cmd {
        raw::F_SETFL => set_flags(&file, arg),
        F_GETLK => get_lock(&file, POSIX, pointer),
        raw::F_SETLK => set_lock(&file, POSIX, pointer, false),
        F_SETLKW => set_lock(&file, POSIX, pointer, true),
        raw::F_OFD_GETLK => get_lock(&file, OFD, pointer),
        raw::F_OFD_SETLK => set_lock(&file, OFD, pointer, false),
        raw::F_OFD_SETLKW => set_lock(&file, OFD, pointer, true),
        _ => control(&file, cmd, arg),
    }
}

fn get_descriptor_flags(fd: i32) -> Return {
    Ok(u64::from(
        current().files.lock().descriptor(fd)?.close_on_exec,
    ))
}

fn set_descriptor_flags(fd: i32, flags: u64) -> Return {
    let close = flags & u64::from(raw::FD_CLOEXEC) != 0;
    current().files.lock().set_close_on_exec(fd, close)?;
    Ok(0)
}

fn set_flags(file: &OpenFile, flags: u64) -> Return {
    let flags = flags as u32;
    if flags & raw::O_DIRECT != 0 && file.flags() & raw::O_DIRECT == 0 && file.regular().is_ok() {
        return Err(Errno::EINVAL);
    }
    file.set_flags(flags);
    Ok(0)
}

/// The commands that concern signals, pipes, seals and leases.
fn control(file: &OpenFile, cmd: u32, arg: u64) -> Return {
    use core::sync::atomic::Ordering::Relaxed;
    const F_GETOWN: u32 = 9;
    const F_SETSIG: u32 = 10;
    const F_SETLEASE: u32 = 1024;
    const F_GETPIPE_SZ: u32 = 1032;
    const F_GET_SEALS: u32 = 1034;
    match cmd {
        F_GETOWN => Ok(i64::from(file.signal_owner().load(Relaxed)) as u64),
        raw::F_SETOWN => {
            file.signal_owner().store(arg as i32, Relaxed);
            Ok(0)
        }
        raw::F_GETSIG => Ok(0),
        F_SETSIG if arg <= 64 => Ok(0),
        raw::F_GETLEASE => Ok(u64::from(raw::F_UNLCK)),
        F_SETLEASE if arg == u64::from(raw::F_UNLCK) => Err(Errno::EAGAIN),
        F_SETLEASE => Err(Errno::EAGAIN),
        F_GETPIPE_SZ => pipe(file).map(|end| end.pipe().capacity() as u64),
        raw::F_SETPIPE_SZ => {
            let wanted = usize::try_from(arg as u32).map_err(|_| Errno::EINVAL)?;
            pipe(file)?
                .pipe()
                .set_capacity(wanted)
                .map(|size| size as u64)
        }
        raw::F_ADD_SEALS => add_seals(file, arg),
        F_GET_SEALS => {
            let seals = memory_file(file)?.inode().seals();
            seals.map(u64::from).ok_or(Errno::EINVAL)
        }
        _ => Err(Errno::EINVAL),
    }
}

fn add_seals(file: &OpenFile, seals: u64) -> Return {
    let known = raw::F_SEAL_SEAL
        | raw::F_SEAL_SHRINK
        | raw::F_SEAL_GROW
        | raw::F_SEAL_WRITE
        | raw::F_SEAL_FUTURE_WRITE
        | raw::F_SEAL_EXEC;
    if seals & !u64::from(known) != 0 {
        return Err(Errno::EINVAL);
    }
    if !file.is_writable() {
        return Err(Errno::EPERM);
    }
    memory_file(file)?.inode().add_seals(seals as u32)?;
    Ok(0)
}

pub(crate) fn downcast<T: 'static>(file: &OpenFile) -> Option<&T> {
    let any: &dyn core::any::Any = &**file.file().ok()?;
    any.downcast_ref()
}

fn pipe(file: &OpenFile) -> Result<&PipeEnd> {
    downcast(file).ok_or(Errno::EBADF)
}

fn memory_file(file: &OpenFile) -> Result<&OverlayFile> {
    downcast(file).ok_or(Errno::EINVAL)
}
