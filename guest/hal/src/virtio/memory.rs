//! The memory that devices are given: queues, and any memory of the kernel as a buffer.
#![expect(unsafe_code, reason = "devices are given addresses of memory")]

use core::ptr::NonNull;

use guest_abi::layout::PAGE_SIZE;
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

use crate::memory::Extent;
use crate::platform::lower;

/// Memory for virtqueues: extents, and any memory of the kernel as a buffer.
pub(super) struct Memory;

// SAFETY: `dma_alloc` hands out zeroed pages of an extent that nobody else has.
unsafe impl Hal for Memory {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let length = pages as u64 * PAGE_SIZE;
        // Aligned like this, it is brought in as a whole.
        let extent = Extent::allocate(length, length.next_power_of_two(), None);
        let extent = extent.expect("space for a queue");
        let pointer = NonNull::new(extent.raw(0, length).cast::<u8>());
        let pointer = pointer.expect("RAM is not mapped at zero");
        let (start, found) = lower().device_range(pointer.as_ptr().addr() as u64, length);
        assert_eq!(found, length, "a queue lies in one piece");
        core::mem::forget(extent);
        (start, pointer)
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        // A queue lives as long as the kernel.
        0
    }

    unsafe fn mmio_phys_to_virt(_: PhysAddr, _: usize) -> NonNull<u8> {
        unreachable!("the transports here map registers themselves")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        // One that does not lie in one piece was cut before it came here.
        let linear = buffer.cast::<u8>().as_ptr().addr() as u64;
        lower().device_range(linear, buffer.len() as u64).0
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
