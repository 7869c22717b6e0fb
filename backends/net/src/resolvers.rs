//! Whom the host asks for names (`resolv.conf(5)`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// Most that are used, as in the C library.
const MOST: usize = 3;

/// The resolvers of `/etc/resolv.conf`; this host itself if it names none.
#[must_use]
pub fn of_host() -> Vec<SocketAddr> {
    parse(&std::fs::read_to_string(Path::new("/etc/resolv.conf")).unwrap_or_default())
}

fn parse(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let is_server = words.next() == Some("nameserver");
        let address = words.next().filter(|_| is_server)?;
        // One with a scope is on a link, which a plain address does not name.
        address.parse::<IpAddr>().ok()
    });
    let mut servers: Vec<SocketAddr> = servers
        .take(MOST)
        .map(|address| SocketAddr::new(address, 53))
        .collect();
    if servers.is_empty() {
        servers.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 53)));
    }
    servers
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
    fn servers_are_found_among_other_lines() {
        let text = "# nameserver 1.1.1.1\nsearch x\n nameserver 127.0.0.53\nnameserver ::1 # y\n\
                    nameserver fe80::1%eth0\nnameserver\nnameserverx 2.2.2.2\n";
        let expected = ["127.0.0.53:53", "[::1]:53"].map(|text| text.parse().unwrap());
        assert_eq!(parse(text), expected);
        assert_eq!(parse(""), ["127.0.0.1:53".parse().unwrap()]);
    }
}
