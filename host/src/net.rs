//! Calls on sockets and tunnel devices that no library wraps safely.
#![expect(
    unsafe_code,
    reason = "socket options and ioctls of the host without a safe wrapper"
)]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// Longest name of a network interface, without the zero behind it.
pub const INTERFACE_NAME_MAX: usize = libc::IFNAMSIZ - 1;

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Where the next look (`MSG_PEEK`) at a socket's queue starts; looks move it on, reads back.
///
/// # Errors
/// The host's; for TCP, one older than Linux 6.9 knows no such option.
pub fn set_peek_offset(socket: BorrowedFd<'_>, offset: u32) -> io::Result<()> {
    let value = libc::c_int::try_from(offset).unwrap_or(libc::c_int::MAX);
    // SAFETY: the option's value is an int that lives during the call.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEEK_OFF,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })
}

/// Memory of the host behind what a socket has still to send, in bytes, with all overhead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendMemory {
    /// What there is now.
    pub used: u32,
    /// From here on nothing more is taken. The host moves it.
    pub limit: u32,
}

/// How much memory a socket's send queue has (`SO_MEMINFO`).
///
/// # Errors
/// The host's.
pub fn send_memory(socket: BorrowedFd<'_>) -> io::Result<SendMemory> {
    /// Places in the answer (`linux/sock_diag.h`).
    const ON_ITS_WAY: usize = 2;
    const LIMIT: usize = 3;
    const QUEUED: usize = 5;
    let mut values = [0_u32; 9];
    let mut length = size_of_val(&values) as libc::socklen_t;
    // SAFETY: both addresses are of values that live during the call, the length is the first one's.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut length,
        )
    })?;
    Ok(SendMemory {
        // The second is of streams over IP, the first of others.
        used: values[ON_ITS_WAY].max(values[QUEUED]),
        limit: values[LIMIT],
    })
}

/// Drops the next `length` bytes of a TCP stream's queue without copying them.
///
/// # Errors
/// The host's, as when there are none.
pub fn discard(socket: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: with this flag TCP copies nothing; other sockets refuse the address.
    let count = unsafe { libc::recv(socket.as_raw_fd(), ptr::null_mut(), length, flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// How a queue of a tunnel device is opened (`linux/if_tun.h`).
#[derive(Clone, Copy, Debug)]
pub struct Tap<'n> {
    /// The interface.
    pub name: &'n str,
    /// Whether it has several queues.
    pub multi_queue: bool,
}

const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
const TUNSETOFFLOAD: libc::Ioctl = 0x4004_54d0;
const TUNSETVNETHDRSZ: libc::Ioctl = 0x4004_54d8;

/// Makes an open `/dev/net/tun` a queue of an interface, frames with virtio headers.
///
/// # Errors
/// The host's.
pub fn attach_tap(tun: BorrowedFd<'_>, tap: Tap<'_>) -> io::Result<()> {
    // SAFETY: all bits zero are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if tap.name.is_empty() || tap.name.len() > INTERFACE_NAME_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(tap.name.bytes()) {
        *to = from as libc::c_char;
    }
    let many = if tap.multi_queue {
        libc::IFF_MULTI_QUEUE
    } else {
        0
    };
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | many;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: the request reads and writes a `struct ifreq`.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), TUNSETIFF, &raw mut request) })
}

/// Sets the length of the header before each frame.
///
/// # Errors
/// The host's.
pub fn set_tap_header(tap: BorrowedFd<'_>, length: u32) -> io::Result<()> {
    let value = length as libc::c_int;
    // SAFETY: the request reads an int.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), TUNSETVNETHDRSZ, &raw const value) })
}

/// Sets what the reader of the frames can complete: the `TUN_F_` bits.
///
/// # Errors
/// The host's.
pub fn set_tap_offload(tap: BorrowedFd<'_>, bits: u32) -> io::Result<()> {
    let value = libc::c_ulong::from(bits);
    // SAFETY: the request takes a number.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), TUNSETOFFLOAD, value) })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_is_discarded_is_gone() {
        use std::io::Read;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        near.write_all(b"hello world").unwrap();
        let mut first = [0];
        far.peek(&mut first).unwrap();
        assert_eq!(discard(far.as_fd(), 6).unwrap(), 6);
        drop(near);
        let mut rest = String::new();
        far.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "world");
    }

    #[test]
    fn a_queue_that_nobody_reads_fills_its_memory() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _far = listener.accept().unwrap();
        let empty = send_memory(near.as_fd()).unwrap();
        assert_eq!(empty.used, 0);
        assert!(empty.limit > 0);
        near.set_nonblocking(true).unwrap();
        while near.write(&[7; 1 << 14]).is_ok() {}
        let full = send_memory(near.as_fd()).unwrap();
        assert!(full.used >= full.limit, "{full:?}");
    }

    #[test]
    fn names_of_interfaces_have_a_length() {
        let null = std::fs::File::open("/dev/null").unwrap();
        for name in ["", "a-name-that-is-too-long"] {
            let tap = Tap {
                name,
                multi_queue: false,
            };
            let refused = attach_tap(null.as_fd(), tap).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
