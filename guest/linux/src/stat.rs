//! Metadata: `stat` and its kin, owners, permissions, times.

use guest_hal::LinearAddress;
use guest_kernel::fs::metadata::{FsStatus, NewTime, Timestamp};
use guest_kernel::fs::{Caller, Location, Metadata, access, mount::Mount};
use guest_kernel::{Errno, Result, uaccess};
use linux_raw_sys::general as raw;

use crate::Return;
use crate::argument::{DirFd, Flags, Mode, PathAddress};
use crate::descriptor::open_file;
use crate::path::{check_flags, find};

/// Bytes of `struct stat`, `struct statx` and `struct statfs`.
const STAT_SIZE: usize = 144;
const STATX_SIZE: usize = 256;
const STATFS_SIZE: usize = 120;
const STATX_MNT_ID: u32 = 0x1000;
const STATX_RESERVED: u32 = 0x8000_0000;

/// A structure in the making.
struct Layout<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Layout<N> {
    const fn new() -> Self {
        Self {
            bytes: [0; N],
            at: 0,
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes
            .iter_mut()
            .skip(self.at)
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        self.at += bytes.len();
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.put(&value.to_le_bytes());
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_le_bytes());
        self
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.put(&value.to_le_bytes());
        self
    }
}

fn write_stat(to: LinearAddress, metadata: &Metadata) -> Return {
    let mut out = Layout::<STAT_SIZE>::new();
    out.u64(metadata.device)
        .u64(metadata.number)
        .u64(u64::from(metadata.links));
    out.u32(metadata.mode)
        .u32(metadata.uid)
        .u32(metadata.gid)
        .u32(0);
    out.u64(metadata.represented).u64(metadata.size);
    out.u64(u64::from(metadata.block_size)).u64(metadata.blocks);
    for time in [metadata.accessed, metadata.modified, metadata.changed] {
        out.u64(time.seconds.cast_unsigned())
            .u64(u64::from(time.nanos));
    }
    uaccess::write(to, &out.bytes)?;
    Ok(0)
}

/// `stat`.
pub fn stat(pathname: PathAddress, buf: LinearAddress) -> Return {
    newfstatat(DirFd::CWD, pathname, buf, Flags(0))
}

/// `lstat`.
pub fn lstat(pathname: PathAddress, buf: LinearAddress) -> Return {
    newfstatat(DirFd::CWD, pathname, buf, Flags(raw::AT_SYMLINK_NOFOLLOW))
}

/// `fstat`.
pub fn fstat(fd: i32, buf: LinearAddress) -> Return {
    write_stat(buf, &open_file(fd)?.metadata()?)
}

/// `newfstatat`.
pub fn newfstatat(dirfd: DirFd, pathname: PathAddress, buf: LinearAddress, flags: Flags) -> Return {
    let known = raw::AT_SYMLINK_NOFOLLOW | raw::AT_EMPTY_PATH | raw::AT_NO_AUTOMOUNT;
    check_flags(flags, known)?;
    let at = find(&Caller::current(), dirfd, pathname, flags.0)?;
    write_stat(buf, &at.metadata()?)
}

/// Major and minor number of a device in Linux' 32-bit encoding.
const fn device_parts(device: u64) -> (u32, u32) {
    let device = device as u32;
    (
        (device & 0xfff00) >> 8,
        (device & 0xff) | ((device >> 12) & 0xfff00),
    )
}

fn write_statx(to: LinearAddress, at: &Location) -> Return {
    let metadata = at.metadata()?;
    let mut out = Layout::<STATX_SIZE>::new();
    out.u32(raw::STATX_BASIC_STATS | STATX_MNT_ID)
        .u32(metadata.block_size)
        .u64(0);
    out.u32(metadata.links).u32(metadata.uid).u32(metadata.gid);
    out.u16(metadata.mode as u16).u16(0);
    out.u64(metadata.number)
        .u64(metadata.size)
        .u64(metadata.blocks)
        .u64(0);
    let born = Timestamp::default();
    for time in [metadata.accessed, born, metadata.changed, metadata.modified] {
        out.u64(time.seconds.cast_unsigned()).u32(time.nanos).u32(0);
    }
    for device in [metadata.represented, metadata.device] {
        let (major, minor) = device_parts(device);
        out.u32(major).u32(minor);
    }
    out.u64(u64::from(at.mount.id));
    uaccess::write(to, &out.bytes)?;
    Ok(0)
}

/// `statx`.
pub fn statx(
    dirfd: DirFd,
    pathname: PathAddress,
    flags: Flags,
    mask: Flags,
    buf: LinearAddress,
) -> Return {
    let known = raw::AT_SYMLINK_NOFOLLOW
        | raw::AT_EMPTY_PATH
        | raw::AT_NO_AUTOMOUNT
        | raw::AT_STATX_SYNC_TYPE;
    check_flags(flags, known)?;
    if mask.0 & STATX_RESERVED != 0 || flags.0 & raw::AT_STATX_SYNC_TYPE == raw::AT_STATX_SYNC_TYPE
    {
        return Err(Errno::EINVAL);
    }
    let at = find(&Caller::current(), dirfd, pathname, flags.0)?;
    write_statx(buf, &at)
}

fn write_statfs(to: LinearAddress, mount: &Mount) -> Return {
    const ST_VALID: u64 = 0x20;
    const ST_RELATIME: u64 = 0x1000;
    let FsStatus {
        magic,
        block_size,
        blocks,
        inodes,
        name_max,
    } = mount.file_system.status()?;
    let mut out = Layout::<STATFS_SIZE>::new();
    out.u64(magic).u64(block_size);
    blocks.into_iter().chain(inodes).for_each(|count| {
        out.u64(count);
    });
    let flags = [
        (mount.flags.read_only, 1),
        (mount.flags.no_suid, 2),
        (mount.flags.no_dev, 4),
        (mount.flags.no_exec, 8),
    ];
    let flags = flags
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, bit)| bit)
        .sum::<u64>();
    out.u64(0)
        .u64(name_max)
        .u64(block_size)
        .u64(flags | ST_VALID | ST_RELATIME);
    uaccess::write(to, &out.bytes)?;
    Ok(0)
}

/// `statfs`.
pub fn statfs(path: PathAddress, buf: LinearAddress) -> Return {
    let at = find(&Caller::current(), DirFd::CWD, path, 0)?;
    write_statfs(buf, &at.mount)
}

/// `fstatfs`.
pub fn fstatfs(fd: i32, buf: LinearAddress) -> Return {
    write_statfs(buf, &open_file(fd)?.location.mount)
}

/// `access`.
pub fn access(pathname: PathAddress, mode: Flags) -> Return {
    faccessat2(DirFd::CWD, pathname, mode, Flags(0))
}

/// `faccessat`.
pub fn faccessat(dirfd: DirFd, pathname: PathAddress, mode: Flags) -> Return {
    faccessat2(dirfd, pathname, mode, Flags(0))
}

/// `faccessat2`.
pub fn faccessat2(dirfd: DirFd, pathname: PathAddress, mode: Flags, flags: Flags) -> Return {
    check_flags(mode, access::READ | access::WRITE | access::EXECUTE)?;
    check_flags(
        flags,
        raw::AT_EACCESS | raw::AT_SYMLINK_NOFOLLOW | raw::AT_EMPTY_PATH,
    )?;
    let mut caller = Caller::current();
    if flags.0 & raw::AT_EACCESS == 0 {
        let [uid, _, _] = caller.credentials.uid;
        let [gid, _, _] = caller.credentials.gid;
        caller.credentials.uid = [uid; 3];
        caller.credentials.gid = [gid; 3];
    }
    let at = find(&caller, dirfd, pathname, flags.0)?;
    caller.check_access(&at, mode.0)?;
    Ok(0)
}

/// `chmod`.
pub fn chmod(pathname: PathAddress, mode: Mode) -> Return {
    fchmodat2(DirFd::CWD, pathname, mode, Flags(0))
}

/// `fchmod`.
pub fn fchmod(fd: i32, mode: Mode) -> Return {
    let file = open_file(fd)?;
    file.file()?;
    Caller::current().set_permissions(&file.location, mode.0)?;
    Ok(0)
}

/// `fchmodat`.
pub fn fchmodat(dirfd: DirFd, pathname: PathAddress, mode: Mode) -> Return {
    fchmodat2(dirfd, pathname, mode, Flags(0))
}

/// `fchmodat2`.
pub fn fchmodat2(dirfd: DirFd, pathname: PathAddress, mode: Mode, flags: Flags) -> Return {
    check_flags(flags, raw::AT_SYMLINK_NOFOLLOW | raw::AT_EMPTY_PATH)?;
    let caller = Caller::current();
    let at = find(&caller, dirfd, pathname, flags.0)?;
    caller.set_permissions(&at, mode.0)?;
    Ok(0)
}

/// An owner, unless it is to stay.
fn owner(id: u32) -> Option<u32> {
    (id != u32::MAX).then_some(id)
}

/// `chown`.
pub fn chown(pathname: PathAddress, user: u32, group: u32) -> Return {
    fchownat(DirFd::CWD, pathname, user, group, Flags(0))
}

/// `lchown`.
pub fn lchown(pathname: PathAddress, user: u32, group: u32) -> Return {
    fchownat(
        DirFd::CWD,
        pathname,
        user,
        group,
        Flags(raw::AT_SYMLINK_NOFOLLOW),
    )
}

/// `fchown`.
pub fn fchown(fd: i32, user: u32, group: u32) -> Return {
    let file = open_file(fd)?;
    file.file()?;
    Caller::current().set_owner(&file.location, owner(user), owner(group))?;
    Ok(0)
}

/// `fchownat`.
pub fn fchownat(
    dirfd: DirFd,
    pathname: PathAddress,
    user: u32,
    group: u32,
    flags: Flags,
) -> Return {
    check_flags(flags, raw::AT_SYMLINK_NOFOLLOW | raw::AT_EMPTY_PATH)?;
    let caller = Caller::current();
    let at = find(&caller, dirfd, pathname, flags.0)?;
    caller.set_owner(&at, owner(user), owner(group))?;
    Ok(0)
}

/// Pairs of 64-bit numbers in the program's memory.
fn read_pairs<const N: usize>(from: LinearAddress) -> Result<[(i64, i64); N]> {
    let mut pairs = [(0, 0); N];
    for (index, pair) in pairs.iter_mut().enumerate() {
        let at = LinearAddress(from.0.wrapping_add(index as u64 * 16));
        let mut bytes = [[0u8; 8]; 2];
        uaccess::read(at, bytes.as_flattened_mut())?;
        let [first, second] = bytes.map(i64::from_le_bytes);
        *pair = (first, second);
    }
    Ok(pairs)
}

fn stamp(seconds: i64, nanos: i64) -> Result<NewTime> {
    let valid = (0..1_000_000_000).contains(&nanos);
    let nanos = u32::try_from(nanos)
        .ok()
        .filter(|_| valid)
        .ok_or(Errno::EINVAL)?;
    Ok(NewTime::At(Timestamp { seconds, nanos }))
}

/// A time as `utimensat` has it: the present, as it was, or a given one.
fn new_time((seconds, nanos): (i64, i64)) -> Result<Option<NewTime>> {
    match u32::try_from(nanos) {
        Ok(raw::UTIME_NOW) => Ok(Some(NewTime::Now)),
        Ok(raw::UTIME_OMIT) => Ok(None),
        _ => stamp(seconds, nanos).map(Some),
    }
}

fn set_times(dirfd: DirFd, path: PathAddress, times: [Option<NewTime>; 2], flags: u32) -> Return {
    let caller = Caller::current();
    let [accessed, modified] = times;
    // Without a path, the descriptor itself is meant.
    let empty = if path.0.0 == 0 { raw::AT_EMPTY_PATH } else { 0 };
    if path.0.0 == 0 && dirfd == DirFd::CWD {
        return Err(Errno::EFAULT);
    }
    let at = find(&caller, dirfd, path, flags | empty)?;
    caller.set_times(&at, accessed, modified)?;
    Ok(0)
}

/// `utimensat`.
pub fn utimensat(dirfd: DirFd, path: PathAddress, times: LinearAddress, flags: Flags) -> Return {
    check_flags(flags, raw::AT_SYMLINK_NOFOLLOW | raw::AT_EMPTY_PATH)?;
    let mut wanted = [Some(NewTime::Now); 2];
    if times.0 != 0 {
        let [accessed, modified] = read_pairs(times)?;
        wanted = [new_time(accessed)?, new_time(modified)?];
    }
    set_times(dirfd, path, wanted, flags.0)
}

/// `futimesat`.
pub fn futimesat(dirfd: DirFd, path: PathAddress, times: LinearAddress) -> Return {
    let mut wanted = [Some(NewTime::Now); 2];
    if times.0 != 0 {
        let pairs: [(i64, i64); 2] = read_pairs(times)?;
        for (slot, (seconds, micros)) in wanted.iter_mut().zip(pairs) {
            let nanos = micros.checked_mul(1000).ok_or(Errno::EINVAL)?;
            *slot = Some(stamp(seconds, nanos)?);
        }
    }
    set_times(dirfd, path, wanted, 0)
}

/// `utimes`.
pub fn utimes(path: PathAddress, times: LinearAddress) -> Return {
    futimesat(DirFd::CWD, path, times)
}

/// `utime`.
pub fn utime(path: PathAddress, times: LinearAddress) -> Return {
    let mut wanted = [Some(NewTime::Now); 2];
    if times.0 != 0 {
        let [(accessed, modified)] = read_pairs(times)?;
        wanted = [Some(stamp(accessed, 0)?), Some(stamp(modified, 0)?)];
    }
    set_times(DirFd::CWD, path, wanted, 0)
}
