//! What is sent to the guest.

use std::io;

use super::super::common::Common;
use super::super::packet::PSH;
use super::super::slab::Id;
use super::Tcp;
use super::flow::{Flow, LAST, PLAIN, State};
use super::open::greeted;
use super::time::timeout;
use crate::network::{Delivery, Guest};

/// Longest payload of a frame: what an IP packet of the longest length has behind its headers.
const PAYLOAD_MAX: u32 = 65_535 - 60;
/// What is offered to a flow whose last piece was no longer: it fits into one of the guest's
/// buffers, and most requests are short. A piece that fills it is not the last.
const SHORT: u32 = 3 << 10;
/// Frames of one flow before it is another's turn, and of all before others are let in.
const TURN: usize = 8;
const TURNS: usize = 4;

/// How a turn of a flow ended.
enum Turn {
    Idle,
    More,
    NoRoom,
}

impl Tcp {
    /// Sends what there is, as far as the guest has buffers; whether there is more to do.
    pub(in crate::user) fn pump(&mut self, common: &mut Common, guest: &dyn Guest) -> bool {
        let mut turns = 0;
        while let Some(id) = self.ready.pop_front() {
            let Some(flow) = self.flows.get_mut(id) else {
                continue;
            };
            flow.is_ready = false;
            match turn(common, flow, guest) {
                Ok(Turn::Idle) => self.after(common, id),
                Ok(Turn::More) => {
                    self.queue(id);
                    self.arm(id);
                    turns += 1;
                }
                Ok(Turn::NoRoom) => {
                    flow.is_ready = true;
                    self.ready.push_front(id);
                    return false;
                }
                Err(_) => self.abort(common, guest, id),
            }
            if turns >= TURNS {
                return true;
            }
        }
        false
    }

    fn after(&mut self, common: &Common, id: Id) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        if flow.state == State::Open && flow.is_over() && flow.acks == 0 {
            return self.linger(common, id);
        }
        self.arm(id);
    }
}

fn turn(common: &mut Common, flow: &mut Flow, guest: &dyn Guest) -> io::Result<Turn> {
    if flow.greeting_waits && matches!(flow.state, State::Calling | State::Answering) {
        return Ok(if greeted(flow, guest) {
            Turn::Idle
        } else {
            Turn::NoRoom
        });
    }
    if flow.state != State::Open {
        return Ok(Turn::Idle);
    }
    for _ in 0..TURN {
        let most = next_length(flow, guest);
        if most == 0 {
            return finish(common, flow, guest);
        }
        match flow.say_data(guest, PLAIN | PSH, most as usize) {
            Ok(Delivery::Done { moved: 0, .. }) => {
                flow.host_end = true;
                flow.readable = false;
            }
            Ok(Delivery::Done { moved, room }) => {
                common.counters.to_guest += 1;
                flow.next = flow.next.wrapping_add(moved as u32);
                if super::flow::before(flow.furthest, flow.next) {
                    flow.furthest = flow.next;
                }
                flow.readable = moved == room || flow.host_closing;
                flow.is_short = moved < room && moved <= SHORT as usize;
                flow.was_acknowledged();
                start_timer(common, flow);
            }
            Ok(Delivery::NoRoom) => return Ok(Turn::NoRoom),
            Ok(Delivery::Lost) => return Ok(Turn::Idle),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => flow.readable = false,
            Err(error) => return Err(error),
        }
    }
    Ok(Turn::More)
}

/// How long the next segment may be; zero for none.
fn next_length(flow: &mut Flow, guest: &dyn Guest) -> u32 {
    if !flow.readable || flow.host_end {
        return 0;
    }
    let usable = flow.usable();
    let mss = u32::from(flow.mss);
    // Crumbs wait for the answer to what is on its way (RFC 9293, 3.8.6.2.1).
    if usable == 0 || usable < mss && flow.in_flight() > 0 {
        return 0;
    }
    let abilities = guest.abilities();
    let cuts = if flow.key.remote.is_ipv4() {
        abilities.segments_v4
    } else {
        abilities.segments_v6
    };
    let most = match (cuts, flow.is_short) {
        (true, true) => SHORT,
        (true, false) => PAYLOAD_MAX,
        (false, _) => mss,
    };
    usable.min(most)
}

/// What is said when there are no bytes to send: the end, and what was received.
fn finish(common: &mut Common, flow: &mut Flow, guest: &dyn Guest) -> io::Result<Turn> {
    if flow.host_end && !flow.fin_sent {
        let next = flow.next;
        if !flow.say(guest, LAST, next) {
            return Ok(Turn::NoRoom);
        }
        flow.fin_sent = true;
        flow.next = next.wrapping_add(1);
        flow.fin_number = Some(flow.next);
        if super::flow::before(flow.furthest, flow.next) {
            flow.furthest = flow.next;
        }
        start_timer(common, flow);
    }
    while flow.acks > 0 {
        let next = flow.next;
        if !flow.say(guest, PLAIN, next) {
            return Ok(Turn::NoRoom);
        }
        common.counters.to_guest += 1;
    }
    if flow.readable && flow.usable() == 0 {
        start_timer(common, flow);
    }
    Ok(Turn::Idle)
}

/// Begins to wait for the guest.
fn start_timer(common: &Common, flow: &mut Flow) {
    if !flow.timing {
        flow.timing = true;
        flow.tries = 0;
        flow.deadline = common.now + timeout(0);
    }
}
