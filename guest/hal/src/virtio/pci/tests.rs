//! Functions made of memory, right ones and odd ones.

extern crate std;

use super::*;
use crate::hardware::fake::{Fake, Space, registers, same};
use crate::virtio::wire::{begin, packets, requests};

const COMMON_AT: u64 = 0x10_0000_0000;
const TABLE_AT: u64 = 0xfe00_0000;
const PLACE: u16 = 3 << 3;

/// A virtio capability.
fn capability(next: u8, length: u8, kind: u8, bar: u8, offset: u32, size: u32) -> [u8; 16] {
    let mut bytes = [9, next, length, kind, bar, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes[8..12].copy_from_slice(&offset.to_le_bytes());
    bytes[12..].copy_from_slice(&size.to_le_bytes());
    bytes
}

/// A file system as QEMU shows one: messages in the second register's memory, the rest in the
/// fifth's, which is wide.
fn space() -> Space {
    let mut space = Space::default();
    space.put(0, &[0xf4, 0x1a, 0x5a, 0x10]);
    space.put(0x06, &[0x10, 0]);
    space.put(0x34, &[0x98]);
    space.put(0x14, &(TABLE_AT as u32).to_le_bytes());
    space.put(0x20, &[0x0c, 0, 0, 0, 0x10, 0, 0, 0]);
    space.masks = [0, 0xffff_f000, 0, 0, 0xffff_c000, 0xffff_ffff];
    space.put(0x98, &[0x11, 0x40, 2, 0, 1, 0, 0, 0, 1, 8, 0, 0]);
    space.put(0x40, &capability(0x54, 16, KIND_COMMON, 4, 0, 0x1000));
    space.put(0x54, &capability(0x64, 16, KIND_DEVICE, 4, 0x2000, 0x1000));
    space.put(0x64, &capability(0, 20, KIND_NOTIFY, 4, 0x3000, 0x1000));
    space.put(0x74, &[4, 0, 0, 0]);
    space
}

const KIND_COMMON: u8 = 1;
const KIND_NOTIFY: u8 = 2;
const KIND_DEVICE: u8 = 4;

/// The machine with that function, and the function's memory.
fn machine(space: Space) -> (&'static Fake, Registers, Registers) {
    let fake = Fake::leaked();
    let (shown, table) = (registers(0x4000), registers(0x1000));
    let memory = [(COMMON_AT, same(&shown)), (TABLE_AT, same(&table))];
    fake.memory.lock().unwrap().extend(memory);
    fake.functions.lock().unwrap().insert(PLACE, space);
    (fake, shown, table)
}

fn transport(space: Space) -> Option<PciTransport> {
    let (hardware, ..) = machine(space);
    let place = PLACE;
    PciTransport::new(Function { hardware, place }, 26)
}

#[test]
fn a_device_is_found_and_its_registers_are_where_it_says() {
    let (fake, shown, table) = machine(space());
    let function = functions(fake).pop().unwrap();
    assert_eq!(layout::device_number(&function), Some(26));
    let bars = function.bars();
    let bar = |start, length| Some(Bar { start, length });
    let expected = [
        None,
        bar(TABLE_AT, 0x1000),
        None,
        None,
        bar(COMMON_AT, 0x4000),
        None,
    ];
    assert_eq!(bars, expected);
    let mut device = PciTransport::new(function, 26).unwrap();
    assert_eq!(function.command() & COMMAND_MEMORY, COMMAND_MEMORY);
    shown.write(0x2000, *b"root");
    let mut tag = [0; 4];
    assert_eq!(device.configuration(0, &mut tag), Some(()));
    assert_eq!(&tag, b"root");
    assert_eq!(device.configuration(0xffe, &mut tag), None);
    device.prepare();
    assert!(device.interrupts());
    assert_eq!(table.read::<u64>(0), 0xfee0_0000);
    assert_eq!(table.read::<u32>(8), 0xf2);
    let controls = [0, 1, 2, 3].map(|vector| table.read::<u32>(vector * 16 + 12));
    assert_eq!(controls, [0, 1, 1, 0]);
    assert_eq!(function.read16(0x9a) & 0xc000, 0x8000);
}

#[test]
fn a_device_is_set_up_and_its_bell_is_where_it_says() {
    crate::hosted::initialize();
    let (fake, shown, _) = machine(space());
    let mut device = find(fake, 26, &mut Some).unwrap();
    device.prepare();
    shown.write(FEATURES, u32::MAX);
    shown.write(QUEUE_COUNT, 2u16);
    shown.write(QUEUE_SIZE, 128u16);
    shown.write(QUEUE_NOTIFY, 3u16);
    // The fake remembers one queue only.
    let features = begin(&mut device, 1).unwrap();
    assert_eq!(features, 1 | 3 << 32);
    assert_eq!(shown.read::<u8>(STATUS), 0xb);
    requests(&mut device, features, 0).unwrap();
    device.finish_init();
    assert_eq!(shown.read::<u16>(QUEUE_ENABLE), 1);
    assert_eq!(shown.read::<u16>(QUEUE_VECTOR), 0);
    assert_eq!(shown.read::<u16>(QUEUE_SIZE), 64);
    assert_eq!(shown.read::<u8>(STATUS), 0xf);
    shown.write(0x3000 + 12, 7u16);
    device.bell(0).unwrap().ring();
    assert_eq!(shown.read::<u16>(0x3000 + 12), 0);
    assert!(find(fake, 26, &mut Some).is_none(), "it is in use");
}

#[test]
fn a_device_that_has_too_little_is_not_set_up() {
    crate::hosted::initialize();
    let refused = |prepare: &dyn Fn(&Registers)| {
        let (fake, shown, _) = machine(space());
        let mut device = PciTransport::new(functions(fake).pop().unwrap(), 26).unwrap();
        shown.write(FEATURES, u32::MAX);
        shown.write(QUEUE_COUNT, 1u16);
        shown.write(QUEUE_SIZE, 128u16);
        prepare(&shown);
        let features = begin(&mut device, 0);
        features
            .and_then(|features| requests(&mut device, features, 0))
            .is_err()
    };
    assert!(!refused(&|_| {}));
    assert!(refused(&|shown| shown.write(FEATURES, 0u32)));
    assert!(refused(&|shown| shown.write(QUEUE_COUNT, 0u16)));
    assert!(refused(&|shown| shown.write(QUEUE_SIZE, 32u16)));
    assert!(refused(&|shown| shown.write(QUEUE_NOTIFY, 0x400u16)));
    assert!(refused(&|shown| shown.write(QUEUE_NOTIFY, u16::MAX)));
}

#[test]
fn a_queue_for_packets_is_as_long_as_the_device_has_room_for() {
    crate::hosted::initialize();
    let size = |most: u16| {
        let (fake, shown, _) = machine(space());
        let mut device = PciTransport::new(functions(fake).pop().unwrap(), 26).unwrap();
        shown.write(QUEUE_COUNT, 1u16);
        shown.write(QUEUE_SIZE, most);
        let queue = packets(&mut device, 0, 0);
        queue.map(|_| {
            (
                shown.read::<u16>(QUEUE_SIZE),
                shown.read::<u16>(QUEUE_ENABLE),
            )
        })
    };
    assert_eq!(size(1024), Ok((256, 1)));
    assert_eq!(size(256), Ok((256, 1)));
    assert_eq!(size(200), Ok((128, 1)));
    assert_eq!(size(1), Ok((1, 1)));
    assert_eq!(size(0), Err(crate::virtio::DeviceError));
}

#[test]
fn odd_capabilities_are_no_device() {
    let with = |change: &dyn Fn(&mut Space)| {
        let mut space = space();
        change(&mut space);
        transport(space).is_some()
    };
    assert!(with(&|_| {}));
    let odd: &[&dyn Fn(&mut Space)] = &[
        // No list, a list that begins nowhere, loops, and one that leads out.
        &|space| space.put(0x06, &[0]),
        &|space| space.put(0x34, &[0]),
        &|space| space.put(0x34, &[0x3c]),
        &|space| space.put(0x99, &[0x98]),
        &|space| space.put(0x55, &[0x40]),
        &|space| space.put(0x41, &[0xfc]),
        // Lengths.
        &|space| space.put(0x42, &[15]),
        &|space| space.put(0x66, &[16]),
        // Base address registers that do not exist, show ports, or have no address.
        &|space| space.put(0x44, &[6]),
        &|space| space.put(0x44, &[255]),
        &|space| space.put(0x44, &[5]),
        &|space| space.put(0x20, &[0x01]),
        &|space| space.put(0x24, &[0]),
        &|space| space.masks = [0; 6],
        &|space| space.masks[4] = 0xffff_8ff0,
        &|space| space.put(0x24, &u32::MAX.to_le_bytes()),
        // Ranges that are not inside, or too short.
        &|space| space.put(0x48, &0x3001u32.to_le_bytes()),
        &|space| space.put(0x48, &u32::MAX.to_le_bytes()),
        &|space| space.put(0x4c, &0x4001u32.to_le_bytes()),
        &|space| space.put(0x4c, &55u32.to_le_bytes()),
        &|space| space.put(0x4c, &0u32.to_le_bytes()),
    ];
    for (number, change) in odd.iter().enumerate() {
        assert!(!with(change), "{number}");
    }
}

#[test]
fn a_device_without_usable_messages_is_looked_at() {
    let with = |change: &dyn Fn(&mut Space)| {
        let mut space = space();
        change(&mut space);
        let mut device = transport(space).unwrap();
        device.prepare();
        device.interrupts()
    };
    assert!(with(&|_| {}));
    assert!(!with(&|space| space.put(0x34, &[0x40])));
    assert!(!with(&|space| space.put(0x9c, &[7])));
    assert!(!with(&|space| space.put(0x9c, &[1, 0x10])));
    assert!(!with(&|space| space.put(0x9a, &[0xff, 0x07])));
}

#[test]
fn bridges_are_followed_once() {
    let fake = Fake::leaked();
    let add = |place, header, bus| {
        let mut space = Space::default();
        space.put(0, &[0x34, 0x12]);
        space.put(0x0e, &[header]);
        space.put(0x19, &[bus]);
        fake.functions.lock().unwrap().insert(place, space);
    };
    add(0x0008, 1, 5);
    add(0x0500, 0x81, 0);
    add(0x0503, 1, 5);
    add(0x0510, 0, 0);
    add(0x0517, 0, 0);
    add(0x00fa, 0, 0);
    let places: Vec<_> = functions(fake)
        .iter()
        .map(|function| function.place)
        .collect();
    assert_eq!(places, [0x0008, 0x0500, 0x0503, 0x0510]);
}
