//! What all protocols of the user network share.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::epoll;

use super::addresses::{Place, place};
use super::slab::Id;
use super::sockets::{Sockets, loopback};
use crate::network::{Body, Delivery, Guest, Head};
use crate::policy::Policy;

/// How long the list of the host's own addresses is believed.
const OWN_BELIEVED: u64 = 5_000_000_000;

/// What happened, for whoever asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that the guest sent.
    pub from_guest: u64,
    /// Frames for the guest.
    pub to_guest: u64,
    /// Frames that made no sense.
    pub malformed: u64,
    /// Packets with a wrong checksum.
    pub checksum: u64,
    /// Fragments of packets, which are not put together.
    pub fragments: u64,
    /// Segments that came out of order or twice.
    pub out_of_order: u64,
    /// Times that something was sent to the guest again.
    pub retransmitted: u64,
    /// Connections and datagrams that the policy forbids.
    pub denied: u64,
    /// Connections and datagrams beyond what is kept at once.
    pub limited: u64,
    /// Frames for which the guest had no buffers and that were lost.
    pub lost: u64,
    /// TCP connections opened, either way.
    pub connections: u64,
}

impl Counters {
    /// All of them, by name.
    pub(super) fn list(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("frames_from_guest", self.from_guest),
            ("frames_to_guest", self.to_guest),
            ("malformed", self.malformed),
            ("bad_checksums", self.checksum),
            ("fragments", self.fragments),
            ("out_of_order", self.out_of_order),
            ("retransmitted", self.retransmitted),
            ("denied", self.denied),
            ("limited", self.limited),
            ("lost", self.lost),
            ("connections", self.connections),
        ]
    }
}

/// What an event of the host is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Tcp(Id),
    Udp(Id),
    Listener(u32),
}

impl About {
    pub(super) fn to_data(self) -> u64 {
        let of = |tag: u64, id: Id| tag << 56 | (id.generation as u64) << 32 | id.number as u64;
        match self {
            Self::Tcp(id) => of(1, id),
            Self::Udp(id) => of(2, id),
            Self::Listener(number) => 3 << 56 | number as u64,
        }
    }

    pub(super) const fn from_data(data: u64) -> Option<Self> {
        let id = Id {
            number: data as u32,
            generation: (data >> 32) as u32 & 0xff_ffff,
        };
        match data >> 56 {
            1 => Some(Self::Tcp(id)),
            2 => Some(Self::Udp(id)),
            3 => Some(Self::Listener(id.number)),
            _ => None,
        }
    }
}

pub(super) struct Common {
    pub(super) epoll: Arc<OwnedFd>,
    pub(super) sockets: Box<dyn Sockets>,
    pub(super) policy: Policy,
    pub(super) resolvers: Vec<SocketAddr>,
    /// Which of them is asked.
    pub(super) resolver: usize,
    pub(super) mac: [u8; 6],
    pub(super) counters: Counters,
    /// When this was entered.
    pub(super) now: u64,
    /// The host's own addresses; while nobody knows them, nothing is allowed.
    own: Option<Vec<IpAddr>>,
    own_until: u64,
}

/// Where a flow of the guest really goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Host(SocketAddr),
    Denied,
}

impl Common {
    pub(super) fn new(
        epoll: Arc<OwnedFd>,
        sockets: Box<dyn Sockets>,
        policy: Policy,
        resolvers: Vec<SocketAddr>,
        mac: [u8; 6],
    ) -> Self {
        Self {
            epoll,
            sockets,
            policy,
            resolvers,
            resolver: 0,
            mac,
            counters: Counters::default(),
            now: 0,
            own: None,
            own_until: 0,
        }
    }

    /// Where `to` leads, if the policy lets it.
    pub(super) fn target(&mut self, to: SocketAddr) -> Target {
        let host = match place(to.ip()) {
            Place::Dns if to.port() == 53 && !self.policy.is_nothing() => self.asked_resolver(),
            Place::Gateway if self.policy.allows_loopback() => {
                Some(SocketAddr::new(loopback(to.ip()), to.port()))
            }
            Place::Elsewhere => {
                self.refresh_own();
                let own = self.own.as_ref();
                let allowed = own.is_some_and(|own| self.policy.allows(to.ip(), own));
                allowed.then_some(to)
            }
            _ => None,
        };
        match host {
            Some(host) if to.port() != 0 => Target::Host(host),
            _ => {
                self.counters.denied += 1;
                Target::Denied
            }
        }
    }

    fn asked_resolver(&self) -> Option<SocketAddr> {
        let count = self.resolvers.len().max(1);
        self.resolvers.get(self.resolver % count).copied()
    }

    fn refresh_own(&mut self) {
        if self.now >= self.own_until {
            if let Ok(own) = self.sockets.own_addresses() {
                self.own = Some(own);
            }
            self.own_until = self.now + OWN_BELIEVED;
        }
    }

    /// Tells of what happens to a socket, each change once.
    pub(super) fn watch(&self, socket: &OwnedFd, about: About) -> std::io::Result<()> {
        let data = epoll::EventData::new_u64(about.to_data());
        epoll::add(self.epoll.as_fd(), socket, data, events(about))?;
        Ok(())
    }

    /// Tells again of what is already the case.
    pub(super) fn watch_again(&self, socket: &OwnedFd, about: About) {
        let data = epoll::EventData::new_u64(about.to_data());
        // It was added; nothing else can be wrong.
        let _ = epoll::modify(self.epoll.as_fd(), socket, data, events(about));
    }

    /// Sends a frame that nobody repeats.
    pub(super) fn say(&mut self, guest: &dyn Guest, pair: usize, head: Head, body: &[u8]) {
        let length = head.bytes().len();
        let said = guest.deliver(pair, length, Body::Bytes(body), &mut |_| Some(head));
        match said {
            Ok(Delivery::Done { .. }) => self.counters.to_guest += 1,
            _ => self.counters.lost += 1,
        }
    }
}

fn events(about: About) -> epoll::EventFlags {
    let reading = epoll::EventFlags::IN | epoll::EventFlags::ET;
    match about {
        About::Tcp(_) => reading | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP,
        _ => reading,
    }
}
