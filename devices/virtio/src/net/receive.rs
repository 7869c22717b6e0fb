//! The guest's buffers, as the host end sees them.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backend_net::header::{HEADER, encode};
use backend_net::{Abilities, Body, Delivery, Guest, Head};
use machine_memory::{GuestMemory, Pieces};
use smallvec::SmallVec;

use super::features::{Accepted, Counters};
use super::source::sum;
use crate::queue::{Chain, Virtqueue};

/// Most buffers of a frame: more than the longest needs if each has the least size that makes
/// sense (virtio 1.2, 5.1.6.3.1).
const BUFFERS_MAX: usize = 64;

/// A receive queue, and the chains that were taken from it and not used yet.
struct Ring {
    queue: Arc<Virtqueue>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    chains: VecDeque<Chain>,
    /// Whether the driver was told to be quiet.
    quiet: bool,
}

pub(super) struct Receiver {
    memory: GuestMemory,
    rings: Vec<Option<Ring>>,
    /// Pairs that the driver uses.
    pub(super) active: AtomicUsize,
    accepted: Accepted,
    counters: Arc<Counters>,
}

/// How many chains hold how much.
struct Reserved {
    chains: usize,
    bytes: usize,
}

impl Receiver {
    pub(super) fn new(
        memory: GuestMemory,
        queues: impl Iterator<Item = Option<Arc<Virtqueue>>>,
        accepted: Accepted,
        counters: Arc<Counters>,
    ) -> Self {
        let rings = queues.map(|queue| {
            queue.map(|queue| Ring {
                queue,
                taken: Mutex::default(),
            })
        });
        Self {
            memory,
            rings: rings.collect(),
            active: AtomicUsize::new(1),
            accepted,
            counters,
        }
    }

    /// Gives back what was taken and not used.
    pub(super) fn stop(&self) {
        for ring in self.rings.iter().flatten() {
            let mut taken = ring.taken();
            ring.queue.put_back(taken.chains.len() as u16);
            taken.chains.clear();
        }
    }

    fn ring(&self, pair: usize) -> Option<&Ring> {
        let active = self.active.load(Ordering::Relaxed).max(1);
        self.rings.get(pair % active)?.as_ref()
    }

    /// Takes chains for `length` bytes, or as many as there are and may be.
    fn reserve(&self, ring: &Ring, taken: &mut Taken, length: usize) -> Reserved {
        let most = if self.accepted.mergeable {
            BUFFERS_MAX
        } else {
            1
        };
        let mut reserved = Reserved {
            chains: 0,
            bytes: 0,
        };
        while reserved.bytes < length && reserved.chains < most {
            if taken.chains.len() == reserved.chains {
                let Some(chain) = ring.queue.pop() else {
                    taken.quiet = false;
                    break;
                };
                taken.chains.push_back(chain);
                if !taken.quiet {
                    taken.quiet = true;
                    ring.queue.quiet();
                }
            }
            let Some(chain) = taken.chains.get(reserved.chains) else {
                break;
            };
            reserved.bytes += capacity(chain);
            reserved.chains += 1;
        }
        reserved
    }

    /// Fills the chains that were reserved.
    fn fill(
        &self,
        ring: &Ring,
        taken: &mut Taken,
        reserved: &Reserved,
        frame: (usize, Body<'_>, &mut dyn FnMut(usize) -> Option<Head>),
    ) -> io::Result<Delivery> {
        let (head_length, body, head) = frame;
        let chains = taken.chains.iter().take(reserved.chains);
        let ranges = chains.flat_map(|chain| chain.writable.iter().copied());
        let Ok(whole) = self.memory.pieces(ranges) else {
            ring.queue.fail();
            return Ok(Delivery::Lost);
        };
        let mut place = whole.clone();
        place.skip(HEADER + head_length);
        let room = place.remaining().min(place.reach());
        let (moved, room) = take_in(&mut place, body, room)?;
        let delivery = Delivery::Done { moved, room };
        if moved == 0 && matches!(body, Body::Peek { .. }) {
            return Ok(delivery);
        }
        let Some(head) = head(moved) else {
            return Ok(delivery);
        };
        let length = HEADER + head_length + moved;
        let used = split(&taken.chains, length);
        self.write_head(whole, &head, used.len() as u16, length);
        ring.queue.publish(&used);
        taken.chains.drain(..used.len());
        self.counters.count_received();
        Ok(delivery)
    }

    /// Writes both headers, and the checksum for a driver that makes none.
    fn write_head(&self, whole: Pieces<'_>, head: &Head, buffers: u16, length: usize) {
        let mut offload = head.offload;
        let mut unfinished = None;
        if !self.accepted.guest.checksum {
            unfinished = offload
                .checksum
                .take()
                .map(|partial| (partial, whole.clone()));
        }
        let mut to = whole;
        to.write(&encode(offload, buffers));
        to.write(head.bytes());
        if let Some((partial, mut from)) = unfinished {
            let (start, offset) = (usize::from(partial.start), usize::from(partial.offset));
            from.skip(HEADER + start);
            let sum = sum(&from, (length - HEADER).saturating_sub(start)).finish();
            from.skip(offset);
            // Zero would mean "none" for UDP, and the other zero is as good.
            let sum = if sum == 0 { 0xffff } else { sum };
            from.write(&sum.to_be_bytes());
        }
    }
}

impl Ring {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn capacity(chain: &Chain) -> usize {
    let lengths = chain.writable.iter().map(|(_, length)| *length as usize);
    lengths.fold(0, usize::saturating_add)
}

/// How long a body may be.
const fn wanted(body: &Body<'_>) -> usize {
    match body {
        Body::Bytes(bytes) => bytes.len(),
        Body::Peek { length, .. } | Body::Datagram { length, .. } => *length,
    }
}

/// Moves the body in; how much of how much.
fn take_in(place: &mut Pieces<'_>, body: Body<'_>, room: usize) -> io::Result<(usize, usize)> {
    match body {
        Body::Bytes(bytes) => Ok((place.write(bytes), bytes.len())),
        Body::Peek {
            socket,
            skip,
            length,
        } => {
            let room = room.min(length);
            Ok((place.peek_from(socket, skip, room)?, room))
        }
        Body::Datagram { socket, length } => {
            let room = room.min(length);
            Ok((place.receive_from(socket, room)?, room))
        }
    }
}

/// Which chains a frame of this length takes, and how much of each.
fn split(chains: &VecDeque<Chain>, length: usize) -> SmallVec<[(u16, u32); 4]> {
    let (mut left, mut used) = (length, SmallVec::new());
    for chain in chains {
        let part = capacity(chain).min(left);
        used.push((chain.head, part as u32));
        left -= part;
        if left == 0 {
            break;
        }
    }
    used
}

impl Guest for Receiver {
    fn abilities(&self) -> Abilities {
        self.accepted.guest
    }

    fn deliver(
        &self,
        pair: usize,
        head_length: usize,
        body: Body<'_>,
        head: &mut dyn FnMut(usize) -> Option<Head>,
    ) -> io::Result<Delivery> {
        let Some(ring) = self.ring(pair) else {
            return Ok(Delivery::Lost);
        };
        let mut taken = ring.taken();
        let needed = HEADER + head_length + wanted(&body);
        let reserved = self.reserve(ring, &mut taken, needed);
        if ring.queue.is_broken() {
            return Ok(Delivery::Lost);
        }
        let is_peek = matches!(body, Body::Peek { .. });
        // A stream gives what there is room for; all else is whole.
        let least = if is_peek {
            HEADER + head_length + 1
        } else {
            needed
        };
        if reserved.bytes >= least {
            let frame = (head_length, body, head);
            return self.fill(ring, &mut taken, &reserved, frame);
        }
        let full = reserved.chains
            == if self.accepted.mergeable {
                BUFFERS_MAX
            } else {
                1
            };
        if !full {
            return Ok(Delivery::NoRoom);
        }
        self.counters.count_refused();
        self.too_small(ring, is_peek);
        Ok(Delivery::Lost)
    }

    fn flush(&self, _: usize) {
        for ring in self.rings.iter().flatten() {
            ring.queue.signal();
        }
    }
}

impl Receiver {
    /// Buffers that hold nothing at all would be offered again for ever.
    fn too_small(&self, ring: &Ring, is_peek: bool) {
        if is_peek {
            ring.queue.fail();
        }
    }
}
