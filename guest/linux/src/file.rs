//! Opening, reading, writing, seeking.

use alloc::vec::Vec;

use guest_hal::LinearAddress;
use guest_kernel::fs::file::Positioning;
use guest_kernel::fs::{Caller, Destination, FileKind, How, OpenFile, Origin, Segment, inotify};
use guest_kernel::process::{current, limit};
use guest_kernel::signal::{self, number};
use guest_kernel::{Errno, Result, uaccess};
use linux_raw_sys::general as raw;

use crate::Return;
use crate::argument::{DirFd, Flags, Mode, PathAddress};
use crate::descriptor::{install, open_file};
use crate::path::start;

/// The most that one read or write moves.
pub(crate) const TRANSFER_MAX: u64 = 0x7fff_f000;
/// The most pieces of a scattered read or write.
const SEGMENTS_MAX: u64 = 1024;
const CURRENT: i64 = -1;

/// The flags that `openat2` knows.
const OPEN_FLAGS: u64 = (raw::O_ACCMODE
    | raw::O_CREAT
    | raw::O_EXCL
    | raw::O_NOCTTY
    | raw::O_TRUNC
    | raw::O_APPEND
    | raw::O_NONBLOCK
    | raw::O_DSYNC
    | raw::FASYNC
    | raw::O_DIRECT
    | raw::O_LARGEFILE
    | raw::O_DIRECTORY
    | raw::O_NOFOLLOW
    | raw::O_NOATIME
    | raw::O_CLOEXEC
    | raw::O_SYNC
    | raw::O_PATH
    | raw::O_TMPFILE) as u64;

fn open_at(dirfd: DirFd, pathname: PathAddress, how: How) -> Return {
    let path = uaccess::read_path(pathname.0)?;
    let flags = check_open_flags(how.flags)?;
    let caller = Caller::current();
    let start = start(&caller, dirfd, &path)?;
    let file = caller.open(&start, &path, How { flags, ..how })?;
    install(file, flags & raw::O_CLOEXEC != 0)
}

fn check_open_flags(flags: u32) -> Result<u32> {
    if flags & raw::O_PATH != 0 {
        return Ok(flags & (raw::O_PATH | raw::O_DIRECTORY | raw::O_NOFOLLOW | raw::O_CLOEXEC));
    }
    let temporary = flags & raw::__O_TMPFILE != 0;
    let directory = flags & raw::O_DIRECTORY != 0;
    let creates = flags & raw::O_CREAT != 0;
    if (temporary && !directory) || (creates && directory) {
        return Err(Errno::EINVAL);
    }
    Ok(flags | raw::O_LARGEFILE)
}

/// `open`.
pub fn open(pathname: PathAddress, flags: Flags, mode: Mode) -> Return {
    openat(DirFd::CWD, pathname, flags, mode)
}

/// `creat`.
pub fn creat(pathname: PathAddress, mode: Mode) -> Return {
    let flags = Flags(raw::O_CREAT | raw::O_WRONLY | raw::O_TRUNC);
    openat(DirFd::CWD, pathname, flags, mode)
}

/// `openat`.
pub fn openat(dirfd: DirFd, pathname: PathAddress, flags: Flags, mode: Mode) -> Return {
    open_at(
        dirfd,
        pathname,
        How {
            flags: flags.0,
            mode: mode.0,
            resolve: 0,
        },
    )
}

/// `openat2`.
pub fn openat2(dirfd: DirFd, pathname: PathAddress, how: LinearAddress, size: u64) -> Return {
    if size < 24 {
        return Err(Errno::EINVAL);
    }
    let bytes = uaccess::read_vec(how, size.min(4096))?;
    if bytes.iter().skip(24).any(|&byte| byte != 0) || size > 4096 {
        return Err(Errno::E2BIG);
    }
    let mut words = bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|word| u64::from_le_bytes(*word));
    let mut next = || words.next().unwrap_or(0);
    let (flags, mode, resolve) = (next(), next(), next());
    let creates = flags & u64::from(raw::O_CREAT | raw::__O_TMPFILE) != 0;
    let modes = if creates { 0o7777 } else { 0 };
    let known = u64::from(
        raw::RESOLVE_NO_XDEV
            | raw::RESOLVE_NO_MAGICLINKS
            | raw::RESOLVE_NO_SYMLINKS
            | raw::RESOLVE_BENEATH
            | raw::RESOLVE_IN_ROOT
            | raw::RESOLVE_CACHED,
    );
    if flags & !OPEN_FLAGS != 0 || mode & !modes != 0 || resolve & !known != 0 {
        return Err(Errno::EINVAL);
    }
    open_at(
        dirfd,
        pathname,
        How {
            flags: flags as u32,
            mode: mode as u32,
            resolve,
        },
    )
}

/// One piece of the program's memory.
pub(crate) fn segment(address: LinearAddress, count: u64) -> Result<Segment> {
    let length = count.min(TRANSFER_MAX);
    if count > i64::MAX as u64 {
        return Err(Errno::EINVAL);
    }
    if !address.is_user_range(length) {
        return Err(Errno::EFAULT);
    }
    Ok(Segment { address, length })
}

/// The pieces of an array of `struct iovec`.
pub(crate) fn segments(iov: LinearAddress, count: u64) -> Result<Vec<Segment>> {
    if count > SEGMENTS_MAX {
        return Err(Errno::EINVAL);
    }
    let bytes = uaccess::read_vec(iov, count * 16)?;
    let mut room = TRANSFER_MAX;
    let mut list = Vec::with_capacity(count as usize);
    for words in bytes.as_chunks::<8>().0.as_chunks::<2>().0 {
        let [base, length] = words.map(u64::from_le_bytes);
        if length > i64::MAX as u64 {
            return Err(Errno::EINVAL);
        }
        let length = length.min(room);
        if !LinearAddress(base).is_user_range(length) {
            return Err(Errno::EFAULT);
        }
        room -= length;
        list.push(Segment {
            address: LinearAddress(base),
            length,
        });
    }
    Ok(list)
}

/// `read`.
pub fn read(fd: i32, buf: LinearAddress, count: u64) -> Return {
    let file = open_file(fd)?;
    file.readable()?;
    file.read(&mut Destination::user(&[segment(buf, count)?]))
}

/// `pread64`.
pub fn pread64(fd: i32, buf: LinearAddress, count: u64, offset: i64) -> Return {
    let offset = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let file = open_file(fd)?;
    file.readable()?;
    file.read_at(offset, &mut Destination::user(&[segment(buf, count)?]))
}

/// `readv`.
pub fn readv(fd: i32, iov: LinearAddress, iovcnt: u64) -> Return {
    let file = open_file(fd)?;
    file.readable()?;
    file.read(&mut Destination::user(&segments(iov, iovcnt)?))
}

/// `preadv`.
pub fn preadv(fd: i32, iov: LinearAddress, iovcnt: u64, offset: i64, _high: u64) -> Return {
    let offset = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let file = open_file(fd)?;
    file.readable()?;
    file.read_at(offset, &mut Destination::user(&segments(iov, iovcnt)?))
}

/// `preadv2`.
pub fn preadv2(
    fd: i32,
    iov: LinearAddress,
    iovcnt: u64,
    offset: i64,
    high: u64,
    flags: Flags,
) -> Return {
    check_transfer_flags(flags)?;
    if offset == CURRENT {
        readv(fd, iov, iovcnt)
    } else {
        preadv(fd, iov, iovcnt, offset, high)
    }
}

fn check_transfer_flags(flags: Flags) -> Result<()> {
    let known = raw::RWF_HIPRI | raw::RWF_DSYNC | raw::RWF_SYNC | raw::RWF_NOWAIT | raw::RWF_APPEND;
    if flags.0 & !known != 0 {
        Err(Errno::EOPNOTSUPP)
    } else {
        Ok(())
    }
}

/// Writes, at an offset or where the file is, and does what every write does beside: it ends at the
/// limit of the file size, and raises `SIGPIPE`.
pub(crate) fn write_from(file: &OpenFile, offset: Option<u64>, from: &mut Origin<'_>) -> Return {
    limit_size(file, offset, from)?;
    let result = match offset {
        Some(offset) => file.write_at(offset, from),
        None => file.write(from),
    };
    if result == Err(Errno::EPIPE) {
        signal::post_to_current(number::SIGPIPE);
    }
    result
}

/// How long a file may become.
fn size_limit() -> u64 {
    let limits = current().limits.lock();
    limits.get(limit::FSIZE).map_or(u64::MAX, |(soft, _)| *soft)
}

/// What would make a file too long fails, and the program hears of it (setrlimit(2)).
fn check_size(length: u64) -> Result<()> {
    if length <= size_limit() {
        return Ok(());
    }
    signal::post_to_current(number::SIGXFSZ);
    Err(Errno::EFBIG)
}

/// A write is shortened at the limit, and fails beyond.
fn limit_size(file: &OpenFile, offset: Option<u64>, from: &mut Origin<'_>) -> Result<()> {
    let soft = size_limit();
    if soft == u64::MAX || from.remaining() == 0 || file.kind() != FileKind::Regular {
        return Ok(());
    }
    let start = match offset {
        Some(offset) => offset,
        None if file.flags() & raw::O_APPEND != 0 => file_end(file)?,
        None => file.position(),
    };
    check_size(start.saturating_add(1))?;
    from.shorten(soft - start);
    Ok(())
}

/// `write`.
pub fn write(fd: i32, buf: LinearAddress, count: u64) -> Return {
    let file = open_file(fd)?;
    file.writable()?;
    let segments = [segment(buf, count)?];
    write_from(&file, None, &mut Origin::user(&segments))
}

/// `pwrite64`.
pub fn pwrite64(fd: i32, buf: LinearAddress, count: u64, offset: i64) -> Return {
    let offset = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let file = open_file(fd)?;
    file.writable()?;
    let segments = [segment(buf, count)?];
    write_from(&file, Some(offset), &mut Origin::user(&segments))
}

/// `writev`.
pub fn writev(fd: i32, iov: LinearAddress, iovcnt: u64) -> Return {
    let file = open_file(fd)?;
    file.writable()?;
    let segments = segments(iov, iovcnt)?;
    write_from(&file, None, &mut Origin::user(&segments))
}

/// `pwritev`.
pub fn pwritev(fd: i32, iov: LinearAddress, iovcnt: u64, offset: i64, _high: u64) -> Return {
    let offset = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let file = open_file(fd)?;
    file.writable()?;
    let segments = segments(iov, iovcnt)?;
    write_from(&file, Some(offset), &mut Origin::user(&segments))
}

/// `pwritev2`.
pub fn pwritev2(
    fd: i32,
    iov: LinearAddress,
    iovcnt: u64,
    offset: i64,
    high: u64,
    flags: Flags,
) -> Return {
    check_transfer_flags(flags)?;
    if offset == CURRENT {
        writev(fd, iov, iovcnt)
    } else {
        pwritev(fd, iov, iovcnt, offset, high)
    }
}

/// `lseek`.
pub fn lseek(fd: i32, offset: i64, whence: u32) -> Return {
    let file = open_file(fd)?;
    let object = file.file()?;
    if whence > raw::SEEK_MAX {
        return Err(Errno::EINVAL);
    }
    if object.positioning() != Positioning::Description {
        return object.seek(offset, whence);
    }
    let position = match whence {
        raw::SEEK_SET => Some(offset),
        raw::SEEK_CUR => file.position().cast_signed().checked_add(offset),
        raw::SEEK_END => file_end(&file)?.cast_signed().checked_add(offset),
        _ => Some(seek_sparse(&file, offset, whence)?.cast_signed()),
    };
    let position = position.ok_or(Errno::EOVERFLOW)?;
    let position = u64::try_from(position).map_err(|_| Errno::EINVAL)?;
    file.set_position(position);
    Ok(position)
}

fn file_end(file: &OpenFile) -> Result<u64> {
    match file.file()?.as_regular() {
        Some(regular) => regular.size(),
        None => Ok(0),
    }
}

fn seek_sparse(file: &OpenFile, offset: i64, whence: u32) -> Result<u64> {
    if offset < 0 || offset.cast_unsigned() >= file_end(file)? {
        return Err(Errno::ENXIO);
    }
    file.file()?.seek(offset, whence)
}

/// `truncate`.
pub fn truncate(path: PathAddress, length: i64) -> Return {
    let length = u64::try_from(length).map_err(|_| Errno::EINVAL)?;
    let path = uaccess::read_path(path.0)?;
    check_size(length)?;
    Caller::current().truncate(&path, length)?;
    Ok(0)
}

/// `ftruncate`.
pub fn ftruncate(fd: i32, length: i64) -> Return {
    let length = u64::try_from(length).map_err(|_| Errno::EINVAL)?;
    let file = open_file(fd)?;
    file.file()?;
    let regular = file.regular()?;
    if !file.is_writable() {
        return Err(Errno::EINVAL);
    }
    check_size(length)?;
    regular.truncate(length)?;
    inotify::tell(&file.location, raw::IN_MODIFY);
    Ok(0)
}

/// `fallocate`.
pub fn fallocate(fd: i32, mode: Flags, offset: i64, length: i64) -> Return {
    let file = open_file(fd)?;
    if offset < 0 || length <= 0 {
        return Err(Errno::EINVAL);
    }
    file.writable()?;
    match file.kind() {
        FileKind::Regular => {}
        FileKind::Fifo => return Err(Errno::ESPIPE),
        FileKind::Directory => return Err(Errno::EISDIR),
        _ => return Err(Errno::ENODEV),
    }
    check_size(
        offset
            .cast_unsigned()
            .saturating_add(length.cast_unsigned()),
    )?;
    file.regular()?
        .allocate(mode.0, offset.cast_unsigned(), length.cast_unsigned())?;
    inotify::tell(&file.location, raw::IN_MODIFY);
    Ok(0)
}

fn sync_file(fd: i32, data_only: bool) -> Return {
    let file = open_file(fd)?;
    let object = file.file()?;
    match object.as_regular() {
        Some(regular) => regular.sync(data_only)?,
        None if file.kind() == FileKind::Directory => {}
        None => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// `fsync`.
pub fn fsync(fd: i32) -> Return {
    sync_file(fd, false)
}

/// `fdatasync`.
pub fn fdatasync(fd: i32) -> Return {
    sync_file(fd, true)
}

/// `sync`.
pub fn sync() -> Return {
    for mount in guest_kernel::fs::mount::all() {
        // As on Linux, nobody is told.
        let _: Result<()> = mount.file_system.sync();
    }
    Ok(0)
}

/// `syncfs`.
pub fn syncfs(fd: i32) -> Return {
    open_file(fd)?.location.mount.file_system.sync()?;
    Ok(0)
}

/// `sync_file_range`.
pub fn sync_file_range(fd: i32, offset: i64, length: i64, flags: Flags) -> Return {
    if flags.0 & !7 != 0 || offset < 0 || length < 0 {
        return Err(Errno::EINVAL);
    }
    let file = open_file(fd)?;
    file.file()?.as_regular().ok_or(Errno::ESPIPE)?.sync(true)?;
    Ok(0)
}

/// `fadvise64`.
pub fn fadvise64(fd: i32, _offset: i64, length: i64, advice: u32) -> Return {
    let file = open_file(fd)?;
    file.file()?;
    if file.kind() == FileKind::Fifo {
        return Err(Errno::ESPIPE);
    }
    if length < 0 || advice > 5 {
        Err(Errno::EINVAL)
    } else {
        Ok(0)
    }
}

/// `readahead`.
pub fn readahead(fd: i32, _offset: i64, _count: u64) -> Return {
    let file = open_file(fd)?;
    file.readable()?;
    if file.file()?.as_regular().is_some() {
        Ok(0)
    } else {
        Err(Errno::EINVAL)
    }
}
