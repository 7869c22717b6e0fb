//! The stack: all of its state, and what happens as time passes.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hashbrown::HashMap;

use crate::datagram::Datagram;
use crate::dhcp;
use crate::interface::{Interface, InterfaceAddress, InterfaceConfig, InterfaceId, Mac, Offloads};
use crate::limit::Limit;
use crate::memory::Memory;
use crate::neighbour::Neighbours;
use crate::packet::Packet;
use crate::ports::Ports;
use crate::reassembly::Reassembly;
use crate::route::Routes;
use crate::siphash::{Key, Random};
use crate::slab::Slab;
use crate::socket::{Common, Handle};
use crate::tcp::listener::Listener;
use crate::tcp::time_wait::Remains;
use crate::tcp::{Tcp, Tuple};
use crate::time::Nanos;
use crate::timers::{Timer, Timers};

/// What a stack is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Secret and random: everything that a peer must not foresee follows from it.
    pub seed: [u64; 2],
    /// Bytes that all sockets' buffers may take.
    pub memory: usize,
    /// Most sockets.
    pub sockets: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: [0; 2],
            memory: 256 << 20,
            sockets: 1 << 20,
        }
    }
}

/// A socket of any kind.
#[derive(Debug)]
pub(crate) enum Socket {
    Stream(Box<Tcp>),
    Listener(Box<Listener>),
    Datagram(Box<Datagram>),
}

impl Socket {
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Stream(tcp) => &tcp.common,
            Self::Listener(listener) => &listener.common,
            Self::Datagram(datagram) => &datagram.common,
        }
    }

    pub(crate) fn common_mut(&mut self) -> &mut Common {
        match self {
            Self::Stream(tcp) => &mut tcp.common,
            Self::Listener(listener) => &mut listener.common,
            Self::Datagram(datagram) => &mut datagram.common,
        }
    }
}

/// Who has a pair of addresses and ports.
#[derive(Debug)]
pub(crate) enum Connection {
    Open(Handle),
    /// Nobody, but old segments may come.
    TimeWait(Remains),
}

/// An interface with what is to be sent through it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) interface: Interface,
    pub(crate) packets: VecDeque<Packet>,
    /// Connections with something to send.
    pub(crate) ready: VecDeque<Handle>,
    pub(crate) dhcp: Option<Box<dhcp::Client>>,
    pub(crate) dhcp_at: Nanos,
    pub(crate) solicitations: u8,
    pub(crate) router_at: Nanos,
    pub(crate) dns_servers: Vec<Ipv6Addr>,
}

impl Link {
    fn new(config: InterfaceConfig) -> Self {
        Self {
            interface: Interface::new(config),
            packets: VecDeque::new(),
            ready: VecDeque::new(),
            dhcp: None,
            dhcp_at: Nanos::MAX,
            solicitations: 0,
            router_at: Nanos::MAX,
            dns_servers: Vec::new(),
        }
    }
}

/// The keys of what must not be foreseen.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) sequence: Key,
    pub(crate) timestamp: Key,
    pub(crate) cookie: Key,
    pub(crate) listeners: Key,
}

/// How much is said to those who did not ask.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) icmp: Limit,
    pub(crate) challenge: Limit,
}

/// A TCP/IP stack; see the crate's documentation for how it is used.
#[derive(Debug)]
pub struct Stack {
    pub(crate) links: Vec<Link>,
    pub(crate) sockets: Slab<Socket>,
    pub(crate) connections: HashMap<Tuple, Connection, Key>,
    /// Datagram sockets that are connected.
    pub(crate) peers: HashMap<Tuple, Handle, Key>,
    pub(crate) raw: Vec<Handle>,
    pub(crate) ports: Ports,
    pub(crate) routes: Routes,
    pub(crate) neighbours: Neighbours,
    pub(crate) neighbours_at: Nanos,
    pub(crate) reassembly: Reassembly,
    pub(crate) reassembly_at: Nanos,
    pub(crate) time_waits: VecDeque<(Nanos, Tuple)>,
    pub(crate) time_wait_at: Nanos,
    /// Packets to ourselves, and the interface that they seem to come from.
    pub(crate) looped: VecDeque<(InterfaceId, Packet)>,
    pub(crate) timers: Timers,
    pub(crate) memory: Memory,
    pub(crate) random: Random,
    pub(crate) keys: Keys,
    pub(crate) limits: Limits,
    pub(crate) changed: VecDeque<Handle>,
    pub(crate) most_sockets: usize,
    pub(crate) now: Nanos,
}

/// Packets delivered to ourselves in one call, so that it ends.
const MOST_LOOPED: usize = 4_096;

impl Stack {
    /// A stack with nothing but the loopback.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let [one, other] = config.seed;
        let mut random = Random::new(Key(one, other));
        let mut stack = Self {
            links: Vec::new(),
            sockets: Slab::new(),
            connections: HashMap::with_hasher(random.next_key()),
            peers: HashMap::with_hasher(random.next_key()),
            raw: Vec::new(),
            ports: Ports::new(random.next_key()),
            routes: Routes::new(random.next_key()),
            neighbours: Neighbours::new(random.next_key()),
            neighbours_at: Nanos::MAX,
            reassembly: Reassembly::default(),
            reassembly_at: Nanos::MAX,
            time_waits: VecDeque::new(),
            time_wait_at: Nanos::MAX,
            looped: VecDeque::new(),
            timers: Timers::default(),
            memory: Memory::new(config.memory),
            keys: Keys {
                sequence: random.next_key(),
                timestamp: random.next_key(),
                cookie: random.next_key(),
                listeners: random.next_key(),
            },
            limits: Limits {
                icmp: Limit::per_second(1_000),
                challenge: Limit::per_second(1_000),
            },
            random,
            changed: VecDeque::new(),
            most_sockets: config.sockets,
            now: Nanos::ZERO,
        };
        stack.make_loopback();
        stack
    }

    fn make_loopback(&mut self) {
        self.links.push(Link::new(InterfaceConfig {
            name: "lo".into(),
            mac: Mac::default(),
            mtu: u16::MAX,
            offloads: Offloads::default(),
            accept_advertisements: false,
        }));
        if let Some(link) = self.links.first_mut() {
            link.interface.addresses = [
                InterfaceAddress::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8),
                InterfaceAddress::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
            ]
            .into();
        }
    }

    /// Attaches an interface, which is up and has its link-local IPv6 address.
    pub fn attach(&mut self, config: InterfaceConfig, now: Nanos) -> InterfaceId {
        self.advance(now);
        let id = InterfaceId(crate::bytes::length32(self.links.len()));
        let solicits = config.accept_advertisements;
        self.links.push(Link::new(config));
        if let Some(link) = self.links.last() {
            let address = InterfaceAddress::new(IpAddr::V6(link.interface.link_local()), 64);
            let _ = self.add_address(id, address);
        }
        if solicits {
            self.start_soliciting(id);
        }
        id
    }

    /// Interfaces, the loopback first.
    pub fn interfaces(&self) -> impl Iterator<Item = (InterfaceId, &Interface)> {
        let ids = (0..).map(InterfaceId);
        ids.zip(self.links.iter().map(|link| &link.interface))
    }

    /// One of them.
    #[must_use]
    pub fn interface(&self, id: InterfaceId) -> Option<&Interface> {
        self.link(id).map(|link| &link.interface)
    }

    pub(crate) fn link(&self, id: InterfaceId) -> Option<&Link> {
        self.links.get(id.0 as usize)
    }

    pub(crate) fn link_mut(&mut self, id: InterfaceId) -> Option<&mut Link> {
        self.links.get_mut(id.0 as usize)
    }

    /// Time does not go back.
    pub(crate) fn advance(&mut self, now: Nanos) {
        self.now = self.now.max(now);
    }

    /// Runs what is due and delivers what was sent to ourselves.
    pub fn poll(&mut self, now: Nanos) {
        self.advance(now);
        while let Some(timer) = self.timers.due(self.now) {
            self.run(timer);
        }
        for _ in 0..MOST_LOOPED {
            if !self.deliver_looped() {
                break;
            }
        }
    }

    fn run(&mut self, timer: Timer) {
        match timer {
            Timer::Socket(handle) => self.tick_socket(handle),
            Timer::TimeWait => self.end_time_waits(),
            Timer::Neighbours => self.tick_neighbours(),
            Timer::Reassembly => self.tick_reassembly(),
            Timer::Dhcp(id) => self.tick_dhcp(id),
            Timer::Router(id) => self.tick_router(id),
        }
    }

    /// When [`Stack::poll`] is to be called next, if nothing else happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        if self.has_looped() {
            return Some(self.now);
        }
        self.timers.first()
    }

    /// The next socket whose readiness may have changed; it is named once for each change or more.
    pub fn next_changed(&mut self) -> Option<Handle> {
        while let Some(handle) = self.changed.pop_front() {
            if let Some(socket) = self.sockets.get_mut(handle) {
                socket.common_mut().listed = false;
                if matches!(socket, Socket::Stream(tcp) if tcp.orphan) {
                    continue;
                }
                return Some(handle);
            }
        }
        None
    }

    pub(crate) fn note_changed(&mut self, handle: Handle) {
        if let Some(socket) = self.sockets.get_mut(handle)
            && !core::mem::replace(&mut socket.common_mut().listed, true)
        {
            self.changed.push_back(handle);
        }
    }

    /// Bytes that all sockets' buffers take.
    #[must_use]
    pub const fn memory_used(&self) -> usize {
        self.memory.used()
    }

    /// Sockets there are, those included that no program has any more.
    #[must_use]
    pub fn socket_count(&self) -> usize {
        self.sockets.len()
    }

    pub(crate) fn schedule_neighbours(&mut self) {
        let wanted = self.neighbours.deadline();
        let mut at = self.neighbours_at;
        self.timers.schedule(Timer::Neighbours, &mut at, wanted);
        self.neighbours_at = at;
    }
}
