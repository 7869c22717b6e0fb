//! How sockets come to a peer: `connect`, `listen`, `accept`.

use alloc::boxed::Box;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::address;
use crate::addresses::{Reach, Wish};
use crate::datagram_calls::scope_of;
use crate::error::{Error, Result};
use crate::ports::{Bound, Ports};
use crate::socket::{Common, Family, Handle, Kind, TcpState};
use crate::sockets::check_family;
use crate::stack::{Connection, Socket, Stack};
use crate::tcp::listener::Listener;
use crate::tcp::{Context, Endpoint, Tcp, Tuple};
use crate::time::Nanos;
use crate::timers::Timer;
use crate::wire::ip;

impl Stack {
    /// The destination as packets have it, if the socket can send there.
    pub(crate) fn destination(&self, handle: Handle, to: SocketAddr) -> Result<SocketAddr> {
        let common = self.socket(handle)?.common();
        check_family(common, to)?;
        let mut to = address::unmapped(to);
        if to.ip().is_unspecified() {
            // It means this machine (RFC 1122 does not say so, but everybody does).
            to.set_ip(match to.ip() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            });
        }
        let is_bound = !common.local.ip().is_unspecified();
        if is_bound && common.local.is_ipv4() != to.is_ipv4() {
            return Err(Error::NetworkUnreachable);
        }
        Ok(to)
    }

    /// Connects: a stream begins to, which [`crate::Readiness::writable`] and [`Stack::take_error`] end;
    /// other sockets only remember whom they speak to.
    ///
    /// # Errors
    /// [`Error::InProgress`] is how a stream succeeds, unless it is connected already.
    pub fn connect(&mut self, handle: Handle, to: SocketAddr, now: Nanos) -> Result<()> {
        self.advance(now);
        match self.sockets.get_mut(handle).ok_or(Error::BadHandle)? {
            Socket::Stream(_) => self.connect_stream(handle, to),
            Socket::Listener(_) => Err(Error::IsConnected),
            Socket::Datagram(_) => self.connect_datagram(handle, to),
        }
    }

    fn connect_stream(&mut self, handle: Handle, to: SocketAddr) -> Result<()> {
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return Err(Error::BadHandle);
        };
        match tcp.state {
            TcpState::Closed => {
                if let Some(error) = tcp.common.error.take() {
                    tcp.common.remote = None;
                    return Err(error);
                }
            }
            TcpState::SynSent | TcpState::SynReceived => return Err(Error::Already),
            _ if core::mem::take(&mut tcp.connecting) => return Ok(()),
            _ => return Err(Error::IsConnected),
        }
        let to = self.destination(handle, to)?;
        if to.port() == 0
            || self.reach(to.ip()) != Reach::Local && self.reach(to.ip()) != Reach::Unicast
        {
            return Err(if to.port() == 0 {
                Error::AddressNotAvailable
            } else {
                Error::NetworkUnreachable
            });
        }
        let common = self.socket(handle)?.common();
        let own = Some(common.local.ip()).filter(|own| !own.is_unspecified());
        let wish = Wish {
            source: own,
            interface: common.options.interface.or(scope_of(to)),
        };
        let path = self.path(to.ip(), wish, self.now)?;
        let tuple = self.choose_tuple(handle, path.source, to)?;
        self.begin_connection(handle, tuple, to, path)
    }

    fn begin_connection(
        &mut self,
        handle: Handle,
        tuple: Tuple,
        to: SocketAddr,
        path: crate::route::Path,
    ) -> Result<()> {
        let initial = self.initial_sequence(&tuple);
        let offset = self.timestamp_offset(&tuple);
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return Err(Error::BadHandle);
        };
        // A connection that failed is made anew.
        self.timers.cancel(Timer::Socket(handle), tcp.scheduled);
        tcp.release(&mut self.memory);
        let mut common = core::mem::replace(&mut tcp.common, Common::new(Family::V4));
        // What was shut down belonged to it.
        (common.read_closed, common.write_closed) = (false, false);
        let bound = common.local.port();
        common.local = tuple.local.socket_address();
        common.remote = Some(to);
        let queued = tcp.queued;
        **tcp = Tcp::new(common, tuple, initial, offset);
        tcp.queued = queued;
        tcp.set_path(path);
        tcp.open(self.now);
        if bound != 0 {
            let entry = Bound::new(handle, &tcp.common);
            self.ports.update(ip::TCP, bound, entry);
        }
        self.register(handle, tuple);
        self.settle(handle);
        Err(Error::InProgress)
    }

    /// Addresses and ports that no other connection has.
    fn choose_tuple(&mut self, handle: Handle, source: IpAddr, to: SocketAddr) -> Result<Tuple> {
        let remote = Endpoint::new(to.ip(), to.port());
        let bound = self.socket(handle)?.common().local.port();
        if bound != 0 {
            let tuple = Tuple {
                local: Endpoint::new(source, bound),
                remote,
            };
            let found = self.take_tuple(&tuple);
            return found.then_some(tuple).ok_or(Error::AddressInUse);
        }
        for port in Ports::candidates(&mut self.random) {
            let tuple = Tuple {
                local: Endpoint::new(source, port),
                remote,
            };
            let is_free = self.ports.get(ip::TCP, port).is_empty();
            if is_free && tuple.local != tuple.remote && self.take_tuple(&tuple) {
                return Ok(tuple);
            }
        }
        Err(Error::AddressNotAvailable)
    }

    /// Whether a connection may have these: nobody has, or one that is long over.
    fn take_tuple(&mut self, tuple: &Tuple) -> bool {
        match self.connections.get(tuple) {
            None => true,
            Some(Connection::TimeWait(remains)) if remains.can_be_followed(self.now) => {
                self.forget_connection(tuple);
                true
            }
            Some(_) => false,
        }
    }

    fn connect_datagram(&mut self, handle: Handle, to: SocketAddr) -> Result<()> {
        let to = self.destination(handle, to)?;
        let common = self.socket(handle)?.common();
        if self.reach(to.ip()) == Reach::Broadcast && !common.options.broadcast {
            return Err(Error::Access);
        }
        let own =
            Some(common.local.ip()).filter(|own| !own.is_unspecified() && !own.is_multicast());
        let wish = Wish {
            source: own,
            interface: common.options.interface.or(scope_of(to)),
        };
        let path = self.path(to.ip(), wish, self.now)?;
        self.disconnect_peer(handle);
        self.bind_ephemeral(handle, to.ip())?;
        let Some(Socket::Datagram(datagram)) = self.sockets.get_mut(handle) else {
            return Err(Error::BadHandle);
        };
        datagram.common.remote = Some(to);
        datagram.common.local.set_ip(path.source);
        let entry = Bound::new(handle, &datagram.common);
        let (protocol, local) = (datagram.protocol(to.is_ipv4()), datagram.common.local);
        self.ports.update(protocol, local.port(), entry);
        let tuple = Tuple {
            local: Endpoint::new(local.ip(), local.port()),
            remote: Endpoint::new(to.ip(), to.port()),
        };
        if datagram.kind == Kind::Datagram && !self.peers.contains_key(&tuple) {
            datagram.tuple = Some(tuple);
            self.peers.insert(tuple, handle);
        }
        Ok(())
    }

    pub(crate) fn disconnect_peer(&mut self, handle: Handle) {
        if let Some(Socket::Datagram(datagram)) = self.sockets.get_mut(handle) {
            datagram.common.remote = None;
            if let Some(tuple) = datagram.tuple.take() {
                self.peers.remove(&tuple);
            }
        }
    }

    /// Forgets whom a datagram socket speaks to, or ends a connection so that its socket can be
    /// connected again (`connect` to `AF_UNSPEC`).
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn disconnect(&mut self, handle: Handle, now: Nanos) -> Result<()> {
        self.advance(now);
        match self.sockets.get_mut(handle).ok_or(Error::BadHandle)? {
            Socket::Datagram(_) => self.disconnect_peer(handle),
            Socket::Stream(tcp) => {
                let mut cx = Context {
                    now: self.now,
                    memory: &mut self.memory,
                };
                tcp.abort(None, &mut cx);
                tcp.common.remote = None;
                self.settle(handle);
            }
            Socket::Listener(_) => {}
        }
        Ok(())
    }

    /// Waits for connections, of which about `backlog` may wait to be accepted.
    ///
    /// # Errors
    /// [`Error::AddressInUse`], [`Error::Invalid`] if it is connected.
    pub fn listen(&mut self, handle: Handle, backlog: usize) -> Result<()> {
        let common = match self.sockets.get_mut(handle).ok_or(Error::BadHandle)? {
            Socket::Listener(listener) => {
                listener.set_backlog(backlog);
                return Ok(());
            }
            Socket::Stream(tcp) if tcp.state == TcpState::Closed && !tcp.registered => &tcp.common,
            Socket::Stream(_) => return Err(Error::Invalid),
            Socket::Datagram(_) => return Err(Error::NotSupported),
        };
        let is_bound = common.bound;
        let local = common.local;
        if !is_bound {
            self.bind_to(handle, Some(ip::TCP), local)?;
        }
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return Err(Error::BadHandle);
        };
        let mut bound = Bound::new(handle, &tcp.common);
        bound.is_listening = true;
        let port = tcp.common.local.port();
        if !self.ports.is_free(ip::TCP, port, &bound, true) {
            return Err(Error::AddressInUse);
        }
        self.ports.update(ip::TCP, port, bound);
        self.timers.cancel(Timer::Socket(handle), tcp.scheduled);
        // What is left of a connection that failed goes with it.
        tcp.release(&mut self.memory);
        let mut common = core::mem::replace(&mut tcp.common, Common::new(Family::V4));
        (common.read_closed, common.write_closed) = (false, false);
        common.remote = None;
        if let Some(socket) = self.sockets.get_mut(handle) {
            *socket = Socket::Listener(Box::new(Listener::new(common, backlog)));
        }
        Ok(())
    }

    /// Takes a connection that waits, and its peer's address.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if there is none, [`Error::Invalid`] if it is no listener.
    pub fn accept(&mut self, handle: Handle) -> Result<(Handle, SocketAddr)> {
        let listener = match self.sockets.get_mut(handle).ok_or(Error::BadHandle)? {
            Socket::Listener(listener) => listener,
            Socket::Stream(_) => return Err(Error::Invalid),
            Socket::Datagram(_) => return Err(Error::NotSupported),
        };
        let child = listener.ready.pop_front().ok_or(Error::WouldBlock)?;
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(child) else {
            return Err(Error::Aborted);
        };
        tcp.parent = None;
        let peer = tcp.common.remote.unwrap_or(tcp.common.local);
        let peer = tcp.common.shown(peer);
        self.note_changed(child);
        self.admit(handle);
        Ok((child, peer))
    }
}
