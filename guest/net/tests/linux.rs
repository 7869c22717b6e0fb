//! The stack and the host's own Linux, over a TAP device in a network namespace of their own.
//!
//! It needs root, `/dev/net/tun`, `unshare`, `ip` and `python3`, which attaches the device: this
//! package has no unsafe code, and so no `ioctl`. Where they are missing, it says so and passes.

mod tap;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use guest_net::{Error, Family, Handle, Kind, Message, Shutdown, WriteFlags};
use tap::{Mode, Tap, own, theirs};

const INSIDE: &str = "HUSK_NET_MODE";
const PATIENCE: Duration = Duration::from_secs(60);

/// Opens the device, moves it to the place of the standard input, and becomes the test again.
const ATTACH: &str = r#"
import fcntl, os, struct, subprocess, sys
offload = os.environ["HUSK_NET_MODE"] == "offload"
tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
flags = 0x0002 | 0x1000 | (0x4000 if offload else 0)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH22x", b"husk0", flags))
if offload:
    fcntl.ioctl(tun, 0x400454d0, 1 | 2 | 4)
for line in ["link set lo up", "addr add 10.9.0.1/24 dev husk0", "-6 addr add fd09::1/64 dev husk0 nodad", "link set husk0 up"]:
    subprocess.run(["ip"] + line.split(), check=True)
os.dup2(tun, 0)
os.execv(sys.argv[1], sys.argv[1:])
"#;

fn is_possible() -> bool {
    let root = rustix::process::geteuid().is_root();
    let has = |name: &str| {
        Command::new(name)
            .arg("--version")
            .output()
            .is_ok_and(|out| out.status.success())
    };
    let tools = has("unshare") && has("python3") && Command::new("ip").arg("-V").output().is_ok();
    root && tools && std::fs::exists("/dev/net/tun").unwrap_or(false)
}

fn run_inside(mode: &str, test: &str) {
    if !is_possible() {
        println!("SKIPPED {test}: it needs root, /dev/net/tun, unshare, ip and python3");
        return;
    }
    let program = std::env::current_exe().expect("a test is a program");
    let inside = Command::new("unshare")
        .args(["--net", "python3", "-c", ATTACH])
        .arg(program)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, mode)
        .status();
    assert!(
        inside.expect("it was there before").success(),
        "inside the namespace"
    );
}

fn check(mode: &str, test: &str, bytes: usize) {
    if std::env::var_os(INSIDE).is_none() {
        return run_inside(mode, test);
    }
    let mode = match mode {
        "offload" => Mode {
            offload: true,
            loss: 0,
        },
        "loss" => Mode {
            offload: false,
            loss: 2,
        },
        _ => Mode {
            offload: false,
            loss: 0,
        },
    };
    let mut tap = Tap::new(mode);
    for v6 in [false, true] {
        linux_connects(&mut tap, v6, bytes);
        we_connect(&mut tap, v6, bytes);
        refusals(&mut tap, v6);
        if mode.loss == 0 {
            datagrams(&mut tap, v6);
            echoes(&mut tap, v6);
        }
    }
    if mode.loss == 0 {
        linux_pings(&mut tap);
    }
    many(&mut tap);
    endings(&mut tap);
    let mut stack = tap.stack;
    while stack.next_changed().is_some() {}
    let held: Vec<_> = stack.sockets().collect();
    assert_eq!((stack.memory_used(), held.len()), (0, 0), "{held:?}");
}

#[test]
fn plain() {
    check("plain", "plain", 24 << 20);
}

#[test]
fn with_offloads() {
    check("offload", "with_offloads", 128 << 20);
}

#[test]
fn with_loss() {
    check("loss", "with_loss", 2 << 20);
}

fn pattern(start: usize, length: usize) -> Vec<u8> {
    (start..start + length)
        .map(|at| (at ^ (at >> 8) ^ (at >> 15)) as u8)
        .collect()
}

/// Linux' end of a transfer: sends and checks so many bytes at once, then waits for the end.
fn linux_end(stream: TcpStream, bytes: usize) {
    let mut writer = stream.try_clone().expect("a descriptor is left");
    let sending = thread::spawn(move || {
        for at in (0..bytes).step_by(65_536) {
            writer.write_all(&pattern(at, 65_536)).expect("we read");
        }
        writer
            .shutdown(std::net::Shutdown::Write)
            .expect("it is open");
    });
    let mut stream = stream;
    let mut buffer = vec![0; 1 << 18];
    let mut got = 0;
    loop {
        let length = stream.read(&mut buffer).expect("no reset");
        if length == 0 {
            break;
        }
        assert_eq!(buffer[..length], pattern(got, length), "at {got}");
        got += length;
    }
    assert_eq!(got, bytes);
    sending.join().expect("it sent");
}

/// Our end.
fn our_end(tap: &mut Tap, handle: Handle, bytes: usize, what: &str) {
    let start = Instant::now();
    let (mut sent, mut got, mut ended) = (0, 0, false);
    tap.until(PATIENCE, |tap| {
        while sent < bytes {
            let data = pattern(sent, 65_536.min(bytes - sent));
            let mut rest = &data[..];
            let mut fill = |room: &mut [u8]| {
                room.copy_from_slice(&rest[..room.len()]);
                rest = &rest[room.len()..];
                room.len()
            };
            match tap.stack.write(
                handle,
                data.len(),
                WriteFlags::default(),
                &mut fill,
                tap.now(),
            ) {
                Ok(done) => sent += done,
                Err(error) => {
                    assert_eq!(error, Error::WouldBlock);
                    break;
                }
            }
            if sent == bytes {
                tap.stack
                    .shutdown(handle, Shutdown::Write, tap.now())
                    .expect("it is open");
            }
        }
        let mut take = |part: &[u8]| {
            assert_eq!(part, pattern(got, part.len()), "at {got}");
            got += part.len();
            part.len()
        };
        match tap.stack.read(handle, 1 << 20, false, &mut take, tap.now()) {
            Ok(length) => ended |= length == 0,
            Err(error) => assert_eq!(error, Error::WouldBlock),
        }
        ended && sent == bytes && tap.stack.readiness(handle).unsent_bytes == 0
    });
    assert_eq!(got, bytes);
    let seconds = start.elapsed().as_secs_f64();
    let info = tap.stack.tcp_info(handle).expect("it is a stream");
    println!(
        "{what}: {:.0} MB/s each way, {} sent again",
        bytes as f64 / seconds / 1e6,
        info.retransmits
    );
    tap.stack.close(handle, tap.now());
}

fn listener(tap: &mut Tap, v6: bool, port: u16) -> Handle {
    let family = if v6 { Family::V6 } else { Family::V4 };
    let handle = tap.stack.open(Kind::Stream, family).expect("there is room");
    let now = tap.now();
    let reuse = |options: &mut guest_net::Options| options.reuse_address = true;
    tap.stack
        .set_options(handle, now, reuse)
        .expect("it is there");
    tap.stack
        .bind(handle, own(v6, port))
        .expect("nobody has it");
    tap.stack.listen(handle, 16).expect("it is bound");
    handle
}

fn linux_connects(tap: &mut Tap, v6: bool, bytes: usize) {
    let listener = listener(tap, v6, 80);
    let linux = thread::spawn(move || {
        linux_end(TcpStream::connect(own(v6, 80)).expect("we listen"), bytes);
    });
    let mut accepted = None;
    tap.until(PATIENCE, |tap| {
        accepted = accepted.or(tap.stack.accept(listener).ok());
        accepted.is_some()
    });
    tap.stack.close(listener, tap.now());
    let (handle, peer) = accepted.expect("it came");
    assert_eq!(peer.ip(), theirs(v6, 0).ip());
    our_end(
        tap,
        handle,
        bytes,
        if v6 {
            "Linux connects, v6"
        } else {
            "Linux connects"
        },
    );
    tap.join(linux);
}

fn connect(tap: &mut Tap, to: SocketAddr) -> Handle {
    let family = if to.is_ipv6() { Family::V6 } else { Family::V4 };
    let handle = tap.stack.open(Kind::Stream, family).expect("there is room");
    let now = tap.now();
    assert_eq!(tap.stack.connect(handle, to, now), Err(Error::InProgress));
    handle
}

fn we_connect(tap: &mut Tap, v6: bool, bytes: usize) {
    let listener = TcpListener::bind(theirs(v6, 0)).expect("it is free");
    let to = listener.local_addr().expect("it is bound");
    let linux = thread::spawn(move || {
        linux_end(listener.accept().expect("we connect").0, bytes);
    });
    let handle = connect(tap, to);
    tap.until(PATIENCE, |tap| tap.stack.readiness(handle).writable);
    our_end(
        tap,
        handle,
        bytes,
        if v6 { "we connect, v6" } else { "we connect" },
    );
    tap.join(linux);
}

fn refusals(tap: &mut Tap, v6: bool) {
    let handle = connect(tap, theirs(v6, 9));
    tap.until(PATIENCE, |tap| tap.stack.readiness(handle).error);
    assert_eq!(tap.stack.take_error(handle), Some(Error::Refused));
    tap.stack.close(handle, tap.now());
    let linux = thread::spawn(move || {
        let error = TcpStream::connect(own(v6, 9)).expect_err("nobody listens");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    });
    tap.join(linux);
}

fn datagram_socket(tap: &mut Tap, kind: Kind, v6: bool) -> Handle {
    let family = if v6 { Family::V6 } else { Family::V4 };
    tap.stack.open(kind, family).expect("there is room")
}

fn send(tap: &mut Tap, handle: Handle, to: SocketAddr, data: &[u8]) -> Result<usize, Error> {
    let message = Message {
        to: Some(to),
        ..Message::default()
    };
    let now = tap.now();
    let mut fill = |room: &mut [u8]| {
        room.copy_from_slice(data);
        room.len()
    };
    tap.stack
        .send_datagram(handle, &message, data.len(), &mut fill, now)
}

fn receive(tap: &mut Tap, handle: Handle) -> (Vec<u8>, SocketAddr) {
    let mut got = None;
    tap.until(PATIENCE, |tap| {
        let _ = tap
            .stack
            .receive_datagram(handle, false, &mut |data, info| {
                got = Some((data.to_vec(), info.from));
            });
        got.is_some()
    });
    got.expect("it came")
}

/// Linux answers what we send, and we answer Linux; larger than the link takes, too.
fn datagrams(tap: &mut Tap, v6: bool) {
    let linux = UdpSocket::bind(theirs(v6, 0)).expect("it is free");
    let to = linux.local_addr().expect("it is bound");
    let sizes = [0, 1, 1_400, 1_473, 5_000, 60_000];
    let echo = thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        for _ in sizes {
            let (length, from) = linux.recv_from(&mut buffer).expect("we send");
            linux
                .send_to(&buffer[..length], from)
                .expect("we are there");
        }
    });
    let socket = datagram_socket(tap, Kind::Datagram, v6);
    for size in sizes {
        let data = pattern(size, size);
        assert_eq!(send(tap, socket, to, &data), Ok(size));
        assert_eq!(receive(tap, socket), (data, to), "{size} bytes");
    }
    tap.join(echo);
    let now = tap.now();
    tap.stack
        .connect(socket, theirs(v6, 9), now)
        .expect("it is near");
    send(tap, socket, theirs(v6, 9), b"anybody?").expect("it goes out");
    tap.until(PATIENCE, |tap| tap.stack.readiness(socket).error);
    assert_eq!(tap.stack.take_error(socket), Some(Error::Refused));
    tap.stack.close(socket, now);
    let refused = thread::spawn(move || {
        let socket = UdpSocket::bind(theirs(v6, 0)).expect("it is free");
        socket.connect(own(v6, 9)).expect("it is near");
        socket.send(b"anybody?").expect("it goes out");
        let error = socket.recv(&mut [0; 9]).expect_err("nobody is there");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    });
    tap.join(refused);
}

fn echoes(tap: &mut Tap, v6: bool) {
    let socket = datagram_socket(tap, Kind::Echo, v6);
    let request = if v6 { 128 } else { 8 };
    for size in [0, 56, 3_000] {
        let mut message = vec![request, 0, 0, 0, 0, 0, 0, 1];
        message.extend(pattern(0, size));
        send(tap, socket, theirs(v6, 0), &message).expect("it goes out");
        let (reply, from) = receive(tap, socket);
        assert_eq!(reply[0], if v6 { 129 } else { 0 });
        assert_eq!(
            (&reply[8..], from.ip()),
            (&message[8..], theirs(v6, 0).ip())
        );
    }
    tap.stack.close(socket, tap.now());
}

/// Linux asks whether we are there.
fn linux_pings(tap: &mut Tap) {
    let linux = thread::spawn(|| {
        use rustix::net::{
            AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket,
        };
        let raw =
            socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).expect("we are root");
        let request = [8, 0, 0xf7, 0xfd, 0, 1, 0, 1];
        sendto(&raw, &request, SendFlags::empty(), &own(false, 0)).expect("it is near");
        let mut reply = [0; 64];
        let (length, _) = recv(&raw, &mut reply[..], RecvFlags::empty()).expect("we answer");
        assert_eq!(reply[20..length], [0, 0, 0xff, 0xfd, 0, 1, 0, 1]);
    });
    tap.join(linux);
}

/// Linux connects again and again, from several threads at once, and is answered by who is woken
/// and by nothing else.
fn many(tap: &mut Tap) {
    const THREADS: usize = 8;
    const EACH: usize = 150;
    let listener = listener(tap, false, 82);
    let linux = thread::spawn(|| {
        let client = || {
            let streams: Vec<_> = (0..EACH)
                .map(|_| TcpStream::connect(own(false, 82)).expect("we listen"))
                .collect();
            for (at, mut stream) in streams.into_iter().enumerate() {
                let question = pattern(at, 3_000);
                stream.write_all(&question).expect("it is open");
                let mut answer = vec![0; question.len()];
                stream.read_exact(&mut answer).expect("an answer");
                assert!(answer == question);
            }
        };
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(client);
            }
        });
    });
    let (mut open, mut done) = (0, 0);
    tap.until(PATIENCE, |tap| {
        let now = tap.now();
        while let Some(changed) = tap.stack.next_changed() {
            if changed == listener {
                while tap.stack.accept(listener).is_ok() {
                    open += 1;
                }
                continue;
            }
            let mut data = Vec::new();
            let mut take = |part: &[u8]| {
                data.extend_from_slice(part);
                part.len()
            };
            match tap.stack.read(changed, 10_000, false, &mut take, now) {
                Ok(0) => {
                    tap.stack.close(changed, now);
                    done += 1;
                }
                Ok(_) => {
                    let mut rest = &data[..];
                    let mut fill = |room: &mut [u8]| {
                        room.copy_from_slice(&rest[..room.len()]);
                        rest = &rest[room.len()..];
                        room.len()
                    };
                    let flags = WriteFlags::default();
                    let length = tap.stack.write(changed, data.len(), flags, &mut fill, now);
                    assert!(length.is_ok(), "{length:?}");
                }
                Err(error) => assert_eq!(error, Error::WouldBlock),
            }
        }
        done == THREADS * EACH
    });
    assert_eq!(open, THREADS * EACH);
    tap.stack.close(listener, tap.now());
    tap.join(linux);
}

/// How a connection ends that is reset. A reset that is lost does not come again of itself: what is sent asks for
/// another.
fn reset_of(stream: &mut TcpStream) -> std::io::Error {
    let second = Some(Duration::from_secs(1));
    stream.set_read_timeout(second).expect("it can wait");
    loop {
        let error = stream.read(&mut [0; 9]).expect_err("a reset");
        if error.kind() != std::io::ErrorKind::WouldBlock {
            return error;
        }
        if let Err(error) = stream.write_all(b"again") {
            return error;
        }
    }
}

/// Connections end in order and out of it, from both sides.
fn endings(tap: &mut Tap) {
    for turn in 0..4 {
        let server = listener(tap, false, 81);
        let linux = thread::spawn(move || {
            let mut stream = TcpStream::connect(own(false, 81)).expect("we listen");
            match turn {
                0 => drop(stream),
                1 => {
                    assert_eq!(stream.read(&mut [0; 9]).expect("an end"), 0);
                }
                2 => {
                    stream.write_all(b"never read").expect("it is open");
                    assert_eq!(
                        reset_of(&mut stream).kind(),
                        std::io::ErrorKind::ConnectionReset
                    );
                }
                _ => {
                    stream.write_all(b"x").expect("it is open");
                    let mut rest = Vec::new();
                    stream.read_to_end(&mut rest).expect("an end");
                    assert_eq!(rest.len(), 100_000);
                }
            }
        });
        let mut accepted = None;
        tap.until(PATIENCE, |tap| {
            accepted = accepted.or(tap.stack.accept(server).ok());
            accepted.is_some()
        });
        let (handle, _) = accepted.expect("it came");
        tap.stack.close(server, tap.now());
        match turn {
            0 => tap.until(PATIENCE, |tap| tap.stack.readiness(handle).read_closed),
            2 => tap.until(PATIENCE, |tap| {
                tap.stack.readiness(handle).readable_bytes == 10
            }),
            3 => {
                tap.until(PATIENCE, |tap| tap.stack.readiness(handle).readable);
                let now = tap.now();
                let mut take = |part: &[u8]| part.len();
                tap.stack
                    .read(handle, 9, false, &mut take, now)
                    .expect("it is there");
                let mut fill = |room: &mut [u8]| room.len();
                let sent = tap
                    .stack
                    .write(handle, 100_000, WriteFlags::default(), &mut fill, now);
                assert_eq!(sent, Ok(100_000));
            }
            _ => {}
        }
        tap.stack.close(handle, tap.now());
        tap.join(linux);
        tap.until(PATIENCE, |tap| tap.stack.socket_count() == 0);
    }
}
