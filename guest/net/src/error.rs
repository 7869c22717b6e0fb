//! What can go wrong, as the caller of a socket sees it.

use core::fmt;

/// The result of a call on the stack.
pub type Result<T> = core::result::Result<T, Error>;

/// Why a call failed, or what became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It would have to wait (`EAGAIN`).
    WouldBlock,
    /// The connection is being made (`EINPROGRESS`).
    InProgress,
    /// The connection is already being made (`EALREADY`).
    Already,
    /// It is connected (`EISCONN`).
    IsConnected,
    /// It is not connected (`ENOTCONN`).
    NotConnected,
    /// There is no address to send to (`EDESTADDRREQ`).
    DestinationRequired,
    /// The peer refused (`ECONNREFUSED`).
    Refused,
    /// The peer reset the connection (`ECONNRESET`).
    Reset,
    /// The connection was given up on this side (`ECONNABORTED`).
    Aborted,
    /// The peer did not answer in time (`ETIMEDOUT`).
    TimedOut,
    /// This side has closed its direction (`EPIPE`).
    Pipe,
    /// Another socket has the address (`EADDRINUSE`).
    AddressInUse,
    /// No interface has the address (`EADDRNOTAVAIL`).
    AddressNotAvailable,
    /// The address is of another family (`EAFNOSUPPORT`).
    FamilyNotSupported,
    /// No route leads there (`ENETUNREACH`).
    NetworkUnreachable,
    /// The neighbour does not answer, or a router says so (`EHOSTUNREACH`).
    HostUnreachable,
    /// The interface is down (`ENETDOWN`).
    NetworkDown,
    /// The datagram is too large (`EMSGSIZE`).
    MessageSize,
    /// It needs permission, such as that to broadcast (`EACCES`).
    Access,
    /// The memory for sockets is used up (`ENOBUFS`).
    NoBuffers,
    /// The kind of socket cannot do this (`EOPNOTSUPP`).
    NotSupported,
    /// The arguments or the state make no sense (`EINVAL`).
    Invalid,
    /// The protocol is not there at the peer (`ENOPROTOOPT`).
    ProtocolUnreachable,
    /// There is no such interface, address or route (`ENODEV`, `ESRCH`).
    NotFound,
    /// It is there already (`EEXIST`).
    Exists,
    /// The handle names no socket (`EBADF`).
    BadHandle,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl core::error::Error for Error {}
