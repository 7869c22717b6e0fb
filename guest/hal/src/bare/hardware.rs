//! Devices beside the monitor's own, reached as on any PC.

use super::cpu::{port_read, port_read_byte, port_write, port_write_byte};
use super::{Bare, lines, memory};
use crate::hardware::{Hardware, Registers};

/// The PCI bus' configuration ports (PCI Local Bus 3.0, 3.2.2.3.2).
const CONFIGURATION_ADDRESS: u16 = 0xcf8;
const CONFIGURATION_DATA: u16 = 0xcfc;
const CONFIGURATION_ENABLE: u32 = 1 << 31;
/// The first serial port.
const SERIAL: u16 = 0x3f8;

fn select(function: u16, register: u8) {
    let address = CONFIGURATION_ENABLE | u32::from(function) << 8 | u32::from(register & 0xfc);
    port_write(CONFIGURATION_ADDRESS, address);
}

impl Hardware for Bare {
    fn read_configuration(&self, function: u16, register: u8) -> u32 {
        select(function, register);
        port_read(CONFIGURATION_DATA)
    }

    fn write_configuration(&self, function: u16, register: u8, value: u32) {
        select(function, register);
        port_write(CONFIGURATION_DATA, value);
    }

    fn map_registers(&self, physical: u64, length: u64) -> Option<Registers> {
        memory::map_device(physical, length)
    }

    fn connect_line(&self, line: u32) -> bool {
        lines::connect(line)
    }

    fn read_serial(&self, register: u8) -> u8 {
        port_read_byte(SERIAL + u16::from(register & 7))
    }

    fn write_serial(&self, register: u8, value: u8) {
        port_write_byte(SERIAL + u16::from(register & 7), value);
    }
}
