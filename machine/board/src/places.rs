//! Every address and interrupt of the board.

use std::ops::RangeInclusive;

use machine_bus::{GuestAddress, Port};

/// First serial port (16550), 8 ports.
pub const COM1: Port = Port(0x3f8);
/// Its interrupt.
pub const COM1_INTERRUPT: u8 = 4;
/// Interval timer (8254), 4 ports.
pub const PIT: Port = Port(0x40);
/// The timer's interrupt, which the I/O APIC has at its input 2.
pub const PIT_INTERRUPT: u8 = 0;
/// System control port, with the timer's third channel.
pub const SYSTEM_CONTROL: Port = Port(0x61);
/// Clock and CMOS memory (MC146818), 2 ports.
pub const RTC: Port = Port(0x70);
/// Its interrupt.
pub const RTC_INTERRUPT: u8 = 8;
/// Keyboard controller (i8042): data.
pub const KEYBOARD_DATA: Port = Port(0x60);
/// Keyboard controller: status and commands.
pub const KEYBOARD_COMMAND: Port = Port(0x64);
/// Its interrupt.
pub const KEYBOARD_INTERRUPT: u8 = 1;
/// A byte written here ends the machine with that status.
pub const DEBUG_EXIT: Port = Port(0xf4);
/// Power management events, 4 ports, then control, 2 ports.
pub const PM1: Port = Port(0x600);
/// Power management control.
pub const PM1_CONTROL: Port = Port(0x604);
/// Power management timer, 4 ports.
pub const PM_TIMER: Port = Port(0x608);
/// Their interrupt (SCI), level-triggered.
pub const PM_INTERRUPT: u8 = 9;
/// `SLP_TYP` that powers off.
pub const PM_OFF: u8 = 5;
/// Configuration of PCI, 8 ports.
pub const PCI_CONFIG: Port = Port(0xcf8);
/// Reset control, among those.
pub const RESET: Port = Port(0xcf9);
/// What written to it resets.
pub const RESET_VALUE: u8 = 6;
/// Configuration of PCI in memory.
pub const PCI_ECAM: GuestAddress = GuestAddress(0xe000_0000);
/// Memory of PCI devices.
pub const PCI_MEMORY: RangeInclusive<u64> = 0xc000_0000..=0xdfff_ffff;
/// Ports that PCI devices could have; none of ours does.
pub const PCI_PORTS: (Port, Port) = (Port(0x1000), Port(0xffff));
/// The I/O APIC's inputs for the pins of PCI devices.
pub const PCI_INPUTS: [u32; 4] = [16, 17, 18, 19];
/// Registers of the event timer (HPET), 1 KiB.
pub const HPET: GuestAddress = GuestAddress(0xfed0_0000);
/// The I/O APIC's inputs that its timers can be routed to; nobody else has them.
pub const HPET_INPUTS: [u32; 4] = [20, 21, 22, 23];
/// The shortest period without losing a tick, in its ticks: 100 microseconds.
pub const HPET_SHORTEST: u16 = 10_000;
/// Registers of the I/O APIC.
pub const IO_APIC: GuestAddress = GuestAddress(0xfec0_0000);
/// Registers of the local APICs.
pub const LOCAL_APIC: GuestAddress = GuestAddress(0xfee0_0000);
