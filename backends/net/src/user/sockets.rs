//! The host's sockets, and a fake of them for tests and the fuzzer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use nix::ifaddrs::getifaddrs;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, SocketFlags, SocketType, connect, ipproto, socket_with, sockopt,
};

/// Who opens sockets for the guest's flows. None of them waits.
pub trait Sockets: Send {
    /// A TCP stream on its way to `to`; it becomes writable when it is there.
    ///
    /// # Errors
    /// The host's, as when nobody can be reached there.
    fn stream(&self, to: SocketAddr) -> io::Result<OwnedFd>;

    /// A UDP socket that exchanges datagrams with `to` only.
    ///
    /// # Errors
    /// The host's.
    fn datagram(&self, to: SocketAddr) -> io::Result<OwnedFd>;

    /// A socket for ICMP echo with `to`.
    ///
    /// # Errors
    /// The host's, as when it does not allow that.
    fn echo(&self, to: IpAddr) -> io::Result<OwnedFd>;

    /// The host's own addresses.
    ///
    /// # Errors
    /// The host's.
    fn own_addresses(&self) -> io::Result<Vec<IpAddr>>;
}

/// The host's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HostSockets;

pub(super) const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

pub(crate) const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    }
}

fn open(to: SocketAddr, kind: SocketType, protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    let socket = socket_with(family(to.ip()), kind, FLAGS, protocol)?;
    if kind == SocketType::STREAM {
        sockopt::set_tcp_nodelay(&socket, true)?;
    }
    match connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

impl Sockets for HostSockets {
    fn stream(&self, to: SocketAddr) -> io::Result<OwnedFd> {
        open(to, SocketType::STREAM, None)
    }

    fn datagram(&self, to: SocketAddr) -> io::Result<OwnedFd> {
        open(to, SocketType::DGRAM, None)
    }

    fn echo(&self, to: IpAddr) -> io::Result<OwnedFd> {
        let protocol = match to {
            IpAddr::V4(_) => ipproto::ICMP,
            IpAddr::V6(_) => ipproto::ICMPV6,
        };
        open(SocketAddr::new(to, 0), SocketType::DGRAM, Some(protocol))
    }

    fn own_addresses(&self) -> io::Result<Vec<IpAddr>> {
        let addresses = getifaddrs()?.filter_map(|interface| interface.address);
        let own = addresses.filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        });
        Ok(own.collect())
    }
}

/// The loopback of an address's family.
pub(super) const fn loopback(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

/// Says what the peer of a TCP socket sees when that is closed, by whomever and for whatever reason: a
/// reset, or the end of the stream once it has all that was sent.
pub(super) fn reset_on_close(socket: &OwnedFd, resets: bool) {
    // Not a TCP socket, or gone already: then it is only closed.
    let _ = sockopt::set_socket_linger(socket, resets.then_some(std::time::Duration::ZERO));
}

/// Closes a TCP socket so that its peer sees a reset.
pub(super) fn reset(socket: OwnedFd) {
    reset_on_close(&socket, true);
    drop(socket);
}
