//! `AF_UNIX`: sockets within the machine.
//!
//! Each socket has a queue of what came for it. The other end of a connection is held weakly:
//! when it is gone, what it sent is still there.

mod names;
mod queue;

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use guest_hal::sync::Mutex;
use linux_raw_sys::general as raw;

use super::options::Options;
use super::{
    Address, Direction, Incoming, Kind, Outgoing, Sender, Socket, flag, read, wait_until, write,
};
use crate::fs::buffer::{Destination, Origin};
use crate::fs::file::{Events, File, Io};
use crate::process::current;
use crate::wait::WaitQueue;
use crate::{Errno, Result};
use names::Name;
use queue::{Packet, Queue};

/// `AF_UNIX`.
pub const FAMILY: u16 = 1;
/// Most connections that wait to be accepted (Linux' `net.core.somaxconn`).
const BACKLOG_MAX: u32 = 4096;
/// Most messages that wait in a datagram socket (Linux' `net.unix.max_dgram_qlen`, as systemd
/// sets it).
const MESSAGES_MAX: usize = 512;
/// Most files that one message carries (Linux' `SCM_MAX_FD`).
pub const FILES_MAX: usize = 253;

/// A socket.
#[derive(Debug)]
pub struct UnixSocket {
    this: Weak<Self>,
    kind: Kind,
    options: Options,
    state: Mutex<State>,
    incoming: Mutex<Queue>,
    changes: WaitQueue,
}

#[derive(Debug, Default)]
struct State {
    name: Option<Name>,
    /// Whom it is connected to; for good, even when that is gone.
    peer: Option<Weak<UnixSocket>>,
    peer_name: Vec<u8>,
    peer_credentials: Option<Sender>,
    /// How many connections may wait; `None`: it does not listen.
    backlog: Option<u32>,
    waiting: VecDeque<Arc<UnixSocket>>,
    no_reads: bool,
    no_writes: bool,
    error: Option<Errno>,
}

/// Who the running process is.
fn own_credentials() -> Sender {
    let process = current();
    let credentials = process.credentials.lock();
    Sender {
        pid: process.pid,
        uid: credentials.euid(),
        gid: credentials.egid(),
    }
}

const IN: Events = raw::POLLIN | raw::POLLRDNORM;
const OUT: Events = raw::POLLOUT | raw::POLLWRNORM | raw::POLLWRBAND;

impl UnixSocket {
    /// A socket without name or peer.
    #[must_use]
    pub fn new(kind: Kind) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            kind,
            options: Options::default(),
            state: Mutex::default(),
            incoming: Mutex::default(),
            changes: WaitQueue::new(),
        })
    }

    /// Two sockets, connected to each other.
    #[must_use]
    pub fn pair(kind: Kind) -> (Arc<Self>, Arc<Self>) {
        let (one, other) = (Self::new(kind), Self::new(kind));
        let own = own_credentials();
        for (socket, peer) in [(&one, &other), (&other, &one)] {
            let mut state = socket.state.lock();
            state.peer = Some(Arc::downgrade(peer));
            state.peer_credentials = Some(own);
        }
        (one, other)
    }

    /// Whether it waits for connections, whether it has one, and its name.
    #[must_use]
    pub fn listed(&self) -> (bool, bool, Vec<u8>) {
        let state = self.state.lock();
        let (listens, is_connected) = (state.backlog.is_some(), state.peer.is_some());
        drop(state);
        (listens, is_connected, self.name_bytes())
    }

    fn name_bytes(&self) -> Vec<u8> {
        let state = self.state.lock();
        state.name.as_ref().map_or_else(Vec::new, Name::shown)
    }

    /// The other end, if there is one; `ENOTCONN` if there never was.
    fn other_end(&self) -> Result<Option<Arc<Self>>> {
        let state = self.state.lock();
        let peer = state.peer.as_ref().ok_or(Errno::ENOTCONN)?;
        Ok(peer.upgrade())
    }

    /// Whether nothing more comes.
    fn is_at_end(&self) -> bool {
        let state = self.state.lock();
        if state.no_reads {
            return true;
        }
        if self.kind == Kind::Datagram {
            return false;
        }
        let peer = state.peer.as_ref().map(Weak::upgrade);
        drop(state);
        match peer {
            None => false,
            Some(None) => true,
            Some(Some(peer)) => peer.state.lock().no_writes,
        }
    }

    /// How many more bytes a sender may put here; nothing for messages beyond the most.
    fn room(&self, sender: &Options) -> u64 {
        let queue = self.incoming.lock();
        if self.kind == Kind::Datagram && queue.messages() >= MESSAGES_MAX {
            return 0;
        }
        u64::from(sender.send_buffer()).saturating_sub(queue.bytes())
    }

    fn refuses(&self) -> bool {
        self.state.lock().no_reads
    }

    /// The socket a message goes to.
    fn receiver(&self, to: Option<&Address>) -> Result<Arc<Self>> {
        match to {
            Some(Address::Unix(name)) if self.kind == Kind::Datagram => {
                let receiver = names::find(name, self.kind)?;
                if receiver.kind == self.kind {
                    Ok(receiver)
                } else {
                    Err(Errno::EPROTOTYPE)
                }
            }
            Some(Address::Unix(_)) if self.state.lock().peer.is_some() => Err(Errno::EISCONN),
            Some(Address::Unix(_)) => Err(Errno::EOPNOTSUPP),
            Some(_) => Err(Errno::EINVAL),
            None => match (self.other_end()?, self.kind) {
                (Some(peer), _) => Ok(peer),
                (None, Kind::Datagram) => Err(Errno::ECONNREFUSED),
                (None, _) => Err(self.take_error().unwrap_or(Errno::EPIPE)),
            },
        }
    }

    /// Puts a message, or a part of the stream, into the receiver's queue.
    fn deliver(&self, receiver: &Self, message: &mut Outgoing<'_, '_>, length: u64) -> Result<()> {
        let mut bytes = alloc::vec![0; length as usize];
        message.data.take(&mut bytes)?;
        let packet = Packet {
            bytes,
            taken: 0,
            files: core::mem::take(&mut message.files),
            sender: message.sender.unwrap_or_else(own_credentials),
            from: self.name_bytes(),
        };
        receiver.incoming.lock().push(packet, self.kind);
        receiver.changes.notify_of(IN);
        Ok(())
    }

    fn send_message(&self, mut message: Outgoing<'_, '_>) -> Result<()> {
        let receiver = self.receiver(message.to.as_ref())?;
        let length = message.data.remaining();
        if length > u64::from(self.options.send_buffer()) {
            return Err(Errno::EMSGSIZE);
        }
        let wait = message.nonblocking || message.flags & flag::DONTWAIT != 0;
        let queues = [&receiver.changes, &self.changes];
        wait_until(&queues, wait, self.options.send_timeout(), &mut || {
            if receiver.refuses() || self.state.lock().no_writes {
                return Some(Err(Errno::EPIPE));
            }
            let room = receiver.room(&self.options);
            let fits = room >= length && room > 0 || receiver.incoming.lock().messages() == 0;
            fits.then_some(Ok(()))
        })??;
        self.deliver(&receiver, &mut message, length)
    }

    fn send_stream(&self, mut message: Outgoing<'_, '_>) -> Result<()> {
        let wait = message.nonblocking || message.flags & flag::DONTWAIT != 0;
        loop {
            let receiver = self.receiver(message.to.as_ref())?;
            if message.data.remaining() == 0 && message.files.is_empty() {
                return Ok(());
            }
            let queues = [&receiver.changes, &self.changes];
            let room = wait_until(&queues, wait, self.options.send_timeout(), &mut || {
                if receiver.refuses() || self.state.lock().no_writes {
                    return Some(Err(Errno::EPIPE));
                }
                let room = receiver.room(&self.options);
                (room > 0).then_some(Ok(room))
            })??;
            let length = message.data.remaining().min(room);
            self.deliver(&receiver, &mut message, length)?;
        }
    }

    /// Waits until something came, or nothing more will.
    fn await_packet(&self, nonblocking: bool) -> Result<bool> {
        let peer = self.other_end();
        if peer.is_err() && self.kind != Kind::Datagram {
            return Err(if self.kind == Kind::Stream {
                Errno::EINVAL
            } else {
                Errno::ENOTCONN
            });
        }
        drop(peer);
        let timeout = self.options.receive_timeout();
        wait_until(&[&self.changes], nonblocking, timeout, &mut || {
            if self.incoming.lock().messages() > 0 {
                return Some(Ok(true));
            }
            if let Some(errno) = self.take_error() {
                return Some(Err(errno));
            }
            self.is_at_end().then_some(Ok(false))
        })?
    }

    /// Says to the sender that there is room.
    fn notify_sender(&self) {
        self.changes.notify_of(OUT);
        let state = self.state.lock();
        let peer = state.peer.as_ref().and_then(Weak::upgrade);
        drop(state);
        if let Some(peer) = peer {
            peer.changes.notify_of(OUT);
        }
    }

    fn connect_stream(&self, name: &[u8], nonblocking: bool) -> Result<()> {
        if self.state.lock().backlog.is_some() {
            return Err(Errno::EINVAL);
        }
        if self.state.lock().peer.is_some() {
            return Err(Errno::EISCONN);
        }
        let listener = names::find(name, self.kind)?;
        if listener.kind != self.kind {
            return Err(Errno::EPROTOTYPE);
        }
        let timeout = self.options.send_timeout();
        wait_until(&[&listener.changes], nonblocking, timeout, &mut || {
            let state = listener.state.lock();
            match state.backlog {
                None => Some(Err(Errno::ECONNREFUSED)),
                Some(backlog) => (state.waiting.len() <= backlog as usize).then_some(Ok(())),
            }
        })??;
        let accepted = Self::new(self.kind);
        {
            let mut state = accepted.state.lock();
            state.name.clone_from(&listener.state.lock().name);
            state.peer = Some(self.this.clone());
            state.peer_name = self.name_bytes();
            state.peer_credentials = Some(own_credentials());
        }
        let mut state = self.state.lock();
        state.peer = Some(Arc::downgrade(&accepted));
        state.peer_name = listener.name_bytes();
        state.peer_credentials = listener.state.lock().peer_credentials;
        drop(state);
        listener.state.lock().waiting.push_back(accepted);
        listener.changes.notify_of(IN);
        Ok(())
    }

    fn connect_datagram(&self, address: &Address) -> Result<()> {
        let mut peer = None;
        let mut peer_name = Vec::new();
        if let Address::Unix(name) = address {
            let other = names::find(name, self.kind)?;
            if other.kind != self.kind {
                return Err(Errno::EPROTOTYPE);
            }
            peer = Some(Arc::downgrade(&other));
            peer_name.clone_from(name);
        }
        let mut state = self.state.lock();
        (state.peer, state.peer_name) = (peer, peer_name);
        Ok(())
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let unread = self.incoming.get_mut().messages() > 0;
        for waiting in core::mem::take(&mut state.waiting) {
            // Whoever waits to be accepted is told.
            drop(waiting);
        }
        if self.kind == Kind::Datagram {
            return;
        }
        let peer = state.peer.take().and_then(|peer| peer.upgrade());
        if let Some(peer) = peer {
            if unread {
                peer.state.lock().error = Some(Errno::ECONNRESET);
            }
            peer.changes.notify();
        }
    }
}

impl Socket for UnixSocket {
    fn describe(&self) -> (u16, Kind, u32) {
        (FAMILY, self.kind, 0)
    }

    fn options(&self) -> &Options {
        &self.options
    }

    fn changes(&self) -> &WaitQueue {
        &self.changes
    }

    fn bind(&self, address: &Address) -> Result<()> {
        let Address::Unix(name) = address else {
            return Err(Errno::EINVAL);
        };
        if self.state.lock().name.is_some() {
            return Err(if names::is_taken(name) {
                Errno::EADDRINUSE
            } else {
                Errno::EINVAL
            });
        }
        let name = names::give(name, self.kind, &self.this)?;
        self.state.lock().name = Some(name);
        Ok(())
    }

    fn listen(&self, backlog: u32) -> Result<()> {
        if self.kind == Kind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut state = self.state.lock();
        if state.name.is_none() || state.peer.is_some() {
            return Err(Errno::EINVAL);
        }
        state.backlog = Some(backlog.min(BACKLOG_MAX));
        // What a connecting process sees of this one.
        state.peer_credentials = Some(own_credentials());
        drop(state);
        self.changes.notify_of(OUT);
        Ok(())
    }

    fn accept(&self, nonblocking: bool) -> Result<(Arc<dyn Socket>, Address)> {
        if self.kind == Kind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        let timeout = self.options.receive_timeout();
        let accepted = wait_until(&[&self.changes], nonblocking, timeout, &mut || {
            let mut state = self.state.lock();
            if state.backlog.is_none() || state.no_reads {
                return Some(Err(Errno::EINVAL));
            }
            state.waiting.pop_front().map(Ok)
        })??;
        self.changes.notify_of(OUT);
        let peer = accepted.peer().unwrap_or(Address::Unix(Vec::new()));
        Ok((accepted, peer))
    }

    fn connect(&self, address: &Address, nonblocking: bool) -> Result<()> {
        match (address, self.kind) {
            (_, Kind::Datagram) => self.connect_datagram(address),
            (Address::Unix(name), _) => self.connect_stream(name, nonblocking),
            _ => Err(Errno::EINVAL),
        }
    }

    fn send(&self, message: Outgoing<'_, '_>) -> Result<()> {
        if message.flags & flag::OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if self.kind.has_messages() {
            self.send_message(message)
        } else {
            self.send_stream(message)
        }
    }

    fn receive(&self, message: &mut Incoming<'_, '_>) -> Result<()> {
        if message.flags & flag::OOB != 0 {
            return Err(if self.kind == Kind::Stream {
                Errno::EINVAL
            } else {
                Errno::EOPNOTSUPP
            });
        }
        let wants_all = message.flags & flag::WAITALL != 0 && self.kind == Kind::Stream;
        loop {
            let got = message.into.done();
            match self.await_packet(message.nonblocking) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(_) if got > 0 => return Ok(()),
                Err(errno) => return Err(errno),
            }
            let pass = &self.options.pass_credentials;
            let passes = pass.load(core::sync::atomic::Ordering::Relaxed);
            let result = self.incoming.lock().take(message, self.kind, passes);
            self.notify_sender();
            result?;
            if !wants_all || message.into.remaining() == 0 || message.flags & flag::PEEK != 0 {
                return Ok(());
            }
        }
    }

    fn shutdown(&self, direction: Direction) -> Result<()> {
        let peer = self.other_end();
        let is_listening = self.is_listening();
        if peer.is_err() && !is_listening {
            return Err(Errno::ENOTCONN);
        }
        let mut state = self.state.lock();
        state.no_reads |= direction.reads();
        state.no_writes |= direction.writes();
        drop(state);
        self.changes.notify();
        if let Ok(Some(peer)) = peer {
            peer.changes.notify();
        }
        Ok(())
    }

    fn name(&self) -> Result<Address> {
        Ok(Address::Unix(self.name_bytes()))
    }

    fn peer(&self) -> Result<Address> {
        let state = self.state.lock();
        if state.peer.is_none() {
            return Err(Errno::ENOTCONN);
        }
        Ok(Address::Unix(state.peer_name.clone()))
    }

    fn peer_credentials(&self) -> Option<Sender> {
        self.state.lock().peer_credentials
    }

    fn is_listening(&self) -> bool {
        self.state.lock().backlog.is_some()
    }

    fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
    }
}

impl File for UnixSocket {
    fn read(&self, io: Io, into: &mut Destination<'_>) -> Result<()> {
        read(self, io.is_nonblocking(), into)
    }

    fn write(&self, io: Io, from: &mut Origin<'_>) -> Result<()> {
        write(self, io.is_nonblocking(), from)
    }

    fn poll(&self) -> Events {
        let mut events = 0;
        let state = self.state.lock();
        if state.backlog.is_some() {
            return if state.waiting.is_empty() { 0 } else { IN };
        }
        if state.error.is_some() {
            events |= raw::POLLERR;
        }
        let (no_reads, no_writes) = (state.no_reads, state.no_writes);
        let peer = state.peer.as_ref().map(Weak::upgrade);
        drop(state);
        let connected = self.kind != Kind::Datagram;
        if no_reads || connected && self.is_at_end() {
            events |= IN | raw::POLLRDHUP;
        }
        let (gone, other_writes) = match &peer {
            Some(None) => (connected, false),
            Some(Some(peer)) => (false, !peer.state.lock().no_writes),
            None => (false, true),
        };
        if gone || no_reads && no_writes || connected && no_writes && !other_writes {
            events |= raw::POLLHUP;
        }
        if connected && peer.is_none() {
            events |= raw::POLLHUP;
        }
        if self.incoming.lock().messages() > 0 {
            events |= IN;
        }
        let writable = match &peer {
            Some(Some(peer)) => {
                peer.room(&self.options) * 4 > u64::from(self.options.send_buffer())
            }
            _ => true,
        };
        if writable {
            events |= OUT;
        }
        events
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.changes)
    }

    fn available(&self) -> Option<u64> {
        Some(self.incoming.lock().next_bytes(self.kind))
    }
}
