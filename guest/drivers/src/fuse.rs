//! The virtio file system device (virtio 1.2, 5.11).
//!
//! Queue 0 is for what must not wait behind other requests: interruptions. Queue 1 carries
//! the rest; if there is one more, that carries what waits for input, so that nobody waits behind it.

use alloc::sync::Arc;

use guest_abi::fuse::{InHeader, InterruptIn, Opcode};
use guest_hal::sync::Mutex;
use guest_hal::virtio::{self, Device, RequestQueue, Source, Target};
use guest_kernel::fs::fuse::{Transport, Waits};
use guest_kernel::{Errno, Result, signal, thread};
use zerocopy::IntoBytes;

/// A device.
#[derive(Debug)]
pub struct FuseDevice {
    urgent: Mutex<RequestQueue>,
    requests: Mutex<RequestQueue>,
    input: Option<Mutex<RequestQueue>>,
}

/// Where the configuration says what the file system is called, and how many queues for
/// requests there are (virtio 1.2, 5.11.4).
const TAG_LENGTH: usize = 36;
const QUEUE_COUNT: usize = TAG_LENGTH;

/// Sets the device of a shared page up.
///
/// # Errors
/// `ENODEV` when there is none, or it is not a file system.
pub fn open(device: u32) -> Result<Arc<dyn Transport>> {
    set_up(virtio::numbered(device).ok_or(Errno::ENODEV)?)
}

/// Finds a file system by its name, and sets it up.
///
/// # Errors
/// `ENODEV` when there is none, or it does not behave.
pub fn open_tag(tag: &[u8]) -> Result<Arc<dyn Transport>> {
    let device = virtio::find(virtio::ID_FS, &|device| is_called(device, tag));
    set_up(device.ok_or(Errno::ENODEV)?)
}

/// Whether a file system has that name, and a queue for requests.
fn is_called(device: &Device, tag: &[u8]) -> bool {
    let (mut name, mut count) = ([0; TAG_LENGTH], [0; 4]);
    let read = device.configuration(0, &mut name);
    let read = read.and_then(|()| device.configuration(QUEUE_COUNT, &mut count));
    // The rest of a shorter name is zero.
    let same = name.starts_with(tag) && name.iter().skip(tag.len()).all(|&byte| byte == 0);
    read.is_ok() && same && u32::from_le_bytes(count) > 0
}

fn set_up(device: Device) -> Result<Arc<dyn Transport>> {
    let mut count = [0; 4];
    let read = device.configuration(QUEUE_COUNT, &mut count);
    let has_more = read.is_ok() && u32::from_le_bytes(count) > 1;
    let opened = device.open(0, if has_more { 3 } else { 2 });
    let mut queues = opened.map_err(|_| Errno::ENODEV)?.queues.into_iter();
    let mut next = || queues.next().map(|queue| Mutex::new(queue.into()));
    Ok(Arc::new(FuseDevice {
        urgent: next().ok_or(Errno::ENODEV)?,
        requests: next().ok_or(Errno::ENODEV)?,
        input: next(),
    }))
}

impl FuseDevice {
    /// Tells the server that a request is not worth waiting for any more.
    fn interrupt(&self, unique: u64) {
        let ask = InterruptIn { unique };
        let header = InHeader {
            len: (size_of::<InHeader>() + size_of::<InterruptIn>()) as u32,
            opcode: Opcode::Interrupt as u32,
            // The next number is free: sessions count by twos.
            unique: unique + 1,
            ..InHeader::default()
        };
        let send = [
            Source::Bytes(header.as_bytes()),
            Source::Bytes(ask.as_bytes()),
        ];
        // A device that is broken shows it at the request itself.
        let _ = self.urgent.lock().call(&send, &mut [], &mut || {});
    }
}

/// Whether a signal wants the program's attention.
fn is_signalled() -> bool {
    thread::try_current().is_some_and(|thread| thread.is_killed() || signal::is_deliverable())
}

impl Transport for FuseDevice {
    fn exchange(
        &self,
        unique: u64,
        send: &[Source<'_>],
        receive: &mut [Target<'_>],
        waits: Waits,
    ) -> Result<usize> {
        let interruptible = waits != Waits::Work;
        if interruptible && is_signalled() {
            return Err(Errno::EINTR);
        }
        let mut interrupted = false;
        let mut woken = || {
            if interruptible && !interrupted && is_signalled() {
                interrupted = true;
                self.interrupt(unique);
            }
        };
        let long = self.input.as_ref().filter(|_| waits == Waits::Input);
        let queue = long.unwrap_or(&self.requests);
        let length = queue.lock().call(send, receive, &mut woken);
        length.map_err(|_| Errno::EIO)
    }
}
