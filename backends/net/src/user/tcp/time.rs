//! What happens when nothing happens: repeating, giving up, forgetting.

use std::cmp::Reverse;

use super::super::common::Common;
use super::super::packet::ACK;
use super::super::slab::Id;
use super::Tcp;
use super::flow::State;
use crate::network::Guest;

pub(super) type Nanos = u64;

const MILLISECOND: Nanos = 1_000_000;
const SECOND: Nanos = 1000 * MILLISECOND;
/// How long the host may take to connect.
pub(super) const CONNECT: Nanos = 130 * SECOND;
/// How long nothing may be said (RFC 5382, 5).
pub(super) const IDLE: Nanos = (2 * 3600 + 240) * SECOND;
/// How long a connection is remembered that is over.
pub(super) const LINGER: Nanos = SECOND;
/// How long an acknowledgement may wait for company.
pub(in crate::user) const DELAY: Nanos = 5 * MILLISECOND;
/// How long bytes may stay in a socket's queue that the guest has. They may keep the other side
/// from sending: the host opens a window only for whole segments.
pub(super) const LAZY: Nanos = 20 * MILLISECOND;
/// How long the guest may take to acknowledge, at first and at most.
const TIMEOUT_FIRST: Nanos = 200 * MILLISECOND;
const TIMEOUT_MAX: Nanos = 10 * SECOND;
/// How often is tried: to begin, and to go on.
const GREETINGS_MAX: u8 = 9;
const TRIES_MAX: u8 = 14;

/// How long to wait after so many tries.
pub(super) fn timeout(tries: u8) -> Nanos {
    (TIMEOUT_FIRST << tries.min(16)).min(TIMEOUT_MAX)
}

impl Tcp {
    /// When something is to be done, at the latest.
    pub(in crate::user) fn next_deadline(&mut self) -> Nanos {
        let timer = self.timers.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
        while let Some(&(at, id)) = self.delayed.front() {
            if self
                .flows
                .get_mut(id)
                .is_some_and(|flow| flow.delayed == at)
            {
                return timer.min(at);
            }
            // It went with something else; nobody is to wake for it.
            self.delayed.pop_front();
        }
        timer
    }

    /// Does what is due.
    pub(in crate::user) fn expire(&mut self, common: &mut Common, guest: &dyn Guest) {
        while let Some(&(at, id)) = self.delayed.front()
            && at <= common.now
        {
            self.delayed.pop_front();
            if let Some(flow) = self.flows.get_mut(id)
                && flow.delayed == at
            {
                flow.acks = flow.acks.max(1);
                self.queue(id);
            }
        }
        while let Some(id) = self.next_due(common.now) {
            let deadline = self.flows.get_mut(id).map(|flow| flow.deadline);
            if deadline.is_some_and(|deadline| deadline <= common.now) {
                self.time_out(common, guest, id);
            }
            self.arm(id);
        }
    }

    /// The next flow that is listed for `now` or before. It is listed no more.
    fn next_due(&mut self, now: Nanos) -> Option<Id> {
        while let Some(&Reverse((at, id))) = self.timers.peek()
            && at <= now
        {
            self.timers.pop();
            // One that was listed again, earlier, is looked at then.
            if let Some(flow) = self.flows.get_mut(id)
                && flow.listed == at
            {
                flow.listed = u64::MAX;
                return Some(id);
            }
        }
        None
    }

    fn time_out(&mut self, common: &mut Common, guest: &dyn Guest, id: Id) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        if flow.state == State::Open && !flow.timing && flow.is_lazy() {
            flow.deadline = common.now + IDLE;
            if flow.drop_acknowledged(true).is_err() {
                self.abort(common, guest, id);
            }
            return;
        }
        flow.tries = flow.tries.saturating_add(1);
        flow.deadline = common.now + timeout(flow.tries);
        match flow.state {
            State::Answering | State::Calling if flow.tries <= GREETINGS_MAX => {
                common.counters.retransmitted += 1;
                self.greet(guest, id);
            }
            State::Open if flow.timing && flow.tries <= TRIES_MAX => {
                self.repeat(common, guest, id);
            }
            State::Lingering => {
                self.remove(id);
            }
            _ => self.abort(common, guest, id),
        }
    }

    /// The guest does not acknowledge, or does not open its window.
    fn repeat(&mut self, common: &mut Common, guest: &dyn Guest, id: Id) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        if flow.in_flight() > 0 {
            common.counters.retransmitted += 1;
            if flow.rewind().is_err() {
                return self.abort(common, guest, id);
            }
            self.queue(id);
        } else {
            // An old number, which the guest answers with what it has and takes.
            let old = flow.una.wrapping_sub(1);
            // A guest that answers but takes nothing is alive.
            flow.tries = flow.tries.min(6);
            flow.say(guest, ACK, old);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::flow::{Flow, Key};
    use super::*;

    fn flow(port: u16) -> Flow {
        let end = SocketAddr::from(([10, 0, 2, 15], port));
        let key = Key {
            guest: end,
            remote: end,
        };
        Flow::new(key, State::Open, [2; 6], 1)
    }

    #[test]
    fn acknowledgements_that_went_with_something_else_are_nothing_to_wake_for() {
        let mut tcp = Tcp::new(16);
        let ids = [1, 2, 3].map(|port| tcp.insert(flow(port)));
        for (at, id) in (10..).zip(ids) {
            tcp.flows.get_mut(id).expect("it is there").delayed = at;
            tcp.delayed.push_back((at, id));
        }
        assert_eq!(tcp.next_deadline(), 10);
        tcp.flows
            .get_mut(ids[0])
            .expect("it is there")
            .was_acknowledged();
        tcp.remove(ids[1]);
        assert_eq!(tcp.next_deadline(), 12);
        tcp.flows
            .get_mut(ids[2])
            .expect("it is there")
            .was_acknowledged();
        assert_eq!(tcp.next_deadline(), u64::MAX);
    }

    #[test]
    fn a_flow_that_goes_on_is_listed_a_few_times_at_most() {
        let mut tcp = Tcp::new(16);
        let id = tcp.insert(flow(1));
        for now in (0..1000 * SECOND).step_by(LAZY as usize / 2) {
            for patience in [timeout(0), LAZY, timeout(0)] {
                tcp.flows.get_mut(id).expect("it is there").deadline = now + patience;
                tcp.arm(id);
            }
            while let Some(due) = tcp.next_due(now) {
                tcp.arm(due);
            }
        }
        assert!(tcp.timers.len() < 32, "{} entries", tcp.timers.len());
    }
}
