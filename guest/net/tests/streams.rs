//! TCP between two stacks over a wire that is as bad as it is told to be.

mod world;

use guest_net::{Error, Family, Kind, Nanos, Offloads, Shutdown, TcpState, WriteFlags};
use world::{LINK, Trouble, World, address, address_v6, pattern};

const MINUTE: Nanos = Nanos::from_secs(60);

fn state(world: &World, on: usize, handle: guest_net::Handle) -> TcpState {
    world.stacks[on].tcp_info(handle).unwrap().state
}

#[test]
fn megabytes_arrive_both_ways_whatever_the_wire_does() {
    let clean = Trouble::default();
    let cases = [
        (clean, 8 << 20),
        (Trouble { loss: 1, ..clean }, 4 << 20),
        (Trouble { loss: 10, ..clean }, 1 << 20),
        (
            Trouble {
                reorder: 10,
                ..clean
            },
            2 << 20,
        ),
        (
            Trouble {
                duplicate: 10,
                ..clean
            },
            2 << 20,
        ),
        (
            Trouble {
                corrupt: 1,
                ..clean
            },
            2 << 20,
        ),
        (
            Trouble {
                corrupt: 10,
                ..clean
            },
            1 << 20,
        ),
        (
            Trouble {
                loss: 1,
                reorder: 1,
                duplicate: 1,
                corrupt: 1,
            },
            2 << 20,
        ),
        (
            Trouble {
                loss: 10,
                reorder: 10,
                duplicate: 10,
                corrupt: 10,
            },
            512 << 10,
        ),
    ];
    for (at, (trouble, bytes)) in cases.into_iter().enumerate() {
        let mut world = World::new(at as u64 + 1);
        let (client, server) = world.pair(80);
        world.trouble = trouble;
        let start = world.now;
        world.transfer([client, server], bytes, 65_536, MINUTE.times(60));
        let info = world.stacks[0].tcp_info(client).unwrap();
        println!(
            "case {at}: {} ms, {} sent again, {} frames",
            (world.now - start).millis(),
            info.retransmits,
            world.frames
        );
        assert!(trouble.loss + trouble.corrupt + trouble.reorder > 0 || info.retransmits == 0);
    }
}

#[test]
fn segmentation_is_left_to_the_device() {
    let offloads = Offloads {
        tx_checksum: true,
        tso_v4: true,
        tso_v6: true,
        tso_max: 0,
    };
    let mut world = World::with(3, offloads, 1_500);
    let (client, server) = world.pair(80);
    world.transfer([client, server], 8 << 20, 1 << 20, MINUTE);
    assert!(world.frames < 16 * 1_024 / 2, "{} frames", world.frames);
    world.trouble.loss = 3;
    world.transfer([client, server], 4 << 20, 1 << 20, MINUTE.times(10));
}

#[test]
fn it_speaks_ipv6_and_mapped_ipv4() {
    let mut world = World::new(4);
    let listener = world.listen(1, "[::]:80".parse().unwrap(), 5);
    let one = world.connect(0, address_v6(1, 80));
    let other = world.connect(0, address(1, 80));
    let mut peers = Vec::new();
    world.until(MINUTE, |world| {
        if let Ok((_, peer)) = world.stacks[1].accept(listener) {
            peers.push(peer.ip().to_string());
        }
        peers.len() == 2
    });
    peers.sort();
    assert_eq!(peers, ["::ffff:10.0.0.1", "fd00::1"]);
    let _ = (one, other);
}

#[test]
fn connections_close_in_every_order() {
    for order in 0..4 {
        for loss in [0, 20] {
            let mut world = World::new(order * 10 + loss + 1);
            let (client, server) = world.pair(80);
            world.trouble.loss = loss;
            world.write(0, client, b"question").unwrap();
            let now = world.now;
            match order {
                0 => world.stacks[0]
                    .shutdown(client, Shutdown::Write, now)
                    .unwrap(),
                1 => world.stacks[1]
                    .shutdown(server, Shutdown::Write, now)
                    .unwrap(),
                2 => {
                    world.stacks[0]
                        .shutdown(client, Shutdown::Write, now)
                        .unwrap();
                    world.stacks[1]
                        .shutdown(server, Shutdown::Write, now)
                        .unwrap();
                }
                _ => world.stacks[0].close(client, now),
            }
            let mut got = Vec::new();
            world.until(MINUTE.times(10), |world| {
                got.extend(world.read(1, server, 100).unwrap_or_default());
                got == b"question"
            });
            if order != 1 {
                world.until(MINUTE.times(10), |world| {
                    world.stacks[1].readiness(server).read_closed
                });
                assert_eq!(world.read(1, server, 100), Ok(Vec::new()));
            }
            let now = world.now;
            world.stacks[1].close(server, now);
            world.stacks[0].close(client, now);
            world.run_for(MINUTE.times(20));
            for stack in &world.stacks {
                assert_eq!(
                    (stack.socket_count(), stack.memory_used()),
                    (0, 0),
                    "order {order}, loss {loss}"
                );
            }
        }
    }
}

#[test]
fn half_a_connection_still_carries_data() {
    let mut world = World::new(5);
    let (client, server) = world.pair(80);
    let now = world.now;
    world.stacks[0]
        .shutdown(client, Shutdown::Write, now)
        .unwrap();
    world.until(MINUTE, |world| {
        world.stacks[1].readiness(server).read_closed
    });
    assert_eq!(state(&world, 1, server), TcpState::CloseWait);
    assert_eq!(world.write(0, client, b"x"), Err(Error::Pipe));
    world.write(1, server, &pattern(0, 100_000)).unwrap();
    let mut got = Vec::new();
    world.until(MINUTE, |world| {
        got.extend(world.read(0, client, 10_000).unwrap_or_default());
        got.len() == 100_000
    });
    let now = world.now;
    world.stacks[1]
        .shutdown(server, Shutdown::Write, now)
        .unwrap();
    world.until(MINUTE, |world| world.read(0, client, 1) == Ok(Vec::new()));
    assert_eq!(state(&world, 0, client), TcpState::TimeWait);
}

#[test]
fn a_slow_reader_closes_the_window_and_opens_it() {
    let mut world = World::new(6);
    let (client, server) = world.pair(80);
    let mut sent = 0;
    let mut got = 0;
    for turn in 0..200 {
        while let Ok(done) = world.write(0, client, &pattern(sent, 50_000)) {
            sent += done;
        }
        world.run_for(Nanos::from_millis(if turn % 50 == 0 {
            30_000
        } else {
            100
        }));
        let data = world.read(1, server, 7_000).unwrap_or_default();
        assert_eq!(data, pattern(got, data.len()));
        got += data.len();
    }
    assert!(got > 1_000_000, "{got}");
    world.run_for(MINUTE);
    assert!(world.stacks[1].tcp_info(server).unwrap().receive_window < 3_000);
    let info = world.stacks[0].tcp_info(client).unwrap();
    assert!(info.retransmits < 20, "{}", info.retransmits);
}

#[test]
fn one_who_asked_for_room_is_told_of_it() {
    let mut world = World::new(60);
    let (client, server) = world.pair(80);
    // As much as there is room for and no more, so that no write finds none.
    let mut sent = 0;
    loop {
        let ready = world.stacks[0].readiness(client);
        if !ready.writable {
            break;
        }
        sent += world
            .write(0, client, &pattern(sent, ready.writable_bytes))
            .unwrap();
    }
    while world.stacks[0].next_changed().is_some() {}
    let mut told = false;
    world.until(MINUTE, |world| {
        let _ = world.read(1, server, 1 << 20);
        while let Some(handle) = world.stacks[0].next_changed() {
            told |= handle == client;
        }
        told
    });
    assert!(world.stacks[0].readiness(client).writable);
}

#[test]
fn a_window_that_opens_unheard_is_asked_for() {
    let mut world = World::new(7);
    let (client, server) = world.pair(80);
    let mut sent = 0;
    while let Ok(done) = world.write(0, client, &pattern(sent, 50_000)) {
        sent += done;
    }
    world.run_for(MINUTE);
    world.cut = true;
    let mut got = world.read(1, server, 1 << 20).unwrap().len();
    world.run_for(Nanos::from_millis(10));
    world.cut = false;
    world.until(MINUTE.times(5), |world| {
        got += world.read(1, server, 1 << 20).unwrap_or_default().len();
        got == sent
    });
}

#[test]
fn a_closed_port_refuses_and_silence_times_out() {
    let mut world = World::new(8);
    let client = world.connect(0, address(1, 81));
    world.until(MINUTE, |world| world.stacks[0].readiness(client).error);
    assert!(world.stacks[0].readiness(client).hang_up);
    assert_eq!(world.stacks[0].take_error(client), Some(Error::Refused));
    let nobody = world.connect(0, "10.0.0.77:1".parse().unwrap());
    world.until(MINUTE, |world| world.stacks[0].readiness(nobody).error);
    assert_eq!(
        world.stacks[0].take_error(nobody),
        Some(Error::HostUnreachable)
    );
    world.cut = true;
    let silent = world.connect(0, address(1, 81));
    world.until(MINUTE.times(5), |world| {
        world.stacks[0].readiness(silent).error
    });
    // Its neighbour does not answer either, which is said sooner.
    assert_eq!(
        world.stacks[0].take_error(silent),
        Some(Error::HostUnreachable)
    );
    let handle = world.stacks[0].open(Kind::Stream, Family::V4).unwrap();
    let now = world.now;
    let far = world.stacks[0].connect(handle, "192.0.2.1:1".parse().unwrap(), now);
    assert_eq!(far, Err(Error::NetworkUnreachable));
}

#[test]
fn a_burst_of_connections_loses_none() {
    for (backlog, loss) in [(4_096, 0), (128, 0), (128, 5)] {
        let mut world = World::new(9);
        world.trouble.loss = loss;
        let listener = world.listen(1, address(1, 80), backlog);
        let clients: Vec<_> = (0..5_000)
            .map(|_| world.connect(0, address(1, 80)))
            .collect();
        let mut accepted = 0;
        world.until(MINUTE.times(10), |world| {
            while let Some(changed) = world.stacks[0].next_changed() {
                // Of a handshake that ended with a cookie only data can tell once its answer is lost.
                if world.stacks[0].readiness(changed).unsent_bytes == 0 {
                    let _ = world.write(0, changed, b"hello");
                }
            }
            while world.stacks[1].accept(listener).is_ok() {
                accepted += 1;
            }
            accepted == 5_000
        });
        let failed = clients
            .iter()
            .filter(|client| world.stacks[0].readiness(**client).error);
        assert_eq!(failed.count(), 0, "backlog {backlog}, loss {loss}");
    }
}

#[test]
fn ten_thousand_connections_are_open_and_cost_little() {
    let mut world = World::new(10);
    let listener = world.listen(1, address(1, 80), 4_096);
    let mut ends = Vec::new();
    for _ in 0..10 {
        let clients: Vec<_> = (0..1_000)
            .map(|_| world.connect(0, address(1, 80)))
            .collect();
        let mut servers = Vec::new();
        world.until(MINUTE, |world| {
            while let Ok((server, _)) = world.stacks[1].accept(listener) {
                servers.push(server);
            }
            servers.len() == 1_000
        });
        ends.extend(clients.into_iter().zip(servers));
    }
    assert_eq!(world.stacks[0].socket_count(), 10_000);
    assert_eq!(
        world.stacks[0].memory_used() + world.stacks[1].memory_used(),
        0
    );
    for (at, (client, _)) in ends.iter().enumerate() {
        assert_eq!(world.write(0, *client, &at.to_le_bytes()), Ok(8));
    }
    world.run_for(Nanos::from_secs(5));
    let mut sum = 0;
    for (_, server) in &ends {
        let bytes = world.read(1, *server, 8).unwrap();
        sum += usize::from_le_bytes(bytes.try_into().unwrap());
    }
    assert_eq!(sum, 10_000 * 9_999 / 2);
}

#[test]
fn both_may_ask_at_once() {
    let mut world = World::new(11);
    let ends: Vec<_> = (0..2)
        .map(|side| {
            let handle = world.stacks[side].open(Kind::Stream, Family::V4).unwrap();
            world.stacks[side].bind(handle, address(side, 500)).unwrap();
            handle
        })
        .collect();
    let now = world.now;
    for (side, end) in ends.iter().enumerate() {
        let asked = world.stacks[side].connect(*end, address(1 - side, 500), now);
        assert_eq!(asked, Err(Error::InProgress));
    }
    // Addresses are resolved one after the other, so the first answers get lost here and there.
    world.until(MINUTE, |world| {
        (0..2).all(|side| state(world, side, ends[side]) == TcpState::Established)
    });
    world.transfer([ends[0], ends[1]], 100_000, 10_000, MINUTE);
}

#[test]
fn urgent_bytes_overtake() {
    let mut world = World::new(12);
    let (client, server) = world.pair(80);
    world.write(0, client, b"abc").unwrap();
    let now = world.now;
    let urgent = WriteFlags {
        urgent: true,
        ..WriteFlags::default()
    };
    let mut put = |room: &mut [u8]| {
        room.copy_from_slice(b"!");
        1
    };
    world.stacks[0]
        .write(client, 1, urgent, &mut put, now)
        .unwrap();
    world.write(0, client, b"def").unwrap();
    world.until(MINUTE, |world| {
        world.stacks[1].readiness(server).readable_bytes >= 7
    });
    assert!(world.stacks[1].readiness(server).urgent);
    let now = world.now;
    assert_eq!(world.stacks[1].read_urgent(server, false, now), Ok(b'!'));
    assert_eq!(world.read(1, server, 100), Ok(b"abc".to_vec()));
    assert!(world.stacks[1].is_at_mark(server));
    assert_eq!(world.read(1, server, 100), Ok(b"def".to_vec()));
}

#[test]
fn closing_with_unread_data_or_without_patience_resets() {
    for unread in [true, false] {
        let mut world = World::new(13);
        let (client, server) = world.pair(80);
        if unread {
            world.write(0, client, b"never read").unwrap();
        }
        world.run_for(Nanos::from_secs(1));
        let now = world.now;
        if !unread {
            world.stacks[1]
                .set_options(server, now, |o| o.linger = Some(Nanos::ZERO))
                .unwrap();
        }
        world.stacks[1].close(server, now);
        world.run_for(Nanos::from_secs(1));
        assert_eq!(world.read(0, client, 1), Err(Error::Reset));
        assert_eq!(world.stacks[1].socket_count(), 0);
    }
}

#[test]
fn a_dead_peer_is_noticed() {
    let mut world = World::new(14);
    let (client, _) = world.pair(80);
    let now = world.now;
    world.stacks[0]
        .set_options(client, now, |options| {
            options.keep_alive = true;
            options.keep_idle = Nanos::from_secs(10);
            options.keep_interval = Nanos::from_secs(2);
            options.keep_count = 3;
        })
        .unwrap();
    world.run_for(MINUTE.times(2));
    assert!(!world.stacks[0].readiness(client).error, "it answers");
    world.cut = true;
    let start = world.now;
    world.until(MINUTE, |world| world.stacks[0].readiness(client).error);
    assert!((world.now - start) <= Nanos::from_secs(17));
    assert_eq!(world.stacks[0].take_error(client), Some(Error::TimedOut));
    let (other, _) = {
        world.cut = false;
        world.run_for(MINUTE);
        world.pair(81)
    };
    let now = world.now;
    world.stacks[0]
        .set_options(other, now, |options| {
            options.user_timeout = Nanos::from_secs(5)
        })
        .unwrap();
    world.cut = true;
    world.write(0, other, b"hello?").unwrap();
    world.until(MINUTE, |world| world.stacks[0].readiness(other).error);
    assert!(world.now - now < Nanos::from_secs(10));
}

#[test]
fn small_writes_are_gathered_unless_told_otherwise() {
    for (no_delay, most) in [(false, 30), (true, 130)] {
        let mut world = World::new(15);
        let (client, server) = world.pair(80);
        let now = world.now;
        world.stacks[0]
            .set_options(client, now, |options| options.no_delay = no_delay)
            .unwrap();
        world.delay = Nanos::from_millis(50);
        let before = world.stacks[0].tcp_info(client).unwrap().segments_out;
        for _ in 0..100 {
            world.write(0, client, b"x").unwrap();
            world.run_for(Nanos::from_millis(1));
        }
        world.run_for(Nanos::from_secs(1));
        let sent = world.stacks[0].tcp_info(client).unwrap().segments_out - before;
        assert!(sent <= most && (!no_delay || sent >= 100), "{sent}");
        assert_eq!(world.read(1, server, 200).unwrap().len(), 100);
    }
}

#[test]
fn corked_data_waits_for_full_segments_or_a_while() {
    let mut world = World::new(16);
    let (client, server) = world.pair(80);
    let now = world.now;
    world.stacks[0]
        .set_options(client, now, |options| options.cork = true)
        .unwrap();
    world.write(0, client, b"head").unwrap();
    world.run_for(Nanos::from_millis(100));
    assert_eq!(world.stacks[1].readiness(server).readable_bytes, 0);
    world.run_for(Nanos::from_millis(200));
    assert_eq!(world.stacks[1].readiness(server).readable_bytes, 4);
    world.write(0, client, b"tail").unwrap();
    let now = world.now;
    world.stacks[0]
        .set_options(client, now, |options| {
            options.cork = false;
            options.no_delay = true;
        })
        .unwrap();
    world.run_for(Nanos::from_millis(10));
    assert_eq!(world.stacks[1].readiness(server).readable_bytes, 8);
}

#[test]
fn the_loopback_carries_streams() {
    let mut world = World::new(17);
    let listener = world.listen(0, "127.0.0.1:80".parse().unwrap(), 5);
    let client = world.connect(0, "127.0.0.1:80".parse().unwrap());
    let now = world.now;
    world.stacks[0].poll(now);
    let (server, peer) = world.stacks[0].accept(listener).unwrap();
    assert!(peer.ip().is_loopback());
    let (mut sent, mut got) = (0, 0);
    while got < 32 << 20 {
        let data = pattern(sent, 100_000);
        sent += world.write(0, client, &data).unwrap_or(0);
        let now = world.now;
        world.stacks[0].poll(now);
        let data = world.read(0, server, 200_000).unwrap_or_default();
        assert_eq!(data, pattern(got, data.len()));
        assert!(
            !data.is_empty(),
            "no time is needed, at {got} of {sent}: {:?}",
            world.stacks[0].tcp_info(client)
        );
        got += data.len();
        world.stacks[0].poll(now);
    }
    assert!(!world.stacks[0].wants_transmit(LINK) || world.frames == 0);
}

#[test]
fn a_full_device_gets_the_frame_later() {
    let mut world = World::new(18);
    let (client, server) = world.pair(80);
    world.write(0, client, &pattern(0, 10_000)).unwrap();
    let mut offered = Vec::new();
    for _ in 0..3 {
        world.stacks[0].transmit(LINK, &mut |frame| {
            offered.push(frame.header.to_vec());
            false
        });
    }
    assert_eq!(offered.len(), 3);
    assert!(offered.iter().all(|frame| frame[20..] == offered[0][20..]));
    world.run_for(Nanos::from_secs(1));
    assert_eq!(world.read(1, server, 10_000).unwrap(), pattern(0, 10_000));
}

#[test]
fn listeners_that_share_a_port_share_the_work() {
    let mut world = World::new(19);
    let listeners: Vec<_> = (0..4)
        .map(|_| {
            let stack = &mut world.stacks[1];
            let handle = stack.open(Kind::Stream, Family::V4).unwrap();
            stack
                .set_options(handle, Nanos::ZERO, |options| options.reuse_port = true)
                .unwrap();
            stack.bind(handle, address(1, 80)).unwrap();
            stack.listen(handle, 500).unwrap();
            handle
        })
        .collect();
    for _ in 0..400 {
        world.connect(0, address(1, 80));
    }
    world.run_for(Nanos::from_secs(2));
    for listener in listeners {
        let count = world.stacks[1].readiness(listener).readable_bytes;
        assert!((50..150).contains(&count), "{count}");
    }
}

#[test]
fn a_port_in_time_wait_can_be_used_again() {
    let mut world = World::new(20);
    let (client, server) = world.pair(80);
    let local = world.stacks[0].local_address(client).unwrap();
    let now = world.now;
    world.stacks[0].close(client, now);
    world.run_for(Nanos::from_secs(2));
    let now = world.now;
    world.stacks[1].close(server, now);
    world.run_for(Nanos::from_secs(2));
    assert_eq!(world.stacks[0].socket_count(), 0);
    let again = world.stacks[0].open(Kind::Stream, Family::V4).unwrap();
    assert_eq!(world.stacks[0].bind(again, local), Err(Error::AddressInUse));
    world.stacks[0]
        .set_options(again, Nanos::ZERO, |options| options.reuse_address = true)
        .unwrap();
    world.stacks[0].bind(again, local).unwrap();
    let listener = world.listen(1, address(1, 80), 5);
    let now = world.now;
    assert_eq!(
        world.stacks[0].connect(again, address(1, 80), now),
        Err(Error::InProgress)
    );
    world.until(MINUTE, |world| world.stacks[1].accept(listener).is_ok());
}
