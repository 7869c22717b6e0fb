//! `inotify(7)`.

use guest_kernel::fs::inotify::Inotify;
use guest_kernel::fs::walk::Follow;
use guest_kernel::fs::{Caller, access};
use guest_kernel::{Errno, Result, uaccess};
use linux_raw_sys::general as raw;

use crate::Return;
use crate::argument::{Flags, PathAddress};
use crate::descriptor::{downcast, install, open_file};
use crate::path::check_flags;

/// All bits that say something in a mask.
const KNOWN: u32 = raw::IN_ALL_EVENTS
    | raw::IN_UNMOUNT
    | raw::IN_Q_OVERFLOW
    | raw::IN_IGNORED
    | raw::IN_ONLYDIR
    | raw::IN_DONT_FOLLOW
    | raw::IN_EXCL_UNLINK
    | raw::IN_MASK_ADD
    | raw::IN_MASK_CREATE
    | raw::IN_ISDIR
    | raw::IN_ONESHOT;

/// `inotify_init`.
pub fn inotify_init() -> Return {
    inotify_init1(Flags(0))
}

/// `inotify_init1`.
pub fn inotify_init1(flags: Flags) -> Return {
    check_flags(flags, raw::IN_CLOEXEC | raw::IN_NONBLOCK)?;
    let file = Inotify::open(flags.0 & raw::IN_NONBLOCK)?;
    install(file, flags.0 & raw::IN_CLOEXEC != 0)
}

fn with_instance<R>(fd: i32, call: impl FnOnce(&Inotify) -> Result<R>) -> Result<R> {
    let file = open_file(fd)?;
    call(downcast(&file).ok_or(Errno::EINVAL)?)
}

/// `inotify_add_watch`.
pub fn inotify_add_watch(fd: i32, pathname: PathAddress, mask: Flags) -> Return {
    let has = |flag: u32| mask.0 & flag != 0;
    if !has(KNOWN) {
        return Err(Errno::EINVAL);
    }
    with_instance(fd, |instance| {
        if has(raw::IN_MASK_ADD) && has(raw::IN_MASK_CREATE) {
            return Err(Errno::EINVAL);
        }
        let follow = if has(raw::IN_DONT_FOLLOW) {
            Follow::No
        } else {
            Follow::Yes
        };
        let (caller, path) = (Caller::current(), uaccess::read_path(pathname.0)?);
        let at = caller.find(&path, follow)?;
        if has(raw::IN_ONLYDIR) && !at.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        caller.check_access(&at, access::READ)?;
        instance.watch(&at, mask.0).map(|number| number as u64)
    })
}

/// `inotify_rm_watch`.
pub fn inotify_rm_watch(fd: i32, wd: i32) -> Return {
    with_instance(fd, |instance| instance.forget(wd).map(|()| 0))
}
