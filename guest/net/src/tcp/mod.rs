//! One TCP connection (RFC 9293), as a machine of segments, calls and time.
//!
//! A [`Tcp`] knows neither interfaces nor packets. What it wants to send it is asked for
//! ([`Tcp::next_segment`]) and told of once it is sent ([`Tcp::sent`]), so that a device that is full
//! costs nothing. What came is [`Tcp::input`]; when [`Tcp::deadline`] has come, [`Tcp::tick`].
//! After each of these its owner looks at the flags in [`Tcp`] and acts on them.
//!
//! * [`Sender`], `output`, `acknowledge`: what is sent, and RFC 6675's recovery from losses.
//! * [`Receiver`], `receive`: what arrives, in order or not, and the window.
//! * [`congestion`]: CUBIC; [`rtt`]: the retransmission timeout.
//! * `user`: what programs call. `listener`, `cookies`, `time_wait`: before and after a connection.

mod acknowledge;
pub(crate) mod congestion;
pub(crate) mod cookies;
mod handshake;
mod info;
mod input;
pub(crate) mod listener;
mod output;
mod receive;
mod receiver;
pub(crate) mod rtt;
mod sender;
pub(crate) mod time_wait;
mod timers;
mod user;

use core::hash::{Hash, Hasher};
use core::net::{IpAddr, SocketAddr};

use congestion::Congestion;
pub(crate) use handshake::Offer;
pub(crate) use input::Reply;
pub(crate) use output::{Emission, Limits};
use receiver::Receiver;
use rtt::Rtt;
use sender::Sender;
use timers::Deadlines;

use crate::address;
use crate::error::Error;
use crate::memory::{Memory, Ring};
use crate::route::Path;
use crate::seq::Seq;
use crate::socket::{Common, Handle, TcpState};
use crate::time::Nanos;
use crate::wire::tcp::{Flags, Segment};

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
}

impl Endpoint {
    pub(crate) const fn new(address: IpAddr, port: u16) -> Self {
        Self { address, port }
    }

    pub(crate) fn socket_address(self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

/// Both ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tuple {
    pub(crate) local: Endpoint,
    pub(crate) remote: Endpoint,
}

impl Tuple {
    fn words(&self) -> [u128; 2] {
        [
            address::bits(self.local.address),
            address::bits(self.remote.address),
        ]
    }

    fn ports(&self) -> u32 {
        u32::from(self.local.port) << 16 | u32::from(self.remote.port)
    }

    /// A hash that whoever lacks the key cannot foresee.
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    pub(crate) fn keyed(&self, key: crate::siphash::Key, extra: u64) -> u64 {
        let [local, remote] = self.words();
        key.hash(&[
            local as u64,
            (local >> 64) as u64,
            remote as u64,
            (remote >> 64) as u64,
            u64::from(self.ports()),
            extra,
        ])
    }
}

impl Hash for Tuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for word in self.words() {
            state.write_u128(word);
        }
        state.write_u32(self.ports());
    }
}

/// What a call on a connection is told.
pub(crate) struct Context<'a> {
    pub(crate) now: Nanos,
    pub(crate) memory: &'a mut Memory,
}

/// The window scale that a socket of these options offers.
pub(crate) fn scale_to_offer(options: &crate::socket::Options) -> u8 {
    Receiver::new(options).scale_to_offer()
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Tcp {
    pub(crate) common: Common,
    pub(crate) tuple: Tuple,
    pub(crate) state: TcpState,
    pub(crate) path: Option<Path>,
    /// The listener, until the connection is accepted.
    pub(crate) parent: Option<Handle>,
    /// Its peer has answered, but its listener's queue was full.
    pub(crate) answered: bool,
    /// No program has it.
    pub(crate) orphan: bool,
    /// It was made by a call of `connect`, of which the outcome has not been told.
    pub(crate) connecting: bool,
    /// The table of connections has its tuple.
    pub(crate) registered: bool,
    /// Stands in the queue of an interface, or waits for a neighbour.
    pub(crate) queued: bool,
    /// When its timer is called.
    pub(crate) scheduled: Nanos,
    /// Its readiness may have changed.
    pub(crate) changed: bool,
    sender: Sender,
    receiver: Receiver,
    congestion: Congestion,
    rtt: Rtt,
    deadlines: Deadlines,
    /// What is added to time in timestamps, so that they do not tell how long we are up.
    timestamp_offset: u32,
    timestamps: bool,
    sack: bool,
    count: info::Count,
}

impl Tcp {
    pub(crate) fn new(common: Common, tuple: Tuple, iss: Seq, timestamp_offset: u32) -> Self {
        Self {
            tuple,
            state: TcpState::Closed,
            path: None,
            parent: None,
            answered: false,
            orphan: false,
            connecting: false,
            registered: false,
            queued: false,
            scheduled: Nanos::MAX,
            changed: false,
            sender: Sender::new(iss),
            receiver: Receiver::new(&common.options),
            congestion: Congestion::default(),
            rtt: Rtt::default(),
            deadlines: Deadlines::default(),
            timestamp_offset,
            timestamps: true,
            sack: true,
            count: info::Count::default(),
            common,
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the clock wraps (RFC 7323, 5.4)"
    )]
    fn timestamp(&self, now: Nanos) -> u32 {
        (now.millis() as u32).wrapping_add(self.timestamp_offset)
    }

    /// Whether the handshake is over.
    pub(crate) const fn is_synchronized(&self) -> bool {
        !matches!(
            self.state,
            TcpState::Closed | TcpState::Listen | TcpState::SynSent | TcpState::SynReceived
        )
    }

    const fn may_send(&self) -> bool {
        matches!(self.state, TcpState::Established | TcpState::CloseWait)
    }

    const fn may_receive(&self) -> bool {
        matches!(
            self.state,
            TcpState::Established | TcpState::FinWait1 | TcpState::FinWait2
        )
    }

    /// The connection is over, with an error for the program if there is one.
    pub(crate) fn end(&mut self, error: Option<Error>, memory: &mut Memory) {
        if self.state == TcpState::Closed {
            return;
        }
        self.state = TcpState::Closed;
        if error.is_some() {
            self.common.error = error;
        }
        self.sender.release(memory);
        self.receiver.out_of_order.clear();
        self.receiver.ack_now = false;
        self.deadlines = Deadlines::default();
        self.changed = true;
    }

    /// Gives back all memory.
    pub(crate) fn release(&mut self, memory: &mut Memory) {
        self.sender.release(memory);
        self.receiver.ring.release(memory);
    }

    /// Only what a closed connection needs is left for `time_wait`.
    pub(crate) fn remains(&self, now: Nanos) -> time_wait::Remains {
        time_wait::Remains {
            send_next: self.sender.next,
            receive_next: self.receiver.next,
            window: self.receiver.window_field(),
            timestamps: self
                .timestamps
                .then_some((self.receiver.timestamp_recent, self.timestamp_offset)),
            until: now + time_wait::DURATION,
        }
    }
}

impl Tcp {
    /// Tells the peer that the connection is no more.
    pub(crate) fn reset_segment(&self) -> Segment {
        Segment {
            seq: self.sender.next,
            ack: self.receiver.next,
            flags: Flags::RST.with(Flags::ACK),
            ..Segment::default()
        }
    }

    /// The neighbour or the route is gone: a connection being made ends, another may come back.
    pub(crate) fn unreachable(&mut self, error: Error, now: Nanos, memory: &mut Memory) {
        if matches!(self.state, TcpState::SynSent | TcpState::SynReceived) {
            self.end(Some(error), memory);
            return;
        }
        self.count.soft_error = Some(error);
        self.receiver.ack_now = false;
        self.sender.probe_due = false;
        // What could not be sent counts as lost, so that this comes to an end.
        self.arm_persistence(now);
    }

    /// Lends what is to be sent to a delivery that does not call this connection.
    pub(crate) fn lend_buffer(&mut self) -> Ring {
        core::mem::take(&mut self.sender.ring)
    }

    pub(crate) fn return_buffer(&mut self, ring: Ring) {
        self.sender.ring = ring;
    }

    /// An acknowledgement of what is here.
    pub(crate) fn challenge(&self, now: Nanos) -> Segment {
        self.header(now)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_idle_connection_costs_little_more_than_a_kilobyte() {
        let entry = size_of::<(super::Tuple, crate::stack::Connection)>();
        let whole = size_of::<super::Tcp>() + 2 * entry + size_of::<crate::stack::Socket>();
        assert!(
            whole <= 1_280,
            "{whole}: {} and {entry}",
            size_of::<super::Tcp>()
        );
    }
}
