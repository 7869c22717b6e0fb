//! Addresses as the program writes and reads them (`struct sockaddr` and its kinds).

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use guest_hal::LinearAddress;
use guest_kernel::net::Address;
use guest_kernel::{Errno, Result, uaccess};

const AF_UNSPEC: u16 = 0;
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const AF_NETLINK: u16 = 16;
/// Bytes of `struct sockaddr_storage`.
const LENGTH_MAX: u32 = 128;
/// Bytes of `sun_path`.
const PATH_MAX: usize = 108;

/// An address of the program's.
///
/// # Errors
/// `EINVAL`, `EAFNOSUPPORT`, `EFAULT`.
pub fn read(from: LinearAddress, length: u32) -> Result<Address> {
    if length > LENGTH_MAX {
        return Err(Errno::EINVAL);
    }
    parse(&uaccess::read_vec(from, u64::from(length))?)
}

/// An address from its bytes.
///
/// # Errors
/// `EINVAL`, `EAFNOSUPPORT`.
pub fn parse(bytes: &[u8]) -> Result<Address> {
    let (family, rest) = bytes.split_first_chunk().ok_or(Errno::EINVAL)?;
    match u16::from_le_bytes(*family) {
        AF_UNSPEC => Ok(Address::Unspecified),
        AF_UNIX => unix(rest),
        AF_INET => internet4(rest).ok_or(Errno::EINVAL),
        AF_INET6 => internet6(rest).ok_or(Errno::EINVAL),
        AF_NETLINK => netlink(rest).ok_or(Errno::EINVAL),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// A path ends at its first zero byte; an abstract name is as long as it is.
fn unix(path: &[u8]) -> Result<Address> {
    if path.len() > PATH_MAX {
        return Err(Errno::EINVAL);
    }
    if path.first() == Some(&0) {
        return Ok(Address::Unix(path.to_vec()));
    }
    let end = path.iter().position(|&byte| byte == 0);
    let path = path.get(..end.unwrap_or(path.len())).unwrap_or_default();
    Ok(Address::Unix(path.to_vec()))
}

fn internet4(rest: &[u8]) -> Option<Address> {
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let (address, rest) = rest.split_first_chunk::<4>()?;
    // `sin_zero`.
    rest.get(..8)?;
    let address = SocketAddrV4::new(Ipv4Addr::from(*address), u16::from_be_bytes(*port));
    Some(Address::Internet(SocketAddr::V4(address)))
}

fn internet6(rest: &[u8]) -> Option<Address> {
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let (flow, rest) = rest.split_first_chunk::<4>()?;
    let (address, rest) = rest.split_first_chunk::<16>()?;
    // Programs of an older interface leave the scope out.
    let scope = rest
        .first_chunk()
        .map_or(0, |scope| u32::from_le_bytes(*scope));
    let address = SocketAddrV6::new(
        Ipv6Addr::from(*address),
        u16::from_be_bytes(*port),
        u32::from_be_bytes(*flow),
        scope,
    );
    Some(Address::Internet(SocketAddr::V6(address)))
}

fn netlink(rest: &[u8]) -> Option<Address> {
    let words = rest.get(2..)?;
    let (port, groups) = words.split_first_chunk::<4>()?;
    let groups = groups.first_chunk::<4>()?;
    Some(Address::Netlink(
        u32::from_le_bytes(*port),
        u32::from_le_bytes(*groups),
    ))
}

/// The bytes of an address.
#[must_use]
pub fn bytes(address: &Address) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(28);
    match address {
        Address::Unspecified => bytes.extend(AF_UNSPEC.to_le_bytes()),
        Address::Unix(name) => {
            bytes.extend(AF_UNIX.to_le_bytes());
            bytes.extend_from_slice(name);
            if name.first().is_some_and(|&first| first != 0) {
                bytes.push(0);
            }
        }
        Address::Internet(SocketAddr::V4(address)) => {
            bytes.extend(AF_INET.to_le_bytes());
            bytes.extend(address.port().to_be_bytes());
            bytes.extend(address.ip().octets());
            bytes.extend([0; 8]);
        }
        Address::Internet(SocketAddr::V6(address)) => {
            bytes.extend(AF_INET6.to_le_bytes());
            bytes.extend(address.port().to_be_bytes());
            bytes.extend(address.flowinfo().to_be_bytes());
            bytes.extend(address.ip().octets());
            bytes.extend(address.scope_id().to_le_bytes());
        }
        Address::Netlink(port, groups) => {
            bytes.extend(AF_NETLINK.to_le_bytes());
            bytes.extend([0; 2]);
            bytes.extend(port.to_le_bytes());
            bytes.extend(groups.to_le_bytes());
        }
    }
    bytes
}

/// Writes as much of an address as there is room for, and how long it is.
///
/// # Errors
/// `EINVAL` for a negative length; `EFAULT`.
pub fn write(address: &Address, to: LinearAddress, length: LinearAddress) -> Result<()> {
    let room = uaccess::read_u32(length)?;
    let room = usize::try_from(room as i32).map_err(|_| Errno::EINVAL)?;
    let bytes = bytes(address);
    uaccess::write(to, bytes.get(..room.min(bytes.len())).unwrap_or_default())?;
    uaccess::write(length, &(bytes.len() as u32).to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_what_its_bytes_say_and_back() {
        let addresses = [
            Address::Internet("10.1.2.3:80".parse().unwrap()),
            Address::Internet("[fe80::1%3]:443".parse().unwrap()),
            Address::Unix(b"/run/x".to_vec()),
            Address::Unix(b"\0abstract".to_vec()),
            Address::Unix(Vec::new()),
            Address::Netlink(7, 9),
        ];
        for address in addresses {
            assert_eq!(parse(&bytes(&address)), Ok(address.clone()));
        }
    }

    #[test]
    fn what_is_too_short_or_unknown_is_refused() {
        for bytes in [
            &b""[..],
            b"\x02",
            b"\x02\0\0\x50\x7f\0\0\x01",
            b"\x0a\0\0\x50",
            b"\x10\0\0\0",
        ] {
            assert_eq!(parse(bytes), Err(Errno::EINVAL), "{bytes:?}");
        }
        assert_eq!(parse(b"\x63\0\0\0"), Err(Errno::EAFNOSUPPORT));
        assert_eq!(parse(&[1; 112]), Err(Errno::EAFNOSUPPORT));
    }

    #[test]
    fn a_path_ends_at_a_zero_byte() {
        assert_eq!(parse(b"\x01\0abc\0def"), Ok(Address::Unix(b"abc".to_vec())));
    }
}
