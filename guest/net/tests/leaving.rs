//! A stack whose sockets are all closed, since their program is gone.

mod world;

use guest_net::{Error, Family, Kind, Nanos};
use world::{LINK, World, address, pattern};

const MINUTE: Nanos = Nanos::from_secs(60);

#[test]
fn what_was_sent_by_a_program_that_is_gone_is_undelivered_until_its_peer_has_it() {
    let mut world = World::new(21);
    let (client, server) = world.pair(80);
    let bytes = pattern(0, 200_000);
    assert_eq!(world.write(0, client, &bytes), Ok(bytes.len()));
    assert_eq!(world.stacks[0].undelivered(), 0, "its program still runs");
    let now = world.now;
    world.stacks[0].close_all(now);
    assert_eq!(world.stacks[0].undelivered(), bytes.len() + 1);
    let (mut got, mut least) = (Vec::new(), usize::MAX);
    world.until(MINUTE, |world| {
        let left = world.stacks[0].undelivered();
        assert!(left <= least, "{left} after {least}");
        least = left;
        got.extend(world.read(1, server, 10_000).unwrap_or_default());
        left == 0
    });
    got.extend(world.read(1, server, bytes.len()).unwrap_or_default());
    assert_eq!(got, bytes);
    assert_eq!(world.read(1, server, 1), Ok(Vec::new()));
}

#[test]
fn a_stream_that_is_given_up_is_reset() {
    let mut world = World::new(22);
    let (client, server) = world.pair(80);
    // More than the peer takes of which nobody reads.
    while world.write(0, client, &pattern(0, 100_000)).is_ok() {
        world.run_for(Nanos::from_millis(10));
    }
    let now = world.now;
    world.stacks[0].close_all(now);
    world.run_for(Nanos::from_secs(1));
    let (now, frames) = (world.now, world.frames);
    assert!(world.stacks[0].undelivered() > 0);
    world.stacks[0].probe_undelivered(now);
    world.exchange();
    assert_eq!(world.frames, frames + 1, "the peer is asked");
    world.stacks[0].reset_undelivered(now);
    world.until(MINUTE, |world| world.stacks[0].undelivered() == 0);
    assert_eq!(world.stacks[0].socket_count(), 0);
    world.run_for(Nanos::from_secs(1));
    while world
        .read(1, server, 1 << 20)
        .is_ok_and(|got| !got.is_empty())
    {}
    assert!(world.stacks[1].readiness(server).hang_up);
    let ends = [world.read(1, server, 1), world.read(1, server, 1)];
    assert!(!ends.contains(&Err(Error::WouldBlock)), "{ends:?}");
}

#[test]
fn what_only_the_machine_itself_would_read_is_not_undelivered() {
    for to in ["127.0.0.1:80".parse().unwrap(), address(0, 80)] {
        let mut world = World::new(23);
        // The interface has said what it says at its beginning.
        world.run_for(Nanos::from_secs(1));
        let listener = world.listen(0, to, 5);
        let client = world.connect(0, to);
        let now = world.now;
        world.stacks[0].poll(now);
        world.stacks[0].accept(listener).unwrap();
        while world.write(0, client, &pattern(0, 1 << 20)).is_ok() {}
        world.stacks[0].close_all(now);
        assert_eq!(world.stacks[0].undelivered(), 0, "{to}");
    }
}

#[test]
fn a_connection_that_nobody_accepted_is_reset_when_all_is_closed() {
    let mut world = World::new(24);
    world.listen(1, address(1, 80), 5);
    let client = world.connect(0, address(1, 80));
    world.run_for(Nanos::from_secs(1));
    assert!(world.stacks[0].readiness(client).writable);
    let now = world.now;
    world.stacks[1].close_all(now);
    world.run_for(Nanos::from_secs(1));
    assert_eq!(world.read(0, client, 1), Err(Error::Reset));
    assert_eq!(world.stacks[1].undelivered(), 0);
    assert_eq!(world.stacks[1].socket_count(), 0);
}

#[test]
fn a_datagram_whose_neighbour_is_being_asked_is_undelivered() {
    let mut world = World::new(25);
    let handle = world.stacks[0].open(Kind::Datagram, Family::V4).unwrap();
    let now = world.now;
    let message = guest_net::Message {
        to: Some(address(1, 53)),
        ..Default::default()
    };
    let sent = world.stacks[0].send_datagram(handle, &message, 9, &mut |room| room.len(), now);
    assert_eq!(sent, Ok(9));
    world.stacks[0].close_all(now);
    world.stacks[0].transmit(LINK, &mut |_| true);
    assert_eq!(world.stacks[0].undelivered(), 1);
    world.run_for(Nanos::from_secs(2));
    assert_eq!(world.stacks[0].undelivered(), 0);
}
