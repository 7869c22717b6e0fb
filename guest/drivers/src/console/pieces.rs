//! Requests and replies, which come in pieces.

use alloc::vec::Vec;

use guest_hal::virtio::{Source, Target};

fn length(piece: &Source<'_>) -> u64 {
    match piece {
        Source::Bytes(bytes) => bytes.len() as u64,
        Source::Extent(_, _, length) => *length,
    }
}

fn part<'a>(piece: &Source<'a>, offset: u64, wanted: u64) -> Source<'a> {
    match piece {
        Source::Bytes(bytes) => {
            let rest = bytes.get(offset as usize..).unwrap_or_default();
            Source::Bytes(rest.get(..wanted as usize).unwrap_or(rest))
        }
        Source::Extent(extent, start, length) => {
            let offset = offset.min(*length);
            Source::Extent(extent, start + offset, wanted.min(length - offset))
        }
    }
}

/// `wanted` bytes from `offset` on; `None` if there are less.
pub(super) fn range<'a>(
    pieces: &[Source<'a>],
    mut offset: u64,
    wanted: u64,
) -> Option<Vec<Source<'a>>> {
    let mut missing = wanted;
    let mut found = Vec::new();
    for piece in pieces {
        let taken = part(piece, offset, missing);
        offset = offset.saturating_sub(length(piece));
        let length = length(&taken);
        if length > 0 {
            missing -= length;
            found.push(taken);
        }
    }
    (missing == 0).then_some(found)
}

/// Copies from `offset` on, as much as there is room for; how much that is.
pub(super) fn copy(pieces: &[Source<'_>], mut offset: u64, into: &mut [u8]) -> usize {
    let mut done = 0;
    for piece in pieces {
        let rest = into.get_mut(done..).unwrap_or_default();
        let taken = part(piece, offset, rest.len() as u64);
        offset = offset.saturating_sub(length(piece));
        let count = length(&taken) as usize;
        let rest = rest.get_mut(..count).unwrap_or_default();
        match taken {
            Source::Bytes(bytes) => rest.copy_from_slice(bytes),
            Source::Extent(extent, start, _) => extent.read(start, rest),
        }
        done += count;
    }
    done
}

/// Writes a reply from its `offset` on, as far as there is room; whether there was for all.
pub(super) fn fill(pieces: &mut [Target<'_>], mut offset: u64, mut from: &[u8]) -> bool {
    for piece in pieces {
        let room = match piece {
            Target::Bytes(bytes) => bytes.len() as u64,
            Target::Extent(_, _, length) => *length,
        };
        let skipped = offset.min(room);
        offset -= skipped;
        let count = (room - skipped).min(from.len() as u64) as usize;
        let (now, rest) = from.split_at_checked(count).unwrap_or_default();
        match piece {
            Target::Bytes(bytes) => {
                let places = bytes.iter_mut().skip(skipped as usize);
                places.zip(now).for_each(|(place, byte)| *place = *byte);
            }
            Target::Extent(extent, start, _) => extent.write(*start + skipped, now),
        }
        from = rest;
    }
    from.is_empty()
}
