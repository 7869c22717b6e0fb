//! What all sockets have, and the words in which one speaks about them.

use core::net::{IpAddr, SocketAddr};

use crate::error::Error;
use crate::interface::InterfaceId;
use crate::time::Nanos;

/// Names a socket. Of a socket that is gone it names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// What a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP: a connection, or a listener after [`crate::Stack::listen`].
    Stream,
    /// UDP.
    Datagram,
    /// ICMP echo requests and their replies.
    Echo,
    /// Packets of an IP protocol.
    Raw(u8),
}

/// The family of a socket's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6, and IPv4 as mapped addresses unless [`Options::only_v6`].
    V6,
}

/// Which directions [`crate::Stack::shutdown`] closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Nothing more is read.
    Read,
    /// Nothing more is written.
    Write,
    /// Both.
    Both,
}

/// How to write to a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteFlags {
    /// More follows at once: send nothing but full segments (`MSG_MORE`).
    pub more: bool,
    /// The last byte is urgent (`MSG_OOB`).
    pub urgent: bool,
}

/// What `setsockopt` sets. Defaults are Linux'.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option by itself")]
pub struct Options {
    /// Bytes that may be queued for sending (`SO_SNDBUF`, without its doubling); zero: as
    /// many as the path takes.
    pub send_buffer: u32,
    /// Bytes that may be queued unread (`SO_RCVBUF`, likewise).
    pub receive_buffer: u32,
    /// Bind beside connections of the past (`SO_REUSEADDR`).
    pub reuse_address: bool,
    /// Bind beside others of the same mind, among whom the stack distributes (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// Leave IPv4 to others (`IPV6_V6ONLY`).
    pub only_v6: bool,
    /// May send to broadcast addresses (`SO_BROADCAST`).
    pub broadcast: bool,
    /// Time to live, or hop limit, of unicast packets; zero: the interface's.
    pub hop_limit: u8,
    /// That of multicast packets.
    pub multicast_hop_limit: u8,
    /// Own sockets hear the multicast they send.
    pub multicast_loop: bool,
    /// Where multicast goes out without a route.
    pub multicast_interface: Option<InterfaceId>,
    /// Type of service, or traffic class.
    pub traffic_class: u8,
    /// Only packets of this interface (`SO_BINDTODEVICE`).
    pub interface: Option<InterfaceId>,
    /// Never fragment, fail instead (`IP_MTU_DISCOVER`).
    pub dont_fragment: bool,
    /// The program builds IPv4 headers itself (`IP_HDRINCL`), on raw sockets.
    pub header_included: bool,
    /// Urgent bytes stay in the stream (`SO_OOBINLINE`).
    pub urgent_inline: bool,
    /// Send small segments at once (`TCP_NODELAY`).
    pub no_delay: bool,
    /// Send full segments only (`TCP_CORK`).
    pub cork: bool,
    /// Acknowledge at once (`TCP_QUICKACK`).
    pub quick_ack: bool,
    /// Ask a silent peer whether it is there (`SO_KEEPALIVE`).
    pub keep_alive: bool,
    /// After how much silence (`TCP_KEEPIDLE`).
    pub keep_idle: Nanos,
    /// How often then (`TCP_KEEPINTVL`).
    pub keep_interval: Nanos,
    /// How many times (`TCP_KEEPCNT`).
    pub keep_count: u8,
    /// How long sent data may stay unacknowledged (`TCP_USER_TIMEOUT`); zero: the default.
    pub user_timeout: Nanos,
    /// Of closing: `Some(0)` resets the connection; other times are for the caller to wait.
    pub linger: Option<Nanos>,
    /// Largest segment to send or ask for (`TCP_MAXSEG`); zero: the path's.
    pub max_segment: u16,
    /// How often to ask for a connection (`TCP_SYNCNT`).
    pub syn_count: u8,
    /// How long an orphan waits for the peer's end (`TCP_LINGER2`).
    pub fin_timeout: Nanos,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            send_buffer: 0,
            receive_buffer: 0,
            reuse_address: false,
            reuse_port: false,
            only_v6: false,
            broadcast: false,
            hop_limit: 0,
            multicast_hop_limit: 1,
            multicast_loop: true,
            multicast_interface: None,
            traffic_class: 0,
            interface: None,
            dont_fragment: false,
            header_included: false,
            urgent_inline: false,
            no_delay: false,
            cork: false,
            quick_ack: false,
            keep_alive: false,
            keep_idle: Nanos::from_secs(7_200),
            keep_interval: Nanos::from_secs(75),
            keep_count: 9,
            user_timeout: Nanos::ZERO,
            linger: None,
            max_segment: 0,
            syn_count: 6,
            fin_timeout: Nanos::from_secs(60),
        }
    }
}

/// What a socket is ready for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a bit of poll's answer"
)]
pub struct Readiness {
    /// A read would not wait: data, an end, an error, or a connection to accept.
    pub readable: bool,
    /// A write would not wait.
    pub writable: bool,
    /// An urgent byte is there.
    pub urgent: bool,
    /// The peer writes no more, or this side reads no more (`POLLRDHUP`).
    pub read_closed: bool,
    /// Both directions are closed (`POLLHUP`).
    pub hang_up: bool,
    /// An error waits for [`crate::Stack::take_error`].
    pub error: bool,
    /// Bytes that can be read, or of the next datagram; connections that can be accepted.
    pub readable_bytes: usize,
    /// Bytes that can be written.
    pub writable_bytes: usize,
    /// Bytes written that the peer has not acknowledged, or that have not been sent (`SIOCOUTQ`).
    pub unsent_bytes: usize,
}

/// A datagram to be sent, but for its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Where to; without, to where the socket is connected.
    pub to: Option<SocketAddr>,
    /// From which address (`IP_PKTINFO`).
    pub source: Option<IpAddr>,
    /// Through which interface (`IP_PKTINFO`).
    pub interface: Option<InterfaceId>,
    /// With which time to live, instead of the socket's.
    pub hop_limit: Option<u8>,
    /// With which type of service, instead of the socket's.
    pub traffic_class: Option<u8>,
}

/// What is known of a received datagram besides its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramInfo {
    /// Who sent it.
    pub from: SocketAddr,
    /// To which address.
    pub to: IpAddr,
    /// Through which interface.
    pub interface: InterfaceId,
    /// Its time to live.
    pub hop_limit: u8,
    /// Its type of service.
    pub traffic_class: u8,
    /// When it came.
    pub at: Nanos,
}

/// The state of a connection (RFC 9293, 3.3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TcpState {
    /// No connection.
    #[default]
    Closed,
    /// Waits for connections.
    Listen,
    /// Has asked for one.
    SynSent,
    /// Has been asked, and has answered.
    SynReceived,
    /// Open.
    Established,
    /// Closed here; not acknowledged.
    FinWait1,
    /// Closed here; the peer still sends.
    FinWait2,
    /// Closed by the peer; this side still sends.
    CloseWait,
    /// Closed here and there at once.
    Closing,
    /// Closed by the peer, then here; not acknowledged.
    LastAck,
    /// Closed; old segments may still come.
    TimeWait,
}

/// What `TCP_INFO` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// The state.
    pub state: TcpState,
    /// Timestamps are in use.
    pub timestamps: bool,
    /// Selective acknowledgements are in use.
    pub sack: bool,
    /// The scales of the peer's and our window, if they are in use.
    pub window_scales: Option<(u8, u8)>,
    /// Repeated timeouts in a row.
    pub backoff: u8,
    /// Probes in a row without an answer.
    pub probes: u8,
    /// The retransmission timeout.
    pub rto: Nanos,
    /// The delay of acknowledgements.
    pub ato: Nanos,
    /// Payload of the largest segment to send.
    pub send_mss: u32,
    /// Payload of the largest segment received.
    pub receive_mss: u32,
    /// Bytes sent and not acknowledged.
    pub unacknowledged: u32,
    /// Bytes acknowledged selectively.
    pub sacked: u32,
    /// Bytes held to be lost.
    pub lost: u32,
    /// The path's MTU.
    pub path_mtu: u32,
    /// Smoothed round-trip time.
    pub rtt: Nanos,
    /// Its variation.
    pub rtt_variation: Nanos,
    /// The least that was seen.
    pub rtt_least: Nanos,
    /// Slow start's threshold in bytes.
    pub slow_start_threshold: u32,
    /// The congestion window in bytes.
    pub congestion_window: u32,
    /// The peer's window in bytes.
    pub send_window: u32,
    /// Our window in bytes.
    pub receive_window: u32,
    /// Bytes the receive buffer may hold.
    pub receive_space: u32,
    /// Segments sent again since the start.
    pub retransmits: u32,
    /// Bytes acknowledged by the peer since the start.
    pub bytes_acknowledged: u64,
    /// Bytes received since the start.
    pub bytes_received: u64,
    /// Bytes sent since the start, those sent again included.
    pub bytes_sent: u64,
    /// Bytes sent again.
    pub bytes_retransmitted: u64,
    /// Frames sent.
    pub segments_out: u32,
    /// Frames received.
    pub segments_in: u32,
    /// Bytes queued and not sent.
    pub unsent: u32,
    /// Since when nothing was sent.
    pub last_sent: Nanos,
    /// Since when nothing was received.
    pub last_received: Nanos,
}

/// What all sockets have.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) family: Family,
    pub(crate) options: Options,
    /// As bound or connected, IPv4 unmapped; the port zero: not bound.
    pub(crate) local: SocketAddr,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) error: Option<Error>,
    pub(crate) read_closed: bool,
    pub(crate) write_closed: bool,
    /// Stands in the list of changed sockets.
    pub(crate) listed: bool,
    /// The port is in the table of bound ones.
    pub(crate) bound: bool,
}

impl Common {
    pub(crate) fn new(family: Family) -> Self {
        let address = match family {
            Family::V4 => IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED),
        };
        Self {
            family,
            options: Options::default(),
            local: SocketAddr::new(address, 0),
            remote: None,
            error: None,
            read_closed: false,
            write_closed: false,
            listed: false,
            bound: false,
        }
    }

    /// An address as a program of this family sees it.
    pub(crate) fn shown(&self, address: SocketAddr) -> SocketAddr {
        match self.family {
            Family::V4 => address,
            Family::V6 => crate::address::mapped(address),
        }
    }

    /// Whether packets of this family can be this socket's.
    pub(crate) fn speaks(&self, address: IpAddr) -> bool {
        match (self.family, address) {
            (Family::V4, IpAddr::V4(_)) | (Family::V6, IpAddr::V6(_)) => true,
            (Family::V6, IpAddr::V4(_)) => {
                !self.options.only_v6 && (self.local.is_ipv4() || self.local.ip().is_unspecified())
            }
            (Family::V4, IpAddr::V6(_)) => false,
        }
    }
}
