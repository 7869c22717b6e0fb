//! The first serial port, a 16550, as a stream of bytes in both directions.
//!
//! It is used without interrupts: who waits for input looks now and then.

use crate::hardware::Hardware;
use crate::platform::lower;

/// Registers.
const DATA: u8 = 0;
const INTERRUPTS: u8 = 1;
const QUEUES: u8 = 2;
const FORMAT: u8 = 3;
const MODEM: u8 = 4;
const STATUS: u8 = 5;
const SCRATCH: u8 = 7;

const STATUS_INPUT: u8 = 1;
const STATUS_EMPTY: u8 = 1 << 5;
const QUEUES_ON: u8 = 1;
/// The upper bits of the register that tells whether there are queues.
const QUEUES_ARE_ON: u8 = 0xc0;
/// 8 bits, no parity, one stop bit.
const FORMAT_8N1: u8 = 3;
/// Ready, and asking to send.
const MODEM_READY: u8 = 3;
/// Bytes that the sending queue holds.
const QUEUE: usize = 16;
/// How often to look whether it takes more; a port that never does loses what is written.
const PATIENCE: u32 = 10_000_000;

/// The port.
pub struct SerialPort {
    hardware: &'static dyn Hardware,
    /// Bytes that it takes at once.
    burst: usize,
}

impl core::fmt::Debug for SerialPort {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SerialPort")
            .field("burst", &self.burst)
            .finish_non_exhaustive()
    }
}

impl SerialPort {
    /// The port, if this machine has one.
    #[must_use]
    pub fn find() -> Option<Self> {
        Self::of(lower().hardware()?)
    }

    fn of(hardware: &'static dyn Hardware) -> Option<Self> {
        hardware.write_serial(SCRATCH, 0x5a);
        if hardware.read_serial(SCRATCH) != 0x5a {
            return None;
        }
        hardware.write_serial(INTERRUPTS, 0);
        hardware.write_serial(FORMAT, FORMAT_8N1);
        hardware.write_serial(MODEM, MODEM_READY);
        hardware.write_serial(QUEUES, QUEUES_ON);
        let queues = hardware.read_serial(QUEUES) & QUEUES_ARE_ON == QUEUES_ARE_ON;
        let burst = if queues { QUEUE } else { 1 };
        Some(Self { hardware, burst })
    }

    /// Whether a byte has come.
    #[must_use]
    pub fn has_input(&self) -> bool {
        self.hardware.read_serial(STATUS) & STATUS_INPUT != 0
    }

    /// Takes what has come, as far as there is room; how much that is.
    pub fn read(&self, into: &mut [u8]) -> usize {
        let mut count = 0;
        for byte in into {
            if !self.has_input() {
                break;
            }
            *byte = self.hardware.read_serial(DATA);
            count += 1;
        }
        count
    }

    /// Writes bytes as they are.
    pub fn write(&self, bytes: &[u8]) {
        for burst in bytes.chunks(self.burst) {
            let is_empty = |_| self.hardware.read_serial(STATUS) & STATUS_EMPTY != 0;
            if !(0..PATIENCE).any(is_empty) {
                return;
            }
            for &byte in burst {
                self.hardware.write_serial(DATA, byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::fake::Fake;

    #[test]
    fn bytes_go_out_and_come_in_as_they_are() {
        let fake = Fake::leaked();
        let port = SerialPort::of(fake).unwrap();
        port.write(b"one\r\ntwo\n");
        assert_eq!(*fake.sent.lock().unwrap(), b"one\r\ntwo\n");
        assert!(!port.has_input());
        fake.typed.lock().unwrap().extend(b"\x04abc");
        assert!(port.has_input());
        let mut bytes = [0; 3];
        assert_eq!(port.read(&mut bytes), 3);
        assert_eq!(&bytes, b"\x04ab");
        assert_eq!(port.read(&mut bytes), 1);
        assert_eq!(port.read(&mut bytes), 0);
    }
}
