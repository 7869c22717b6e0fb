//! virtio over MMIO, version 2 (virtio 1.2, 4.2): 4 KiB of registers and an interrupt wire.
//!
//! Registers are 32 bits wide and are accessed as such; other accesses read as zeros. The
//! device's configuration from offset 0x100 on is accessed at any width.

use std::sync::{Arc, Mutex, PoisonError};

use machine_bus::{Device, InterruptLine};
use machine_memory::GuestMemory;

use crate::device::{Interrupt, Signals, VirtioDevice, read_bytes};
use crate::registers::{Area, Registers};
use crate::state::{DeviceState, StateError};

const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;
/// "HUSK", as the vendor.
const VENDOR: u32 = 0x4b53_5548;
/// Where the device's configuration starts.
const CONFIG: u64 = 0x100;

const STATUS_QUEUE: u32 = 1;
const STATUS_CONFIG: u32 = 2;

/// The state of a [`VirtioMmio`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MmioState {
    /// The registers that all transports have.
    pub device: DeviceState,
    /// InterruptStatus.
    pub interrupt_status: u32,
}

/// InterruptStatus and the wire that it drives.
struct Pins {
    status: Mutex<u32>,
    line: Arc<dyn InterruptLine>,
}

impl Pins {
    fn change(&self, change: impl FnOnce(u32) -> u32) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        *status = change(*status);
        self.line.set(*status != 0);
    }

    fn status(&self) -> u32 {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Wire(Arc<Pins>);

impl Interrupt for Wire {
    fn queue(&self, _: u16) {
        self.0.change(|status| status | STATUS_QUEUE);
    }

    fn config(&self) {
        self.0.change(|status| status | STATUS_CONFIG);
    }
}

/// A virtio device behind MMIO registers.
pub struct VirtioMmio {
    registers: Registers,
    pins: Arc<Pins>,
}

impl std::fmt::Debug for VirtioMmio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("VirtioMmio").field(&self.registers).finish()
    }
}

impl VirtioMmio {
    /// Bytes of the registers.
    pub const SIZE: u64 = 0x1000;

    /// Shows `device` to the driver; it works on `memory` and interrupts by `line`.
    pub fn new(
        device: Box<dyn VirtioDevice>,
        memory: GuestMemory,
        line: Arc<dyn InterruptLine>,
    ) -> Self {
        let pins = Arc::new(Pins {
            status: Mutex::new(0),
            line,
        });
        let signals = Arc::new(Signals::new(Box::new(Wire(Arc::clone(&pins)))));
        Self {
            registers: Registers::new(device, memory, signals),
            pins,
        }
    }

    /// A copy of the whole state. The device pauses for it.
    pub fn save(&self) -> MmioState {
        let device = self.registers.save();
        MmioState {
            device,
            interrupt_status: self.pins.status(),
        }
    }

    /// Takes a state, and starts the device if it was active.
    ///
    /// # Errors
    /// When this device cannot be in that state; it is reset then.
    pub fn restore(&self, state: &MmioState) -> Result<(), StateError> {
        let reason = "interrupt status bits that do not exist";
        if state.interrupt_status & !(STATUS_QUEUE | STATUS_CONFIG) != 0 {
            return Err(StateError { reason });
        }
        // Starting may already interrupt: that adds to what was there.
        self.pins.change(|_| state.interrupt_status);
        self.registers.restore(&state.device)
    }

    fn read_register(&self, offset: u64) -> u32 {
        let registers = &self.registers;
        let state = registers.peek();
        let queue = registers.selected(&state);
        match offset {
            0x000 => MAGIC,
            0x004 => VERSION,
            0x008 => registers.id(),
            0x00c => VENDOR,
            0x010 => registers.offered(state.device_feature_select),
            0x034 => queue.map_or(0, |(_, most)| u32::from(most)),
            0x044 => queue.map_or(0, |(queue, _)| u32::from(queue.ready)),
            0x060 => self.pins.status(),
            0x070 => u32::from(registers.status(&state)),
            // Length and base of a shared memory region: there is none (4.2.2).
            0x0b0..=0x0bc => u32::MAX,
            0x0fc => registers.generation(),
            _ => 0,
        }
    }

    fn set_status(&self, value: u8) {
        if self.registers.set_status(value) {
            self.pins.change(|_| 0);
        }
    }

    fn write_register(&self, offset: u64, value: u32) {
        let registers = &self.registers;
        match offset {
            0x014 => registers.select_offered(value),
            0x020 => registers.accept(value),
            0x024 => registers.select_accepted(value),
            0x030 => registers.select_queue(u16::try_from(value).unwrap_or(u16::MAX)),
            0x038 => registers.set_size(u16::try_from(value).unwrap_or(0)),
            0x044 => registers.set_ready(value & 1 != 0),
            0x050 => {
                if let Ok(queue) = u16::try_from(value) {
                    registers.notify(queue);
                }
            }
            0x064 => self.pins.change(|status| status & !value),
            0x070 => self.set_status(value as u8),
            0x080 | 0x084 => registers.set_address(Area::Descriptors, offset == 0x084, value),
            0x090 | 0x094 => registers.set_address(Area::Driver, offset == 0x094, value),
            0x0a0 | 0x0a4 => registers.set_address(Area::Device, offset == 0x0a4, value),
            _ => {}
        }
    }
}

impl Device for VirtioMmio {
    fn read(&self, offset: u64, data: &mut [u8]) {
        match offset.checked_sub(CONFIG) {
            Some(offset) => self.registers.read_config(offset, data),
            None if data.len() == 4 => {
                read_bytes(&self.read_register(offset).to_le_bytes(), 0, data);
            }
            None => data.fill(0),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        match (offset.checked_sub(CONFIG), data) {
            (Some(offset), _) => self.registers.write_config(offset, data),
            (None, &[a, b, c, d]) => self.write_register(offset, u32::from_le_bytes([a, b, c, d])),
            _ => {}
        }
    }
}
