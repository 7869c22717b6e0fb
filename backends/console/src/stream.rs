//! One host descriptor, read and written without ever being stuck in it.
//!
//! What: [`Stream`] moves bytes between a request and a host descriptor with the semantics of
//! a blocking read(2) or write(2) that an interruption can end. How depends on what it is:
//!
//! * a pipe or a terminal is opened a second time, through `/proc/self/fd`, with `O_NONBLOCK`:
//!   that description is ours alone, so others who share the original notice nothing, and no
//!   race with another reader or writer can block us;
//! * where that is refused (sockets cannot be reopened; a terminal may belong to another user),
//!   each step is polled for and then kept so small that it fits: all that a pipe has room
//!   for, or [`SMALL`] bytes;
//! * files and other devices do not block: they are used directly, at the shared position.
//!
//! Neighbours: [`crate::interrupt`] waits; [`crate::service`] calls.
//!
//! What it does not do: on a socket or an unopenable pipe that other processes read as well, a
//! byte that was polled for may be taken by them first; that read then blocks until the next.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use backend_fs::wire::{Call, Result};
use rustix::event::PollFlags;
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl};
use rustix::io::Errno;
use rustix::path::DecInt;

use crate::interrupt::Waiter;

/// What a pipe or socket takes without blocking once it says that it takes anything.
const SMALL: usize = 4096;
/// The same for a terminal.
const SMALL_TERMINAL: usize = 256;

/// How a descriptor is used so that it never blocks for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// It does not block.
    Direct,
    /// It answers `EAGAIN` instead of blocking.
    NonBlocking,
    /// It is polled for, then used in steps that fit.
    Careful {
        /// The step that fits when nothing better is known.
        step: usize,
    },
}

/// One host descriptor.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The descriptor as handed over, for everything but reading and writing.
    shared: OwnedFd,
    /// Our own description of the same pipe or terminal.
    private: Option<OwnedFd>,
    manner: Manner,
    /// Whether it is a file with a length and positions.
    pub(crate) regular: bool,
}

impl Stream {
    pub(crate) fn new(shared: OwnedFd) -> Self {
        let kind = rustix::fs::fstat(&shared).map_or(FileType::Unknown, |stat| {
            FileType::from_raw_mode(stat.st_mode)
        });
        let terminal = rustix::termios::isatty(&shared);
        let step = if terminal { SMALL_TERMINAL } else { SMALL };
        let blocks = terminal || matches!(kind, FileType::Fifo | FileType::Socket);
        let private = if blocks { reopen(&shared, kind) } else { None };
        let already = fcntl_getfl(&shared).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK));
        let manner = match (blocks, private.is_some() || already) {
            (false, _) => Manner::Direct,
            (true, true) => Manner::NonBlocking,
            (true, false) => Manner::Careful { step },
        };
        Self {
            shared,
            private,
            manner,
            regular: kind == FileType::RegularFile,
        }
    }

    /// The descriptor as handed over.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.shared.as_fd()
    }

    fn io(&self) -> BorrowedFd<'_> {
        self.private.as_ref().unwrap_or(&self.shared).as_fd()
    }

    /// read(2) or pread(2) of at most `len` bytes.
    pub(crate) fn read(
        &self,
        call: &mut Call<'_>,
        offset: Option<u64>,
        len: usize,
        patience: &Patience<'_>,
    ) -> Result<usize> {
        let wait = || patience.wait(self.io(), PollFlags::IN);
        if matches!(self.manner, Manner::Careful { .. }) && len > 0 {
            wait()?;
        }
        loop {
            match call.read_from(self.io(), offset, len) {
                Err(Errno::AGAIN) if self.manner != Manner::Direct => wait()?,
                Err(Errno::INTR) => {}
                outcome => return outcome,
            }
        }
    }

    /// write(2) or pwrite(2) of `len` bytes: all of them, unless an error or an interruption
    /// comes first; that one is reported only if nothing was written.
    pub(crate) fn write(
        &self,
        call: &mut Call<'_>,
        offset: Option<u64>,
        len: usize,
        patience: &Patience<'_>,
    ) -> Result<usize> {
        let mut done = 0;
        loop {
            let at = offset.map(|offset| offset.saturating_add(done as u64));
            match self.write_some(call, at, len - done, patience) {
                Ok(0) => return Ok(done),
                Ok(moved) => done += moved.min(len - done),
                Err(Errno::INTR) if self.manner == Manner::Direct => {}
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => return Ok(done),
            }
            if done >= len {
                return Ok(done);
            }
        }
    }

    fn write_some(
        &self,
        call: &mut Call<'_>,
        offset: Option<u64>,
        len: usize,
        patience: &Patience<'_>,
    ) -> Result<usize> {
        let wait = || patience.wait(self.io(), PollFlags::OUT);
        match self.manner {
            Manner::Direct => call.write_to(self.io(), offset, len),
            Manner::Careful { step } => {
                wait()?;
                call.write_to(self.io(), offset, len.min(room(self.io(), step)))
            }
            Manner::NonBlocking => loop {
                match call.write_to(self.io(), offset, len) {
                    Err(Errno::AGAIN) => wait()?,
                    outcome => return outcome,
                }
            },
        }
    }
}

/// How long a request may block.
pub(crate) struct Patience<'a> {
    pub(crate) waiter: &'a Waiter,
    /// The request's number, by which it is interrupted.
    pub(crate) unique: u64,
    /// Whether the guest has the file open with `O_NONBLOCK`.
    pub(crate) nonblocking: bool,
}

impl Patience<'_> {
    fn wait(&self, stream: BorrowedFd<'_>, events: PollFlags) -> Result<()> {
        if self.nonblocking {
            return ready(stream, events).ok_or(Errno::AGAIN);
        }
        self.waiter.wait(stream, events, self.unique)
    }
}

/// Whether a stream is ready at this moment.
fn ready(stream: BorrowedFd<'_>, events: PollFlags) -> Option<()> {
    let revents = readiness(stream, events).ok()?;
    (!revents.is_empty()).then_some(())
}

/// The present readiness, as poll(2) tells it.
pub(crate) fn readiness(stream: BorrowedFd<'_>, events: PollFlags) -> Result<PollFlags> {
    let mut one = [rustix::event::PollFd::from_borrowed_fd(stream, events)];
    let now = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut one, Some(&now))?;
    let [one] = one;
    Ok(one.revents())
}

/// What fits into a pipe that has just said that something fits: everything if it is empty,
/// else one page of its ring; of anything else, `step`.
fn room(stream: BorrowedFd<'_>, step: usize) -> usize {
    match (
        rustix::pipe::fcntl_getpipe_size(stream),
        rustix::io::ioctl_fionread(stream),
    ) {
        (Ok(size), Ok(0)) => size.max(step),
        _ => step,
    }
}

/// Opens a pipe or terminal anew, without blocking. Not the multiplexer of pseudo terminals:
/// opening that makes another terminal.
fn reopen(shared: &OwnedFd, kind: FileType) -> Option<OwnedFd> {
    let stat = rustix::fs::fstat(shared).ok()?;
    let multiplexer = rustix::fs::makedev(5, 2);
    if kind == FileType::Socket || (kind != FileType::Fifo && stat.st_rdev == multiplexer) {
        return None;
    }
    let access = fcntl_getfl(shared).ok()? & OFlags::RWMODE;
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let descriptors = rustix::fs::openat(CWD, c"/proc/self/fd", directory, Mode::empty()).ok()?;
    let private =
        rustix::fs::openat(descriptors, DecInt::from_fd(shared), flags, Mode::empty()).ok()?;
    let again = rustix::fs::fstat(&private).ok()?;
    let same = (again.st_dev, again.st_ino) == (stat.st_dev, stat.st_ino);
    same.then_some(private)
}
