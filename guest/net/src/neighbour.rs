//! The Ethernet addresses of neighbours, for IPv4 (RFC 826) and IPv6 (RFC 4861) alike.

use alloc::vec::Vec;
use core::net::IpAddr;

use hashbrown::HashMap;

use crate::interface::{InterfaceId, Mac};
use crate::packet::Packet;
use crate::siphash::Key;
use crate::socket::Handle;
use crate::time::Nanos;

/// Who waits for a neighbour's answer.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) packets: Vec<Packet>,
    pub(crate) sockets: Vec<Handle>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Asked, without an answer so far.
    Incomplete,
    /// Confirmed until the deadline.
    Reachable,
    /// To be confirmed when it is used.
    Stale,
    /// Used while it is confirmed.
    Probe,
}

#[derive(Debug)]
struct Neighbour {
    mac: Mac,
    state: State,
    tries: u8,
    /// When to ask again, or when a confirmation ends.
    deadline: Nanos,
    used: Nanos,
    waiting: Waiting,
}

/// How a packet for a neighbour goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    Known(Mac),
    /// Known, but ask it whether it is there.
    Probe(Mac),
    /// Ask everybody.
    Ask,
    /// Was asked.
    Wait,
}

/// What is to be done as time passes.
#[derive(Debug)]
pub(crate) enum Due {
    Ask(InterfaceId, IpAddr, Option<Mac>),
    Failed(Waiting),
}

/// All neighbours.
#[derive(Debug)]
pub(crate) struct Neighbours {
    table: HashMap<(InterfaceId, u128), (IpAddr, Neighbour), Key>,
    evicted: Vec<Waiting>,
}

const MOST: usize = 1_024;
/// How many are looked at for one to give way; the keyed hash has put them there.
const SAMPLE: usize = 32;
const MOST_PACKETS: usize = 64;
const MOST_TRIES: u8 = 3;
const INTERVAL: Nanos = Nanos::from_secs(1);
const REACHABLE: Nanos = Nanos::from_secs(30);

impl Neighbours {
    pub(crate) fn new(key: Key) -> Self {
        Self {
            table: HashMap::with_hasher(key),
            evicted: Vec::new(),
        }
    }

    fn get(&mut self, interface: InterfaceId, address: IpAddr) -> Option<&mut Neighbour> {
        let key = (interface, crate::address::bits(address));
        self.table.get_mut(&key).map(|(_, neighbour)| neighbour)
    }

    /// A packet is to go to this neighbour.
    pub(crate) fn resolve(
        &mut self,
        interface: InterfaceId,
        address: IpAddr,
        now: Nanos,
    ) -> Resolution {
        if self.get(interface, address).is_none() {
            self.insert(interface, address, State::Incomplete, Mac::default(), now);
            return Resolution::Ask;
        }
        let Some(neighbour) = self.get(interface, address) else {
            return Resolution::Wait;
        };
        neighbour.used = now;
        match neighbour.state {
            State::Incomplete => Resolution::Wait,
            State::Reachable if neighbour.deadline > now => Resolution::Known(neighbour.mac),
            State::Probe => Resolution::Known(neighbour.mac),
            State::Reachable | State::Stale => {
                neighbour.state = State::Probe;
                neighbour.tries = 1;
                neighbour.deadline = now + INTERVAL;
                Resolution::Probe(neighbour.mac)
            }
        }
    }

    fn insert(
        &mut self,
        interface: InterfaceId,
        address: IpAddr,
        state: State,
        mac: Mac,
        now: Nanos,
    ) {
        if self.table.len() >= MOST {
            self.evict();
        }
        let neighbour = Neighbour {
            mac,
            state,
            tries: 1,
            deadline: now + INTERVAL,
            used: now,
            waiting: Waiting::default(),
        };
        let key = (interface, crate::address::bits(address));
        self.table.insert(key, (address, neighbour));
    }

    /// Makes room: among a few, one that has not answered, or the one unused for longest.
    fn evict(&mut self) {
        let rank = |neighbour: &Neighbour| (neighbour.state != State::Incomplete, neighbour.used);
        let some = self.table.iter().take(SAMPLE);
        let oldest = some.min_by_key(|(_, (_, neighbour))| rank(neighbour));
        let Some(key) = oldest.map(|(key, _)| *key) else {
            return;
        };
        if let Some((_, gone)) = self.table.remove(&key) {
            self.evicted.push(gone.waiting);
        }
    }

    /// Those who waited for neighbours that had to give way.
    pub(crate) fn take_evicted(&mut self) -> Vec<Waiting> {
        core::mem::take(&mut self.evicted)
    }

    /// A packet waits; the oldest gives way.
    pub(crate) fn wait_packet(
        &mut self,
        interface: InterfaceId,
        address: IpAddr,
        packet: Packet,
    ) -> Option<Packet> {
        let Some(neighbour) = self.get(interface, address) else {
            return Some(packet);
        };
        let packets = &mut neighbour.waiting.packets;
        let dropped = (packets.len() >= MOST_PACKETS).then(|| packets.remove(0));
        packets.push(packet);
        dropped
    }

    /// A socket waits.
    pub(crate) fn wait_socket(
        &mut self,
        interface: InterfaceId,
        address: IpAddr,
        handle: Handle,
    ) -> bool {
        let Some(neighbour) = self.get(interface, address) else {
            return false;
        };
        neighbour.waiting.sockets.push(handle);
        true
    }

    /// A neighbour said who it is: in an answer, which confirms it, or by asking. An unknown one is
    /// only remembered if `create`.
    pub(crate) fn learn(
        &mut self,
        (interface, address): (InterfaceId, IpAddr),
        mac: Mac,
        (confirmed, create): (bool, bool),
        now: Nanos,
    ) -> Waiting {
        if mac.is_multicast() || mac == Mac::default() {
            return Waiting::default();
        }
        if self.get(interface, address).is_none() {
            if create {
                self.insert(interface, address, State::Stale, mac, now);
            }
            return Waiting::default();
        }
        let Some(neighbour) = self.get(interface, address) else {
            return Waiting::default();
        };
        let changed = neighbour.mac != mac;
        neighbour.mac = mac;
        if confirmed || neighbour.state == State::Incomplete {
            neighbour.state = State::Reachable;
            neighbour.deadline = now + REACHABLE;
        } else if changed {
            neighbour.state = State::Stale;
        }
        core::mem::take(&mut neighbour.waiting)
    }

    /// What is due, and when to look again.
    pub(crate) fn tick(&mut self, now: Nanos) -> (Vec<Due>, Nanos) {
        let mut due = Vec::new();
        self.table.retain(|(interface, _), (address, neighbour)| {
            let is_asking = matches!(neighbour.state, State::Incomplete | State::Probe);
            if !is_asking || neighbour.deadline > now {
                return true;
            }
            if neighbour.tries >= MOST_TRIES {
                let waiting = core::mem::take(&mut neighbour.waiting);
                due.push(Due::Failed(waiting));
                return false;
            }
            neighbour.tries += 1;
            neighbour.deadline = now + INTERVAL;
            let mac = (neighbour.state == State::Probe).then_some(neighbour.mac);
            due.push(Due::Ask(*interface, *address, mac));
            true
        });
        (due, self.deadline())
    }

    /// When [`Neighbours::tick`] is to be called.
    pub(crate) fn deadline(&self) -> Nanos {
        let asking = self.table.values().filter_map(|(_, neighbour)| {
            matches!(neighbour.state, State::Incomplete | State::Probe)
                .then_some(neighbour.deadline)
        });
        asking.min().unwrap_or(Nanos::MAX)
    }

    /// How many packets wait for somebody's answer.
    pub(crate) fn waiting(&self) -> usize {
        let waiting = self.table.values().map(|(_, neighbour)| &neighbour.waiting);
        waiting.map(|waiting| waiting.packets.len()).sum()
    }

    /// Forgets those of an interface.
    pub(crate) fn forget(&mut self, interface: InterfaceId) -> Vec<Waiting> {
        let mut all = Vec::new();
        self.table.retain(|(id, _), (_, neighbour)| {
            if *id == interface {
                all.push(core::mem::take(&mut neighbour.waiting));
            }
            *id != interface
        });
        all
    }

    /// Those that are known.
    pub(crate) fn list(&self) -> impl Iterator<Item = (InterfaceId, IpAddr, Mac)> {
        let known = self
            .table
            .iter()
            .filter(|(_, (_, n))| n.state != State::Incomplete);
        known.map(|((interface, _), (address, neighbour))| (*interface, *address, neighbour.mac))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_is_asked_three_times_then_those_who_wait_are_told() {
        let mut neighbours = Neighbours::new(Key(1, 2));
        let (link, peer) = (InterfaceId(1), "192.0.2.1".parse().unwrap());
        let start = Nanos::from_secs(1);
        assert_eq!(neighbours.resolve(link, peer, start), Resolution::Ask);
        assert_eq!(neighbours.resolve(link, peer, start), Resolution::Wait);
        assert!(neighbours.wait_socket(
            link,
            peer,
            Handle {
                index: 1,
                generation: 1
            }
        ));
        let mut asked = 0;
        loop {
            let (due, _) = neighbours.tick(neighbours.deadline());
            match due.first() {
                Some(Due::Ask(..)) => asked += 1,
                Some(Due::Failed(waiting)) => {
                    assert_eq!(waiting.sockets.len(), 1);
                    break;
                }
                None => break,
            }
        }
        assert_eq!(asked, 2);
        assert_eq!(neighbours.deadline(), Nanos::MAX);
    }

    #[test]
    fn a_confirmation_grows_old_and_is_renewed_by_the_way() {
        let mut neighbours = Neighbours::new(Key(1, 2));
        let (link, peer) = (InterfaceId(1), "fe80::1".parse().unwrap());
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        neighbours.resolve(link, peer, Nanos::ZERO);
        neighbours.learn((link, peer), mac, (true, false), Nanos::ZERO);
        assert_eq!(
            neighbours.resolve(link, peer, Nanos::from_secs(29)),
            Resolution::Known(mac)
        );
        assert_eq!(
            neighbours.resolve(link, peer, Nanos::from_secs(31)),
            Resolution::Probe(mac)
        );
        assert_eq!(
            neighbours.resolve(link, peer, Nanos::from_secs(31)),
            Resolution::Known(mac)
        );
        neighbours.learn((link, peer), mac, (true, false), Nanos::from_secs(31));
        assert_eq!(
            neighbours.resolve(link, peer, Nanos::from_secs(60)),
            Resolution::Known(mac)
        );
    }
}
