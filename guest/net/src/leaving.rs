//! When those who had the sockets are gone: what is still to be brought to others.

use alloc::vec::Vec;

use crate::interface::InterfaceId;
use crate::socket::Handle;
use crate::stack::{Socket, Stack};
use crate::tcp::{Context, Tcp};
use crate::time::Nanos;

/// What a stream that no program has is still to bring to its peer. A peer in the same machine is as
/// gone as its program: nobody will read it.
fn undelivered(socket: &Socket) -> usize {
    let is_local = |tcp: &Tcp| {
        tcp.path
            .is_some_and(|path| path.interface == InterfaceId::LOOPBACK)
    };
    match socket {
        Socket::Stream(tcp) if tcp.orphan && !is_local(tcp) => tcp.undelivered(),
        _ => 0,
    }
}

impl Stack {
    /// Closes all sockets, each as [`Stack::close`] does. Listeners come first: a connection that
    /// no program has accepted is reset, as ever.
    pub fn close_all(&mut self, now: Nanos) {
        for are_listeners in [true, false] {
            let wanted = |socket: &Socket| matches!(socket, Socket::Listener(_)) == are_listeners;
            for handle in self.handles(&wanted) {
                self.close(handle, now);
            }
        }
    }

    /// How much is still to be brought to others when all sockets are closed: bytes that peers have
    /// not acknowledged, the end of a stream counting as one, and packets that wait for a
    /// neighbour or a device.
    #[must_use]
    pub fn undelivered(&self) -> usize {
        let streams = self.sockets.iter().map(|(_, socket)| undelivered(socket));
        let packets = self.links.iter().map(|link| link.packets.len());
        streams.chain(packets).sum::<usize>() + self.neighbours.waiting()
    }

    /// Asks the peers of streams that are not delivered, which may have room and not say so until there
    /// is much.
    pub fn probe_undelivered(&mut self, now: Nanos) {
        self.with_undelivered(now, |tcp, _| tcp.probe());
    }

    /// Gives the streams up that are not delivered: their peers learn of it by a reset.
    pub fn reset_undelivered(&mut self, now: Nanos) {
        self.with_undelivered(now, |tcp, cx| tcp.abort(None, cx));
    }

    fn with_undelivered(&mut self, now: Nanos, call: fn(&mut Tcp, &mut Context<'_>)) {
        self.advance(now);
        for handle in self.handles(&|socket| undelivered(socket) > 0) {
            if let Some(Socket::Stream(tcp)) = self.sockets.get_mut(handle) {
                let memory = &mut self.memory;
                call(tcp, &mut Context { now, memory });
                self.settle(handle);
            }
        }
    }

    fn handles(&self, wanted: &dyn Fn(&Socket) -> bool) -> Vec<Handle> {
        let found = self.sockets.iter().filter(|(_, socket)| wanted(socket));
        found.map(|(handle, _)| handle).collect()
    }
}
