//! Who has which port.

use alloc::vec::Vec;
use core::net::IpAddr;

use hashbrown::HashMap;

use crate::interface::InterfaceId;
use crate::siphash::{Key, Random};
use crate::socket::{Common, Handle};

/// The ports that the stack chooses from (`ip_local_port_range`).
const FIRST: u16 = 32_768;
const COUNT: u16 = 28_232;

/// A socket that has a port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) handle: Handle,
    address: IpAddr,
    only_v6: bool,
    reuse_address: bool,
    pub(crate) reuse_port: bool,
    interface: Option<InterfaceId>,
    pub(crate) is_listening: bool,
}

impl Bound {
    pub(crate) fn new(handle: Handle, common: &Common) -> Self {
        Self {
            handle,
            address: common.local.ip(),
            only_v6: common.options.only_v6,
            reuse_address: common.options.reuse_address,
            reuse_port: common.options.reuse_port,
            interface: common.options.interface,
            is_listening: false,
        }
    }

    /// Whether packets to this address are its own, and how well it fits.
    pub(crate) fn score(&self, to: IpAddr, interface: InterfaceId) -> Option<u8> {
        if self.interface.is_some_and(|own| own != interface) {
            return None;
        }
        let address = match (self.address, to) {
            (own, to) if own == to => 4,
            (IpAddr::V4(own), IpAddr::V4(_)) if own.is_unspecified() => 2,
            (IpAddr::V6(own), IpAddr::V6(_)) if own.is_unspecified() => 2,
            (IpAddr::V6(own), IpAddr::V4(_)) if own.is_unspecified() && !self.only_v6 => 1,
            _ => return None,
        };
        Some(address + if self.interface.is_some() { 8 } else { 0 })
    }

    fn overlaps(&self, other: &Self) -> bool {
        let apart =
            |one: Option<InterfaceId>, two| one.is_some() && two != one && Option::is_some(&two);
        if apart(self.interface, other.interface) {
            return false;
        }
        let both = |one: &Self, two: &Self| match (one.address, two.address) {
            (IpAddr::V6(v6), IpAddr::V4(_)) => v6.is_unspecified() && !one.only_v6,
            (IpAddr::V4(a), IpAddr::V4(b)) => a == b || a.is_unspecified(),
            (IpAddr::V6(a), IpAddr::V6(b)) => a == b || a.is_unspecified(),
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
        };
        both(self, other) || both(other, self)
    }

    fn conflicts(&self, other: &Self, is_stream: bool) -> bool {
        let is_shared = self.reuse_port && other.reuse_port
            || self.reuse_address
                && other.reuse_address
                && !(is_stream && (other.is_listening || self.is_listening));
        !is_shared && self.overlaps(other)
    }
}

/// The ports of all protocols.
#[derive(Debug)]
pub(crate) struct Ports {
    bound: HashMap<(u8, u16), Vec<Bound>, Key>,
    /// How many connections a local port has.
    connections: HashMap<u16, u32, Key>,
}

impl Ports {
    pub(crate) fn new(key: Key) -> Self {
        Self {
            bound: HashMap::with_hasher(key),
            connections: HashMap::with_hasher(key),
        }
    }

    pub(crate) fn get(&self, protocol: u8, port: u16) -> &[Bound] {
        self.bound.get(&(protocol, port)).map_or(&[], Vec::as_slice)
    }

    /// Whether the port can be had beside those who have it.
    pub(crate) fn is_free(&self, protocol: u8, port: u16, bound: &Bound, is_stream: bool) -> bool {
        let others = self.get(protocol, port).iter();
        let mut others = others.filter(|other| other.handle != bound.handle);
        if others.any(|other| bound.conflicts(other, is_stream)) {
            return false;
        }
        !is_stream
            || bound.reuse_address
            || bound.reuse_port
            || self
                .get(protocol, port)
                .iter()
                .any(|other| other.handle == bound.handle)
            || !self.connections.contains_key(&port)
    }

    pub(crate) fn insert(&mut self, protocol: u8, port: u16, bound: Bound) {
        self.bound.entry((protocol, port)).or_default().push(bound);
    }

    pub(crate) fn remove(&mut self, protocol: u8, port: u16, handle: Handle) {
        if let Some(list) = self.bound.get_mut(&(protocol, port)) {
            list.retain(|bound| bound.handle != handle);
            if list.is_empty() {
                self.bound.remove(&(protocol, port));
            }
        }
    }

    /// The entry of a socket changes.
    pub(crate) fn update(&mut self, protocol: u8, port: u16, new: Bound) {
        let list = self.bound.get_mut(&(protocol, port));
        let old = list.and_then(|list| list.iter_mut().find(|bound| bound.handle == new.handle));
        if let Some(old) = old {
            *old = new;
        }
    }

    /// Candidates for a port to be chosen, in random order (RFC 6056, 3.3.2).
    pub(crate) fn candidates(random: &mut Random) -> impl Iterator<Item = u16> + use<> {
        let start = u16::try_from(random.below(u64::from(COUNT))).unwrap_or(0);
        // Steps that meet every port: COUNT is 2^3 * 3529.
        let step = u16::try_from(random.below(1_000)).unwrap_or(0) * 2 + 1;
        (0..u32::from(COUNT)).map(move |turn| {
            let at = (u32::from(start) + turn * u32::from(step)) % u32::from(COUNT);
            FIRST + u16::try_from(at).unwrap_or(0)
        })
    }

    pub(crate) fn connection_made(&mut self, port: u16) {
        *self.connections.entry(port).or_default() += 1;
    }

    pub(crate) fn connection_gone(&mut self, port: u16) {
        if let Some(count) = self.connections.get_mut(&port) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.connections.remove(&port);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Family;
    use core::net::SocketAddr;

    fn bound(index: u32, address: &str, set: impl Fn(&mut Common)) -> Bound {
        let address: SocketAddr = address.parse().unwrap();
        let family = if address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        let mut common = Common::new(family);
        common.local = address;
        set(&mut common);
        Bound::new(
            Handle {
                index,
                generation: 1,
            },
            &common,
        )
    }

    #[test]
    fn ports_are_shared_as_linux_shares_them() {
        let none = |_: &mut Common| {};
        let v6_only = |common: &mut Common| common.options.only_v6 = true;
        let reuse = |common: &mut Common| common.options.reuse_address = true;
        let port = |common: &mut Common| common.options.reuse_port = true;
        type Set = fn(&mut Common);
        let cases: [(&str, Set, &str, Set, bool); 8] = [
            ("0.0.0.0:1", none, "0.0.0.0:1", none, false),
            ("0.0.0.0:1", none, "10.0.0.1:1", none, false),
            ("10.0.0.2:1", none, "10.0.0.1:1", none, true),
            ("[::]:1", none, "10.0.0.1:1", none, false),
            ("[::]:1", v6_only, "10.0.0.1:1", none, true),
            ("0.0.0.0:1", reuse, "0.0.0.0:1", reuse, true),
            ("0.0.0.0:1", port, "0.0.0.0:1", port, true),
            ("0.0.0.0:1", port, "0.0.0.0:1", reuse, false),
        ];
        for (one, set_one, other, set_other, free) in cases {
            let mut ports = Ports::new(Key(1, 2));
            ports.insert(6, 1, bound(1, one, set_one));
            let other = bound(2, other, set_other);
            assert_eq!(ports.is_free(6, 1, &other, true), free, "{one} {other:?}");
        }
    }

    #[test]
    fn every_port_is_a_candidate_once() {
        let mut random = Random::new(Key(1, 2));
        let mut seen: Vec<u16> = Ports::candidates(&mut random).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), usize::from(COUNT));
    }
}
