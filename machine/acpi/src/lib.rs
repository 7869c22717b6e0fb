//! Describes a [`Board`] to an operating system as ACPI tables (ACPI 6.5).
//!
//! [`tables`] is a pure function: from the description to bytes and where they go, at
//! [`START`] and behind. The root pointer is at [`START`], where systems also look for it by
//! themselves. The devices that can be found by looking, those of PCI, are not in the tables;
//! whether what is described exists is the board's business. There is no sleeping but power-off,
//! and nothing changes while the machine runs.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)
)]

mod board;
mod dsdt;
mod fixed;

pub use board::{Board, Hpet, IoApic, Pci, Power, Serial, Virtio, Window};

use acpi_tables::facs::FACS;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::xsdt::XSDT;
use machine_bus::{GuestAddress, Port};

/// The root pointer's address.
pub const START: GuestAddress = GuestAddress(0xe_0000);
/// The tables end at or before this.
pub const END: GuestAddress = GuestAddress(0x10_0000);
/// Most virtual CPUs: their names have three digits of sixteen.
pub const CPUS_MAX: u32 = 4096;
/// Most serial ports: their names have one digit.
pub const SERIAL_MAX: usize = 15;
/// Most virtio devices: as for virtual CPUs.
pub const VIRTIO_MAX: usize = 4096;

const OEM: [u8; 6] = *b"HUSK  ";
const TABLE: [u8; 8] = *b"HUSKVM  ";
const REVISION: u32 = 1;
/// Every table begins at a multiple of this; the FACS must.
const ALIGNMENT: u32 = 64;
const DSDT_REVISION: u8 = 2;

/// A board cannot be described.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AcpiError {
    /// More of something than there are names for.
    #[error("the machine has {count} {what}, the limit is {limit} (ask for fewer)")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The tables are longer than the place for them.
    #[error("the ACPI tables have {0} bytes, the limit is {limit} (ask for fewer CPUs or devices)", limit = END.0 - START.0)]
    TooLong(u64),
    /// An address or a number is not where it can be described.
    #[error("the board's {0}")]
    Board(&'static str),
}

/// The tables of a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// The root pointer.
    pub rsdp: GuestAddress,
    /// Where they end; the first is at [`START`].
    pub end: GuestAddress,
    /// What goes where.
    pub pieces: Vec<(GuestAddress, Vec<u8>)>,
}

/// The tables that describe `board`.
///
/// # Errors
/// When the board has more than can be described, or contradicts itself.
pub fn tables(board: &Board) -> Result<Tables, AcpiError> {
    check(board)?;
    let mut places = Places::default();
    let root = places.reserve(Rsdp::len());
    let facs = places.put(fixed::bytes(&FACS::new()))?;
    let dsdt = fixed::table_with(*b"DSDT", DSDT_REVISION, &dsdt::body(board));
    let dsdt = places.put(fixed::bytes(&dsdt))?;
    let mut listed = vec![fixed::fadt(board, facs, dsdt), fixed::madt(board)];
    listed.extend(board.pci.as_ref().and_then(fixed::mcfg));
    listed.extend(board.hpet.map(fixed::hpet));
    let mut list = XSDT::new(OEM, TABLE, REVISION);
    for table in listed {
        list.add_entry(places.put(table)?.into());
    }
    let list = places.put(fixed::bytes(&list))?;
    let rsdp = fixed::bytes(&Rsdp::new(OEM, list.into()));
    let mut pieces = places.pieces;
    pieces.insert(0, (root, rsdp));
    Ok(Tables {
        rsdp: root,
        end: GuestAddress(START.0 + u64::from(places.next)),
        pieces,
    })
}

/// Lays tables one behind the other.
#[derive(Default)]
struct Places {
    next: u32,
    pieces: Vec<(GuestAddress, Vec<u8>)>,
}

impl Places {
    fn reserve(&mut self, length: usize) -> GuestAddress {
        let address = GuestAddress(START.0 + u64::from(self.next));
        let end = self
            .next
            .saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
        self.next = end.checked_next_multiple_of(ALIGNMENT).unwrap_or(u32::MAX);
        address
    }

    /// Returns the address.
    fn put(&mut self, table: Vec<u8>) -> Result<u32, AcpiError> {
        let address = self.reserve(table.len());
        let room = END.0 - START.0;
        if u64::from(self.next) > room {
            return Err(AcpiError::TooLong(self.next.into()));
        }
        self.pieces.push((address, table));
        Ok(address.0 as u32)
    }
}

fn check(board: &Board) -> Result<(), AcpiError> {
    let at_most = |what, count, limit| {
        let error = AcpiError::TooMany { what, count, limit };
        (count <= limit).then_some(()).ok_or(error)
    };
    at_most("virtual CPUs", board.cpus as usize, CPUS_MAX as usize)?;
    at_most("serial ports", board.serial.len(), SERIAL_MAX)?;
    at_most("virtio devices", board.virtio.len(), VIRTIO_MAX)?;
    let right = [
        (board.cpus > 0, "list of virtual CPUs is empty"),
        (is_low(board.local_apic), "local APICs are not below 4 GiB"),
        (is_low(board.io_apic.address), "I/O APIC is not below 4 GiB"),
        (board.power.off < 8, "sleep type has more than 3 bits"),
        (
            board.serial.iter().all(|serial| serial.interrupt < 16),
            "serial port has an interrupt above 15",
        ),
        (
            board.power.interrupt < 16,
            "power management has an interrupt above 15",
        ),
        (
            board.virtio.iter().all(|virtio| ends(&virtio.registers)),
            "virtio device's registers are nowhere",
        ),
        (
            board
                .pci
                .as_ref()
                .is_none_or(|pci| pci.memory.iter().all(ends)),
            "PCI memory is empty or ends nowhere",
        ),
        (
            board
                .pci
                .as_ref()
                .is_none_or(|pci| pci.ports.iter().all(ports_exist)),
            "PCI ports are none, or all",
        ),
    ];
    let wrong = right.into_iter().find(|(right, _)| !right);
    wrong.map_or(Ok(()), |(_, what)| Err(AcpiError::Board(what)))
}

fn is_low(address: GuestAddress) -> bool {
    u32::try_from(address.0).is_ok()
}

fn ends(window: &Window) -> bool {
    window.length > 0 && window.start.checked_add(window.length).is_some()
}

/// All ports would be one more than a 16-bit length can say.
fn ports_exist((first, last): &(Port, Port)) -> bool {
    first <= last && (first.0, last.0) != (0, u16::MAX)
}
