//! All sockets there are, as they are listed for whoever looks at the machine from inside.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::socket::{Family, Handle, Kind, TcpState};
use crate::stack::{Connection, Socket, Stack};
use crate::time::Nanos;

/// A socket as it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its handle; a connection that only waits for old segments has none.
    pub handle: Option<Handle>,
    /// What it is.
    pub kind: Kind,
    /// Its family.
    pub family: Family,
    /// The state of a connection. Of others: established if they are connected, else closed.
    pub state: TcpState,
    /// Its own address, as its family shows it.
    pub local: SocketAddr,
    /// Its peer's.
    pub peer: Option<SocketAddr>,
    /// Bytes that were written and not acknowledged, or not sent.
    pub unsent: usize,
    /// Bytes that can be read; of a listener, connections that can be accepted.
    pub unread: usize,
    /// No program has it.
    pub is_orphan: bool,
    /// How long a connection without handle still waits.
    pub waits: Nanos,
}

impl Stack {
    /// All sockets that have a port, and connections that wait for old segments.
    #[must_use]
    pub fn listed(&self) -> Vec<Listed> {
        let sockets = self.sockets.iter();
        let sockets = sockets.filter_map(|(handle, socket)| self.list_socket(handle, socket));
        let mut all: Vec<Listed> = sockets.collect();
        let waiting = self.connections.iter().filter_map(|(tuple, connection)| {
            let Connection::TimeWait(remains) = connection else {
                return None;
            };
            let (local, peer) = (tuple.local.socket_address(), tuple.remote.socket_address());
            Some(Listed {
                handle: None,
                kind: Kind::Stream,
                family: if local.is_ipv4() {
                    Family::V4
                } else {
                    Family::V6
                },
                state: TcpState::TimeWait,
                local,
                peer: Some(peer),
                unsent: 0,
                unread: 0,
                is_orphan: true,
                waits: Nanos(remains.until.0.saturating_sub(self.now.0)),
            })
        });
        all.extend(waiting);
        all
    }

    fn list_socket(&self, handle: Handle, socket: &Socket) -> Option<Listed> {
        let common = socket.common();
        let (kind, state, is_orphan) = match socket {
            Socket::Stream(tcp) => (Kind::Stream, tcp.state, tcp.orphan),
            Socket::Listener(_) => (Kind::Stream, TcpState::Listen, false),
            Socket::Datagram(datagram) if common.remote.is_some() => {
                (datagram.kind, TcpState::Established, false)
            }
            Socket::Datagram(datagram) => (datagram.kind, TcpState::Closed, false),
        };
        if kind == Kind::Stream && state == TcpState::Closed || common.local.port() == 0 {
            return None;
        }
        let ready = self.readiness(handle);
        let unread = match socket {
            Socket::Datagram(datagram) => datagram.queued(),
            _ => ready.readable_bytes,
        };
        Some(Listed {
            handle: Some(handle),
            kind,
            family: common.family,
            state,
            local: common.shown(common.local),
            peer: common.remote.map(|peer| common.shown(peer)),
            unsent: ready.unsent_bytes,
            unread,
            is_orphan,
            waits: Nanos::ZERO,
        })
    }
}
