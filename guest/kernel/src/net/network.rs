//! The machine's network: the stack of `guest/net`, its links, and who waits for its sockets.
//!
//! All of it is behind one lock. [`with`] runs a call on the stack and then does what the stack asks
//! for: packets to deliver and send, sockets whose waiters to wake, the next time to look.
//! [`service`] does the same when devices or the clock say so; it never waits for the lock, since
//! nobody else could run then: whoever holds it is told to do the work ([`DUE`]).

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use guest_config::NetworkConfig;
use guest_hal::sync::Mutex;
use guest_hal::{Nanos, platform, time};
use guest_net::{
    Config, Handle, InterfaceAddress, InterfaceConfig, InterfaceId, Lease, OutFrame, Route,
    RouteOrigin, RxMeta, Stack,
};
use hashbrown::HashMap;

use super::internet::InternetSocket;
use crate::{Result, random, sched, signal};

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

    /// Whether all that was taken has left; if not, a completion follows when it has.
    fn is_drained(&self) -> bool;

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
    let mut network = Network {
        stack: Stack::new(&config),
        links: Vec::new(),
        sockets: HashMap::new(),
    };
    network.attach_configured();
    network
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

/// How long the peers of a program that has ended may acknowledge nothing: then what is left of its
/// streams is given up.
const LINGER: Nanos = Nanos(10_000_000_000);
/// How long they may acknowledge nothing until they are asked what they take.
const PROBE: Nanos = Nanos(250_000_000);
/// How long the device may take for what it has then.
const PARTING: Nanos = Nanos(200_000_000);
/// How often to look although nothing happened.
const LOOK: Nanos = Nanos(10_000_000);

/// The program has no sockets any more; whether something is still to be brought to others, for
/// which to [`linger`].
pub fn close_all() -> bool {
    has_links() && {
        with(|stack| stack.close_all(now()));
        undelivered() > 0
    }
}

/// Brings what the program has sent to others, as happens elsewhere behind the back of whoever waits
/// for its end. Streams whose peers take nothing for [`LINGER`] are reset, and all when a signal
/// from outside asks for an end.
pub fn linger() {
    if !deliver(LINGER) {
        with(|stack| stack.reset_undelivered(now()));
        deliver(PARTING);
    }
}

/// Waits until nothing is left to be brought to others, as long as it becomes less and nobody asks
/// for an end; whether it came to that.
fn deliver(patience: Nanos) -> bool {
    signal::forget_ending();
    let (mut least, mut end, mut probe) = (usize::MAX, Nanos(0), Nanos(0));
    loop {
        let ticket = platform().ticket();
        let (left, time) = (undelivered(), time::monotonic());
        let is_less = left < least;
        if is_less {
            (least, end) = (left, time.saturating_add(patience));
        } else if time >= probe {
            with(|stack| stack.probe_undelivered(now()));
        }
        if is_less || time >= probe {
            probe = time.saturating_add(PROBE);
        }
        if left == 0 || time >= end || signal::asks_for_end() {
            return left == 0;
        }
        sched::wait_for_event(ticket, Some(end.min(time.saturating_add(LOOK))));
    }
}

/// How much is left, after whatever can be done now.
fn undelivered() -> usize {
    DUE.store(true, Ordering::Relaxed);
    let mut guard = NETWORK.lock();
    let Some(network) = &mut *guard else {
        return 0;
    };
    network.settle();
    let links = network.links.iter();
    links.filter(|(_, link)| !link.is_drained()).count() + network.stack.undelivered()
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

/// Opens the link of a device.
pub type OpenLink = fn(&NetworkConfig) -> Result<Arc<dyn Link>>;

/// The network of the machine, until it is used for the first time.
static CONFIGURED: Mutex<Option<(NetworkConfig, OpenLink)>> = Mutex::new(None);

/// Says what network the machine has. Its device is opened when the first socket is.
pub fn configure(config: &NetworkConfig, open: OpenLink) {
    *CONFIGURED.lock() = Some((config.clone(), open));
}

/// How long a server that gives addresses may take before the program starts without one.
const PATIENCE: Nanos = Nanos(5_000_000_000);

/// Waits until a server has said the machine's place, if it is to say it, for a few seconds; what it
/// says. The machine asks on when that is nothing.
#[must_use]
pub fn wait_for_lease() -> Option<Lease> {
    let end = time::monotonic().saturating_add(PATIENCE);
    loop {
        let ticket = platform().ticket();
        // Opens the device the first time.
        with(|_| ());
        service();
        let found = {
            let guard = NETWORK.lock();
            let network = guard.as_ref()?;
            let (id, _) = network.links.first()?;
            network.stack.lease(*id).cloned()
        };
        let now = time::monotonic();
        if found.is_some() || now >= end {
            return found;
        }
        let until = next_deadline().map_or(end, |at| at.min(end));
        if until > now {
            platform().idle(ticket, Some(until), true);
        }
    }
}

impl Network {
    /// Opens the link that was configured. One that does not work is not there.
    fn attach_configured(&mut self) {
        let configured = CONFIGURED.lock().take();
        let Some((config, open)) = configured else {
            return;
        };
        if let Ok(link) = open(&config) {
            let id = self.stack.attach(link.configuration(), now());
            self.links.push((id, link));
            self.place(id, &config);
            LINKED.store(true, Ordering::Relaxed);
        }
    }

    /// Gives an interface its addresses and routes.
    fn place(&mut self, id: InterfaceId, config: &NetworkConfig) {
        let v4 = config.ipv4.map(|(address, prefix, router)| {
            let address = IpAddr::V4(Ipv4Addr::from(address));
            let router = router.map(|router| IpAddr::V4(Ipv4Addr::from(router)));
            (address, prefix, router)
        });
        let v6 = config.ipv6.map(|(address, prefix, router)| {
            let address = IpAddr::V6(Ipv6Addr::from(address));
            let router = router.map(|router| IpAddr::V6(Ipv6Addr::from(router)));
            (address, prefix, router)
        });
        for (address, prefix, router) in v4.into_iter().chain(v6) {
            // A place that contradicts itself is none: the interface then has no such address.
            let placed = self
                .stack
                .add_address(id, InterfaceAddress::new(address, prefix));
            let (Ok(()), Some(router)) = (placed, router) else {
                continue;
            };
            let everywhere = match address {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            };
            let route = Route {
                destination: InterfaceAddress::new(everywhere, 0),
                gateway: Some(router),
                interface: id,
                metric: 0,
                source: None,
                origin: RouteOrigin::Static,
            };
            let _ = self.stack.add_route(route);
        }
        if config.asks {
            let name = crate::process::host_name();
            let name = core::str::from_utf8(&name).ok();
            let _ = self.stack.start_dhcp(id, name, now());
        }
    }
}
