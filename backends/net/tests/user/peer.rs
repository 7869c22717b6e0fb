//! A guest with a TCP/IP stack of its own (smoltcp).

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use backend_net::user::Options;
use backend_net::user::addresses::{
    GATEWAY_V4, GATEWAY_V6, GUEST_MAC, GUEST_V4, GUEST_V6, MTU, PREFIX_V4,
};
use backend_net::{Abilities, Allowed, Network, Offload, Policy, User};
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as Time;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

use crate::wire::{Faults, Lane, Sent, Wire};

/// How long anything may take before a test fails: no figure, just no hang.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Phy {
    wire: Arc<Wire>,
    user: Arc<User>,
    lane: Lane,
    sent: bool,
}

impl Phy {
    /// Bytes of frames that came so far.
    pub(crate) fn delivered(&self) -> usize {
        self.wire.delivered.load(Ordering::Relaxed)
    }

    /// Has no buffer for the network, or has some again.
    pub(crate) fn fill(&self, is_full: bool) {
        self.wire.is_full.store(is_full, Ordering::Relaxed);
        if !is_full {
            self.user.room(0, self.wire.as_ref());
        }
    }
}

impl Device for Phy {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Time) -> Option<(Received, Sending<'_>)> {
        let (frame, room) = self.wire.take()?;
        if room {
            self.user.room(0, self.wire.as_ref());
        }
        Some((Received(frame), Sending(self)))
    }

    fn transmit(&mut self, _: Time) -> Option<Sending<'_>> {
        Some(Sending(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = usize::from(MTU) + 14;
        capabilities
    }
}

pub(crate) struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, use_it: F) -> R {
        use_it(&self.0)
    }
}

pub(crate) struct Sending<'a>(&'a mut Phy);

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut frame = vec![0; length];
        let result = fill(&mut frame);
        let Phy {
            wire, user, lane, ..
        } = self.0;
        for frame in lane.pass(frame) {
            user.transmit(0, &mut Sent(&frame), Offload::default(), wire.as_ref());
        }
        self.0.sent = true;
        result
    }
}

/// The network, its thread, and the guest.
pub(crate) struct Peer {
    pub(crate) user: Arc<User>,
    pub(crate) phy: Phy,
    pub(crate) interface: Interface,
    pub(crate) sockets: SocketSet<'static>,
    start: Instant,
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.user.wake();
        let ended = self.server.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || std::thread::panicking());
    }
}

/// What lets the guest reach this host's loopback, where the tests listen.
pub(crate) fn with_host() -> Options {
    Options {
        policy: Policy::new(&[Allowed::All, Allowed::Host]),
        ..Options::default()
    }
}

impl Peer {
    pub(crate) fn new(options: Options, faults: Faults) -> Self {
        let user = Arc::new(User::new(options).unwrap());
        let wire = Arc::new(Wire::new(faults, Abilities::default()));
        let stop = Arc::<AtomicBool>::default();
        let server = {
            let (user, wire, stop) = (Arc::clone(&user), Arc::clone(&wire), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    user.wait(0);
                    user.serve(0, wire.as_ref());
                    user.rest(0);
                }
            })
        };
        let mut phy = Phy {
            wire,
            user: Arc::clone(&user),
            lane: Lane::new(faults, 0x9876_5432_1fed),
            sent: false,
        };
        let address = HardwareAddress::Ethernet(EthernetAddress(GUEST_MAC));
        let mut config = Config::new(address);
        config.random_seed = 0x5eed;
        let mut interface = Interface::new(config, &mut phy, Time::from_millis(0));
        interface.update_ip_addrs(|addresses| {
            let v4 = IpCidr::new(GUEST_V4.into(), PREFIX_V4);
            addresses.push(v4).unwrap();
            addresses.push(IpCidr::new(GUEST_V6.into(), 64)).unwrap();
        });
        interface
            .routes_mut()
            .add_default_ipv4_route(GATEWAY_V4)
            .unwrap();
        interface
            .routes_mut()
            .add_default_ipv6_route(GATEWAY_V6)
            .unwrap();
        Self {
            user,
            phy,
            interface,
            sockets: SocketSet::new(Vec::new()),
            start: Instant::now(),
            stop,
            server: Some(server),
        }
    }

    /// Lets the guest run until `done` has something.
    pub(crate) fn until<R>(
        &mut self,
        what: &str,
        mut done: impl FnMut(&mut SocketSet<'static>, &mut Interface) -> Option<R>,
    ) -> R {
        let start = Instant::now();
        loop {
            if let Some(result) = done(&mut self.sockets, &mut self.interface) {
                self.poll();
                return result;
            }
            self.step();
            let counters = self.user.counters();
            assert!(
                start.elapsed() < PATIENCE,
                "{what} does not happen: {counters:?}"
            );
        }
    }

    /// Serves what is there; waits a little when there was nothing.
    pub(crate) fn step(&mut self) {
        if !self.poll() {
            self.phy.wire.wait(Duration::from_micros(300));
        }
    }

    /// Serves what is there; whether there was something.
    fn poll(&mut self) -> bool {
        let now = Time::from_micros(self.start.elapsed().as_micros() as i64);
        let polled = self.interface.poll(now, &mut self.phy, &mut self.sockets);
        let sent = std::mem::take(&mut self.phy.sent);
        if sent {
            self.user.transmitted(0, self.phy.wire.as_ref());
        }
        sent || polled == PollResult::SocketStateChanged
    }

    pub(crate) fn socket(&mut self, buffer: usize) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; buffer]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        self.sockets.add(socket)
    }

    /// Calls a port of this host's loopback, from `from`.
    pub(crate) fn call(&mut self, to: (Ipv4Addr, u16), from: u16, buffer: usize) -> SocketHandle {
        let handle = self.socket(buffer);
        let socket = self.sockets.get_mut::<tcp::Socket>(handle);
        socket.connect(self.interface.context(), to, from).unwrap();
        handle
    }
}
