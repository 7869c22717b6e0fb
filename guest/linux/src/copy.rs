//! Moving bytes between files: `sendfile`, `copy_file_range`, `splice`.

use alloc::sync::Arc;

use guest_hal::LinearAddress;
use guest_kernel::fs::pipe::PipeEnd;
use guest_kernel::fs::{Destination, FileKind, OpenFile, Origin};
use guest_kernel::{Errno, Result, uaccess};
use linux_raw_sys::general as raw;

use crate::Return;
use crate::argument::Flags;
use crate::descriptor::{downcast, open_file};
use crate::file::{TRANSFER_MAX, segments, write_from};

/// What is moved at a time.
const PIECE: u64 = 256 << 10;
/// `SPLICE_F_*` that are known.
const SPLICE_FLAGS: u32 = 0xf;
const SPLICE_NONBLOCK: u32 = 2;

/// One side of a copy: a file, and where; the position of the file itself moves unless an
/// offset is given.
struct Side {
    file: Arc<OpenFile>,
    offset: Option<u64>,
    pointer: LinearAddress,
}

impl Side {
    fn new(fd: i32, pointer: LinearAddress) -> Result<Self> {
        let file = open_file(fd)?;
        let offset = match pointer.0 {
            0 => None,
            _ => Some(uaccess::read_u64(pointer)?),
        };
        if offset.is_some_and(|offset| i64::try_from(offset).is_err()) {
            return Err(Errno::EINVAL);
        }
        Ok(Self {
            file,
            offset,
            pointer,
        })
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<u64> {
        let mut into = Destination::kernel(bytes);
        match &mut self.offset {
            Some(offset) => {
                let count = self.file.read_at(*offset, &mut into)?;
                *offset += count;
                Ok(count)
            }
            None => self.file.read(&mut into),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<u64> {
        let mut from = Origin::kernel(bytes);
        let Self { file, offset, .. } = self;
        match offset {
            Some(offset) => {
                let count = write_from(file, Some(*offset), &mut from)?;
                *offset += count;
                Ok(count)
            }
            None => write_from(file, None, &mut from),
        }
    }

    /// Takes back what was read but could not be written.
    fn unread(&mut self, bytes: u64) {
        match &mut self.offset {
            Some(offset) => *offset -= bytes,
            None => self
                .file
                .set_position(self.file.position().saturating_sub(bytes)),
        }
    }

    fn finish(&self) -> Result<()> {
        match self.offset {
            Some(offset) => uaccess::write(self.pointer, &offset.to_le_bytes()),
            None => Ok(()),
        }
    }
}

/// Copies until `length`, the end of the source, or a side that takes no more.
fn copy(from: &mut Side, to: &mut Side, length: u64) -> Return {
    let length = length.min(TRANSFER_MAX);
    let mut buffer = alloc::vec![0; length.min(PIECE) as usize];
    let mut done = 0;
    while done < length {
        let wanted = (length - done).min(PIECE) as usize;
        let piece = buffer.get_mut(..wanted).unwrap_or_default();
        let got = match from.read(piece) {
            Err(_) if done > 0 => break,
            result => result?,
        };
        if got == 0 {
            break;
        }
        let put = to.write(buffer.get(..got as usize).unwrap_or_default());
        let count = *put.as_ref().unwrap_or(&0);
        from.unread(got - count);
        done += count;
        match put {
            Err(errno) if done == 0 => return Err(errno),
            Ok(count) if count == got => {}
            _ => break,
        }
    }
    from.finish()?;
    to.finish()?;
    Ok(done)
}

/// `sendfile`.
pub fn sendfile(out_fd: i32, in_fd: i32, offset: LinearAddress, count: u64) -> Return {
    let mut from = Side::new(in_fd, offset)?;
    let mut to = Side::new(out_fd, LinearAddress(0))?;
    from.file.readable()?;
    to.file.writable()?;
    if to.file.flags() & raw::O_APPEND != 0 {
        return Err(Errno::EINVAL);
    }
    if from.file.file()?.as_regular().is_none() {
        return Err(Errno::EINVAL);
    }
    copy(&mut from, &mut to, count)
}

/// `copy_file_range`.
pub fn copy_file_range(
    fd_in: i32,
    off_in: LinearAddress,
    fd_out: i32,
    off_out: LinearAddress,
    len: u64,
    flags: Flags,
) -> Return {
    if flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let mut from = Side::new(fd_in, off_in)?;
    let mut to = Side::new(fd_out, off_out)?;
    from.file.readable()?;
    to.file.writable()?;
    if to.file.flags() & raw::O_APPEND != 0 {
        return Err(Errno::EBADF);
    }
    let kinds = [from.file.kind(), to.file.kind()];
    if kinds.contains(&FileKind::Directory) {
        return Err(Errno::EISDIR);
    }
    if kinds != [FileKind::Regular; 2] {
        return Err(Errno::EINVAL);
    }
    copy(&mut from, &mut to, len)
}

fn is_pipe(file: &OpenFile) -> bool {
    downcast::<PipeEnd>(file).is_some() || file.kind() == FileKind::Fifo
}

/// `splice`.
pub fn splice(
    fd_in: i32,
    off_in: LinearAddress,
    fd_out: i32,
    off_out: LinearAddress,
    len: u64,
    flags: Flags,
) -> Return {
    if flags.0 & !SPLICE_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let (source, target) = (open_file(fd_in)?, open_file(fd_out)?);
    source.readable()?;
    target.writable()?;
    let pipes = [is_pipe(&source), is_pipe(&target)];
    if pipes == [false; 2] {
        return Err(Errno::EINVAL);
    }
    let [from_pipe, to_pipe] = pipes;
    if (from_pipe && off_in.0 != 0) || (to_pipe && off_out.0 != 0) {
        return Err(Errno::ESPIPE);
    }
    let length = splice_length(&source, &target, len, flags)?;
    let mut from = Side::new(fd_in, off_in)?;
    let mut to = Side::new(fd_out, off_out)?;
    // What a pipe gave cannot be taken back, so that only what fits is asked for.
    copy(&mut from, &mut to, length)
}

/// How much a splice moves: what one read of the source would, at most what the target
/// takes at once.
fn splice_length(source: &OpenFile, target: &OpenFile, len: u64, flags: Flags) -> Result<u64> {
    let mut length = len.min(TRANSFER_MAX);
    if let Some(end) = downcast::<PipeEnd>(target) {
        let room = end.pipe().capacity().saturating_sub(end.pipe().len()) as u64;
        if room == 0 && flags.0 & SPLICE_NONBLOCK != 0 {
            return Err(Errno::EAGAIN);
        }
        length = length.min(room.max(1));
    }
    if let Some(end) = downcast::<PipeEnd>(source)
        && !end.pipe().is_empty()
    {
        length = length.min(end.pipe().len() as u64);
    }
    Ok(length.min(PIECE))
}

/// `tee`.
pub fn tee(_fd_in: i32, _fd_out: i32, _len: u64, _flags: Flags) -> Return {
    Err(Errno::EINVAL)
}

/// `vmsplice`: a gathered write to a pipe.
pub fn vmsplice(fd: i32, iov: LinearAddress, nr_segs: u64, _flags: Flags) -> Return {
    let file = open_file(fd)?;
    if !is_pipe(&file) {
        return Err(Errno::EBADF);
    }
    let segments = segments(iov, nr_segs)?;
    if file.is_writable() {
        return write_from(&file, None, &mut Origin::user(&segments));
    }
    file.read(&mut Destination::user(&segments))
}
