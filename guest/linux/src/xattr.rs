//! Extended attributes: there are none.

use guest_hal::LinearAddress;
use guest_kernel::fs::{Caller, Location};
use guest_kernel::{Errno, Result, uaccess};
use linux_raw_sys::general as raw;

use crate::Return;
use crate::argument::{DirFd, Flags, PathAddress};
use crate::descriptor::open_file;
use crate::path::find;

/// Longest name.
const NAME_MAX: usize = 256;

fn followed(path: PathAddress) -> Result<Location> {
    find(&Caller::current(), DirFd::CWD, path, 0)
}

fn itself(path: PathAddress) -> Result<Location> {
    find(
        &Caller::current(),
        DirFd::CWD,
        path,
        raw::AT_SYMLINK_NOFOLLOW,
    )
}

fn of_descriptor(fd: i32) -> Result<Location> {
    let file = open_file(fd)?;
    file.file()?;
    Ok(file.location.clone())
}

/// What reading or removing an attribute that is not there answers.
fn missing(at: Result<Location>, name: LinearAddress) -> Return {
    at?;
    let name = uaccess::read_c_string(name, NAME_MAX, Errno::ERANGE)?;
    let prefixes: [&[u8]; 4] = [b"user.", b"trusted.", b"security.", b"system."];
    let known = prefixes.iter().any(|prefix| name.starts_with(prefix));
    Err(if known {
        Errno::ENODATA
    } else {
        Errno::EOPNOTSUPP
    })
}

fn refused(at: Result<Location>, name: LinearAddress) -> Return {
    at?;
    uaccess::read_c_string(name, NAME_MAX, Errno::ERANGE)?;
    Err(Errno::EOPNOTSUPP)
}

/// `getxattr`.
pub fn getxattr(path: PathAddress, name: LinearAddress, _: LinearAddress, _: u64) -> Return {
    missing(followed(path), name)
}

/// `lgetxattr`.
pub fn lgetxattr(path: PathAddress, name: LinearAddress, _: LinearAddress, _: u64) -> Return {
    missing(itself(path), name)
}

/// `fgetxattr`.
pub fn fgetxattr(fd: i32, name: LinearAddress, _: LinearAddress, _: u64) -> Return {
    missing(of_descriptor(fd), name)
}

/// `setxattr`.
pub fn setxattr(
    path: PathAddress,
    name: LinearAddress,
    _: LinearAddress,
    _: u64,
    _: Flags,
) -> Return {
    refused(followed(path), name)
}

/// `lsetxattr`.
pub fn lsetxattr(
    path: PathAddress,
    name: LinearAddress,
    _: LinearAddress,
    _: u64,
    _: Flags,
) -> Return {
    refused(itself(path), name)
}

/// `fsetxattr`.
pub fn fsetxattr(fd: i32, name: LinearAddress, _: LinearAddress, _: u64, _: Flags) -> Return {
    refused(of_descriptor(fd), name)
}

/// `listxattr`.
pub fn listxattr(path: PathAddress, _: LinearAddress, _: u64) -> Return {
    followed(path).map(|_| 0)
}

/// `llistxattr`.
pub fn llistxattr(path: PathAddress, _: LinearAddress, _: u64) -> Return {
    itself(path).map(|_| 0)
}

/// `flistxattr`.
pub fn flistxattr(fd: i32, _: LinearAddress, _: u64) -> Return {
    of_descriptor(fd).map(|_| 0)
}

/// `removexattr`.
pub fn removexattr(path: PathAddress, name: LinearAddress) -> Return {
    missing(followed(path), name)
}

/// `lremovexattr`.
pub fn lremovexattr(path: PathAddress, name: LinearAddress) -> Return {
    missing(itself(path), name)
}

/// `fremovexattr`.
pub fn fremovexattr(fd: i32, name: LinearAddress) -> Return {
    missing(of_descriptor(fd), name)
}
