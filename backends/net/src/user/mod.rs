//! A network for which nobody needs a privilege: between the guest's frames and sockets of
//! the host, translated at the transport layer.
//!
//! * [`User`]: the host end. One lock holds all flows; the guest's frames are served on the
//!   thread that takes them, the host's events on one of its own. Nothing is handed over in between.
//! * `tcp`, `udp`, `icmp`: the flows. `neighbours`, `dhcp`: how the guest finds its way.
//! * [`Sockets`]: who opens the host's; the fuzzer has its own.
//!
//! There is no second TCP stack: bytes for the guest stay in the host's socket until the guest
//! has acknowledged them, and what the guest sends is acknowledged when a socket took it. No
//! packets are forwarded, no fragments put together.

pub mod addresses;
mod common;
mod dhcp;
mod frame;
mod icmp;
mod neighbours;
mod packet;
mod slab;
mod sockets;
mod stack;
mod tcp;
mod udp;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::time::{ClockId, clock_gettime};

use crate::network::{Abilities, Guest, Network, Offload, Source};
use crate::policy::Policy;
use crate::publish::Listener;
use common::About;
pub use common::Counters;
pub use sockets::Sockets;
pub(crate) use sockets::family;
use stack::Stack;
use tcp::DELAY;

/// Events of the host taken at a time.
const EVENTS: usize = 256;

/// What a user network is made from.
#[derive(Debug, Default)]
pub struct Options {
    /// The guest's Ethernet address, until it says another.
    pub mac: Option<[u8; 6]>,
    /// Whom it may reach.
    pub policy: Policy,
    /// Where it can be reached.
    pub listeners: Vec<Listener>,
    /// Who is asked for names.
    pub resolvers: Vec<SocketAddr>,
    /// The name that the guest is given.
    pub host_name: String,
}

/// The user network.
pub struct User {
    stack: Mutex<Stack>,
    epoll: Arc<OwnedFd>,
    wake: OwnedFd,
    /// When the thread that waits for the host will look again; zero while it works.
    asleep_until: AtomicU64,
    /// Whether the guest has sent something since that thread last looked.
    active: AtomicBool,
    /// Nanoseconds that tests have added to the time.
    later: AtomicU64,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").finish_non_exhaustive()
    }
}

impl User {
    /// With the host's sockets.
    ///
    /// # Errors
    /// The host's.
    pub fn new(options: Options) -> io::Result<Self> {
        Self::with_sockets(options, Box::new(sockets::HostSockets))
    }

    /// With sockets of somebody else.
    ///
    /// # Errors
    /// The host's.
    pub fn with_sockets(options: Options, sockets: Box<dyn Sockets>) -> io::Result<Self> {
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let data = epoll::EventData::new_u64(About::Wake.to_data());
        epoll::add(&*epoll, &wake, data, epoll::EventFlags::IN)?;
        Ok(Self {
            stack: Mutex::new(Stack::new(options, sockets, Arc::clone(&epoll))?),
            epoll,
            wake,
            asleep_until: AtomicU64::new(0),
            active: AtomicBool::new(false),
            later: AtomicU64::new(0),
        })
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        self.stack().common.counters
    }

    /// TCP connections that there are now.
    pub fn connections(&self) -> usize {
        self.stack().tcp.len()
    }

    /// Ends all flows. Published ports stay.
    pub fn reset(&self) {
        self.stack().reset();
    }

    fn now(&self) -> u64 {
        let now = clock_gettime(ClockId::Monotonic);
        let later = self.later.load(Ordering::Relaxed);
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64 + later
    }

    fn stack(&self) -> MutexGuard<'_, Stack> {
        let mut stack = self.stack.lock().unwrap_or_else(PoisonError::into_inner);
        stack.common.now = self.now();
        stack
    }

    /// Sends the guest what there is, letting others in now and then; when there is more to do.
    fn pump(&self, pair: usize, guest: &dyn Guest) {
        loop {
            let mut stack = self.stack();
            let more = stack.pump(guest);
            let deadline = stack.next_deadline();
            drop(stack);
            guest.flush(pair);
            if !more {
                return self.look_at(deadline);
            }
        }
    }

    /// Sees to it that something is done at `deadline`.
    fn look_at(&self, deadline: u64) {
        let asleep_until = self.asleep_until.load(Ordering::SeqCst);
        if asleep_until != 0 && deadline.saturating_add(DELAY) < asleep_until {
            self.wake();
        }
    }

    /// Serves what the host has now, as if `later` nanoseconds more had passed; for tests.
    pub fn serve_now(&self, guest: &dyn Guest, later: u64) {
        self.later.fetch_add(later, Ordering::SeqCst);
        let mut events = Vec::with_capacity(EVENTS);
        self.serve_events(guest, &mut events, Some(Timespec::default()));
    }

    /// Waits for the host, and serves what it has.
    fn serve_events(
        &self,
        guest: &dyn Guest,
        events: &mut Vec<epoll::Event>,
        patience: Option<Timespec>,
    ) {
        events.clear();
        let room = rustix::buffer::spare_capacity(events);
        let waited = epoll::wait(&*self.epoll, room, patience.as_ref());
        self.asleep_until.store(0, Ordering::SeqCst);
        if waited.is_err() {
            return;
        }
        let mut stack = self.stack();
        for event in events.iter() {
            let epoll::Event { flags, data } = *event;
            match About::from_data(data.u64()) {
                About::Wake => {
                    let _ = rustix::io::read(&self.wake, &mut [0; 8]);
                }
                about => stack.event(about, flags, guest),
            }
        }
        stack.expire(guest);
        drop(stack);
        self.pump(0, guest);
    }

    /// How long to wait for the host.
    fn patience(&self) -> Option<Timespec> {
        let mut until = self.stack().next_deadline();
        let now = self.now();
        if self.active.swap(false, Ordering::SeqCst) {
            // What the guest sends next wants to be acknowledged without waking anybody.
            until = until.min(now + DELAY);
        }
        self.asleep_until.store(until.max(1), Ordering::SeqCst);
        // What came before it could be seen that this sleeps.
        until = until.min(self.stack().next_deadline());
        (until != u64::MAX).then(|| {
            let wait = until.saturating_sub(now);
            Timespec {
                tv_sec: (wait / 1_000_000_000) as i64,
                tv_nsec: (wait % 1_000_000_000) as i64,
            }
        })
    }
}

impl Network for User {
    fn abilities(&self) -> Abilities {
        Abilities::ALL
    }

    fn mtu(&self) -> u16 {
        addresses::MTU
    }

    fn pairs(&self) -> usize {
        8
    }

    fn servers(&self) -> usize {
        1
    }

    fn transmit(&self, pair: usize, frame: &mut dyn Source, offload: Offload, guest: &dyn Guest) {
        self.stack().input(pair, frame, offload, guest);
    }

    fn transmitted(&self, pair: usize, guest: &dyn Guest) {
        self.active.store(true, Ordering::SeqCst);
        self.pump(pair, guest);
    }

    fn room(&self, pair: usize, guest: &dyn Guest) {
        self.pump(pair, guest);
    }

    fn serve(&self, _: usize, guest: &dyn Guest, stop: &AtomicBool) {
        let mut events = Vec::with_capacity(EVENTS);
        while !stop.load(Ordering::Acquire) {
            let patience = self.patience();
            self.serve_events(guest, &mut events, patience);
        }
    }

    fn wake(&self) {
        // A counter that is full wakes as well.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn counts(&self) -> Vec<(&'static str, u64)> {
        self.counters().list()
    }
}
