//! A virtqueue as a device sees it: chains come out, used lengths go back.
//!
//! The ring is the `virtio-queue` crate's (split rings, virtio 1.2, 2.7). Everything a driver
//! writes is read once and bounded: a chain has at most [`CHAIN_MAX`] descriptors, and an
//! available index that runs ahead of the ring breaks the queue, which then stays silent.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use machine_memory::{GuestMemory, Mapping, Pieces};
use smallvec::SmallVec;
use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress};

use crate::device::Signals;
use crate::state::QueueState;
use crate::worker::{Notifier, Stop};

/// Most descriptors of a chain that is looked at.
pub const CHAIN_MAX: usize = 1024;
/// Available ring's flags: the driver wants no interrupts (virtio 1.2, 2.7.7).
const AVAIL_NO_INTERRUPT: u16 = 1;

/// A range of guest memory: address and length.
pub type Range = (u64, u32);

/// The ranges of a chain: those of a few need no memory of their own.
pub(crate) type Ranges = SmallVec<[Range; 4]>;

/// A chain of buffers that the driver made available.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its first descriptor, by which it is given back.
    pub head: u16,
    /// What the driver says.
    pub readable: Ranges,
    /// Where it wants the answer.
    pub writable: Ranges,
}

impl Chain {
    /// Takes a chain apart; `None` when it is too long.
    pub(crate) fn new(chain: DescriptorChain<Memory<'_>>) -> Option<Self> {
        let head = chain.head_index();
        let (mut readable, mut writable) = (Ranges::new(), Ranges::new());
        for (count, descriptor) in chain.enumerate() {
            if count == CHAIN_MAX {
                return None;
            }
            let range = (descriptor.addr().0, descriptor.len());
            if descriptor.is_write_only() {
                writable.push(range);
            } else {
                readable.push(range);
            }
        }
        Some(Self {
            head,
            readable,
            writable,
        })
    }

    /// What the driver says, if all of it lies in memory.
    pub fn reader<'m>(&self, memory: &'m GuestMemory) -> Option<Pieces<'m>> {
        memory.pieces(self.readable.iter().copied()).ok()
    }

    /// Where the answer goes, if all of it lies in memory.
    pub fn writer<'m>(&self, memory: &'m GuestMemory) -> Option<Pieces<'m>> {
        memory.pieces(self.writable.iter().copied()).ok()
    }
}

/// Guest memory as the queue's crate wants it passed.
#[derive(Clone, Copy)]
pub(crate) struct Memory<'m>(pub(crate) &'m Mapping);

impl Deref for Memory<'_> {
    type Target = Mapping;

    fn deref(&self) -> &Self::Target {
        self.0
    }
}

/// One queue of an active device. Several threads may take chains from it.
#[derive(Debug)]
pub struct Virtqueue {
    number: u16,
    ring: Mutex<Queue>,
    memory: GuestMemory,
    signals: Arc<Signals>,
    notifier: Arc<Notifier>,
    broken: AtomicBool,
    /// The used index of which the driver was told last.
    signalled: AtomicU16,
}

impl Virtqueue {
    /// The queue that the driver has set up; `None` if it cannot be one.
    pub(crate) fn new(
        number: u16,
        state: &QueueState,
        event_index: bool,
        memory: &GuestMemory,
        signals: &Arc<Signals>,
        notifier: &Arc<Notifier>,
    ) -> Option<Self> {
        let mut ring = Queue::new(state.size).ok()?;
        ring.try_set_desc_table_address(GuestAddress(state.descriptors))
            .ok()?;
        ring.try_set_avail_ring_address(GuestAddress(state.driver))
            .ok()?;
        ring.try_set_used_ring_address(GuestAddress(state.device))
            .ok()?;
        ring.set_event_idx(event_index);
        ring.set_next_avail(state.next_available);
        ring.set_next_used(state.next_used);
        ring.set_ready(true);
        ring.is_valid(memory.mapping()).then(|| Self {
            number,
            ring: Mutex::new(ring),
            memory: memory.clone(),
            signals: Arc::clone(signals),
            notifier: Arc::clone(notifier),
            broken: AtomicBool::new(false),
            signalled: AtomicU16::new(state.next_used),
        })
    }

    /// What wakes those who serve this queue.
    #[must_use]
    pub fn notifier(&self) -> &Arc<Notifier> {
        &self.notifier
    }

    /// The next chain; `None` when there is none, and then the driver will notify.
    pub fn pop(&self) -> Option<Chain> {
        // The second look is for what came between the first and asking to be notified.
        match self.take() {
            None if self.listen() => self.take(),
            taken => taken,
        }
    }

    /// The next chain; whether the driver notifies stays as it is.
    pub(crate) fn take(&self) -> Option<Chain> {
        if self.is_broken() {
            return None;
        }
        let mut ring = self.ring();
        let Ok(mut available) = ring.iter(Memory(self.memory.mapping())) else {
            drop(ring);
            self.fail();
            return None;
        };
        let chain = Chain::new(available.next()?);
        drop(ring);
        if chain.is_none() {
            self.fail();
        }
        chain
    }

    /// Has the driver notify from now on; whether it made chains available before it could know.
    pub(crate) fn listen(&self) -> bool {
        let listens = self.ring().enable_notification(self.memory.mapping());
        if listens.is_err() {
            self.fail();
        }
        !self.is_broken() && listens.unwrap_or(false)
    }

    /// Tells the driver not to notify until [`Virtqueue::pop`] has found nothing, or
    /// [`Virtqueue::listen`].
    pub(crate) fn quiet(&self) {
        let mapping = self.memory.mapping();
        // A ring outside of memory shows itself when it is used.
        let _ = self.ring().disable_notification(mapping);
    }

    /// Whether the driver has made more chains available than were taken.
    pub fn has_more(&self) -> bool {
        let ring = self.ring();
        let index = ring.avail_idx(self.memory.mapping(), Ordering::Acquire);
        !self.is_broken() && index.is_ok_and(|index| index.0 != ring.next_avail())
    }

    /// Gives a chain back with `length` bytes written, and interrupts if the driver wants.
    pub fn push(&self, head: u16, length: u32) {
        self.publish(&[(head, length)]);
        self.signal();
    }

    /// Gives chains back, by head and bytes written, so that the driver sees all or none of
    /// them. It is not interrupted: see [`Virtqueue::signal`].
    pub fn publish(&self, used: &[(u16, u32)]) {
        let Some(((head, length), before)) = used.split_last() else {
            return;
        };
        if self.is_broken() {
            return;
        }
        let mapping = self.memory.mapping();
        let mut ring = self.ring();
        let (table, size, next) = (ring.used_ring(), ring.size(), ring.next_used());
        for (number, (head, length)) in (0_u16..).zip(before) {
            let slot = next.wrapping_add(number) % size;
            let at = table.saturating_add(4 + 8 * u64::from(slot));
            let element = [u32::from(*head), *length].map(u32::to_le_bytes);
            if mapping
                .write_slice(element.as_flattened(), GuestAddress(at))
                .is_err()
            {
                drop(ring);
                return self.fail();
            }
        }
        ring.set_next_used(next.wrapping_add(before.len() as u16));
        let added = ring.add_used(mapping, *head, *length);
        drop(ring);
        if added.is_err() {
            self.fail();
        }
    }

    /// Interrupts if the driver wants to know of what was given back since the last time.
    pub fn signal(&self) {
        let mut ring = self.ring();
        let next = ring.next_used();
        let last = self.signalled.swap(next, Ordering::SeqCst);
        if next == last || self.is_broken() {
            return;
        }
        // What was given back is seen before the driver's wish is read (2.7.7.1).
        fence(Ordering::SeqCst);
        let wanted = self.wants_interrupts(&mut ring, last, next);
        drop(ring);
        match wanted {
            Some(true) => self.signals.used(self.number),
            Some(false) => {}
            None => self.fail(),
        }
    }

    /// Gives the last `count` chains that were taken back to be taken again.
    pub(crate) fn put_back(&self, count: u16) {
        let mut ring = self.ring();
        let next = ring.next_avail().wrapping_sub(count);
        ring.set_next_avail(next);
    }

    /// Takes chains until there is none or it is time to stop; `serve` returns how many bytes
    /// it wrote, or `None` when the driver breaks the rules, which ends the queue.
    pub fn drain(&self, stop: &Stop, mut serve: impl FnMut(&Chain) -> Option<u32>) {
        while !stop.is_set() {
            let Some(chain) = self.pop() else {
                return;
            };
            match serve(&chain) {
                Some(length) => self.push(chain.head, length),
                None => self.fail(),
            }
        }
    }

    /// The driver breaks the rules: the queue is silent from now on, and the driver is told
    /// that the device needs a reset.
    pub fn fail(&self) {
        self.broken.store(true, Ordering::Release);
        self.signals.need_reset();
    }

    /// Whether the queue is silent.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// How far the device has come: the next available and the next used index.
    pub(crate) fn position(&self) -> (u16, u16) {
        let ring = self.ring();
        (ring.next_avail(), ring.next_used())
    }

    /// Whether the driver wants to know that the used index went from `last` to `next`: by its
    /// event index if there is one (2.7.10), else by its flag.
    fn wants_interrupts(&self, ring: &mut Queue, last: u16, next: u16) -> Option<bool> {
        let (mapping, size) = (self.memory.mapping(), u64::from(ring.size()));
        let field = if ring.event_idx_enabled() {
            4 + 2 * size
        } else {
            0
        };
        let at = ring.avail_ring().checked_add(field)?;
        let word = mapping.load(GuestAddress(at), Ordering::Relaxed).ok();
        let word = u16::from_le(word?);
        if !ring.event_idx_enabled() {
            return Some(word & AVAIL_NO_INTERRUPT == 0);
        }
        Some(next.wrapping_sub(word).wrapping_sub(1) < next.wrapping_sub(last))
    }

    fn ring(&self) -> MutexGuard<'_, Queue> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
