//! `pipe` and `pipe2`.

use alloc::format;

use guest_hal::LinearAddress;
use guest_kernel::fs::inode::Inode;
use guest_kernel::fs::pipe::Pipe;
use guest_kernel::fs::{OpenFile, mount};
use guest_kernel::process::current;
use guest_kernel::uaccess;
use linux_raw_sys::general as raw;

use crate::Return;
use crate::argument::Flags;
use crate::descriptor::{close, install};
use crate::path::check_flags;

/// `pipe`.
pub fn pipe(pipefd: LinearAddress) -> Return {
    pipe2(pipefd, Flags(0))
}

/// `pipe2`.
pub fn pipe2(pipefd: LinearAddress, flags: Flags) -> Return {
    check_flags(flags, raw::O_CLOEXEC | raw::O_NONBLOCK | raw::O_DIRECT)?;
    let pipe = Pipe::new();
    let number = pipe.metadata()?.number;
    {
        let credentials = current().credentials.lock();
        pipe.set_owner(credentials.euid(), credentials.egid());
    }
    let label = format!("pipe:[{number}]");
    let at = mount::unnamed(pipe.clone(), label.as_bytes());
    let status = flags.0 & (raw::O_NONBLOCK | raw::O_DIRECT);
    let close_on_exec = flags.0 & raw::O_CLOEXEC != 0;
    let open = |access| OpenFile::new(at.clone(), pipe.end(access), access | status);
    let reader = install(open(raw::O_RDONLY), close_on_exec)?;
    let writer = install(open(raw::O_WRONLY), close_on_exec).inspect_err(|_| {
        // The descriptor was made a moment ago.
        let _ = close(reader as i32);
    })?;
    let descriptors = [reader as u32, writer as u32].map(u32::to_le_bytes);
    uaccess::write(pipefd, descriptors.as_flattened()).inspect_err(|_| {
        let _ = (close(reader as i32), close(writer as i32));
    })?;
    Ok(0)
}
