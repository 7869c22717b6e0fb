//! A device that is active: its queues and its host end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use backend_net::header::{HEADER, decode};
use backend_net::{FRAME_MAX, Network};
use machine_memory::GuestMemory;
use smallvec::SmallVec;

use super::features::{Accepted, Counters};
use super::receive::Receiver;
use super::source::Frame;
use crate::queue::{Chain, Virtqueue};

/// Frames after which the driver gets its buffers back, and the host end goes on with its own.
const BATCH: usize = 64;
/// Pauses of the processor between two looks.
const PAUSES: u32 = 64;

pub(super) struct Link {
    pub(super) network: Arc<dyn Network>,
    pub(super) receiver: Receiver,
    pub(super) memory: GuestMemory,
    pub(super) accepted: Accepted,
    pub(super) counters: Arc<Counters>,
}

impl Link {
    /// Takes the frames that the guest has made ready, until there are none.
    pub(super) fn transmit(&self, pair: usize, queue: &Virtqueue, stop: impl Fn() -> bool) {
        let mut used = SmallVec::new();
        while !stop() {
            let Some(chain) = queue.take() else {
                break;
            };
            if self.frame(pair, &chain).is_none() {
                queue.fail();
                break;
            }
            used.push((chain.head, 0));
            if used.len() == BATCH {
                self.batch(pair, queue, &mut used);
            }
        }
        self.batch(pair, queue, &mut used);
    }

    fn batch(&self, pair: usize, queue: &Virtqueue, used: &mut SmallVec<[(u16, u32); BATCH]>) {
        if !used.is_empty() {
            queue.publish(used);
            queue.signal();
            used.clear();
            self.network.transmitted(pair, &self.receiver);
        }
    }

    /// Hands a frame over; `None` for one that is not in memory.
    fn frame(&self, pair: usize, chain: &Chain) -> Option<()> {
        let mut pieces = chain.reader(&self.memory)?;
        let mut header = [0; HEADER];
        let got = pieces.read(&mut header);
        let length = pieces.remaining();
        let offload = decode(&header, length).filter(|offload| self.accepted.covers(offload));
        match offload {
            Some(offload) if got == HEADER && (14..=FRAME_MAX).contains(&length) => {
                self.counters.count_sent();
                let mut frame = Frame(pieces);
                self.network
                    .transmit(pair, &mut frame, offload, &self.receiver);
            }
            _ => self.counters.count_refused(),
        }
        Some(())
    }

    /// The guest has given buffers.
    pub(super) fn room(&self, pair: usize) {
        self.network.room(pair, &self.receiver);
    }

    /// Takes frames until the guest has no more; it notifies then.
    pub(super) fn drain(&self, pair: usize, queue: &Virtqueue, stop: impl Fn() -> bool) {
        queue.quiet();
        loop {
            self.transmit(pair, queue, &stop);
            if stop() || !queue.listen() {
                break;
            }
        }
    }

    /// Brings what the host has, until `stop` is set and the network woken.
    pub(super) fn attend(&self, server: usize, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            self.network.wait(server);
            self.network.serve(server, &self.receiver);
            self.network.rest(server);
        }
    }

    /// Does all there is in both directions, until there was nothing for as long as `patience`:
    /// who works looks at the answers, too, before it sleeps, and nobody is woken meanwhile.
    pub(super) fn work(&self, pair: usize, queue: &Virtqueue, patience: Duration) {
        loop {
            self.network.hold(pair);
            queue.quiet();
            loop {
                self.transmit(pair, queue, || false);
                self.network.serve(pair, &self.receiver);
                if !queue.has_more() && !self.look(pair, queue, patience) {
                    break;
                }
            }
            self.network.rest(pair);
            if !queue.listen() {
                break;
            }
        }
    }

    /// Looks for something to do for a while; whether there was something.
    fn look(&self, pair: usize, queue: &Virtqueue, patience: Duration) -> bool {
        let (start, before) = (Instant::now(), self.counters.received());
        while start.elapsed() < patience {
            for _ in 0..PAUSES {
                std::hint::spin_loop();
            }
            // Whoever could use this processor goes first: it may be the one who is waited for.
            std::thread::yield_now();
            self.network.serve(pair, &self.receiver);
            if queue.has_more() || self.counters.received() != before {
                return true;
            }
        }
        false
    }
}
