//! What drivers of ACPI's fixed hardware rely on, and the port that ends the machine.

use device_legacy::Nanos;
use device_legacy::debug_exit::DebugExit;
use device_legacy::pm_timer::{FREQUENCY_HERTZ, Pm1, PmTimer};

const T0: Nanos = Nanos(0);
const SECOND: u64 = 1_000_000_000;

fn moment(tick: u64) -> Nanos {
    let nanos = (u128::from(tick) * 1_000_000_000).div_ceil(u128::from(FREQUENCY_HERTZ));
    Nanos(u64::try_from(nanos).expect("the test is short"))
}

#[test]
fn the_timer_counts_and_wraps_exactly() {
    let mut timer = PmTimer::new();
    assert_eq!(timer.read(0, T0), 0);
    assert_eq!(timer.read(0, Nanos(SECOND)), FREQUENCY_HERTZ);
    let wrap = moment(1 << 32);
    assert_eq!(timer.read(0, Nanos(wrap.0 - 1)), u32::MAX);
    assert_eq!(timer.read(0, wrap), 0);
    assert_eq!(timer.read(0, T0), 0);
    assert_eq!(timer.read(4, wrap), u32::MAX);
    timer.write(0, 5, wrap);
    assert_eq!(timer.read(0, moment((1 << 32) + 7)), 7);
    let state = timer.save();
    assert_eq!(
        PmTimer::restore(state.clone()).expect("possible").save(),
        state
    );
}

#[test]
fn the_highest_bit_is_an_event() {
    let mut pm1 = Pm1::new(5);
    assert_eq!(pm1.next_event(T0), None);
    pm1.write(2, 0x01, T0);
    let due = moment(1 << 31);
    assert_eq!(pm1.next_event(T0), Some(due));
    pm1.advance(Nanos(due.0 - 1));
    assert!(!pm1.irq());
    pm1.advance(due);
    assert!(pm1.irq());
    pm1.write(0, 0x01, due);
    assert!(!pm1.irq());
    assert_eq!(pm1.next_event(due), Some(moment(1 << 32)));
}

#[test]
fn the_power_button_raises_the_sci_until_it_is_cleared() {
    let mut pm1 = Pm1::new(5);
    pm1.press_power_button();
    assert!(!pm1.irq());
    assert_eq!(pm1.read(1, T0), 0x01);
    pm1.write(3, 0x01, T0);
    assert!(pm1.irq());
    pm1.write(1, 0x00, T0);
    assert!(pm1.irq());
    pm1.write(1, 0x01, T0);
    assert!(!pm1.irq());
    pm1.press_sleep_button();
    assert_eq!(pm1.read(1, T0), 0x02);
}

#[test]
fn writing_s5_asks_to_be_powered_off() {
    let mut pm1 = Pm1::new(5);
    assert_eq!(pm1.read(4, T0) & 1, 1);
    pm1.write(5, 5 << 2, T0);
    assert!(!pm1.take_power_off());
    pm1.write(5, 3 << 2 | 0x20, T0);
    assert!(!pm1.take_power_off());
    pm1.write(5, 5 << 2 | 0x20, T0);
    assert_eq!(pm1.read(5, T0), 5 << 2);
    assert!(pm1.take_power_off());
    assert!(!pm1.take_power_off());
    pm1.write(4, 0, T0);
    assert_eq!(pm1.read(4, T0), 1);
    assert_eq!(pm1.read(6, T0), 0xff);
}

#[test]
fn impossible_states_are_refused_by_name() {
    let refused = |change: fn(&mut device_legacy::pm_timer::Pm1State)| {
        let mut state = Pm1::new(5).save();
        change(&mut state);
        Pm1::restore(state).expect_err("impossible").field
    };
    assert_eq!(refused(|s| s.status = 0x10), "status");
    assert_eq!(refused(|s| s.enable = 0x8000), "enable");
    assert_eq!(refused(|s| s.control = 0), "control");
    assert_eq!(refused(|s| s.control = 0x2001), "control");
    assert_eq!(refused(|s| s.off_type = 8), "off_type");
}

#[test]
fn a_write_ends_the_machine_with_the_first_status() {
    let mut port = DebugExit::new();
    assert_eq!(port.take_exit(), None);
    port.write(1, 9);
    port.write(0, 3);
    port.write(0, 4);
    assert_eq!(port.read(0), 0xff);
    assert!(!port.irq());
    let mut port = DebugExit::restore(port.save()).expect("possible");
    assert_eq!(port.take_exit(), Some(3));
    assert_eq!(port.take_exit(), None);
}
