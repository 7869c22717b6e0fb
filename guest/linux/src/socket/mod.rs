//! Sockets: the calls.
//!
//! * [`address`]: addresses as the program writes them.
//! * [`message`]: `sendmsg` and `recvmsg` with what goes beside the data.
//! * [`options`]: `getsockopt` and `setsockopt`.

pub mod address;
pub mod message;
pub mod options;

use alloc::sync::Arc;

use guest_hal::LinearAddress;
use guest_kernel::fs::OpenFile;
use guest_kernel::net::internet::InternetSocket;
use guest_kernel::net::netlink::{self, NetlinkSocket};
use guest_kernel::net::unix::UnixSocket;
use guest_kernel::net::{Direction, Kind, Socket, SocketFile, open_file as open_socket};
use guest_kernel::{Errno, Result, uaccess};
use linux_raw_sys::general as raw;

use crate::Return;
use crate::argument::Flags;
use crate::descriptor::{close, downcast, install, open_file};

const AF_UNIX: i32 = 1;
const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;
const AF_NETLINK: i32 = 16;
const SOCK_TYPE: i32 = 0xf;

/// The socket of a descriptor, and its open file.
pub(crate) fn socket_of(fd: i32) -> Result<(Arc<OpenFile>, Arc<dyn Socket>)> {
    let file = open_file(fd)?;
    let socket = downcast::<SocketFile>(&file).ok_or(Errno::ENOTSOCK)?;
    let socket = Arc::clone(&socket.0);
    Ok((file, socket))
}

/// Whether a call on an open file is not to wait.
pub(crate) fn is_nonblocking(file: &OpenFile) -> bool {
    file.flags() & raw::O_NONBLOCK != 0
}

/// The kind and the flags of a type argument.
fn kind_of(kind: i32) -> Result<(Kind, u32)> {
    let flags = (kind & !SOCK_TYPE) as u32;
    if flags & !(raw::O_NONBLOCK | raw::O_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    let kind = match kind & SOCK_TYPE {
        1 => Kind::Stream,
        2 => Kind::Datagram,
        3 => Kind::Raw,
        5 => Kind::SequencedPacket,
        4 | 6 | 10 => return Err(Errno::ESOCKTNOSUPPORT),
        _ => return Err(Errno::EINVAL),
    };
    Ok((kind, flags))
}

fn check_family(domain: i32, kind: Kind, protocol: i32) -> Result<Kind> {
    match domain {
        AF_UNIX if !matches!(protocol, 0 | 1) => Err(Errno::EPROTONOSUPPORT),
        // As on Linux.
        AF_UNIX if kind == Kind::Raw => Ok(Kind::Datagram),
        AF_UNIX => Ok(kind),
        AF_INET | AF_INET6 => Ok(kind),
        AF_NETLINK if !matches!(kind, Kind::Raw | Kind::Datagram) => Err(Errno::ESOCKTNOSUPPORT),
        AF_NETLINK if protocol as u32 != netlink::ROUTE => Err(Errno::EPROTONOSUPPORT),
        AF_NETLINK => Ok(kind),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

fn install_socket(socket: Arc<dyn Socket>, flags: u32) -> Return {
    let file = open_socket(socket, flags & raw::O_NONBLOCK);
    install(file, flags & raw::O_CLOEXEC != 0)
}

/// `socket`.
pub fn socket(domain: i32, kind: i32, protocol: i32) -> Return {
    let (kind, flags) = kind_of(kind)?;
    let kind = check_family(domain, kind, protocol)?;
    if domain == AF_UNIX {
        return install_socket(UnixSocket::new(kind), flags);
    }
    if domain == AF_NETLINK {
        return install_socket(NetlinkSocket::new(kind), flags);
    }
    let socket = InternetSocket::new(domain as u16, kind, protocol as u32)?;
    install_socket(socket, flags)
}

/// `socketpair`.
pub fn socketpair(domain: i32, kind: i32, protocol: i32, sv: LinearAddress) -> Return {
    let (kind, flags) = kind_of(kind)?;
    let kind = check_family(domain, kind, protocol)?;
    if domain != AF_UNIX {
        return Err(Errno::EOPNOTSUPP);
    }
    let (one, other) = UnixSocket::pair(kind);
    let first = install_socket(one, flags)?;
    let second = install_socket(other, flags).inspect_err(|_| {
        // The descriptor was made a moment ago.
        let _ = close(first as i32);
    })?;
    let descriptors = [first as u32, second as u32].map(u32::to_le_bytes);
    uaccess::write(sv, descriptors.as_flattened()).inspect_err(|_| {
        let _ = (close(first as i32), close(second as i32));
    })?;
    Ok(0)
}

/// `bind`.
pub fn bind(fd: i32, addr: LinearAddress, addrlen: u32) -> Return {
    let (_, socket) = socket_of(fd)?;
    socket.bind(&address::read(addr, addrlen)?)?;
    Ok(0)
}

/// `listen`.
pub fn listen(fd: i32, backlog: i32) -> Return {
    let (_, socket) = socket_of(fd)?;
    socket.listen(u32::try_from(backlog).unwrap_or(u32::MAX))?;
    Ok(0)
}

/// `connect`.
pub fn connect(fd: i32, addr: LinearAddress, addrlen: u32) -> Return {
    let (file, socket) = socket_of(fd)?;
    let address = address::read(addr, addrlen)?;
    socket.connect(&address, is_nonblocking(&file))?;
    Ok(0)
}

/// `accept`.
pub fn accept(fd: i32, addr: LinearAddress, addrlen: LinearAddress) -> Return {
    accept4(fd, addr, addrlen, Flags(0))
}

/// `accept4`.
pub fn accept4(fd: i32, addr: LinearAddress, addrlen: LinearAddress, flags: Flags) -> Return {
    if flags.0 & !(raw::O_NONBLOCK | raw::O_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    let (file, socket) = socket_of(fd)?;
    let (accepted, peer) = socket.accept(is_nonblocking(&file))?;
    let made = install_socket(accepted, flags.0)?;
    if addr.0 != 0 {
        address::write(&peer, addr, addrlen).inspect_err(|_| {
            let _ = close(made as i32);
        })?;
    }
    Ok(made)
}

/// `shutdown`.
pub fn shutdown(fd: i32, how: i32) -> Return {
    let (_, socket) = socket_of(fd)?;
    let direction = match how {
        0 => Direction::Read,
        1 => Direction::Write,
        2 => Direction::Both,
        _ => return Err(Errno::EINVAL),
    };
    socket.shutdown(direction)?;
    Ok(0)
}

/// `getsockname`.
pub fn getsockname(fd: i32, addr: LinearAddress, addrlen: LinearAddress) -> Return {
    let (_, socket) = socket_of(fd)?;
    address::write(&socket.name()?, addr, addrlen)?;
    Ok(0)
}

/// `getpeername`.
pub fn getpeername(fd: i32, addr: LinearAddress, addrlen: LinearAddress) -> Return {
    let (_, socket) = socket_of(fd)?;
    address::write(&socket.peer()?, addr, addrlen)?;
    Ok(0)
}
