//! Many connections, and those that nobody reads.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use backend_net::user::Options;
use backend_net::user::addresses::GATEWAY_V4;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use smoltcp::socket::tcp::{Socket, State};

use crate::peer::{Peer, with_host};
use crate::wire::Faults;

const MANY: usize = 10_000;

/// Whether the host gives this process as many descriptors as it takes.
fn has_descriptors(count: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    let raised = Rlimit {
        current: Some(count),
        maximum: Some(count.max(most)),
    };
    let has = limit.current.is_none_or(|current| current >= count);
    has || setrlimit(Resource::Nofile, raised).is_ok()
}

/// Says in a process of its own that it is the other side.
const OTHER_SIDE: &str = "HUSK_OTHER_SIDE";

/// A process that accepts all connections, says a word on each and reads them to their ends: so
/// that descriptors are needed for one side only. Its port.
fn other_side() -> (Child, u16) {
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--nocapture",
            "limits::the_other_side_of_ten_thousand_connections",
        ])
        .env(OTHER_SIDE, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let port = lines.map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once("listens on ")?;
        port.parse().ok()
    });
    (server, port.unwrap())
}

#[test]
fn the_other_side_of_ten_thousand_connections() {
    if std::env::var_os(OTHER_SIDE).is_none() {
        // Only of use to the next test.
        return;
    }
    assert!(has_descriptors(MANY as u64 + 500));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 4096).unwrap();
    println!("\nlistens on {}", listener.local_addr().unwrap().port());
    let streams = listener.incoming().take(MANY);
    let mut streams: Vec<TcpStream> = streams.map(Result::unwrap).collect();
    for stream in &mut streams {
        stream.write_all(b"hi").unwrap();
    }
    for stream in &mut streams {
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    // Nobody reads what the harness has to say.
    std::process::exit(0);
}

#[test]
fn ten_thousand_connections_are_open_at_once() {
    if !has_descriptors(MANY as u64 + 500) {
        eprintln!(
            "SKIPPED: this host gives fewer than {} descriptors",
            MANY + 500
        );
        return;
    }
    let (mut server, port) = other_side();
    let mut peer = Peer::new(with_host(), Faults::default());
    let start = Instant::now();
    let mut handles = Vec::new();
    while handles.len() < MANY {
        for _ in 0..250 {
            let from = 10_000 + handles.len() as u16;
            handles.push(peer.call((GATEWAY_V4, port), from, 64));
        }
        let young = handles[handles.len() - 250..].to_vec();
        peer.until("250 connections more", |sockets, _| {
            let is_open = |handle| sockets.get::<Socket<'_>>(handle).state() == State::Established;
            young.iter().copied().all(is_open).then_some(())
        });
    }
    println!(
        "{MANY} connections in {:.2} s",
        start.elapsed().as_secs_f64()
    );
    assert_eq!(peer.user.connections(), MANY);
    peer.until("a word on each", |sockets, _| {
        let mut all = handles
            .iter()
            .map(|&handle| sockets.get::<Socket<'_>>(handle));
        all.all(|socket| socket.recv_queue() == 2).then_some(())
    });
    for &handle in &handles {
        peer.sockets.get_mut::<Socket<'_>>(handle).close();
    }
    while server.try_wait().unwrap().is_none() {
        peer.step();
    }
    let user = Arc::clone(&peer.user);
    peer.until("the end of all", |_, _| {
        (user.connections() == 0).then_some(())
    });
}

#[test]
fn a_slow_reader_in_the_guest_makes_nothing_grow() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let stop = Arc::<AtomicBool>::default();
    let server = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                match stream.write(&[7; 1 << 16]) {
                    Ok(count) => sent += count,
                    Err(_) => thread::sleep(std::time::Duration::from_millis(1)),
                }
            }
            sent
        }
    });
    let mut peer = Peer::new(with_host(), Faults::default());
    let handle = peer.call((GATEWAY_V4, port), 40_000, 64 << 10);
    let start = Instant::now();
    while start.elapsed().as_millis() < 700 {
        peer.step();
    }
    stop.store(true, Ordering::Relaxed);
    let sent = server.join().unwrap();
    // What the guest's window takes went to it, and not much more (its stack is probed).
    let delivered = peer.phy.delivered();
    assert!(delivered < 100 << 10, "{delivered}");
    // The rest waits in the host's queues, whose size is the host's affair.
    assert!(sent < 32 << 20, "{sent}");
    let waiting = peer.sockets.get::<Socket<'_>>(handle).recv_queue();
    assert_eq!(waiting, 64 << 10);
}

/// Lets the guest run for so long.
fn pass(peer: &mut Peer, milliseconds: u128) {
    let start = Instant::now();
    while start.elapsed().as_millis() < milliseconds {
        peer.step();
    }
}

#[test]
fn a_window_that_opens_while_the_guest_has_no_buffer_is_not_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let total = 200 << 10;
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&vec![7; total]).unwrap();
    });
    let mut peer = Peer::new(with_host(), Faults::default());
    let window = 32 << 10;
    let handle = peer.call((GATEWAY_V4, port), 40_000, window);
    // The window closes, and is asked for a few times.
    pass(&mut peer, 700);
    peer.phy.fill(true);
    let mut got = 0;
    let socket = peer.sockets.get_mut::<Socket<'_>>(handle);
    while let Ok(count @ 1..) = socket.recv(|bytes| (bytes.len(), bytes.len())) {
        got += count;
    }
    assert_eq!(got, window);
    // Longer than until the next time it would be asked for.
    pass(&mut peer, 1500);
    peer.phy.fill(false);
    while got < total {
        got += peer.until("the rest", |sockets, _| {
            let socket = sockets.get_mut::<Socket<'_>>(handle);
            assert!(socket.may_recv(), "the stream ended after {got} bytes");
            let count = socket.recv(|bytes| (bytes.len(), bytes.len()));
            count.ok().filter(|count| *count > 0)
        });
    }
    server.join().unwrap();
}

#[test]
fn a_slow_reader_of_the_host_closes_the_guests_window() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut peer = Peer::new(with_host(), Faults::default());
    let handle = peer.call((GATEWAY_V4, port), 40_000, 1 << 20);
    let mut sent = 0;
    let start = Instant::now();
    while start.elapsed().as_millis() < 700 {
        peer.step();
        let socket = peer.sockets.get_mut::<Socket<'_>>(handle);
        while socket.can_send() {
            sent += socket.send_slice(&[9; 4096]).unwrap();
        }
    }
    assert!(sent < 32 << 20, "{sent}");
    let (mut stream, _) = listener.accept().unwrap();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes.len()
    });
    peer.sockets.get_mut::<Socket<'_>>(handle).close();
    while !reader.is_finished() {
        peer.step();
    }
    assert_eq!(reader.join().unwrap(), sent);
    // No more was offered than the socket took, so that nothing was dropped.
    assert_eq!(peer.user.counters().out_of_order, 0);
}

#[test]
fn small_requests_are_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let mut stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || {
                let mut bytes = [0; 64];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    stream.write_all(&bytes[..count]).unwrap();
                }
            });
        }
    });
    let mut peer = Peer::new(with_host(), Faults::default());
    let handle = peer.call((GATEWAY_V4, port), 40_000, 4096);
    let (start, count) = (Instant::now(), 5000);
    for _ in 0..count {
        peer.until("room", |sockets, _| {
            let socket = sockets.get_mut::<Socket<'_>>(handle);
            socket
                .can_send()
                .then(|| socket.send_slice(&[1; 64]).unwrap())
        });
        peer.until("an answer", |sockets, _| {
            let socket = sockets.get_mut::<Socket<'_>>(handle);
            let whole = socket.recv_queue() == 64;
            whole.then(|| socket.recv(|bytes| (bytes.len(), ())).unwrap())
        });
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    let start = Instant::now();
    for _ in 0..count {
        stream.write_all(&[1; 64]).unwrap();
        stream.read_exact(&mut [0; 64]).unwrap();
    }
    let native = f64::from(count) / start.elapsed().as_secs_f64();
    let frames = peer.user.counters();
    println!("{rate:.0} requests/s, {native:.0} without a guest; {frames:?}");
}

#[test]
fn a_storm_of_callers_is_answered() {
    const CALLERS: usize = 8;
    const CALLS: usize = 500;
    let publish = backend_net::Publish {
        address: Some(std::net::Ipv4Addr::LOCALHOST.into()),
        host: 0,
        guest: 80,
        udp: false,
    };
    let listeners = backend_net::listen_on(&[publish]).unwrap();
    let address = listeners[0].address().unwrap();
    let options = Options {
        listeners,
        ..Options::default()
    };
    let mut peer = Peer::new(options, Faults::default());
    let start = Instant::now();
    // Nobody listens in the guest, which resets each.
    let callers = (0..CALLERS).map(|_| {
        thread::spawn(move || {
            for _ in 0..CALLS {
                let mut stream = TcpStream::connect(address).unwrap();
                assert!(!matches!(stream.read(&mut [0]), Ok(1..)));
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    while !callers.iter().all(|caller| caller.is_finished()) {
        peer.step();
    }
    for caller in callers {
        caller.join().unwrap();
    }
    let rate = (CALLERS * CALLS) as f64 / start.elapsed().as_secs_f64();
    println!("{rate:.0} callers/s");
    assert_eq!(peer.user.counters().connections, (CALLERS * CALLS) as u64);
    assert_eq!(peer.user.connections(), 0);
}
