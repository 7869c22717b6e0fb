//! Two stacks, a wire between them, and time: all of it decided by a seed.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr};

use guest_net::{
    Config, Error, Family, Gso, Handle, InterfaceAddress, InterfaceConfig, InterfaceId, Kind, Mac,
    Nanos, Offloads, RxMeta, Stack, WriteFlags,
};

/// What happens to frames, in percent.
#[derive(Clone, Copy, Default)]
pub(crate) struct Trouble {
    pub(crate) loss: u64,
    pub(crate) reorder: u64,
    pub(crate) duplicate: u64,
    pub(crate) corrupt: u64,
}

/// Numbers that look random.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }
}

type Flying = (Nanos, u64, usize, Vec<u8>, bool, Option<(bool, u16)>);

pub(crate) struct World {
    pub(crate) stacks: [Stack; 2],
    pub(crate) now: Nanos,
    pub(crate) trouble: Trouble,
    pub(crate) delay: Nanos,
    pub(crate) random: Random,
    pub(crate) frames: u64,
    /// Nothing passes.
    pub(crate) cut: bool,
    flying: BinaryHeap<Reverse<Flying>>,
    count: u64,
}

pub(crate) const LINK: InterfaceId = InterfaceId(1);

pub(crate) fn address(of: usize, port: u16) -> SocketAddr {
    let ip: IpAddr = format!("10.0.0.{}", of + 1).parse().unwrap();
    SocketAddr::new(ip, port)
}

pub(crate) fn address_v6(of: usize, port: u16) -> SocketAddr {
    let ip: IpAddr = format!("fd00::{}", of + 1).parse().unwrap();
    SocketAddr::new(ip, port)
}

fn stack(of: usize, offloads: Offloads, mtu: u16) -> Stack {
    let mut stack = Stack::new(&Config {
        seed: [of as u64, 77],
        ..Config::default()
    });
    let id = stack.attach(
        InterfaceConfig {
            name: "eth0".into(),
            mac: Mac([2, 0, 0, 0, 0, of as u8 + 1]),
            mtu,
            offloads,
            accept_advertisements: false,
        },
        Nanos::ZERO,
    );
    assert_eq!(id, LINK);
    stack
        .add_address(id, InterfaceAddress::new(address(of, 0).ip(), 24))
        .unwrap();
    stack
        .add_address(id, InterfaceAddress::new(address_v6(of, 0).ip(), 64))
        .unwrap();
    stack
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, Offloads::default(), 1_500)
    }

    pub(crate) fn with(seed: u64, offloads: Offloads, mtu: u16) -> Self {
        Self {
            stacks: [stack(0, offloads, mtu), stack(1, offloads, mtu)],
            now: Nanos::from_secs(1),
            trouble: Trouble::default(),
            delay: Nanos::from_millis(1),
            random: Random(seed.wrapping_mul(2) + 1),
            frames: 0,
            cut: false,
            flying: BinaryHeap::new(),
            count: 0,
        }
    }

    /// Takes what both have to send, and delivers what has arrived by now.
    pub(crate) fn exchange(&mut self) {
        for from in 0..2 {
            self.stacks[from].poll(self.now);
            let mut frames = Vec::new();
            self.stacks[from].transmit(LINK, &mut |frame| {
                let mut bytes = vec![0; frame.len()];
                assert_eq!(frame.copy_to(&mut bytes), frame.len());
                let gso = frame
                    .gso
                    .map(|Gso { kind, size }| (kind == guest_net::GsoKind::TcpV4, size));
                frames.push((bytes, frame.checksum.is_some(), gso));
                true
            });
            for (bytes, valid, gso) in frames {
                self.fly(1 - from, bytes, valid, gso);
            }
        }
    }

    fn fly(&mut self, to: usize, mut bytes: Vec<u8>, valid: bool, gso: Option<(bool, u16)>) {
        self.frames += 1;
        if self.cut || self.random.percent(self.trouble.loss) {
            return;
        }
        if self.random.percent(self.trouble.corrupt) {
            let at = self.random.next() as usize % bytes.len();
            bytes[at] ^= 1 << (self.random.next() % 8);
        }
        let copies = 1 + u64::from(self.random.percent(self.trouble.duplicate));
        for _ in 0..copies {
            let mut at = self.now + self.delay;
            if self.random.percent(self.trouble.reorder) {
                at = at + Nanos(self.random.next() % (3 * self.delay.0));
            }
            self.count += 1;
            self.flying
                .push(Reverse((at, self.count, to, bytes.clone(), valid, gso)));
        }
    }

    /// Goes to the next thing that happens; false if nothing ever will before `until`.
    pub(crate) fn step(&mut self, until: Nanos) -> bool {
        self.exchange();
        let arrival = self.flying.peek().map(|Reverse(first)| first.0);
        let deadlines = self.stacks.iter().filter_map(Stack::next_deadline);
        let next = deadlines.chain(arrival).min().unwrap_or(Nanos::MAX);
        if next >= until {
            self.now = self.now.max(until);
            return false;
        }
        self.now = self.now.max(next);
        while let Some(Reverse(first)) = self.flying.peek() {
            if first.0 > self.now {
                break;
            }
            let Some(Reverse((_, _, to, bytes, valid, gso))) = self.flying.pop() else {
                break;
            };
            let kind = |v4| {
                if v4 {
                    guest_net::GsoKind::TcpV4
                } else {
                    guest_net::GsoKind::TcpV6
                }
            };
            let meta = RxMeta {
                checksum_valid: valid,
                gso: gso.map(|(v4, size)| Gso {
                    kind: kind(v4),
                    size,
                }),
            };
            self.stacks[to].receive(LINK, &bytes, &meta, self.now);
        }
        self.exchange();
        true
    }

    pub(crate) fn run_for(&mut self, time: Nanos) {
        let until = self.now + time;
        while self.step(until) {}
    }

    /// Steps until something is so; panics when it never is.
    pub(crate) fn until(&mut self, limit: Nanos, mut done: impl FnMut(&mut Self) -> bool) {
        let end = self.now + limit;
        loop {
            if done(self) {
                return;
            }
            self.exchange();
            assert!(self.step(end), "it did not come about by {:?}", self.now);
        }
    }

    pub(crate) fn listen(&mut self, on: usize, at: SocketAddr, backlog: usize) -> Handle {
        let family = if at.is_ipv4() { Family::V4 } else { Family::V6 };
        let stack = &mut self.stacks[on];
        let handle = stack.open(Kind::Stream, family).unwrap();
        stack.bind(handle, at).unwrap();
        stack.listen(handle, backlog).unwrap();
        handle
    }

    pub(crate) fn connect(&mut self, from: usize, to: SocketAddr) -> Handle {
        let family = if to.is_ipv4() { Family::V4 } else { Family::V6 };
        let stack = &mut self.stacks[from];
        let handle = stack.open(Kind::Stream, family).unwrap();
        assert_eq!(stack.connect(handle, to, self.now), Err(Error::InProgress));
        handle
    }

    /// A connection from the first stack to the second: both ends.
    pub(crate) fn pair(&mut self, port: u16) -> (Handle, Handle) {
        let listener = self.listen(1, address(1, port), 16);
        let client = self.connect(0, address(1, port));
        let mut server = None;
        self.until(Nanos::from_secs(200), |world| {
            server = server.or(world.stacks[1]
                .accept(listener)
                .ok()
                .map(|(handle, _)| handle));
            server.is_some() && world.stacks[0].readiness(client).writable
        });
        let now = self.now;
        self.stacks[1].close(listener, now);
        (client, server.unwrap())
    }

    pub(crate) fn write(
        &mut self,
        on: usize,
        handle: Handle,
        bytes: &[u8],
    ) -> Result<usize, Error> {
        let mut rest = bytes;
        self.stacks[on].write(
            handle,
            bytes.len(),
            WriteFlags::default(),
            &mut |room| {
                room.copy_from_slice(&rest[..room.len()]);
                rest = &rest[room.len()..];
                room.len()
            },
            self.now,
        )
    }

    pub(crate) fn read(
        &mut self,
        on: usize,
        handle: Handle,
        most: usize,
    ) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        let mut take = |part: &[u8]| {
            all.extend_from_slice(part);
            part.len()
        };
        self.stacks[on].read(handle, most, false, &mut take, self.now)?;
        Ok(all)
    }

    /// Sends so many bytes both ways at once and checks that they arrive.
    pub(crate) fn transfer(&mut self, ends: [Handle; 2], bytes: usize, chunk: usize, limit: Nanos) {
        let (mut sent, mut got) = ([0; 2], [0; 2]);
        self.until(limit, |world| {
            let mut moved = true;
            while std::mem::take(&mut moved) {
                for side in 0..2 {
                    let length = chunk.min(bytes - sent[side]);
                    let data = pattern(sent[side], length);
                    if let Ok(done) = world.write(side, ends[side], &data) {
                        sent[side] += done;
                        moved |= done > 0;
                    }
                    match world.read(side, ends[side], chunk) {
                        Ok(data) => {
                            assert_eq!(data, pattern(got[side], data.len()), "at {}", got[side]);
                            got[side] += data.len();
                            moved |= !data.is_empty();
                        }
                        Err(error) => assert_eq!(error, Error::WouldBlock),
                    }
                }
                world.exchange();
            }
            got == [bytes; 2]
        });
    }
}

/// Bytes of a stream that differ from place to place.
pub(crate) fn pattern(start: usize, length: usize) -> Vec<u8> {
    (start..start + length)
        .map(|at| (at ^ (at >> 8) ^ (at >> 15)) as u8)
        .collect()
}
