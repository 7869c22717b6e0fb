//! virtio by the PCI bus (virtio 1.2, 4.1), the registers of version 1 only.
//!
//! [`function`] knows the bus, [`layout`] where registers are, [`message`] interrupts. Base
//! addresses are the firmware's: a device without is not found.

mod function;
mod layout;
mod message;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use virtio_drivers::PhysAddr;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::wire::{Bell, Wire, device_type, read_value};
use crate::hardware::{Hardware, Registers};
use crate::sync::Mutex;
use function::{Bar, COMMAND_MASTER, COMMAND_MEMORY, COMMAND_NO_LINE, Function, functions};
use layout::{Layout, Region};

/// Registers that all devices have (virtio 1.2, 4.1.4.3).
const FEATURES_SELECT: usize = 0;
const FEATURES: usize = 4;
const ACCEPTED_SELECT: usize = 8;
const ACCEPTED: usize = 12;
const CONFIGURATION_VECTOR: usize = 16;
const QUEUE_COUNT: usize = 18;
const STATUS: usize = 20;
const GENERATION: usize = 21;
const QUEUE_SELECT: usize = 22;
const QUEUE_SIZE: usize = 24;
const QUEUE_VECTOR: usize = 26;
const QUEUE_ENABLE: usize = 28;
const QUEUE_NOTIFY: usize = 30;
const QUEUE_DESCRIPTORS: usize = 32;
const QUEUE_DRIVER: usize = 40;
const QUEUE_DEVICE: usize = 48;
/// Bytes of them.
const COMMON_LENGTH: u64 = 56;
/// No vector.
const NO_VECTOR: u16 = 0xffff;
/// The one vector.
const VECTOR: u16 = 0;
/// No more of a region is looked at: so many bytes have room for every queue that is used.
const REGION_MAX: u64 = 256 << 10;
/// How often to ask whether a reset is done.
const RESET_PATIENCE: usize = 1_000_000;

/// Functions that were found and are in use.
static TAKEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());

/// A function with its registers.
pub(super) struct PciTransport {
    function: Function,
    bars: [Option<Bar>; 6],
    id: u32,
    common: Registers,
    notify: Registers,
    multiplier: u32,
    device: Option<Registers>,
    /// Whether the device sends messages.
    messages: bool,
}

/// The first function with that number that is `wanted`.
pub(super) fn find<T>(
    hardware: &'static dyn Hardware,
    id: u32,
    wanted: &mut dyn FnMut(PciTransport) -> Option<T>,
) -> Option<T> {
    for function in functions(hardware) {
        let fits = layout::device_number(&function) == Some(id);
        if !fits || TAKEN.lock().contains(&function.place) {
            continue;
        }
        if let Some(found) = PciTransport::new(function, id).and_then(&mut *wanted) {
            TAKEN.lock().push(function.place);
            return Some(found);
        }
    }
    None
}

fn map(hardware: &dyn Hardware, region: Region) -> Option<Registers> {
    hardware.map_registers(region.start, region.length.min(REGION_MAX))
}

impl PciTransport {
    fn new(function: Function, id: u32) -> Option<Self> {
        let bars = function.bars();
        let Layout {
            common,
            notify,
            multiplier,
            device,
        } = layout::layout(&function, &bars)?;
        if common.length < COMMON_LENGTH {
            return None;
        }
        function.set_command(function.command() | COMMAND_MEMORY);
        let hardware = function.hardware;
        Some(Self {
            function,
            bars,
            id,
            common: map(hardware, common)?,
            notify: map(hardware, notify)?,
            multiplier,
            device: device.and_then(|region| map(hardware, region)),
            messages: false,
        })
    }

    /// Lets the device reach memory, and interrupt by messages only.
    pub(super) fn prepare(&mut self) {
        let command = self.function.command() | COMMAND_MASTER | COMMAND_NO_LINE;
        self.function.set_command(command);
        self.messages = message::enable(&self.function, &self.bars);
    }

    fn select(&self, queue: u16) -> bool {
        let there = queue < self.common.read(QUEUE_COUNT);
        self.common.write(QUEUE_SELECT, queue);
        there
    }

    /// Sets a register that names a vector. A device that has no room for it says so.
    fn set_vector(&mut self, register: usize) {
        let vector = if self.messages { VECTOR } else { NO_VECTOR };
        self.common.write(register, vector);
        self.messages &= self.common.read::<u16>(register) == VECTOR;
    }
}

impl Wire for PciTransport {
    fn id(&self) -> u32 {
        self.id
    }

    fn bell(&mut self, queue: u16) -> Option<Bell> {
        self.select(queue);
        let unit: u16 = self.common.read(QUEUE_NOTIFY);
        let offset = usize::from(unit).checked_mul(self.multiplier as usize)?;
        Some(Bell::Half(self.notify.part(offset, 2)?, queue))
    }

    fn interrupts(&self) -> bool {
        self.messages
    }

    fn configuration(&self, offset: usize, into: &mut [u8]) -> Option<()> {
        self.device.as_ref()?.read_bytes(offset, into)
    }
}

impl Transport for PciTransport {
    fn device_type(&self) -> DeviceType {
        device_type(self.id)
    }

    fn read_device_features(&mut self) -> u64 {
        self.common.write(FEATURES_SELECT, 0u32);
        let low: u32 = self.common.read(FEATURES);
        self.common.write(FEATURES_SELECT, 1u32);
        let high: u32 = self.common.read(FEATURES);
        u64::from(low) | u64::from(high) << 32
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        self.common.write(ACCEPTED_SELECT, 0u32);
        self.common.write(ACCEPTED, driver_features as u32);
        self.common.write(ACCEPTED_SELECT, 1u32);
        self.common.write(ACCEPTED, (driver_features >> 32) as u32);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        if self.select(queue) {
            u32::from(self.common.read::<u16>(QUEUE_SIZE))
        } else {
            0
        }
    }

    fn notify(&mut self, queue: u16) {
        if let Some(bell) = self.bell(queue) {
            bell.ring();
        }
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(u32::from(self.common.read::<u8>(STATUS)))
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.common.write(STATUS, status.bits() as u8);
        if status.is_empty() {
            // A device that never says that it is reset is found out by its next answers.
            let _ = (0..RESET_PATIENCE).any(|_| self.common.read::<u8>(STATUS) == 0);
            self.set_vector(CONFIGURATION_VECTOR);
        }
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
        self.select(queue);
        self.common.write(QUEUE_SIZE, size as u16);
        self.common.write_halves(QUEUE_DESCRIPTORS, desc);
        self.common.write_halves(QUEUE_DRIVER, avail);
        self.common.write_halves(QUEUE_DEVICE, used);
        self.set_vector(QUEUE_VECTOR);
        self.common.write(QUEUE_ENABLE, 1u16);
    }

    fn queue_unset(&mut self, _: u16) {
        // Only a reset takes a queue back.
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.select(queue) && self.common.read::<u16>(QUEUE_ENABLE) != 0
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        // Messages need no answer.
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        u32::from(self.common.read::<u8>(GENERATION))
    }

    fn read_config_space<T: FromBytes + IntoBytes>(
        &self,
        offset: usize,
    ) -> virtio_drivers::Result<T> {
        read_value(self, offset)
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        _: usize,
        _: T,
    ) -> virtio_drivers::Result<()> {
        Err(virtio_drivers::Error::Unsupported)
    }
}
