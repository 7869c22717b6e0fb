//! The virtio network device (virtio 1.2, 5.1), with the first pair of queues.

use alloc::string::String;
use alloc::sync::Arc;

use guest_hal::Nanos;
use guest_hal::sync::Mutex;
use guest_hal::virtio::{self, Device, PacketReceiver, PacketSender};
use guest_kernel::net::network::Link;
use guest_kernel::{Errno, Result, random};
use guest_net::{Gso, GsoKind, InterfaceConfig, Mac, Offloads, OutFrame, PartialChecksum, RxMeta};

const CSUM: u64 = 1;
const GUEST_CSUM: u64 = 1 << 1;
const MTU: u64 = 1 << 3;
const MAC: u64 = 1 << 5;
const GUEST_TSO4: u64 = 1 << 7;
const GUEST_TSO6: u64 = 1 << 8;
const HOST_TSO4: u64 = 1 << 11;
const HOST_TSO6: u64 = 1 << 12;
const WANTED: u64 = CSUM | GUEST_CSUM | MTU | MAC | GUEST_TSO4 | GUEST_TSO6 | HOST_TSO4 | HOST_TSO6;

/// Bytes of `struct virtio_net_hdr` (virtio 1.2, 5.1.6).
const HEADER: usize = 12;
/// Bytes of an Ethernet header with a tag.
const ETHERNET: usize = 18;
/// Bytes of the longest IP packet.
const PACKET_MAX: usize = 65_535;
const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;
/// An explicit congestion notification goes with it.
const GSO_ECN: u8 = 0x80;
/// Packets under way in each direction.
const PACKETS: usize = 48;
/// The usual length of packets.
const MTU_USUAL: u16 = 1500;
/// Where the configuration has the MTU.
const MTU_OFFSET: usize = 10;

/// A device.
#[derive(Debug)]
pub struct NetDevice {
    configuration: InterfaceConfig,
    receiver: Mutex<PacketReceiver>,
    sender: Mutex<PacketSender>,
}

/// Sets the device of a shared page up; its interface is called `name`.
///
/// # Errors
/// `ENODEV` when there is none, or it does not behave.
pub fn open(number: u32, name: &str) -> Result<Arc<dyn Link>> {
    let device = virtio::numbered(number).filter(|device| device.id() == virtio::ID_NET);
    set_up(device.ok_or(Errno::ENODEV)?, name)
}

/// Finds the next device on the buses and sets it up.
///
/// # Errors
/// `ENODEV` when there is none, or it does not behave.
pub fn open_next(name: &str) -> Result<Arc<dyn Link>> {
    let device = virtio::find(virtio::ID_NET, &|_| true);
    set_up(device.ok_or(Errno::ENODEV)?, name)
}

fn set_up(device: Device, name: &str) -> Result<Arc<dyn Link>> {
    let (mut mac, mut mtu) = ([0; 6], [0; 2]);
    let has_mac = device.configuration(0, &mut mac).is_ok() && mac != [0; 6];
    let has_mtu = device.configuration(MTU_OFFSET, &mut mtu).is_ok();
    let opened = device.open(WANTED, 2).map_err(|_| Errno::ENODEV)?;
    let has = |feature| opened.features & feature != 0;
    if !has(MAC) || !has_mac {
        random::fill(&mut mac);
        // Locally administered, one station.
        mac = [mac[0] & 0xfc | 2, mac[1], mac[2], mac[3], mac[4], mac[5]];
    }
    let mtu = if has(MTU) && has_mtu {
        u16::from_le_bytes(mtu)
    } else {
        MTU_USUAL
    };
    let large = has(GUEST_TSO4) || has(GUEST_TSO6);
    let received = if large { PACKET_MAX } else { usize::from(mtu) };
    let sends_large = has(HOST_TSO4) || has(HOST_TSO6);
    let sent = if sends_large {
        PACKET_MAX
    } else {
        usize::from(mtu)
    };
    let offloads = Offloads {
        tx_checksum: has(CSUM),
        tso_v4: has(CSUM) && has(HOST_TSO4),
        tso_v6: has(CSUM) && has(HOST_TSO6),
        tso_max: 0,
    };
    let [receive, send] = <[_; 2]>::try_from(opened.queues).map_err(|_| Errno::ENODEV)?;
    let receiver = PacketReceiver::new(receive, PACKETS, HEADER + ETHERNET + received);
    Ok(Arc::new(NetDevice {
        configuration: InterfaceConfig {
            name: String::from(name),
            mac: Mac(mac),
            mtu,
            offloads,
            accept_advertisements: true,
        },
        receiver: Mutex::new(receiver.map_err(|_| Errno::ENODEV)?),
        sender: Mutex::new(PacketSender::new(send, PACKETS, HEADER + ETHERNET + sent)),
    }))
}

/// What the header of a received packet says, and the frame.
fn parse(packet: &[u8]) -> Option<(RxMeta, &[u8])> {
    let (header, frame) = packet.split_at_checked(HEADER)?;
    let [flags, kind, _, _, low, high, ..] = *header.first_chunk::<HEADER>()?;
    let gso = match kind & !GSO_ECN {
        GSO_TCP4 => Some(GsoKind::TcpV4),
        GSO_TCP6 => Some(GsoKind::TcpV6),
        _ => None,
    };
    let size = u16::from_le_bytes([low, high]);
    let meta = RxMeta {
        checksum_valid: flags & (NEEDS_CSUM | DATA_VALID) != 0,
        gso: gso.map(|kind| Gso { kind, size }),
    };
    Some((meta, frame))
}

/// The header of a frame to be sent.
fn header(frame: &OutFrame<'_>) -> [u8; HEADER] {
    let (kind, size) = match frame.gso {
        None => (GSO_NONE, 0),
        Some(Gso {
            kind: GsoKind::TcpV4,
            size,
        }) => (GSO_TCP4, size),
        Some(Gso {
            kind: GsoKind::TcpV6,
            size,
        }) => (GSO_TCP6, size),
    };
    let checksum = frame.checksum.unwrap_or(PartialChecksum {
        start: 0,
        offset: 0,
    });
    let flags = if frame.checksum.is_some() {
        NEEDS_CSUM
    } else {
        0
    };
    let length = if frame.gso.is_some() {
        frame.header.len() as u16
    } else {
        0
    };
    let mut header = [0; HEADER];
    let fields = [length, size, checksum.start, checksum.offset, 0].map(u16::to_le_bytes);
    let bytes = [flags, kind]
        .into_iter()
        .chain(fields.into_iter().flatten());
    header
        .iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = from);
    header
}

impl Link for NetDevice {
    fn configuration(&self) -> InterfaceConfig {
        self.configuration.clone()
    }

    fn receive(&self, take: &mut dyn FnMut(&[u8], &RxMeta)) {
        let mut give = |packet: &[u8]| {
            if let Some((meta, frame)) = parse(packet) {
                take(frame, &meta);
            }
        };
        // A device that is broken says nothing any more.
        let _ = self.receiver.lock().receive(&mut give);
    }

    fn send(&self, frame: &OutFrame<'_>) -> bool {
        let mut fill = |room: &mut [u8]| {
            let Some((head, rest)) = room.split_at_mut_checked(HEADER) else {
                return 0;
            };
            head.copy_from_slice(&header(frame));
            HEADER + frame.copy_to(rest)
        };
        // What a broken device does not take is lost, as on a wire.
        self.sender.lock().send(&mut fill).unwrap_or(true)
    }

    fn flush(&self) {
        self.sender.lock().flush();
    }

    fn is_up(&self) -> bool {
        true
    }

    fn look_again(&self) -> Option<Nanos> {
        self.receiver.lock().look_again()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_what_is_left_to_the_device() {
        let frame = OutFrame {
            header: &[0; 54],
            payload: [&[1; 3000], &[]],
            checksum: Some(PartialChecksum {
                start: 34,
                offset: 16,
            }),
            gso: Some(Gso {
                kind: GsoKind::TcpV4,
                size: 1460,
            }),
        };
        assert_eq!(header(&frame), [1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0, 0, 0]);
    }

    #[test]
    fn what_came_is_what_its_header_says() {
        let mut packet = [0; 20];
        packet[..6].copy_from_slice(&[2, 4, 0, 0, 0xdc, 5]);
        let (meta, frame) = parse(&packet).unwrap();
        assert!(meta.checksum_valid);
        let kind = GsoKind::TcpV6;
        assert_eq!(meta.gso, Some(Gso { kind, size: 1500 }));
        assert_eq!(frame.len(), 8);
        assert!(parse(&packet[..11]).is_none());
    }
}
