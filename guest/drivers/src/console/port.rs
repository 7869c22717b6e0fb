//! A terminal line as bytes in both directions.

use core::fmt::Debug;

use guest_hal::serial::SerialPort;
use guest_hal::sync::Mutex;
use guest_hal::virtio::{Device, ReceiveQueue, RequestQueue, Source};
use guest_hal::{Nanos, time};
use guest_kernel::{Errno, Result};

use super::pieces;

/// `VIRTIO_CONSOLE_F_SIZE`: the device knows the size of its window (virtio 1.2, 5.3.3).
const FEATURE_SIZE: u64 = 1;
/// How often to look at a serial port while somebody waits for it.
const LOOK_EVERY: Nanos = Nanos(5_000_000);
/// Bytes written at once that have to be copied.
const COPY: usize = 256;

/// What carries a console's bytes.
pub(super) trait Port: Debug + Send + Sync {
    /// Takes what has come, as far as there is room; how much that is, without waiting.
    fn read(&self, into: &mut [u8]) -> Result<usize>;

    /// Whether something has come.
    fn has_input(&self) -> Result<bool>;

    /// Writes all of it.
    fn write(&self, from: &[Source<'_>]) -> Result<()>;

    /// When who waits for input must look again, although nothing will have happened.
    fn look_again(&self) -> Option<Nanos>;

    /// Rows and columns of the window, if the port knows them.
    fn window(&self) -> Option<(u16, u16)>;
}

/// A virtio console with one port.
#[derive(Debug)]
pub(super) struct VirtioPort {
    input: Mutex<ReceiveQueue>,
    output: Mutex<RequestQueue>,
    window: Option<(u16, u16)>,
}

impl VirtioPort {
    /// Sets the device up; `None` if it does not behave.
    pub(super) fn open(device: Device) -> Option<Self> {
        let (mut columns, mut rows) = ([0; 2], [0; 2]);
        let size = device.configuration(0, &mut columns);
        let size = size.and_then(|()| device.configuration(2, &mut rows));
        let size = size.map(|()| (u16::from_le_bytes(rows), u16::from_le_bytes(columns)));
        let opened = device.open(FEATURE_SIZE, 2).ok()?;
        let [input, output] = <[_; 2]>::try_from(opened.queues).ok()?;
        Some(Self {
            input: Mutex::new(ReceiveQueue::new(input).ok()?),
            output: Mutex::new(output.into()),
            window: size.ok().filter(|_| opened.features & FEATURE_SIZE != 0),
        })
    }
}

impl Port for VirtioPort {
    fn read(&self, into: &mut [u8]) -> Result<usize> {
        self.input.lock().receive(into).map_err(|_| Errno::EIO)
    }

    fn has_input(&self) -> Result<bool> {
        self.input.lock().has_input().map_err(|_| Errno::EIO)
    }

    fn write(&self, from: &[Source<'_>]) -> Result<()> {
        let written = self.output.lock().call(from, &mut [], &mut || {});
        written.map(drop).map_err(|_| Errno::EIO)
    }

    fn look_again(&self) -> Option<Nanos> {
        self.input.lock().look_again()
    }

    fn window(&self) -> Option<(u16, u16)> {
        self.window
    }
}

impl Port for SerialPort {
    fn read(&self, into: &mut [u8]) -> Result<usize> {
        Ok(Self::read(self, into))
    }

    fn has_input(&self) -> Result<bool> {
        Ok(Self::has_input(self))
    }

    fn write(&self, from: &[Source<'_>]) -> Result<()> {
        let mut bytes = [0; COPY];
        let mut at = 0;
        loop {
            let count = pieces::copy(from, at, &mut bytes);
            Self::write(self, bytes.get(..count).unwrap_or_default());
            at += count as u64;
            if count < bytes.len() {
                return Ok(());
            }
        }
    }

    fn look_again(&self) -> Option<Nanos> {
        Some(time::monotonic().saturating_add(LOOK_EVERY))
    }

    fn window(&self) -> Option<(u16, u16)> {
        None
    }
}
