//! The virtio network device (virtio 1.2, 5.1).
//!
//! It has a pair of queues for each virtual CPU, if it offers so many and a control queue by which
//! to say so. Frames of one flow stay in one queue, so that none overtakes another; from which queue a
//! frame comes is the device's choice, which follows the queue that its flow was sent on (5.1.6.5.5).
//! A device that merges gets buffers of one page, any other some that hold the longest frame.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use guest_hal::Nanos;
use guest_hal::sync::Mutex;
use guest_hal::virtio::{
    self, Device, EVENT_INDEX, PacketReceiver, PacketSender, RequestQueue, SetUp, Source, Target,
};
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
const MERGEABLE: u64 = 1 << 15;
const CONTROL: u64 = 1 << 17;
const MULTI_QUEUE: u64 = 1 << 22;
const WANTED: u64 = CSUM
    | GUEST_CSUM
    | MTU
    | MAC
    | GUEST_TSO4
    | GUEST_TSO6
    | HOST_TSO4
    | HOST_TSO6
    | MERGEABLE
    | CONTROL
    | MULTI_QUEUE
    | EVENT_INDEX;

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
/// Where the header has the number of buffers that were merged.
const BUFFERS_OFFSET: usize = 10;
/// Packets under way in each direction.
const PACKETS: usize = 48;
/// Pages that packets come in, where they are merged.
const PAGES: usize = 128;
/// The command that says how many pairs are used (5.1.6.5.6), and its answer when that is so.
const COMMAND_PAIRS: [u8; 2] = [4, 0];
const OK: u8 = 0;
/// The usual length of packets.
const MTU_USUAL: u16 = 1500;
/// Where the configuration has the greatest number of pairs, and the MTU.
const PAIRS_OFFSET: usize = 8;
const MTU_OFFSET: usize = 10;
/// Where a frame has the type of what it carries.
const TYPE: core::ops::Range<usize> = 12..14;
/// Where it has addresses and ports, behind IP headers without options.
const FLOW_V4: core::ops::Range<usize> = 26..38;
const FLOW_V6: core::ops::Range<usize> = 22..58;

/// A device.
#[derive(Debug)]
pub struct NetDevice {
    configuration: InterfaceConfig,
    /// Not empty.
    pairs: Vec<Pair>,
}

/// A queue for each direction.
#[derive(Debug)]
struct Pair {
    receiver: Mutex<PacketReceiver>,
    sender: Mutex<PacketSender>,
}

/// Sets the device of a shared page up, or where there is none the next one on the buses; its
/// interface is called `name`.
///
/// # Errors
/// `ENODEV` when there is none, or it does not behave.
pub fn open(number: u32, name: &str) -> Result<Arc<dyn Link>> {
    let page = virtio::numbered(number);
    let device = page.or_else(|| virtio::find(virtio::ID_NET, &|_| true));
    let device = device.filter(|device| device.id() == virtio::ID_NET);
    set_up(device.ok_or(Errno::ENODEV)?, name)
}

fn set_up(device: Device, name: &str) -> Result<Arc<dyn Link>> {
    let (mut mac, mut mtu, mut most) = ([0; 6], [0; 2], [0; 2]);
    let has_mac = device.configuration(0, &mut mac).is_ok() && mac != [0; 6];
    let has_mtu = device.configuration(MTU_OFFSET, &mut mtu).is_ok();
    let has_pairs = device.configuration(PAIRS_OFFSET, &mut most).is_ok();
    let mut setup = device.begin(WANTED).map_err(|_| Errno::ENODEV)?;
    let features = setup.features();
    let has = |feature| features & feature != 0;
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
    let several = has(MULTI_QUEUE) && has(CONTROL) && has_pairs;
    let most = if several { u16::from_le_bytes(most) } else { 1 };
    let wanted = guest_hal::boot::info()
        .vcpus
        .clamp(1, u32::from(most.max(1))) as u16;
    let mut pairs = (0..wanted)
        .map(|number| Pair::new(&mut setup, number, mtu))
        .collect::<Result<Vec<_>>>()?;
    // Behind all the pairs that there could be.
    let control = match most.checked_mul(2).filter(|_| wanted > 1) {
        Some(behind) => Some(setup.requests(behind).map_err(|_| Errno::ENODEV)?),
        None => None,
    };
    setup.finish();
    if !control.is_some_and(|control| use_pairs(&mut control.into(), wanted)) {
        // It goes on with the first. The device has the buffers of the others: they stay its.
        core::mem::forget(pairs.split_off(1));
    }
    for pair in &pairs {
        pair.receiver.lock().start();
    }
    let offloads = Offloads {
        tx_checksum: has(CSUM),
        tso_v4: has(CSUM) && has(HOST_TSO4),
        tso_v6: has(CSUM) && has(HOST_TSO6),
        tso_max: 0,
    };
    Ok(Arc::new(NetDevice {
        configuration: InterfaceConfig {
            name: String::from(name),
            mac: Mac(mac),
            mtu,
            offloads,
            accept_advertisements: true,
        },
        pairs,
    }))
}

/// Has the device use so many pairs; whether it does.
fn use_pairs(control: &mut RequestQueue, count: u16) -> bool {
    let (count, mut answer) = (count.to_le_bytes(), [!OK]);
    let send = [Source::Bytes(&COMMAND_PAIRS), Source::Bytes(&count)];
    let called = control.call(&send, &mut [Target::Bytes(&mut answer)], &mut || {});
    called.is_ok() && answer == [OK]
}

impl Pair {
    fn new(setup: &mut SetUp, number: u16, mtu: u16) -> Result<Self> {
        let has = |features| setup.features() & features != 0;
        let longest = |large| if large { PACKET_MAX } else { usize::from(mtu) };
        let received = HEADER + ETHERNET + longest(has(GUEST_TSO4 | GUEST_TSO6));
        let sent = HEADER + ETHERNET + longest(has(HOST_TSO4 | HOST_TSO6));
        let merges = has(MERGEABLE);
        let mut queue = |index| setup.packets(index).map_err(|_| Errno::ENODEV);
        let (receive, send) = (queue(2 * number)?, queue(2 * number + 1)?);
        let receiver = if merges {
            PacketReceiver::merging(receive, PAGES, BUFFERS_OFFSET)
        } else {
            PacketReceiver::new(receive, PACKETS, received)
        };
        let sender = PacketSender::new(send, PACKETS, sent);
        Ok(Self {
            receiver: Mutex::new(receiver.map_err(|_| Errno::ENODEV)?),
            sender: Mutex::new(sender.map_err(|_| Errno::ENODEV)?),
        })
    }
}

/// A number that frames of one flow have in common.
fn flow(header: &[u8]) -> usize {
    let range = match header.get(TYPE) {
        Some([0x08, 0x00]) => FLOW_V4,
        Some([0x86, 0xdd]) => FLOW_V6,
        _ => 0..0,
    };
    let bytes = header.get(range).unwrap_or_default();
    // FNV-1a; who sends has no interest in a poor spread.
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let hash = bytes.iter().fold(0x811c_9dc5, mix);
    (hash >> 16 ^ hash) as usize
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

impl NetDevice {
    /// The pair that frames of a flow are sent on.
    fn pair_for(&self, header: &[u8]) -> Option<&Pair> {
        match &*self.pairs {
            [only] => Some(only),
            pairs => pairs.get(flow(header) % pairs.len().max(1)),
        }
    }
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
        for pair in &self.pairs {
            // A device that is broken says nothing any more.
            let _ = pair.receiver.lock().receive(&mut give);
        }
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
        let pair = self.pair_for(frame.header);
        pair.is_none_or(|pair| pair.sender.lock().send(&mut fill).unwrap_or(true))
    }

    fn flush(&self) {
        for pair in &self.pairs {
            pair.sender.lock().flush();
        }
    }

    fn is_drained(&self) -> bool {
        let mut pairs = self.pairs.iter();
        pairs.all(|pair| pair.sender.lock().is_drained())
    }

    fn is_up(&self) -> bool {
        true
    }

    fn look_again(&self) -> Option<Nanos> {
        let looks = self
            .pairs
            .iter()
            .map(|pair| pair.receiver.lock().look_again());
        looks.flatten().min()
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
    fn frames_of_a_flow_have_a_number_in_common() {
        let frame = |kind: [u8; 2], port: u8, sequence: u8| {
            let mut header = [7; 74];
            header[TYPE].copy_from_slice(&kind);
            header[if kind == [8, 0] { 37 } else { 57 }] = port;
            header[60] = sequence;
            header[if kind == [8, 0] { 38 } else { 58 }] = sequence;
            flow(&header)
        };
        for kind in [[0x08, 0], [0x86, 0xdd]] {
            assert_eq!(frame(kind, 1, 1), frame(kind, 1, 2));
            let queues: Vec<_> = (0..16).map(|port| frame(kind, port, 0) % 2).collect();
            assert!(
                (4..12).contains(&queues.iter().sum::<usize>()),
                "{queues:?}"
            );
        }
        assert_eq!(flow(&[]), frame([0x08, 6], 1, 1));
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
