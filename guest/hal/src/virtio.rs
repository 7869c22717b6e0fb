//! A virtqueue on which a driver sends requests and waits for the answers.
//!
//! The queue's mechanics are the `virtio-drivers` crate's; here are the memory it uses,
//! the transport by shared page ([`guest_abi::device`]), and waiting without burning the
//! processor.
#![expect(unsafe_code, reason = "devices are given addresses of memory")]

use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use guest_abi::device::{self, DevicePage};
use guest_abi::layout::{HUGE_PAGE_SIZE, PAGE_SIZE};
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{BufferDirection, Hal, PhysAddr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::boot::device_page;
use crate::memory::Extent;
use crate::platform::lower;
use crate::sync::Mutex;
use crate::{LinearAddress, platform};

/// Descriptors of a queue.
const QUEUE_SIZE: usize = 64;
/// Most pieces of a request in one direction.
const PIECES_MAX: usize = 16;
/// Most runs of physical memory of a request in one direction.
const RUNS_MAX: usize = QUEUE_SIZE;
/// Bytes that requests of scattered memory are copied through, each direction.
const BOUNCE_HALF: u64 = HUGE_PAGE_SIZE;

/// Memory in one piece for requests whose own is scattered; made when first needed.
static BOUNCE: Mutex<Option<Extent>> = Mutex::new(None);

/// `None` when the machine has no such memory left.
fn new_bounce() -> Option<Extent> {
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
fn runs<'a>(buffers: impl Iterator<Item = &'a [u8]>, list: &mut [&'a [u8]]) -> Option<usize> {
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
fn runs_mut<'a>(
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

/// The device did not behave as virtio asks, or is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceError;

/// A queue of one device.
pub struct RequestQueue {
    queue: VirtQueue<Memory, QUEUE_SIZE>,
    index: u16,
    transport: PageTransport,
}

impl core::fmt::Debug for RequestQueue {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RequestQueue")
            .field("device", &self.transport.number)
            .finish()
    }
}

/// Sets a device up with its first `count` queues.
///
/// # Errors
/// When there is no such device, or it does not offer so many queues.
pub fn open(device: u32, count: u16) -> Result<alloc::vec::Vec<RequestQueue>, DeviceError> {
    let page = device_page(device).ok_or(DeviceError)?;
    let mut transport = PageTransport {
        page,
        number: device,
    };
    let version_1 = 1u64 << 32;
    let _: u64 = {
        transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
        let accepted = transport.read_device_features() & version_1;
        transport.write_driver_features(accepted);
        accepted
    };
    let mut queues = alloc::vec::Vec::new();
    for index in 0..count {
        let queue = VirtQueue::new(&mut transport, index, false, false).map_err(|_| DeviceError)?;
        let transport = PageTransport {
            page,
            number: device,
        };
        queues.push(RequestQueue {
            queue,
            index,
            transport,
        });
    }
    transport.finish_init();
    Ok(queues)
}

impl RequestQueue {
    /// Sends a request and waits for the answer; returns how many bytes it has.
    /// `woken` is called whenever something else happened meanwhile.
    ///
    /// # Errors
    /// When the device answers something that was not asked, or there are too many pieces.
    pub fn call(
        &mut self,
        send: &[Source<'_>],
        receive: &mut [Target<'_>],
        woken: &mut dyn FnMut(),
    ) -> Result<usize, DeviceError> {
        if send.len() > PIECES_MAX || receive.len() > PIECES_MAX {
            return Err(DeviceError);
        }
        let mut inputs: [&[u8]; RUNS_MAX] = [&[]; RUNS_MAX];
        let mut outputs: [&mut [u8]; RUNS_MAX] = core::array::from_fn(|_| Default::default());
        let sent = runs(send.iter().map(Source::bytes), &mut inputs);
        let received = runs_mut(receive.iter_mut().map(Target::bytes), &mut outputs);
        match (sent, received) {
            (Some(sent), Some(received)) if sent + received <= QUEUE_SIZE => {
                self.exchange(&inputs[..sent], &mut outputs[..received], woken)
            }
            _ => self.call_by_copy(send, receive, woken),
        }
    }

    /// As [`RequestQueue::call`], for memory that lies in too many pieces.
    fn call_by_copy(
        &mut self,
        send: &[Source<'_>],
        receive: &mut [Target<'_>],
        woken: &mut dyn FnMut(),
    ) -> Result<usize, DeviceError> {
        let bounce = BOUNCE.lock().take();
        let bounce = bounce.or_else(new_bounce).ok_or(DeviceError)?;
        let result = self.call_through(&bounce, send, receive, woken);
        *BOUNCE.lock() = Some(bounce);
        result
    }

    fn call_through(
        &mut self,
        bounce: &Extent,
        send: &[Source<'_>],
        receive: &mut [Target<'_>],
        woken: &mut dyn FnMut(),
    ) -> Result<usize, DeviceError> {
        let mut sent = 0;
        for piece in send {
            let bytes = piece.bytes();
            let end = sent + bytes.len() as u64;
            if end > BOUNCE_HALF {
                return Err(DeviceError);
            }
            bounce.write(sent, bytes);
            sent = end;
        }
        let wanted: usize = receive.iter_mut().map(|piece| piece.bytes().len()).sum();
        if wanted as u64 > BOUNCE_HALF {
            return Err(DeviceError);
        }
        let inputs = [Source::Extent(bounce, 0, sent)];
        let mut outputs = [Target::Extent(bounce, BOUNCE_HALF, wanted as u64)];
        let input: &[&[u8]] = &[inputs[0].bytes()];
        let output: &mut [&mut [u8]] = &mut [outputs[0].bytes()];
        let length = self.exchange(input, output, woken)?;
        let mut done = 0;
        for piece in receive {
            let bytes = piece.bytes();
            let count = bytes.len().min(length.saturating_sub(done));
            if let Some(part) = bytes.get_mut(..count) {
                bounce.read(BOUNCE_HALF + done as u64, part);
            }
            done += count;
        }
        Ok(length)
    }

    fn exchange<'a>(
        &mut self,
        inputs: &'a [&'a [u8]],
        outputs: &'a mut [&'a mut [u8]],
        woken: &mut dyn FnMut(),
    ) -> Result<usize, DeviceError> {
        let (inputs, outputs) = (as_static(inputs), as_static_mut(outputs));
        // SAFETY: this function does not return before the device has answered, or has
        // proved broken, so the buffers outlive the request.
        let token = unsafe { self.queue.add(inputs, outputs) }.map_err(|_| DeviceError)?;
        crate::report::counters()
            .requests
            .fetch_add(1, Ordering::Relaxed);
        self.transport.notify(self.index);
        loop {
            let ticket = platform().ticket();
            if self.queue.can_pop() {
                break;
            }
            platform().idle(ticket, None);
            if !self.queue.can_pop() {
                woken();
            }
        }
        // SAFETY: the same buffers as were added under this token.
        let length = unsafe { self.queue.pop_used(token, inputs, outputs) };
        length
            .map(|length| length as usize)
            .map_err(|_| DeviceError)
    }
}

/// The queue's functions ask for one lifetime for list and buffers.
fn as_static<'a>(list: &'a [&'a [u8]]) -> &'a [&'a [u8]] {
    list
}

fn as_static_mut<'a>(list: &'a mut [&'a mut [u8]]) -> &'a mut [&'a mut [u8]] {
    list
}

impl Source<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            // SAFETY: the range is inside the extent, which outlives the borrow; the program
            // may write to it meanwhile, which only makes the bytes vary.
            Self::Extent(extent, offset, length) => unsafe { &*extent.raw(*offset, *length) },
        }
    }
}

impl Target<'_> {
    fn bytes(&mut self) -> &mut [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            // SAFETY: as for `Source`; nobody in the kernel looks at the range meanwhile.
            Self::Extent(extent, offset, length) => unsafe { &mut *extent.raw(*offset, *length) },
        }
    }
}

/// Memory for virtqueues: extents, and any memory of the kernel as a buffer.
struct Memory;

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
        unreachable!("only the PCI transport maps registers")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        // One that does not lie in one piece was cut before it came here.
        let linear = buffer.cast::<u8>().as_ptr().addr() as u64;
        lower().device_range(linear, buffer.len() as u64).0
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

/// virtio by a shared page.
struct PageTransport {
    page: &'static DevicePage,
    number: u32,
}

impl Transport for PageTransport {
    fn device_type(&self) -> DeviceType {
        let id = self.page.device_id.load(Ordering::Relaxed);
        DeviceType::try_from(id).unwrap_or(DeviceType::_9P)
    }

    fn read_device_features(&mut self) -> u64 {
        self.page.device_features.load(Ordering::Relaxed)
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        self.page
            .driver_features
            .store(driver_features, Ordering::Relaxed);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        let count = self.page.queue_count.load(Ordering::Relaxed);
        if u32::from(queue) < count {
            self.page.queue_size_max.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    fn notify(&mut self, queue: u16) {
        platform().notify(self.number, queue);
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.page.status.load(Ordering::Relaxed))
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.page.status.store(status.bits(), Ordering::Release);
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        desc: PhysAddr,
        avail: PhysAddr,
        used: PhysAddr,
    ) {
        if let Some(slot) = self.page.queues.get(usize::from(queue)) {
            slot.descriptors.store(desc, Ordering::Relaxed);
            slot.driver.store(avail, Ordering::Relaxed);
            slot.device.store(used, Ordering::Relaxed);
            slot.size.store(size, Ordering::Release);
        }
    }

    fn queue_unset(&mut self, queue: u16) {
        if let Some(slot) = self.page.queues.get(usize::from(queue)) {
            slot.size.store(0, Ordering::Release);
        }
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        let slot = self.page.queues.get(usize::from(queue));
        slot.is_some_and(|slot| slot.size.load(Ordering::Relaxed) != 0)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config_space<T: FromBytes + IntoBytes>(
        &self,
        offset: usize,
    ) -> virtio_drivers::Result<T> {
        let mut value = T::new_zeroed();
        for (index, byte) in value.as_mut_bytes().iter_mut().enumerate() {
            let at = offset + index;
            let word = self.page.config.get(at / 4);
            let word = word.ok_or(virtio_drivers::Error::ConfigSpaceTooSmall)?;
            *byte = word.load(Ordering::Relaxed).to_le_bytes()[at % 4];
        }
        Ok(value)
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        _: usize,
        _: T,
    ) -> virtio_drivers::Result<()> {
        Err(virtio_drivers::Error::Unsupported)
    }
}

/// A device page has no more queues than this.
pub const QUEUES_MAX: usize = device::QUEUES_MAX;
