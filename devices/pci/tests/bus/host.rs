//! Configuration, base address registers, and how the buses reach them.

use std::sync::Arc;

use device_pci::{
    Bar, ConfigPorts, ConfigSpace, Description, Ecam, PciError, PciHost, Room, Width, Window,
};
use machine_bus::{Device, NoLine};

use crate::fake::{Bench, Fake, Messages, Wire};

fn ports(bench: &Bench) -> ConfigPorts {
    ConfigPorts::new(Arc::clone(&bench.host), Arc::new(NoLine))
}

fn read<const N: usize>(device: &dyn Device, offset: u64) -> [u8; N] {
    let mut data = [0; N];
    device.read(offset, &mut data);
    data
}

#[test]
fn linux_finds_mechanism_1_and_a_host_bridge() {
    let bench = Bench::new();
    let ports = ports(&bench);
    ports.write(3, &[1]);
    ports.write(0, &0x8000_0000_u32.to_le_bytes());
    assert_eq!(read(&ports, 0), 0x8000_0000_u32.to_le_bytes());
    ports.write(0, &0x8000_0008_u32.to_le_bytes());
    assert_eq!(read(&ports, 6), [0, 6]);
    ports.write(0, &0_u32.to_le_bytes());
    assert_eq!(read(&ports, 4), [0xff; 4]);
}

#[test]
fn configuration_is_the_same_through_ports_and_memory() {
    let bench = Bench::new();
    let (ports, ecam) = (ports(&bench), Ecam::new(Arc::clone(&bench.host)));
    for register in (0..256_u32).step_by(4) {
        ports.write(0, &(0x8000_0800 | register).to_le_bytes());
        let (byte, word): ([u8; 1], [u8; 2]) = (read(&ports, 7), read(&ports, 6));
        let whole: [u8; 4] = read(&ecam, 1 << 15 | u64::from(register));
        assert_eq!(read(&ports, 4), whole);
        assert_eq!((byte[0], word), (whole[3], [whole[2], whole[3]]));
    }
    // No extended capabilities, no other functions, no other buses, no empty slots.
    assert_eq!(read(&ecam, 1 << 15 | 0x100), [0; 4]);
    assert_eq!(read(&ecam, 1 << 15 | 1 << 12), [0xff; 4]);
    assert_eq!(read(&ecam, 3 << 15), [0xff; 4]);
    ports.write(0, &0x8001_0000_u32.to_le_bytes());
    assert_eq!(read(&ports, 4), [0xff; 4]);
}

#[test]
fn the_reset_port_resets_when_its_bit_rises() {
    let wire = Arc::new(Wire::default());
    let ports = ConfigPorts::new(Arc::new(PciHost::new()), wire.clone());
    ports.write(1, &[0x02]);
    assert!(!wire.level());
    ports.write(1, &[0x06]);
    assert!(wire.level());
    assert_eq!(read(&ports, 1), [0x06]);
}

#[test]
fn registers_are_sized_by_ones() {
    let bench = Bench::new();
    for (register, size) in [(0x10, 0xffff_f000), (0x18, 0xffff_c004), (0x1c, u32::MAX)] {
        bench.write(1, register, u32::MAX);
        assert_eq!(bench.read(1, register), size);
    }
    // There is no register 1, and no ROM.
    for register in [0x14, 0x20, 0x30] {
        bench.write(1, register, u32::MAX);
        assert_eq!(bench.read(1, register), 0);
    }
}

#[test]
fn memory_follows_the_registers() {
    let bench = Bench::new();
    bench.write(1, 0x10, 0xe000_0000);
    assert_eq!(bench.memory(0xe000_0000), u32::MAX);
    bench.write(1, 0x04, 2);
    assert_eq!(bench.memory(0xe000_0ffc), 0x0101_0101);
    assert_eq!(bench.memory(0xe000_0ffe), u32::MAX);
    bench.write(1, 0x18, 0x4000_0000);
    bench.write(1, 0x1c, 0x10);
    let window = Window::new(Arc::clone(&bench.host), 0x10_0000_0000);
    assert_eq!(read(&window, 0x4000_0000), [1; 8]);
    window.write(0x4000_0010, &[5]);
    assert_eq!(
        *bench.fakes[0].written.lock().unwrap(),
        [(2, 0x10, vec![5])]
    );
    bench.write(1, 0x10, 0xe100_0000);
    assert_eq!(bench.memory(0xe000_0000), u32::MAX);
    assert_eq!(bench.memory(0xe100_0000), 0x0101_0101);
    bench.write(1, 0x04, 0);
    assert_eq!(bench.memory(0xe100_0000), u32::MAX);
    // Reads of the window past the end of the address space.
    let high = Window::new(Arc::clone(&bench.host), u64::MAX);
    assert_eq!(read(&high, 1), [0xff; 4]);
}

#[test]
fn firmware_gives_places_without_overlaps() {
    let bench = Bench::new();
    let room = Room {
        low: 0xe000_0000..=0xe000_7fff,
        high: 0x10_0000_0000..=0x10_0000_7fff,
    };
    bench.host.assign(&room).unwrap();
    let mut ranges = bench.host.ranges();
    ranges.sort_by_key(|range| range.first);
    let firsts: Vec<u64> = ranges.iter().map(|range| range.first).collect();
    assert_eq!(
        firsts,
        [0xe000_0000, 0xe000_1000, 0x10_0000_0000, 0x10_0000_4000]
    );
    assert_eq!(bench.read(1, 4) & 6, 6);
    let none = Room {
        low: 0xe000_0000..=0xe000_0fff,
        high: std::ops::RangeInclusive::new(1, 0),
    };
    assert!(matches!(
        bench.host.assign(&none),
        Err(PciError::Room(0x4000))
    ));
}

#[test]
fn capabilities_form_a_list() {
    let bench = Bench::new();
    assert_eq!(bench.read(1, 4) >> 20 & 1, 1);
    let first = bench.read(1, 0x34) as u16;
    let msix = bench.read(1, first);
    assert_eq!((msix & 0xff, msix >> 16), (0x11, 2));
    assert_eq!(bench.read(1, first + 4), 0x1002);
    assert_eq!(bench.read(1, first + 8), 0x2002);
    let second = (msix >> 8 & 0xff) as u16;
    assert_eq!(bench.read(1, second), 0x0707_0009);
    // The body's second byte can be written, and the rest is a window that sees it.
    bench.write(1, second, u32::MAX);
    assert_eq!(bench.read(1, second), 0xff07_0009);
    bench.host.write_config(1 << 3, second + 3, &[0x20]);
    assert_eq!(bench.read(1, second + 4), 0x2322_2120);
    bench.host.write_config(1 << 3, second + 6, &[1, 2, 3]);
    assert_eq!(
        *bench.fakes[0].written.lock().unwrap(),
        [(0x20, 2, vec![1, 2])]
    );
}

#[test]
fn impossible_functions_are_refused() {
    let bar = |index, size, width| Bar {
        index,
        size,
        width,
        prefetchable: false,
    };
    let refused = |bars: Vec<Bar>| {
        let description = Description {
            bars,
            ..Description::default()
        };
        ConfigSpace::new(&description, 0, false).is_err()
    };
    assert!(refused(vec![bar(0, 24, Width::Bits32)]));
    assert!(refused(vec![bar(5, 32, Width::Bits64)]));
    assert!(refused(vec![
        bar(0, 32, Width::Bits64),
        bar(1, 32, Width::Bits32)
    ]));
    assert!(refused(vec![bar(0, 1 << 32, Width::Bits32)]));
    assert!(!refused(vec![bar(4, 1 << 40, Width::Bits64)]));
    let bench = Bench::new();
    let fake = || Fake::new(3, Arc::<Messages>::default(), Arc::<Wire>::default());
    assert_eq!(bench.host.plug(1, fake()), Err(PciError::Slot(1)));
    assert_eq!(bench.host.plug(32, fake()), Err(PciError::Slot(32)));
}

#[test]
fn a_state_of_other_functions_is_refused() {
    let bench = Bench::new();
    let other = PciHost::new().save();
    assert!(bench.host.restore(&other).is_err());
    let mut state = bench.host.save();
    state.functions[1].config.registers[0] = 0;
    assert!(bench.host.restore(&state).is_err());
    let mut state = bench.host.save();
    state.functions[2].slot = 1;
    assert!(bench.host.restore(&state).is_err());
}
