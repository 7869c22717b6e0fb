//! Interrupt lines, by the I/O interrupt controllers (82093AA): edge-triggered, all of them to
//! the devices' vector and the first processor.

use guest_abi::bare::VECTOR_DEVICE;

use super::memory;

/// Where the controllers are, one after another, and lines of each.
const FIRST: u64 = 0xfec0_0000;
const DISTANCE: u64 = 0x1_0000;
const LINES: u32 = 24;
const CONTROLLERS: u32 = 2;

/// The two places that are seen.
const SELECT: usize = 0x00;
const WINDOW: usize = 0x10;
const LENGTH: u64 = 0x20;

/// Registers, and where a line's pair begins.
const VERSION: u32 = 1;
const REDIRECTION: u32 = 0x10;

/// Lets a line interrupt; whether there is such a line.
pub(super) fn connect(line: u32) -> bool {
    connect_at(line).is_some()
}

fn connect_at(line: u32) -> Option<()> {
    let (controller, pin) = (line / LINES, line % LINES);
    if controller >= CONTROLLERS {
        return None;
    }
    let place = FIRST + u64::from(controller) * DISTANCE;
    let registers = memory::map_device(place, LENGTH)?;
    registers.write(SELECT, VERSION);
    let version: u32 = registers.read(WINDOW);
    // Where nothing is, all bits are set.
    if version == u32::MAX || pin > version >> 16 & 0xff {
        return None;
    }
    let write = |register: u32, value: u32| {
        registers.write(SELECT, register);
        registers.write(WINDOW, value);
    };
    // To the controller whose number is zero; then fixed, active high, edge, not masked.
    write(REDIRECTION + 2 * pin + 1, 0);
    write(REDIRECTION + 2 * pin, u32::from(VECTOR_DEVICE));
    Some(())
}
