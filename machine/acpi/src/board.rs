//! What a board has, as far as an operating system must be told.

use machine_bus::{GuestAddress, Port};

/// A board. What it lacks is `None`, false or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// Virtual CPUs; their local APICs are numbered from zero.
    pub cpus: u32,
    /// Registers of the local APICs.
    pub local_apic: GuestAddress,
    /// The I/O APIC, whose first input is interrupt 0.
    pub io_apic: IoApic,
    /// Power management.
    pub power: Power,
    /// The PCI host bridge.
    pub pci: Option<Pci>,
    /// Registers of the event timer.
    pub hpet: Option<Hpet>,
    /// Serial ports (16550).
    pub serial: Vec<Serial>,
    /// Clock and CMOS memory at ports `0x70` and `0x71`, interrupt 8.
    pub rtc: bool,
    /// Keyboard controller at ports `0x60` and `0x64`, interrupt 1.
    pub keyboard: bool,
    /// A screen that VGA drivers may probe for.
    pub vga: bool,
    /// Virtio devices outside of PCI.
    pub virtio: Vec<Virtio>,
}

/// An I/O APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Its number.
    pub id: u8,
    /// Its registers; below 4 GiB.
    pub address: GuestAddress,
}

/// The fixed hardware of ACPI (ACPI 6.5, 4.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Power {
    /// PM1a event block: status and enable, 2 bytes each.
    pub event: Port,
    /// PM1a control block, 2 bytes.
    pub control: Port,
    /// Power management timer, 4 bytes, counting in 32 bits.
    pub timer: Port,
    /// The interrupt of the event block; level-triggered, active high.
    pub interrupt: u8,
    /// Where to write what to reset the machine.
    pub reset: (Port, u8),
    /// `SLP_TYP` that powers off.
    pub off: u8,
}

/// A PCI host bridge with the configuration ports `0xcf8` to `0xcff`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pci {
    /// The last bus; the first is 0.
    pub last_bus: u8,
    /// Configuration space in memory, 1 MiB a bus.
    pub ecam: Option<GuestAddress>,
    /// Ports that devices may have; none of them the bridge's own.
    pub ports: Vec<(Port, Port)>,
    /// Memory that devices may have.
    pub memory: Vec<Window>,
    /// The I/O APIC's inputs to which pins go: pin A of device 0 to the first, and with each
    /// pin and each device one further.
    pub inputs: [u32; 4],
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First address.
    pub start: GuestAddress,
    /// Bytes.
    pub length: u64,
}

/// An event timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hpet {
    /// Its registers, 1 KiB.
    pub address: GuestAddress,
    /// The lower half of its capabilities register.
    pub block: u32,
    /// The shortest period without losing a tick, in periods of its counter.
    pub shortest: u16,
}

/// A serial port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serial {
    /// The first of eight ports.
    pub port: Port,
    /// Its interrupt, below 16; edge-triggered.
    pub interrupt: u8,
}

/// A virtio device with its registers in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Virtio {
    /// Its registers.
    pub registers: Window,
    /// The I/O APIC's input; level-triggered, active high.
    pub interrupt: u32,
}
