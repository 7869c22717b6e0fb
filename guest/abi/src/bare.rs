//! How a kernel at ring 0 asks a Husk monitor for what only that can do: stores to ports.
//!
//! A virtual CPU's number is that of its local interrupt controller. The first starts at the kernel's
//! entry, the others wait to be started as a PC's do, by a start-up message (SDM vol. 3, 9.4).
//!
//! Elsewhere (another monitor, a cloud) nobody answers there, and the kernel uses what the
//! standards say instead.

/// Port: `out dx, eax` with `device << 16 | queue` wakes the device, which sleeps on that queue.
pub const PORT_RING: u16 = 0xb00;
/// Port: `out dx, eax` ends the machine. What there is to say is in the report.
pub const PORT_END: u16 = 0xb04;

/// Port of QEMU's `isa-debug-exit`, where no Husk monitor is: a store ends the machine.
pub const PORT_DEBUG_EXIT: u16 = 0xf4;

/// The vector by which the monitor interrupts a virtual CPU or wakes it: a fixed, edge-triggered
/// interrupt at its local controller.
pub const VECTOR_MONITOR: u8 = 0xf0;
/// The vector of the local timer.
pub const VECTOR_TIMER: u8 = 0xf1;
/// The vector of all devices that the kernel finds by itself: messages of PCI functions, and
/// interrupt lines.
pub const VECTOR_DEVICE: u8 = 0xf2;
/// The vector by which one virtual CPU wakes or interrupts another.
pub const VECTOR_WAKE: u8 = 0xf3;
/// The vector by which one virtual CPU has another do at once what leaves no trace: forget
/// translations, look at the kernel's lock.
pub const VECTOR_CALL: u8 = 0xf4;
/// The vector of spurious interrupts.
pub const VECTOR_SPURIOUS: u8 = 0xff;
