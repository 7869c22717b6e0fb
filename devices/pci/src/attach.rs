//! How the machine's buses reach the PCI bus.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use machine_bus::{Device, InterruptLine};

use crate::{PciHost, copy};

/// The address register's bits that exist (PCI 3.0, 3.2.2.3.2).
const ADDRESS_BITS: u32 = 0x80ff_fffc;
const ADDRESS_ENABLE: u32 = 1 << 31;
/// Bit of the reset control register (Intel's chipsets, "Reset control") that resets when
/// it rises, and the one that says how.
const RESET_NOW: u8 = 1 << 2;
const RESET_BITS: u8 = 0x0e;

/// Configuration mechanism 1: 8 ports, of a PC those from 0xcf8.
///
/// Offset 0 is the address register, for accesses of 4 bytes only; offsets 4 to 7 are the
/// selected register. Offset 1 is, for accesses of 1 byte, the chipset's reset control.
pub struct ConfigPorts {
    host: Arc<PciHost>,
    reset: Arc<dyn InterruptLine>,
    address: AtomicU32,
    control: AtomicU8,
}

impl fmt::Debug for ConfigPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address();
        f.debug_struct("ConfigPorts")
            .field("address", &address)
            .finish_non_exhaustive()
    }
}

impl ConfigPorts {
    /// The ports of `host`. `reset` goes high when the guest asks for a reset of the machine.
    pub fn new(host: Arc<PciHost>, reset: Arc<dyn InterruptLine>) -> Self {
        Self {
            host,
            reset,
            address: AtomicU32::new(0),
            control: AtomicU8::new(0),
        }
    }

    /// The address register, which is all the state that counts.
    pub fn address(&self) -> u32 {
        self.address.load(Ordering::Relaxed)
    }

    /// Sets the address register, as the guest would.
    pub fn set_address(&self, address: u32) {
        self.address
            .store(address & ADDRESS_BITS, Ordering::Relaxed);
    }

    /// The function and register that offset `port` means now.
    fn selected(&self, port: u64) -> Option<(u16, u16)> {
        let address = self.address();
        let byte = u16::try_from(port.checked_sub(4)?).ok()?;
        let function = (address >> 8) as u16;
        let register = (address & 0xfc) as u16 + byte;
        (address & ADDRESS_ENABLE != 0).then_some((function, register))
    }

    fn write_control(&self, value: u8) {
        let before = self.control.swap(value & RESET_BITS, Ordering::Relaxed);
        if value & !before & RESET_NOW != 0 {
            self.reset.set(true);
        }
    }
}

impl Device for ConfigPorts {
    fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0xff);
        match (offset, data.len()) {
            (0, 4) => copy(&self.address().to_le_bytes(), 0, data),
            (1, 1) => data.fill(self.control.load(Ordering::Relaxed)),
            _ => {
                if let Some((function, register)) = self.selected(offset) {
                    self.host.read_config(function, register, data);
                }
            }
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        match (offset, data) {
            (0, &[a, b, c, d]) => self.set_address(u32::from_le_bytes([a, b, c, d])),
            (1, &[value]) => self.write_control(value),
            _ => {
                if let Some((function, register)) = self.selected(offset) {
                    self.host.write_config(function, register, data);
                }
            }
        }
    }
}

/// Memory mapped configuration of bus 0: [`Ecam::SIZE`] bytes, 4 KiB a function (PCI Firmware
/// Specification 3.0, 4.1). No function has more than the conventional 256 bytes; the rest
/// reads as zeros, which means no extended capabilities.
#[derive(Debug)]
pub struct Ecam {
    host: Arc<PciHost>,
}

impl Ecam {
    /// Bytes of one bus.
    pub const SIZE: u64 = 1 << 20;

    /// The configuration space of `host`.
    pub fn new(host: Arc<PciHost>) -> Self {
        Self { host }
    }

    fn place(offset: u64) -> (u16, u16) {
        ((offset >> 12 & 0xff) as u16, (offset & 0xfff) as u16)
    }
}

impl Device for Ecam {
    fn read(&self, offset: u64, data: &mut [u8]) {
        let (function, register) = Self::place(offset);
        self.host.read_config(function, register, data);
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let (function, register) = Self::place(offset);
        self.host.write_config(function, register, data);
    }
}

/// A window of PCI memory, attached where the machine's bus has it. What is at an offset
/// changes as the guest moves base address registers.
#[derive(Debug)]
pub struct Window {
    host: Arc<PciHost>,
    start: u64,
}

impl Window {
    /// The window whose offset 0 is `start` on the PCI bus; on a PC the same number as
    /// the guest-physical address at which it is attached.
    pub fn new(host: Arc<PciHost>, start: u64) -> Self {
        Self { host, start }
    }
}

impl Device for Window {
    fn read(&self, offset: u64, data: &mut [u8]) {
        match self.start.checked_add(offset) {
            Some(address) => self.host.read_memory(address, data),
            None => data.fill(0xff),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if let Some(address) = self.start.checked_add(offset) {
            self.host.write_memory(address, data);
        }
    }
}
