//! `flock`, and the record locks of `fcntl`.

use alloc::sync::Arc;

use guest_hal::{LinearAddress, Nanos, time};
use guest_kernel::fs::OpenFile;
use guest_kernel::fs::lock::{self, LockKind, Owner, RangeLock, TO_END};
use guest_kernel::process::current;
use guest_kernel::{Errno, Result, uaccess, wait};
use linux_raw_sys::general as raw;

use crate::Return;
use crate::argument::Flags;
use crate::descriptor::open_file;

/// How often a lock that is taken is asked for again.
const RETRY: Nanos = Nanos(5_000_000);
/// Bytes of `struct flock`.
const FLOCK_SIZE: usize = 32;

/// Which owner a record lock belongs to.
pub(crate) type Family = fn(&OpenFile) -> Owner;

/// The process.
pub(crate) const POSIX: Family = |_| Owner::Process(u64::from(current().pid));
/// The open file description.
pub(crate) const OFD: Family = |file| Owner::Description(file.id());

/// Takes a lock, waiting for it if asked.
fn take(file: &OpenFile, owner: Owner, lock: &RangeLock, waits: bool) -> Return {
    loop {
        match lock::set(file, owner, lock) {
            Err(Errno::EAGAIN | Errno::EACCES) if waits => {
                let again = time::monotonic().saturating_add(RETRY);
                wait::until(&[], Some(again), &mut || None::<()>)?;
            }
            result => return result.map(|()| 0),
        }
    }
}

/// `flock`.
pub fn flock(fd: i32, operation: Flags) -> Return {
    let file: Arc<OpenFile> = open_file(fd)?;
    file.file()?;
    let kind = match operation.0 & !raw::LOCK_NB {
        raw::LOCK_SH => LockKind::Shared,
        raw::LOCK_EX => LockKind::Exclusive,
        raw::LOCK_UN => LockKind::Unlocked,
        _ => return Err(Errno::EINVAL),
    };
    let range = RangeLock {
        kind,
        start: 0,
        end: TO_END,
        pid: current().pid,
    };
    take(
        &file,
        Owner::Flock(file.id()),
        &range,
        operation.0 & raw::LOCK_NB == 0,
    )
}

/// `struct flock` as the program has it.
#[derive(Clone, Copy)]
struct Wire([u8; FLOCK_SIZE]);

impl Wire {
    fn read(from: LinearAddress) -> Result<Self> {
        let mut bytes = [0; FLOCK_SIZE];
        uaccess::read(from, &mut bytes)?;
        Ok(Self(bytes))
    }

    fn number<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .unwrap_or([0; N])
    }

    fn kind(&self) -> u16 {
        u16::from_le_bytes(self.number(0))
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0
            .iter_mut()
            .skip(at)
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
    }

    /// The range in absolute bytes.
    fn range(&self, file: &OpenFile) -> Result<(u64, u64)> {
        let base = match u32::from(u16::from_le_bytes(self.number(2))) {
            raw::SEEK_SET => 0,
            raw::SEEK_CUR => file.position().cast_signed(),
            raw::SEEK_END => file.metadata()?.size.cast_signed(),
            _ => return Err(Errno::EINVAL),
        };
        let start = base
            .checked_add(i64::from_le_bytes(self.number(8)))
            .ok_or(Errno::EOVERFLOW)?;
        let length = i64::from_le_bytes(self.number(16));
        let (start, end) = match length {
            0 => (start, i64::MAX),
            1.. => (
                start,
                start.checked_add(length - 1).ok_or(Errno::EOVERFLOW)?,
            ),
            _ => (start.checked_add(length).ok_or(Errno::EINVAL)?, start - 1),
        };
        let start = u64::try_from(start).map_err(|_| Errno::EINVAL)?;
        Ok((start, end.cast_unsigned()))
    }

    fn lock(&self, file: &OpenFile, kind: LockKind) -> Result<RangeLock> {
        let (start, end) = self.range(file)?;
        Ok(RangeLock {
            kind,
            start,
            end,
            pid: current().pid,
        })
    }

    fn wanted(&self) -> Result<LockKind> {
        match u32::from(self.kind()) {
            raw::F_RDLCK => Ok(LockKind::Shared),
            raw::F_WRLCK => Ok(LockKind::Exclusive),
            raw::F_UNLCK => Ok(LockKind::Unlocked),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// `F_SETLK`, `F_SETLKW` and their OFD kin.
pub(crate) fn set_lock(
    file: &OpenFile,
    family: Family,
    from: LinearAddress,
    waits: bool,
) -> Return {
    let wire = Wire::read(from)?;
    let kind = wire.wanted()?;
    let owner = family(file);
    let lock = wire.lock(file, kind)?;
    check_ofd(&wire, owner)?;
    let allowed = match kind {
        LockKind::Shared => file.is_readable(),
        LockKind::Exclusive => file.is_writable(),
        LockKind::Unlocked => true,
    };
    if !allowed {
        return Err(Errno::EBADF);
    }
    take(file, owner, &lock, waits)
}

/// OFD locks want a process number of zero.
fn check_ofd(wire: &Wire, owner: Owner) -> Result<()> {
    let pid = i32::from_le_bytes(wire.number(24));
    if matches!(owner, Owner::Description(_)) && pid != 0 {
        Err(Errno::EINVAL)
    } else {
        Ok(())
    }
}

/// `F_GETLK` and its OFD kin.
pub(crate) fn get_lock(file: &OpenFile, family: Family, at: LinearAddress) -> Return {
    let mut wire = Wire::read(at)?;
    let kind = wire.wanted()?;
    if kind == LockKind::Unlocked {
        return Err(Errno::EINVAL);
    }
    let owner = family(file);
    check_ofd(&wire, owner)?;
    match lock::test(file, owner, &wire.lock(file, kind)?)? {
        None => wire.put(0, &(raw::F_UNLCK as u16).to_le_bytes()),
        Some(other) => describe(&mut wire, &other, owner),
    }
    uaccess::write(at, &wire.0)?;
    Ok(0)
}

fn describe(wire: &mut Wire, lock: &RangeLock, owner: Owner) {
    let kind = if lock.kind == LockKind::Shared {
        raw::F_RDLCK
    } else {
        raw::F_WRLCK
    };
    let length = if lock.end >= TO_END {
        0
    } else {
        lock.end - lock.start + 1
    };
    let pid = if matches!(owner, Owner::Description(_)) {
        -1
    } else {
        lock.pid as i32
    };
    wire.put(0, &(kind as u16).to_le_bytes());
    wire.put(2, &0u16.to_le_bytes());
    wire.put(8, &lock.start.to_le_bytes());
    wire.put(16, &length.to_le_bytes());
    wire.put(24, &pid.to_le_bytes());
}
