//! Interrupts by messages: MSI-X (PCI Local Bus 3.0, 6.8.2).
//!
//! A device has one vector for its configuration and all its queues. Messages reach the local
//! interrupt controller of the first processor (SDM vol. 3, 11.11).

use guest_abi::bare::VECTOR_DEVICE;

use super::function::{Bar, Function};
use super::layout;

/// The capability.
const NUMBER: u8 = 0x11;
/// Bytes of it.
const LENGTH: u8 = 12;
/// In its control register.
const SIZE_LESS_ONE: u16 = 0x7ff;
const MASKED: u16 = 1 << 14;
const ENABLED: u16 = 1 << 15;

/// A vector's entry in the table.
const ENTRY: usize = 16;
const ENTRY_ADDRESS: usize = 0;
const ENTRY_DATA: usize = 8;
const ENTRY_CONTROL: usize = 12;
const ENTRY_MASKED: u32 = 1;

/// Messages to the controller whose number is zero.
const ADDRESS: u64 = 0xfee0_0000;

/// Turns messages on, if the function has them; whether it has.
pub(super) fn enable(function: &Function, bars: &[Option<Bar>]) -> bool {
    let capability = function
        .capabilities()
        .find(|&(number, at)| number == NUMBER && at.checked_add(LENGTH - 1).is_some());
    capability.is_some_and(|(_, at)| enable_at(function, bars, at).is_some())
}

fn enable_at(function: &Function, bars: &[Option<Bar>], at: u8) -> Option<()> {
    let count = (function.read16(at + 2) & SIZE_LESS_ONE) + 1;
    let place = function.read32(at + 4);
    let length = u32::from(count) * ENTRY as u32;
    let region = layout::region(bars, (place & 7) as u8, place & !7, length)?;
    let table = function
        .hardware
        .map_registers(region.start, region.length)?;
    function.write16(at + 2, MASKED | ENABLED);
    for vector in 1..usize::from(count) {
        table.write(vector * ENTRY + ENTRY_CONTROL, ENTRY_MASKED);
    }
    table.write_halves(ENTRY_ADDRESS, ADDRESS);
    table.write(ENTRY_DATA, u32::from(VECTOR_DEVICE));
    table.write(ENTRY_CONTROL, 0u32);
    function.write16(at + 2, ENABLED);
    Some(())
}
