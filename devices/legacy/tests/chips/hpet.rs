//! What drivers of a timer block rely on, Linux's first.

use device_legacy::Nanos;
use device_legacy::hpet::{Hpet, PERIOD_NANOS, REPLACED_PIT, REPLACED_RTC};

const CONFIG: u16 = 0x10;
const STATUS: u16 = 0x20;
const COUNTER: u16 = 0xf0;
/// Input 16.
const ROUTES: u32 = 1 << 16;

fn timer(number: u16) -> u16 {
    0x100 + 0x20 * number
}

fn read32(hpet: &mut Hpet, offset: u16, now: u64) -> u32 {
    let mut data = [0; 4];
    hpet.read(offset, &mut data, Nanos(now));
    u32::from_le_bytes(data)
}

fn write32(hpet: &mut Hpet, offset: u16, value: u32, now: u64) {
    hpet.write(offset, &value.to_le_bytes(), Nanos(now));
}

#[test]
fn linux_finds_a_block() {
    let mut hpet = Hpet::new(ROUTES);
    assert_eq!(read32(&mut hpet, 0, 0), 0x8086_a201);
    // Femtoseconds: between 100 ps and 100 ns.
    assert_eq!(read32(&mut hpet, 4, 0), 10_000_000);
    assert_eq!(read32(&mut hpet, timer(0) + 4, 0), ROUTES);
    assert_eq!(read32(&mut hpet, timer(0), 0) & 0x8030, 0x30);
    assert_eq!(read32(&mut hpet, timer(3), 0), 0);
    write32(&mut hpet, 0, 0, 0);
    assert_eq!(read32(&mut hpet, 0, 0), 0x8086_a201);
}

#[test]
fn the_counter_runs_while_it_is_enabled() {
    let mut hpet = Hpet::new(ROUTES);
    assert_eq!(read32(&mut hpet, COUNTER, 1000), 0);
    write32(&mut hpet, CONFIG, 1, 1000);
    assert_eq!(read32(&mut hpet, COUNTER, 2000), 100);
    write32(&mut hpet, CONFIG, 0, 3000);
    assert_eq!(read32(&mut hpet, COUNTER, 9000), 200);
    hpet.write(COUNTER, &u64::MAX.to_le_bytes(), Nanos(9000));
    write32(&mut hpet, CONFIG, 1, 9000);
    assert_eq!(read32(&mut hpet, COUNTER, 9010), 0);
    let mut data = [0; 8];
    hpet.read(COUNTER, &mut data, Nanos(9000 + 10 * (1 << 33)));
    assert_eq!(u64::from_le_bytes(data), (1 << 33) - 1);
}

#[test]
fn a_timer_fires_once_when_it_is_reached() {
    let mut hpet = Hpet::new(ROUTES);
    write32(&mut hpet, CONFIG, 1, 0);
    write32(&mut hpet, timer(1), 1 << 2 | 16 << 9, 0);
    hpet.write(timer(1) + 8, &50_u64.to_le_bytes(), Nanos(0));
    assert_eq!(hpet.next_event(Nanos(0)), Some(Nanos(50 * PERIOD_NANOS)));
    hpet.advance(Nanos(499));
    assert_eq!(hpet.take_edges(), 0);
    hpet.advance(Nanos(500));
    assert_eq!((hpet.take_edges(), hpet.lines()), (ROUTES, 0));
    hpet.advance(Nanos(1_000_000));
    assert_eq!(hpet.take_edges(), 0);
}

#[test]
fn linux_makes_a_timer_periodic() {
    let mut hpet = Hpet::new(ROUTES);
    let read = read32(&mut hpet, timer(0), 0);
    write32(&mut hpet, timer(0), read | 0x14c, 0);
    write32(&mut hpet, timer(0) + 8, 100, 0);
    write32(&mut hpet, timer(0) + 8, 30, 0);
    write32(&mut hpet, CONFIG, 1, 0);
    let mut fired = Vec::new();
    while fired.len() < 4 {
        let due = hpet.next_event(Nanos(0)).expect("it is periodic");
        hpet.advance(due);
        assert_eq!(hpet.take_edges(), ROUTES);
        fired.push(due.0 / PERIOD_NANOS);
    }
    assert_eq!(fired, [100, 130, 160, 190]);
    // Many at once are one.
    hpet.advance(Nanos(10_000_005));
    assert_eq!(hpet.take_edges(), ROUTES);
    assert_eq!(hpet.next_event(Nanos(0)), Some(Nanos(10_000_300)));
}

#[test]
fn a_level_stays_until_it_is_cleared() {
    let mut hpet = Hpet::new(ROUTES);
    write32(&mut hpet, timer(2), 0x106, 0);
    write32(&mut hpet, timer(2) + 8, 5, 0);
    write32(&mut hpet, CONFIG, 1, 0);
    hpet.advance(Nanos(50));
    assert_eq!((hpet.lines(), read32(&mut hpet, STATUS, 50)), (ROUTES, 4));
    write32(&mut hpet, STATUS, 3, 50);
    assert_eq!(hpet.lines(), ROUTES);
    write32(&mut hpet, STATUS, 4, 50);
    assert_eq!((hpet.lines(), hpet.take_edges()), (0, 0));
}

#[test]
fn the_first_two_timers_replace_what_pcs_had_before() {
    let mut hpet = Hpet::new(ROUTES);
    for number in 0..3 {
        write32(&mut hpet, timer(number), 0x104, 0);
        write32(&mut hpet, timer(number) + 8, 5, 0);
    }
    write32(&mut hpet, CONFIG, 2, 0);
    assert!(!hpet.replaces_legacy(), "it is not enabled");
    write32(&mut hpet, CONFIG, 3, 0);
    assert_eq!(
        (read32(&mut hpet, CONFIG, 0), hpet.replaces_legacy()),
        (3, true)
    );
    hpet.advance(Nanos(50));
    let replaced = 1 << REPLACED_PIT | 1 << REPLACED_RTC;
    assert_eq!(hpet.take_edges(), replaced | ROUTES);
    // A level that is high moves with its timer.
    write32(&mut hpet, timer(0), 0x106, 50);
    write32(&mut hpet, timer(0) + 8, 10, 50);
    hpet.advance(Nanos(100));
    assert_eq!(hpet.lines(), 1 << REPLACED_PIT);
    write32(&mut hpet, CONFIG, 1, 100);
    assert_eq!(hpet.lines(), ROUTES);
}

#[test]
fn routes_that_do_not_exist_do_not_stick() {
    let mut hpet = Hpet::new(ROUTES | 1 << 20);
    for (route, kept) in [(20, 20), (3, 20), (31, 20), (16, 16)] {
        write32(&mut hpet, timer(0), route << 9, 0);
        assert_eq!(read32(&mut hpet, timer(0), 0) >> 9 & 0x1f, kept);
    }
}

#[test]
fn impossible_states_are_refused_by_name() {
    let refused = |change: fn(&mut device_legacy::hpet::HpetState)| {
        let mut state = Hpet::new(ROUTES).save();
        change(&mut state);
        Hpet::restore(state).expect_err("impossible").field
    };
    assert_eq!(refused(|s| s.since = Nanos(1)), "since");
    assert_eq!(refused(|s| s.status = 8), "status");
    assert_eq!(refused(|s| s.timers[0].config = 1), "timers");
    assert_eq!(refused(|s| s.timers[1].config = 0x100), "timers");
}
