//! The TCP/IP stack between a hostile link and a program that calls as it likes.

mod frames;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use frames::{Seen, Source};
use guest_net::{
    Config, Family, Handle, InterfaceAddress, InterfaceConfig, InterfaceId, Kind, Mac, Message,
    Nanos, Offloads, Shutdown, Stack, WriteFlags,
};

use crate::script::Script;

const LINK: InterfaceId = InterfaceId(1);
const OWN: Mac = Mac([2, 0, 0, 0, 0, 2]);
const MEMORY: usize = 8 << 20;

/// The stack, what it has sent last, and the program's sockets.
struct World<'d> {
    stack: Stack,
    script: Script<'d>,
    seen: Seen,
    sockets: Vec<Handle>,
    now: Nanos,
}

/// Frames and calls as the input says. Nothing may panic or overflow, memory stays within its
/// limit, and when the program is gone, all that it had is gone some time later.
///
/// # Panics
/// When one of these is not so.
pub fn net_stack(data: &[u8]) {
    let mut world = World::new(data);
    while let Some(step) = world.script.byte() {
        world.step(step);
        assert!(world.stack.memory_used() <= MEMORY, "as it was told");
    }
    world.end();
}

impl<'d> World<'d> {
    fn new(data: &'d [u8]) -> Self {
        let mut script = Script::new(data);
        let ways = script.byte().unwrap_or(0);
        let offload = ways & 1 != 0;
        let mut stack = Stack::new(&Config {
            seed: [3, 4],
            memory: MEMORY,
            sockets: 64,
        });
        let config = InterfaceConfig {
            name: "eth0".into(),
            mac: OWN,
            mtu: 1_500,
            offloads: Offloads {
                tx_checksum: offload,
                tso_v4: offload,
                tso_v6: offload,
                tso_max: 0,
            },
            accept_advertisements: true,
        };
        let now = Nanos::from_secs(100);
        assert_eq!(stack.attach(config, now), LINK);
        for (address, prefix) in [(frames::OWN_V4.into(), 24), (frames::OWN_V6.into(), 64)] {
            let address = InterfaceAddress::new(address, prefix);
            stack.add_address(LINK, address).expect("it is new");
        }
        if ways & 2 != 0 {
            stack
                .start_dhcp(LINK, Some("husk"), now)
                .expect("it is there");
        }
        Self {
            stack,
            script,
            seen: Seen::default(),
            sockets: Vec::new(),
            now,
        }
    }

    fn step(&mut self, step: u8) {
        match step % 24 {
            0..=8 => self.frame(step),
            9 => self.open(),
            10 => self.bind_or_listen(),
            11 => self.connect(),
            12 => self.accept(),
            13 => self.write(),
            14 => self.read(),
            15 => self.send_datagram(),
            16 => self.receive_datagram(),
            17 => self.shut_down(),
            18 => self.close(),
            19 => self.set_options(),
            20 => self.groups(),
            21 => self.transmit(true),
            22 => self.transmit(false),
            _ => self.pass_time(),
        }
    }

    fn frame(&mut self, kind: u8) {
        let source = Source {
            script: &mut self.script,
            seen: &self.seen,
        };
        let (frame, meta) = source.frame(kind % 24);
        self.stack.receive(LINK, &frame, &meta, self.now);
    }

    fn socket(&mut self) -> Handle {
        let at = usize::from(self.script.byte().unwrap_or(0));
        let picked = self
            .sockets
            .get(at.checked_rem(self.sockets.len()).unwrap_or(0));
        picked
            .copied()
            .unwrap_or_else(|| self.fresh(Kind::Stream, Family::V4))
    }

    fn fresh(&mut self, kind: Kind, family: Family) -> Handle {
        match self.stack.open(kind, family) {
            Ok(handle) => {
                self.sockets.push(handle);
                handle
            }
            Err(_) => self.sockets.first().copied().unwrap_or_else(|| {
                // Orphans have all places: nobody's handle does as well.
                let mut other = Stack::new(&Config::default());
                other.open(kind, family).expect("it is empty")
            }),
        }
    }

    fn open(&mut self) {
        let choice = self.script.byte().unwrap_or(0);
        let kind = match choice & 7 {
            0..=3 => Kind::Stream,
            4 | 5 => Kind::Datagram,
            6 => Kind::Echo,
            _ => Kind::Raw([1, 6, 17, 58, 99][usize::from(choice >> 4) % 5]),
        };
        let family = if choice & 8 == 0 {
            Family::V4
        } else {
            Family::V6
        };
        self.fresh(kind, family);
    }

    fn address(&mut self) -> SocketAddr {
        let choice = self.script.byte().unwrap_or(0);
        let ip: IpAddr = match choice & 15 {
            0 => Ipv4Addr::UNSPECIFIED.into(),
            1 => Ipv6Addr::UNSPECIFIED.into(),
            2 => Ipv4Addr::LOCALHOST.into(),
            3 => Ipv6Addr::LOCALHOST.into(),
            4 | 5 => frames::OWN_V4.into(),
            6 => frames::OWN_V6.into(),
            7..=9 => frames::PEER_V4.into(),
            10 => frames::PEER_V6.into(),
            11 => Ipv4Addr::BROADCAST.into(),
            12 => Ipv4Addr::new(224, 0, 0, 5).into(),
            13 => frames::PEER_V4.to_ipv6_mapped().into(),
            14 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 5).into(),
            _ => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9).into(),
        };
        SocketAddr::new(ip, u16::from(choice >> 4))
    }

    fn bind_or_listen(&mut self) {
        let handle = self.socket();
        let address = self.address();
        let _ = self.stack.bind(handle, address);
        let backlog = usize::from(self.script.byte().unwrap_or(0) % 8);
        let _ = self.stack.listen(handle, backlog);
    }

    fn connect(&mut self) {
        let handle = self.socket();
        let address = self.address();
        let _ = self.stack.connect(handle, address, self.now);
    }

    fn accept(&mut self) {
        let handle = self.socket();
        if let Ok((child, _)) = self.stack.accept(handle) {
            self.sockets.push(child);
        }
    }

    fn write(&mut self) {
        let handle = self.socket();
        let length = self.script.number::<2>() as usize * 8;
        let ways = self.script.byte().unwrap_or(0);
        let flags = WriteFlags {
            more: ways & 1 != 0,
            urgent: ways & 2 != 0,
        };
        let short = ways & 4 != 0;
        let mut fill = |room: &mut [u8]| {
            room.fill(ways);
            if short { room.len() / 2 } else { room.len() }
        };
        if let Ok(done) = self.stack.write(handle, length, flags, &mut fill, self.now) {
            assert!(done <= length, "no more than asked");
        }
    }

    fn read(&mut self) {
        let handle = self.socket();
        let length = self.script.number::<2>() as usize;
        let peek = length & 7 == 7;
        let mut take = |part: &[u8]| part.len() - usize::from(length & 8 != 0).min(part.len());
        if let Ok(done) = self.stack.read(handle, length, peek, &mut take, self.now) {
            assert!(done <= length, "no more than asked");
        }
        let _ = self.stack.read_urgent(handle, peek, self.now);
        let _ = (self.stack.is_at_mark(handle), self.stack.tcp_info(handle));
    }

    fn send_datagram(&mut self) {
        let handle = self.socket();
        let to = self.address();
        let length = self.script.number::<2>() as usize;
        let message = Message {
            to: (length & 1 == 0).then_some(to),
            hop_limit: (length & 2 != 0).then_some(3),
            ..Message::default()
        };
        let mut fill = |room: &mut [u8]| {
            room.fill(8);
            if let [_, code, ..] = room {
                *code = 0;
            }
            room.len()
        };
        let _ = self
            .stack
            .send_datagram(handle, &message, length, &mut fill, self.now);
    }

    fn receive_datagram(&mut self) {
        let handle = self.socket();
        let _ = self.stack.receive_datagram(handle, false, &mut |_, _| {});
    }

    fn shut_down(&mut self) {
        let handle = self.socket();
        let ways = [Shutdown::Read, Shutdown::Write, Shutdown::Both];
        let how = ways[usize::from(self.script.byte().unwrap_or(0)) % 3];
        let _ = self.stack.shutdown(handle, how, self.now);
    }

    fn close(&mut self) {
        if self.sockets.is_empty() {
            return;
        }
        let at = usize::from(self.script.byte().unwrap_or(0)) % self.sockets.len();
        let handle = self.sockets.swap_remove(at);
        if self.script.byte() == Some(0) {
            let _ = self.stack.disconnect(handle, self.now);
        }
        self.stack.close(handle, self.now);
    }

    fn set_options(&mut self) {
        let handle = self.socket();
        let bits = self.script.number::<3>();
        let _ = self.stack.set_options(handle, self.now, |options| {
            let bit = |at: u32| bits >> at & 1 != 0;
            options.reuse_address = bit(0);
            options.reuse_port = bit(1);
            options.only_v6 = bit(2);
            options.broadcast = bit(3);
            options.no_delay = bit(4);
            options.cork = bit(5);
            options.keep_alive = bit(6);
            options.urgent_inline = bit(7);
            options.header_included = bit(8);
            options.dont_fragment = bit(9);
            options.linger = bit(10).then_some(Nanos::ZERO);
            options.send_buffer = if bit(11) { 1 << (bits >> 16 & 15) } else { 0 };
            options.receive_buffer = if bit(12) { 1 << (bits >> 16 & 31) } else { 0 };
            options.max_segment = if bit(13) { (bits >> 16) as u16 } else { 0 };
            options.keep_idle = Nanos::from_secs(1 + (bits >> 20 & 7));
        });
    }

    fn groups(&mut self) {
        let handle = self.socket();
        let group = self.address().ip();
        let _ = self.stack.join_group(handle, group, Some(LINK));
        if self.script.byte() == Some(1) {
            let _ = self.stack.leave_group(handle, group, Some(LINK));
        }
    }

    /// Takes frames; a device that is full takes only a few.
    fn transmit(&mut self, all: bool) {
        self.stack.poll(self.now);
        let mut left = if all { usize::MAX } else { 1 };
        let mut seen = std::mem::take(&mut self.seen);
        self.stack.transmit(LINK, &mut |frame| {
            assert!(frame.len() <= 14 + 65_575, "as large as packets get");
            assert!(
                frame.gso.is_some() || frame.len() <= 14 + 1_500,
                "as large as the link takes"
            );
            if left == 0 {
                return false;
            }
            left -= 1;
            seen.note(&frame);
            true
        });
        self.seen = seen;
        while let Some(handle) = self.stack.next_changed() {
            let _ = self.stack.readiness(handle);
        }
    }

    fn pass_time(&mut self) {
        let shift = u32::from(self.script.byte().unwrap_or(0) % 41);
        self.now = self.now + Nanos(1 << shift);
        self.stack.poll(self.now);
    }

    /// The program ends, and then the connections that it left.
    fn end(&mut self) {
        self.sockets.clear();
        self.stack.close_all(self.now);
        match self.script.byte() {
            Some(1) => self.stack.probe_undelivered(self.now),
            Some(2) => {
                self.stack.reset_undelivered(self.now);
                // What is left waits for a device or a neighbour.
                self.transmit(true);
            }
            _ => {}
        }
        let last = self.now + Nanos::from_secs(3_600);
        for _ in 0..20_000 {
            self.transmit(true);
            match self.stack.next_deadline() {
                Some(next) if next < last => self.now = self.now.max(next),
                _ => break,
            }
            self.stack.poll(self.now);
        }
        self.now = self.now.max(last);
        self.stack.poll(self.now);
        self.transmit(true);
        let left: Vec<_> = self.stack.sockets().collect();
        assert!(left.is_empty(), "sockets that nobody has end: {left:?}");
        assert_eq!(self.stack.memory_used(), 0, "and so does their memory");
    }
}
