//! The machine's network: the stack of `guest/net`, its links, and who waits for its sockets.
//!
//! All of it is behind one lock. [`with`] runs a call on the stack and then does what the stack asks
//! for: packets to deliver and send, sockets whose waiters to wake, the next time to look.
//! [`service`] does the same when devices or the clock say so; it never waits for the lock, since
//! nobody else could run then: whoever holds it is told to do the work ([`DUE`]).

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use guest_hal::sync::Mutex;
use guest_hal::{Nanos, time};
use guest_net::{Config, Handle, InterfaceConfig, InterfaceId, OutFrame, RxMeta, Stack};
use hashbrown::HashMap;

use super::internet::InternetSocket;
use crate::wait::WaitQueue;
use crate::{random, sched};

/// A way out of the machine.
pub trait Link: Send + Sync {
    /// Its name and what it is like.
    fn configuration(&self) -> InterfaceConfig;

    /// Gives what came to `take`, frame by frame.
    fn receive(&self, take: &mut dyn FnMut(&[u8], &RxMeta));

    /// Takes a frame to send; false: there is no room, try again after a completion.
    fn send(&self, frame: &OutFrame<'_>) -> bool;

    /// Tells the device of what was taken.
    fn flush(&self);

    /// Whether the link is there.
    fn is_up(&self) -> bool;

    /// When to look again although nothing happened; `None` for a device that interrupts.
    fn look_again(&self) -> Option<Nanos> {
        None
    }
}

struct Network {
    stack: Stack,
    links: Vec<(InterfaceId, Arc<dyn Link>)>,
    sockets: HashMap<Handle, Weak<InternetSocket>>,
}

static NETWORK: Mutex<Option<Network>> = Mutex::new(None);
/// There is something to do for whoever holds the lock.
static DUE: AtomicBool = AtomicBool::new(false);
/// When to look next; the greatest number: not.
static DEADLINE: AtomicU64 = AtomicU64::new(u64::MAX);
/// Told when addresses or links change.
static CHANGES: WaitQueue = WaitQueue::new();
/// Keeps device interrupts coming while there are links.
static LINKED: AtomicBool = AtomicBool::new(false);

/// Bytes that the buffers of all sockets may take, as a part of the machine's memory.
const MEMORY_PART: u64 = 4;
/// Most sockets.
const SOCKETS: usize = 1 << 20;

/// The time as the stack counts it.
#[must_use]
pub fn now() -> guest_net::Nanos {
    guest_net::Nanos(time::monotonic().0)
}

fn make() -> Network {
    let mut seed = [0; 16];
    random::fill(&mut seed);
    let (words, _) = seed.as_chunks::<8>();
    let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
    let memory = guest_hal::boot::info().memory_limit / MEMORY_PART;
    let config = Config {
        seed: [0; 2].map(|_: u64| words.next().unwrap_or_default()),
        memory: memory as usize,
        sockets: SOCKETS,
    };
    Network {
        stack: Stack::new(&config),
        links: Vec::new(),
        sockets: HashMap::new(),
    }
}

/// Runs a call on the stack.
pub fn with<R>(call: impl FnOnce(&mut Stack) -> R) -> R {
    let mut guard = NETWORK.lock();
    let network = guard.get_or_insert_with(make);
    let result = call(&mut network.stack);
    network.settle();
    result
}

impl Network {
    /// Does what the stack asks for, until it asks no more.
    fn settle(&mut self) {
        loop {
            let now = now();
            if DUE.swap(false, Ordering::Relaxed) {
                self.receive(now);
            }
            self.stack.poll(now);
            self.transmit();
            self.wake();
            if !DUE.load(Ordering::Relaxed) {
                break;
            }
        }
        let looks = self.links.iter().filter_map(|(_, link)| link.look_again());
        let look = looks.map(|at| at.0).min().unwrap_or(u64::MAX);
        let timer = self.stack.next_deadline().map_or(u64::MAX, |at| at.0);
        let deadline = look.min(timer);
        let before = DEADLINE.swap(deadline, Ordering::Relaxed);
        if deadline < before {
            sched::timers_changed();
        }
    }

    fn receive(&mut self, now: guest_net::Nanos) {
        let Self { stack, links, .. } = self;
        for (id, link) in links {
            link.receive(&mut |frame, meta| stack.receive(*id, frame, meta, now));
        }
    }

    fn transmit(&mut self) {
        let Self { stack, links, .. } = self;
        for (id, link) in links {
            if stack.wants_transmit(*id) {
                stack.transmit(*id, &mut |frame| link.send(&frame));
                link.flush();
            }
        }
    }

    fn wake(&mut self) {
        while let Some(handle) = self.stack.next_changed() {
            let Some(socket) = self.sockets.get(&handle) else {
                continue;
            };
            match socket.upgrade() {
                Some(socket) => socket.changed(&self.stack.readiness(handle)),
                None => {
                    self.sockets.remove(&handle);
                }
            }
        }
    }
}

/// Says who is to be told when a socket's readiness changes.
pub(super) fn register(handle: Handle, socket: &Weak<InternetSocket>) {
    let mut guard = NETWORK.lock();
    let network = guard.get_or_insert_with(make);
    network.sockets.insert(handle, socket.clone());
}

/// A program has a socket no more.
pub(super) fn close(handle: Handle) {
    let mut guard = NETWORK.lock();
    if let Some(network) = &mut *guard {
        network.sockets.remove(&handle);
        network.stack.close(handle, now());
        network.settle();
    }
}

/// Looks after links and timers, if nobody else is at it.
pub fn service() {
    let is_timer_due = time::monotonic().0 >= DEADLINE.load(Ordering::Relaxed);
    if !LINKED.load(Ordering::Relaxed) && !is_timer_due {
        return;
    }
    DUE.store(true, Ordering::Relaxed);
    if let Some(mut guard) = NETWORK.try_lock()
        && let Some(network) = &mut *guard
    {
        network.settle();
    }
}

/// When [`service`] is to be called, if nothing else happens.
#[must_use]
pub fn next_deadline() -> Option<Nanos> {
    let at = DEADLINE.load(Ordering::Relaxed);
    (at != u64::MAX).then_some(Nanos(at))
}

/// Whether completions of devices concern the network.
#[must_use]
pub fn has_links() -> bool {
    LINKED.load(Ordering::Relaxed)
}

/// Attaches a link; its interface.
pub fn attach(link: Arc<dyn Link>) -> InterfaceId {
    let mut guard = NETWORK.lock();
    let network = guard.get_or_insert_with(make);
    let id = network.stack.attach(link.configuration(), now());
    network.links.push((id, link));
    LINKED.store(true, Ordering::Relaxed);
    CHANGES.notify();
    id
}
