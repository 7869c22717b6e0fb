//! UDP, ICMP, groups and routes between two stacks.

mod world;

use std::net::{IpAddr, SocketAddr};

use guest_net::{
    DatagramInfo, Error, Family, Handle, InterfaceAddress, InterfaceId, Kind, Message, Nanos,
    Route, RouteOrigin, RxMeta, Shutdown,
};
use world::{LINK, Trouble, World, address, address_v6, pattern};

const SECOND: Nanos = Nanos::from_secs(1);

fn open(world: &mut World, on: usize, kind: Kind, at: SocketAddr) -> Handle {
    let family = if at.is_ipv4() { Family::V4 } else { Family::V6 };
    let handle = world.stacks[on].open(kind, family).unwrap();
    world.stacks[on].bind(handle, at).unwrap();
    handle
}

fn send(
    world: &mut World,
    on: usize,
    handle: Handle,
    to: Option<SocketAddr>,
    data: &[u8],
) -> Result<usize, Error> {
    let message = Message {
        to,
        ..Message::default()
    };
    let mut fill = |room: &mut [u8]| {
        room.copy_from_slice(data);
        room.len()
    };
    world.stacks[on].send_datagram(handle, &message, data.len(), &mut fill, world.now)
}

fn receive(world: &mut World, on: usize, handle: Handle) -> Result<(Vec<u8>, DatagramInfo), Error> {
    let mut got = None;
    world.stacks[on].receive_datagram(handle, false, &mut |data, info| {
        got = Some((data.to_vec(), *info))
    })?;
    Ok(got.unwrap())
}

#[test]
fn datagrams_of_every_size_arrive_whole_or_not_at_all() {
    for (v6, trouble) in [
        (false, Trouble::default()),
        (true, Trouble::default()),
        (
            false,
            Trouble {
                reorder: 30,
                duplicate: 20,
                ..Trouble::default()
            },
        ),
        (
            true,
            Trouble {
                loss: 5,
                corrupt: 5,
                ..Trouble::default()
            },
        ),
    ] {
        let mut world = World::new(1);
        let (from, to) = if v6 {
            (address_v6(0, 5_000), address_v6(1, 5_001))
        } else {
            (address(0, 5_000), address(1, 5_001))
        };
        let client = open(&mut world, 0, Kind::Datagram, from);
        let server = open(&mut world, 1, Kind::Datagram, to);
        send(&mut world, 0, client, Some(to), b"who is there").unwrap();
        world.run_for(SECOND);
        receive(&mut world, 1, server).unwrap();
        world.trouble = trouble;
        let mut arrived = 0;
        for size in [0, 1, 100, 1_452, 1_473, 3_000, 20_000, 65_000] {
            let data = pattern(size, size);
            assert_eq!(send(&mut world, 0, client, Some(to), &data), Ok(size));
            world.run_for(SECOND);
            while let Ok((got, info)) = receive(&mut world, 1, server) {
                assert_eq!((got.len(), info.from, info.interface), (size, from, LINK));
                assert!(got == data);
                arrived += 1;
            }
        }
        let is_clean = trouble.loss + trouble.corrupt == 0;
        assert!(!is_clean || arrived >= 8, "{arrived}");
        assert_eq!(
            send(&mut world, 0, client, Some(to), &[0; 65_536]),
            Err(Error::MessageSize)
        );
        world.run_for(SECOND.times(60));
        assert_eq!(world.stacks[0].memory_used(), 0);
    }
}

#[test]
fn a_connected_socket_hears_its_peer_and_of_its_problems() {
    let mut world = World::new(2);
    let server = open(&mut world, 1, Kind::Datagram, address(1, 7));
    let other = open(&mut world, 1, Kind::Datagram, address(1, 8));
    let client = open(&mut world, 0, Kind::Datagram, address(0, 9));
    let now = world.now;
    world.stacks[0].connect(client, address(1, 7), now).unwrap();
    assert_eq!(world.stacks[0].peer_address(client), Ok(address(1, 7)));
    send(&mut world, 0, client, None, b"to you").unwrap();
    send(&mut world, 1, other, Some(address(0, 9)), b"not for it").unwrap();
    world.run_for(SECOND);
    let (_, info) = receive(&mut world, 1, server).unwrap();
    send(&mut world, 1, server, Some(info.from), b"to me").unwrap();
    world.run_for(SECOND);
    assert_eq!(receive(&mut world, 0, client).unwrap().0, b"to me");
    assert_eq!(
        receive(&mut world, 0, client).unwrap_err(),
        Error::WouldBlock
    );
    let now = world.now;
    world.stacks[1].close(server, now);
    send(&mut world, 0, client, None, b"anybody?").unwrap();
    world.run_for(SECOND);
    assert!(world.stacks[0].readiness(client).error);
    assert_eq!(receive(&mut world, 0, client).unwrap_err(), Error::Refused);
    assert_eq!(
        world.stacks[0].shutdown(client, Shutdown::Read, now),
        Ok(())
    );
    assert_eq!(receive(&mut world, 0, client).unwrap().0, b"");
}

#[test]
fn broadcast_needs_permission_and_reaches_all() {
    let mut world = World::new(3);
    let client = open(&mut world, 0, Kind::Datagram, "0.0.0.0:68".parse().unwrap());
    let server = open(&mut world, 1, Kind::Datagram, "0.0.0.0:67".parse().unwrap());
    for to in ["255.255.255.255:67", "10.0.0.255:67"] {
        let to = Some(to.parse().unwrap());
        let now = world.now;
        world.stacks[0]
            .set_options(client, now, |options| options.broadcast = false)
            .unwrap();
        assert_eq!(send(&mut world, 0, client, to, b"all"), Err(Error::Access));
        world.stacks[0]
            .set_options(client, now, |options| options.broadcast = true)
            .unwrap();
        send(&mut world, 0, client, to, b"all").unwrap();
        world.run_for(SECOND);
        assert_eq!(receive(&mut world, 1, server).unwrap().0, b"all");
    }
}

#[test]
fn groups_are_joined_and_left() {
    for group in ["239.1.2.3", "ff05::77"] {
        let group: IpAddr = group.parse().unwrap();
        let any: IpAddr = if group.is_ipv4() { "0.0.0.0" } else { "::" }
            .parse()
            .unwrap();
        let mut world = World::new(4);
        let sender = open(&mut world, 0, Kind::Datagram, SocketAddr::new(any, 5_353));
        let member = open(&mut world, 1, Kind::Datagram, SocketAddr::new(any, 5_353));
        let to = Some(SocketAddr::new(group, 5_353));
        send(&mut world, 0, sender, to, b"early").unwrap();
        world.run_for(SECOND);
        world.stacks[1].join_group(member, group, None).unwrap();
        assert_eq!(
            world.stacks[1].join_group(member, group, None),
            Err(Error::AddressInUse)
        );
        world.stacks[0]
            .join_group(sender, group, Some(LINK))
            .unwrap();
        send(&mut world, 0, sender, to, b"heard").unwrap();
        world.run_for(SECOND);
        assert_eq!(receive(&mut world, 1, member).unwrap().0, b"heard");
        assert_eq!(
            receive(&mut world, 0, sender).unwrap().0,
            b"heard",
            "members hear themselves"
        );
        world.stacks[1].leave_group(member, group, None).unwrap();
        send(&mut world, 0, sender, to, b"late").unwrap();
        world.run_for(SECOND);
        assert_eq!(
            receive(&mut world, 1, member).unwrap_err(),
            Error::WouldBlock
        );
    }
}

#[test]
fn echoes_are_answered_and_raw_sockets_see_everything() {
    for (v6, to) in [
        (false, address(1, 0)),
        (true, address_v6(1, 0)),
        (false, "127.0.0.1:0".parse().unwrap()),
    ] {
        let mut world = World::new(5);
        let family = if v6 { Family::V6 } else { Family::V4 };
        let echo = world.stacks[0].open(Kind::Echo, family).unwrap();
        let raw = world.stacks[0]
            .open(Kind::Raw(if v6 { 58 } else { 1 }), family)
            .unwrap();
        let mut request = vec![if v6 { 128 } else { 8 }, 0, 0, 0, 0, 0, 0, 9];
        request.extend(pattern(0, 2_000));
        send(&mut world, 0, echo, Some(to), &request).unwrap();
        world.run_for(SECOND);
        let (reply, info) = receive(&mut world, 0, echo).unwrap();
        assert_eq!(
            (reply[0], &reply[6..], info.from.ip()),
            (if v6 { 129 } else { 0 }, &request[6..], to.ip())
        );
        let mut seen = Vec::new();
        while let Ok((packet, _)) = receive(&mut world, 0, raw) {
            seen.push(if v6 { packet[0] } else { packet[20] });
        }
        assert!(seen.contains(&reply[0]), "{seen:?}");
        assert_eq!(
            send(&mut world, 0, echo, Some(to), &[13, 0, 0, 0, 0, 0, 0, 0]),
            Err(Error::Invalid)
        );
    }
}

#[test]
fn the_loopback_carries_datagrams() {
    let mut world = World::new(6);
    let at: SocketAddr = "127.0.0.1:53".parse().unwrap();
    let server = open(&mut world, 0, Kind::Datagram, at);
    let client = world.stacks[0].open(Kind::Datagram, Family::V6).unwrap();
    let to = "[::ffff:127.0.0.1]:53".parse().unwrap();
    send(&mut world, 0, client, Some(to), &pattern(0, 60_000)).unwrap();
    let now = world.now;
    world.stacks[0].poll(now);
    let (data, info) = receive(&mut world, 0, server).unwrap();
    assert!(data == pattern(0, 60_000) && info.interface == InterfaceId::LOOPBACK);
    send(&mut world, 0, server, Some(info.from), b"back").unwrap();
    world.stacks[0].poll(now);
    let (data, info) = receive(&mut world, 0, client).unwrap();
    assert_eq!((data.as_slice(), info.from), (&b"back"[..], to));
    assert_eq!(
        world.stacks[0].bind(client, to).unwrap_err(),
        Error::Invalid
    );
}

#[test]
fn a_buffer_that_is_full_blocks_until_the_device_takes_something() {
    let mut world = World::new(7);
    let client = open(&mut world, 0, Kind::Datagram, address(0, 9));
    let now = world.now;
    world.stacks[0]
        .set_options(client, now, |options| options.send_buffer = 10_000)
        .unwrap();
    let mut sent = 0;
    while send(&mut world, 0, client, Some(address(1, 9)), &[0; 1_000]) != Err(Error::WouldBlock) {
        sent += 1;
        assert!(sent < 20);
    }
    while world.stacks[0].next_changed().is_some() {}
    world.run_for(SECOND);
    assert_eq!(world.stacks[0].next_changed(), Some(client));
    assert!(world.stacks[0].readiness(client).writable);
}

#[test]
fn routes_lead_where_they_should() {
    let mut world = World::new(8);
    let default = InterfaceAddress::new("0.0.0.0".parse().unwrap(), 0);
    let route = Route {
        destination: default,
        gateway: Some(address(1, 0).ip()),
        interface: LINK,
        metric: 0,
        source: None,
        origin: RouteOrigin::Static,
    };
    let far: IpAddr = "192.0.2.9".parse().unwrap();
    let stack = &mut world.stacks[0];
    assert_eq!(stack.route_to(far), Err(Error::NetworkUnreachable));
    let strange = Some("172.16.0.1".parse().unwrap());
    assert_eq!(
        stack.add_route(Route {
            gateway: strange,
            ..route
        }),
        Err(Error::NetworkUnreachable)
    );
    stack.add_route(route).unwrap();
    assert_eq!(stack.add_route(route), Err(Error::Exists));
    assert_eq!(
        stack.route_to(far),
        Ok((LINK, address(0, 0).ip(), address(1, 0).ip()))
    );
    stack.set_up(LINK, false).unwrap();
    assert_eq!(stack.route_to(far), Err(Error::NetworkDown));
    stack.set_up(LINK, true).unwrap();
    stack
        .remove_routes(|route| route.destination == default)
        .unwrap();
    assert_eq!(stack.route_to(far), Err(Error::NetworkUnreachable));
    assert_eq!(stack.remove_address(LINK, address(0, 0).ip()), Ok(()));
    assert_eq!(
        stack.route_to(address(1, 0).ip()),
        Err(Error::NetworkUnreachable)
    );
}

fn checksum(pieces: &[&[u8]]) -> [u8; 2] {
    let bytes = pieces.concat();
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

#[test]
fn a_router_that_says_how_much_fits_is_heard() {
    let mut world = World::new(9);
    let (client, server) = world.pair(80);
    world.write(0, client, &pattern(0, 20_000)).unwrap();
    // The first frame with data comes back as too large.
    let now = world.now;
    let mut packet = Vec::new();
    world.stacks[0].transmit(LINK, &mut |frame| {
        if frame.len() > 1_000 && packet.is_empty() {
            packet = frame.header[14..].to_vec();
        }
        true
    });
    let mut message = vec![3, 4, 0, 0, 0, 0, 2, 88];
    message.extend(&packet);
    let sum = checksum(&[&message]);
    message[2..4].copy_from_slice(&sum);
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0];
    let mut header = vec![
        0x45,
        0,
        0,
        20 + message.len() as u8,
        0,
        0,
        0,
        0,
        64,
        1,
        0,
        0,
        10,
        0,
        0,
        9,
        10,
        0,
        0,
        1,
    ];
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum);
    frame.extend(header);
    frame.extend(message);
    world.stacks[0].receive(LINK, &frame, &RxMeta::default(), now);
    let mut largest = 0;
    world.stacks[0].transmit(LINK, &mut |frame| {
        largest = largest.max(frame.len());
        true
    });
    assert_eq!(largest, 14 + 600);
    assert_eq!(world.stacks[0].tcp_info(client).unwrap().path_mtu, 600);
    let mut got = 0;
    world.until(SECOND.times(60), |world| {
        got += world.read(1, server, 30_000).unwrap_or_default().len();
        got == 20_000
    });
}

#[test]
fn a_router_that_advertises_itself_is_used_until_its_time_is_over() {
    let mut stack = guest_net::Stack::new(&guest_net::Config::default());
    let config = guest_net::InterfaceConfig {
        name: "eth0".into(),
        mac: guest_net::Mac([2, 0, 0, 0, 0, 1]),
        mtu: 1_500,
        offloads: guest_net::Offloads::default(),
        accept_advertisements: true,
    };
    let start = SECOND;
    let link = stack.attach(config, start);
    stack.poll(start);
    let mut asked = 0;
    stack.transmit(link, &mut |frame| {
        asked += usize::from(frame.header.get(54) == Some(&133));
        true
    });
    assert_eq!(asked, 1, "routers are asked");
    let router = "fe80::99".parse::<std::net::Ipv6Addr>().unwrap();
    let all = "ff02::1".parse::<std::net::Ipv6Addr>().unwrap();
    let prefix = "2001:db8:1::".parse::<std::net::Ipv6Addr>().unwrap();
    let dns = "2001:db8::53".parse::<std::net::Ipv6Addr>().unwrap();
    let mut message = vec![
        134, 0, 0, 0, 33, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 0x99,
    ];
    message.extend([5, 1, 0, 0, 0, 0, 5, 120]);
    message.extend([3, 4, 64, 0xc0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    message.extend(prefix.octets());
    message.extend([25, 3, 0, 0, 0, 0, 1, 0]);
    message.extend(dns.octets());
    let length = (message.len() as u32).to_be_bytes();
    let sum = checksum(&[
        &router.octets(),
        &all.octets(),
        &length,
        &[0, 0, 0, 58],
        &message,
    ]);
    message[2..4].copy_from_slice(&sum);
    let mut frame = vec![
        0x33,
        0x33,
        0,
        0,
        0,
        1,
        2,
        0,
        0,
        0,
        0,
        0x99,
        0x86,
        0xdd,
        0x60,
        0,
        0,
        0,
        0,
        message.len() as u8,
        58,
        255,
    ];
    frame.extend(router.octets());
    frame.extend(all.octets());
    frame.extend(message);
    stack.receive(link, &frame, &RxMeta::default(), start);
    let own: IpAddr = "2001:db8:1::ff:fe00:1".parse().unwrap();
    let found = stack.route_to("2001:db8:9::1".parse().unwrap());
    assert_eq!(
        found,
        Ok((link, own, IpAddr::V6(router))),
        "{:?}",
        stack.routes()
    );
    assert_eq!(stack.dns_servers().collect::<Vec<_>>(), [IpAddr::V6(dns)]);
    let interface = stack.interface(link).unwrap();
    assert_eq!(
        (interface.config.mtu, interface.addresses.len()),
        (1_400, 2)
    );
    stack.poll(SECOND.times(102));
    assert_eq!(
        stack.route_to("2001:db8:9::1".parse().unwrap()),
        Err(Error::NetworkUnreachable)
    );
}
