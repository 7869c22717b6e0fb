//! A stack on a TAP device, which is the standard input.

use std::net::{IpAddr, SocketAddr};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use guest_net::{
    Config, Gso, GsoKind, InterfaceAddress, InterfaceConfig, InterfaceId, Mac, Nanos, Offloads,
    OutFrame, RxMeta, Stack,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::stdio::stdin;

/// How the device works.
#[derive(Clone, Copy)]
pub(crate) struct Mode {
    /// Checksums and segmentation are left to the other side, by virtio's header.
    pub(crate) offload: bool,
    /// Frames lost each way, in percent.
    pub(crate) loss: u64,
}

pub(crate) struct Tap {
    pub(crate) stack: Stack,
    mode: Mode,
    link: InterfaceId,
    start: Instant,
    random: u64,
    buffer: Vec<u8>,
}

const VNET: usize = 10;

fn at(v6: bool, host: u8, port: u16) -> SocketAddr {
    let prefix = if v6 { "fd09::" } else { "10.9.0." };
    let ip: IpAddr = format!("{prefix}{host}").parse().expect("it is an address");
    SocketAddr::new(ip, port)
}

/// An address of ours.
pub(crate) fn own(v6: bool, port: u16) -> SocketAddr {
    at(v6, 2, port)
}

/// One of Linux'.
pub(crate) fn theirs(v6: bool, port: u16) -> SocketAddr {
    at(v6, 1, port)
}

impl Tap {
    pub(crate) fn new(mode: Mode) -> Self {
        let mut stack = Stack::new(&Config {
            seed: [1, 2],
            ..Config::default()
        });
        let link = stack.attach(
            InterfaceConfig {
                name: "eth0".into(),
                mac: Mac([2, 0, 0, 0, 9, 2]),
                mtu: 1_500,
                offloads: Offloads {
                    tx_checksum: mode.offload,
                    tso_v4: mode.offload,
                    tso_v6: mode.offload,
                    tso_max: 0,
                },
                accept_advertisements: true,
            },
            Nanos(1),
        );
        for (v6, prefix) in [(false, 24), (true, 64)] {
            let address = InterfaceAddress::new(own(v6, 0).ip(), prefix);
            stack.add_address(link, address).expect("it is new");
        }
        Self {
            stack,
            mode,
            link,
            start: Instant::now(),
            random: 88_172_645_463_325_252,
            buffer: vec![0; VNET + 65_536 + 14],
        }
    }

    pub(crate) fn now(&self) -> Nanos {
        Nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX) + 1_000)
    }

    fn is_lost(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 8) % 100 < self.mode.loss
    }

    /// Waits for a frame or a timer, and serves it.
    fn turn(&mut self) {
        let now = self.now();
        let wait = self.stack.next_deadline().unwrap_or(Nanos::MAX) - now;
        let wait = wait.min(Nanos::from_millis(2));
        let mut fds = [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)];
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: wait.0.try_into().expect("it is two milliseconds at most"),
        };
        poll(&mut fds, Some(&timeout)).expect("it can be waited for");
        for _ in 0..64 {
            let mut buffer = std::mem::take(&mut self.buffer);
            let length = rustix::io::read(stdin(), &mut buffer);
            if let Ok(length) = length {
                self.take(&buffer[..length]);
            }
            self.buffer = buffer;
            if length.is_err() {
                break;
            }
        }
        self.flush();
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.is_lost() {
            return;
        }
        let (meta, frame) = if self.mode.offload {
            let (header, frame) = bytes.split_at(VNET);
            (meta_of(header), frame)
        } else {
            (RxMeta::default(), bytes)
        };
        let now = self.now();
        self.stack.receive(self.link, frame, &meta, now);
    }

    pub(crate) fn flush(&mut self) {
        let now = self.now();
        self.stack.poll(now);
        let mut lost = Vec::new();
        for _ in 0..256 {
            lost.push(self.is_lost());
        }
        let (link, offload) = (self.link, self.mode.offload);
        let mut count = 0;
        self.stack.transmit(link, &mut |frame| {
            count += 1;
            if lost[count % 256] {
                return true;
            }
            let mut bytes = if offload {
                header_of(&frame).to_vec()
            } else {
                Vec::new()
            };
            let start = bytes.len();
            bytes.resize(start + frame.len(), 0);
            frame.copy_to(&mut bytes[start..]);
            rustix::io::write(stdin(), &bytes).is_ok_and(|length| length == bytes.len())
        });
    }

    /// Serves until something is so.
    pub(crate) fn until(&mut self, patience: Duration, mut done: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            self.flush();
            assert!(start.elapsed() < patience, "it did not come about");
            self.turn();
        }
        self.flush();
    }

    /// Serves until Linux' side is done.
    pub(crate) fn join(&mut self, thread: JoinHandle<()>) {
        self.until(Duration::from_secs(180), |_| thread.is_finished());
        thread.join().expect("Linux saw what it should");
    }
}

/// What virtio's header says of a received frame.
fn meta_of(header: &[u8]) -> RxMeta {
    let size = u16::from_ne_bytes([header[4], header[5]]);
    let kind = match header[1] & 0x7f {
        1 => Some(GsoKind::TcpV4),
        4 => Some(GsoKind::TcpV6),
        _ => None,
    };
    RxMeta {
        checksum_valid: header[0] & 3 != 0,
        gso: kind.map(|kind| Gso { kind, size }),
    }
}

/// Virtio's header of a frame to be sent.
fn header_of(frame: &OutFrame<'_>) -> [u8; VNET] {
    let mut header = [0; VNET];
    if let Some(gso) = frame.gso {
        header[1] = match gso.kind {
            GsoKind::TcpV4 => 1,
            GsoKind::TcpV6 => 4,
        };
        let length = u16::try_from(frame.header.len()).expect("headers are short");
        header[2..4].copy_from_slice(&length.to_ne_bytes());
        header[4..6].copy_from_slice(&gso.size.to_ne_bytes());
    }
    if let Some(checksum) = frame.checksum {
        header[0] = 1;
        header[6..8].copy_from_slice(&checksum.start.to_ne_bytes());
        header[8..10].copy_from_slice(&checksum.offset.to_ne_bytes());
    }
    header
}
