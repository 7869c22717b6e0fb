//! A DHCP client (RFC 2131): a machine of messages and time, and how the stack drives it.

mod link;
pub(crate) mod message;

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use message::{Answer, Kind, Question};

use crate::interface::Mac;
use crate::time::Nanos;

/// What a server has granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Our address.
    pub address: Ipv4Addr,
    /// How many of its first bits are the network's.
    pub prefix: u8,
    /// The routers, the preferred one first.
    pub routers: Vec<Ipv4Addr>,
    /// The DNS servers, the preferred one first.
    pub dns_servers: Vec<Ipv4Addr>,
    /// The domain.
    pub domain: Option<String>,
    /// Our name.
    pub host_name: Option<String>,
    /// The largest packet of the link.
    pub mtu: Option<u16>,
    /// Who granted it.
    pub server: Ipv4Addr,
    /// Until when.
    pub until: Nanos,
}

/// What it is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Looks for a server.
    Selecting,
    /// Has asked for what this server offered.
    Requesting { server: Ipv4Addr, address: Ipv4Addr },
    /// Has a lease, until it is to be renewed.
    Bound,
    /// Asks its server for more time.
    Renewing,
    /// Asks any server.
    Rebinding,
}

/// What came of a message or of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    None,
    /// There is a new lease, or an old one goes on.
    Granted,
    /// The lease is over.
    Lost(Lease),
}

/// A message, and to whom if not to everybody.
type Outgoing = (Vec<u8>, Option<Ipv4Addr>);

/// A client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    state: State,
    mac: Mac,
    name: Option<String>,
    transaction: u32,
    lease: Option<Lease>,
    renew_at: Nanos,
    rebind_at: Nanos,
    /// When to send or to give up.
    at: Nanos,
    tries: u32,
}

const FIRST_WAIT: Nanos = Nanos::from_secs(2);
const MOST_TRIES: u32 = 5;
const LEAST_RETRY: Nanos = Nanos::from_secs(60);

impl Client {
    pub(crate) fn new(mac: Mac, name: Option<String>, transaction: u32, now: Nanos) -> Self {
        Self {
            state: State::Selecting,
            mac,
            name,
            transaction,
            lease: None,
            renew_at: Nanos::MAX,
            rebind_at: Nanos::MAX,
            at: now,
            tries: 0,
        }
    }

    pub(crate) const fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    pub(crate) const fn deadline(&self) -> Nanos {
        self.at
    }

    /// Something may be due: what to send, or that the lease is over.
    pub(crate) fn tick(&mut self, now: Nanos) -> (Event, Option<Outgoing>) {
        if now < self.at {
            return (Event::None, None);
        }
        if self.lease.as_ref().is_some_and(|lease| lease.until <= now) {
            let old = self.lease.take();
            self.restart(now);
            return (old.map_or(Event::None, Event::Lost), None);
        }
        if self.state == State::Bound {
            self.state = State::Renewing;
        }
        if self.state == State::Renewing && now >= self.rebind_at {
            self.state = State::Rebinding;
        }
        if matches!(self.state, State::Requesting { .. }) && self.tries >= MOST_TRIES {
            self.restart(now);
        }
        let message = self.question();
        self.tries += 1;
        self.at = self.next_try(now);
        (Event::None, Some(message))
    }

    fn restart(&mut self, now: Nanos) {
        self.state = State::Selecting;
        self.transaction = self.transaction.wrapping_mul(5).wrapping_add(1);
        self.tries = 0;
        self.at = now;
    }

    fn next_try(&self, now: Nanos) -> Nanos {
        let until = |end: Nanos| {
            let half = Nanos((end - now).0 / 2).max(LEAST_RETRY);
            now + half
        };
        let lease_end = self.lease.as_ref().map_or(Nanos::MAX, |lease| lease.until);
        match self.state {
            State::Renewing => until(self.rebind_at)
                .min(self.rebind_at.max(now + LEAST_RETRY))
                .min(lease_end),
            State::Rebinding => until(lease_end).min(lease_end),
            _ => now + FIRST_WAIT.times(1 << self.tries.min(5).saturating_sub(1)),
        }
    }

    fn question(&self) -> Outgoing {
        let has = self.lease.as_ref();
        let mut question = Question {
            kind: Kind::Request,
            transaction: self.transaction,
            mac: self.mac,
            current: None,
            wanted: None,
            server: None,
            host_name: self.name.as_deref(),
        };
        let mut to = None;
        match self.state {
            State::Selecting => question.kind = Kind::Discover,
            State::Requesting { server, address } => {
                question.wanted = Some(address);
                question.server = Some(server);
            }
            State::Bound | State::Renewing => {
                question.current = has.map(|lease| lease.address);
                to = has.map(|lease| lease.server);
            }
            State::Rebinding => question.current = has.map(|lease| lease.address),
        }
        (question.encode(), to)
    }

    /// A server's message.
    pub(crate) fn input(&mut self, bytes: &[u8], now: Nanos) -> Event {
        let Some(answer) = message::parse(bytes) else {
            return Event::None;
        };
        if answer.transaction != self.transaction || answer.mac != self.mac {
            return Event::None;
        }
        match (self.state, answer.kind) {
            (State::Selecting, Kind::Offer) => {
                self.accept_offer(&answer, now);
                Event::None
            }
            (State::Requesting { .. } | State::Renewing | State::Rebinding, Kind::Acknowledge) => {
                self.bind(answer, now)
            }
            (State::Requesting { .. } | State::Renewing | State::Rebinding, Kind::Refuse) => {
                let old = self.lease.take();
                self.restart(now);
                self.at = now + FIRST_WAIT;
                old.map_or(Event::None, Event::Lost)
            }
            _ => Event::None,
        }
    }

    fn accept_offer(&mut self, answer: &Answer, now: Nanos) {
        let Some(server) = answer.server.filter(|_| is_usable(answer.address)) else {
            return;
        };
        self.state = State::Requesting {
            server,
            address: answer.address,
        };
        self.tries = 0;
        self.at = now;
    }

    fn bind(&mut self, answer: Answer, now: Nanos) -> Event {
        let known = self.lease.as_ref().map(|lease| lease.server);
        let (Some(seconds), Some(server)) = (answer.lease, answer.server.or(known)) else {
            return Event::None;
        };
        if !is_usable(answer.address) || seconds == 0 {
            return Event::None;
        }
        let after = |seconds: u32| {
            if seconds == u32::MAX {
                Nanos::MAX
            } else {
                now + Nanos::from_secs(u64::from(seconds))
            }
        };
        self.renew_at = after(answer.renew.filter(|t| *t < seconds).unwrap_or(seconds / 2));
        self.rebind_at = after(
            answer
                .rebind
                .filter(|t| *t < seconds)
                .unwrap_or(seconds / 8 * 7),
        );
        let ones = answer.mask.map_or(24, |mask| mask.to_bits().leading_ones());
        self.lease = Some(Lease {
            address: answer.address,
            prefix: u8::try_from(ones).unwrap_or(24),
            routers: answer.routers,
            dns_servers: answer.dns_servers,
            domain: answer.domain,
            host_name: answer.host_name,
            mtu: answer.mtu.filter(|mtu| *mtu >= 576),
            server,
            until: after(seconds),
        });
        self.state = State::Bound;
        self.tries = 0;
        self.at = self.renew_at;
        Event::Granted
    }
}

fn is_usable(address: Ipv4Addr) -> bool {
    !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && !address.is_broadcast()
}

#[cfg(test)]
mod tests;
