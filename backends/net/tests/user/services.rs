//! What is not TCP: names, addresses, datagrams, echo, and who may be reached.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use backend_net::user::Options;
use backend_net::user::addresses::{DNS_V4, GATEWAY_V4, GATEWAY_V6, GUEST_MAC, GUEST_V4, MTU};
use backend_net::{Allowed, Policy, Publish, listen_on};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::{dhcpv4, icmp, tcp, udp};
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, IpAddress, IpEndpoint};

use crate::peer::{Peer, with_host};
use crate::wire::Faults;

fn datagrams(peer: &mut Peer, port: u16) -> smoltcp::iface::SocketHandle {
    let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 16], vec![0; 200_000]);
    let mut socket = udp::Socket::new(buffer(), buffer());
    socket.bind(port).unwrap();
    peer.sockets.add(socket)
}

fn exchange(peer: &mut Peer, port: u16, to: (Ipv4Addr, u16), bytes: &[u8]) -> Vec<u8> {
    let handle = datagrams(peer, port);
    let socket = peer.sockets.get_mut::<udp::Socket<'_>>(handle);
    socket
        .send_slice(bytes, IpEndpoint::from(SocketAddr::from(to)))
        .unwrap();
    peer.until("an answer", |sockets, _| {
        let socket = sockets.get_mut::<udp::Socket<'_>>(handle);
        let (bytes, from) = socket.recv().ok()?;
        assert_eq!(from.endpoint, IpEndpoint::from(SocketAddr::from(to)));
        Some(bytes.to_vec())
    })
}

/// A server that answers each datagram with the same in reverse.
fn reversing() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut bytes = vec![0; 65_536];
        while let Ok((count, from)) = socket.recv_from(&mut bytes) {
            bytes[..count].reverse();
            let _ = socket.send_to(&bytes[..count], from);
        }
    });
    address
}

#[test]
fn datagrams_go_and_come_back() {
    let server = reversing();
    let mut peer = Peer::new(with_host(), Faults::default());
    let to = (GATEWAY_V4, server.port());
    assert_eq!(exchange(&mut peer, 5000, to, b"abc"), b"cba");
    let long: Vec<u8> = (0..60_000).map(|at| at as u8).collect();
    let mut expected = long.clone();
    expected.reverse();
    assert_eq!(exchange(&mut peer, 5001, to, &long), expected);
}

#[test]
fn names_are_asked_of_the_hosts_resolver() {
    let server = reversing();
    // The resolver may live on the loopback, which the guest may not reach otherwise.
    let options = Options {
        resolvers: vec![server],
        ..Options::default()
    };
    let mut peer = Peer::new(options, Faults::default());
    // The test's resolver is not on port 53; the guest's is.
    assert_eq!(exchange(&mut peer, 5000, (DNS_V4, 53), b"name?"), b"?eman");
}

#[test]
fn names_are_asked_by_tcp_too_and_of_nobody_if_nothing_may_leave() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let resolvers = vec![listener.local_addr().unwrap()];
    for (allowed, reached) in [(Allowed::All, true), (Allowed::None, false)] {
        let options = Options {
            resolvers: resolvers.clone(),
            policy: Policy::new(&[allowed]),
            ..Options::default()
        };
        let mut peer = Peer::new(options, Faults::default());
        let handle = peer.call((DNS_V4, 53), 40_000, 1000);
        let state = outcome(&mut peer, handle);
        assert_eq!(state == tcp::State::Established, reached);
    }
}

/// Established or closed.
fn outcome(peer: &mut Peer, handle: smoltcp::iface::SocketHandle) -> tcp::State {
    peer.until("an answer to a call", |sockets, _| {
        let state = sockets.get_mut::<tcp::Socket<'_>>(handle).state();
        (state != tcp::State::SynSent).then_some(state)
    })
}

#[test]
fn the_host_is_not_reached_unless_allowed() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let link: Ipv4Addr = "169.254.169.254".parse().unwrap();
    for to in [GATEWAY_V4, Ipv4Addr::new(10, 0, 2, 9), link] {
        let mut peer = Peer::new(Options::default(), Faults::default());
        let handle = peer.call((to, port), 40_000, 1000);
        if to.octets()[3] == 9 {
            // Nobody answers for an address that nobody has.
            continue;
        }
        assert_eq!(outcome(&mut peer, handle), tcp::State::Closed, "{to}");
        assert_eq!(peer.user.counters().denied, 1);
    }
    let mut peer = Peer::new(with_host(), Faults::default());
    let handle = peer.call((GATEWAY_V4, port), 40_000, 1000);
    assert_eq!(outcome(&mut peer, handle), tcp::State::Established);
}

/// An address of this host that others could call.
fn own_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) if !address.is_loopback() => Some(address),
        _ => None,
    }
}

#[test]
fn the_hosts_own_addresses_are_the_host() {
    let Some(own) = own_address() else {
        eprintln!("SKIPPED: this host has no address but the loopback");
        return;
    };
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for (options, expected) in [
        (Options::default(), tcp::State::Closed),
        (with_host(), tcp::State::Established),
    ] {
        let mut peer = Peer::new(options, Faults::default());
        let handle = peer.call((own, port), 40_000, 1000);
        assert_eq!(outcome(&mut peer, handle), expected);
    }
}

/// The kind and the code of the message that comes for a datagram.
fn message_for(options: Options, to: SocketAddr) -> (u8, u8) {
    let mut peer = Peer::new(options, Faults::default());
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 4000]);
    let mut messages = icmp::Socket::new(buffer(), buffer());
    messages.bind(icmp::Endpoint::Udp(5000.into())).unwrap();
    let messages = peer.sockets.add(messages);
    let handle = datagrams(&mut peer, 5000);
    let socket = peer.sockets.get_mut::<udp::Socket<'_>>(handle);
    socket.send_slice(b"x", IpEndpoint::from(to)).unwrap();
    peer.until("a message", |sockets, _| {
        let (bytes, _) = sockets.get_mut::<icmp::Socket<'_>>(messages).recv().ok()?;
        let packet = Icmpv4Packet::new_checked(bytes).unwrap();
        Some((u8::from(packet.msg_type()), packet.msg_code()))
    })
}

#[test]
fn a_forbidden_datagram_is_answered_by_a_message() {
    let to = SocketAddr::from(([169, 254, 1, 1], 99));
    assert_eq!(message_for(Options::default(), to), (3, 13));
}

#[test]
fn a_datagram_for_a_closed_port_is_answered_by_a_message() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let to = SocketAddr::from((GATEWAY_V4, port));
    assert_eq!(message_for(with_host(), to), (3, 3));
}

#[test]
fn the_gateway_answers_an_echo() {
    let mut peer = Peer::new(Options::default(), Faults::default());
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 4000]);
    let mut socket = icmp::Socket::new(buffer(), buffer());
    socket.bind(icmp::Endpoint::Ident(7)).unwrap();
    let echo = Icmpv4Repr::EchoRequest {
        ident: 7,
        seq_no: 3,
        data: b"hello",
    };
    let room = socket.send(echo.buffer_len(), GATEWAY_V4.into()).unwrap();
    let checksums = ChecksumCapabilities::default();
    echo.emit(&mut Icmpv4Packet::new_unchecked(room), &checksums);
    let handle = peer.sockets.add(socket);
    peer.until("an echo", |sockets, _| {
        let (bytes, _) = sockets.get_mut::<icmp::Socket<'_>>(handle).recv().ok()?;
        let packet = Icmpv4Packet::new_checked(bytes).unwrap();
        let reply = Icmpv4Repr::parse(&packet, &checksums).unwrap();
        let expected = Icmpv4Repr::EchoReply {
            ident: 7,
            seq_no: 3,
            data: b"hello",
        };
        assert_eq!(reply, expected);
        Some(())
    });
}

#[test]
fn an_address_is_given() {
    let options = Options {
        host_name: "husk".to_owned(),
        resolvers: vec!["127.0.0.1:53".parse().unwrap()],
        ..Options::default()
    };
    let mut peer = Peer::new(options, Faults::default());
    peer.interface
        .update_ip_addrs(|addresses| addresses.clear());
    let handle = peer.sockets.add(dhcpv4::Socket::new());
    peer.until("an address", |sockets, _| {
        match sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll() {
            Some(dhcpv4::Event::Configured(config)) => {
                assert_eq!(config.address.to_string(), format!("{GUEST_V4}/24"));
                assert_eq!(config.router, Some(GATEWAY_V4));
                assert_eq!(config.dns_servers.to_vec(), [DNS_V4]);
                Some(())
            }
            _ => None,
        }
    });
    assert_eq!((GUEST_MAC.len(), MTU), (6, 65_520));
}

#[test]
fn six_finds_the_gateway_and_the_hosts_loopback() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        eprintln!("SKIPPED: this host has no IPv6");
        return;
    };
    let port = listener.local_addr().unwrap().port();
    let mut peer = Peer::new(with_host(), Faults::default());
    let handle = peer.socket(1000);
    let socket = peer.sockets.get_mut::<tcp::Socket<'_>>(handle);
    let context = peer.interface.context();
    socket
        .connect(context, (GATEWAY_V6, port), 40_000_u16)
        .unwrap();
    assert_eq!(outcome(&mut peer, handle), tcp::State::Established);
}

fn published(list: &str) -> (Options, Vec<SocketAddr>) {
    let publish: Publish = list.parse().unwrap();
    let listeners = listen_on(&[publish]).unwrap();
    let addresses = listeners.iter().map(|listener| listener.address().unwrap());
    let addresses = addresses.collect();
    let options = Options {
        listeners,
        ..Options::default()
    };
    (options, addresses)
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn callers_of_a_published_port_come_from_the_gateway() {
    let (options, addresses) = published(&format!("127.0.0.1:{}:80", free_port()));
    let mut peer = Peer::new(options, Faults::default());
    let handle = peer.socket(1000);
    peer.sockets
        .get_mut::<tcp::Socket<'_>>(handle)
        .listen(80)
        .unwrap();
    let caller = thread::spawn(move || {
        let mut stream = TcpStream::connect(addresses[0]).unwrap();
        stream.write_all(b"hello").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    peer.until("a caller", |sockets, _| {
        let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
        let mut bytes = [0; 5];
        if !socket.can_recv() || socket.peek_slice(&mut bytes) != Ok(5) {
            return None;
        }
        let remote = socket.remote_endpoint().unwrap().addr;
        assert_eq!(remote, IpAddress::from(IpAddr::V4(GATEWAY_V4)));
        socket.send_slice(b"bye").unwrap();
        socket.close();
        Some(())
    });
    while !caller.is_finished() {
        peer.step();
    }
    assert_eq!(caller.join().unwrap(), "bye");
}

#[test]
fn a_caller_is_refused_when_nobody_listens_in_the_guest() {
    let (options, addresses) = published(&format!("127.0.0.1:{}:80", free_port()));
    let mut peer = Peer::new(options, Faults::default());
    let caller = thread::spawn(move || {
        let mut stream = TcpStream::connect(addresses[0]).unwrap();
        stream.read(&mut [0]).unwrap_err().kind()
    });
    while !caller.is_finished() {
        peer.step();
    }
    assert_eq!(caller.join().unwrap(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn datagrams_reach_a_published_port_and_their_answers_the_caller() {
    let (options, addresses) = published(&format!("127.0.0.1:{}:53/udp", free_port()));
    let mut peer = Peer::new(options, Faults::default());
    let handle = datagrams(&mut peer, 53);
    let caller = UdpSocket::bind("127.0.0.1:0").unwrap();
    caller
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    caller.send_to(b"question", addresses[0]).unwrap();
    peer.until("a question", |sockets, _| {
        let socket = sockets.get_mut::<udp::Socket<'_>>(handle);
        let (bytes, from) = socket.recv().ok()?;
        assert_eq!(bytes, b"question");
        socket.send_slice(b"answer", from).unwrap();
        Some(())
    });
    let answer = thread::spawn(move || {
        let mut bytes = [0; 100];
        let (count, from) = caller.recv_from(&mut bytes).unwrap();
        (bytes[..count].to_vec(), from)
    });
    while !answer.is_finished() {
        peer.step();
    }
    assert_eq!(answer.join().unwrap(), (b"answer".to_vec(), addresses[0]));
}
