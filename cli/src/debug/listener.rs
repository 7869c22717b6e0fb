//! Where debuggers come in: a port of 127.0.0.1, or a socket that only its owner can open.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode};
use rustix::io::FdFlags;

use crate::error::Failure;

const OPTION: &str = "--gdb";

/// Where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// 0: any that is free.
    Port(u16),
    Path(PathBuf),
}

pub(super) fn parse(text: &str) -> Result<Place, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number {
        let port = text.parse().map(Place::Port);
        return port.map_err(|_| "no port (0 to 65535; a file of that name is ./NAME)".to_owned());
    }
    if text.is_empty() {
        return Err("say a port or a path".to_owned());
    }
    Ok(Place::Path(text.into()))
}

/// A socket that is listened on. A path goes when this does.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    shown: String,
    path: Option<PathBuf>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // By the call that the monitor's filter lets through. Somebody may have been quicker.
            let _ = rustix::fs::unlinkat(rustix::fs::CWD, path, AtFlags::empty());
        }
    }
}

impl Listener {
    /// Opens it. Before there are other threads, and before the monitor confines itself.
    pub(crate) fn open(place: &Place) -> Result<Self, Failure> {
        match place {
            Place::Port(port) => Self::open_port(*port),
            Place::Path(path) => Self::open_path(path),
        }
    }

    fn open_port(port: u16) -> Result<Self, Failure> {
        let fail = |error| {
            let what = format_args!("{OPTION} {port}");
            Failure::new(what, error, "give another port, or 0 for any")
        };
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(fail)?;
        // Connections have it from here: packets are small and waited for.
        rustix::net::sockopt::set_tcp_nodelay(&socket, true).map_err(|error| fail(error.into()))?;
        socket.set_nonblocking(true).map_err(fail)?;
        let shown = socket.local_addr().map_err(fail)?.to_string();
        Ok(Self {
            socket: socket.into(),
            shown,
            path: None,
        })
    }

    fn open_path(path: &PathBuf) -> Result<Self, Failure> {
        let fail = |error: std::io::Error| {
            let what = format_args!("{OPTION} {}", path.display());
            let (why, remedy) = match error.kind() {
                std::io::ErrorKind::AddrInUse => (
                    "there is a file of that name".to_owned(),
                    "give another path, or remove it",
                ),
                _ => (error.to_string(), "give a path where a socket can be made"),
            };
            Failure::new(what, why, remedy)
        };
        let others = Mode::RWXG | Mode::RWXO | Mode::XUSR;
        let before = rustix::process::umask(others);
        let socket = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = Self {
            socket: socket.map_err(fail)?.into(),
            shown: path.display().to_string(),
            path: Some(path.clone()),
        };
        rustix::io::ioctl_fionbio(&listener.socket, true).map_err(|error| fail(error.into()))?;
        Ok(listener)
    }

    /// The one that another process of husk's opened, which left it open as this number.
    pub(crate) fn inherited(number: i32, place: &Place) -> Result<Self, Failure> {
        let lost = || Failure::new(OPTION, "the socket of the process before is gone", "");
        let socket = host::inherited::descriptor(number).ok_or_else(lost)?;
        let shown = match place {
            Place::Path(path) => path.display().to_string(),
            Place::Port(port) => {
                let address = rustix::net::getsockname(&socket).ok();
                let address = address.and_then(|any| std::net::SocketAddrV4::try_from(any).ok());
                address.map_or(port.to_string(), |address| address.to_string())
            }
        };
        Ok(Self {
            socket,
            shown,
            path: None,
        })
    }

    /// Leaves it open for a process that is started next; its number there.
    pub(crate) fn hand_on(&self) -> std::io::Result<i32> {
        rustix::io::fcntl_setfd(&self.socket, FdFlags::empty())?;
        Ok(self.socket.as_raw_fd())
    }

    pub(super) fn socket(&self) -> Result<OwnedFd, Failure> {
        let copy = self.socket.as_fd().try_clone_to_owned();
        copy.map_err(|error| Failure::new(OPTION, error, ""))
    }

    /// As gdb's `target remote` wants it.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_number_is_a_port_and_everything_else_a_path() {
        assert_eq!(parse("1234"), Ok(Place::Port(1234)));
        assert_eq!(parse("./1234"), Ok(Place::Path("./1234".into())));
        assert_eq!(parse("gdb.socket"), Ok(Place::Path("gdb.socket".into())));
        assert!(parse("").is_err() && parse("65536").is_err());
    }

    #[test]
    fn a_socket_is_its_owner_s_and_goes_with_the_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gdb");
        let place = Place::Path(path.clone());
        let listener = Listener::open(&place).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let refused = Listener::open(&place).unwrap_err();
        assert!(refused.to_string().contains("there is a file of that name"));
        drop(listener);
        assert!(!path.exists());
    }
}
