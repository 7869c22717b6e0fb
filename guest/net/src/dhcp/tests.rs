//! A client with a server that only knows what the test says.

use super::*;
use crate::bytes::put;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 99);

fn answer(kind: u8, transaction: u32) -> Vec<u8> {
    let mut bytes = std::vec![0; 240];
    put(&mut bytes, 0, &[2, 1, 6, 0]);
    put(&mut bytes, 4, &transaction.to_be_bytes());
    put(&mut bytes, 16, &OURS.octets());
    put(&mut bytes, 28, &MAC.0);
    put(&mut bytes, 236, &[0x63, 0x82, 0x53, 0x63]);
    bytes.extend([
        53, 1, kind, 54, 4, 10, 0, 0, 1, 51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 0, 0,
    ]);
    bytes.extend([
        3, 4, 10, 0, 0, 1, 6, 8, 1, 1, 1, 1, 8, 8, 8, 8, 26, 2, 5, 120, 15, 3, b'l', b'a', b'n',
        255,
    ]);
    bytes
}

#[test]
fn a_lease_is_got_renewed_and_lost() {
    let start = Nanos::from_secs(5);
    let mut client = Client::new(MAC, None, 7, start);
    let (_, sent) = client.tick(start);
    assert_eq!(sent.unwrap().0[242], 1, "it asks who is there");
    assert_eq!(
        client.input(&answer(2, 8), start),
        Event::None,
        "that is for another"
    );
    client.input(&answer(2, 7), start);
    let (_, sent) = client.tick(start);
    assert_eq!(sent.unwrap().0[242], 3, "it takes what is offered");
    assert_eq!(client.input(&answer(5, 7), start), Event::Granted);
    let lease = client.lease().unwrap().clone();
    assert_eq!(
        (lease.address, lease.prefix, lease.server),
        (OURS, 16, SERVER)
    );
    assert_eq!(
        (lease.mtu, lease.domain.as_deref()),
        (Some(1_400), Some("lan"))
    );
    assert_eq!(lease.dns_servers.len(), 2);
    let half = client.deadline();
    assert_eq!(half, start + Nanos::from_secs(1_800));
    let (_, sent) = client.tick(half);
    assert_eq!(
        sent.unwrap().1,
        Some(SERVER),
        "its own server is asked first"
    );
    assert_eq!(client.input(&answer(5, 7), half), Event::Granted);
    let mut now = half;
    let lost = loop {
        now = client.deadline().max(now);
        if let (Event::Lost(lease), _) = client.tick(now) {
            break lease;
        }
    };
    assert_eq!((lost.address, now), (OURS, half + Nanos::from_secs(3_600)));
    assert!(client.tick(now).1.is_some(), "and it begins again");
}

proptest::proptest! {
    #[test]
    fn any_message_is_taken_or_not(bytes: Vec<u8>, tail: Vec<u8>) {
        let mut client = Client::new(MAC, None, 7, Nanos::ZERO);
        client.tick(Nanos::ZERO);
        client.input(&bytes, Nanos::ZERO);
        let mut almost = answer(2, 7);
        almost.truncate(240);
        almost.extend(&tail);
        client.input(&almost, Nanos::ZERO);
        client.tick(client.deadline());
    }
}
