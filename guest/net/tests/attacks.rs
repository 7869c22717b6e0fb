//! Segments that no honest peer would send, and those of long ago.

mod world;

use guest_net::{Error, Handle, Nanos, RxMeta, TcpState};
use world::{LINK, World, address};

const SECOND: Nanos = Nanos::from_secs(1);
const TRUSTED: RxMeta = RxMeta {
    checksum_valid: true,
    gso: None,
};

/// Where the fields of TCP's header are in a frame of IPv4.
const SEQ: usize = 14 + 20 + 4;
const ACK: usize = SEQ + 4;
const FLAGS: usize = SEQ + 9;
const STAMP: usize = 14 + 20 + 20 + 4;

const RST: u8 = 4;
const SYN: u8 = 2;

fn word(frame: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(frame[at..at + 4].try_into().unwrap())
}

fn add(frame: &mut [u8], at: usize, difference: i32) {
    let value = word(frame, at).wrapping_add_signed(difference);
    frame[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

/// What a stack has to send, not delivered.
fn taken(world: &mut World, from: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    world.stacks[from].transmit(LINK, &mut |frame| {
        let mut bytes = vec![0; frame.len()];
        frame.copy_to(&mut bytes);
        frames.push(bytes);
        true
    });
    frames
}

/// A connection, and a frame with one byte of data from the client that was not delivered.
fn with_frame(seed: u64) -> (World, Handle, Vec<u8>) {
    let mut world = World::new(seed);
    let (client, server) = world.pair(80);
    world.run_for(SECOND);
    world.write(0, client, b"x").unwrap();
    let frame = taken(&mut world, 0).pop().unwrap();
    (world, server, frame)
}

#[test]
fn who_guesses_does_not_end_a_connection() {
    type Alter = fn(&mut Vec<u8>);
    let alter: [(&str, Alter, TcpState, usize); 7] = [
        (
            "a reset in the window",
            |f| {
                f[FLAGS] = RST;
                add(f, SEQ, 100);
            },
            TcpState::Established,
            1,
        ),
        (
            "a reset outside",
            |f| {
                f[FLAGS] = RST;
                add(f, SEQ, -100_000);
            },
            TcpState::Established,
            0,
        ),
        (
            "a reset where it is expected",
            |f| f[FLAGS] = RST,
            TcpState::Closed,
            0,
        ),
        ("a SYN", |f| f[FLAGS] = SYN, TcpState::Established, 1),
        (
            "an acknowledgement of what was not sent",
            |f| add(f, ACK, 5_000),
            TcpState::Established,
            1,
        ),
        (
            "an acknowledgement of long ago",
            |f| add(f, ACK, -1_000_000),
            TcpState::Established,
            1,
        ),
        (
            "no acknowledgement",
            |f| f[FLAGS] = 0,
            TcpState::Established,
            0,
        ),
    ];
    for (what, alter, state, answers) in alter {
        let (mut world, server, mut frame) = with_frame(1);
        alter(&mut frame);
        let now = world.now;
        world.stacks[1].receive(LINK, &frame, &TRUSTED, now);
        let info = world.stacks[1].tcp_info(server).unwrap();
        assert_eq!(info.state, state, "{what}");
        assert_eq!(taken(&mut world, 1).len(), answers, "{what}");
        assert_eq!(
            world.stacks[1].readiness(server).readable_bytes,
            0,
            "{what}"
        );
    }
}

#[test]
fn segments_of_long_ago_are_known_by_their_timestamps() {
    let (mut world, server, mut frame) = with_frame(2);
    add(&mut frame, STAMP, -10_000);
    let now = world.now;
    world.stacks[1].receive(LINK, &frame, &TRUSTED, now);
    assert_eq!(world.stacks[1].readiness(server).readable_bytes, 0);
    add(&mut frame, STAMP, 10_000);
    world.stacks[1].receive(LINK, &frame, &TRUSTED, now);
    assert_eq!(world.stacks[1].readiness(server).readable_bytes, 1);
}

#[test]
fn challenges_are_not_sent_without_end() {
    let (mut world, _, mut frame) = with_frame(3);
    frame[FLAGS] = SYN;
    let now = world.now;
    let mut answers = 0;
    for _ in 0..5_000 {
        world.stacks[1].receive(LINK, &frame, &TRUSTED, now);
        answers += taken(&mut world, 1).len();
    }
    assert!((500..=1_000).contains(&answers), "{answers}");
}

#[test]
fn strays_are_reset_but_resets_are_not() {
    let (mut world, server, frame) = with_frame(4);
    let now = world.now;
    world.stacks[1].disconnect(server, now).unwrap();
    taken(&mut world, 1);
    world.stacks[1].receive(LINK, &frame, &TRUSTED, now);
    let answers = taken(&mut world, 1);
    assert_eq!((answers.len(), answers[0][FLAGS]), (1, RST));
    assert_eq!(word(&answers[0], SEQ), word(&frame, ACK), "it is believed");
    world.stacks[0].receive(LINK, &answers[0], &TRUSTED, now);
    assert!(taken(&mut world, 0).is_empty());
}

/// A listener, one who connects to it, and the SYN that was to be sent, taken from the wire.
fn with_request(seed: u64) -> (World, Handle, Handle, Vec<u8>) {
    let mut world = World::new(seed);
    let listener = world.listen(1, address(1, 80), 64);
    // The ends know each other's addresses from here on.
    let probe = world.connect(0, address(1, 80));
    world.exchange();
    world.run_for(SECOND);
    let now = world.now;
    world.stacks[0].close(probe, now);
    let client = world.connect(0, address(1, 80));
    let syn = taken(&mut world, 0).pop().unwrap();
    assert_eq!(syn[FLAGS], SYN);
    (world, listener, client, syn)
}

#[test]
fn a_flood_of_requests_keeps_nobody_out() {
    let (mut world, listener, other, syn) = with_request(5);
    let now = world.now;
    // Then from everywhere.
    let mut sent = 0;
    for at in 0..100_000_u32 {
        let mut frame = syn.clone();
        // Ports and sequence numbers of somebody who only sends these.
        frame[34..36].copy_from_slice(&(1_024 + (at % 30_000) as u16).to_be_bytes());
        frame[SEQ..SEQ + 4].copy_from_slice(&at.to_be_bytes());
        world.stacks[1].receive(LINK, &frame, &TRUSTED, now);
        sent += taken(&mut world, 1).len();
    }
    assert!(
        world.stacks[1].socket_count() < 300 && sent > 60_000,
        "{sent}"
    );
    let now = world.now;
    world.stacks[0].close(other, now);
    let client = world.connect(0, address(1, 80));
    world.until(SECOND.times(20), |world| {
        world.stacks[0].readiness(client).writable
    });
    world.run_for(SECOND);
    let mut ends = Vec::new();
    while let Ok((handle, _)) = world.stacks[1].accept(listener) {
        ends.push(handle);
    }
    let local = world.stacks[0].local_address(client).unwrap();
    let end = ends
        .into_iter()
        .find(|end| world.stacks[1].peer_address(*end) == Ok(local))
        .unwrap();
    let info = world.stacks[1].tcp_info(end).unwrap();
    assert!(
        info.sack && info.timestamps && info.window_scales.is_some(),
        "{info:?}"
    );
    world.transfer([client, end], 1 << 20, 65_536, SECOND.times(60));
}

/// The first was answered by a cookie, the flood is over, and the second overtakes the cookie's answer.
#[test]
fn a_request_that_comes_twice_is_answered_alike() {
    let (mut world, listener, client, syn) = with_request(7);
    let from_others = |world: &mut World, flags: u8| {
        for at in 0..200_u32 {
            let mut frame = syn.clone();
            frame[34..36].copy_from_slice(&(1_024 + at as u16).to_be_bytes());
            frame[FLAGS] = flags;
            // A reset names the number behind the request's.
            let number = at * 1_000 + u32::from(flags == RST);
            frame[SEQ..SEQ + 4].copy_from_slice(&number.to_be_bytes());
            let now = world.now;
            world.stacks[1].receive(LINK, &frame, &TRUSTED, now);
            taken(world, 1);
        }
    };
    let asked = |world: &mut World| {
        let now = world.now;
        world.stacks[1].receive(LINK, &syn, &TRUSTED, now);
        taken(world, 1).pop().unwrap()
    };
    from_others(&mut world, SYN);
    let first = asked(&mut world);
    from_others(&mut world, RST);
    let _second = asked(&mut world);
    let now = world.now;
    world.stacks[0].receive(LINK, &first, &TRUSTED, now);
    world.run_for(SECOND);
    assert!(world.stacks[0].readiness(client).writable);
    assert_eq!(world.write(0, client, b"x"), Ok(1), "it was not reset");
    world.run_for(SECOND);
    let end = std::iter::from_fn(|| world.stacks[1].accept(listener).ok()).last();
    assert_eq!(world.read(1, end.unwrap().0, 1), Ok(b"x".to_vec()));
}

#[test]
fn memory_has_a_limit() {
    let mut world = World::new(6);
    let mut ends = Vec::new();
    for port in 1..200 {
        ends.push(world.pair(port).0);
    }
    world.cut = true;
    let mut refused = 0;
    for end in &ends {
        loop {
            match world.write(0, *end, &[1; 100_000]) {
                Ok(_) => {}
                Err(Error::WouldBlock) => break,
                Err(error) => {
                    assert_eq!(error, Error::NoBuffers);
                    refused += 1;
                    break;
                }
            }
        }
    }
    assert!(world.stacks[0].memory_used() <= 256 << 20);
    assert_eq!(refused, 0, "199 buffers of 256 KiB fit");
}
