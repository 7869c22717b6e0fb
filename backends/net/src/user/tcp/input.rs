//! What the guest's segments do (RFC 9293, 3.10.7), for a receiver that keeps nothing.

use std::io;
use std::net::SocketAddr;

use super::super::common::{About, Common};
use super::super::packet::{ACK, FIN, RST, SYN, Segment};
use super::super::slab::Id;
use super::super::sockets;
use super::flow::{Flow, Key, State, before};
use super::open::reset_stranger;
use super::time::{DELAY, LINGER, timeout};
use super::{Arrival, Tcp};

/// Acknowledgements of the same number that mean a loss.
const DUPLICATES: u8 = 3;
/// Most acknowledgements that are sent at once.
const ACKS_MAX: u8 = 8;

impl Tcp {
    /// A segment of the guest.
    pub(in crate::user) fn input(&mut self, common: &mut Common, mut arrival: Arrival<'_>) {
        let segment = arrival.segment;
        let key = Key {
            guest: SocketAddr::new(arrival.packet.source, segment.source),
            remote: SocketAddr::new(arrival.packet.destination, segment.destination),
        };
        let greets = segment.has(SYN) && !segment.has(ACK) && !segment.has(RST);
        let mut known = self.keys.get(&key).copied();
        if let Some(id) = known
            && greets
            && self
                .flows
                .get_mut(id)
                .is_some_and(|flow| flow.state == State::Lingering)
        {
            self.remove(id);
            known = None;
        }
        match known {
            Some(id) => self.known(common, &mut arrival, id),
            None if segment.has(RST) => {}
            None if greets => self.call_out(common, &arrival, key),
            None => reset_stranger(common, &arrival, key),
        }
    }

    fn known(&mut self, common: &mut Common, arrival: &mut Arrival<'_>, id: Id) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        let segment = arrival.segment;
        flow.pair = arrival.pair;
        if segment.has(RST) {
            if is_valid_reset(flow, &segment) {
                self.was_reset(id);
            }
            return;
        }
        match flow.state {
            State::Connecting => {}
            State::Calling => self.answer_to_call(common, arrival, id),
            State::Lingering if segment.span() > 0 => {
                let next = flow.next;
                flow.say(arrival.guest, ACK, next);
            }
            State::Lingering => {}
            State::Answering | State::Open if segment.has(SYN) => {
                if flow.state == State::Answering {
                    self.greet(arrival.guest, id);
                } else {
                    // Whoever greets again learns where we are (RFC 5961, 4).
                    flow.acks = 1;
                    self.queue(id);
                }
            }
            State::Answering | State::Open => self.go_on(common, arrival, id),
        }
    }

    fn was_reset(&mut self, id: Id) {
        if let Some(socket) = self.remove(id).and_then(|flow| flow.socket) {
            sockets::reset(socket);
        }
    }

    fn answer_to_call(&mut self, common: &mut Common, arrival: &mut Arrival<'_>, id: Id) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        let segment = arrival.segment;
        if segment.has(ACK) && segment.acknowledged != flow.next {
            let key = flow.key;
            return reset_stranger(common, arrival, key);
        }
        if segment.has(ACK) && segment.has(SYN) {
            self.answered(common, id, &segment);
        }
    }

    fn go_on(&mut self, common: &mut Common, arrival: &mut Arrival<'_>, id: Id) {
        let segment = arrival.segment;
        if !segment.has(ACK) {
            return;
        }
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        let state = flow.state;
        if acknowledge(common, flow, &segment).is_err() {
            return self.abort(common, arrival.guest, id);
        }
        if state == State::Answering {
            if flow.una != flow.next {
                return;
            }
            flow.readable = true;
            self.opened(common, id);
        }
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        if receive(common, flow, arrival, id).is_err() {
            return self.abort(common, arrival.guest, id);
        }
        if flow.delayed == 0 && flow.acks == 0 && flow.expected != flow.acked {
            self.delay(common, id);
        }
        self.settle(common, id);
    }

    /// Has what was taken acknowledged soon, alone if nothing else is said.
    fn delay(&mut self, common: &Common, id: Id) {
        if let Some(flow) = self.flows.get_mut(id) {
            flow.delayed = common.now + DELAY;
            self.delayed.push_back((flow.delayed, id));
        }
    }

    /// What follows from a segment: something to send, a deadline, the end.
    fn settle(&mut self, common: &Common, id: Id) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        if flow.is_over() && flow.acks == 0 && flow.delayed == 0 {
            return self.linger(common, id);
        }
        let wants = flow.acks > 0
            || flow.is_over()
            || flow.readable && (flow.usable() > 0 || !flow.timing)
            || flow.host_end && !flow.fin_sent;
        if wants {
            self.queue(id);
        }
        self.arm(id);
    }

    /// Closes a flow's socket, and answers for a while longer.
    pub(super) fn linger(&mut self, common: &Common, id: Id) {
        if let Some(flow) = self.flows.get_mut(id) {
            // What was not taken from the queue would make a reset of the end.
            let _ = flow.drop_acknowledged(true);
            flow.socket = None;
            flow.state = State::Lingering;
            flow.deadline = common.now + LINGER;
            self.arm(id);
        }
    }
}

/// Whether a reset is meant for this connection, and not left over from another.
fn is_valid_reset(flow: &Flow, segment: &Segment) -> bool {
    match flow.state {
        State::Calling => segment.has(ACK) && segment.acknowledged == flow.next,
        _ => {
            let at = segment.sequence;
            at == flow.expected || before(flow.expected, at) && before(at, flow.edge)
        }
    }
}

/// What the guest has, and how much it takes.
fn acknowledge(common: &mut Common, flow: &mut Flow, segment: &Segment) -> io::Result<()> {
    let number = segment.acknowledged;
    let window = u32::from(segment.window) << flow.shift.unwrap_or(0);
    if before(flow.una, number) && !before(flow.furthest, number) {
        progress(common, flow, number)?;
    } else if number == flow.una {
        let repeated = segment.span() == 0 && window == flow.window && flow.in_flight() > 0;
        flow.duplicates = if repeated { flow.duplicates + 1 } else { 0 };
        // Of few segments in flight there cannot be three answers (RFC 5827).
        let few = flow.in_flight() <= 3 * u32::from(flow.mss);
        if flow.duplicates == DUPLICATES || few && flow.duplicates == 1 {
            common.counters.retransmitted += 1;
            let duplicates = flow.duplicates;
            flow.rewind()?;
            // Those on their way mean nothing new.
            flow.duplicates = duplicates.max(DUPLICATES);
        }
        flow.duplicates = flow.duplicates.min(DUPLICATES + 1);
    } else {
        // Older than what is known, window and all.
        return Ok(());
    }
    if window > flow.window && flow.in_flight() == 0 {
        flow.rest(common.now);
    }
    flow.window = window;
    Ok(())
}

fn progress(common: &Common, flow: &mut Flow, number: u32) -> io::Result<()> {
    flow.una = number;
    flow.duplicates = 0;
    flow.tries = 0;
    let overtaken = before(flow.next, number);
    if overtaken {
        flow.next = number;
    }
    // The end is the last number that was ever sent.
    if flow.host_end && number == flow.furthest && flow.fin_number == Some(number) {
        flow.fin_acked = true;
        flow.fin_sent = true;
    }
    // One that does not remember hides its end behind what was looked at already.
    let hides_end = !flow.offsets && flow.host_closing;
    flow.drop_acknowledged(overtaken || hides_end)?;
    flow.readable |= hides_end && !flow.host_end;
    if overtaken {
        flow.place_look()?;
    }
    if flow.in_flight() == 0 {
        flow.rest(common.now);
    } else {
        flow.timing = true;
        flow.deadline = common.now + timeout(0);
    }
    Ok(())
}

/// Hands the guest's bytes to the socket, in order, as many as it takes.
fn receive(
    common: &mut Common,
    flow: &mut Flow,
    arrival: &mut Arrival<'_>,
    id: Id,
) -> io::Result<()> {
    let segment = arrival.segment;
    if segment.span() == 0 {
        // One who asks whether somebody is there names an old number.
        if before(segment.sequence, flow.expected) {
            flow.acks = flow.acks.max(1);
            if flow.blocked {
                // The host says that there is room only when there is much.
                flow.look_for_room();
            }
        }
        return Ok(());
    }
    let known = flow.expected.wrapping_sub(segment.sequence);
    if known as i32 > segment.span() as i32 - 1 || (known as i32) < 0 || flow.guest_end {
        common.counters.out_of_order += 1;
        // One for each: three make the guest send again what is missing.
        flow.acks = (flow.acks + 1).min(ACKS_MAX);
        let end = segment.sequence.wrapping_add(segment.span());
        let is_offered = !before(flow.edge, end);
        if (known as i32) < 0 && before(flow.lost, end) && is_offered {
            flow.lost = end;
        }
        return Ok(());
    }
    let fresh = segment.length.saturating_sub(known as usize);
    let offered = flow.edge.wrapping_sub(flow.expected) as usize;
    let take = fresh.min(offered);
    arrival.source.skip(segment.start + known as usize);
    let taken = hand_over(flow, arrival, take)?;
    let had_hole = flow.has_hole();
    flow.expected = flow.expected.wrapping_add(taken as u32);
    flow.room = flow.room.saturating_sub(taken as u32);
    if flow.has_hole() {
        // What followed on the hole was dropped too, and its sender is told as if it were lost now.
        flow.acks = flow.acks.max(4);
    } else {
        flow.lost = flow.expected;
        // Now more is offered again.
        flow.acks = flow.acks.max(u8::from(had_hole));
    }
    if taken < fresh {
        flow.dropped = true;
        flow.acks = flow.acks.max(1);
    }
    if taken < take {
        flow.room = 0;
        flow.blocked = true;
    } else if !flow.blocked && flow.is_room_to_be_asked() {
        flow.ask_room();
        wait_for_room(common, flow, id);
    }
    if segment.has(FIN) && taken == fresh {
        flow.expected = flow.expected.wrapping_add(1);
        flow.acks = flow.acks.max(1);
        flow.end_of_guest(common.now);
    }
    let due = flow.expected.wrapping_sub(flow.acked);
    if due >= u32::from(flow.mss).min(16 << 10) || due >= flow.room_asked / 4 {
        flow.acks = flow.acks.max(1);
    }
    Ok(())
}

/// A socket with little room says when it has more.
fn wait_for_room(common: &Common, flow: &mut Flow, id: Id) {
    if flow.is_cramped()
        && let Some(socket) = &flow.socket
    {
        flow.blocked = true;
        flow.acks = flow.acks.max(1);
        common.watch_again(socket, About::Tcp(id));
    }
}

fn hand_over(flow: &Flow, arrival: &mut Arrival<'_>, take: usize) -> io::Result<usize> {
    let (Some(socket), true) = (&flow.socket, take > 0) else {
        return Ok(0);
    };
    match arrival.source.send(std::os::fd::AsFd::as_fd(socket), take) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        sent => sent,
    }
}
