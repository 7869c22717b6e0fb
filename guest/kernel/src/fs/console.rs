//! The standard streams: descriptors of the monitor, whatever they are there: a terminal, a
//! pipe, a file. All that is done with them is done there.

use alloc::sync::Arc;

use guest_abi::fuse::{
    AttrOut, CURRENT_POSITION, FSYNC_FDATASYNC, FallocateIn, FsyncIn, GetattrIn, IoctlIn, IoctlOut,
    LOG, LseekIn, LseekOut, Opcode, PollIn, PollOut, ReadIn, SetattrIn, WriteIn, setattr,
};
use guest_hal::memory::Extent;
use guest_hal::sync::Once;
use guest_hal::virtio::{Source, Target};
use guest_hal::{LinearAddress, Protection};
use linux_raw_sys::general as raw;
use zerocopy::{FromBytes, IntoBytes};

use super::buffer::{Destination, Origin};
use super::direct;
use super::file::{Events, File, Io, Position, Positioning, Regular};
use super::fuse::{Request, Session, Transport, Waits, bounce, metadata, send_write, wire_change};
use super::inode::Inode;
use super::metadata::{Change, FileKind, Metadata};
use super::pages::PageStore;
use crate::{Errno, Result, uaccess};

/// Most bytes an ioctl of a terminal carries.
const CONTROL_MAX: usize = 64;

static CONSOLE: Once<Arc<Session>> = Once::new();

/// Opens the console; once.
///
/// # Errors
/// The server's.
pub fn open(transport: Arc<dyn Transport>) -> Result<()> {
    let session = Arc::new(Session::open(transport)?);
    CONSOLE.call_once(|| session);
    Ok(())
}

/// Writes to the machine's log, for traces. Nobody is told when that fails.
pub fn log(bytes: &[u8]) {
    let Some(session) = CONSOLE.get() else { return };
    for piece in bytes.chunks(64 << 10) {
        let size = piece.len() as u32;
        let ask = WriteIn {
            offset: CURRENT_POSITION,
            size,
            ..WriteIn::default()
        };
        let _: Result<u64> = send_write(
            session,
            Request::new(Opcode::Write, LOG),
            &ask,
            Source::Bytes(piece),
        );
    }
}

/// One of the streams.
#[derive(Debug)]
pub struct Stream {
    session: Arc<Session>,
    node: u64,
    kind: FileKind,
}

impl Stream {
    /// The stream of a node, of which is known what it is.
    ///
    /// # Errors
    /// `ENXIO` without a console.
    pub fn of_kind(node: u64, kind: FileKind) -> Result<Arc<Self>> {
        let session = CONSOLE.get().ok_or(Errno::ENXIO)?.clone();
        Ok(Arc::new(Self {
            session,
            node,
            kind,
        }))
    }

    const fn request(&self, opcode: Opcode, waits: Waits) -> Request {
        Request {
            opcode,
            node: self.node,
            owner: (0, 0),
            waits,
        }
    }

    fn ask<I, O>(&self, opcode: Opcode, input: &I) -> Result<O>
    where
        I: IntoBytes + zerocopy::Immutable,
        O: FromBytes + IntoBytes,
    {
        self.session
            .ask(self.request(opcode, Waits::Work), input, &[])
    }

    /// Reads at most `length` bytes into an extent.
    fn fetch(&self, io: Io, extent: &Extent, at: u64, length: u64) -> Result<u64> {
        let size = length as u32;
        let ask = ReadIn {
            offset: offset(io),
            size,
            flags: io.flags,
            ..ReadIn::default()
        };
        let send = [Source::Bytes(ask.as_bytes())];
        let into = &mut [Target::Extent(extent, at, length)];
        let got = self
            .session
            .call(self.request(Opcode::Read, Waits::Input), &send, into);
        Ok((got.map_err(interrupted)? as u64).min(length))
    }

    fn write_piece(&self, io: Io, from: &mut Origin<'_>, bounce: &Extent) -> Result<bool> {
        let before = from.done();
        let taken = from.take_extent(bounce, 0, self.piece(from.remaining()));
        let length = from.done() - before;
        if length == 0 {
            return taken.map(|()| false);
        }
        let size = length as u32;
        let ask = WriteIn {
            offset: offset(io),
            size,
            flags: io.flags,
            ..WriteIn::default()
        };
        let request = self.request(Opcode::Write, Waits::Output);
        let source = Source::Extent(bounce, 0, length);
        let result = send_write(&self.session, request, &ask, source);
        let wrote = *result.as_ref().unwrap_or(&0);
        from.rewind(before + wrote);
        result.map_err(interrupted)?;
        taken.map(|()| wrote == length)
    }

    /// Reads what one request gives.
    fn read_some(&self, io: Io, into: &mut Destination<'_>) -> Result<()> {
        if let Some(result) = self.read_direct(io, into) {
            return result;
        }
        bounce::with(|bounce| {
            let got = self.fetch(io, bounce, 0, self.piece(into.remaining()))?;
            into.put_extent(bounce, 0, got)
        })
    }

    /// Reads straight into the program's memory; `None` if that cannot be.
    fn read_direct(&self, io: Io, into: &mut Destination<'_>) -> Option<Result<()>> {
        let segment = into.next(self.session.transfer_max())?;
        let got = direct::with(segment, Protection::WRITE, |extent, offset, length| {
            self.fetch(io, extent, offset, length)
        })?;
        Some(got.map(|count| into.filled(count)))
    }

    /// Writes straight from the program's memory; whether all was taken.
    fn write_direct(&self, io: Io, from: &mut Origin<'_>) -> Option<Result<bool>> {
        let segment = from.next(self.session.transfer_max())?;
        let wrote = direct::with(segment, Protection::READ, |extent, at, length| {
            let size = length as u32;
            let ask = WriteIn {
                offset: offset(io),
                size,
                flags: io.flags,
                ..WriteIn::default()
            };
            let request = self.request(Opcode::Write, Waits::Output);
            let source = Source::Extent(extent, at, length);
            send_write(&self.session, request, &ask, source).map_err(interrupted)
        })?;
        Some(wrote.map(|count| {
            from.skip(count);
            count == segment.length
        }))
    }

    fn piece(&self, wanted: u64) -> u64 {
        wanted.min(bounce::SIZE).min(self.session.transfer_max())
    }

    /// Whether it is a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        let cmd = linux_raw_sys::ioctl::TCGETS;
        let ask = IoctlIn {
            cmd,
            out_size: CONTROL_MAX as u32,
            ..IoctlIn::default()
        };
        let mut reply = [0u8; CONTROL_MAX + size_of::<IoctlOut>()];
        let send = [Source::Bytes(ask.as_bytes())];
        let into = &mut [Target::Bytes(&mut reply)];
        self.session
            .call(self.request(Opcode::Ioctl, Waits::Work), &send, into)
            .is_ok()
    }

    fn is_regular(&self) -> bool {
        self.kind == FileKind::Regular
    }
}

/// Where a request reads or writes.
const fn offset(io: Io) -> u64 {
    match io.position {
        Position::Current => CURRENT_POSITION,
        Position::At(offset) => offset,
    }
}

/// An interrupted request starts again after the signal, as Linux has it.
fn interrupted(errno: Errno) -> Errno {
    if errno == Errno::EINTR {
        Errno::RESTART
    } else {
        errno
    }
}

impl Inode for Stream {
    fn kind(&self) -> FileKind {
        self.kind
    }

    fn metadata(&self) -> Result<Metadata> {
        let reply: AttrOut = self.ask(Opcode::Getattr, &GetattrIn::default())?;
        Ok(metadata(0x19, &reply.attr))
    }

    fn change(&self, change: &Change) -> Result<()> {
        let _: AttrOut = self.ask(Opcode::Setattr, &wire_change(change))?;
        Ok(())
    }

    fn open(self: Arc<Self>, flags: u32) -> Result<Arc<dyn File>> {
        if flags & raw::O_TRUNC != 0 && self.is_regular() {
            self.truncate(0)?;
        }
        Ok(self)
    }
}

impl File for Stream {
    fn read(&self, mut io: Io, into: &mut Destination<'_>) -> Result<()> {
        while into.remaining() > 0 {
            let before = into.done();
            self.read_some(io, into)?;
            let got = into.done() - before;
            if let Position::At(offset) = &mut io.position {
                *offset += got;
            }
            // Files give all that is asked for, streams what there is.
            if got == 0 || !self.is_regular() {
                break;
            }
        }
        Ok(())
    }

    fn write(&self, mut io: Io, from: &mut Origin<'_>) -> Result<()> {
        while from.remaining() > 0 {
            let before = from.done();
            let all = match self.write_direct(io, from) {
                Some(result) => result?,
                None => bounce::with(|bounce| self.write_piece(io, from, bounce))?,
            };
            if let Position::At(offset) = &mut io.position {
                *offset += from.done() - before;
            }
            if !all {
                break;
            }
        }
        Ok(())
    }

    fn positioning(&self) -> Positioning {
        if self.is_regular() {
            Positioning::Own
        } else {
            Positioning::Stream
        }
    }

    fn seek(&self, offset: i64, whence: u32) -> Result<u64> {
        let ask = LseekIn {
            offset: offset.cast_unsigned(),
            whence,
            ..LseekIn::default()
        };
        let reply: LseekOut = self.ask(Opcode::Lseek, &ask)?;
        Ok(reply.offset)
    }

    fn poll(&self) -> Events {
        let events = raw::POLLIN | raw::POLLOUT | raw::POLLPRI | raw::POLLRDHUP;
        let ask = PollIn {
            events,
            ..PollIn::default()
        };
        let reply: Result<PollOut> = self.ask(Opcode::Poll, &ask);
        let ready = reply.map_or(raw::POLLERR, |reply| reply.revents);
        let normal = if ready & raw::POLLIN != 0 {
            raw::POLLRDNORM
        } else {
            0
        };
        let output = if ready & raw::POLLOUT != 0 {
            raw::POLLWRNORM
        } else {
            0
        };
        ready | normal | output
    }

    fn must_be_asked(&self) -> bool {
        !self.is_regular()
    }

    fn control(&self, command: u32, argument: LinearAddress) -> Result<u64> {
        let (input, output) = control_sizes(command).ok_or(Errno::ENOTTY)?;
        let mut bytes = [0u8; CONTROL_MAX];
        let given = bytes.get_mut(..input).ok_or(Errno::EINVAL)?;
        uaccess::read(argument, given)?;
        let ask = IoctlIn {
            cmd: command,
            arg: argument.0,
            in_size: input as u32,
            out_size: CONTROL_MAX as u32,
            ..IoctlIn::default()
        };
        let mut reply = [0u8; CONTROL_MAX + size_of::<IoctlOut>()];
        let send = [Source::Bytes(ask.as_bytes()), Source::Bytes(given)];
        let send = if input == 0 {
            send.get(..1)
        } else {
            send.get(..)
        };
        let into = &mut [Target::Bytes(&mut reply)];
        let request = self.request(Opcode::Ioctl, Waits::Work);
        self.session.call(request, send.unwrap_or_default(), into)?;
        let (head, body) = IoctlOut::read_from_prefix(&reply).map_err(|_| Errno::EIO)?;
        uaccess::write(argument, body.get(..output).unwrap_or_default())?;
        Ok(u64::from(head.result.unsigned_abs()))
    }

    fn as_regular(&self) -> Option<&dyn Regular> {
        self.is_regular().then_some(self as _)
    }
}

/// How many bytes a command of terminals takes and gives; `None` for those not served.
const fn control_sizes(command: u32) -> Option<(usize, usize)> {
    use linux_raw_sys::ioctl as number;
    Some(match command {
        number::TCGETS => (0, 36),
        number::TCSETS | number::TCSETSW | number::TCSETSF => (36, 0),
        number::TIOCGWINSZ => (0, 8),
        number::TIOCSWINSZ => (8, 0),
        number::FIONREAD | number::TIOCOUTQ => (0, 4),
        number::TCSBRK | number::TCXONC | number::TCFLSH => (0, 0),
        _ => return None,
    })
}

impl Regular for Stream {
    fn size(&self) -> Result<u64> {
        self.metadata().map(|metadata| metadata.size)
    }

    fn truncate(&self, size: u64) -> Result<()> {
        let ask = SetattrIn {
            valid: setattr::SIZE,
            size,
            ..SetattrIn::default()
        };
        let _: AttrOut = self.ask(Opcode::Setattr, &ask)?;
        Ok(())
    }

    fn sync(&self, data_only: bool) -> Result<()> {
        let fsync_flags = if data_only { FSYNC_FDATASYNC } else { 0 };
        self.ask(
            Opcode::Fsync,
            &FsyncIn {
                fsync_flags,
                ..FsyncIn::default()
            },
        )
    }

    fn allocate(&self, mode: u32, offset: u64, length: u64) -> Result<()> {
        self.ask(
            Opcode::Fallocate,
            &FallocateIn {
                offset,
                length,
                mode,
                ..FallocateIn::default()
            },
        )
    }

    fn read_into_extent(&self, offset: u64, extent: &Extent, at: u64, length: u64) -> Result<u64> {
        let mut done = 0;
        while done < length {
            let size = (length - done).min(self.session.transfer_max());
            let got = self.fetch(Io::at(offset + done, 0), extent, at + done, size)?;
            done += got;
            if got < size {
                break;
            }
        }
        Ok(done)
    }

    fn pages(&self) -> Result<Arc<PageStore>> {
        Err(Errno::ENODEV)
    }
}
