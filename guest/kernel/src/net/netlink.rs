//! `AF_NETLINK` as far as programs ask about interfaces, addresses and routes
//! (`NETLINK_ROUTE`, `rtnetlink(7)`); changes are refused, and nothing is announced.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::sync::atomic::{AtomicU32, Ordering};

use guest_hal::sync::Mutex;
use guest_net::{Interface, InterfaceAddress, InterfaceId, Mac, Route, RouteOrigin};
use linux_raw_sys::general as raw;

use super::options::Options;
use super::{
    Address, Direction, Incoming, Kind, Outgoing, Socket, flag, interfaces, network, read,
    wait_until, write,
};
use crate::fs::buffer::{Destination, Origin};
use crate::fs::file::{Events, File, Io};
use crate::process::current;
use crate::wait::WaitQueue;
use crate::{Errno, Result};

/// `AF_NETLINK`.
pub const FAMILY: u16 = 16;
/// `NETLINK_ROUTE`, the only protocol.
pub const ROUTE: u32 = 0;

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Answers are put together up to this length.
const ANSWER_MAX: usize = 16 << 10;
/// Longest request.
const REQUEST_MAX: u64 = 64 << 10;
/// Most answers that wait.
const ANSWERS_MAX: usize = 256;

const ERROR: u16 = 2;
const DONE: u16 = 3;
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOUR: u16 = 30;
const GET_RULE: u16 = 34;
/// Requests of the kinds "new", "delete" and "set" come in fours with "get".
const KIND_GET: u16 = 2;
const FLAG_ACK: u16 = 4;
const FLAG_DUMP: u16 = 0x300;
const FLAG_MULTI: u16 = 2;

const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// A socket.
#[derive(Debug)]
pub struct NetlinkSocket {
    kind: Kind,
    options: Options,
    port: AtomicU32,
    answers: Mutex<VecDeque<Vec<u8>>>,
    changes: WaitQueue,
}

/// An attribute: type, content.
fn attribute(out: &mut Vec<u8>, kind: u16, content: &[u8]) {
    out.extend(((content.len() + 4) as u16).to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The address of the network that an address is in.
fn network_of(own: &InterfaceAddress) -> Vec<u8> {
    let kept = |index: usize| {
        let bits = usize::from(own.prefix).saturating_sub(index * 8).min(8);
        !(0xffu16 >> bits) as u8
    };
    let bytes = octets(own.address).into_iter().enumerate();
    bytes.map(|(index, byte)| byte & kept(index)).collect()
}

const fn family_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

/// `RT_SCOPE_*` of an address.
fn scope(address: IpAddr) -> u8 {
    const LINK: u8 = 253;
    const HOST: u8 = 254;
    match address {
        address if address.is_loopback() => HOST,
        IpAddr::V6(address) if address.is_unicast_link_local() => LINK,
        _ => 0,
    }
}

/// `struct ifinfomsg` and what follows.
fn link(id: InterfaceId, interface: &Interface) -> Vec<u8> {
    const OPERSTATE_UP: u8 = 6;
    const OPERSTATE_UNKNOWN: u8 = 0;
    let mut out = alloc::vec![AF_UNSPEC, 0];
    out.extend(interfaces::hardware_type(id).to_le_bytes());
    out.extend(id.index().to_le_bytes());
    out.extend(interfaces::flags(id, interface).to_le_bytes());
    out.extend(0u32.to_le_bytes());
    let mut name = interface.config.name.clone().into_bytes();
    name.push(0);
    attribute(&mut out, 3, &name);
    attribute(&mut out, 13, &1000u32.to_le_bytes());
    let is_loopback = id == InterfaceId::LOOPBACK;
    let state = if is_loopback {
        OPERSTATE_UNKNOWN
    } else {
        OPERSTATE_UP
    };
    attribute(&mut out, 16, &[state]);
    attribute(&mut out, 4, &u32::from(interface.config.mtu).to_le_bytes());
    let Mac(mac) = interface.config.mac;
    attribute(&mut out, 1, &mac);
    attribute(&mut out, 2, &if is_loopback { [0; 6] } else { [0xff; 6] });
    attribute(
        &mut out,
        6,
        if is_loopback { b"noqueue\0" } else { b"mq\0" },
    );
    let c = interface.counters;
    let counts = [
        c.rx_frames,
        c.tx_frames,
        c.rx_bytes,
        c.tx_bytes,
        c.rx_errors,
        0,
        c.rx_dropped,
        c.tx_dropped,
        c.multicast,
    ];
    let mut statistics: Vec<u8> = counts
        .iter()
        .flat_map(|count| count.to_le_bytes())
        .collect();
    statistics.resize(24 * 8, 0);
    attribute(&mut out, 23, &statistics);
    out
}

/// `struct ifaddrmsg` and what follows.
fn address(id: InterfaceId, interface: &Interface, own: &InterfaceAddress) -> Vec<u8> {
    const PERMANENT: u8 = 0x80;
    let mut out = alloc::vec![
        family_of(own.address),
        own.prefix,
        PERMANENT,
        scope(own.address),
    ];
    out.extend(id.index().to_le_bytes());
    let bytes = octets(own.address);
    attribute(&mut out, 1, &bytes);
    if own.address.is_ipv4() {
        attribute(&mut out, 2, &bytes);
        if let Some(broadcast) = own.broadcast().filter(|_| id != InterfaceId::LOOPBACK) {
            attribute(&mut out, 4, &broadcast.octets());
        }
        let mut name = interface.config.name.clone().into_bytes();
        name.push(0);
        attribute(&mut out, 3, &name);
    }
    attribute(&mut out, 8, &u32::from(PERMANENT).to_le_bytes());
    // For ever preferred, for ever valid.
    let mut lives = [0xff; 16];
    if let Some(stamps) = lives.get_mut(8..) {
        stamps.fill(0);
    }
    attribute(&mut out, 6, &lives);
    out
}

/// `struct rtmsg` and what follows.
fn route(route: &Route) -> Vec<u8> {
    const TABLE_MAIN: u8 = 254;
    const UNICAST: u8 = 1;
    const SCOPE_LINK: u8 = 253;
    let origin = match route.origin {
        RouteOrigin::Address => 2,
        RouteOrigin::Static => 3,
        RouteOrigin::Dhcp => 16,
        RouteOrigin::Advertisement(_) => 9,
    };
    let destination = route.destination;
    let family = family_of(destination.address);
    let scope = match route.gateway {
        None if family == AF_INET => SCOPE_LINK,
        _ => 0,
    };
    let mut out = alloc::vec![
        family,
        destination.prefix,
        0,
        0,
        TABLE_MAIN,
        origin,
        scope,
        UNICAST
    ];
    out.extend(0u32.to_le_bytes());
    attribute(&mut out, 15, &u32::from(TABLE_MAIN).to_le_bytes());
    if destination.prefix > 0 {
        attribute(&mut out, 1, &network_of(&destination));
    }
    if let Some(gateway) = route.gateway {
        attribute(&mut out, 5, &octets(gateway));
    }
    if let Some(source) = route.source {
        attribute(&mut out, 7, &octets(source));
    }
    if route.metric > 0 {
        attribute(&mut out, 6, &route.metric.to_le_bytes());
    }
    attribute(&mut out, 4, &route.interface.index().to_le_bytes());
    out
}

/// `struct ndmsg` and what follows.
fn neighbour((id, address, mac): (InterfaceId, IpAddr, Mac)) -> Vec<u8> {
    const REACHABLE: u16 = 2;
    let mut out = alloc::vec![family_of(address), 0, 0, 0];
    out.extend(id.index().to_le_bytes());
    out.extend(REACHABLE.to_le_bytes());
    out.extend([0, 1]);
    attribute(&mut out, 1, &octets(address));
    attribute(&mut out, 2, &mac.0);
    out
}

/// A request.
struct Request<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
    whole: &'a [u8],
}

impl Request<'_> {
    /// The family asked for; none: all.
    fn wants(&self, family: u8) -> bool {
        let asked = self.body.first().copied().unwrap_or(AF_UNSPEC);
        asked == AF_UNSPEC || asked == family
    }

    /// The interface asked for, if one was.
    fn index(&self) -> Option<u32> {
        let index = self.body.get(4..)?.first_chunk()?;
        Some(u32::from_le_bytes(*index)).filter(|index| *index != 0)
    }

    /// The name asked for (`IFLA_IFNAME`, `IFLA_ALT_IFNAME`).
    fn name(&self) -> Option<&[u8]> {
        let mut rest = self.body.get(16..)?;
        while let Some((head, _)) = rest.split_first_chunk::<4>() {
            let [low, high, kind, kind_high] = *head;
            let length = usize::from(u16::from_le_bytes([low, high]));
            let content = rest.get(4..length)?;
            if matches!(u16::from_le_bytes([kind, kind_high]), 3 | 53) {
                let end = content.iter().position(|&byte| byte == 0);
                return content.get(..end.unwrap_or(content.len()));
            }
            rest = rest.get(length.next_multiple_of(4)..)?;
        }
        None
    }

    fn is_dump(&self) -> bool {
        self.flags & FLAG_DUMP != 0
    }

    /// The bodies of the answer, and their kind.
    fn answer(&self) -> Result<(u16, Vec<Vec<u8>>)> {
        network::with(|stack| match self.kind {
            GET_LINK => {
                let wanted = |(id, interface): &(InterfaceId, &Interface)| {
                    self.is_dump()
                        || self.index() == Some(id.index())
                        || self.name() == Some(interface.config.name.as_bytes())
                };
                let links = stack.interfaces().filter(wanted);
                let links: Vec<_> = links.map(|(id, interface)| link(id, interface)).collect();
                if links.is_empty() {
                    return Err(Errno::ENODEV);
                }
                Ok((NEW_LINK, links))
            }
            GET_ADDRESS => {
                let all = stack.interfaces().flat_map(|(id, interface)| {
                    let own = interface.addresses.iter();
                    own.map(move |own| (own, address(id, interface, own)))
                });
                let wanted = all.filter(|(own, _)| self.wants(family_of(own.address)));
                Ok((NEW_ADDRESS, wanted.map(|(_, bytes)| bytes).collect()))
            }
            GET_ROUTE if self.is_dump() => {
                let routes = stack.routes().iter();
                let wanted =
                    routes.filter(|route| self.wants(family_of(route.destination.address)));
                Ok((NEW_ROUTE, wanted.map(route).collect()))
            }
            GET_NEIGHBOUR if self.is_dump() => {
                let wanted = stack
                    .neighbours()
                    .filter(|(_, address, _)| self.wants(family_of(*address)));
                Ok((NEW_NEIGHBOUR, wanted.map(neighbour).collect()))
            }
            GET_RULE if self.is_dump() => Ok((32, Vec::new())),
            kind if kind >= NEW_LINK && kind % 4 != KIND_GET => Err(Errno::EPERM),
            _ => Err(Errno::EOPNOTSUPP),
        })
    }
}

/// Cuts requests apart.
fn requests(mut bytes: &[u8]) -> Vec<Request<'_>> {
    let mut found = Vec::new();
    while let Some((head, _)) = bytes.split_first_chunk::<HEADER>() {
        let [
            a,
            b,
            c,
            d,
            kind,
            kind_high,
            flags,
            flags_high,
            s,
            t,
            u,
            v,
            ..,
        ] = *head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let (Some(whole), Some(body)) = (bytes.get(..length), bytes.get(HEADER..length)) else {
            break;
        };
        found.push(Request {
            kind: u16::from_le_bytes([kind, kind_high]),
            flags: u16::from_le_bytes([flags, flags_high]),
            sequence: u32::from_le_bytes([s, t, u, v]),
            body,
            whole,
        });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

impl NetlinkSocket {
    /// A socket of `NETLINK_ROUTE`.
    #[must_use]
    pub fn new(kind: Kind) -> Arc<Self> {
        Arc::new(Self {
            kind,
            options: Options::default(),
            port: AtomicU32::new(0),
            answers: Mutex::default(),
            changes: WaitQueue::new(),
        })
    }

    /// Its port: the first socket has the process's number.
    fn port(&self) -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let port = self.port.load(Ordering::Relaxed);
        if port != 0 {
            return port;
        }
        let port = match NEXT.fetch_add(1, Ordering::Relaxed) {
            0 => current().pid,
            later => u32::MAX - later,
        };
        self.port.store(port, Ordering::Relaxed);
        port
    }

    fn push(&self, bytes: Vec<u8>) {
        let mut answers = self.answers.lock();
        if !bytes.is_empty() && answers.len() < ANSWERS_MAX {
            answers.push_back(bytes);
        }
    }

    /// A message with its header.
    fn message(&self, kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + body.len());
        out.extend(((HEADER + body.len()) as u32).to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend(flags.to_le_bytes());
        out.extend(sequence.to_le_bytes());
        out.extend(self.port().to_le_bytes());
        out.extend_from_slice(body);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn serve(&self, request: &Request<'_>) {
        let is_dump = request.is_dump();
        match request.answer() {
            Ok((kind, bodies)) => {
                let flags = if is_dump { FLAG_MULTI } else { 0 };
                let mut together = Vec::new();
                for body in bodies {
                    let message = self.message(kind, flags, request.sequence, &body);
                    if together.len() + message.len() > ANSWER_MAX {
                        self.push(core::mem::take(&mut together));
                    }
                    together.extend(message);
                }
                self.push(together);
                if is_dump {
                    let done = self.message(DONE, FLAG_MULTI, request.sequence, &[0; 4]);
                    self.push(done);
                } else if request.flags & FLAG_ACK != 0 {
                    self.acknowledge(request, 0);
                }
            }
            Err(errno) => self.acknowledge(request, -i32::from(errno.0)),
        }
        self.changes.notify_of(raw::POLLIN | raw::POLLRDNORM);
    }

    fn acknowledge(&self, request: &Request<'_>, error: i32) {
        let mut body = error.to_le_bytes().to_vec();
        let quoted = if error == 0 {
            request.whole.get(..HEADER).unwrap_or_default()
        } else {
            request.whole
        };
        body.extend_from_slice(quoted);
        self.push(self.message(ERROR, 0, request.sequence, &body));
    }
}

impl Socket for NetlinkSocket {
    fn describe(&self) -> (u16, Kind, u32) {
        (FAMILY, self.kind, ROUTE)
    }

    fn options(&self) -> &Options {
        &self.options
    }

    fn changes(&self) -> &WaitQueue {
        &self.changes
    }

    fn bind(&self, address: &Address) -> Result<()> {
        let Address::Netlink(port, _groups) = address else {
            return Err(Errno::EINVAL);
        };
        if *port != 0 {
            self.port.store(*port, Ordering::Relaxed);
        }
        self.port();
        Ok(())
    }

    fn connect(&self, address: &Address, _: bool) -> Result<()> {
        match address {
            Address::Netlink(0, _) | Address::Unspecified => Ok(()),
            Address::Netlink(..) => Err(Errno::ECONNREFUSED),
            _ => Err(Errno::EINVAL),
        }
    }

    fn send(&self, message: Outgoing<'_, '_>) -> Result<()> {
        match message.to {
            None | Some(Address::Netlink(0, _)) => {}
            Some(Address::Netlink(..)) => return Err(Errno::ECONNREFUSED),
            Some(_) => return Err(Errno::EINVAL),
        }
        let length = message.data.remaining();
        if length > REQUEST_MAX {
            return Err(Errno::EMSGSIZE);
        }
        let mut bytes = alloc::vec![0; length as usize];
        message.data.take(&mut bytes)?;
        requests(&bytes)
            .iter()
            .for_each(|request| self.serve(request));
        Ok(())
    }

    fn receive(&self, message: &mut Incoming<'_, '_>) -> Result<()> {
        let timeout = self.options.receive_timeout();
        let peeks = message.flags & flag::PEEK != 0;
        let taken = wait_until(&[&self.changes], message.nonblocking, timeout, &mut || {
            let mut answers = self.answers.lock();
            if peeks {
                answers.front().cloned()
            } else {
                answers.pop_front()
            }
        })?;
        let before = message.into.done();
        message.into.put(&taken)?;
        if message.into.done() - before < taken.len() as u64 {
            message.whole = Some(taken.len() as u64);
            message.answered |= flag::TRUNC;
        }
        message.from = Some(Address::Netlink(0, 0));
        Ok(())
    }

    fn shutdown(&self, _: Direction) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    fn name(&self) -> Result<Address> {
        Ok(Address::Netlink(self.port.load(Ordering::Relaxed), 0))
    }

    fn peer(&self) -> Result<Address> {
        Ok(Address::Netlink(0, 0))
    }

    fn option(&self, _: i32, _: i32) -> Result<Vec<u8>> {
        Err(Errno::ENOPROTOOPT)
    }

    fn set_option(&self, level: i32, name: i32, _: &[u8]) -> Result<()> {
        const NETLINK: i32 = 270;
        // Groups, packet information, strict checks, extended acknowledgements: nothing is
        // announced, and what is known is told at any rate.
        match (level, name) {
            (NETLINK, 1..=12) => Ok(()),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }
}

impl File for NetlinkSocket {
    fn read(&self, io: Io, into: &mut Destination<'_>) -> Result<()> {
        read(self, io.is_nonblocking(), into)
    }

    fn write(&self, io: Io, from: &mut Origin<'_>) -> Result<()> {
        write(self, io.is_nonblocking(), from)
    }

    fn poll(&self) -> Events {
        let input = if self.answers.lock().is_empty() {
            0
        } else {
            raw::POLLIN | raw::POLLRDNORM
        };
        input | raw::POLLOUT | raw::POLLWRNORM
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.changes)
    }
}
