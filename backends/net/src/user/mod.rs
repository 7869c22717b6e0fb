//! A network for which nobody needs a privilege: between the guest's frames and sockets of
//! the host, translated at the transport layer.
//!
//! * [`User`]: the host end. One lock holds all flows; whoever takes the guest's frames or the
//!   host's events does all that follows from them. Nothing is handed over in between.
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
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{Timespec, epoll};
use rustix::time::{ClockId, clock_gettime};

use crate::network::{Abilities, Guest, Network, Offload, Source};
use crate::policy::Policy;
use crate::publish::Listener;
use crate::watch::Watch;
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
    watch: Watch,
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
        Ok(Self {
            stack: Mutex::new(Stack::new(options, sockets, Arc::clone(&epoll))?),
            watch: Watch::new(&epoll)?,
            epoll,
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
        self.serve(0, guest);
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
        if self.watch.is_held() {
            // Another works, and does what is due.
            until = until.max(now + DELAY);
        }
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

    fn wait(&self, _: usize) {
        self.watch.wait(self.patience());
        self.asleep_until.store(0, Ordering::SeqCst);
    }

    fn serve(&self, _: usize, guest: &dyn Guest) {
        let mut events = [const { MaybeUninit::uninit() }; EVENTS];
        let now = Some(&Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        });
        // What cannot be asked now is asked again: its readiness stays.
        let waited = epoll::wait(&*self.epoll, &mut events, now);
        let (events, _) = waited.unwrap_or_default();
        let mut stack = self.stack();
        for event in events {
            let epoll::Event { flags, data } = *event;
            if let Some(about) = About::from_data(data.u64()) {
                stack.event(about, flags, guest);
            }
        }
        stack.expire(guest);
        drop(stack);
        self.pump(0, guest);
    }

    fn hold(&self, _: usize) {
        self.watch.hold(&self.epoll);
    }

    fn rest(&self, _: usize) {
        self.watch.rest(&self.epoll);
    }

    fn wake(&self) {
        self.watch.wake();
    }

    fn counts(&self) -> Vec<(&'static str, u64)> {
        self.counters().list()
    }
}
