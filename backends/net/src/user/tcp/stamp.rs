//! A segment's header for the guest.

use super::super::frame::Route;
use super::super::packet::{SYN, TCP};
use crate::checksum;
use crate::network::{Head, PartialChecksum, Segments};

/// Scale of the windows that are offered to the guest.
pub(super) const SHIFT: u8 = 8;

/// What a header says, as far as it is known before the payload is.
#[derive(Clone, Copy, Debug)]
pub(in crate::user) struct Stamp {
    pub(in crate::user) route: Route,
    pub(in crate::user) ports: [u16; 2],
    pub(in crate::user) sequence: u32,
    pub(in crate::user) acknowledged: u32,
    pub(in crate::user) flags: u8,
    pub(in crate::user) window: u16,
    pub(in crate::user) mss: u16,
    pub(in crate::user) scale: bool,
    pub(in crate::user) cut: u16,
}

impl Stamp {
    pub(in crate::user) fn head(&self, count: usize) -> Head {
        let options = self.flags & SYN != 0;
        let header = if options { 28 } else { 20 };
        let length = header + count;
        let mut head = self.route.start(TCP, length);
        let Route {
            source,
            destination,
            ..
        } = self.route;
        head.push(self.ports.map(u16::to_be_bytes).as_flattened());
        let numbers = [self.sequence, self.acknowledged];
        head.push(numbers.map(u32::to_be_bytes).as_flattened());
        head.push(&[(header as u8 / 4) << 4, self.flags]);
        let sum = checksum::pseudo(source, destination, TCP, length).folded();
        head.push([self.window, sum, 0].map(u16::to_be_bytes).as_flattened());
        if options {
            let [high, low] = self.mss.to_be_bytes();
            head.push(&[2, 4, high, low]);
            // No option is as long as three bytes of "no operation" and an end.
            head.push(if self.scale {
                &[1, 3, 3, SHIFT]
            } else {
                &[1, 1, 1, 0]
            });
        }
        let start = self.route.payload() as u16;
        head.offload.checksum = Some(PartialChecksum { start, offset: 16 });
        head.offload.segments = (count > usize::from(self.cut)).then(|| Segments {
            v6: source.is_ipv6(),
            ecn: false,
            size: self.cut,
            head: start + header as u16,
        });
        head
    }
}
