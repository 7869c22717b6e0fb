//! What is sent to a device and where its answer goes, cut where physical memory is.
#![expect(unsafe_code, reason = "devices are given addresses of memory")]

use guest_abi::layout::{HUGE_PAGE_SIZE, PAGE_SIZE};

use crate::memory::Extent;
use crate::platform::lower;
use crate::sync::Mutex;
use crate::{LinearAddress, platform};

/// Bytes that requests of scattered memory are copied through, each direction.
pub(super) const BOUNCE_HALF: u64 = HUGE_PAGE_SIZE;

/// Memory in one piece for requests whose own is scattered; made when first needed.
pub(super) static BOUNCE: Mutex<Option<Extent>> = Mutex::new(None);

/// `None` when the machine has no such memory left.
pub(super) fn new_bounce() -> Option<Extent> {
    let extent = Extent::allocate(2 * BOUNCE_HALF, HUGE_PAGE_SIZE, None)?;
    for offset in [0, BOUNCE_HALF] {
        let linear = extent.raw(offset, BOUNCE_HALF).cast::<u8>().addr() as u64;
        let place = LinearAddress(linear);
        platform().prefer_large_pages(place, BOUNCE_HALF, true);
        platform().populate(place, PAGE_SIZE, true);
        let (_, whole) = lower().device_range(linear, BOUNCE_HALF);
        if whole < BOUNCE_HALF {
            return None;
        }
    }
    Some(extent)
}

/// Cuts buffers where physical memory does not go on; how many runs that are. `None`: too many.
pub(super) fn runs<'a>(
    buffers: impl Iterator<Item = &'a [u8]>,
    list: &mut [&'a [u8]],
) -> Option<usize> {
    let mut count = 0;
    for mut rest in buffers {
        while !rest.is_empty() {
            let (run, after) = rest.split_at(run_length(rest.as_ptr(), rest.len()));
            *list.get_mut(count)? = run;
            count += 1;
            rest = after;
        }
    }
    Some(count)
}

/// As [`runs`].
pub(super) fn runs_mut<'a>(
    buffers: impl Iterator<Item = &'a mut [u8]>,
    list: &mut [&'a mut [u8]],
) -> Option<usize> {
    let mut count = 0;
    for mut rest in buffers {
        while !rest.is_empty() {
            let length = run_length(rest.as_ptr(), rest.len());
            let (run, after) = rest.split_at_mut(length);
            *list.get_mut(count)? = run;
            count += 1;
            rest = after;
        }
    }
    Some(count)
}

fn run_length(start: *const u8, length: usize) -> usize {
    let (_, found) = lower().device_range(start.addr() as u64, length as u64);
    (found as usize).clamp(1, length)
}

/// Part of what is sent.
#[derive(Debug)]
pub enum Source<'a> {
    /// Bytes of the kernel.
    Bytes(&'a [u8]),
    /// Bytes of an extent: offset and length.
    Extent(&'a Extent, u64, u64),
}

/// Part of where an answer goes.
#[derive(Debug)]
pub enum Target<'a> {
    /// Bytes of the kernel.
    Bytes(&'a mut [u8]),
    /// Bytes of an extent: offset and length.
    Extent(&'a Extent, u64, u64),
}

impl Source<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            // SAFETY: the range is inside the extent, which outlives the borrow; the program
            // may write to it meanwhile, which only makes the bytes vary.
            Self::Extent(extent, offset, length) => unsafe { &*extent.raw(*offset, *length) },
        }
    }
}

impl Target<'_> {
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            // SAFETY: as for `Source`; nobody in the kernel looks at the range meanwhile.
            Self::Extent(extent, offset, length) => unsafe { &mut *extent.raw(*offset, *length) },
        }
    }
}
