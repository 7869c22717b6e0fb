//! Which way packets go.

use alloc::vec::Vec;
use core::net::IpAddr;

use hashbrown::HashMap;

use crate::error::{Error, Result};
use crate::interface::{InterfaceAddress, InterfaceId};
use crate::siphash::Key;
use crate::time::Nanos;

/// Where a route comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteOrigin {
    /// It follows from an address.
    Address,
    /// Somebody set it.
    Static,
    /// From a DHCP lease.
    Dhcp,
    /// From a router advertisement, which ends then.
    Advertisement(Nanos),
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network it leads to; of the default route its prefix is zero.
    pub destination: InterfaceAddress,
    /// The router; without one, neighbours are asked themselves.
    pub gateway: Option<IpAddr>,
    /// Through which interface.
    pub interface: InterfaceId,
    /// Of two routes to the same network, the one with less.
    pub metric: u32,
    /// The source address to prefer.
    pub source: Option<IpAddr>,
    /// Where it comes from.
    pub origin: RouteOrigin,
}

/// The way to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) interface: InterfaceId,
    pub(crate) source: IpAddr,
    pub(crate) next_hop: IpAddr,
    /// Bytes in the largest packet that passes.
    pub(crate) mtu: u16,
    /// That of the interface.
    pub(crate) link_mtu: u16,
    /// What [`Routes::generation`] was.
    pub(crate) generation: u64,
}

/// All routes, the best first, and what was learnt of paths.
#[derive(Debug)]
pub(crate) struct Routes {
    list: Vec<Route>,
    /// Changes when a path may have changed.
    pub(crate) generation: u64,
    mtus: HashMap<u128, (u16, Nanos), Key>,
}

const MOST_MTUS: usize = 4_096;
const MTU_LIFETIME: Nanos = Nanos::from_secs(600);

impl Routes {
    pub(crate) fn new(key: Key) -> Self {
        Self {
            list: Vec::new(),
            generation: 1,
            mtus: HashMap::with_hasher(key),
        }
    }

    pub(crate) fn list(&self) -> &[Route] {
        &self.list
    }

    pub(crate) fn add(&mut self, route: Route) -> Result<()> {
        let same = |old: &Route| {
            old.destination.prefix == route.destination.prefix
                && old.destination.covers(route.destination.address)
                && old.interface == route.interface
                && old.gateway == route.gateway
                && old.metric == route.metric
        };
        if let Some(old) = self.list.iter_mut().find(|old| same(old)) {
            let was = core::mem::replace(old, route);
            return if was.origin == RouteOrigin::Static {
                Err(Error::Exists)
            } else {
                Ok(())
            };
        }
        let rank = |route: &Route| (u8::MAX - route.destination.prefix, route.metric);
        let at = self.list.partition_point(|old| rank(old) <= rank(&route));
        self.list.insert(at, route);
        self.generation += 1;
        Ok(())
    }

    pub(crate) fn remove(&mut self, mut is_gone: impl FnMut(&Route) -> bool) -> bool {
        let before = self.list.len();
        self.list.retain(|route| !is_gone(route));
        self.generation += 1;
        self.list.len() < before
    }

    /// The best route to an address, through one interface if that is given.
    pub(crate) fn find(&self, to: IpAddr, interface: Option<InterfaceId>) -> Option<&Route> {
        self.list.iter().find(|route| {
            route.destination.covers(to) && interface.is_none_or(|id| route.interface == id)
        })
    }

    /// What a path takes, if less than its interface.
    pub(crate) fn mtu(&self, to: IpAddr, link: u16, now: Nanos) -> u16 {
        let learnt = self.mtus.get(&crate::address::bits(to));
        let learnt = learnt.filter(|(_, until)| *until > now);
        learnt.map_or(link, |(mtu, _)| link.min(*mtu))
    }

    /// A router says that a path takes no more.
    pub(crate) fn learn_mtu(&mut self, to: IpAddr, mtu: u16, now: Nanos) {
        if self.mtus.len() >= MOST_MTUS {
            self.mtus.retain(|_, (_, until)| *until > now);
        }
        if self.mtus.len() < MOST_MTUS {
            let until = now + MTU_LIFETIME;
            self.mtus.insert(crate::address::bits(to), (mtu, until));
            self.generation += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(network: &str, prefix: u8, metric: u32) -> Route {
        Route {
            destination: InterfaceAddress::new(network.parse().unwrap(), prefix),
            gateway: None,
            interface: InterfaceId(metric),
            metric,
            source: None,
            origin: RouteOrigin::Static,
        }
    }

    #[test]
    fn the_longest_prefix_wins_then_the_least_metric() {
        let mut routes = Routes::new(Key(1, 2));
        for (network, prefix, metric) in [
            ("0.0.0.0", 0, 5),
            ("10.0.0.0", 8, 3),
            ("10.1.0.0", 16, 2),
            ("10.1.0.0", 16, 1),
            ("::", 0, 9),
        ] {
            routes.add(route(network, prefix, metric)).unwrap();
        }
        for (to, metric) in [
            ("10.1.2.3", 1),
            ("10.2.0.1", 3),
            ("192.0.2.1", 5),
            ("2001:db8::1", 9),
        ] {
            let found = routes.find(to.parse().unwrap(), None).unwrap();
            assert_eq!(found.metric, metric, "{to}");
        }
        let other = routes.find("10.1.2.3".parse().unwrap(), Some(InterfaceId(2)));
        assert_eq!(other.unwrap().metric, 2);
        assert!(routes.add(route("10.1.0.0", 16, 1)).is_err());
    }

    #[test]
    fn what_a_router_says_of_a_path_is_forgotten_after_a_while() {
        let mut routes = Routes::new(Key(1, 2));
        let to = "192.0.2.1".parse().unwrap();
        routes.learn_mtu(to, 1_280, Nanos::ZERO);
        assert_eq!(routes.mtu(to, 1_500, Nanos::from_secs(599)), 1_280);
        assert_eq!(routes.mtu(to, 1_500, Nanos::from_secs(601)), 1_500);
    }
}
