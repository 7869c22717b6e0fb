//! The parsers on what the writers make, and on anything.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::vec::Vec;

use proptest::prelude::*;

use super::ip::{Fragment, IpHeader, Sending};
use super::tcp::{Flags, Options, Segment};
use super::{arp, ethernet, icmp, ip, ndp, tcp, udp};
use crate::bytes::{Header, put_u16};
use crate::checksum::Sum;
use crate::interface::Mac;
use crate::seq::Seq;

fn addresses() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        any::<(u32, u32)>().prop_map(|(a, b)| (Ipv4Addr::from(a).into(), Ipv4Addr::from(b).into())),
        any::<(u128, u128)>()
            .prop_map(|(a, b)| (Ipv6Addr::from(a).into(), Ipv6Addr::from(b).into())),
    ]
}

prop_compose! {
    fn headers()(pair in addresses(), hop_limit: u8, traffic_class: u8) -> IpHeader {
        IpHeader { source: pair.0, destination: pair.1, protocol: ip::UDP, hop_limit, traffic_class }
    }
}

prop_compose! {
    fn segments()(seq: u32, ack: u32, flags in 0_u8..64, window: u16, urgent: u16,
        mss: Option<u16>, scale in proptest::option::of(0_u8..15), sack_permitted: bool,
        timestamps: Option<(u32, u32)>, blocks in proptest::collection::vec(any::<(u32, u32)>(), 0..2))
        -> Segment {
        let mut options = Options { mss, window_scale: scale, sack_permitted, timestamps, ..Options::default() };
        for (place, block) in options.sack.iter_mut().zip(&blocks) {
            *place = (Seq(block.0), Seq(block.1));
        }
        options.sack_count = blocks.len();
        Segment { seq: Seq(seq), ack: Seq(ack), flags: Flags(flags), window, urgent, options, length: 0, count: 1 }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(header in headers(), bytes: Vec<u8>, kind: u8, valid: bool) {
        let _ = ethernet::parse(&bytes);
        let _ = arp::parse(&bytes);
        let _ = ip::parse(&bytes);
        let _ = udp::parse(&header, &bytes, valid);
        let _ = tcp::parse(&header, &bytes, valid);
        let _ = icmp::parse(&header, &bytes);
        let _ = ndp::parse(kind, &bytes);
    }

    #[test]
    fn an_ip_header_is_read_as_written(header in headers(), payload: Vec<u8>, offset in 0_usize..8000, more: bool, id: u16, split: bool, padding in 0_usize..9) {
        let id = u32::from(id);
        let fragment = split.then_some(Fragment { id, offset: offset * 8, more });
        let mut out = Header::new();
        header.push_to(&mut out, payload.len(), Sending { id, fragment, ..Sending::default() });
        let mut bytes = out.as_slice().to_vec();
        bytes.extend(&payload);
        bytes.extend(std::vec![0; padding]);
        let parsed = ip::parse(&bytes).unwrap();
        prop_assert_eq!(parsed.header, header);
        prop_assert_eq!(parsed.payload, &payload);
        prop_assert_eq!(parsed.fragment, fragment.filter(|f| f.more || f.offset > 0));
    }

    #[test]
    fn a_segment_is_read_as_written(mut header in headers(), segment in segments(), payload: Vec<u8>) {
        header.protocol = ip::TCP;
        let mut out = Header::new();
        segment.push_to(&mut out, (1, 2), 0);
        prop_assert_eq!(out.len(), segment.header_len());
        let mut bytes = out.as_slice().to_vec();
        bytes.extend(&payload);
        let mut sum = Sum::pseudo(header.source, header.destination, ip::TCP, bytes.len());
        sum.add(&bytes);
        put_u16(&mut bytes, 16, sum.finish());
        let parsed = tcp::parse(&header, &bytes, false).unwrap();
        prop_assert_eq!(parsed.segment, Segment { length: payload.len(), ..segment });
        prop_assert_eq!(parsed.payload, &payload);
        prop_assert_eq!((parsed.source, parsed.destination), (1, 2));
        let last = bytes.len() - 1;
        bytes[last] ^= 0x10;
        prop_assert!(tcp::parse(&header, &bytes, false).is_none());
    }

    #[test]
    fn an_arp_packet_is_read_as_written(is_request: bool, a: [u8; 6], b: [u8; 6], c: u32, d: u32) {
        let packet = arp::Packet { is_request, sender: (Mac(a), c.into()), target: (Mac(b), d.into()) };
        let mut out = Header::new();
        packet.push_to(&mut out);
        prop_assert_eq!(arp::parse(out.as_slice()), Some(packet));
    }
}
