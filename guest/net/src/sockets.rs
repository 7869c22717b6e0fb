//! What programs call on sockets of all kinds: their life, their addresses, their options.

use alloc::boxed::Box;
use core::net::{IpAddr, SocketAddr};

use crate::address;
use crate::addresses::Reach;
use crate::datagram::Datagram;
use crate::error::{Error, Result};
use crate::ports::{Bound, Ports};
use crate::seq::Seq;
use crate::socket::{
    Common, Family, Handle, Kind, Options, Readiness, Shutdown, TcpInfo, TcpState,
};
use crate::stack::{Socket, Stack};
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
    pub(crate) fn port_protocol(socket: &Socket, is_v4: bool) -> Option<u8> {
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

    pub(crate) fn bind_to(
        &mut self,
        handle: Handle,
        protocol: Option<u8>,
        to: SocketAddr,
    ) -> Result<()> {
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
            Some(Socket::Stream(tcp)) if tcp.orphan => {}
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
pub(crate) fn check_family(common: &Common, to: SocketAddr) -> Result<()> {
    let is_mapped = matches!(to.ip(), IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    match (common.family, to) {
        (Family::V4, SocketAddr::V6(_)) => Err(Error::FamilyNotSupported),
        (Family::V6, _) if common.options.only_v6 && (is_mapped || to.is_ipv4()) => {
            Err(Error::NetworkUnreachable)
        }
        _ => Ok(()),
    }
}
