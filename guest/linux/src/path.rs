//! Names: making, removing, renaming, linking.

use guest_hal::LinearAddress;
use guest_kernel::fs::{Caller, Follow, Location};
use guest_kernel::process::current;
use guest_kernel::{Errno, Result, uaccess};
use linux_raw_sys::general as raw;

use crate::Return;
use crate::argument::{DirFd, Flags, Mode, PathAddress};
use crate::descriptor::open_file;
use crate::file::{TRANSFER_MAX, segment};

/// Where a path of an `*at` call starts.
pub(crate) fn start(caller: &Caller, dirfd: DirFd, path: &[u8]) -> Result<Location> {
    if dirfd == DirFd::CWD || path.first() == Some(&b'/') {
        return Ok(caller.cwd.clone());
    }
    Ok(open_file(dirfd.0)?.location.clone())
}

/// What the path of an `*at` call stands for; an empty one for the descriptor itself, if
/// `flags` have `AT_EMPTY_PATH`.
pub(crate) fn find(
    caller: &Caller,
    dirfd: DirFd,
    path: PathAddress,
    flags: u32,
) -> Result<Location> {
    let empty = flags & raw::AT_EMPTY_PATH != 0;
    let path = if empty && path.0.0 == 0 {
        alloc::vec::Vec::new()
    } else {
        uaccess::read_path(path.0)?
    };
    let start = start(caller, dirfd, &path)?;
    if path.is_empty() && empty {
        return Ok(start);
    }
    let nofollow = flags & raw::AT_SYMLINK_NOFOLLOW != 0;
    caller.find_from(
        &start,
        &path,
        if nofollow { Follow::No } else { Follow::Yes },
    )
}

/// Refuses flags that are not among those known.
pub(crate) fn check_flags(flags: Flags, known: u32) -> Result<()> {
    if flags.0 & !known != 0 {
        Err(Errno::EINVAL)
    } else {
        Ok(())
    }
}

/// `mkdir`.
pub fn mkdir(pathname: PathAddress, mode: Mode) -> Return {
    mkdirat(DirFd::CWD, pathname, mode)
}

/// `mkdirat`.
pub fn mkdirat(dirfd: DirFd, pathname: PathAddress, mode: Mode) -> Return {
    let path = uaccess::read_path(pathname.0)?;
    let caller = Caller::current();
    caller.make_directory(&start(&caller, dirfd, &path)?, &path, mode.0)?;
    Ok(0)
}

/// `mknod`.
pub fn mknod(pathname: PathAddress, mode: Mode, dev: u64) -> Return {
    mknodat(DirFd::CWD, pathname, mode, dev)
}

/// `mknodat`.
pub fn mknodat(dirfd: DirFd, pathname: PathAddress, mode: Mode, _dev: u64) -> Return {
    let path = uaccess::read_path(pathname.0)?;
    let caller = Caller::current();
    caller.make_node(&start(&caller, dirfd, &path)?, &path, mode.0)?;
    Ok(0)
}

/// `rmdir`.
pub fn rmdir(pathname: PathAddress) -> Return {
    unlinkat(DirFd::CWD, pathname, Flags(raw::AT_REMOVEDIR))
}

/// `unlink`.
pub fn unlink(pathname: PathAddress) -> Return {
    unlinkat(DirFd::CWD, pathname, Flags(0))
}

/// `unlinkat`.
pub fn unlinkat(dirfd: DirFd, pathname: PathAddress, flags: Flags) -> Return {
    check_flags(flags, raw::AT_REMOVEDIR)?;
    let path = uaccess::read_path(pathname.0)?;
    let caller = Caller::current();
    let directory = flags.0 & raw::AT_REMOVEDIR != 0;
    caller.remove(&start(&caller, dirfd, &path)?, &path, directory)?;
    Ok(0)
}

/// `rename`.
pub fn rename(oldpath: PathAddress, newpath: PathAddress) -> Return {
    renameat2(DirFd::CWD, oldpath, DirFd::CWD, newpath, Flags(0))
}

/// `renameat`.
pub fn renameat(
    olddirfd: DirFd,
    oldpath: PathAddress,
    newdirfd: DirFd,
    newpath: PathAddress,
) -> Return {
    renameat2(olddirfd, oldpath, newdirfd, newpath, Flags(0))
}

/// `renameat2`.
pub fn renameat2(
    olddirfd: DirFd,
    oldpath: PathAddress,
    newdirfd: DirFd,
    newpath: PathAddress,
    flags: Flags,
) -> Return {
    check_flags(flags, raw::RENAME_NOREPLACE | raw::RENAME_EXCHANGE)?;
    if flags.0 == raw::RENAME_NOREPLACE | raw::RENAME_EXCHANGE {
        return Err(Errno::EINVAL);
    }
    let old = uaccess::read_path(oldpath.0)?;
    let new = uaccess::read_path(newpath.0)?;
    let caller = Caller::current();
    let from = start(&caller, olddirfd, &old)?;
    let to = start(&caller, newdirfd, &new)?;
    caller.rename((&from, &old), (&to, &new), flags.0)?;
    Ok(0)
}

/// `link`.
pub fn link(oldpath: PathAddress, newpath: PathAddress) -> Return {
    linkat(DirFd::CWD, oldpath, DirFd::CWD, newpath, Flags(0))
}

/// `linkat`.
pub fn linkat(
    olddirfd: DirFd,
    oldpath: PathAddress,
    newdirfd: DirFd,
    newpath: PathAddress,
    flags: Flags,
) -> Return {
    check_flags(flags, raw::AT_SYMLINK_FOLLOW | raw::AT_EMPTY_PATH)?;
    let caller = Caller::current();
    let follow = flags.0 & raw::AT_SYMLINK_FOLLOW != 0;
    let nofollow = if follow { 0 } else { raw::AT_SYMLINK_NOFOLLOW };
    let existing = find(
        &caller,
        olddirfd,
        oldpath,
        nofollow | (flags.0 & raw::AT_EMPTY_PATH),
    )?;
    let path = uaccess::read_path(newpath.0)?;
    caller.link(&existing, &start(&caller, newdirfd, &path)?, &path)?;
    Ok(0)
}

/// `symlink`.
pub fn symlink(target: PathAddress, linkpath: PathAddress) -> Return {
    symlinkat(target, DirFd::CWD, linkpath)
}

/// `symlinkat`.
pub fn symlinkat(target: PathAddress, newdirfd: DirFd, linkpath: PathAddress) -> Return {
    let text = uaccess::read_path(target.0)?;
    let path = uaccess::read_path(linkpath.0)?;
    let caller = Caller::current();
    caller.make_link(&text, &start(&caller, newdirfd, &path)?, &path)?;
    Ok(0)
}

/// `readlink`.
pub fn readlink(pathname: PathAddress, buf: LinearAddress, size: i32) -> Return {
    readlinkat(DirFd::CWD, pathname, buf, size)
}

/// `readlinkat`.
pub fn readlinkat(dirfd: DirFd, pathname: PathAddress, buf: LinearAddress, size: i32) -> Return {
    let size = usize::try_from(size)
        .ok()
        .filter(|&size| size > 0)
        .ok_or(Errno::EINVAL)?;
    let caller = Caller::current();
    let flags = raw::AT_SYMLINK_NOFOLLOW | raw::AT_EMPTY_PATH;
    let at = find(&caller, dirfd, pathname, flags)?;
    let text = caller.link_text(&at)?;
    let text = text.get(..size).unwrap_or(&text);
    uaccess::write(buf, text)?;
    Ok(text.len() as u64)
}

/// `getcwd`.
pub fn getcwd(buf: LinearAddress, size: u64) -> Return {
    let caller = Caller::current();
    if caller.cwd.entry.is_gone() {
        return Err(Errno::ENOENT);
    }
    let mut path = caller.cwd.path(&caller.root);
    path.push(0);
    if path.len() as u64 > size.min(TRANSFER_MAX) {
        return Err(Errno::ERANGE);
    }
    segment(buf, path.len() as u64)?;
    uaccess::write(buf, &path)?;
    Ok(path.len() as u64)
}

fn change_directory(caller: &Caller, at: Location) -> Return {
    if !at.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    guest_kernel::fs::access::check(
        &at.metadata()?,
        guest_kernel::fs::access::EXECUTE,
        &caller.credentials,
    )?;
    let old = core::mem::replace(&mut current().fs.lock().cwd, at);
    drop(old);
    Ok(0)
}

/// `chdir`.
pub fn chdir(path: PathAddress) -> Return {
    let caller = Caller::current();
    let at = find(&caller, DirFd::CWD, path, 0)?;
    change_directory(&caller, at)
}

/// `fchdir`.
pub fn fchdir(fd: i32) -> Return {
    let file = open_file(fd)?;
    change_directory(&Caller::current(), file.location.clone())
}

/// `chroot`.
pub fn chroot(path: PathAddress) -> Return {
    let caller = Caller::current();
    let at = find(&caller, DirFd::CWD, path, 0)?;
    if !at.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    if !caller.credentials.is_root() {
        return Err(Errno::EPERM);
    }
    let old = core::mem::replace(&mut current().fs.lock().root, at);
    drop(old);
    Ok(0)
}

/// `umask`.
pub fn umask(mask: Mode) -> Return {
    let old = core::mem::replace(&mut current().fs.lock().umask, mask.0 & 0o777);
    Ok(u64::from(old))
}
