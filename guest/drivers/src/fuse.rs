//! The virtio file system device (virtio 1.2, 5.11).
//!
//! Queue 0 is for what must not wait behind other requests: interruptions. Queue 1 carries
//! the rest.

use alloc::sync::Arc;

use guest_abi::fuse::{InHeader, InterruptIn, Opcode};
use guest_hal::sync::Mutex;
use guest_hal::virtio::{self, RequestQueue, Source, Target};
use guest_kernel::fs::fuse::Transport;
use guest_kernel::process::current;
use guest_kernel::{Errno, Result, signal};
use zerocopy::IntoBytes;

/// A device.
#[derive(Debug)]
pub struct FuseDevice {
    urgent: Mutex<RequestQueue>,
    requests: Mutex<RequestQueue>,
}

/// Sets a device up.
///
/// # Errors
/// `ENODEV` when there is none, or it is not a file system.
pub fn open(device: u32) -> Result<Arc<dyn Transport>> {
    let queues = virtio::open(device, 2).map_err(|_| Errno::ENODEV)?;
    let [urgent, requests] = <[_; 2]>::try_from(queues).map_err(|_| Errno::ENODEV)?;
    Ok(Arc::new(FuseDevice {
        urgent: Mutex::new(urgent),
        requests: Mutex::new(requests),
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
    signal::collect();
    current().signals.lock().is_deliverable()
}

impl Transport for FuseDevice {
    fn exchange(
        &self,
        unique: u64,
        send: &[Source<'_>],
        receive: &mut [Target<'_>],
        interruptible: bool,
    ) -> Result<usize> {
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
        let length = self.requests.lock().call(send, receive, &mut woken);
        length.map_err(|_| Errno::EIO)
    }
}
