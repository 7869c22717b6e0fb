//! The standard streams where no Husk monitor serves them: all of them are one terminal line,
//! a virtio console (virtio 1.2, 5.3) or a serial port.
//!
//! * [`port`]: the line, as bytes in both directions.
//! * [`service`]: the answers that the monitor's console service would give.
//! * [`terminal`]: what programs ask of a terminal.
//! * [`pieces`]: requests and replies, which come in pieces.
//!
//! The line has no discipline: bytes pass as they are, and nothing is echoed or edited. Programs
//! may set modes, and read them back.

mod pieces;
mod port;
mod service;
mod terminal;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::sync::Arc;

use guest_hal::serial::SerialPort;
use guest_hal::virtio;
use guest_kernel::fs::fuse::Transport;
use guest_kernel::{Errno, Result};

use port::{Port, VirtioPort};
use service::Console;

/// Opens the machine's console: the virtio console, else the serial port.
///
/// # Errors
/// `ENXIO` when there is neither.
pub fn open() -> Result<Arc<dyn Transport>> {
    let device = virtio::find(virtio::ID_CONSOLE, &|_| true);
    let port: Box<dyn Port> = match device.and_then(VirtioPort::open) {
        Some(port) => Box::new(port),
        None => Box::new(SerialPort::find().ok_or(Errno::ENXIO)?),
    };
    Ok(Arc::new(Console::new(port)))
}
