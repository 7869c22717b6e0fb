//! The process by a descriptor: `pidfd_open` and what is done with it.

use alloc::format;

use guest_hal::LinearAddress;
use guest_kernel::fs::FileKind;
use guest_kernel::fs::pidfd::ProcessFile;
use guest_kernel::process::current;
use guest_kernel::signal::{self, COUNT};
use guest_kernel::{Errno, Result, uaccess};
use linux_raw_sys::general as raw;

use crate::Return;
use crate::argument::Flags;
use crate::descriptor::{downcast, install, open_file};
use crate::path::check_flags;
use crate::signals::{SI_USER, queued, sent};

/// `pidfd_open`.
pub fn pidfd_open(pid: i32, flags: Flags) -> Return {
    check_flags(flags, raw::O_NONBLOCK)?;
    let id = u32::try_from(pid).ok().filter(|id| *id > 0);
    let id = id.ok_or(Errno::EINVAL)?;
    let process = current();
    if id != process.pid {
        // A thread is no process.
        let is_thread = process.thread(id).is_some();
        return Err(if is_thread {
            Errno::ENOENT
        } else {
            Errno::ESRCH
        });
    }
    install(ProcessFile::open(flags.0), true)
}

pub(crate) fn check_process(pidfd: i32) -> Result<()> {
    let file = open_file(pidfd)?;
    let is_one = downcast::<ProcessFile>(&file).is_some();
    is_one.then_some(()).ok_or(Errno::EBADF)
}

/// As above, or the process' directory in `/proc`, which signals can be sent to as well.
fn check_receiver(pidfd: i32) -> Result<()> {
    let process = current();
    let file = open_file(pidfd)?;
    let is_directory = file.kind() == FileKind::Directory && {
        let root = process.fs.lock().root.clone();
        file.path(&root) == format!("/proc/{}", process.pid).into_bytes()
    };
    if is_directory {
        Ok(())
    } else {
        check_process(pidfd)
    }
}

/// `pidfd_send_signal`.
pub fn pidfd_send_signal(pidfd: i32, sig: u32, info: LinearAddress, flags: Flags) -> Return {
    check_flags(flags, 0)?;
    check_receiver(pidfd)?;
    let info = if info.0 == 0 {
        sent(sig, SI_USER)
    } else {
        if uaccess::read_u32(info)? != sig {
            return Err(Errno::EINVAL);
        }
        queued(sig, info)?
    };
    if sig > COUNT {
        return Err(Errno::EINVAL);
    }
    if sig != 0 {
        signal::post(current(), info);
    }
    Ok(0)
}

/// `pidfd_getfd`.
pub fn pidfd_getfd(pidfd: i32, targetfd: i32, flags: Flags) -> Return {
    check_flags(flags, 0)?;
    check_process(pidfd)?;
    install(open_file(targetfd)?, true)
}
