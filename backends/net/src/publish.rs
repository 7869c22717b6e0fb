//! Published ports: what is listened on, and for which port of the guest.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::str::FromStr;

use rustix::io::Errno;
use rustix::net::{SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::user::family;

/// Callers that wait to be accepted.
const BACKLOG: i32 = 4096;

/// One `--publish`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The host's address; both "any" addresses if there is none.
    pub address: Option<IpAddr>,
    /// The host's port.
    pub host: u16,
    /// The guest's.
    pub guest: u16,
    /// UDP, not TCP.
    pub udp: bool,
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            None => {}
            Some(IpAddr::V4(address)) => write!(f, "{address}:")?,
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:")?,
        }
        write!(f, "{}:{}", self.host, self.guest)?;
        if self.udp { write!(f, "/udp") } else { Ok(()) }
    }
}

const USAGE: &str =
    "write it as PORT:PORT, ADDR:PORT:PORT or [ADDR]:PORT:PORT, with /udp at the end for UDP";

impl FromStr for Publish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ports, udp) = match text.rsplit_once('/') {
            None => (text, false),
            Some((ports, "udp")) => (ports, true),
            Some((ports, "tcp")) => (ports, false),
            Some((_, other)) => return Err(format!("'{other}' is no protocol ({USAGE})")),
        };
        let (rest, guest) = ports.rsplit_once(':').ok_or(USAGE)?;
        let (address, host) = match rest.rsplit_once(':') {
            None => (None, rest),
            Some((address, host)) => (Some(parse_address(address)?), host),
        };
        Ok(Self {
            address,
            host: parse_port(host)?,
            guest: parse_port(guest)?,
            udp,
        })
    }
}

fn parse_port(text: &str) -> Result<u16, String> {
    let is_number = text.bytes().all(|digit| digit.is_ascii_digit());
    let port = text.parse().ok().filter(|port| *port != 0 && is_number);
    port.ok_or_else(|| format!("'{text}' is no port from 1 to 65535 ({USAGE})"))
}

fn parse_address(text: &str) -> Result<IpAddr, String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    address.ok_or_else(|| format!("'{text}' is no address ({USAGE})"))
}

/// A port cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Somebody else has it.
    #[error("port {0} of this host is in use")]
    InUse(u16),
    /// It takes a privilege.
    #[error("ports below {0} take a privilege that this user does not have")]
    Privileged(u16),
    /// This host has no such address.
    #[error("{0} is no address of this host")]
    Address(IpAddr),
    /// The host's.
    #[error(transparent)]
    Host(io::Error),
}

/// A published port that is listened on.
#[derive(Debug)]
pub struct Listener {
    pub(crate) socket: OwnedFd,
    pub(crate) guest: u16,
    pub(crate) udp: bool,
}

impl Listener {
    /// The port of the guest and the host's address, for tests that let the host choose.
    ///
    /// # Errors
    /// The host's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        let name = rustix::net::getsockname(&self.socket)?;
        SocketAddr::try_from(name).map_err(io::Error::from)
    }
}

/// Listens on what is published.
///
/// # Errors
/// Which of them cannot be, and why.
pub fn listen_on(list: &[Publish]) -> Result<Vec<Listener>, (Publish, PublishError)> {
    let mut listeners = Vec::new();
    for publish in list {
        let opened = open(publish).map_err(|error| (*publish, error))?;
        listeners.extend(opened);
    }
    Ok(listeners)
}

fn open(publish: &Publish) -> Result<Vec<Listener>, PublishError> {
    let fail = |error: Errno| match error {
        Errno::ADDRINUSE => PublishError::InUse(publish.host),
        Errno::ACCESS => PublishError::Privileged(1024),
        Errno::ADDRNOTAVAIL => {
            PublishError::Address(publish.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
        }
        error => PublishError::Host(error.into()),
    };
    if let Some(address) = publish.address {
        return Ok(vec![open_one(publish, address).map_err(fail)?]);
    }
    let mut listeners = vec![open_one(publish, IpAddr::V4(Ipv4Addr::UNSPECIFIED)).map_err(fail)?];
    match open_one(publish, IpAddr::V6(Ipv6Addr::UNSPECIFIED)) {
        Ok(listener) => listeners.push(listener),
        // A host without IPv6.
        Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => {}
        Err(error) => return Err(fail(error)),
    }
    Ok(listeners)
}

fn open_one(publish: &Publish, address: IpAddr) -> Result<Listener, Errno> {
    let kind = if publish.udp {
        SocketType::DGRAM
    } else {
        SocketType::STREAM
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family(address), kind, flags, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if !publish.udp {
        // Over what is left of connections before.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &SocketAddr::new(address, publish.host))?;
    if !publish.udp {
        listen(&socket, BACKLOG)?;
    }
    Ok(Listener {
        socket,
        guest: publish.guest,
        udp: publish.udp,
    })
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_written_as_everywhere() {
        for (text, address, host, guest, udp) in [
            ("80:8080", None, 80, 8080, false),
            ("127.0.0.1:1:2", Some("127.0.0.1"), 1, 2, false),
            ("[::1]:1:2/udp", Some("::1"), 1, 2, true),
            ("53:53/udp", None, 53, 53, true),
            ("53:53/tcp", None, 53, 53, false),
        ] {
            let publish: Publish = text.parse().unwrap();
            let address = address.map(|text| text.parse().unwrap());
            let expected = Publish {
                address,
                host,
                guest,
                udp,
            };
            assert_eq!(publish, expected, "{text}");
        }
        for text in [
            "",
            "80",
            ":80",
            "80:",
            "0:80",
            "80:70000",
            "x:80:80",
            "::1:80:80",
            "[::1:80:80",
            "80:80/sctp",
            "[1.2.3.4]:80:80",
            "1:2:3:4",
            "-1:80",
            "+1:80",
        ] {
            assert!(text.parse::<Publish>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_in_use_is_said() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let publish: Publish = format!("127.0.0.1:{port}:80").parse().unwrap();
        let (which, error) = listen_on(&[publish]).unwrap_err();
        assert_eq!(which, publish);
        assert!(matches!(error, PublishError::InUse(at) if at == port));
        let elsewhere: Publish = "192.0.2.1:4000:80".parse().unwrap();
        let (_, error) = listen_on(&[elsewhere]).unwrap_err();
        assert!(matches!(error, PublishError::Address(_)), "{error}");
    }
}
