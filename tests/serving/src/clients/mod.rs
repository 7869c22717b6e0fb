//! Clients in this process: each checks every answer.

pub mod exchange;
pub mod http;
pub mod mqtt;
pub mod nats;
pub mod same;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// The longest that one answer may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to a port of this host, with nothing that waits for ever.
///
/// # Errors
/// When nobody answers there.
pub fn connect(port: u16) -> Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, PATIENCE);
    let stream = stream.with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}
