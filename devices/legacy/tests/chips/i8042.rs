//! What drivers of the i8042 rely on.

use device_legacy::i8042::{I8042, Pending};

const DATA: u16 = 0;
const STATUS: u16 = 1;
const FULL: u8 = 0x01;
const AUXILIARY: u8 = 0x20;

fn command(chip: &mut I8042, value: u8) -> u8 {
    chip.write(STATUS, value);
    assert_eq!(chip.read(STATUS) & FULL, FULL);
    chip.read(DATA)
}

fn set_mode(chip: &mut I8042, mode: u8) {
    chip.write(STATUS, 0x60);
    chip.write(DATA, mode);
}

fn drain(chip: &mut I8042) -> Vec<u8> {
    let mut bytes = Vec::new();
    while chip.read(STATUS) & FULL != 0 {
        bytes.push(chip.read(DATA));
    }
    bytes
}

fn keyboard(chip: &mut I8042, bytes: &[u8]) -> Vec<u8> {
    for &byte in bytes {
        chip.write(DATA, byte);
    }
    drain(chip)
}

#[test]
fn linux_finds_a_keyboard_controller() {
    let mut chip = I8042::new();
    assert_eq!(drain(&mut chip), []);
    assert_eq!(command(&mut chip, 0xaa), 0x55);
    assert_eq!(chip.read(STATUS) & 0x14, 0x14);
    let mode = command(&mut chip, 0x20);
    set_mode(&mut chip, mode & !0x01 | 0x10);
    assert_eq!(command(&mut chip, 0x20) & 0x11, 0x10);
    assert_eq!(command(&mut chip, 0xab), 0);
}

#[test]
fn linux_finds_no_mouse() {
    let mut chip = I8042::new();
    // `i8042_check_aux`: the loop, the test, the bit.
    chip.write(STATUS, 0xd3);
    chip.write(DATA, 0x5a);
    assert_eq!(chip.read(STATUS) & (FULL | AUXILIARY), FULL);
    assert_eq!(chip.read(DATA), 0x5a);
    assert!(![0x00, 0xfa, 0xff].contains(&command(&mut chip, 0xa9)));
    chip.write(STATUS, 0xa8);
    assert_eq!(command(&mut chip, 0x20) & 0x20, 0x20);
    set_mode(&mut chip, 0x47);
    assert_eq!(command(&mut chip, 0x20), 0x65);
    // Who talks to it all the same is told to try again, and times out.
    chip.write(STATUS, 0xd4);
    chip.write(DATA, 0xff);
    assert!(!chip.irq());
    assert_eq!(chip.read(STATUS) & 0x61, 0x61);
    assert_eq!(chip.read(DATA), 0xfe);
}

#[test]
fn the_keyboard_answers() {
    let mut chip = I8042::new();
    set_mode(&mut chip, 0x25);
    assert_eq!(keyboard(&mut chip, &[0xff]), [0xfa, 0xaa]);
    assert_eq!(keyboard(&mut chip, &[0xf2]), [0xfa, 0xab, 0x83]);
    assert_eq!(keyboard(&mut chip, &[0xed, 0x07]), [0xfa, 0xfa]);
    assert_eq!(chip.lights(), 7);
    assert_eq!(keyboard(&mut chip, &[0xf3, 0x00]), [0xfa, 0xfa]);
    assert_eq!(keyboard(&mut chip, &[0xf0, 0x02]), [0xfa, 0xfa]);
    assert_eq!(keyboard(&mut chip, &[0xf0, 0x00]), [0xfa, 0xfa, 0x02]);
    assert_eq!(keyboard(&mut chip, &[0xf0, 0x03]), [0xfa, 0xfe]);
    assert_eq!(keyboard(&mut chip, &[0xed, 0xf4]), [0xfa, 0xfa]);
    assert_eq!(keyboard(&mut chip, &[0xee]), [0xee]);
    assert_eq!(keyboard(&mut chip, &[0xfe]), [0xee]);
    assert_eq!(keyboard(&mut chip, &[0x00]), [0xfe]);
}

#[test]
fn keys_are_translated_and_interrupt_one_by_one() {
    let mut chip = I8042::new();
    set_mode(&mut chip, 0x65);
    // Cursor up pressed, then a released.
    assert!(chip.push_key(&[0xe0, 0x75]));
    assert!(chip.push_key(&[0xf0, 0x1c]));
    let mut codes = Vec::new();
    while chip.irq() {
        codes.push(chip.read(DATA));
        assert!(!chip.irq());
        chip.advance();
    }
    assert_eq!(codes, [0xe0, 0x48, 0x9e]);
    assert_eq!(chip.read(DATA), 0x9e);
    set_mode(&mut chip, 0x25);
    chip.push_key(&[0xf0, 0x1c]);
    assert_eq!(drain(&mut chip), [0xf0, 0x1c]);
}

#[test]
fn a_disabled_keyboard_keeps_its_keys() {
    let mut chip = I8042::new();
    chip.write(STATUS, 0xad);
    assert!(chip.push_key(&[0x1c]));
    assert_eq!(drain(&mut chip), []);
    chip.write(STATUS, 0xae);
    assert_eq!(drain(&mut chip), [0x1e]);
    keyboard(&mut chip, &[0xf5]);
    assert!(chip.push_key(&[0x1c]));
    assert_eq!(drain(&mut chip), []);
    keyboard(&mut chip, &[0xf4]);
    assert!(chip.push_key(&[0x1c]));
    assert_eq!(drain(&mut chip), [0x1e]);
}

#[test]
fn a_full_keyboard_takes_no_part_of_a_key() {
    let mut chip = I8042::new();
    chip.write(STATUS, 0xad);
    for _ in 0..5 {
        assert!(chip.push_key(&[0xe0, 0xf0, 0x75]));
    }
    assert!(!chip.push_key(&[0xe0, 0x75]));
    assert!(chip.push_key(&[0x1c]));
}

#[test]
fn a_pulse_of_the_reset_line_is_a_wish() {
    let mut chip = I8042::new();
    chip.write(STATUS, 0xff);
    assert!(!chip.take_reset());
    chip.write(STATUS, 0xfe);
    assert!(chip.take_reset());
    assert!(!chip.take_reset());
    chip.write(STATUS, 0xd1);
    chip.write(DATA, 0x02);
    assert!(chip.take_reset());
}

#[test]
fn a20_stays_on() {
    let mut chip = I8042::new();
    chip.write(STATUS, 0xd1);
    chip.write(DATA, 0x01);
    assert_eq!(command(&mut chip, 0xd0) & 0x03, 0x03);
    assert!(!chip.take_reset());
}

#[test]
fn the_memory_is_the_guests() {
    let mut chip = I8042::new();
    chip.write(STATUS, 0x7f);
    chip.write(DATA, 0x12);
    assert_eq!(command(&mut chip, 0x3f), 0x12);
    chip.write(STATUS, 0xd2);
    chip.write(DATA, 0x34);
    assert_eq!(drain(&mut chip), [0x34]);
    assert_eq!(chip.read(2), 0xff);
}

#[test]
fn impossible_states_are_refused_by_name() {
    let refused = |change: fn(&mut device_legacy::i8042::I8042State)| {
        let mut state = I8042::new().save();
        change(&mut state);
        I8042::restore(state).expect_err("impossible").field
    };
    assert_eq!(refused(|s| s.ram[0] = 0), "ram");
    assert_eq!(
        refused(|s| s.pending = Some(Pending::WriteRam(32))),
        "pending"
    );
    assert_eq!(refused(|s| s.keyboard.queue = vec![0; 25].into()), "queue");
    assert_eq!(refused(|s| s.keyboard.lights = 8), "lights");
}
