//! Whom the guest may reach.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses: a prefix and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    length: u8,
}

impl Cidr {
    const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Self {
        let address = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
        Self { address, length }
    }

    const fn v6(high: u16, next: u16, last: u16, length: u8) -> Self {
        let address = IpAddr::V6(Ipv6Addr::new(high, next, 0, 0, 0, 0, 0, last));
        Self { address, length }
    }

    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (ours, theirs, width) = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (u128::from(ours.to_bits()), u128::from(theirs.to_bits()), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
            _ => return false,
        };
        let free = u32::from(width - self.length.min(width));
        free >= 128 || (ours ^ theirs) >> free == 0
    }

    /// Whether all of it lies in `other`.
    fn is_within(&self, other: &Self) -> bool {
        self.length >= other.length && other.contains(self.address)
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = "write a range as 10.0.0.0/8 or fd00::/8, or one address";
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| format!("'{address}' is no address ({usage})"))?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let length = length.map_or(Ok(width), str::parse).ok();
        let length = length.filter(|length| *length <= width);
        let length = length.ok_or_else(|| format!("its length is 0 to {width} ({usage})"))?;
        Ok(Self { address, length })
    }
}

/// One `--allow-net`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Every address but the host's own and those of its link.
    All,
    /// Nothing, not even names.
    None,
    /// The host: its loopback, at the gateway's address, and its own addresses.
    Host,
    /// A range.
    Range(Cidr),
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            "host" => Ok(Self::Host),
            _ => text.parse().map(Self::Range),
        }
    }
}

/// The host's end of its links, where services for it live that trust whoever calls (metadata of
/// clouds); reached only if a range within one is allowed.
const LINKS: [Cidr; 3] = [
    Cidr::v4(169, 254, 0, 0, 16),
    Cidr::v6(0xfe80, 0, 0, 10),
    // Amazon's metadata over IPv6.
    Cidr::v6(0xfd00, 0x0ec2, 0x0254, 128),
];

/// What means this host or nobody, whatever is allowed.
const NOBODY: [Cidr; 6] = [
    // Linux takes all of it, and ::, for the loopback.
    Cidr::v4(0, 0, 0, 0, 8),
    Cidr::v4(224, 0, 0, 0, 4),
    Cidr::v4(255, 255, 255, 255, 32),
    Cidr::v6(0, 0, 0, 128),
    Cidr::v6(0xff00, 0, 0, 8),
    // Unspecified, loopback and IPv4 in IPv6's clothes lie in ::/64.
    Cidr::v6(0, 0, 0, 64),
];

/// This host's loopback.
const LOOPBACK: Cidr = Cidr::v4(127, 0, 0, 0, 8);

/// Whom the guest may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    ranges: Vec<Cidr>,
    all: bool,
    host: bool,
    nothing: bool,
}

impl Default for Policy {
    /// All but the host.
    fn default() -> Self {
        Self::new(&[])
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Policy {
    /// What a list allows; an empty one is `all`.
    #[must_use]
    pub fn new(list: &[Allowed]) -> Self {
        let ranges = list.iter().filter_map(|allowed| match allowed {
            Allowed::Range(range) => Some(*range),
            _ => None,
        });
        Self {
            ranges: ranges.collect(),
            all: list.is_empty() || list.contains(&Allowed::All),
            host: list.contains(&Allowed::Host),
            nothing: list.iter().all(|one| *one == Allowed::None) && !list.is_empty(),
        }
    }

    /// Whether nothing at all may leave.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.nothing
    }

    /// Whether the host's loopback may be reached, by the gateway's address.
    #[must_use]
    pub fn allows_loopback(&self) -> bool {
        self.host || self.within(&LOOPBACK)
    }

    /// Whether an address may be reached; `own` are the host's.
    #[must_use]
    pub fn allows(&self, address: IpAddr, own: &[IpAddr]) -> bool {
        if NOBODY.iter().any(|range| range.contains(address)) || LOOPBACK.contains(address) {
            return false;
        }
        if own.contains(&address) {
            let exactly = |range: &Cidr| range.address == address && range.is_single();
            return self.host || self.ranges.iter().any(exactly);
        }
        if let Some(link) = LINKS.iter().find(|link| link.contains(address)) {
            let mut within = self.ranges.iter().filter(|range| range.is_within(link));
            return within.any(|range| range.contains(address));
        }
        self.all || self.ranges.iter().any(|range| range.contains(address))
    }

    fn within(&self, range: &Cidr) -> bool {
        self.ranges.iter().any(|allowed| allowed.is_within(range))
    }
}

impl Cidr {
    const fn is_single(&self) -> bool {
        match self.address {
            IpAddr::V4(_) => self.length == 32,
            IpAddr::V6(_) => self.length == 128,
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]
mod tests {
    use super::*;

    fn policy(list: &[&str]) -> Policy {
        let list: Vec<Allowed> = list.iter().map(|text| text.parse().unwrap()).collect();
        Policy::new(&list)
    }

    #[track_caller]
    fn check(list: &[&str], allowed: &[&str], denied: &[&str]) {
        let policy = policy(list);
        let own = ["10.1.2.3".parse().unwrap(), "2001:db8::5".parse().unwrap()];
        for text in allowed {
            assert!(policy.allows(text.parse().unwrap(), &own), "{text}");
        }
        for text in denied {
            assert!(!policy.allows(text.parse().unwrap(), &own), "{text}");
        }
    }

    #[test]
    fn all_means_neither_the_host_nor_its_link() {
        let denied = [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "10.1.2.3",
            "2001:db8::5",
            "169.254.169.254",
            "fd00:ec2::254",
            "fe80::1",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ];
        let allowed = ["10.1.2.4", "8.8.8.8", "2001:db8::6"];
        check(&[], &allowed, &denied);
        check(&["all"], &allowed, &denied);
        check(&["0.0.0.0/0", "::/0"], &allowed, &denied);
    }

    #[test]
    fn ranges_are_all_there_is() {
        check(
            &["10.0.0.0/8", "2001:db8::/32"],
            &["10.9.9.9", "2001:db8::6"],
            &["8.8.8.8", "10.1.2.3", "2001:db9::1", "2001:db8::5"],
        );
        check(&["none"], &[], &["8.8.8.8"]);
        check(&["none", "1.1.1.1"], &["1.1.1.1"], &["8.8.8.8"]);
    }

    #[test]
    fn what_is_closed_opens_by_name() {
        check(
            &["169.254.169.254"],
            &["169.254.169.254"],
            &["169.254.1.1", "8.8.8.8"],
        );
        check(
            &["host"],
            &["10.1.2.3", "2001:db8::5"],
            &["127.0.0.1", "8.8.8.8"],
        );
        check(&["10.1.2.3/32"], &["10.1.2.3"], &["10.1.2.4"]);
        assert!(policy(&["host"]).allows_loopback());
        assert!(policy(&["127.0.0.1/32"]).allows_loopback());
        assert!(!policy(&["all"]).allows_loopback());
        assert!(!policy(&["0.0.0.0/0"]).allows_loopback());
    }

    #[test]
    fn ranges_are_checked() {
        for text in ["", "10.0.0.0/33", "fd00::/129", "10.0.0/8", "x", "1.1.1.1/"] {
            assert!(text.parse::<Allowed>().is_err(), "{text}");
        }
    }
}
