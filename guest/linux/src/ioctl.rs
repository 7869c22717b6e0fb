//! Device control.

use guest_hal::LinearAddress;
use guest_kernel::fs::{FileKind, OpenFile};
use guest_kernel::process::current;
use guest_kernel::{Errno, uaccess};
use linux_raw_sys::general as raw;
use linux_raw_sys::ioctl as number;

use crate::Return;
use crate::descriptor::open_file;

/// `FICLONE`, `FICLONERANGE`, `FIDEDUPERANGE`: no file system here shares blocks.
const CLONES: [u32; 3] = [0x4004_9409, 0x4020_940d, 0xc018_9436];

/// `ioctl`.
pub fn ioctl(fd: i32, op: u32, arg: LinearAddress) -> Return {
    let file = open_file(fd)?;
    let object = file.file()?;
    match op {
        number::FIOCLEX => current()
            .files
            .lock()
            .set_close_on_exec(fd, true)
            .map(|()| 0),
        number::FIONCLEX => current()
            .files
            .lock()
            .set_close_on_exec(fd, false)
            .map(|()| 0),
        number::FIONBIO => set_flag(&file, raw::O_NONBLOCK, arg),
        number::FIOASYNC => set_flag(&file, raw::FASYNC, arg),
        number::FIONREAD => match available(&file) {
            Some(count) => write_int(arg, count),
            None => object.control(op, arg),
        },
        number::FIGETBSZ => {
            let size = file.metadata()?.block_size;
            write_int(arg, u64::from(size))
        }
        _ if CLONES.contains(&op) => Err(Errno::EOPNOTSUPP),
        _ => object.control(op, arg),
    }
}

/// How many bytes can be read at once, where this kernel knows.
fn available(file: &OpenFile) -> Option<u64> {
    let object = file.file().ok()?;
    if file.kind() == FileKind::Regular {
        let size = object.as_regular()?.size().ok()?;
        return Some(size.saturating_sub(file.position()));
    }
    object.available()
}

fn write_int(to: LinearAddress, value: u64) -> Return {
    let value = i32::try_from(value).unwrap_or(i32::MAX);
    uaccess::write(to, &value.to_le_bytes())?;
    Ok(0)
}

fn set_flag(file: &OpenFile, flag: u32, from: LinearAddress) -> Return {
    let on = uaccess::read_u32(from)? != 0;
    let flags = file.flags();
    file.set_flags(if on { flags | flag } else { flags & !flag });
    Ok(0)
}
