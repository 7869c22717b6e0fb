//! The user network and a guest that sends it what it likes. The host's sockets are ends of pairs
//! whose other ends the script holds; time passes as it says.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use backend_net::user::Options;
use backend_net::user::Sockets;
use backend_net::user::addresses::GUEST_MAC;
use backend_net::{
    Abilities, Body, Delivery, Guest, HEAD_MAX, Head, Network, Offload, PartialChecksum, Source,
    User,
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

use crate::script::Script;

/// The other ends.
type Ends = Arc<Mutex<Vec<OwnedFd>>>;

struct Pairs(Ends);

impl Pairs {
    fn open(&self, kind: SocketType) -> io::Result<OwnedFd> {
        let mut ends = self.0.lock().expect("nobody panics with it");
        if ends.len() >= 64 {
            return Err(io::ErrorKind::HostUnreachable.into());
        }
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (near, far) = socketpair(AddressFamily::UNIX, kind, flags, None)?;
        ends.push(far);
        Ok(near)
    }
}

impl Sockets for Pairs {
    fn stream(&self, to: SocketAddr) -> io::Result<OwnedFd> {
        match to.port() & 7 {
            6 => Err(io::ErrorKind::ConnectionRefused.into()),
            7 => Err(io::ErrorKind::NetworkUnreachable.into()),
            _ => self.open(SocketType::STREAM),
        }
    }

    fn datagram(&self, _: SocketAddr) -> io::Result<OwnedFd> {
        self.open(SocketType::DGRAM)
    }

    fn echo(&self, _: IpAddr) -> io::Result<OwnedFd> {
        self.open(SocketType::DGRAM)
    }

    fn own_addresses(&self) -> io::Result<Vec<IpAddr>> {
        Ok(vec![IpAddr::from([192, 0, 2, 1])])
    }
}

/// What the guest last heard: numbers of the last segment for it.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    sequence: u32,
    acknowledged: u32,
}

struct Hostile {
    heard: Mutex<Heard>,
    rooms: Mutex<u32>,
}

impl Guest for Hostile {
    fn abilities(&self) -> Abilities {
        Abilities::ALL
    }

    fn deliver(
        &self,
        _: usize,
        head_length: usize,
        body: Body<'_>,
        head: &mut dyn FnMut(usize) -> Option<Head>,
    ) -> io::Result<Delivery> {
        let mut rooms = self.rooms.lock().expect("nobody panics with it");
        let Some(left) = rooms.checked_sub(1) else {
            return Ok(Delivery::NoRoom);
        };
        assert!(head_length <= HEAD_MAX, "heads fit");
        let (moved, room) = match body {
            Body::Bytes(bytes) => (bytes.len(), bytes.len()),
            Body::Peek {
                socket,
                skip,
                length,
            } => {
                assert!(length <= 65_535 && skip < 1 << 24, "bounded");
                let mut bytes = vec![0; (skip + length).min(1 << 16)];
                let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
                let (count, _) = recv(socket, &mut bytes[..], flags)?;
                (count.saturating_sub(skip), length)
            }
            Body::Datagram { socket, length } => {
                let mut bytes = vec![0; length];
                let (count, _) = recv(socket, &mut bytes[..], RecvFlags::DONTWAIT)?;
                (count, length)
            }
        };
        *rooms = left;
        if moved > 0 || !matches!(body, Body::Peek { .. }) {
            let head = head(moved).expect("there is one");
            assert_eq!(head.bytes().len(), head_length, "as announced");
            self.hear(head.bytes());
        }
        Ok(Delivery::Done { moved, room })
    }

    fn flush(&self, _: usize) {}
}

impl Hostile {
    fn hear(&self, head: &[u8]) {
        let word = |at: usize| {
            let bytes = head.get(at..at + 4)?;
            bytes.try_into().ok().map(u32::from_be_bytes)
        };
        if head.get(12..14) == Some(&[8, 0])
            && head.get(23) == Some(&6)
            && let (Some(sequence), Some(acknowledged)) = (word(38), word(42))
        {
            *self.heard.lock().expect("nobody panics with it") = Heard {
                sequence,
                acknowledged,
            };
        }
    }
}

struct Frame<'f>(&'f [u8]);

impl Source for Frame<'_> {
    fn remaining(&self) -> usize {
        self.0.len()
    }

    fn peek(&self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.0.len());
        into[..count].copy_from_slice(&self.0[..count]);
        count
    }

    fn skip(&mut self, count: usize) {
        assert!(count <= self.0.len(), "no more than there is");
        self.0 = &self.0[count..];
    }

    fn sum(&self, length: usize) -> u16 {
        assert!(length <= self.0.len(), "no more than there is");
        0
    }

    fn send(&mut self, socket: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
        assert!(length <= self.0.len(), "no more than there is");
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = send(socket, &self.0[..length], flags)?;
        self.skip(sent);
        Ok(sent)
    }

    fn write(&mut self, _: BorrowedFd<'_>, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// A frame that is right but for what the script says.
fn frame(script: &mut Script<'_>, shape: u8, heard: Heard) -> Vec<u8> {
    let destination = match script.byte().unwrap_or(0) % 8 {
        0 => [10, 0, 2, 2],
        1 => [10, 0, 2, 3],
        2 => [192, 0, 2, 1],
        3 => [169, 254, 169, 254],
        _ => [198, 51, 100, 1],
    };
    let payload = |script: &mut Script<'_>| {
        let length = usize::from(script.byte().unwrap_or(0));
        script.bytes(length).to_vec()
    };
    let (protocol, body) = match shape >> 4 & 3 {
        0 => (17, {
            let to = [53, 67, 99, 7][usize::from(script.byte().unwrap_or(0) & 3)];
            let data = payload(script);
            let words = [5000, to, 8 + data.len() as u16, 0].map(u16::to_be_bytes);
            [&words.concat()[..], &data].concat()
        }),
        1 => (
            1,
            [&[8, 0, 0, 0, 0, 7, 0, 1][..], &payload(script)].concat(),
        ),
        _ => (6, {
            let [flags, ports, ahead, behind, ..] = script.number::<4>().to_le_bytes();
            let sequence = heard.acknowledged.wrapping_add(ahead as i8 as u32);
            let acknowledged = heard.sequence.wrapping_add(behind as i8 as u32);
            let window = script.number::<2>() as u16;
            let ports = [1000 + u16::from(ports >> 6), 80 + u16::from(ports & 7)];
            let mut bytes = ports.map(u16::to_be_bytes).concat();
            bytes.extend(sequence.to_be_bytes());
            bytes.extend(acknowledged.to_be_bytes());
            bytes.extend([0x70, flags & 0x1f]);
            bytes.extend(window.to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend([2, 4, 5, 0xb4, 1, 3, 3, 7]);
            bytes.extend(payload(script));
            bytes
        }),
    };
    let total = (20 + body.len()) as u16;
    let mut frame = vec![0x52, 0x55, 10, 0, 2, 2];
    frame.extend(GUEST_MAC);
    frame.extend([8, 0]);
    let [high, low] = total.to_be_bytes();
    let mut header = vec![
        0x45, 0, high, low, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 2, 15,
    ];
    header.extend(destination);
    let sum = backend_net::checksum::Sum::default().with(&header).finish();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(header);
    frame.extend(body);
    frame
}

/// What happens on the host's side.
fn happen(script: &mut Script<'_>, ends: &Ends) {
    let mut ends = ends.lock().expect("nobody panics with it");
    let (number, what) = (script.byte().unwrap_or(0), script.byte().unwrap_or(0));
    let count = ends.len();
    let Some(at) = usize::from(number).checked_rem(count) else {
        return;
    };
    match what & 3 {
        0 => {
            ends.remove(at);
        }
        1 => {
            let _ = rustix::net::shutdown(&ends[at], rustix::net::Shutdown::Write);
        }
        2 => {
            let _ = recv(&ends[at], &mut [0; 4096][..], RecvFlags::DONTWAIT);
        }
        _ => {
            let bytes = vec![what; 1 << (what >> 2 & 15)];
            let _ = send(&ends[at], &bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }
}

/// The user network and a hostile guest.
///
/// # Panics
/// When the network does, or does not keep to what it announces.
pub fn net_user(data: &[u8]) {
    let ends = Ends::default();
    let options = Options {
        resolvers: vec![SocketAddr::from(([127, 0, 0, 53], 53))],
        host_name: "fuzz".to_owned(),
        ..Options::default()
    };
    let user = User::with_sockets(options, Box::new(Pairs(Arc::clone(&ends))));
    let user = user.expect("the host has descriptors");
    let guest = Hostile {
        heard: Mutex::default(),
        rooms: Mutex::new(64),
    };
    let mut script = Script::new(data);
    while let Some(shape) = script.byte() {
        match shape & 7 {
            0 => {
                let length = usize::from(script.byte().unwrap_or(0));
                let bytes = script.bytes(length);
                user.transmit(0, &mut Frame(bytes), Offload::default(), &guest);
            }
            1..=3 => {
                let heard = *guest.heard.lock().expect("nobody panics with it");
                let bytes = frame(&mut script, shape, heard);
                let offload = Offload {
                    checksum: Some(PartialChecksum {
                        start: 34,
                        offset: 16,
                    }),
                    segments: None,
                };
                user.transmit(0, &mut Frame(&bytes), offload, &guest);
            }
            4 => happen(&mut script, &ends),
            5 => {
                *guest.rooms.lock().expect("nobody panics with it") = u32::from(shape >> 3);
                user.room(0, &guest);
            }
            6 => user.serve_now(&guest, 1 << script.byte().unwrap_or(0).min(40)),
            _ => user.transmitted(0, &guest),
        }
    }
    *guest.rooms.lock().expect("nobody panics with it") = 1000;
    user.serve_now(&guest, 0);
    user.reset();
    assert_eq!(user.connections(), 0, "a reset ends everything");
}
