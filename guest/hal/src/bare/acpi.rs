//! What little of ACPI is needed without a Husk monitor: a clock whose frequency is known, how to
//! power off, and which processors there are (ACPI 6.5, chapter 5).
//!
//! The tables are the word of somebody else: what does not fit is left out.

use guest_abi::layout::VCPUS_MAX;
use zerocopy::FromBytes;

/// What the tables say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Acpi {
    /// Port of the power management timer: 3,579,545 Hz, 24 bits or more.
    pub(super) timer: Option<u16>,
    /// Port and value that power the machine off.
    pub(super) power_off: Option<(u16, u16)>,
    /// The processors.
    pub(super) processors: Processors,
}

/// Processors that can be used, by the numbers of their local interrupt controllers: each once, in
/// the tables' order, as many as a machine may have virtual CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Processors {
    numbers: [u32; VCPUS_MAX],
    count: usize,
}

impl Default for Processors {
    fn default() -> Self {
        Self {
            numbers: [0; VCPUS_MAX],
            count: 0,
        }
    }
}

impl Processors {
    /// Their controllers' numbers.
    pub(super) fn numbers(&self) -> &[u32] {
        self.numbers.get(..self.count).unwrap_or_default()
    }

    fn add(&mut self, number: u32) {
        if self.numbers().contains(&number) {
            return;
        }
        if let Some(place) = self.numbers.get_mut(self.count) {
            *place = number;
            self.count += 1;
        }
    }
}

/// Most tables that are looked at.
const TABLES_MAX: u64 = 64;
/// Longest table that is searched.
const TABLE_MAX: u64 = 1 << 20;
const HEADER: u64 = 36;

/// Offsets in the root pointer and in the FADT.
const RSDP_RSDT: u64 = 16;
const RSDP_XSDT: u64 = 24;
const RSDP_REVISION: u64 = 15;
const FADT_DSDT: u64 = 40;
const FADT_PM1A_CONTROL: u64 = 64;
const FADT_TIMER: u64 = 76;
const FADT_FLAGS: u64 = 112;
/// Where the structures of a MADT begin; kinds of them, and where they have the controller's
/// number and the flags (ACPI 6.5, 5.2.12.2 and 5.2.12.12).
const MADT_STRUCTURES: u64 = 44;
const LOCAL: u8 = 0;
const LOCAL_NUMBER: u64 = 3;
const LOCAL_FLAGS: u64 = 4;
const LOCAL_LENGTH: u64 = 8;
const EXTENDED: u8 = 9;
const EXTENDED_NUMBER: u64 = 4;
const EXTENDED_FLAGS: u64 = 8;
const EXTENDED_LENGTH: u64 = 16;
/// Flag of both: the processor can be used.
const ENABLED: u32 = 1;
/// A number that means all controllers.
const EVERYBODY: u8 = 0xff;
/// FADT flag: none of the fixed hardware is there.
const HARDWARE_REDUCED: u32 = 1 << 20;

/// `SLP_EN`, and where `SLP_TYP` goes (ACPI 6.5, 4.8.3.2).
const SLEEP_ENABLE: u16 = 1 << 13;
const SLEEP_TYPE_SHIFT: u16 = 10;

/// Physical memory, as far as it can be read.
type Read<'a> = &'a dyn Fn(u64, &mut [u8]) -> bool;

fn value<T: FromBytes>(read: Read<'_>, at: u64) -> Option<T> {
    let mut bytes = [0; 8];
    let bytes = bytes.get_mut(..size_of::<T>())?;
    read(at, bytes).then(|| T::read_from_bytes(bytes).ok())?
}

/// Reads the tables from their root pointer; zero: there are none.
pub(super) fn read(rsdp: u64, read: Read<'_>) -> Acpi {
    if rsdp == 0 {
        return Acpi::default();
    }
    let fadt = find(rsdp, *b"FACP", read);
    let acpi = fadt.and_then(|fadt| from_fadt(fadt, read));
    let mut processors = Processors::default();
    if let Some(madt) = find(rsdp, *b"APIC", read) {
        // What was found before the table made no sense stays.
        let _ = from_madt(madt, read, &mut processors);
    }
    Acpi {
        processors,
        ..acpi.unwrap_or_default()
    }
}

/// Adds the processors of a MADT; `None` where it ends before its length says so.
fn from_madt(madt: u64, read: Read<'_>, processors: &mut Processors) -> Option<()> {
    let length = u64::from(value::<u32>(read, madt.checked_add(4)?)?).min(TABLE_MAX);
    let mut offset = MADT_STRUCTURES;
    while offset + 2 <= length {
        let at = madt.checked_add(offset)?;
        let kind: u8 = value(read, at)?;
        let size = u64::from(value::<u8>(read, at.checked_add(1)?)?);
        if size < 2 || offset + size > length {
            return None;
        }
        if let Some(number) = processor(kind, at, size, read) {
            processors.add(number);
        }
        offset += size;
    }
    Some(())
}

/// The number of the processor that a structure of a MADT describes, if it can be used.
fn processor(kind: u8, at: u64, size: u64, read: Read<'_>) -> Option<u32> {
    let (number, flags) = match kind {
        LOCAL if size >= LOCAL_LENGTH => {
            let number = value::<u8>(read, at.checked_add(LOCAL_NUMBER)?)?;
            let number = Some(number).filter(|number| *number != EVERYBODY)?;
            (u32::from(number), LOCAL_FLAGS)
        }
        EXTENDED if size >= EXTENDED_LENGTH => {
            let number = value::<u32>(read, at.checked_add(EXTENDED_NUMBER)?)?;
            let number = Some(number).filter(|number| *number != u32::MAX)?;
            (number, EXTENDED_FLAGS)
        }
        _ => return None,
    };
    let flags = value::<u32>(read, at.checked_add(flags)?)?;
    (flags & ENABLED != 0).then_some(number)
}

/// The table with a signature.
fn find(rsdp: u64, signature: [u8; 4], read: Read<'_>) -> Option<u64> {
    let revision: u8 = value(read, rsdp + RSDP_REVISION)?;
    let (list, entry) = if revision >= 2 {
        (value::<u64>(read, rsdp + RSDP_XSDT)?, 8)
    } else {
        (u64::from(value::<u32>(read, rsdp + RSDP_RSDT)?), 4)
    };
    let length = u64::from(value::<u32>(read, list.checked_add(4)?)?);
    let count = length.checked_sub(HEADER)? / entry;
    let tables = (0..count.min(TABLES_MAX)).filter_map(|number| {
        let at = list + HEADER + number * entry;
        if entry == 8 {
            value::<u64>(read, at)
        } else {
            value::<u32>(read, at).map(u64::from)
        }
    });
    tables
        .into_iter()
        .find(|&table| value::<[u8; 4]>(read, table) == Some(signature))
}

fn from_fadt(fadt: u64, read: Read<'_>) -> Option<Acpi> {
    if value::<u32>(read, fadt + FADT_FLAGS)? & HARDWARE_REDUCED != 0 {
        return None;
    }
    let port = |offset| {
        let port = value::<u32>(read, fadt + offset)?;
        u16::try_from(port).ok().filter(|port| *port != 0)
    };
    let dsdt = u64::from(value::<u32>(read, fadt + FADT_DSDT)?);
    let power_off = port(FADT_PM1A_CONTROL).and_then(|control| {
        let kind = sleep_type(dsdt, read)?;
        Some((control, kind << SLEEP_TYPE_SHIFT | SLEEP_ENABLE))
    });
    Some(Acpi {
        timer: port(FADT_TIMER),
        power_off,
        processors: Processors::default(),
    })
}

/// The first element of the package `\_S5` in a table of AML: the value for `SLP_TYPa`.
fn sleep_type(table: u64, read: Read<'_>) -> Option<u16> {
    let length = u64::from(value::<u32>(read, table.checked_add(4)?)?).min(TABLE_MAX);
    let name = (HEADER..length.checked_sub(4)?)
        .find(|&offset| value::<[u8; 4]>(read, table + offset) == Some(*b"_S5_"))?;
    // NameString, PackageOp, PkgLength (1 to 4 bytes), NumElements, then the first element.
    let at = table + name + 4;
    if value::<u8>(read, at)? != 0x12 {
        return None;
    }
    let lead: u8 = value(read, at + 1)?;
    let element = at + 3 + u64::from(lead >> 6);
    let byte = |at| value::<u8>(read, at).map(u16::from);
    match byte(element)? {
        // ZeroOp, OneOp, BytePrefix.
        0 => Some(0),
        1 => Some(1),
        0x0a => byte(element + 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    const RSDP: u64 = 0x100;

    fn put(memory: &mut [u8], at: u64, bytes: &[u8]) {
        memory[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    }

    /// Root pointer, list, FADT, DSDT with a package.
    fn tables(revision: u8, package: &[u8]) -> Vec<u8> {
        let mut memory = vec![0; 0x1000];
        put(&mut memory, RSDP + RSDP_REVISION, &[revision]);
        put(&mut memory, RSDP + RSDP_RSDT, &0x200u32.to_le_bytes());
        put(&mut memory, RSDP + RSDP_XSDT, &0x200u64.to_le_bytes());
        put(&mut memory, 0x204, &52u32.to_le_bytes());
        if revision >= 2 {
            put(&mut memory, 0x224, &0x300u64.to_le_bytes());
            put(&mut memory, 0x22c, &0x400u64.to_le_bytes());
        } else {
            put(&mut memory, 0x224, &0x300u32.to_le_bytes());
            put(&mut memory, 0x228, &0x400u32.to_le_bytes());
        }
        put(&mut memory, 0x300, b"APIC");
        put(&mut memory, 0x400, b"FACP");
        put(&mut memory, 0x400 + FADT_DSDT, &0x600u32.to_le_bytes());
        put(
            &mut memory,
            0x400 + FADT_PM1A_CONTROL,
            &0x604u32.to_le_bytes(),
        );
        put(&mut memory, 0x400 + FADT_TIMER, &0x608u32.to_le_bytes());
        put(&mut memory, 0x600, b"DSDT");
        put(&mut memory, 0x604, &0x100u32.to_le_bytes());
        put(&mut memory, 0x640, b"\x08_S5_");
        put(&mut memory, 0x645, package);
        memory
    }

    fn parse(memory: &[u8]) -> Acpi {
        let look = |at: u64, into: &mut [u8]| {
            let found = memory.get(at as usize..at as usize + into.len());
            found.is_some_and(|bytes| {
                into.copy_from_slice(bytes);
                true
            })
        };
        read(RSDP, &look)
    }

    #[test]
    fn timer_and_power_off_are_found_by_either_list() {
        for revision in [0, 2] {
            let acpi = parse(&tables(revision, &[0x12, 6, 4, 0x0a, 5, 0, 0, 0]));
            assert_eq!(acpi.timer, Some(0x608));
            assert_eq!(acpi.power_off, Some((0x604, 5 << 10 | 1 << 13)));
        }
    }

    #[test]
    fn small_constants_and_long_packages_are_understood() {
        let value = |package: &[u8]| parse(&tables(2, package)).power_off.map(|(_, value)| value);
        assert_eq!(value(&[0x12, 6, 4, 0, 0, 0, 0]), Some(1 << 13));
        assert_eq!(value(&[0x12, 0x46, 0, 4, 1, 0]), Some(1 << 10 | 1 << 13));
        assert_eq!(value(&[0x12, 6, 4, 0x0b, 1, 0]), None);
        assert_eq!(value(&[0x10, 6, 4, 0]), None);
    }

    /// The processors of a MADT with these structures, whose length says `length`.
    fn processors(structures: &[u8], length: u64) -> Vec<u32> {
        let mut memory = tables(2, &[]);
        put(&mut memory, 0x304, &(length as u32).to_le_bytes());
        put(&mut memory, 0x300 + MADT_STRUCTURES, structures);
        parse(&memory).processors.numbers().to_vec()
    }

    const fn local(number: u8, flags: u8) -> [u8; 8] {
        [LOCAL, 8, 0, number, flags, 0, 0, 0]
    }

    const fn extended(number: u8, flags: u8) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[0] = EXTENDED;
        bytes[1] = 16;
        bytes[4] = number;
        bytes[5] = 1;
        bytes[8] = flags;
        bytes
    }

    fn joined(parts: &[&[u8]]) -> (Vec<u8>, u64) {
        let bytes = parts.concat();
        let length = MADT_STRUCTURES + bytes.len() as u64;
        (bytes, length)
    }

    #[test]
    fn processors_that_can_be_used_are_found_once() {
        let (bytes, length) = joined(&[
            &local(0, 1),
            &[1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &local(3, 1),
            &local(2, 0),
            &local(3, 1),
            &local(EVERYBODY, 1),
            &extended(5, 1),
            &extended(6, 2),
        ]);
        assert_eq!(processors(&bytes, length), [0, 3, 0x105]);
    }

    #[test]
    fn a_table_of_processors_that_lies_about_lengths_is_read_as_far_as_it_goes() {
        let (bytes, length) = joined(&[&local(0, 1), &local(1, 1)]);
        assert_eq!(processors(&bytes, length - 1), [0]);
        assert_eq!(processors(&bytes, 10), []);
        let endless = joined(&[&local(4, 1), &[0, 0, 9, 9], &local(5, 1)]).0;
        assert_eq!(processors(&endless, 0x7f), [4]);
        let short = joined(&[&[LOCAL, 4, 0, 7], &local(8, 1)]).0;
        assert_eq!(processors(&short, u64::from(u32::MAX)), [8]);
        assert!(processors(&[0xff; 64], u64::from(u32::MAX)).is_empty());
    }

    #[test]
    fn no_more_processors_are_taken_than_a_machine_may_have() {
        let many: Vec<u8> = (0..200).flat_map(|number| local(number, 1)).collect();
        let mut memory = tables(2, &[]);
        memory.resize(0x3000, 0);
        put(&mut memory, 0x224, &0x2000u64.to_le_bytes());
        put(&mut memory, 0x2000, b"APIC");
        let length = MADT_STRUCTURES as u32 + many.len() as u32;
        put(&mut memory, 0x2004, &length.to_le_bytes());
        put(&mut memory, 0x2000 + MADT_STRUCTURES, &many);
        let found = parse(&memory).processors;
        assert_eq!(found.numbers().len(), VCPUS_MAX);
        assert_eq!(found.numbers().last(), Some(&(VCPUS_MAX as u32 - 1)));
    }

    #[test]
    fn nonsense_says_nothing() {
        assert_eq!(parse(&[0; 0x1000]), Acpi::default());
        assert_eq!(parse(&[0xff; 0x1000]), Acpi::default());
        assert_eq!(parse(&[]), Acpi::default());
        let whole = tables(2, &[0x12, 6, 4, 0]);
        for length in (0..whole.len()).step_by(7) {
            parse(&whole[..length]);
        }
        assert_eq!(read(0, &|_, _| true), Acpi::default());
    }
}
