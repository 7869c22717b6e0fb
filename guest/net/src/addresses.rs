//! Addresses, routes, and the way to a destination.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address;
use crate::error::{Error, Result};
use crate::interface::{InterfaceAddress, InterfaceId, Mac};
use crate::route::{Path, Route, RouteOrigin};
use crate::stack::Stack;
use crate::time::Nanos;

/// What a sender wants of a path.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) source: Option<IpAddr>,
    pub(crate) interface: Option<InterfaceId>,
}

/// Where packets go that everybody gets, or nobody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Ourselves.
    Local,
    Unicast,
    Multicast,
    Broadcast,
}

impl Stack {
    /// Gives an interface an address, and the route to its network.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the interface, [`Error::Exists`] if it has the address.
    pub fn add_address(&mut self, id: InterfaceId, new: InterfaceAddress) -> Result<()> {
        let link = self.link_mut(id).ok_or(Error::NotFound)?;
        if link.interface.has_address(new.address) {
            return Err(Error::Exists);
        }
        link.interface.addresses.push(new);
        let is_host = new.prefix == if new.address.is_ipv4() { 32 } else { 128 };
        if !is_host && id != InterfaceId::LOOPBACK {
            let _ = self.routes.add(Route {
                destination: new,
                gateway: None,
                interface: id,
                metric: 0,
                source: None,
                origin: RouteOrigin::Address,
            });
        }
        self.routes.generation += 1;
        self.announce(id, new.address);
        Ok(())
    }

    /// Takes an address from an interface, and the route to its network.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it has not got it.
    pub fn remove_address(&mut self, id: InterfaceId, gone: IpAddr) -> Result<()> {
        let link = self.link_mut(id).ok_or(Error::NotFound)?;
        let addresses = &mut link.interface.addresses;
        let at = addresses.iter().position(|own| own.address == gone);
        let old = addresses.remove(at.ok_or(Error::AddressNotAvailable)?);
        let is_shared = addresses
            .iter()
            .any(|own| own.prefix == old.prefix && own.covers(old.address));
        if !is_shared {
            self.routes.remove(|route| {
                route.interface == id
                    && route.origin == RouteOrigin::Address
                    && route.destination.prefix == old.prefix
                    && route.destination.covers(old.address)
            });
        }
        self.routes.generation += 1;
        Ok(())
    }

    /// Lets frames pass, or not.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the interface.
    pub fn set_up(&mut self, id: InterfaceId, up: bool) -> Result<()> {
        let link = self.link_mut(id).ok_or(Error::NotFound)?;
        link.interface.up = up;
        self.routes.generation += 1;
        if !up {
            if let Some(link) = self.link_mut(id) {
                link.packets.clear();
            }
            for waiting in self.neighbours.forget(id) {
                self.fail_waiting(waiting);
            }
        }
        Ok(())
    }

    /// Sets the largest packet of an interface.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the interface, [`Error::Invalid`] if IP cannot live with it.
    pub fn set_mtu(&mut self, id: InterfaceId, mtu: u16) -> Result<()> {
        let link = self.link_mut(id).ok_or(Error::NotFound)?;
        if mtu < 576 {
            return Err(Error::Invalid);
        }
        link.interface.config.mtu = mtu;
        self.routes.generation += 1;
        Ok(())
    }

    /// Adds a route, or replaces one that was not set by hand.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the interface, [`Error::Exists`] if it is there,
    /// [`Error::NetworkUnreachable`] if the gateway is on no network of the interface.
    pub fn add_route(&mut self, route: Route) -> Result<()> {
        let link = self.link(route.interface).ok_or(Error::NotFound)?;
        if let Some(gateway) = route.gateway {
            let is_near = address::is_link_local(gateway)
                || link
                    .interface
                    .addresses
                    .iter()
                    .any(|own| own.covers(gateway))
                || self
                    .routes
                    .find(gateway, Some(route.interface))
                    .is_some_and(|way| way.gateway.is_none());
            if !is_near {
                return Err(Error::NetworkUnreachable);
            }
        }
        self.routes.add(route)
    }

    /// Removes the routes for which `is_gone` says so.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub fn remove_routes(&mut self, is_gone: impl FnMut(&Route) -> bool) -> Result<()> {
        let found = self.routes.remove(is_gone);
        found.then_some(()).ok_or(Error::NotFound)
    }

    /// All routes, the best first.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        self.routes.list()
    }

    /// The neighbours that are known.
    pub fn neighbours(&self) -> impl Iterator<Item = (InterfaceId, IpAddr, Mac)> {
        self.neighbours.list()
    }

    /// The route and the source address by which packets to an address go.
    ///
    /// # Errors
    /// As sending there.
    pub fn route_to(&self, to: IpAddr) -> Result<(InterfaceId, IpAddr, IpAddr)> {
        let path = self.path(to, Wish::default(), self.now)?;
        Ok((path.interface, path.source, path.next_hop))
    }

    /// Whether an address is our own.
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        let loopback = matches!(address, IpAddr::V4(v4) if v4.is_loopback());
        loopback
            || self
                .links
                .iter()
                .any(|link| link.interface.has_address(address))
    }

    /// What kind of destination an address is.
    pub(crate) fn reach(&self, to: IpAddr) -> Reach {
        if self.is_local(to) {
            Reach::Local
        } else if to.is_multicast() {
            Reach::Multicast
        } else if let IpAddr::V4(v4) = to
            && self
                .links
                .iter()
                .any(|link| link.interface.is_broadcast(v4))
        {
            Reach::Broadcast
        } else {
            Reach::Unicast
        }
    }

    /// The way to a destination.
    pub(crate) fn path(&self, to: IpAddr, wish: Wish, now: Nanos) -> Result<Path> {
        if self.is_local(to) {
            let source = wish
                .source
                .filter(|source| self.is_local(*source))
                .unwrap_or(to);
            return self.path_by(InterfaceId::LOOPBACK, source, to, (to, now));
        }
        let is_scoped = address::is_link_local(to)
            || to.is_multicast()
            || to == IpAddr::V4(Ipv4Addr::BROADCAST);
        let route = self.routes.find(to, wish.interface);
        let (id, gateway, preferred) = match (route, wish.interface) {
            (Some(route), _) if !is_scoped || wish.interface.is_none() => {
                (route.interface, route.gateway, route.source)
            }
            (_, Some(id)) if is_scoped || self.routes.find(to, Some(id)).is_none() => {
                (id, None, None)
            }
            _ if is_scoped => (
                self.first_up().ok_or(Error::NetworkUnreachable)?,
                None,
                None,
            ),
            _ => return Err(Error::NetworkUnreachable),
        };
        let gateway = gateway.filter(|_| !is_scoped);
        let next_hop = gateway.unwrap_or(to);
        let source = match wish.source.or(preferred) {
            Some(source) => source,
            None => self.source_for(id, to, next_hop)?,
        };
        self.path_by(id, source, next_hop, (to, now))
    }

    fn path_by(
        &self,
        id: InterfaceId,
        source: IpAddr,
        next_hop: IpAddr,
        (to, now): (IpAddr, Nanos),
    ) -> Result<Path> {
        let link = self.link(id).ok_or(Error::NetworkUnreachable)?;
        if !link.interface.up {
            return Err(Error::NetworkDown);
        }
        let link_mtu = link.interface.config.mtu;
        Ok(Path {
            interface: id,
            source,
            next_hop,
            mtu: self.routes.mtu(to, link_mtu, now),
            link_mtu,
            generation: self.routes.generation,
        })
    }

    fn first_up(&self) -> Option<InterfaceId> {
        let mut others = self.interfaces().skip(1);
        others.find(|(_, interface)| interface.up).map(|(id, _)| id)
    }

    /// Our address for a destination: of the next hop's network, or of the same scope, or any.
    fn source_for(&self, id: InterfaceId, to: IpAddr, next_hop: IpAddr) -> Result<IpAddr> {
        let own = self
            .interface(id)
            .map_or(&[][..], |interface| &interface.addresses);
        let fits = |address: &InterfaceAddress| {
            address.address.is_ipv4() == to.is_ipv4()
                && address::is_link_local(address.address)
                    == (address::is_link_local(to) && to.is_ipv6())
        };
        let near = own.iter().find(|a| fits(a) && a.covers(next_hop));
        let same = own.iter().find(|a| fits(a));
        let family = own.iter().find(|a| a.address.is_ipv4() == to.is_ipv4());
        let others = self
            .links
            .iter()
            .skip(1)
            .flat_map(|link| &link.interface.addresses);
        let found = near
            .or(same)
            .or_else(|| others.clone().find(|a| fits(a)))
            .or(family);
        match found {
            Some(found) => Ok(found.address),
            None if to.is_multicast() || to == IpAddr::V4(Ipv4Addr::BROADCAST) => {
                Ok(address::unspecified(to))
            }
            None => Err(Error::AddressNotAvailable),
        }
    }

    /// The DNS servers that DHCP and routers named.
    pub fn dns_servers(&self) -> impl Iterator<Item = IpAddr> {
        self.links.iter().flat_map(|link| {
            let leased = link.dhcp.iter().filter_map(|client| client.lease());
            let v4 = leased.flat_map(|lease| lease.dns_servers.iter().copied().map(IpAddr::V4));
            let v6 = link
                .dns_servers
                .iter()
                .copied()
                .map(|server: Ipv6Addr| IpAddr::V6(server));
            v4.chain(v6)
        })
    }
}
