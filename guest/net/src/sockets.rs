//! What programs call on sockets: their life, their addresses, and streams.

use alloc::boxed::Box;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::address;
use crate::addresses::{Reach, Wish};
use crate::datagram::Datagram;
use crate::datagram_calls::scope_of;
use crate::error::{Error, Result};
use crate::ports::{Bound, Ports};
use crate::seq::Seq;
use crate::socket::{
    Common, Family, Handle, Kind, Options, Readiness, Shutdown, TcpInfo, TcpState, WriteFlags,
};
use crate::stack::{Connection, Socket, Stack};
use crate::tcp::listener::Listener;
use crate::tcp::{Context, Endpoint, Tcp, Tuple};
use crate::time::Nanos;
use crate::timers::Timer;
use crate::wire::ip;

impl Stack {
    /// Makes a socket.
    ///
    /// # Errors
    /// [`Error::NoBuffers`] if there are too many.
    pub fn open(&mut self, kind: Kind, family: Family) -> Result<Handle> {
        if self.sockets.len() >= self.most_sockets {
            return Err(Error::NoBuffers);
        }
        let common = Common::new(family);
        let socket = match kind {
            Kind::Stream => Socket::Stream(Box::new(idle_stream(common))),
            _ => Socket::Datagram(Box::new(Datagram::new(kind, common))),
        };
        let handle = self.sockets.insert(socket);
        if let Kind::Raw(_) = kind {
            self.raw.push(handle);
        }
        Ok(handle)
    }

    pub(crate) fn socket(&self, handle: Handle) -> Result<&Socket> {
        self.sockets.get(handle).ok_or(Error::BadHandle)
    }

    /// The protocol whose ports a socket uses, if it does.
    fn port_protocol(socket: &Socket, is_v4: bool) -> Option<u8> {
        match socket {
            Socket::Stream(_) | Socket::Listener(_) => Some(ip::TCP),
            Socket::Datagram(datagram) if matches!(datagram.kind, Kind::Raw(_)) => None,
            Socket::Datagram(datagram) => Some(datagram.protocol(is_v4)),
        }
    }

    /// Gives a socket a local address; port 0: one that is free.
    ///
    /// # Errors
    /// [`Error::AddressNotAvailable`], [`Error::AddressInUse`], [`Error::Invalid`] if it has one.
    pub fn bind(&mut self, handle: Handle, to: SocketAddr) -> Result<()> {
        let socket = self.socket(handle)?;
        let common = socket.common();
        if common.bound || common.local.port() != 0 {
            return Err(Error::Invalid);
        }
        check_family(common, to)?;
        let to = address::unmapped(to);
        let ip = to.ip();
        let reach = self.reach(ip);
        let is_group = matches!(reach, Reach::Multicast | Reach::Broadcast)
            && !matches!(socket, Socket::Stream(_));
        if !ip.is_unspecified() && reach != Reach::Local && !is_group {
            return Err(Error::AddressNotAvailable);
        }
        let protocol = Self::port_protocol(socket, ip.is_ipv4());
        self.bind_to(handle, protocol, to)
    }

    fn bind_to(&mut self, handle: Handle, protocol: Option<u8>, to: SocketAddr) -> Result<()> {
        let socket = self.sockets.get_mut(handle).ok_or(Error::BadHandle)?;
        let is_stream = !matches!(socket, Socket::Datagram(_));
        let common = socket.common_mut();
        let before = common.local;
        common.local = to;
        let Some(protocol) = protocol else {
            return Ok(());
        };
        let bound = Bound::new(handle, common);
        let is_free = |ports: &Ports, port| ports.is_free(protocol, port, &bound, is_stream);
        let port = match to.port() {
            0 => Ports::candidates(&mut self.random).find(|port| is_free(&self.ports, *port)),
            port => Some(port).filter(|port| is_free(&self.ports, *port)),
        };
        let Some(port) = port else {
            common.local = before;
            return Err(Error::AddressInUse);
        };
        common.local.set_port(port);
        common.bound = true;
        self.ports.insert(protocol, port, bound);
        Ok(())
    }

    /// A port for a datagram socket that was not bound.
    pub(crate) fn bind_ephemeral(&mut self, handle: Handle, to: IpAddr) -> Result<()> {
        let socket = self.socket(handle)?;
        let common = socket.common();
        let protocol = Self::port_protocol(socket, to.is_ipv4());
        if common.bound || protocol.is_none() {
            return Ok(());
        }
        let local = common.local;
        self.bind_to(handle, protocol, local)
    }

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

    /// Connects: a stream begins to, which [`Readiness::writable`] and [`Stack::take_error`] end;
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

    fn disconnect_peer(&mut self, handle: Handle) {
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
        let common = core::mem::replace(&mut tcp.common, Common::new(Family::V4));
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

    /// Writes up to `length` bytes to a stream: `fill` is given room once or twice and says how much of
    /// it it filled.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] while the buffer is full, [`Error::Pipe`] once it is closed, or what
    /// became of the connection.
    pub fn write(
        &mut self,
        handle: Handle,
        length: usize,
        flags: WriteFlags,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
        now: Nanos,
    ) -> Result<usize> {
        self.advance(now);
        self.with_stream(handle, |tcp, cx| tcp.write(length, flags, fill, cx))
    }

    /// Reads up to `length` bytes of a stream: `take` is given what is there, in one or two pieces, and
    /// says how much it took. 0 is the end. With `peek` all of it stays.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if there is nothing yet, or what became of the connection.
    pub fn read(
        &mut self,
        handle: Handle,
        length: usize,
        peek: bool,
        take: &mut dyn FnMut(&[u8]) -> usize,
        now: Nanos,
    ) -> Result<usize> {
        self.advance(now);
        self.with_stream(handle, |tcp, cx| tcp.read(length, peek, take, cx))
    }

    /// Takes the urgent byte (`MSG_OOB`).
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is none, [`Error::WouldBlock`] if it is announced.
    pub fn read_urgent(&mut self, handle: Handle, peek: bool, now: Nanos) -> Result<u8> {
        self.advance(now);
        self.with_stream(handle, |tcp, _| tcp.read_urgent(peek))
    }

    /// Whether the urgent byte is next (`SIOCATMARK`).
    #[must_use]
    pub fn is_at_mark(&self, handle: Handle) -> bool {
        matches!(self.sockets.get(handle), Some(Socket::Stream(tcp)) if tcp.is_at_mark())
    }

    fn with_stream<T>(
        &mut self,
        handle: Handle,
        call: impl FnOnce(&mut Tcp, &mut Context<'_>) -> Result<T>,
    ) -> Result<T> {
        let tcp = match self.sockets.get_mut(handle).ok_or(Error::BadHandle)? {
            Socket::Stream(tcp) => tcp,
            Socket::Listener(_) => return Err(Error::NotConnected),
            Socket::Datagram(_) => return Err(Error::NotSupported),
        };
        let mut cx = Context {
            now: self.now,
            memory: &mut self.memory,
        };
        let result = call(tcp, &mut cx);
        self.settle(handle);
        result
    }

    /// Closes one direction or both. A listener that reads no more waits no more.
    ///
    /// # Errors
    /// [`Error::NotConnected`].
    pub fn shutdown(&mut self, handle: Handle, how: Shutdown, now: Nanos) -> Result<()> {
        self.advance(now);
        let (read, write) = match how {
            Shutdown::Read => (true, false),
            Shutdown::Write => (false, true),
            Shutdown::Both => (true, true),
        };
        match self.sockets.get_mut(handle).ok_or(Error::BadHandle)? {
            Socket::Datagram(datagram) => {
                datagram.common.read_closed |= read;
                datagram.common.write_closed |= write;
                let is_connected = datagram.common.remote.is_some();
                self.note_changed(handle);
                is_connected.then_some(()).ok_or(Error::NotConnected)
            }
            Socket::Listener(_) if read => {
                self.stop_listening(handle);
                Ok(())
            }
            Socket::Listener(_) => Err(Error::NotConnected),
            Socket::Stream(tcp) if tcp.state == TcpState::Closed => Err(Error::NotConnected),
            Socket::Stream(_) => self.with_stream(handle, |tcp, _| {
                if write {
                    tcp.close_write();
                }
                if read {
                    tcp.close_read();
                }
                Ok(())
            }),
        }
    }

    /// Ends all connections that wait; the socket can listen again.
    fn stop_listening(&mut self, handle: Handle) {
        self.abort_waiting(handle);
        let Some(socket) = self.sockets.get_mut(handle) else {
            return;
        };
        let common = core::mem::replace(socket.common_mut(), Common::new(Family::V4));
        let (protocol, port) = (ip::TCP, common.local.port());
        let bound = Bound::new(handle, &common);
        *socket = Socket::Stream(Box::new(idle_stream(common)));
        self.ports.update(protocol, port, bound);
        self.note_changed(handle);
    }

    fn abort_waiting(&mut self, handle: Handle) {
        let Some(Socket::Listener(listener)) = self.sockets.get_mut(handle) else {
            return;
        };
        for child in core::mem::take(&mut listener.ready) {
            if let Some(Socket::Stream(tcp)) = self.sockets.get_mut(child) {
                tcp.parent = None;
                tcp.orphan = true;
                let mut cx = Context {
                    now: self.now,
                    memory: &mut self.memory,
                };
                tcp.abort(None, &mut cx);
            }
            self.settle(child);
        }
    }

    /// The program has the socket no more. A connection sends what is queued and closes in order,
    /// unless there is unread data or [`Options::linger`] says otherwise.
    pub fn close(&mut self, handle: Handle, now: Nanos) {
        self.advance(now);
        let mut cx = Context {
            now: self.now,
            memory: &mut self.memory,
        };
        match self.sockets.get_mut(handle) {
            Some(Socket::Stream(tcp)) => {
                tcp.abandon(&mut cx);
                self.unbind(handle);
                self.settle(handle);
                let is_over = matches!(self.sockets.get(handle), Some(Socket::Stream(tcp)) if !tcp.registered);
                if is_over {
                    self.remove_socket(handle);
                }
            }
            Some(Socket::Listener(_)) => {
                self.abort_waiting(handle);
                self.remove_socket(handle);
            }
            Some(Socket::Datagram(_)) => self.close_datagram(handle),
            None => {}
        }
    }

    fn close_datagram(&mut self, handle: Handle) {
        self.disconnect_peer(handle);
        self.raw.retain(|raw| *raw != handle);
        let mut groups = alloc::vec::Vec::new();
        if let Some(Socket::Datagram(datagram)) = self.sockets.get_mut(handle) {
            while datagram.pop(&mut self.memory).is_some() {}
            groups = core::mem::take(&mut datagram.groups);
        }
        for (group, id) in groups {
            self.forget_member(id, group);
        }
        self.remove_socket(handle);
    }

    fn unbind(&mut self, handle: Handle) {
        let Some(socket) = self.sockets.get_mut(handle) else {
            return;
        };
        let common = socket.common_mut();
        if !core::mem::take(&mut common.bound) {
            return;
        }
        let port = common.local.port();
        for protocol in [ip::TCP, ip::UDP, ip::ICMP, ip::ICMPV6] {
            self.ports.remove(protocol, port, handle);
        }
    }

    pub(crate) fn remove_socket(&mut self, handle: Handle) {
        self.unbind(handle);
        if let Some(Socket::Stream(mut tcp)) = self.sockets.remove(handle) {
            tcp.release(&mut self.memory);
            self.timers.cancel(Timer::Socket(handle), tcp.scheduled);
        }
    }

    /// Its own address, as its family shows it.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn local_address(&self, handle: Handle) -> Result<SocketAddr> {
        let common = self.socket(handle)?.common();
        Ok(common.shown(common.local))
    }

    /// Its peer's.
    ///
    /// # Errors
    /// [`Error::NotConnected`].
    pub fn peer_address(&self, handle: Handle) -> Result<SocketAddr> {
        let socket = self.socket(handle)?;
        let common = socket.common();
        let is_open = match socket {
            Socket::Stream(tcp) => tcp.is_synchronized(),
            _ => true,
        };
        let peer = common
            .remote
            .filter(|_| is_open)
            .ok_or(Error::NotConnected)?;
        Ok(common.shown(peer))
    }

    /// What it is ready for; of a socket that is gone, everything.
    #[must_use]
    pub fn readiness(&self, handle: Handle) -> Readiness {
        match self.sockets.get(handle) {
            Some(Socket::Stream(tcp)) => tcp.readiness(),
            Some(Socket::Listener(listener)) => listener.readiness(),
            Some(Socket::Datagram(datagram)) => datagram.readiness(),
            None => Readiness {
                readable: true,
                writable: true,
                hang_up: true,
                ..Readiness::default()
            },
        }
    }

    /// Takes the error that waits (`SO_ERROR`).
    pub fn take_error(&mut self, handle: Handle) -> Option<Error> {
        self.sockets.get_mut(handle)?.common_mut().error.take()
    }

    /// Its options.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn options(&self, handle: Handle) -> Result<&Options> {
        self.socket(handle).map(|socket| &socket.common().options)
    }

    /// Changes its options.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub fn set_options(
        &mut self,
        handle: Handle,
        now: Nanos,
        change: impl FnOnce(&mut Options),
    ) -> Result<()> {
        self.advance(now);
        let socket = self.sockets.get_mut(handle).ok_or(Error::BadHandle)?;
        let is_listening = matches!(socket, Socket::Listener(_));
        let common = socket.common_mut();
        let old_receive = common.options.receive_buffer;
        change(&mut common.options);
        if common.bound {
            let mut bound = Bound::new(handle, common);
            bound.is_listening = is_listening;
            let port = common.local.port();
            for protocol in [ip::TCP, ip::UDP, ip::ICMP, ip::ICMPV6] {
                self.ports.update(protocol, port, bound);
            }
        }
        if let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) {
            tcp.options_changed(old_receive, now);
            self.settle(handle);
        }
        Ok(())
    }

    /// What `TCP_INFO` tells.
    ///
    /// # Errors
    /// [`Error::NotSupported`] if it is no stream.
    pub fn tcp_info(&self, handle: Handle) -> Result<TcpInfo> {
        match self.socket(handle)? {
            Socket::Stream(tcp) => Ok(tcp.info(self.now)),
            Socket::Listener(listener) => Ok(TcpInfo {
                state: TcpState::Listen,
                unacknowledged: crate::bytes::length32(listener.ready.len()),
                ..TcpInfo::default()
            }),
            Socket::Datagram(_) => Err(Error::NotSupported),
        }
    }

    /// Every socket that a program has or had: for `/proc/net`.
    pub fn sockets(
        &self,
    ) -> impl Iterator<Item = (Handle, Kind, SocketAddr, Option<SocketAddr>, TcpState)> {
        self.sockets.iter().map(|(handle, socket)| {
            let common = socket.common();
            let (kind, state) = match socket {
                Socket::Stream(tcp) => (Kind::Stream, tcp.state),
                Socket::Listener(_) => (Kind::Stream, TcpState::Listen),
                Socket::Datagram(datagram) => (datagram.kind, TcpState::Closed),
            };
            (handle, kind, common.local, common.remote, state)
        })
    }
}

/// A stream that is neither connected nor listening.
fn idle_stream(common: Common) -> Tcp {
    let nowhere = Endpoint::new(common.local.ip(), 0);
    let tuple = Tuple {
        local: nowhere,
        remote: nowhere,
    };
    Tcp::new(common, tuple, Seq(0), 0)
}

/// Whether a socket can speak to an address of this family.
fn check_family(common: &Common, to: SocketAddr) -> Result<()> {
    let is_mapped = matches!(to.ip(), IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    match (common.family, to) {
        (Family::V4, SocketAddr::V6(_)) => Err(Error::FamilyNotSupported),
        (Family::V6, _) if common.options.only_v6 && (is_mapped || to.is_ipv4()) => {
            Err(Error::NetworkUnreachable)
        }
        _ => Ok(()),
    }
}
