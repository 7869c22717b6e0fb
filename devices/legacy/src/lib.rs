//! The legacy chips of a PC, as an operating system expects to find them.
//!
//! * [`uart`]: 16550A serial port.
//! * [`pic`]: two cascaded 8259A interrupt controllers.
//! * [`pit`]: 8254 timer and the speaker port.
//! * [`rtc`]: MC146818 clock and CMOS memory.
//! * [`i8042`]: keyboard controller, with a keyboard.
//! * [`pm_timer`]: ACPI power management timer and PM1 registers.
//! * [`hpet`]: high precision event timer.
//! * [`ioapic`], [`lapic`]: I/O APIC and local APIC.
//! * [`debug_exit`]: a port that ends the machine.
//!
//! A chip is a pure state machine: register accesses and input pins go in, values and the
//! level of its interrupt pin come out. It calls nobody: what it asks of the outside waits
//! in a `take_*` method or is returned. It reads no clock: whoever calls it says what time it is in the
//! machine ([`Nanos`]); a time before one already seen counts as that one. It knows no
//! address: offsets start at zero, one outside of the chip reads `0xff` and ignores what
//! is written. Attaching chips to ports, lines and host files is the work of others.
//!
//! No sequence of calls with whatever values makes a chip panic, and the work of a call
//! does not depend on how much time has passed.
//!
//! Each chip `Foo` has a plain `FooState`. `Foo::save` copies it out; `Foo::restore`
//! makes a chip of it and refuses states that no chip can be in. The times inside are
//! those of the machine's clock, which has to go on where it stood.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

pub mod debug_exit;
pub mod hpet;
pub mod i8042;
pub mod ioapic;
pub mod lapic;
pub mod pic;
pub mod pit;
pub mod pm_timer;
pub mod rtc;
pub mod uart;

mod time;

pub use machine_bus::Nanos;

/// What the bus reads where nothing answers.
const FLOATING: u8 = 0xff;

/// A saved state in which the chip cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("state of {chip}: {field}: {reason}")]
pub struct StateError {
    /// The chip.
    pub chip: &'static str,
    /// The field of its state, as in the source.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Checks one field of a state.
fn require(
    holds: bool,
    chip: &'static str,
    field: &'static str,
    reason: &'static str,
) -> Result<(), StateError> {
    if holds {
        return Ok(());
    }
    Err(StateError {
        chip,
        field,
        reason,
    })
}
