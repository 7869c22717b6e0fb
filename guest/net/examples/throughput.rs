//! Prints how fast two stacks in one thread talk to each other, every payload byte being copied as
//! a driver and two programs would.

use std::net::SocketAddr;
use std::time::Instant;

use guest_net::{
    Config, Error, Family, Gso, Handle, InterfaceAddress, InterfaceConfig, InterfaceId, Kind, Mac,
    Nanos, Offloads, RxMeta, Stack, WriteFlags,
};

const LINK: InterfaceId = InterfaceId(1);

struct Frame {
    bytes: Vec<u8>,
    meta: RxMeta,
}

struct Bench {
    stacks: [Stack; 2],
    start: Instant,
    spare: Vec<Vec<u8>>,
    frames: u64,
}

fn address(of: usize, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, of as u8 + 1], port))
}

impl Bench {
    fn new(offload: bool) -> Self {
        let stacks = [0, 1].map(|of| {
            let mut stack = Stack::new(&Config {
                seed: [of as u64, 1],
                ..Config::default()
            });
            let config = InterfaceConfig {
                name: "eth0".into(),
                mac: Mac([2, 0, 0, 0, 0, of as u8 + 1]),
                mtu: 1_500,
                offloads: Offloads {
                    tx_checksum: offload,
                    tso_v4: offload,
                    tso_v6: offload,
                    tso_max: 0,
                },
                accept_advertisements: false,
            };
            stack.attach(config, Nanos(1));
            let own = InterfaceAddress::new(address(of, 0).ip(), 24);
            stack.add_address(LINK, own).expect("it is new");
            stack
        });
        Self {
            stacks,
            start: Instant::now(),
            spare: Vec::new(),
            frames: 0,
        }
    }

    fn now(&self) -> Nanos {
        Nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX) + 1_000)
    }

    fn exchange(&mut self) {
        for from in 0..2 {
            let now = self.now();
            self.stacks[from].poll(now);
            let mut frames = Vec::new();
            let spare = &mut self.spare;
            self.stacks[from].transmit(LINK, &mut |frame| {
                let mut bytes = spare.pop().unwrap_or_default();
                bytes.resize(frame.len(), 0);
                frame.copy_to(&mut bytes);
                let gso = frame.gso.map(|gso| Gso { ..gso });
                let meta = RxMeta {
                    checksum_valid: frame.checksum.is_some(),
                    gso,
                };
                frames.push(Frame { bytes, meta });
                frames.len() < 256
            });
            self.frames += frames.len() as u64;
            for frame in frames {
                self.stacks[1 - from].receive(LINK, &frame.bytes, &frame.meta, now);
                self.spare.push(frame.bytes);
            }
        }
    }

    fn pair(&mut self, server: usize, to: SocketAddr) -> (Handle, Handle) {
        let listener = self.stacks[server]
            .open(Kind::Stream, Family::V4)
            .expect("there is room");
        self.stacks[server].bind(listener, to).expect("it is free");
        self.stacks[server]
            .listen(listener, 5)
            .expect("it is bound");
        let client = self.stacks[0]
            .open(Kind::Stream, Family::V4)
            .expect("there is room");
        let now = self.now();
        assert_eq!(
            self.stacks[0].connect(client, to, now),
            Err(Error::InProgress)
        );
        loop {
            self.exchange();
            if let Ok((handle, _)) = self.stacks[server].accept(listener) {
                self.stacks[server].close(listener, now);
                return (client, handle);
            }
        }
    }
}

/// One way, writes and reads of 64 KiB.
fn bulk(name: &str, offload: bool, loopback: bool) {
    let mut bench = Bench::new(offload);
    let server = usize::from(!loopback);
    let to = if loopback {
        SocketAddr::from(([127, 0, 0, 1], 80))
    } else {
        address(1, 80)
    };
    let (client, end) = bench.pair(server, to);
    let data = vec![7; 65_536];
    let mut into = vec![0; 65_536];
    let total = 4_usize << 30;
    let (mut got, start, frames) = (0, Instant::now(), bench.frames);
    while got < total {
        let now = bench.now();
        loop {
            let mut at = 0;
            let mut fill = |room: &mut [u8]| {
                room.copy_from_slice(&data[at..at + room.len()]);
                at += room.len();
                room.len()
            };
            let flags = WriteFlags::default();
            let wrote = bench.stacks[0].write(client, 65_536, flags, &mut fill, now);
            if wrote != Ok(65_536) {
                break;
            }
        }
        bench.exchange();
        let mut take = |part: &[u8]| {
            into[..part.len()].copy_from_slice(part);
            part.len()
        };
        while let Ok(length) = bench.stacks[server].read(end, 65_536, false, &mut take, now) {
            got += length;
        }
        bench.exchange();
    }
    let seconds = start.elapsed().as_secs_f64();
    let rate = (bench.frames - frames) as f64 / seconds;
    println!(
        "{name}: {:.1} Gb/s, {rate:.0} frames/s",
        got as f64 * 8.0 / seconds / 1e9
    );
}

fn small() {
    let mut bench = Bench::new(true);
    let (client, end) = bench.pair(1, address(1, 80));
    let rounds = 500_000;
    let (start, frames) = (Instant::now(), bench.frames);
    let mut ends = [(0, client), (1, end)];
    for _ in 0..2 * rounds {
        let [(from, one), (to, other)] = ends;
        let now = bench.now();
        bench.stacks[from]
            .write(one, 64, WriteFlags::default(), &mut |room| room.len(), now)
            .expect("room");
        bench.exchange();
        let length = bench.stacks[to].read(other, 100, false, &mut |part| part.len(), now);
        assert_eq!(length, Ok(64));
        ends.reverse();
    }
    let nanos = start.elapsed().as_nanos() / rounds;
    let per_round = (bench.frames - frames) as f64 / rounds as f64;
    println!("64 bytes there and back: {nanos} ns, {per_round:.2} frames");
}

fn connections() {
    let mut bench = Bench::new(true);
    let listener = bench.stacks[1]
        .open(Kind::Stream, Family::V4)
        .expect("there is room");
    bench.stacks[1]
        .bind(listener, address(1, 80))
        .expect("it is free");
    bench.stacks[1].listen(listener, 5).expect("it is bound");
    let rounds = 25_000;
    let start = Instant::now();
    for _ in 0..rounds {
        let now = bench.now();
        let client = bench.stacks[0]
            .open(Kind::Stream, Family::V4)
            .expect("there is room");
        assert_eq!(
            bench.stacks[0].connect(client, address(1, 80), now),
            Err(Error::InProgress)
        );
        let end = loop {
            bench.exchange();
            if let Ok((end, _)) = bench.stacks[1].accept(listener) {
                break end;
            }
        };
        bench.stacks[0].close(client, now);
        bench.exchange();
        bench.stacks[1].close(end, now);
        bench.exchange();
    }
    println!(
        "connect, accept, close: {} ns",
        start.elapsed().as_nanos() / rounds
    );
}

fn main() {
    bulk("frames of 1,500 bytes, checksums in software", false, false);
    bulk("checksums and segmentation left to the device", true, false);
    bulk("loopback", false, true);
    small();
    connections();
}
