//! What follows when a connection was called: queues, timers, and its end.

use crate::addresses::Wish;
use crate::socket::{Handle, TcpState};
use crate::stack::{Connection, Socket, Stack};
use crate::tcp::{Context, Tuple};
use crate::time::Nanos;
use crate::timers::Timer;

/// As Linux' `tcp_max_tw_buckets` of a small machine.
const MOST_TIME_WAITS: usize = 65_536;

impl Stack {
    /// Looks the path up again if routes have changed.
    pub(crate) fn refresh_path(&mut self, handle: Handle) {
        let Some(Socket::Stream(tcp)) = self.sockets.get(handle) else {
            return;
        };
        let generation = self.routes.generation;
        if tcp.path.is_some_and(|path| path.generation == generation) {
            return;
        }
        let scope = tcp.common.remote.and_then(crate::datagram_calls::scope_of);
        let wish = Wish {
            source: Some(tcp.tuple.local.address),
            interface: tcp.common.options.interface.or(scope),
        };
        let path = self.path(tcp.tuple.remote.address, wish, self.now);
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return;
        };
        match path {
            Ok(path) => tcp.set_path(path),
            Err(error) => {
                tcp.path = None;
                tcp.unreachable(error, self.now, &mut self.memory);
            }
        }
    }

    pub(crate) fn tick_socket(&mut self, handle: Handle) {
        self.refresh_path(handle);
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return;
        };
        tcp.scheduled = Nanos::MAX;
        let mut cx = Context {
            now: self.now,
            memory: &mut self.memory,
        };
        tcp.tick(&mut cx);
        self.settle(handle);
    }

    /// Acts on what a connection wants after it was called.
    pub(crate) fn settle(&mut self, handle: Handle) {
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return;
        };
        let tuple = tcp.tuple;
        if tcp.take_reset_due() {
            let segment = tcp.reset_segment();
            let scope = tcp.path.map(|path| path.interface);
            self.send_control(&tuple, &segment, scope);
        }
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return;
        };
        let is_known = !tcp.orphan && tcp.parent.is_none();
        if core::mem::take(&mut tcp.changed) && is_known {
            self.note_changed(handle);
        }
        self.settle_state(handle, &tuple);
        self.settle_queue(handle);
    }

    fn settle_state(&mut self, handle: Handle, tuple: &Tuple) {
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return;
        };
        match tcp.state {
            TcpState::TimeWait if tcp.registered => {
                let remains = tcp.remains(self.now);
                tcp.registered = false;
                let is_orphan = tcp.orphan;
                self.send_control(tuple, &remains.acknowledgement(self.now), None);
                self.begin_time_wait(*tuple, remains);
                if is_orphan {
                    self.remove_socket(handle);
                }
            }
            TcpState::Closed => {
                if core::mem::take(&mut tcp.registered) {
                    self.forget_connection(tuple);
                }
                self.end_closed(handle);
            }
            _ => {}
        }
    }

    /// A closed connection that no program knows of is gone.
    fn end_closed(&mut self, handle: Handle) {
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return;
        };
        let (is_orphan, parent) = (tcp.orphan, tcp.parent);
        if let Some(parent) = parent {
            if let Some(Socket::Listener(listener)) = self.sockets.get_mut(parent) {
                if listener.ready.contains(&handle) {
                    // It is accepted as it is: the program learns of the end when it reads.
                    return;
                }
                listener.pending = listener.pending.saturating_sub(1);
            }
            self.remove_socket(handle);
        } else if is_orphan {
            self.remove_socket(handle);
        }
    }

    fn begin_time_wait(&mut self, tuple: Tuple, remains: crate::tcp::time_wait::Remains) {
        if self.time_waits.len() >= MOST_TIME_WAITS
            && let Some((_, oldest)) = self.time_waits.pop_front()
            && matches!(self.connections.get(&oldest), Some(Connection::TimeWait(_)))
        {
            self.forget_connection(&oldest);
        }
        self.time_waits.push_back((remains.until, tuple));
        self.connections
            .insert(tuple, Connection::TimeWait(remains));
        let (mut at, until) = (self.time_wait_at, remains.until);
        self.timers.schedule(Timer::TimeWait, &mut at, until);
        self.time_wait_at = at;
    }

    pub(crate) fn end_time_waits(&mut self) {
        self.time_wait_at = Nanos::MAX;
        let now = self.now;
        while let Some((until, tuple)) = self.time_waits.front().copied() {
            if until > now {
                break;
            }
            self.time_waits.pop_front();
            match self.connections.get(&tuple) {
                Some(Connection::TimeWait(remains)) if remains.until <= now => {
                    self.forget_connection(&tuple)
                }
                Some(Connection::TimeWait(remains)) => {
                    self.time_waits.push_back((remains.until, tuple))
                }
                _ => {}
            }
        }
        if let Some((until, _)) = self.time_waits.front().copied() {
            let mut at = Nanos::MAX;
            self.timers.schedule(Timer::TimeWait, &mut at, until);
            self.time_wait_at = at;
        }
    }

    /// Puts a connection into the queue of its interface, and its deadline among the timers.
    fn settle_queue(&mut self, handle: Handle) {
        let now = self.now;
        let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) else {
            return;
        };
        if !tcp.queued
            && tcp.has_output(now)
            && let Some(link) = tcp
                .path
                .and_then(|path| self.links.get_mut(path.interface.0 as usize))
        {
            tcp.queued = true;
            link.ready.push_back(handle);
        }
        let deadline = tcp.deadline();
        self.timers
            .schedule(Timer::Socket(handle), &mut tcp.scheduled, deadline);
    }
}
