//! TCP: connections of the guest, each with a socket of the host.
//!
//! `flow` is one connection, `stamp` a header of its segments, `open` its beginning, `input` what the guest's segments do to it,
//! `output` what is sent to the guest, `time` what happens when nothing happens.

mod flow;
mod input;
mod open;
mod output;
mod stamp;
mod time;

pub(super) use time::DELAY;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use super::common::{About, Common};
use super::packet::{ACK, Packet, RST, Segment};
use super::slab::{Id, Slab};
use super::sockets;
use crate::network::{Guest, Source};
use flow::{Flow, Key, State};
use stamp::Stamp;

/// Connections at once, and those among them that are not yet open.
const FLOWS_MAX: usize = 16_384;
const HALF_OPEN_MAX: usize = 8_192;

#[derive(Default)]
pub(super) struct Tcp {
    flows: Slab<Flow>,
    keys: HashMap<Key, Id>,
    /// Those that may have something to send to the guest.
    ready: VecDeque<Id>,
    delayed: VecDeque<(u64, Id)>,
    timers: BinaryHeap<Reverse<(u64, Id)>>,
    half_open: usize,
    most: usize,
    secret: RandomState,
    /// Where the search for a free port goes on.
    next_port: u16,
}

/// A segment that has come.
pub(super) struct Arrival<'a> {
    pub(super) packet: &'a Packet,
    pub(super) segment: Segment,
    pub(super) source: &'a mut dyn Source,
    pub(super) guest: &'a dyn Guest,
    pub(super) pair: usize,
    pub(super) mac: [u8; 6],
}

impl Tcp {
    /// With at most so many connections.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.min(FLOWS_MAX),
            ..Self::default()
        }
    }

    /// Connections that there are.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.flows.len() >= self.most || self.half_open >= HALF_OPEN_MAX
    }

    /// Has it looked at when something is sent next.
    fn queue(&mut self, id: Id) {
        if let Some(flow) = self.flows.get_mut(id)
            && !flow.is_ready
        {
            flow.is_ready = true;
            self.ready.push_back(id);
        }
    }

    /// Lists a flow's deadline, if it is not listed early enough.
    fn arm(&mut self, id: Id) {
        if let Some(flow) = self.flows.get_mut(id)
            && flow.deadline < flow.listed
        {
            flow.listed = flow.deadline;
            self.timers.push(Reverse((flow.deadline, id)));
        }
    }

    fn insert(&mut self, flow: Flow) -> Id {
        let key = flow.key;
        self.half_open += 1;
        let id = self.flows.insert(flow);
        self.keys.insert(key, id);
        id
    }

    /// Notes that a flow is open.
    fn opened(&mut self, common: &Common, id: Id) {
        if let Some(flow) = self.flows.get_mut(id)
            && is_half_open(flow.state)
        {
            flow.state = State::Open;
            flow.tries = 0;
            flow.rest(common.now);
            self.half_open -= 1;
        }
    }

    /// Forgets a flow.
    fn remove(&mut self, id: Id) -> Option<Flow> {
        let flow = self.flows.remove(id)?;
        self.keys.remove(&flow.key);
        if is_half_open(flow.state) {
            self.half_open -= 1;
        }
        Some(flow)
    }

    /// Ends a flow for both sides.
    fn abort(&mut self, common: &mut Common, guest: &dyn Guest, id: Id) {
        let Some(mut flow) = self.remove(id) else {
            return;
        };
        if flow.state == State::Connecting {
            refuse(common, guest, &flow);
        } else if flow.state != State::Lingering {
            let next = flow.next;
            flow.say(guest, RST | ACK, next);
        }
        // After the guest's end the host has all of it, and says itself what was not taken.
        if let Some(socket) = flow.socket.take().filter(|_| !flow.guest_end) {
            sockets::reset(socket);
        }
    }

    /// Ends all flows; the guest is not told.
    pub(super) fn clear(&mut self) {
        for id in self.keys.drain().map(|(_, id)| id) {
            if let Some(socket) = self.flows.remove(id).and_then(|flow| flow.socket) {
                sockets::reset(socket);
            }
        }
        self.ready.clear();
        self.delayed.clear();
        self.timers.clear();
        self.half_open = 0;
    }

    /// Something happened to a flow's socket.
    pub(super) fn event(
        &mut self,
        common: &mut Common,
        guest: &dyn Guest,
        id: Id,
        (writable, closing): (bool, bool),
    ) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        flow.host_closing |= closing;
        if flow.state == State::Connecting {
            return self.connected(common, guest, id);
        }
        flow.readable = !flow.host_end;
        if writable && flow.blocked {
            flow.ask_room();
            if flow.room == 0 {
                if let Some(socket) = &flow.socket {
                    common.watch_again(socket, About::Tcp(id));
                }
            } else {
                flow.unblock();
            }
        }
        self.queue(id);
    }

    /// A number to begin with that nobody can guess.
    fn first_number(&self, key: &Key, now: u64) -> u32 {
        let time = (now >> 6) as u32;
        (self.secret.hash_one(key) as u32).wrapping_add(time)
    }
}

const fn is_half_open(state: State) -> bool {
    matches!(state, State::Connecting | State::Answering | State::Calling)
}

/// Refuses a connection that the guest asked for.
fn refuse(common: &mut Common, guest: &dyn Guest, flow: &Flow) {
    let stamp = Stamp {
        route: flow.route(),
        ports: [flow.key.remote.port(), flow.key.guest.port()],
        sequence: 0,
        acknowledged: flow.expected,
        flags: RST | ACK,
        window: 0,
        mss: 0,
        scale: false,
        cut: u16::MAX,
    };
    common.say(guest, flow.pair, stamp.head(0), &[]);
}
