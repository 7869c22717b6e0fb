//! The tables that are structures (ACPI 6.5, 5.2; PCI Firmware 3.3, 4.1; IA-PC HPET 1.0a, 3.2.4).

use acpi_tables::fadt::{FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{
    EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic,
};
use acpi_tables::mcfg::MCFG;
use acpi_tables::sdt::Sdt;
use acpi_tables::{Aml, AmlSink};
use machine_bus::{GuestAddress, Port};

use crate::board::{Board, Hpet, Pci};
use crate::{OEM, REVISION, TABLE};

/// `IAPC_BOOT_ARCH`: what an operating system must not look for.
const LEGACY_DEVICES: u16 = 1;
const KEYBOARD: u16 = 1 << 1;
const NO_VGA: u16 = 1 << 2;
const NO_RTC: u16 = 1 << 5;
/// Where CMOS memory has the century.
const CENTURY: u8 = 0x32;
/// Local APICs from here on need the longer structure.
const X2APIC_FROM: u32 = 255;
/// The pair of 8259 is there as well.
const PCAT_COMPAT: u32 = 1;
/// Offset of the flags in the MADT.
const MADT_FLAGS: usize = 40;
/// A header and nothing else.
const HEADER: u32 = 36;

/// Polarity and trigger mode of an interrupt source.
const ACTIVE_HIGH_LEVEL: u16 = 0b1101;
const AS_THE_BUS: u16 = 0;

/// The fixed description.
pub(crate) fn fadt(board: &Board, facs: u32, dsdt: u32) -> Vec<u8> {
    let power = board.power;
    let mut table = FADTBuilder::new(OEM, TABLE, REVISION)
        .preferred_pm_profile(PmProfile::EnterpriseServer)
        .flag(Flags::Wbinvd)
        .flag(Flags::ProcC1)
        // No sleep button; the power button is the event block's.
        .flag(Flags::SlpButton)
        .flag(Flags::FixRtc)
        .flag(Flags::TmrValExt)
        .flag(Flags::ResetRegSup)
        .firmware_ctrl_32(facs)
        .dsdt_64(dsdt.into());
    // Xen, as older systems do, wants both widths of a pointer to say the same.
    table.dsdt = dsdt.into();
    table.x_firmware_ctrl = u64::from(facs).into();
    table.sci_int = u16::from(power.interrupt).into();
    table.pm1a_evt_blk = u32::from(power.event.0).into();
    table.pm1a_cnt_blk = u32::from(power.control.0).into();
    table.pm_tmr_blk = u32::from(power.timer.0).into();
    (table.pm1_evt_len, table.pm1_cnt_len, table.pm_tmr_len) = (4, 2, 4);
    table.x_pm1a_evt_blk = port(power.event, 32, AccessSize::WordAccess);
    table.x_pm1a_cnt_blk = port(power.control, 16, AccessSize::WordAccess);
    table.x_pm_tmr_blk = port(power.timer, 32, AccessSize::DwordAccess);
    // More than 100 and 1000 us: there is no such state.
    table.p_lvl2_lat = 0xfff.into();
    table.p_lvl3_lat = 0xfff.into();
    table.reset_reg = port(power.reset.0, 8, AccessSize::ByteAccess);
    table.reset_value = power.reset.1;
    table.century = if board.rtc { CENTURY } else { 0 };
    table.iapc_boot_arch = boot_flags(board).into();
    bytes(&table.finalize())
}

fn boot_flags(board: &Board) -> u16 {
    let legacy = board.keyboard || !board.serial.is_empty();
    let flags = [
        (legacy, LEGACY_DEVICES),
        (board.keyboard, KEYBOARD),
        (!board.vga, NO_VGA),
        (!board.rtc, NO_RTC),
    ];
    let set = flags.into_iter().filter(|(is, _)| *is);
    set.fold(0, |sum, (_, flag)| sum | flag)
}

fn port(port: Port, bits: u8, access: AccessSize) -> GAS {
    GAS::new(AddressSpace::SystemIo, bits, 0, access, port.0.into())
}

/// Who interrupts whom.
pub(crate) fn madt(board: &Board) -> Vec<u8> {
    let address = LocalInterruptController::Address(board.local_apic.0 as u32);
    let mut table = MADT::new(OEM, TABLE, REVISION, address);
    for id in 0..board.cpus.min(X2APIC_FROM) {
        let (unit, status) = (id as u8, EnabledStatus::Enabled);
        table.add_structure(ProcessorLocalApic::new(unit, unit, status));
    }
    let io_apic = board.io_apic;
    table.add_structure(IoApic::new(io_apic.id, io_apic.address.0 as u32, 0));
    let mut table = bytes(&table);
    for id in X2APIC_FROM..board.cpus {
        table.extend(x2apic(id));
    }
    // The PIT is at input 2, as on every PC; the SCI is a level on a bus of edges.
    table.extend(source_override(0, 2, AS_THE_BUS));
    let sci = board.power.interrupt;
    table.extend(source_override(sci, sci.into(), ACTIVE_HIGH_LEVEL));
    table.extend(LOCAL_NMI);
    if board.cpus > X2APIC_FROM {
        table.extend(LOCAL_X2APIC_NMI);
    }
    with_flags(&table)
}

/// Non-maskable interrupts come by LINT1 of every local APIC, as the bus has them.
const LOCAL_NMI: [u8; 6] = [4, 6, 0xff, 0, 0, 1];
const LOCAL_X2APIC_NMI: [u8; 12] = [10, 12, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0];

fn x2apic(id: u32) -> [u8; 16] {
    let mut entry = [0; 16];
    let [kind, length, ..] = &mut entry;
    (*kind, *length) = (9, 16);
    for (word, value) in entry.chunks_exact_mut(4).skip(1).zip([id, 1, id]) {
        word.copy_from_slice(&value.to_le_bytes());
    }
    entry
}

fn source_override(source: u8, input: u32, flags: u16) -> [u8; 10] {
    let ([a, b, c, d], [e, f]) = (input.to_le_bytes(), flags.to_le_bytes());
    [2, 10, 0, source, a, b, c, d, e, f]
}

/// Sets length, flags and checksum anew after something was appended.
fn with_flags(table: &[u8]) -> Vec<u8> {
    let mut whole = table_with(
        *b"APIC",
        5,
        table.get(HEADER as usize..).unwrap_or_default(),
    );
    whole.write_u32(MADT_FLAGS, PCAT_COMPAT);
    bytes(&whole)
}

/// A table with this after its header.
pub(crate) fn table_with(signature: [u8; 4], revision: u8, rest: &[u8]) -> Sdt {
    let mut table = Sdt::new(signature, HEADER, revision, OEM, TABLE, REVISION);
    table.append_slice(rest);
    table
}

/// Where PCI's configuration space is in memory.
pub(crate) fn mcfg(pci: &Pci) -> Option<Vec<u8>> {
    let mut table = MCFG::new(OEM, TABLE, REVISION);
    table.add_ecam(pci.ecam?.0, 0, 0, pci.last_bus);
    Some(bytes(&table))
}

/// The event timer.
pub(crate) fn hpet(hpet: Hpet) -> Vec<u8> {
    let mut rest = hpet.block.to_le_bytes().to_vec();
    memory(hpet.address).to_aml_bytes(&mut rest);
    // Its number.
    rest.byte(0);
    rest.word(hpet.shortest);
    // Its page has nothing else to protect.
    rest.byte(0);
    bytes(&table_with(*b"HPET", 1, &rest))
}

fn memory(address: GuestAddress) -> GAS {
    GAS::new(
        AddressSpace::SystemMemory,
        64,
        0,
        AccessSize::Undefined,
        address.0,
    )
}

pub(crate) fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}
