//! What drivers of the MC146818 rely on.

use device_legacy::Nanos;
use device_legacy::rtc::Rtc;

const SECOND: u64 = 1_000_000_000;
/// 2024-02-28 23:59:58 UTC, a Wednesday.
const EVE: u64 = 1_709_164_798;

const A: u8 = 0x0a;
const B: u8 = 0x0b;
const C: u8 = 0x0c;
const D: u8 = 0x0d;

fn read(rtc: &mut Rtc, index: u8, now: u64) -> u8 {
    rtc.write(0, index | 0x80, Nanos(now));
    rtc.read(1, Nanos(now))
}

fn write(rtc: &mut Rtc, index: u8, value: u8, now: u64) {
    rtc.write(0, index, Nanos(now));
    rtc.write(1, value, Nanos(now));
}

/// Century, year, month, day, weekday, hour, minute, second.
fn time(rtc: &mut Rtc, now: u64) -> [u8; 8] {
    [0x32, 9, 8, 7, 6, 4, 2, 0].map(|index| read(rtc, index, now))
}

#[test]
fn the_time_goes_on_over_a_leap_day() {
    let mut rtc = Rtc::new(EVE, Nanos(0));
    assert_eq!(
        time(&mut rtc, 0),
        [0x20, 0x24, 0x02, 0x28, 4, 0x23, 0x59, 0x58]
    );
    assert_eq!(
        time(&mut rtc, 2 * SECOND),
        [0x20, 0x24, 0x02, 0x29, 5, 0, 0, 0]
    );
    let next_day = 86_402 * SECOND;
    assert_eq!(
        time(&mut rtc, next_day),
        [0x20, 0x24, 0x03, 0x01, 6, 0, 0, 0]
    );
}

#[test]
fn formats_are_as_asked_for() {
    let mut rtc = Rtc::new(EVE, Nanos(0));
    write(&mut rtc, B, 0x06, 0);
    assert_eq!(time(&mut rtc, 0), [20, 24, 2, 28, 4, 23, 59, 58]);
    write(&mut rtc, B, 0x00, 0);
    assert_eq!(read(&mut rtc, 4, 0), 0x91);
    write(&mut rtc, B, 0x04, 0);
    assert_eq!(read(&mut rtc, 4, 0), 0x8b);
    assert_eq!(read(&mut rtc, 4, 2 * SECOND), 12);
}

#[test]
fn an_update_is_announced_244_microseconds_before() {
    // `mc146818_avoid_UIP`: what is read without UIP is good for 244 us.
    let mut rtc = Rtc::new(EVE, Nanos(0));
    assert_eq!(read(&mut rtc, A, SECOND - 244_001), 0x26);
    assert_eq!(read(&mut rtc, A, SECOND - 244_000), 0xa6);
    assert_eq!(read(&mut rtc, 0, SECOND - 1), 0x58);
    assert_eq!(read(&mut rtc, A, SECOND), 0x26);
    assert_eq!(read(&mut rtc, 0, SECOND), 0x59);
    write(&mut rtc, B, 0x82, SECOND);
    assert_eq!(read(&mut rtc, A, 2 * SECOND - 1), 0x26);
}

#[test]
fn linux_sets_the_time() {
    // `mc146818_set_time`: SET, divider in reset, the time, and both back.
    let mut rtc = Rtc::new(EVE, Nanos(0));
    let now = SECOND / 3;
    write(&mut rtc, B, 0x82, now);
    write(&mut rtc, A, 0x76, now);
    for (index, value) in [
        (9, 0x99),
        (8, 0x12),
        (7, 0x31),
        (4, 0x23),
        (2, 0x59),
        (0, 0x59),
    ] {
        write(&mut rtc, index, value, now);
    }
    write(&mut rtc, 0x32, 0x19, now);
    assert_eq!(read(&mut rtc, 9, now + SECOND), 0x99);
    let now = 5 * SECOND;
    write(&mut rtc, B, 0x02, now);
    write(&mut rtc, A, 0x26, now);
    // The first update is half a second after the divider's release.
    let half = now + SECOND / 2;
    let [century, year, month, day, _, hour, minute, second] = time(&mut rtc, half - 1);
    assert_eq!([century, year, month, day], [0x19, 0x99, 0x12, 0x31]);
    assert_eq!([hour, minute, second], [0x23, 0x59, 0x59]);
    let [century, year, month, day, _, hour, minute, second] = time(&mut rtc, half);
    assert_eq!([century, year, month, day], [0x20, 0x00, 0x01, 0x01]);
    assert_eq!([hour, minute, second], [0, 0, 0]);
}

#[test]
fn a_day_of_the_week_is_what_the_guest_says() {
    let mut rtc = Rtc::new(EVE, Nanos(0));
    write(&mut rtc, 6, 7, 0);
    assert_eq!(read(&mut rtc, 6, 0), 7);
    assert_eq!(read(&mut rtc, 6, 2 * SECOND), 1);
    assert_eq!(read(&mut rtc, 7, 2 * SECOND), 0x29);
}

#[test]
fn the_update_interrupts_until_status_c_is_read() {
    let mut rtc = Rtc::new(EVE, Nanos(0));
    write(&mut rtc, A, 0x20, 0);
    write(&mut rtc, B, 0x12, 0);
    assert_eq!(rtc.next_event(Nanos(0)), Some(Nanos(SECOND)));
    rtc.advance(Nanos(SECOND - 1));
    assert!(!rtc.irq());
    rtc.advance(Nanos(SECOND));
    assert!(rtc.irq());
    assert_eq!(rtc.next_event(Nanos(SECOND)), None);
    assert_eq!(read(&mut rtc, C, SECOND), 0x90);
    assert!(!rtc.irq());
    assert_eq!(read(&mut rtc, C, SECOND), 0);
    // SET takes the enable back.
    write(&mut rtc, B, 0x92, SECOND);
    assert_eq!(read(&mut rtc, B, SECOND), 0x82);
}

#[test]
fn flags_are_set_without_interrupting() {
    let mut rtc = Rtc::new(EVE, Nanos(0));
    rtc.advance(Nanos(SECOND));
    assert!(!rtc.irq());
    assert_eq!(read(&mut rtc, C, SECOND), 0x50);
}

#[test]
fn periods_are_those_of_the_rate() {
    for (rate, hertz) in [(1, 256), (2, 128), (3, 8192), (6, 1024), (15, 2)] {
        let mut rtc = Rtc::new(EVE, Nanos(0));
        write(&mut rtc, A, 0x20 | rate, 0);
        write(&mut rtc, B, 0x42, 0);
        let mut now = Nanos(0);
        for count in 1..=2 * hertz {
            now = rtc.next_event(now).expect("periods go on");
            assert_eq!(now, Nanos((count * SECOND).div_ceil(hertz)), "{rate}");
            rtc.advance(Nanos(now.0 - 1));
            assert!(!rtc.irq());
            rtc.advance(now);
            assert!(rtc.irq());
            assert_eq!(read(&mut rtc, C, now.0) & 0xc0, 0xc0);
        }
    }
    let mut rtc = Rtc::new(EVE, Nanos(0));
    write(&mut rtc, A, 0x20, 0);
    write(&mut rtc, B, 0x42, 0);
    assert_eq!(rtc.next_event(Nanos(0)), None);
}

fn alarm(hour: u8, minute: u8, second: u8, mode: u8) -> Option<u64> {
    let mut rtc = Rtc::new(EVE, Nanos(0));
    for (index, value) in [(5, hour), (3, minute), (1, second)] {
        write(&mut rtc, index, value, 0);
    }
    write(&mut rtc, B, 0x20 | mode, 0);
    let due = rtc.next_event(Nanos(0))?;
    rtc.advance(Nanos(due.0 - 1));
    assert!(!rtc.irq());
    rtc.advance(due);
    assert!(rtc.irq());
    assert_eq!(read(&mut rtc, C, due.0) & 0xa0, 0xa0);
    Some(due.0 / SECOND)
}

#[test]
fn alarms_match_the_bytes_of_the_time() {
    assert_eq!(alarm(0x23, 0x59, 0x59, 0x02), Some(1));
    assert_eq!(alarm(0x00, 0x00, 0x00, 0x02), Some(2));
    assert_eq!(alarm(0x23, 0x59, 0x58, 0x02), Some(86_400));
    assert_eq!(alarm(0x23, 0x59, 0x57, 0x02), Some(86_399));
    assert_eq!(alarm(0xff, 0xff, 0xff, 0x02), Some(1));
    assert_eq!(alarm(0xc0, 0xff, 0x30, 0x02), Some(32));
    assert_eq!(alarm(0xff, 0x01, 0x00, 0x02), Some(62));
    assert_eq!(alarm(12, 1, 0, 0x04), Some(62));
    assert_eq!(alarm(0x81, 0, 0, 0x00), Some(13 * 3600 + 2));
    assert_eq!(alarm(0x24, 0x00, 0x00, 0x02), None);
    assert_eq!(alarm(0x00, 0x0a, 0x00, 0x02), None);
}

#[test]
fn an_alarm_slept_over_is_not_lost() {
    let mut rtc = Rtc::new(EVE, Nanos(0));
    for (index, value) in [(5, 0x12), (3, 0), (1, 0)] {
        write(&mut rtc, index, value, 0);
    }
    write(&mut rtc, B, 0x22, 0);
    rtc.advance(Nanos(90_000 * SECOND));
    assert!(rtc.irq());
}

#[test]
fn memory_keeps_bytes_and_sizes() {
    let mut rtc = Rtc::new(EVE, Nanos(0));
    rtc.set_memory_size(0x8000_0000, 0x1_4000_0000);
    let mut word = |low: u8| {
        let bytes = [read(&mut rtc, low, 0), read(&mut rtc, low + 1, 0)];
        u16::from_le_bytes(bytes)
    };
    assert_eq!(word(0x15), 640);
    assert_eq!(word(0x17), 0xffff);
    assert_eq!(word(0x30), 0xffff);
    assert_eq!(word(0x34), 0x7f00);
    assert_eq!(word(0x5b), 0x4000);
    assert_eq!(word(0x5c), 0x0140);
    rtc.set_byte(0x0b, 0xff);
    rtc.set_byte(0x80, 0xff);
    assert_eq!(read(&mut rtc, B, 0), 0x02);
    write(&mut rtc, 0x7f, 0x5a, 0);
    assert_eq!(read(&mut rtc, 0x7f, 0), 0x5a);
    assert_eq!(read(&mut rtc, D, 0), 0x80);
    assert_eq!(rtc.read(0, Nanos(0)), 0xff);
    assert_eq!(rtc.read(2, Nanos(0)), 0xff);
}

#[test]
fn the_caller_sets_the_clock_right_after_a_pause() {
    let mut rtc = Rtc::new(0, Nanos(0));
    rtc.set_time(EVE, Nanos(SECOND / 2));
    assert_eq!(read(&mut rtc, 0, SECOND / 2), 0x58);
    assert_eq!(read(&mut rtc, 0, SECOND), 0x59);
}

#[test]
fn impossible_states_are_refused_by_name() {
    let refused = |change: fn(&mut device_legacy::rtc::RtcState)| {
        let mut state = Rtc::new(EVE, Nanos(7)).save();
        change(&mut state);
        Rtc::restore(state).expect_err("impossible").field
    };
    assert_eq!(refused(|s| s.index = 128), "index");
    assert_eq!(refused(|s| s.flags = 0x80), "flags");
    assert_eq!(refused(|s| s.seconds = u64::MAX), "seconds");
    assert_eq!(refused(|s| s.weekday_ahead = 7), "weekday_ahead");
    assert_eq!(refused(|s| s.next_second = Nanos(7)), "next_second");
    assert_eq!(
        refused(|s| s.next_second = Nanos(2 * SECOND)),
        "next_second"
    );
    assert_eq!(refused(|s| s.cmos[0x0a] |= 0x80), "cmos");
}
