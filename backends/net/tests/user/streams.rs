//! TCP.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::thread;
use std::time::Instant;

use backend_net::user::addresses::GATEWAY_V4;
use smoltcp::socket::tcp::{Socket, State};

use crate::peer::{Peer, with_host};
use crate::wire::Faults;

/// What travels: no two positions near each other look alike.
fn pattern(at: usize) -> u8 {
    (at ^ at >> 8 ^ at >> 16 ^ at >> 24) as u8
}

fn block(from: usize, length: usize) -> Vec<u8> {
    (from..from + length).map(pattern).collect()
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// The host sends `total` bytes; the guest checks each.
fn fetch(total: usize, faults: Faults) {
    let (listener, port) = listener();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut at = 0;
        while at < total {
            let length = (total - at).min(1 << 20);
            stream.write_all(&block(at, length)).unwrap();
            at += length;
        }
    });
    let mut peer = Peer::new(with_host(), faults);
    let handle = peer.call((GATEWAY_V4, port), 40_000, 1 << 20);
    let start = Instant::now();
    let mut at = 0;
    peer.until("the end of what is fetched", |sockets, _| {
        let socket = sockets.get_mut::<Socket>(handle);
        while socket.can_recv() {
            let got = socket.recv(|bytes| {
                let right = bytes
                    .iter()
                    .enumerate()
                    .all(|(n, byte)| *byte == pattern(at + n));
                assert!(right, "between {at} and {}", at + bytes.len());
                (bytes.len(), bytes.len())
            });
            at += got.unwrap();
        }
        (socket.state() == State::CloseWait).then_some(())
    });
    report("fetched", total, start);
    assert_eq!(at, total);
    server.join().unwrap();
}

/// The guest sends `total` bytes; the host checks each.
fn send(total: usize, faults: Faults) {
    let (listener, port) = listener();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut at, mut bytes) = (0, vec![0; 1 << 20]);
        loop {
            let count = stream.read(&mut bytes).unwrap();
            if count == 0 {
                return at;
            }
            let right = bytes[..count]
                .iter()
                .enumerate()
                .all(|(n, byte)| *byte == pattern(at + n));
            assert!(right, "between {at} and {}", at + count);
            at += count;
        }
    });
    let mut peer = Peer::new(with_host(), faults);
    let handle = peer.call((GATEWAY_V4, port), 40_000, 1 << 20);
    let start = Instant::now();
    let mut at = 0;
    peer.until("the end of what is sent", |sockets, _| {
        let socket = sockets.get_mut::<Socket>(handle);
        while at < total && socket.can_send() {
            let sent = socket.send(|room| {
                let count = room.len().min(total - at);
                for (n, byte) in room[..count].iter_mut().enumerate() {
                    *byte = pattern(at + n);
                }
                (count, count)
            });
            at += sent.unwrap();
        }
        if at == total && socket.state() == State::Established {
            socket.close();
        }
        matches!(
            socket.state(),
            State::FinWait2 | State::TimeWait | State::Closed
        )
        .then_some(())
    });
    report("sent", total, start);
    assert_eq!(server.join().unwrap(), total);
}

/// A figure for whoever looks; no test depends on it.
fn report(what: &str, total: usize, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{what} {total} bytes: {:.2} Gb/s",
        total as f64 * 8e-9 / seconds
    );
}

#[test]
fn a_hundred_megabytes_are_fetched_intact() {
    fetch(100_000_000, Faults::default());
}

#[test]
fn a_hundred_megabytes_are_sent_intact() {
    send(100_000_000, Faults::default());
}

const fn all(one_in: u32) -> Faults {
    Faults {
        lost: one_in,
        twice: one_in,
        late: one_in,
        corrupt: one_in,
    }
}

#[test]
fn one_frame_in_a_hundred_suffers() {
    fetch(20_000_000, all(100));
    send(400_000, all(100));
}

#[test]
fn one_frame_in_ten_suffers() {
    fetch(2_000_000, all(10));
    send(20_000, all(10));
}

#[test]
fn whoever_is_not_there_refuses() {
    let (listener, port) = listener();
    drop(listener);
    let mut peer = Peer::new(with_host(), Faults::default());
    let handle = peer.call((GATEWAY_V4, port), 40_000, 1000);
    peer.until("a refusal", |sockets, _| {
        (sockets.get_mut::<Socket>(handle).state() == State::Closed).then_some(())
    });
    assert_eq!(peer.user.connections(), 0);
}

#[test]
fn either_side_may_end_first() {
    let (listener, port) = listener();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        stream.write_all(text.to_uppercase().as_bytes()).unwrap();
        drop(stream);
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"first").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    let mut peer = Peer::new(with_host(), Faults::default());
    let handle = peer.call((GATEWAY_V4, port), 40_000, 1000);
    peer.until("a connection", |sockets, _| {
        let socket = sockets.get_mut::<Socket>(handle);
        socket.can_send().then(|| {
            socket.send_slice(b"text").unwrap();
            socket.close();
        })
    });
    let mut text = Vec::new();
    read_to_end(&mut peer, handle, &mut text);
    assert_eq!(text, b"TEXT");
    let handle = peer.call((GATEWAY_V4, port), 40_001, 1000);
    let mut text = Vec::new();
    read_to_end(&mut peer, handle, &mut text);
    assert_eq!(text, b"first");
    let socket = peer.sockets.get_mut::<Socket>(handle);
    socket.send_slice(b"second").unwrap();
    socket.close();
    peer.until("the end", |sockets, _| {
        (sockets.get_mut::<Socket>(handle).state() == State::Closed).then_some(())
    });
    assert_eq!(server.join().unwrap(), "second");
}

fn read_to_end(peer: &mut Peer, handle: smoltcp::iface::SocketHandle, text: &mut Vec<u8>) {
    peer.until("the other side's end", |sockets, _| {
        let socket = sockets.get_mut::<Socket>(handle);
        while socket.can_recv() {
            let got = socket.recv(|bytes| (bytes.len(), bytes.to_vec())).unwrap();
            text.extend(got);
        }
        let over = [
            State::CloseWait,
            State::TimeWait,
            State::Closing,
            State::Closed,
        ];
        over.contains(&socket.state()).then_some(())
    });
}

#[test]
fn resets_pass_both_ways() {
    let (listener, port) = listener();
    let mut peer = Peer::new(with_host(), Faults::default());
    let handle = peer.call((GATEWAY_V4, port), 40_000, 1000);
    peer.until("a connection", |sockets, _| {
        sockets.get_mut::<Socket>(handle).can_send().then_some(())
    });
    let (stream, _) = listener.accept().unwrap();
    let reset = rustix::net::sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO));
    reset.unwrap();
    drop(stream);
    peer.until("a reset", |sockets, _| {
        (sockets.get_mut::<Socket>(handle).state() == State::Closed).then_some(())
    });
    let handle = peer.call((GATEWAY_V4, port), 40_001, 1000);
    peer.until("a connection", |sockets, _| {
        sockets.get_mut::<Socket>(handle).can_send().then_some(())
    });
    let (mut stream, _) = listener.accept().unwrap();
    peer.sockets.get_mut::<Socket>(handle).abort();
    peer.step();
    peer.step();
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}
