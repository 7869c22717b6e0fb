//! Groups: who joined them, and what routers are told (IGMPv2, RFC 2236; MLD, RFC 2710).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address;
use crate::checksum::checksum;
use crate::error::{Error, Result};
use crate::ingress::Arrival;
use crate::interface::InterfaceId;
use crate::socket::Handle;
use crate::stack::{Socket, Stack};
use crate::wire::icmp;
use crate::wire::ip::{self, IpHeader, Packet, Sending};

pub(crate) const MLD_QUERY: u8 = 130;
const MLD_REPORT: u8 = 131;
const MLD_DONE: u8 = 132;
const IGMP_QUERY: u8 = 0x11;
const IGMP_REPORT: u8 = 0x16;
const IGMP_LEAVE: u8 = 0x17;
const ALL_ROUTERS_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
const ALL_ROUTERS_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// Groups that a socket may join (`igmp_max_memberships` is 20).
const MOST_GROUPS: usize = 64;

impl Stack {
    /// A datagram or raw socket wants the packets of a group, from one interface.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is no group, [`Error::AddressInUse`] if it is a member,
    /// [`Error::NotFound`] without an interface for it.
    pub fn join_group(
        &mut self,
        handle: Handle,
        group: IpAddr,
        interface: Option<InterfaceId>,
    ) -> Result<()> {
        let id = self.group_interface(group, interface)?;
        let Some(Socket::Datagram(datagram)) = self.sockets.get_mut(handle) else {
            return Err(Error::NotSupported);
        };
        if datagram.groups.contains(&(group, id)) {
            return Err(Error::AddressInUse);
        }
        if datagram.groups.len() >= MOST_GROUPS {
            return Err(Error::NoBuffers);
        }
        datagram.groups.push((group, id));
        let link = self.link_mut(id).ok_or(Error::NotFound)?;
        let groups = &mut link.interface.groups;
        if let Some((_, count)) = groups.iter_mut().find(|(joined, _)| *joined == group) {
            *count += 1;
        } else {
            groups.push((group, 1));
            self.report_group(id, group, true);
        }
        Ok(())
    }

    /// It does not want them any more.
    ///
    /// # Errors
    /// [`Error::AddressNotAvailable`] if it is no member.
    pub fn leave_group(
        &mut self,
        handle: Handle,
        group: IpAddr,
        interface: Option<InterfaceId>,
    ) -> Result<()> {
        let id = self.group_interface(group, interface)?;
        let Some(Socket::Datagram(datagram)) = self.sockets.get_mut(handle) else {
            return Err(Error::NotSupported);
        };
        let at = datagram
            .groups
            .iter()
            .position(|joined| *joined == (group, id));
        datagram
            .groups
            .remove(at.ok_or(Error::AddressNotAvailable)?);
        self.forget_member(id, group);
        Ok(())
    }

    pub(crate) fn forget_member(&mut self, id: InterfaceId, group: IpAddr) {
        let Some(link) = self.link_mut(id) else {
            return;
        };
        let groups = &mut link.interface.groups;
        let Some(at) = groups.iter().position(|(joined, _)| *joined == group) else {
            return;
        };
        if let Some((_, count)) = groups.get_mut(at) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                groups.remove(at);
                self.report_group(id, group, false);
            }
        }
    }

    fn group_interface(
        &self,
        group: IpAddr,
        interface: Option<InterfaceId>,
    ) -> Result<InterfaceId> {
        if !group.is_multicast() {
            return Err(Error::Invalid);
        }
        if let Some(id) = interface {
            return self.link(id).map(|_| id).ok_or(Error::NotFound);
        }
        let path = self.path(group, crate::addresses::Wish::default(), self.now);
        path.map(|path| path.interface).map_err(|_| Error::NotFound)
    }

    /// Tells the routers of a link that somebody joined a group here, or that the last one left.
    pub(crate) fn report_group(&mut self, id: InterfaceId, group: IpAddr, joined: bool) {
        if id == InterfaceId::LOOPBACK || address::is_always_joined(group) {
            return;
        }
        match group {
            IpAddr::V4(v4) => self.report_v4(id, v4, joined),
            IpAddr::V6(v6) => self.report_v6(id, v6, joined),
        }
    }

    fn report_v4(&mut self, id: InterfaceId, group: Ipv4Addr, joined: bool) {
        let (kind, to) = if joined {
            (IGMP_REPORT, group)
        } else {
            (IGMP_LEAVE, ALL_ROUTERS_V4)
        };
        let [a, b, c, d] = group.octets();
        let mut message = [kind, 0, 0, 0, a, b, c, d];
        let sum = checksum(&message);
        crate::bytes::put_u16(&mut message, 2, sum);
        self.send_report(id, IpAddr::V4(to), ip::IGMP, &message);
    }

    fn report_v6(&mut self, id: InterfaceId, group: Ipv6Addr, joined: bool) {
        let (kind, to) = if joined {
            (MLD_REPORT, group)
        } else {
            (MLD_DONE, ALL_ROUTERS_V6)
        };
        let mut message = Vec::from([kind, 0, 0, 0, 0, 0, 0, 0]);
        message.extend_from_slice(&group.octets());
        self.send_report(id, IpAddr::V6(to), ip::ICMPV6, &message);
    }

    fn send_report(&mut self, id: InterfaceId, to: IpAddr, protocol: u8, message: &[u8]) {
        let Some(interface) = self.interface(id) else {
            return;
        };
        let own = interface.addresses.iter().map(|own| own.address);
        let mut own = own.filter(|own| own.is_ipv4() == to.is_ipv4());
        let source = match to {
            IpAddr::V4(_) => own.next().unwrap_or(address::unspecified(to)),
            IpAddr::V6(_) => IpAddr::V6(interface.link_local()),
        };
        let header = IpHeader {
            source,
            destination: to,
            protocol,
            hop_limit: 1,
            traffic_class: 0xc0,
        };
        let mut message = Vec::from(message);
        if to.is_ipv6() {
            icmp::fill_checksum(&header, &mut message);
        }
        let sending = Sending {
            router_alert: true,
            ..Sending::default()
        };
        let wish = crate::addresses::Wish {
            source: Some(source),
            interface: Some(id),
        };
        if let Ok(path) = self.path(to, wish, self.now) {
            self.send_ip(&path, &header, sending, &message);
        }
    }

    pub(crate) fn input_igmp(&mut self, packet: &Packet<'_>, arrival: Arrival) {
        let is_query = packet.payload.first() == Some(&IGMP_QUERY) && packet.payload.len() >= 8;
        if is_query && checksum(packet.payload) == 0 {
            self.answer_query(arrival.interface, true);
        }
    }

    /// A router asks who is in which group. We answer at once and for all of them.
    pub(crate) fn answer_query(&mut self, id: InterfaceId, is_v4: bool) {
        if !self.limits.icmp.take(self.now) {
            return;
        }
        let Some(interface) = self.interface(id) else {
            return;
        };
        let joined = interface.groups.iter().map(|(group, _)| *group);
        let nodes = interface
            .addresses
            .iter()
            .filter_map(|own| address::solicited_node(own.address));
        let groups: Vec<IpAddr> = joined
            .chain(nodes)
            .filter(|group| group.is_ipv4() == is_v4)
            .collect();
        for group in groups {
            self.report_group(id, group, true);
        }
    }
}
