//! Frames for the guest, put together.

use std::net::IpAddr;

use super::addresses::GATEWAY_MAC;
use super::packet::{ETHERNET, ICMP, ICMP_V6, KIND_ARP, KIND_V4, KIND_V6, UDP};
use crate::checksum::{self, Sum};
use crate::network::{Head, PartialChecksum};

/// Bytes of an IP header as it is written here.
pub(super) const fn ip_length(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(_) => 20,
        IpAddr::V6(_) => 40,
    }
}

/// From whom to whom a packet goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) mac: [u8; 6],
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
}

impl Route {
    /// Ethernet and IP headers for a payload of `length` bytes.
    pub(super) fn start(&self, protocol: u8, length: usize) -> Head {
        let mut head = Head::default();
        head.push(&self.mac);
        head.push(&GATEWAY_MAC);
        match (self.source, self.destination) {
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                head.push(&KIND_V6.to_be_bytes());
                head.push(&[0x60, 0, 0, 0]);
                head.push(&(length as u16).to_be_bytes());
                // Neighbours believe only those whose packets nobody forwarded (RFC 4861).
                head.push(&[protocol, 255]);
                head.push(&source.octets());
                head.push(&destination.octets());
            }
            (source, destination) => {
                head.push(&KIND_V4.to_be_bytes());
                let total = (20 + length) as u16;
                // Do not fragment; 64 hops.
                let mut header = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
                header[2..4].copy_from_slice(&total.to_be_bytes());
                let addresses = [octets(source), octets(destination)];
                let addresses = addresses.as_flattened();
                let sum = Sum::default().with(&header).with(addresses).finish();
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                head.push(&header);
                head.push(addresses);
            }
        }
        head
    }

    /// Where in the frame IP's payload begins.
    pub(super) const fn payload(&self) -> usize {
        ETHERNET + ip_length(self.source)
    }

    /// Headers as far as UDP's, for a payload of `length` bytes.
    pub(super) fn udp(&self, from: u16, to: u16, length: usize) -> Head {
        let length = 8 + length;
        let mut head = self.start(UDP, length);
        let sum = checksum::pseudo(self.source, self.destination, UDP, length).folded();
        head.push(
            [from, to, length as u16, sum]
                .map(u16::to_be_bytes)
                .as_flattened(),
        );
        head.offload.checksum = Some(PartialChecksum {
            start: self.payload() as u16,
            offset: 6,
        });
        head
    }

    /// A whole ICMP message; its checksum, at 2, is made here.
    pub(super) fn icmp(&self, message: &mut [u8]) -> Head {
        let (protocol, sum) = match self.source {
            IpAddr::V4(_) => (ICMP, Sum::default()),
            IpAddr::V6(_) => {
                let length = message.len();
                let pseudo = checksum::pseudo(self.source, self.destination, ICMP_V6, length);
                (ICMP_V6, pseudo)
            }
        };
        if let Some(field) = message.get_mut(2..4) {
            field.fill(0);
        }
        let sum = sum.with(message).finish();
        if let Some(field) = message.get_mut(2..4) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        self.start(protocol, message.len())
    }
}

fn octets(address: IpAddr) -> [u8; 4] {
    match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => [0; 4],
    }
}

/// An answer to "who has": it is the gateway.
pub(super) fn arp_reply(to: [u8; 6], asked: [u8; 4], asking: [u8; 4]) -> Head {
    let mut head = Head::default();
    head.push(&to);
    head.push(&GATEWAY_MAC);
    head.push(&KIND_ARP.to_be_bytes());
    head.push(&[0, 1, 8, 0, 6, 4, 0, 2]);
    head.push(&GATEWAY_MAC);
    head.push(&asked);
    head.push(&to);
    head.push(&asking);
    head
}
