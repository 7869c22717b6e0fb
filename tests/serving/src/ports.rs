//! Free ports of this host.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result};

/// Below those that Linux gives to clients: thousands of our own connections take no server's.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port of 127.0.0.1 that nobody listens on, for TCP and UDP. No two calls return the same.
///
/// # Errors
/// When there is none.
pub fn free() -> Result<u16> {
    // Runs side by side begin in different places.
    let start = (std::process::id().wrapping_mul(97) % u32::from(COUNT)) as u16;
    (0..COUNT)
        .map(|_| NEXT.fetch_add(1, Ordering::Relaxed) % COUNT)
        .map(|at| FIRST + (start + at) % COUNT)
        .find(|&port| is_free(port))
        .context("no free port on 127.0.0.1")
}

fn is_free(port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port);
    TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_can_be_used() {
        let (one, two) = (free().expect("one"), free().expect("two"));
        assert_ne!(one, two);
        let _held = TcpListener::bind((Ipv4Addr::LOCALHOST, one)).expect("it is free");
        assert!(!is_free(one));
    }
}
