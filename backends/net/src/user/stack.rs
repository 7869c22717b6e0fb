//! All flows of one guest, and to which of them a frame or an event goes.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::epoll::EventFlags;
use rustix::net::{SocketFlags, acceptfrom_with};

use super::addresses::{GUEST_MAC, Place, place};
use super::common::{About, Common};
use super::packet::{self, Bad, Front, ICMP, ICMP_V6, KIND_ARP, KIND_V4, KIND_V6, Packet};
use super::sockets::Sockets;
use super::tcp::{Arrival, Tcp};
use super::udp::{Origin, Udp};
use super::{Options, dhcp, icmp, neighbours};
use crate::network::{Guest, Offload, Source};

/// Callers accepted at a time, before others are served.
const ACCEPTED: usize = 256;

/// A port of the host that is listened on, for one of the guest.
struct Door {
    socket: Arc<OwnedFd>,
    guest: u16,
    udp: bool,
}

pub(super) struct Stack {
    pub(super) common: Common,
    pub(super) tcp: Tcp,
    udp: Udp,
    doors: Vec<Door>,
    /// Doors before which somebody still waits.
    waiting: Vec<u32>,
    host_name: String,
}

impl Stack {
    pub(super) fn new(
        options: Options,
        sockets: Box<dyn Sockets>,
        epoll: Arc<OwnedFd>,
    ) -> io::Result<Self> {
        let mac = options.mac.unwrap_or(GUEST_MAC);
        let common = Common::new(epoll, sockets, options.policy, options.resolvers, mac);
        // The rest of the descriptors is for others.
        let descriptors = descriptors();
        let mut udp = Udp::new(descriptors / 8);
        let mut doors = Vec::new();
        for (number, listener) in (0..).zip(options.listeners) {
            common.watch(&listener.socket, About::Listener(number))?;
            let socket = Arc::new(listener.socket);
            if listener.udp {
                udp.publish(Arc::clone(&socket), listener.guest, number);
            }
            doors.push(Door {
                socket,
                guest: listener.guest,
                udp: listener.udp,
            });
        }
        Ok(Self {
            common,
            tcp: Tcp::new(descriptors / 8 * 5),
            udp,
            doors,
            waiting: Vec::new(),
            host_name: options.host_name,
        })
    }

    /// A frame of the guest.
    pub(super) fn input(
        &mut self,
        pair: usize,
        frame: &mut dyn Source,
        offload: Offload,
        guest: &dyn Guest,
    ) {
        self.common.counters.from_guest += 1;
        let front = Front::of(frame);
        let (Some(mac), Some(kind)) = (front.array::<6>(6), front.word(12)) else {
            self.common.counters.malformed += 1;
            return;
        };
        let length = frame.remaining();
        let packet = match kind {
            KIND_ARP => return neighbours::arp(&mut self.common, guest, pair, &front),
            KIND_V4 => packet::v4(&front, length),
            KIND_V6 => packet::v6(&front, length),
            // Other protocols are not spoken here.
            _ => return,
        };
        let counters = &mut self.common.counters;
        let intact = |packet: &Packet| offload.checksum.is_some() || has_no_sum(packet, &front);
        match packet {
            Ok(packet) if !intact(&packet) && !packet.is_intact(frame, &front) => {
                counters.checksum += 1;
            }
            Ok(packet) => {
                self.common.mac = mac;
                let origin = Origin { guest, pair, mac };
                self.packet(&origin, &front, &packet, frame);
            }
            Err(Bad::Malformed) => counters.malformed += 1,
            Err(Bad::Checksum) => counters.checksum += 1,
            Err(Bad::Fragment) => counters.fragments += 1,
        }
    }

    fn packet(
        &mut self,
        origin: &Origin<'_>,
        front: &Front,
        packet: &Packet,
        frame: &mut dyn Source,
    ) {
        match packet.protocol {
            packet::TCP => match packet::segment(front, packet) {
                Some(segment) if !packet.destination.is_multicast() => {
                    let arrival = Arrival {
                        packet,
                        segment,
                        source: frame,
                        guest: origin.guest,
                        pair: origin.pair,
                        mac: origin.mac,
                    };
                    self.tcp.input(&mut self.common, arrival);
                }
                _ => self.common.counters.malformed += 1,
            },
            packet::UDP => self.datagram(origin, front, packet, frame),
            ICMP | ICMP_V6 => self.message(origin, packet, frame),
            _ => {}
        }
    }

    fn datagram(
        &mut self,
        origin: &Origin<'_>,
        front: &Front,
        packet: &Packet,
        frame: &mut dyn Source,
    ) {
        let Some(datagram) = packet::datagram(front, packet) else {
            self.common.counters.malformed += 1;
            return;
        };
        let Origin { guest, pair, mac } = *origin;
        if packet.source.is_ipv4() && datagram.destination == dhcp::PORT_SERVER {
            let message = packet.payload(frame, 1500).split_off(8);
            if let Some((head, reply)) = dhcp::answer(&message, mac, &self.host_name) {
                self.common.say(guest, pair, head, &reply);
            }
            return;
        }
        if is_for_one(packet) {
            let what = (packet, datagram);
            self.udp.input(&mut self.common, origin, what, frame);
        }
    }

    fn message(&mut self, origin: &Origin<'_>, packet: &Packet, frame: &mut dyn Source) {
        let Origin { guest, pair, mac } = *origin;
        let is_v6 = packet.source.is_ipv6();
        if is_v6 != (packet.protocol == ICMP_V6) {
            return;
        }
        if is_v6 && neighbours::input(&mut self.common, guest, (pair, mac), packet, frame) {
            return;
        }
        if !is_for_one(packet) {
            return;
        }
        let (request, _) = icmp::echo_kinds(!is_v6);
        let is_request = packet.payload(frame, 1).first() == Some(&request);
        match place(packet.destination) {
            Place::Gateway | Place::Dns if is_request => {
                icmp::answer_echo(&mut self.common, guest, (pair, mac), packet, frame);
            }
            Place::Elsewhere => self.udp.echo(&mut self.common, origin, packet, frame),
            _ => {}
        }
    }

    /// Something happened on the host's side.
    pub(super) fn event(&mut self, about: About, flags: EventFlags, guest: &dyn Guest) {
        match about {
            About::Tcp(id) => {
                let ends = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
                let state = (flags.contains(EventFlags::OUT), flags.intersects(ends));
                self.tcp.event(&mut self.common, guest, id, state);
            }
            About::Udp(id) => self.udp.event(id),
            About::Listener(number) => {
                if !self.waiting.contains(&number) {
                    self.waiting.push(number);
                }
            }
        }
    }

    /// Lets callers in; whether others wait.
    fn let_in(&mut self, guest: &dyn Guest) -> bool {
        let mut still = Vec::new();
        for number in std::mem::take(&mut self.waiting) {
            let Some(door) = self.doors.get(number as usize) else {
                continue;
            };
            let more = if door.udp {
                self.udp.called(&mut self.common, guest, number)
            } else {
                let (socket, port) = (Arc::clone(&door.socket), door.guest);
                self.accept(guest, &socket, port)
            };
            if more {
                still.push(number);
            }
        }
        self.waiting = still;
        // With no place left for them they wait where they are.
        !self.waiting.is_empty() && !self.tcp.is_full()
    }

    fn accept(&mut self, guest: &dyn Guest, socket: &OwnedFd, port: u16) -> bool {
        for _ in 0..ACCEPTED {
            if self.tcp.is_full() {
                return true;
            }
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match acceptfrom_with(socket, flags) {
                Ok((stream, caller)) => {
                    let caller = caller.and_then(|caller| SocketAddr::try_from(caller).ok());
                    let caller = caller.unwrap_or(SocketAddr::from(([0; 4], 0)));
                    // Small answers go at once, as those of flows that the guest began.
                    let _ = rustix::net::sockopt::set_tcp_nodelay(&stream, true);
                    self.tcp
                        .call_in(&mut self.common, guest, (stream, caller), port);
                }
                Err(rustix::io::Errno::AGAIN) => return false,
                // Whoever called has gone.
                Err(rustix::io::Errno::CONNABORTED) => {}
                // No descriptors: tried again when something ends.
                Err(_) => return true,
            }
        }
        true
    }

    /// Does what is due.
    pub(super) fn expire(&mut self, guest: &dyn Guest) {
        self.tcp.expire(&mut self.common, guest);
        self.udp.expire(&mut self.common);
    }

    /// Sends the guest what there is; whether there is more to do.
    pub(super) fn pump(&mut self, guest: &dyn Guest) -> bool {
        let before = self.common.counters.connections;
        let callers = self.let_in(guest) && self.common.counters.connections != before;
        let datagrams = self.udp.pump(&mut self.common, guest);
        self.tcp.pump(&mut self.common, guest) | datagrams | callers
    }

    /// When something is to be done, at the latest.
    pub(super) fn next_deadline(&mut self) -> u64 {
        self.tcp.next_deadline().min(self.udp.next_deadline())
    }

    /// Ends all flows.
    pub(super) fn reset(&mut self) {
        self.tcp.clear();
        self.udp.clear();
    }
}

/// How many this process may have.
fn descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let limit = limit.current.unwrap_or(u64::MAX);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Whether it has no checksum to look at: none is made for UDP over IPv4 that says zero, and
/// what is not understood is not looked at.
fn has_no_sum(packet: &Packet, front: &Front) -> bool {
    match packet.protocol {
        packet::UDP if packet.source.is_ipv4() => front.word(packet.start + 6) == Some(0),
        packet::TCP | packet::UDP => false,
        ICMP => !packet.source.is_ipv4(),
        ICMP_V6 => !packet.source.is_ipv6(),
        _ => true,
    }
}

/// Whether it is for one receiver, and its sender has a name.
fn is_for_one(packet: &Packet) -> bool {
    let to_all = match packet.destination {
        std::net::IpAddr::V4(address) => address.is_broadcast() || address.octets()[3] == 255,
        std::net::IpAddr::V6(_) => false,
    };
    !to_all && !packet.destination.is_multicast() && !packet.source.is_unspecified()
}
