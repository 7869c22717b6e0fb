//! Mounting, which is the monitor's business, not the program's.

use guest_hal::LinearAddress;
use guest_kernel::Errno;
use guest_kernel::fs::Caller;

use crate::Return;
use crate::argument::{DirFd, Flags, PathAddress};
use crate::path::find;

/// `mount`.
pub fn mount(
    _source: PathAddress,
    _target: PathAddress,
    _kind: PathAddress,
    _flags: u64,
    _data: LinearAddress,
) -> Return {
    Err(Errno::EPERM)
}

/// `umount2`.
pub fn umount2(_target: PathAddress, _flags: Flags) -> Return {
    Err(Errno::EPERM)
}

/// `pivot_root`.
pub fn pivot_root(_new: PathAddress, _old: PathAddress) -> Return {
    Err(Errno::EPERM)
}

/// `name_to_handle_at`.
pub fn name_to_handle_at(
    dirfd: DirFd,
    path: PathAddress,
    _handle: LinearAddress,
    _id: LinearAddress,
    flags: Flags,
) -> Return {
    find(&Caller::current(), dirfd, path, flags.0)?;
    Err(Errno::EOPNOTSUPP)
}
