//! The header before each frame, as devices and tunnel interfaces have it (virtio 1.2, 5.1.6).

use crate::network::{Offload, PartialChecksum, Segments};

/// Its length.
pub const HEADER: usize = 12;

const NEEDS_CHECKSUM: u8 = 1;
const KIND_V4: u8 = 1;
const KIND_V6: u8 = 4;
const KIND_ECN: u8 = 0x80;

/// What a header says of a frame of `length` bytes; `None` if that cannot be.
#[must_use]
pub fn decode(header: &[u8; HEADER], length: usize) -> Option<Offload> {
    let [flags, kind, h0, h1, s0, s1, c0, c1, o0, o1, _, _] = *header;
    let (start, offset) = (u16::from_le_bytes([c0, c1]), u16::from_le_bytes([o0, o1]));
    let checksum = (flags & NEEDS_CHECKSUM != 0).then_some(PartialChecksum { start, offset });
    if let Some(sum) = checksum {
        let end = usize::from(sum.start) + usize::from(sum.offset) + 2;
        (end <= length).then_some(())?;
    }
    let size = u16::from_le_bytes([s0, s1]);
    let head = u16::from_le_bytes([h0, h1]);
    let segments = match kind & !KIND_ECN {
        0 => None,
        KIND_V4 | KIND_V6 if size > 0 && checksum.is_some() => Some(Segments {
            v6: kind & !KIND_ECN == KIND_V6,
            ecn: kind & KIND_ECN != 0,
            size,
            head,
        }),
        _ => return None,
    };
    Some(Offload { checksum, segments })
}

/// The header of a frame that lies in `buffers` buffers.
#[must_use]
pub fn encode(offload: Offload, buffers: u16) -> [u8; HEADER] {
    let (mut flags, mut start, mut offset) = (0, 0, 0);
    if let Some(sum) = offload.checksum {
        flags = NEEDS_CHECKSUM;
        start = sum.start;
        offset = sum.offset;
    }
    let (mut kind, mut size, mut head) = (0, 0, 0);
    if let Some(segments) = offload.segments {
        kind = if segments.v6 { KIND_V6 } else { KIND_V4 };
        kind |= if segments.ecn { KIND_ECN } else { 0 };
        size = segments.size;
        head = segments.head;
    }
    let mut header = [0; HEADER];
    header[0] = flags;
    header[1] = kind;
    let words = [head, size, start, offset, buffers];
    header[2..].copy_from_slice(words.map(u16::to_le_bytes).as_flattened());
    header
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let checksum = Some(PartialChecksum {
            start: 34,
            offset: 16,
        });
        let segments = Some(Segments {
            v6: true,
            ecn: true,
            size: 1460,
            head: 54,
        });
        for offload in [
            Offload::default(),
            Offload {
                checksum,
                segments: None,
            },
            Offload { checksum, segments },
        ] {
            assert_eq!(decode(&encode(offload, 3), 60), Some(offload));
        }
    }

    #[test]
    fn a_checksum_outside_of_the_frame_is_refused() {
        let header = [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0];
        assert_eq!(decode(&header, 51), None);
        assert!(decode(&header, 52).is_some());
    }

    #[test]
    fn segments_need_a_size_a_checksum_and_a_kind_that_exists() {
        for (flags, kind, size) in [(1, 1, 0), (0, 1, 9), (1, 3, 9), (1, 2, 9), (1, 0x7f, 9)] {
            let header = [flags, kind, 0, 0, size, 0, 0, 0, 0, 0, 0, 0];
            assert_eq!(decode(&header, 100), None, "{flags} {kind} {size}");
        }
    }
}
