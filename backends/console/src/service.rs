//! The service itself: which request does what to which stream.
//!
//! What: [`ConsoleService`] and the [`Streams`] that it is made of.
//!
//! Neighbours: [`crate::stream`] transfers, [`crate::terminal`] controls,
//! [`crate::interrupt`] ends what blocks.
//!
//! What it does not do: it keeps no handles: a node is always open, its file handle is 0.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use backend_fs::wire::{self, Call, Result};
use backend_fs::{FuseService, Reply, Request};
use guest_abi::fuse::{
    Attr, AttrOut, FSYNC_FDATASYNC, FallocateIn, FsyncIn, GetattrIn, InterruptIn, IoctlIn,
    IoctlOut, LOG, LseekIn, LseekOut, Opcode, OpenOut, PollIn, PollOut, ReadIn, STDERR, STDIN,
    STDOUT, SetattrIn, WriteIn, WriteOut,
};
use guest_abi::fuse::{CURRENT_POSITION, init, open_out, setattr};
use rustix::event::PollFlags;
use rustix::fs::{FallocateFlags, OFlags, SeekFrom, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;

use crate::interrupt::{Interrupter, Waiter};
use crate::stream::{Patience, Stream, readiness};
use crate::terminal;

/// The most that an ioctl carries to the host, in bytes.
const CONTROL_MAX: usize = 64;

/// What a stream that is always ready is ready for.
const READY: PollFlags = PollFlags::IN
    .union(PollFlags::OUT)
    .union(PollFlags::RDNORM)
    .union(PollFlags::WRNORM);

/// The host descriptors of a machine's streams; an absent one answers `EBADF`.
#[derive(Debug, Default)]
pub struct Streams {
    /// The program's standard input.
    pub stdin: Option<OwnedFd>,
    /// Its standard output.
    pub stdout: Option<OwnedFd>,
    /// Its standard error.
    pub stderr: Option<OwnedFd>,
    /// The kernel's log.
    pub log: Option<OwnedFd>,
}

/// The streams, opened for use.
#[derive(Debug)]
struct Open {
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    log: Option<Stream>,
    is_repeatable: bool,
}

/// Serves a machine's standard streams.
#[derive(Debug)]
pub struct ConsoleService {
    streams: Arc<Open>,
    waiter: Waiter,
}

impl ConsoleService {
    /// Takes the descriptors over. Reopens pipes and terminals through `/proc`, so it belongs
    /// before the monitor's sandbox closes.
    ///
    /// # Errors
    /// The host has no descriptor left for an eventfd.
    pub fn new(streams: Streams) -> std::io::Result<Self> {
        let open = Open {
            stdin: streams.stdin.map(Stream::new),
            stdout: streams.stdout.map(Stream::new),
            stderr: streams.stderr.map(Stream::new),
            log: streams.log.map(Stream::new),
            is_repeatable: false,
        };
        Ok(Self {
            streams: Arc::new(open),
            waiter: Waiter::new(Interrupter::new())?,
        })
    }

    /// Serves them so that nothing depends on when somebody at their other ends reads or writes: a read waits until it has all that
    /// it wants or the input ends, a stream is always ready, and its times and number are the same in every run. Before
    /// any other service of them is made.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        if let Some(streams) = Arc::get_mut(&mut self.streams) {
            streams.is_repeatable = true;
        }
        self
    }

    /// Another service of the same streams and the same [`Interrupter`], for another queue's
    /// thread: while one blocks in a read, the other writes.
    ///
    /// # Errors
    /// The host has no descriptor left for an eventfd.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        let waiter = Waiter::new(self.interrupter())?;
        Ok(Self {
            streams: Arc::clone(&self.streams),
            waiter,
        })
    }

    /// What ends blocked requests of this service and its clones.
    #[must_use]
    pub fn interrupter(&self) -> Interrupter {
        self.waiter.interrupter().clone()
    }

    fn stream(&self, call: &Call<'_>) -> Result<&Stream> {
        let stream = match call.header.nodeid {
            STDIN => &self.streams.stdin,
            STDOUT => &self.streams.stdout,
            STDERR => &self.streams.stderr,
            LOG => &self.streams.log,
            _ => &None,
        };
        stream.as_ref().ok_or(Errno::BADF)
    }

    fn dispatch(&self, call: &mut Call<'_>) -> Result<()> {
        match call.opcode {
            Opcode::Init => call.negotiate(init::INIT_EXT),
            Opcode::Interrupt => self.interrupt(call),
            Opcode::Forget | Opcode::BatchForget | Opcode::Destroy => Ok(()),
            Opcode::Lookup => Err(Errno::NOENT),
            Opcode::Open => self.open(call),
            Opcode::Release | Opcode::Flush => self.stream(call).map(drop),
            Opcode::Read => self.read(call),
            Opcode::Write => self.write(call),
            Opcode::Getattr => self.getattr(call),
            Opcode::Setattr => self.setattr(call),
            Opcode::Lseek => self.lseek(call),
            Opcode::Fsync => self.fsync(call),
            Opcode::Fallocate => self.fallocate(call),
            Opcode::Ioctl => self.ioctl(call),
            Opcode::Poll => self.poll(call),
            _ => Err(Errno::NOSYS),
        }
    }

    fn interrupt(&self, call: &mut Call<'_>) -> Result<()> {
        let interrupt: InterruptIn = call.take()?;
        self.waiter.interrupter().interrupt(interrupt.unique);
        Ok(())
    }

    fn open(&self, call: &mut Call<'_>) -> Result<()> {
        let seekable = self.stream(call)?.regular;
        let stream = open_out::NONSEEKABLE | open_out::STREAM;
        let open_flags = open_out::DIRECT_IO | if seekable { 0 } else { stream };
        call.put(&OpenOut {
            fh: 0,
            open_flags,
            padding: 0,
        })
    }

    fn patience(&self, call: &Call<'_>, flags: u32) -> Patience<'_> {
        Patience {
            waiter: &self.waiter,
            unique: call.header.unique,
            nonblocking: flags & OFlags::NONBLOCK.bits() != 0 && !self.streams.is_repeatable,
        }
    }

    fn read(&self, call: &mut Call<'_>) -> Result<()> {
        let read: ReadIn = call.take()?;
        let stream = self.stream(call)?;
        let (offset, len) = (position(read.offset)?, read.size as usize);
        if len > call.room() {
            return Err(Errno::INVAL);
        }
        let patience = self.patience(call, read.flags);
        let mut done = stream.read(call, offset, len, &patience)?;
        while self.streams.is_repeatable && !stream.regular && done < len {
            match stream.read(call, None, len - done, &patience) {
                // An error shows at the next read.
                Ok(0) | Err(_) => break,
                Ok(more) => done += more,
            }
        }
        Ok(())
    }

    fn write(&self, call: &mut Call<'_>) -> Result<()> {
        let write: WriteIn = call.take()?;
        let stream = self.stream(call)?;
        let (offset, len) = (position(write.offset)?, write.size as usize);
        if len > call.data_len() {
            return Err(Errno::INVAL);
        }
        let patience = self.patience(call, write.flags);
        let written = stream.write(call, offset, len, &patience)?;
        call.put(&WriteOut {
            size: written as u32,
            padding: 0,
        })
    }

    fn getattr(&self, call: &mut Call<'_>) -> Result<()> {
        let _: GetattrIn = call.take()?;
        self.put_attributes(call)
    }

    fn put_attributes(&self, call: &mut Call<'_>) -> Result<()> {
        let stat = rustix::fs::fstat(self.stream(call)?.fd())?;
        let out = wire::attributes_out(&stat);
        if !self.streams.is_repeatable {
            return call.put(&out);
        }
        let attr = Attr {
            ino: call.header.nodeid,
            size: out.attr.size,
            mode: out.attr.mode,
            uid: out.attr.uid,
            gid: out.attr.gid,
            rdev: out.attr.rdev,
            nlink: 1,
            blksize: 4096,
            ..Attr::default()
        };
        call.put(&AttrOut { attr, ..out })
    }

    /// Length and times only: the machine does not own the host's descriptors.
    fn setattr(&self, call: &mut Call<'_>) -> Result<()> {
        let wanted: SetattrIn = call.take()?;
        let stream = self.stream(call)?;
        if wanted.valid & (setattr::MODE | setattr::UID | setattr::GID) != 0 {
            return Err(Errno::PERM);
        }
        if wanted.valid & setattr::SIZE != 0 {
            let size = position(wanted.size)?
                .filter(|_| stream.regular)
                .ok_or(Errno::INVAL)?;
            rustix::fs::ftruncate(stream.fd(), size)?;
        }
        if let Some(times) = times(&wanted).filter(|_| stream.regular) {
            rustix::fs::futimens(stream.fd(), &times)?;
        }
        self.put_attributes(call)
    }

    /// Moves the position that the machine shares with whoever else has the descriptor.
    fn lseek(&self, call: &mut Call<'_>) -> Result<()> {
        let lseek: LseekIn = call.take()?;
        let stream = self.stream(call)?;
        let start = i64::try_from(lseek.offset).map(i64::cast_unsigned);
        let to = match lseek.whence {
            0 => SeekFrom::Start(start.map_err(|_| Errno::INVAL)?),
            1 => SeekFrom::Current(lseek.offset.cast_signed()),
            2 => SeekFrom::End(lseek.offset.cast_signed()),
            3 => SeekFrom::Data(start.map_err(|_| Errno::NXIO)?),
            4 => SeekFrom::Hole(start.map_err(|_| Errno::NXIO)?),
            _ => return Err(Errno::INVAL),
        };
        let offset = rustix::fs::seek(stream.fd(), to)?;
        call.put(&LseekOut { offset })
    }

    fn fsync(&self, call: &mut Call<'_>) -> Result<()> {
        let fsync: FsyncIn = call.take()?;
        let stream = self.stream(call)?;
        if fsync.fsync_flags & FSYNC_FDATASYNC != 0 {
            return rustix::fs::fdatasync(stream.fd());
        }
        rustix::fs::fsync(stream.fd())
    }

    fn fallocate(&self, call: &mut Call<'_>) -> Result<()> {
        let wanted: FallocateIn = call.take()?;
        let stream = self.stream(call)?;
        if !stream.regular {
            return Err(Errno::NODEV);
        }
        let served =
            FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE | FallocateFlags::ZERO_RANGE;
        let mode = FallocateFlags::from_bits_retain(wanted.mode);
        if !served.contains(mode) {
            return Err(Errno::OPNOTSUPP);
        }
        rustix::fs::fallocate(stream.fd(), mode, wanted.offset, wanted.length)
    }

    fn ioctl(&self, call: &mut Call<'_>) -> Result<()> {
        let ioctl: IoctlIn = call.take()?;
        let stream = self.stream(call)?;
        if self.streams.is_repeatable && !stream.regular && ioctl.cmd == terminal::FIONREAD {
            // How much has come so far says when it came.
            return Err(Errno::NOTTY);
        }
        let mut input = [0; CONTROL_MAX];
        let input = input
            .get_mut(..ioctl.in_size as usize)
            .ok_or(Errno::INVAL)?;
        call.take_bytes(input)?;
        if call.room() < size_of::<IoctlOut>() + terminal::RESULT_MAX.min(ioctl.out_size as usize) {
            return Err(Errno::INVAL);
        }
        let output = terminal::control(stream.fd(), ioctl.cmd, ioctl.arg, input)?;
        if output.bytes().len() > ioctl.out_size as usize {
            return Err(Errno::INVAL);
        }
        call.put(&IoctlOut::default())?;
        call.put_bytes(output.bytes())
    }

    fn poll(&self, call: &mut Call<'_>) -> Result<()> {
        let poll: PollIn = call.take()?;
        let events = PollFlags::from_bits_retain(poll.events as u16);
        let stream = self.stream(call)?;
        let revents = match self.streams.is_repeatable {
            true => events & READY,
            false => readiness(stream.fd(), events)?,
        };
        call.put(&PollOut {
            revents: revents.bits().into(),
            padding: 0,
        })
    }
}

impl FuseService for ConsoleService {
    fn serve(&mut self, request: &mut dyn Request, reply: &mut dyn Reply) -> u32 {
        wire::answer(request, reply, |call| self.dispatch(call))
    }
}

/// Where to read or write: at an offset, or at the file's own position.
fn position(offset: u64) -> Result<Option<u64>> {
    match offset {
        CURRENT_POSITION => Ok(None),
        offset if i64::try_from(offset).is_ok() => Ok(Some(offset)),
        _ => Err(Errno::INVAL),
    }
}

/// The time stamps to set, if any.
fn times(wanted: &SetattrIn) -> Option<Timestamps> {
    let stamp = |set, now, seconds: u64, nanoseconds: u32| match wanted.valid {
        valid if valid & now != 0 => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        },
        valid if valid & set != 0 => Timespec {
            tv_sec: seconds.cast_signed(),
            tv_nsec: nanoseconds.into(),
        },
        _ => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
    };
    let any = setattr::ATIME | setattr::MTIME | setattr::ATIME_NOW | setattr::MTIME_NOW;
    (wanted.valid & any != 0).then(|| Timestamps {
        last_access: stamp(
            setattr::ATIME,
            setattr::ATIME_NOW,
            wanted.atime,
            wanted.atimensec,
        ),
        last_modification: stamp(
            setattr::MTIME,
            setattr::MTIME_NOW,
            wanted.mtime,
            wanted.mtimensec,
        ),
    })
}
