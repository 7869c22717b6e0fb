//! The answers of a console: what the monitor's service would say, of one terminal line.

use alloc::boxed::Box;

use guest_abi::fuse::{
    Attr, AttrOut, InHeader, InitIn, InitOut, IoctlIn, IoctlOut, LOG, MAJOR, MINOR, Opcode,
    OpenOut, OutHeader, PollIn, PollOut, ReadIn, STDIN, SetattrIn, WriteIn, WriteOut, open_out,
    setattr,
};
use guest_hal::sync::Mutex;
use guest_hal::virtio::{Source, Target};
use guest_kernel::fs::fuse::{Transport, Waits};
use guest_kernel::{Errno, Result, sched, wait};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::pieces;
use super::port::Port;
use super::terminal::Terminal;

/// Longest transfer in bytes.
const TRANSFER_MAX: u32 = 1 << 20;
/// Bytes of a read that are moved at once.
const COPY: usize = 1024;
/// Most bytes that an ioctl brings.
const CONTROL_MAX: usize = 64;

/// `st_mode`: a character device, as terminals are.
const MODE: u32 = 0o020_620;
/// Its number: that of `/dev/console`.
const NUMBER: u32 = 5 << 8 | 1;
const NONBLOCK: u32 = 0o4000;
const POLLIN: u32 = 1;
const POLLOUT: u32 = 4;

/// Where a request's own structure begins, and where a reply's.
const BODY: u64 = size_of::<InHeader>() as u64;
const REPLY: u64 = size_of::<OutHeader>() as u64;

/// The console.
#[derive(Debug)]
pub(super) struct Console {
    port: Box<dyn Port>,
    terminal: Mutex<Terminal>,
}

/// One request, and the room for its reply.
struct Call<'a, 'b> {
    header: InHeader,
    send: &'a [Source<'a>],
    receive: &'a mut [Target<'b>],
    /// Bytes of the reply's body so far.
    done: u64,
}

impl Call<'_, '_> {
    fn ask<T: FromBytes + IntoBytes>(&self) -> Result<T> {
        let mut value = T::new_zeroed();
        let bytes = value.as_mut_bytes();
        let wanted = bytes.len();
        let got = pieces::copy(self.send, BODY, bytes);
        (got == wanted).then_some(value).ok_or(Errno::EINVAL)
    }

    /// Appends to the reply.
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if !pieces::fill(self.receive, REPLY + self.done, bytes) {
            return Err(Errno::EINVAL);
        }
        self.done += bytes.len() as u64;
        Ok(())
    }

    fn answer<T: IntoBytes + Immutable>(&mut self, value: &T) -> Result<()> {
        self.put(value.as_bytes())
    }
}

impl Console {
    pub(super) fn new(port: Box<dyn Port>) -> Self {
        let terminal = Mutex::new(Terminal::new(port.window()));
        Self { port, terminal }
    }

    fn serve(&self, call: &mut Call<'_, '_>) -> Result<()> {
        let opcode = Opcode::try_from(call.header.opcode).map_err(|_| Errno::ENOSYS)?;
        if opcode == Opcode::Init {
            return Self::start(call);
        }
        if !(STDIN..=LOG).contains(&call.header.nodeid) {
            return Err(Errno::EBADF);
        }
        match opcode {
            Opcode::Destroy | Opcode::Release | Opcode::Flush => Ok(()),
            Opcode::Open => call.answer(&OpenOut {
                open_flags: open_out::DIRECT_IO | open_out::NONSEEKABLE | open_out::STREAM,
                ..OpenOut::default()
            }),
            Opcode::Getattr => call.answer(&attributes(call.header.nodeid)),
            Opcode::Setattr => Self::change(call),
            Opcode::Read => self.read(call),
            Opcode::Write => self.write(call),
            Opcode::Poll => self.poll(call),
            Opcode::Ioctl => self.control(call),
            Opcode::Lookup => Err(Errno::ENOENT),
            Opcode::Lseek => Err(Errno::ESPIPE),
            Opcode::Fsync => Err(Errno::EINVAL),
            Opcode::Fallocate => Err(Errno::ENODEV),
            _ => Err(Errno::ENOSYS),
        }
    }

    fn start(call: &mut Call<'_, '_>) -> Result<()> {
        let _: InitIn = call.ask()?;
        call.answer(&InitOut {
            major: MAJOR,
            minor: MINOR,
            max_write: TRANSFER_MAX,
            time_gran: 1,
            ..InitOut::default()
        })
    }

    /// Times are nobody's concern, the rest is not to be had.
    fn change(call: &mut Call<'_, '_>) -> Result<()> {
        let wanted: SetattrIn = call.ask()?;
        if wanted.valid & (setattr::MODE | setattr::UID | setattr::GID) != 0 {
            return Err(Errno::EPERM);
        }
        if wanted.valid & setattr::SIZE != 0 {
            return Err(Errno::EINVAL);
        }
        call.answer(&attributes(call.header.nodeid))
    }

    fn read(&self, call: &mut Call<'_, '_>) -> Result<()> {
        let ask: ReadIn = call.ask()?;
        let mut bytes = [0; COPY];
        let mut left = ask.size as usize;
        if left > 0 && ask.flags & NONBLOCK == 0 {
            self.await_input()?;
        }
        while left > 0 {
            let room = bytes.get_mut(..left.min(COPY)).unwrap_or_default();
            let wanted = room.len();
            let got = self.port.read(room)?;
            call.put(bytes.get(..got).unwrap_or_default())?;
            left -= got;
            if got < wanted {
                break;
            }
        }
        if left == ask.size as usize && left > 0 {
            return Err(Errno::EAGAIN);
        }
        Ok(())
    }

    /// Waits until something has come. A signal for the program ends that.
    fn await_input(&self) -> Result<()> {
        let mut ready = || match self.port.has_input() {
            Ok(false) => None,
            Ok(true) => Some(Ok(())),
            Err(errno) => Some(Err(errno)),
        };
        loop {
            let result = wait::until(&[sched::devices()], self.port.look_again(), &mut ready);
            if let Some(result) = result.map_err(|_| Errno::EINTR)? {
                return result;
            }
        }
    }

    fn write(&self, call: &mut Call<'_, '_>) -> Result<()> {
        let ask: WriteIn = call.ask()?;
        let start = BODY + size_of::<WriteIn>() as u64;
        let data = pieces::range(call.send, start, u64::from(ask.size)).ok_or(Errno::EINVAL)?;
        if !data.is_empty() {
            self.port.write(&data)?;
        }
        call.answer(&WriteOut {
            size: ask.size,
            padding: 0,
        })
    }

    fn poll(&self, call: &mut Call<'_, '_>) -> Result<()> {
        let ask: PollIn = call.ask()?;
        let input = if self.port.has_input()? { POLLIN } else { 0 };
        call.answer(&PollOut {
            revents: (input | POLLOUT) & ask.events,
            padding: 0,
        })
    }

    fn control(&self, call: &mut Call<'_, '_>) -> Result<()> {
        let ask: IoctlIn = call.ask()?;
        let mut input = [0; CONTROL_MAX];
        let input = input.get_mut(..ask.in_size as usize).ok_or(Errno::EINVAL)?;
        let start = BODY + size_of::<IoctlIn>() as u64;
        if pieces::copy(call.send, start, input) < input.len() {
            return Err(Errno::EINVAL);
        }
        let waiting = u32::from(self.port.has_input()?);
        let output = self.terminal.lock().control(ask.cmd, input, waiting)?;
        if Terminal::drops_input(ask.cmd, ask.arg) {
            self.drop_input()?;
        }
        call.answer(&IoctlOut::default())?;
        let room = output.bytes().len() <= ask.out_size as usize;
        call.put(room.then(|| output.bytes()).ok_or(Errno::EINVAL)?)
    }

    /// A line that never pauses is not waited for.
    fn drop_input(&self) -> Result<()> {
        let mut bytes = [0; COPY];
        for _ in 0..64 {
            if self.port.read(&mut bytes)? == 0 {
                break;
            }
        }
        Ok(())
    }
}

fn attributes(node: u64) -> AttrOut {
    AttrOut {
        attr: Attr {
            ino: node,
            mode: MODE,
            nlink: 1,
            rdev: NUMBER,
            blksize: 1024,
            ..Attr::default()
        },
        ..AttrOut::default()
    }
}

impl Transport for Console {
    fn exchange(
        &self,
        unique: u64,
        send: &[Source<'_>],
        receive: &mut [Target<'_>],
        _: Waits,
    ) -> Result<usize> {
        let mut header = InHeader::default();
        if pieces::copy(send, 0, header.as_mut_bytes()) < size_of::<InHeader>() {
            return Err(Errno::EIO);
        }
        if receive.is_empty() {
            // What asks for no reply is of no interest here.
            return Ok(0);
        }
        let mut call = Call {
            header,
            send,
            receive,
            done: 0,
        };
        let result = self.serve(&mut call);
        let body = if result.is_ok() { call.done } else { 0 };
        let head = OutHeader {
            len: (REPLY + body) as u32,
            error: result.map_or_else(|errno| -i32::from(errno.0), |()| 0),
            unique,
        };
        if pieces::fill(receive, 0, head.as_bytes()) {
            Ok((REPLY + body) as usize)
        } else {
            Err(Errno::EIO)
        }
    }
}
