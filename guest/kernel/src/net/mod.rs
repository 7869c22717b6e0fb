//! Sockets: what those of all families have in common.
//!
//! A [`Socket`] is a file with more operations. [`unix`] are those within the machine, [`internet`]
//! those of the [`network`]. Numbers of options and flags are Linux' own; addresses
//! are parsed and shown by the system call layer.

pub mod interfaces;
pub mod internet;
pub mod netlink;
pub mod network;
pub mod options;
pub mod unix;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_hal::{Nanos, time};
use linux_raw_sys::general as raw;

use crate::fs::buffer::{Destination, Origin};
use crate::fs::event::AnonymousInode;
use crate::fs::file::{Events, File};
use crate::fs::metadata::{FileKind, Metadata};
use crate::fs::{OpenFile, mount};
use crate::wait::{self, WaitQueue};
use crate::{Errno, Result};
use options::Options;

/// `SOCK_STREAM`, `SOCK_DGRAM`, `SOCK_RAW`, `SOCK_SEQPACKET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A stream of bytes.
    Stream = 1,
    /// Messages, each for itself.
    Datagram = 2,
    /// Messages with the headers of a protocol.
    Raw = 3,
    /// Messages over a connection.
    SequencedPacket = 5,
}

impl Kind {
    /// Whether the borders of messages are kept.
    #[must_use]
    pub const fn has_messages(self) -> bool {
        !matches!(self, Self::Stream)
    }
}

/// An address, of any family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `AF_UNSPEC`.
    Unspecified,
    /// `AF_UNIX`: nothing, a path, or a zero byte and any bytes.
    Unix(Vec<u8>),
    /// `AF_INET`, `AF_INET6`.
    Internet(SocketAddr),
    /// `AF_NETLINK`: port and groups.
    Netlink(u32, u32),
}

/// Who sent a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// Process.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// `MSG_*` flags.
pub mod flag {
    #![expect(missing_docs, reason = "Linux' own names")]
    pub const OOB: u32 = 1;
    pub const PEEK: u32 = 2;
    pub const DONTROUTE: u32 = 4;
    pub const CTRUNC: u32 = 8;
    pub const TRUNC: u32 = 0x20;
    pub const DONTWAIT: u32 = 0x40;
    pub const EOR: u32 = 0x80;
    pub const WAITALL: u32 = 0x100;
    pub const NOSIGNAL: u32 = 0x4000;
    pub const MORE: u32 = 0x8000;
    pub const ERRQUEUE: u32 = 0x2000;
    pub const CMSG_CLOEXEC: u32 = 0x4000_0000;
}

/// A message on its way out.
#[derive(Debug)]
pub struct Outgoing<'a, 'b> {
    /// Its bytes.
    pub data: &'a mut Origin<'b>,
    /// For whom; `None`: whom the socket is connected to.
    pub to: Option<Address>,
    /// Open files that go with it.
    pub files: Vec<Arc<OpenFile>>,
    /// Who the sender says it is.
    pub sender: Option<Sender>,
    /// What else is said of it: control messages of other levels than `SOL_SOCKET`.
    pub controls: Vec<Control>,
    /// `MSG_*`.
    pub flags: u32,
    /// Fail rather than wait.
    pub nonblocking: bool,
}

/// A control message: level, type, content.
pub type Control = (i32, i32, Vec<u8>);

/// A message on its way in.
#[derive(Debug)]
pub struct Incoming<'a, 'b> {
    /// Where its bytes go.
    pub into: &'a mut Destination<'b>,
    /// `MSG_*` as asked.
    pub flags: u32,
    /// Fail rather than wait.
    pub nonblocking: bool,
    /// From whom it is.
    pub from: Option<Address>,
    /// Open files that came with it.
    pub files: Vec<Arc<OpenFile>>,
    /// Who sent it, if that is wanted.
    pub sender: Option<Sender>,
    /// What else came with it.
    pub controls: Vec<Control>,
    /// How long the whole message was, if it was longer than what was taken.
    pub whole: Option<u64>,
    /// `MSG_*` as answered.
    pub answered: u32,
}

impl<'a, 'b> Incoming<'a, 'b> {
    /// Asks for bytes.
    pub const fn new(into: &'a mut Destination<'b>, flags: u32, nonblocking: bool) -> Self {
        Self {
            into,
            flags,
            nonblocking: nonblocking || flags & flag::DONTWAIT != 0,
            from: None,
            files: Vec::new(),
            sender: None,
            controls: Vec::new(),
            whole: None,
            answered: 0,
        }
    }
}

/// What a shutdown ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Receiving.
    Read,
    /// Sending.
    Write,
    /// Both.
    Both,
}

impl Direction {
    /// Whether receiving ends.
    #[must_use]
    pub const fn reads(self) -> bool {
        matches!(self, Self::Read | Self::Both)
    }

    /// Whether sending ends.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Both)
    }
}

impl core::fmt::Debug for dyn Socket {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Socket")
    }
}

/// A socket.
pub trait Socket: File {
    /// `AF_*`, `SOCK_*` and the protocol.
    fn describe(&self) -> (u16, Kind, u32);

    /// Options that all sockets have.
    fn options(&self) -> &Options;

    /// Where its readiness is told.
    fn changes(&self) -> &WaitQueue;

    /// Gives it a name.
    ///
    /// # Errors
    /// The family's.
    fn bind(&self, address: &Address) -> Result<()>;

    /// Waits for connections from now on, at most `backlog` of which wait to be accepted.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for sockets without connections.
    fn listen(&self, _backlog: u32) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Takes the next connection.
    ///
    /// # Errors
    /// `EAGAIN`, `EINVAL` for sockets that do not listen, `EOPNOTSUPP`, `RESTART`.
    fn accept(&self, _nonblocking: bool) -> Result<(Arc<dyn Socket>, Address)> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Connects.
    ///
    /// # Errors
    /// The family's.
    fn connect(&self, address: &Address, nonblocking: bool) -> Result<()>;

    /// Sends; how much is what was taken from the data.
    ///
    /// # Errors
    /// The family's.
    fn send(&self, message: Outgoing<'_, '_>) -> Result<()>;

    /// Receives; how much is what the destination got.
    ///
    /// # Errors
    /// The family's.
    fn receive(&self, message: &mut Incoming<'_, '_>) -> Result<()>;

    /// Ends receiving, sending, or both.
    ///
    /// # Errors
    /// `ENOTCONN`.
    fn shutdown(&self, direction: Direction) -> Result<()>;

    /// Its own name.
    ///
    /// # Errors
    /// The family's.
    fn name(&self) -> Result<Address>;

    /// The name of whom it is connected to.
    ///
    /// # Errors
    /// `ENOTCONN`.
    fn peer(&self) -> Result<Address>;

    /// Who it is connected to.
    fn peer_credentials(&self) -> Option<Sender> {
        None
    }

    /// Whether it listens.
    fn is_listening(&self) -> bool {
        false
    }

    /// Takes the error that nobody was told yet (`SO_ERROR`).
    fn take_error(&self) -> Option<Errno> {
        None
    }

    /// The value of an option that not all sockets have.
    ///
    /// # Errors
    /// `ENOPROTOOPT`.
    fn option(&self, _level: i32, _name: i32) -> Result<Vec<u8>> {
        Err(Errno::ENOPROTOOPT)
    }

    /// Sets an option that not all sockets have.
    ///
    /// # Errors
    /// `ENOPROTOOPT`, `EINVAL`.
    fn set_option(&self, _level: i32, _name: i32, _value: &[u8]) -> Result<()> {
        Err(Errno::ENOPROTOOPT)
    }

    /// Device control: of all sockets, questions about interfaces.
    ///
    /// # Errors
    /// `ENOTTY`.
    fn device_control(&self, command: u32, argument: guest_hal::LinearAddress) -> Result<u64> {
        interfaces::control(command, argument)
    }
}

/// Reads from a socket as from any file.
///
/// # Errors
/// The socket's.
pub fn read(socket: &dyn Socket, nonblocking: bool, into: &mut Destination<'_>) -> Result<()> {
    socket.receive(&mut Incoming::new(into, 0, nonblocking))
}

/// Writes to a socket as to any file.
///
/// # Errors
/// The socket's.
pub fn write(socket: &dyn Socket, nonblocking: bool, from: &mut Origin<'_>) -> Result<()> {
    socket.send(Outgoing {
        data: from,
        to: None,
        files: Vec::new(),
        sender: None,
        controls: Vec::new(),
        flags: 0,
        nonblocking,
    })
}

/// Waits until `ready` gives something, as long as the socket's time-out says; at once, if it is
/// not to wait.
///
/// # Errors
/// `EAGAIN` after the time-out; `RESTART`, or `EINTR` where there is a time-out.
pub fn wait_until<T>(
    queues: &[&WaitQueue],
    nonblocking: bool,
    timeout: Option<Nanos>,
    ready: &mut dyn FnMut() -> Option<T>,
) -> Result<T> {
    if let Some(value) = ready() {
        return Ok(value);
    }
    if nonblocking {
        return Err(Errno::EAGAIN);
    }
    let deadline = timeout.map(|timeout| time::monotonic().saturating_add(timeout));
    match wait::until(queues, deadline, ready) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(Errno::EAGAIN),
        Err(_) if timeout.is_some() => Err(Errno::EINTR),
        Err(errno) => Err(errno),
    }
}

/// An open file description of a socket.
pub fn open_file(socket: Arc<dyn Socket>, flags: u32) -> Arc<OpenFile> {
    static NUMBER: AtomicU64 = AtomicU64::new(2000);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let metadata = Metadata::new(8, number, raw::S_IFSOCK | 0o777);
    let inode = AnonymousInode::new(FileKind::Socket, metadata);
    let label = alloc::format!("socket:[{number}]");
    let location = mount::unnamed(inode, label.as_bytes());
    let file = Arc::new(SocketFile(socket));
    OpenFile::new(location, file, raw::O_RDWR | flags)
}

/// A socket as a file: what is open.
#[derive(Debug)]
pub struct SocketFile(pub Arc<dyn Socket>);

impl File for SocketFile {
    fn read(&self, io: crate::fs::file::Io, into: &mut Destination<'_>) -> Result<()> {
        read(&*self.0, io.is_nonblocking(), into)
    }

    fn write(&self, io: crate::fs::file::Io, from: &mut Origin<'_>) -> Result<()> {
        write(&*self.0, io.is_nonblocking(), from)
    }

    fn poll(&self) -> Events {
        self.0.poll()
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(self.0.changes())
    }

    fn available(&self) -> Option<u64> {
        self.0.available()
    }

    fn control(&self, command: u32, argument: guest_hal::LinearAddress) -> Result<u64> {
        self.0.device_control(command, argument)
    }
}
