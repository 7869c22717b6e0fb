//! What drivers of an I/O APIC rely on, Linux's first.

use device_legacy::ioapic::{IoApic, IoApicState};
use machine_bus::Message;

const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;
const REMOTE_IRR: u32 = 1 << 14;

fn read(apic: &mut IoApic, index: u8) -> u32 {
    assert_eq!(apic.write(0, index.into()), None);
    apic.read(0x10)
}

fn write(apic: &mut IoApic, index: u8, value: u32) -> Option<Message> {
    assert_eq!(apic.write(0, index.into()), None);
    apic.write(0x10, value)
}

/// Input 4 to processor 3.
fn entry(apic: &mut IoApic, low: u32) -> Option<Message> {
    assert_eq!(write(apic, 0x19, 3 << 24), None);
    write(apic, 0x18, low)
}

const MESSAGE: Message = Message {
    address: 0xfee0_3000,
    data: 0x4041,
};

#[test]
fn linux_finds_24_masked_inputs() {
    let mut apic = IoApic::new();
    assert_eq!(read(&mut apic, 1), 0x17_0011);
    for index in (0x10..0x40).step_by(2) {
        assert_eq!(read(&mut apic, index), MASKED);
    }
    assert_eq!(write(&mut apic, 0, u32::MAX), None);
    assert_eq!(
        (read(&mut apic, 0), read(&mut apic, 2)),
        (0x0f00_0000, 0x0f00_0000)
    );
    assert_eq!((read(&mut apic, 3), read(&mut apic, 0x40)), (0, 0));
    assert_eq!(write(&mut apic, 0x10, !REMOTE_IRR), None);
    assert_eq!(read(&mut apic, 0x10), 0x1_afff);
}

#[test]
fn an_edge_is_one_message() {
    let mut apic = IoApic::new();
    assert_eq!(apic.set_line(4, true), None);
    assert_eq!(entry(&mut apic, 0x41), None);
    assert_eq!(apic.set_line(4, true), None);
    assert_eq!(apic.set_line(4, false), None);
    assert_eq!(apic.set_line(4, true), Some(MESSAGE));
    assert_eq!(apic.set_line(4, true), None);
    assert_eq!(apic.eoi(0x41), []);
    assert_eq!(
        (apic.set_line(24, true), apic.set_line(255, true)),
        (None, None)
    );
}

#[test]
fn a_level_is_sent_again_after_its_end() {
    let mut apic = IoApic::new();
    let message = Message {
        data: 0xc041,
        ..MESSAGE
    };
    assert_eq!(entry(&mut apic, 0x41 | LEVEL), None);
    assert_eq!(apic.set_line(4, true), Some(message));
    assert_eq!(read(&mut apic, 0x18), 0x41 | LEVEL | REMOTE_IRR);
    assert_eq!(
        (apic.set_line(4, false), apic.set_line(4, true)),
        (None, None)
    );
    assert_eq!(apic.eoi(0x42), []);
    assert_eq!(apic.eoi(0x41), [message]);
    assert_eq!(apic.set_line(4, false), None);
    assert_eq!(apic.eoi(0x41), []);
    assert_eq!(read(&mut apic, 0x18), 0x41 | LEVEL);
    // Masked while high, it is sent when it is unmasked.
    assert_eq!(entry(&mut apic, 0x41 | LEVEL | MASKED), None);
    assert_eq!(apic.set_line(4, true), None);
    assert_eq!(write(&mut apic, 0x18, 0x41 | LEVEL), Some(message));
}

#[test]
fn linux_ends_a_level_by_making_it_an_edge() {
    let mut apic = IoApic::new();
    assert_eq!(entry(&mut apic, 0x41 | LEVEL), None);
    assert!(apic.set_line(4, true).is_some());
    assert_eq!(apic.set_line(4, false), None);
    assert_eq!(write(&mut apic, 0x18, 0x41 | MASKED), None);
    assert_eq!(write(&mut apic, 0x18, 0x41 | LEVEL), None);
    assert_eq!(read(&mut apic, 0x18), 0x41 | LEVEL);
    assert!(apic.set_line(4, true).is_some());
}

#[test]
fn destinations_and_modes_are_passed_on() {
    let mut apic = IoApic::new();
    // Logical, lowest priority.
    assert_eq!(entry(&mut apic, 0x41 | 1 << 8 | 1 << 11), None);
    let message = apic.set_line(4, true).expect("an edge");
    assert_eq!((message.address, message.data), (0xfee0_300c, 0x4141));
}

#[test]
fn impossible_states_are_refused_by_name() {
    let refused = |change: fn(&mut IoApicState)| {
        let mut state = IoApic::new().save();
        change(&mut state);
        IoApic::restore(state).expect_err("impossible").field
    };
    assert_eq!(refused(|s| s.id = 16), "id");
    assert_eq!(refused(|s| s.lines = 1 << 24), "lines");
    assert_eq!(refused(|s| s.entries[0] = 1 << 12), "entries");
    assert_eq!(refused(|s| s.entries[0] = 1 << 14), "entries");
    assert_eq!(
        refused(|s| {
            s.entries[0] = 1 << 15;
            s.lines = 1;
        }),
        "lines"
    );
}
