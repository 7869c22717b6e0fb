//! Frames between the stack and a driver.

/// What the device says about a received frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxMeta {
    /// The checksum of the transport header is known to be right, or was never computed since the
    /// frame never left the machine (`VIRTIO_NET_HDR_F_DATA_VALID`, `_NEEDS_CSUM`).
    pub checksum_valid: bool,
    /// The frame is several segments in one.
    pub gso: Option<Gso>,
}

/// What a large segment is to be cut into, or was put together from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// Of which protocol.
    pub kind: GsoKind,
    /// Bytes of payload in each segment but the last.
    pub size: u16,
}

/// The protocol of a large segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
}

/// A checksum that the device is to complete (`VIRTIO_NET_HDR_F_NEEDS_CSUM`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialChecksum {
    /// Where summing starts, from the start of the frame; it goes on to the end.
    pub start: u16,
    /// Where the checksum goes, from `start`. The sum of the pseudo-header is there.
    pub offset: u16,
}

/// A frame to be sent: `header`, then both parts of `payload`, back to back.
#[derive(Clone, Copy, Debug)]
pub struct OutFrame<'a> {
    /// The headers, from Ethernet's to TCP's; of frames without a transport header, all of it.
    pub header: &'a [u8],
    /// What follows, from the socket's own buffer.
    pub payload: [&'a [u8]; 2],
    /// The checksum left to the device.
    pub checksum: Option<PartialChecksum>,
    /// The segmentation left to the device.
    pub gso: Option<Gso>,
}

impl OutFrame<'_> {
    /// The length of the whole frame.
    #[must_use]
    pub fn len(&self) -> usize {
        let [first, second] = self.payload;
        self.header.len() + first.len() + second.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies it to the start of `into`; as much as fits. Returns how much.
    pub fn copy_to(&self, into: &mut [u8]) -> usize {
        let [first, second] = self.payload;
        let mut done = 0;
        for part in [self.header, first, second] {
            let Some(space) = into.get_mut(done..) else {
                break;
            };
            let length = part.len().min(space.len());
            for (to, from) in [(space.get_mut(..length), part.get(..length))] {
                if let (Some(to), Some(from)) = (to, from) {
                    to.copy_from_slice(from);
                }
            }
            done += length;
        }
        done
    }
}
