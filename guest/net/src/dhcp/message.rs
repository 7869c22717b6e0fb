//! DHCP messages (RFC 2131, 2; options RFC 2132).

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use crate::bytes::{array, get_u8, get_u32, get_v4, put};
use crate::interface::Mac;

const FIXED: usize = 240;
const MAGIC: u32 = 0x6382_5363;

/// What kind of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Discover,
    Offer,
    Request,
    Acknowledge,
    Refuse,
    Release,
}

impl Kind {
    const fn number(self) -> u8 {
        match self {
            Self::Discover => 1,
            Self::Offer => 2,
            Self::Request => 3,
            Self::Acknowledge => 5,
            Self::Refuse => 6,
            Self::Release => 7,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Discover,
            2 => Self::Offer,
            3 => Self::Request,
            5 => Self::Acknowledge,
            6 => Self::Refuse,
            7 => Self::Release,
            _ => return None,
        })
    }
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) kind: Kind,
    pub(crate) transaction: u32,
    pub(crate) mac: Mac,
    pub(crate) address: Ipv4Addr,
    pub(crate) server: Option<Ipv4Addr>,
    pub(crate) mask: Option<Ipv4Addr>,
    pub(crate) routers: Vec<Ipv4Addr>,
    pub(crate) dns_servers: Vec<Ipv4Addr>,
    pub(crate) domain: Option<String>,
    pub(crate) host_name: Option<String>,
    pub(crate) mtu: Option<u16>,
    /// In seconds: the lease, and when to renew and to rebind it.
    pub(crate) lease: Option<u32>,
    pub(crate) renew: Option<u32>,
    pub(crate) rebind: Option<u32>,
}

pub(crate) fn parse(bytes: &[u8]) -> Option<Answer> {
    if get_u8(bytes, 0)? != 2 || get_u32(bytes, 236)? != MAGIC {
        return None;
    }
    let mut answer = Answer {
        kind: Kind::Discover,
        transaction: get_u32(bytes, 4)?,
        mac: Mac(array(bytes, 28)?),
        address: get_v4(bytes, 16)?,
        server: None,
        mask: None,
        routers: Vec::new(),
        dns_servers: Vec::new(),
        domain: None,
        host_name: None,
        mtu: None,
        lease: None,
        renew: None,
        rebind: None,
    };
    let mut kind = None;
    let mut rest = bytes.get(FIXED..)?;
    while let Some((&code, after)) = rest.split_first() {
        match code {
            0 => {
                rest = after;
                continue;
            }
            255 => break,
            _ => {}
        }
        let Some((&length, after)) = after.split_first() else {
            break;
        };
        let Some((value, after)) = after.split_at_checked(usize::from(length)) else {
            break;
        };
        rest = after;
        if code == 53 {
            kind = value.first().and_then(|number| Kind::from_number(*number));
        } else {
            answer.take(code, value);
        }
    }
    answer.kind = kind?;
    Some(answer)
}

impl Answer {
    fn take(&mut self, code: u8, value: &[u8]) {
        match code {
            1 => self.mask = get_v4(value, 0),
            3 => self.routers = addresses(value),
            6 => self.dns_servers = addresses(value),
            12 => self.host_name = name(value),
            15 => self.domain = name(value),
            26 => self.mtu = crate::bytes::get_u16(value, 0),
            51 => self.lease = get_u32(value, 0),
            54 => self.server = get_v4(value, 0),
            58 => self.renew = get_u32(value, 0),
            59 => self.rebind = get_u32(value, 0),
            _ => {}
        }
    }
}

fn addresses(value: &[u8]) -> Vec<Ipv4Addr> {
    let chunks = value.as_chunks::<4>().0.iter().take(8);
    chunks.map(|octets| Ipv4Addr::from(*octets)).collect()
}

/// A name of letters, digits, dots and hyphens; anything else is not believed.
fn name(value: &[u8]) -> Option<String> {
    let text = core::str::from_utf8(value).ok()?.trim_end_matches('\0');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!text.is_empty() && text.chars().all(is_plain)).then(|| String::from(text))
}

/// What a client says.
#[derive(Clone, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) kind: Kind,
    pub(crate) transaction: u32,
    pub(crate) mac: Mac,
    /// What it has, when it renews.
    pub(crate) current: Option<Ipv4Addr>,
    pub(crate) wanted: Option<Ipv4Addr>,
    pub(crate) server: Option<Ipv4Addr>,
    pub(crate) host_name: Option<&'a str>,
}

impl Question<'_> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = alloc::vec![0; FIXED];
        put(&mut bytes, 0, &[1, 1, 6, 0]);
        put(&mut bytes, 4, &self.transaction.to_be_bytes());
        if let Some(current) = self.current {
            put(&mut bytes, 12, &current.octets());
        }
        put(&mut bytes, 28, &self.mac.0);
        put(&mut bytes, 236, &MAGIC.to_be_bytes());
        bytes.extend_from_slice(&[53, 1, self.kind.number()]);
        let addresses = [(50, self.wanted), (54, self.server)];
        for (code, address) in addresses {
            if let Some(address) = address {
                bytes.extend_from_slice(&[code, 4]);
                bytes.extend_from_slice(&address.octets());
            }
        }
        if let Some(name) = self.host_name.filter(|name| name.len() < 64) {
            bytes.push(12);
            bytes.push(u8::try_from(name.len()).unwrap_or(0));
            bytes.extend_from_slice(name.as_bytes());
        }
        bytes.extend_from_slice(&[55, 9, 1, 3, 6, 12, 15, 26, 51, 58, 59, 255]);
        // Some servers want as much as BOOTP had.
        bytes.resize(bytes.len().max(300), 0);
        bytes
    }
}
