//! The devices that cannot be found by looking, as AML (ACPI 6.5, chapters 6, 19 and 20).

use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Interrupt, Memory32Fixed, Name,
    Package, PackageBuilder, Path, ResourceTemplate, Scope, ZERO,
};
use acpi_tables::{Aml, AmlSink};

use crate::board::{Board, Pci, Serial, Virtio, Window};

/// Devices of a PCI bus.
const DEVICES: u32 = 32;
/// Pins of a PCI device.
const PINS: u32 = 4;
/// Bytes of memory-mapped configuration space for a bus.
const ECAM_BUS: u64 = 1 << 20;
const HPET_LENGTH: u32 = 0x400;

/// The definition block without its header.
pub(crate) fn body(board: &Board) -> Vec<u8> {
    let mut bytes = Vec::new();
    sleep_state(board).to_aml_bytes(&mut bytes);
    let mut devices: Vec<Vec<u8>> = (0..board.cpus).map(processor).collect();
    devices.extend(board.pci.as_ref().map(host_bridge));
    devices.extend(board.pci.as_ref().and_then(configuration_space));
    devices.extend(board.hpet.map(|hpet| event_timer(hpet.address.0)));
    devices.extend(
        { 1.. }
            .zip(&board.serial)
            .map(|(unit, serial)| serial_port(unit, serial)),
    );
    devices.extend(board.rtc.then(clock));
    devices.extend(board.keyboard.then(keyboard));
    devices.extend(
        (0..)
            .zip(&board.virtio)
            .map(|(unit, virtio)| virtio_device(unit, virtio)),
    );
    bytes.extend(Scope::raw(Path::new("\\_SB_"), devices.concat()));
    bytes
}

/// How to power off.
fn sleep_state(board: &Board) -> Name {
    let off = board.power.off;
    Name::new(
        "\\_S5_".into(),
        &Package::new(vec![&off, &off, &ZERO, &ZERO]),
    )
}

fn processor(unit: u32) -> Vec<u8> {
    device(&format!("C{unit:03X}"), &"ACPI0007", unit, &[])
}

fn host_bridge(pci: &Pci) -> Vec<u8> {
    let mut ranges: Vec<Box<dyn Aml>> = vec![
        Box::new(AddressSpace::new_bus_number(0_u16, pci.last_bus.into())),
        Box::new(IO::new(0xcf8, 0xcf8, 1, 8)),
    ];
    for (first, last) in &pci.ports {
        ranges.push(Box::new(AddressSpace::new_io(first.0, last.0, None)));
    }
    ranges.extend(pci.memory.iter().map(memory_window));
    let resources = resources(&ranges);
    let compatible = Name::new("_CID".into(), &EISAName::new("PNP0A03"));
    let segment = Name::new("_SEG".into(), &ZERO);
    let bus = Name::new("_BBN".into(), &ZERO);
    let routes = routes(pci);
    let children: [&dyn Aml; 5] = [&compatible, &segment, &bus, &resources, &routes];
    device("PCI0", &EISAName::new("PNP0A08"), 0, &children)
}

/// A window of memory, in the narrowest form that has room for it.
fn memory_window(window: &Window) -> Box<dyn Aml> {
    let last = window
        .start
        .0
        .saturating_add(window.length.saturating_sub(1));
    let cacheable = AddressSpaceCacheable::NotCacheable;
    let short = u32::try_from(window.length).is_ok();
    match (u32::try_from(window.start.0), u32::try_from(last)) {
        (Ok(start), Ok(last)) if short => {
            Box::new(AddressSpace::new_memory(cacheable, true, start, last, None))
        }
        _ => Box::new(AddressSpace::new_memory(
            cacheable,
            true,
            window.start.0,
            last,
            None,
        )),
    }
}

/// Which pin of which device goes to which input.
fn routes(pci: &Pci) -> Name {
    let mut table = PackageBuilder::new();
    for device in 0..DEVICES {
        for pin in 0..PINS {
            let function = device << 16 | 0xffff;
            let input = pci.inputs.iter().cycle().nth((device + pin) as usize);
            let input = input.copied().unwrap_or_default();
            table.add_element(&Package::new(vec![&function, &pin, &ZERO, &input]));
        }
    }
    Name::new("_PRT".into(), &table)
}

/// The bridge's configuration space must be somebody's, or Linux does not use it.
fn configuration_space(pci: &Pci) -> Option<Vec<u8>> {
    let length = (u64::from(pci.last_bus) + 1) * ECAM_BUS;
    let start = pci.ecam?;
    let window = memory_fixed(&Window { start, length });
    let resources = resources(&[window]);
    Some(device("MEM0", &EISAName::new("PNP0C02"), 0, &[&resources]))
}

fn event_timer(address: u64) -> Vec<u8> {
    let length = HPET_LENGTH.into();
    let start = machine_bus::GuestAddress(address);
    let resources = resources(&[memory_fixed(&Window { start, length })]);
    device("HPET", &EISAName::new("PNP0103"), 0, &[&resources])
}

fn serial_port(unit: u32, serial: &Serial) -> Vec<u8> {
    let ports = IO::new(serial.port.0, serial.port.0, 1, 8);
    let resources = resources(&[Box::new(ports), Box::new(EdgeInterrupt(serial.interrupt))]);
    device(
        &format!("COM{unit:X}"),
        &EISAName::new("PNP0501"),
        unit,
        &[&resources],
    )
}

fn clock() -> Vec<u8> {
    let ports = IO::new(0x70, 0x70, 1, 2);
    let resources = resources(&[Box::new(ports), Box::new(EdgeInterrupt(8))]);
    device("RTC0", &EISAName::new("PNP0B00"), 0, &[&resources])
}

fn keyboard() -> Vec<u8> {
    let (data, command) = (IO::new(0x60, 0x60, 1, 1), IO::new(0x64, 0x64, 1, 1));
    let interrupt = Box::new(EdgeInterrupt(1));
    let resources = resources(&[Box::new(data), Box::new(command), interrupt]);
    device("KBD0", &EISAName::new("PNP0303"), 0, &[&resources])
}

fn virtio_device(unit: u32, virtio: &Virtio) -> Vec<u8> {
    let interrupt = Interrupt::new(true, false, false, false, virtio.interrupt);
    let resources = resources(&[memory_fixed(&virtio.registers), Box::new(interrupt)]);
    device(&format!("V{unit:03X}"), &"LNRO0005", unit, &[&resources])
}

/// Memory that has its place for good.
fn memory_fixed(window: &Window) -> Box<dyn Aml> {
    match (u32::try_from(window.start.0), u32::try_from(window.length)) {
        (Ok(start), Ok(length)) => Box::new(Memory32Fixed::new(true, start, length)),
        _ => Box::new(HighMemory(*window)),
    }
}

fn resources(resources: &[Box<dyn Aml>]) -> Name {
    let resources = resources.iter().map(AsRef::as_ref).collect();
    Name::new("_CRS".into(), &ResourceTemplate::new(resources))
}

fn device(name: &str, kind: &dyn Aml, unit: u32, children: &[&dyn Aml]) -> Vec<u8> {
    let kind = Name::new("_HID".into(), kind);
    let unit = Name::new("_UID".into(), &unit);
    let mut all: Vec<&dyn Aml> = vec![&kind, &unit];
    all.extend(children);
    let mut bytes = Vec::new();
    Device::new(name.into(), all).to_aml_bytes(&mut bytes);
    bytes
}

/// Memory beyond the narrow form, consumed and not handed on (ACPI 6.5, 6.4.3.5.1).
struct HighMemory(Window);

impl Aml for HighMemory {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let Window { start, length } = self.0;
        let last = start.0.saturating_add(length.saturating_sub(1));
        sink.byte(0x8a);
        sink.word(0x2b);
        // Memory; consumed, both ends fixed; writable, not cached.
        sink.vec(&[0, 0b1101, 1]);
        for field in [0, start.0, last, 0, length] {
            sink.qword(field);
        }
    }
}

/// An interrupt of the ISA bus: edge-triggered, active high (ACPI 6.5, 6.4.2.1).
struct EdgeInterrupt(u8);

impl Aml for EdgeInterrupt {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x22);
        sink.word(1_u16.checked_shl(self.0.into()).unwrap_or_default());
    }
}
