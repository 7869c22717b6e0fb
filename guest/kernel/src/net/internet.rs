//! `AF_INET` and `AF_INET6`: sockets of the stack as files.

mod choices;

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use guest_hal::{LinearAddress, Nanos};
use guest_net::{
    DatagramInfo, Error, Family, Handle, Message, Options as Settings, Readiness, Shutdown, Stack,
    TcpState, WriteFlags,
};
use linux_raw_sys::general as raw;

use super::network::{self, now};
use super::options::Options;
use super::{
    Address, Control, Direction, Incoming, Kind, Outgoing, Socket, flag, read, wait_until, write,
};
use crate::fs::buffer::{Destination, Origin};
use crate::fs::file::{Events, File, Io};
use crate::wait::WaitQueue;
use crate::{Errno, Result, uaccess};

/// `AF_INET`.
pub const INET: u16 = 2;
/// `AF_INET6`.
pub const INET6: u16 = 10;
/// Bytes that are moved under the network's lock at once.
const PIECE: usize = 256 << 10;

/// A socket.
#[derive(Debug)]
pub struct InternetSocket {
    handle: Handle,
    family: Family,
    kind: Kind,
    protocol: u32,
    options: Options,
    changes: WaitQueue,
    listening: AtomicBool,
    /// What control messages the program wants beside datagrams: a bit each, [`choices`].
    wanted: AtomicU32,
}

/// The error number of an error of the stack.
const fn errno(error: Error) -> Errno {
    match error {
        Error::WouldBlock => Errno::EAGAIN,
        Error::InProgress => Errno::EINPROGRESS,
        Error::Already => Errno::EALREADY,
        Error::IsConnected => Errno::EISCONN,
        Error::NotConnected => Errno::ENOTCONN,
        Error::DestinationRequired => Errno::EDESTADDRREQ,
        Error::Refused => Errno::ECONNREFUSED,
        Error::Reset => Errno::ECONNRESET,
        Error::Aborted => Errno::ECONNABORTED,
        Error::TimedOut => Errno::ETIMEDOUT,
        Error::Pipe => Errno::EPIPE,
        Error::AddressInUse => Errno::EADDRINUSE,
        Error::AddressNotAvailable => Errno::EADDRNOTAVAIL,
        Error::FamilyNotSupported => Errno::EAFNOSUPPORT,
        Error::NetworkUnreachable => Errno::ENETUNREACH,
        Error::HostUnreachable => Errno::EHOSTUNREACH,
        Error::NetworkDown => Errno::ENETDOWN,
        Error::MessageSize => Errno::EMSGSIZE,
        Error::Access => Errno::EACCES,
        Error::NoBuffers => Errno::ENOBUFS,
        Error::NotSupported => Errno::EOPNOTSUPP,
        Error::Invalid => Errno::EINVAL,
        Error::ProtocolUnreachable => Errno::ENOPROTOOPT,
        Error::NotFound => Errno::ENODEV,
        Error::Exists => Errno::EEXIST,
        Error::BadHandle => Errno::EBADF,
    }
}

/// What `poll` says of a readiness.
fn events_of(ready: &Readiness) -> Events {
    let bits = [
        (ready.readable, raw::POLLIN | raw::POLLRDNORM),
        (ready.writable, raw::POLLOUT | raw::POLLWRNORM),
        (ready.urgent, raw::POLLPRI),
        (
            ready.read_closed,
            raw::POLLRDHUP | raw::POLLIN | raw::POLLRDNORM,
        ),
        (ready.hang_up, raw::POLLHUP),
        (ready.error, raw::POLLERR),
    ];
    let set = bits.into_iter().filter(|(is_set, _)| *is_set);
    set.fold(0, |events, (_, bit)| events | bit)
}

impl InternetSocket {
    /// The stack's name for it.
    #[must_use]
    pub const fn handle(&self) -> Handle {
        self.handle
    }

    /// A socket of a family (`AF_INET` or `AF_INET6`) and a kind.
    ///
    /// # Errors
    /// `EPROTONOSUPPORT`, `EPERM`, `ENOBUFS`.
    pub fn new(family: u16, kind: Kind, protocol: u32) -> Result<Arc<Self>> {
        const ICMP: u32 = 1;
        const TCP: u32 = 6;
        const UDP: u32 = 17;
        const ICMP6: u32 = 58;
        let is_four = family == INET;
        let (stack_kind, protocol) = match (kind, protocol) {
            (Kind::Stream, 0 | TCP) => (guest_net::Kind::Stream, TCP),
            (Kind::Datagram, 0 | UDP) => (guest_net::Kind::Datagram, UDP),
            (Kind::Datagram, ICMP) if is_four => (guest_net::Kind::Echo, ICMP),
            (Kind::Datagram, ICMP6) if !is_four => (guest_net::Kind::Echo, ICMP6),
            (Kind::Raw, 1..=255) => {
                if !crate::process::current().credentials.lock().is_root() {
                    return Err(Errno::EPERM);
                }
                (guest_net::Kind::Raw(protocol as u8), protocol)
            }
            (Kind::SequencedPacket, _) => return Err(Errno::ESOCKTNOSUPPORT),
            _ => return Err(Errno::EPROTONOSUPPORT),
        };
        let family = if is_four { Family::V4 } else { Family::V6 };
        let handle = network::with(|stack| stack.open(stack_kind, family)).map_err(errno)?;
        Ok(Self::around(handle, family, kind, protocol))
    }

    fn around(handle: Handle, family: Family, kind: Kind, protocol: u32) -> Arc<Self> {
        let socket = Arc::new_cyclic(|this: &Weak<Self>| {
            network::register(handle, this);
            Self {
                handle,
                family,
                kind,
                protocol,
                options: Options::default(),
                changes: WaitQueue::new(),
                listening: AtomicBool::new(false),
                wanted: AtomicU32::new(0),
            }
        });
        if kind == Kind::Stream {
            socket.options.set_default_buffers(16_384, 131_072);
        }
        socket
    }

    /// Its readiness changed.
    pub(super) fn changed(&self, ready: &Readiness) {
        self.changes.notify_of(events_of(ready));
    }

    fn call<R>(&self, call: impl FnOnce(&mut Stack, Handle) -> guest_net::Result<R>) -> Result<R> {
        network::with(|stack| call(stack, self.handle)).map_err(errno)
    }

    fn ready(&self) -> Readiness {
        network::with(|stack| stack.readiness(self.handle))
    }

    /// Calls until it would not wait any more.
    fn patiently<R>(
        &self,
        nonblocking: bool,
        timeout: Option<Nanos>,
        call: &mut dyn FnMut(&mut Stack, Handle) -> guest_net::Result<R>,
    ) -> Result<R> {
        wait_until(
            &[&self.changes],
            nonblocking,
            timeout,
            &mut || match self.call(&mut *call) {
                Err(Errno::EAGAIN) => None,
                result => Some(result),
            },
        )?
    }

    fn change_settings(&self, change: impl FnOnce(&mut Settings)) -> Result<()> {
        self.call(|stack, handle| stack.set_options(handle, now(), change))
    }

    fn internet(address: &Address) -> Result<SocketAddr> {
        match address {
            Address::Internet(address) => Ok(*address),
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }

    fn send_stream(&self, message: Outgoing<'_, '_>) -> Result<()> {
        let Outgoing {
            data,
            to,
            flags,
            nonblocking,
            ..
        } = message;
        if let Some(to) = to {
            // An address with a connection says nothing new.
            Self::internet(&to)?;
        }
        let flags = WriteFlags {
            more: flags & flag::MORE != 0,
            urgent: flags & flag::OOB != 0,
        };
        let timeout = self.options.send_timeout();
        if data.remaining() == 0 {
            return Ok(());
        }
        while data.remaining() > 0 {
            fetch(data)?;
            let length = (data.remaining() as usize).min(PIECE);
            let mut failed = Ok(());
            self.patiently(nonblocking, timeout, &mut |stack, handle| {
                let mut fill = |room: &mut [u8]| {
                    let before = data.done();
                    failed = data.take(room);
                    (data.done() - before) as usize
                };
                stack.write(handle, length, flags, &mut fill, now())
            })?;
            failed?;
        }
        Ok(())
    }

    fn send_datagram(&self, message: Outgoing<'_, '_>) -> Result<()> {
        let to = match &message.to {
            Some(Address::Unspecified) if self.family == Family::V4 => None,
            Some(address) => Some(Self::internet(address)?),
            None => None,
        };
        if message.flags & flag::OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut asked = Message {
            to,
            ..Message::default()
        };
        choices::heed(&mut asked, self.family == Family::V4, &message.controls)?;
        let length = message.data.remaining() as usize;
        if length > 65_535 {
            return Err(Errno::EMSGSIZE);
        }
        let mut bytes = alloc::vec![0; length];
        message.data.take(&mut bytes)?;
        let timeout = self.options.send_timeout();
        let sent = self.patiently(message.nonblocking, timeout, &mut |stack, handle| {
            let mut fill = |room: &mut [u8]| {
                let count = room.len().min(bytes.len());
                let (to, from) = (room.get_mut(..count), bytes.get(..count));
                if let (Some(to), Some(from)) = (to, from) {
                    to.copy_from_slice(from);
                }
                count
            };
            stack.send_datagram(handle, &asked, length, &mut fill, now())
        });
        sent.map(drop).inspect_err(|_| message.data.rewind(0))
    }

    fn receive_stream(&self, message: &mut Incoming<'_, '_>) -> Result<()> {
        let timeout = self.options.receive_timeout();
        let nonblocking = message.nonblocking;
        let peeks = message.flags & flag::PEEK != 0;
        if message.flags & flag::OOB != 0 {
            let byte = self.call(|stack, handle| stack.read_urgent(handle, peeks, now()))?;
            message.answered |= flag::OOB;
            return message.into.put(&[byte]);
        }
        let truncates = message.flags & flag::TRUNC != 0;
        let wants_all = message.flags & flag::WAITALL != 0 && !peeks;
        if message.into.remaining() == 0 {
            return Ok(());
        }
        loop {
            if !truncates {
                make_room(message.into)?;
            }
            let length = (message.into.remaining() as usize).min(PIECE);
            let mut failed = Ok(());
            let into = &mut *message.into;
            let got = self.patiently(nonblocking, timeout, &mut |stack, handle| {
                let mut take = |bytes: &[u8]| {
                    let before = into.done();
                    failed = into.put(bytes);
                    (into.done() - before) as usize
                };
                stack.read(handle, length, peeks, &mut take, now())
            });
            failed?;
            match got {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(_) if message.into.done() > 0 => return Ok(()),
                Err(errno) => return Err(errno),
            }
            if !wants_all || message.into.remaining() == 0 {
                return Ok(());
            }
        }
    }

    fn receive_datagram(&self, message: &mut Incoming<'_, '_>) -> Result<()> {
        let timeout = self.options.receive_timeout();
        let peeks = message.flags & flag::PEEK != 0;
        let mut came: Option<(Vec<u8>, DatagramInfo)> = None;
        if message.flags & flag::ERRQUEUE != 0 {
            return Err(Errno::EAGAIN);
        }
        self.patiently(message.nonblocking, timeout, &mut |stack, handle| {
            let mut take = |bytes: &[u8], info: &DatagramInfo| came = Some((bytes.to_vec(), *info));
            stack.receive_datagram(handle, peeks, &mut take)
        })?;
        let Some((bytes, info)) = came else {
            return Ok(());
        };
        let before = message.into.done();
        message.into.put(&bytes)?;
        if message.into.done() - before < bytes.len() as u64 {
            message.whole = Some(bytes.len() as u64);
            message.answered |= flag::TRUNC;
        }
        message.from = Some(Address::Internet(info.from));
        message.controls = self.controls(&info);
        Ok(())
    }

    /// What the program wants to know of a datagram.
    fn controls(&self, info: &DatagramInfo) -> Vec<Control> {
        choices::controls(self.wanted.load(Ordering::Relaxed), info)
    }

    fn connect_stream(&self, to: SocketAddr, nonblocking: bool) -> Result<()> {
        let started = self.call(|stack, handle| stack.connect(handle, to, now()));
        match started {
            Err(Errno::EINPROGRESS) if !nonblocking => {}
            Err(Errno::EALREADY) if !nonblocking => {}
            result => return result,
        }
        let timeout = self.options.send_timeout();
        wait_until(&[&self.changes], false, timeout, &mut || {
            let (state, error) = network::with(|stack| {
                let info = stack.tcp_info(self.handle);
                let error = stack.take_error(self.handle);
                (info.map(|info| info.state), error)
            });
            match (state, error) {
                (_, Some(error)) => Some(Err(errno(error))),
                (Ok(TcpState::SynSent | TcpState::SynReceived), None) => None,
                (Ok(TcpState::Closed), None) => Some(Err(Errno::ECONNREFUSED)),
                _ => Some(Ok(())),
            }
        })
        .map_err(|failed| match failed {
            Errno::EAGAIN => Errno::EINPROGRESS,
            other => other,
        })?
    }
}

/// Brings in what is to be sent next, so that nothing is waited for under the network's lock.
fn fetch(data: &mut Origin<'_>) -> Result<()> {
    let before = data.done();
    if let Some(piece) = data.next(PIECE as u64) {
        uaccess::touch(piece.address, piece.length, false)?;
    }
    data.rewind(before);
    Ok(())
}

/// The same for what is to be received.
fn make_room(into: &mut Destination<'_>) -> Result<()> {
    if let Some(piece) = into.next(PIECE as u64) {
        uaccess::touch(piece.address, piece.length, true)?;
    }
    Ok(())
}

impl Drop for InternetSocket {
    fn drop(&mut self) {
        network::close(self.handle);
    }
}

impl Socket for InternetSocket {
    fn describe(&self) -> (u16, Kind, u32) {
        let family = match self.family {
            Family::V4 => INET,
            Family::V6 => INET6,
        };
        (family, self.kind, self.protocol)
    }

    fn options(&self) -> &Options {
        &self.options
    }

    fn changes(&self) -> &WaitQueue {
        &self.changes
    }

    fn bind(&self, address: &Address) -> Result<()> {
        let address = match (address, self.family) {
            // An old habit that Linux honours.
            (Address::Unspecified, Family::V4) => {
                SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)
            }
            (address, _) => Self::internet(address)?,
        };
        if self.family == Family::V6 && address.is_ipv4() {
            return Err(Errno::EAFNOSUPPORT);
        }
        // Every port is free: root is the machine's own here, as in a container.
        self.call(|stack, handle| stack.bind(handle, address))
    }

    fn listen(&self, backlog: u32) -> Result<()> {
        if self.kind != Kind::Stream {
            return Err(Errno::EOPNOTSUPP);
        }
        let backlog = backlog.min(4096) as usize;
        self.call(|stack, handle| stack.listen(handle, backlog))?;
        self.listening.store(true, Ordering::Relaxed);
        self.changes.notify();
        Ok(())
    }

    fn accept(&self, nonblocking: bool) -> Result<(Arc<dyn Socket>, Address)> {
        if self.kind != Kind::Stream {
            return Err(Errno::EOPNOTSUPP);
        }
        let timeout = self.options.receive_timeout();
        let accepted = self.patiently(nonblocking, timeout, &mut Stack::accept);
        let (handle, peer) = accepted?;
        let socket = Self::around(handle, self.family, Kind::Stream, self.protocol);
        Ok((socket, Address::Internet(peer)))
    }

    fn connect(&self, address: &Address, nonblocking: bool) -> Result<()> {
        if *address == Address::Unspecified {
            return self.call(|stack, handle| stack.disconnect(handle, now()));
        }
        let to = Self::internet(address)?;
        if self.kind == Kind::Stream {
            self.connect_stream(to, nonblocking)
        } else {
            self.call(|stack, handle| stack.connect(handle, to, now()))
        }
    }

    fn send(&self, message: Outgoing<'_, '_>) -> Result<()> {
        if self.kind == Kind::Stream {
            self.send_stream(message)
        } else {
            self.send_datagram(message)
        }
    }

    fn receive(&self, message: &mut Incoming<'_, '_>) -> Result<()> {
        if self.kind == Kind::Stream {
            self.receive_stream(message)
        } else {
            self.receive_datagram(message)
        }
    }

    fn shutdown(&self, direction: Direction) -> Result<()> {
        let how = match direction {
            Direction::Read => Shutdown::Read,
            Direction::Write => Shutdown::Write,
            Direction::Both => Shutdown::Both,
        };
        self.call(|stack, handle| stack.shutdown(handle, how, now()))
    }

    fn name(&self) -> Result<Address> {
        self.call(|stack, handle| stack.local_address(handle))
            .map(Address::Internet)
    }

    fn peer(&self) -> Result<Address> {
        self.call(|stack, handle| stack.peer_address(handle))
            .map(Address::Internet)
    }

    fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Relaxed)
    }

    fn take_error(&self) -> Option<Errno> {
        network::with(|stack| stack.take_error(self.handle)).map(errno)
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>> {
        choices::get(self, level, name)
    }

    fn set_option(&self, level: i32, name: i32, value: &[u8]) -> Result<()> {
        choices::set(self, level, name, value)
    }

    fn device_control(&self, command: u32, argument: LinearAddress) -> Result<u64> {
        const ATMARK: u32 = 0x8905;
        const OUTQ: u32 = 0x5411;
        let answer = match command {
            ATMARK => u32::from(network::with(|stack| stack.is_at_mark(self.handle))),
            OUTQ => self.ready().unsent_bytes as u32,
            _ => return super::interfaces::control(command, argument),
        };
        uaccess::write(argument, &answer.to_le_bytes())?;
        Ok(0)
    }
}

impl File for InternetSocket {
    fn read(&self, io: Io, into: &mut Destination<'_>) -> Result<()> {
        read(self, io.is_nonblocking(), into)
    }

    fn write(&self, io: Io, from: &mut Origin<'_>) -> Result<()> {
        write(self, io.is_nonblocking(), from)
    }

    fn poll(&self) -> Events {
        events_of(&self.ready())
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.changes)
    }

    fn available(&self) -> Option<u64> {
        if self.is_listening() {
            return None;
        }
        Some(self.ready().readable_bytes as u64)
    }
}
