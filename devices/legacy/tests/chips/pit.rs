//! What drivers of the 8254 rely on.

use device_legacy::Nanos;
use device_legacy::pit::{FREQUENCY_HERTZ, Pit, WriteHalf};

const CONTROL: u16 = 3;
const SPEAKER: u16 = 4;

fn moment(tick: u64) -> Nanos {
    let nanos = (u128::from(tick) * 1_000_000_000).div_ceil(u128::from(FREQUENCY_HERTZ));
    Nanos(u64::try_from(nanos).expect("the test is short"))
}

fn program(pit: &mut Pit, word: u8, count: u16, now: Nanos) {
    let channel = u16::from(word >> 6);
    pit.write(CONTROL, word, now);
    let [low, high] = count.to_le_bytes();
    pit.write(channel, low, now);
    pit.write(channel, high, now);
}

#[test]
fn linux_calibrates_by_channel_2() {
    // `pit_calibrate_tsc`: gate on, mode 0, wait for the output.
    let mut pit = Pit::new();
    let start = moment(1000);
    let control = pit.read(SPEAKER, start) & !0x02 | 0x01;
    pit.write(SPEAKER, control, start);
    let latch = FREQUENCY_HERTZ / 20;
    program(&mut pit, 0xb0, latch as u16, start);
    assert_eq!(pit.read(SPEAKER, start) & 0x20, 0);
    let end = 1000 + 1 + u64::from(latch);
    assert_eq!(pit.read(SPEAKER, moment(end - 1)) & 0x20, 0);
    assert_eq!(pit.read(SPEAKER, moment(end)) & 0x20, 0x20);
}

#[test]
fn linux_calibrates_quickly_by_the_high_byte() {
    // `quick_pit_calibrate`: mode 0 from 0xffff, unlatched pairs of reads.
    let mut pit = Pit::new();
    pit.write(SPEAKER, 0x01, Nanos(0));
    program(&mut pit, 0xb0, 0xffff, Nanos(0));
    for (tick, high) in [(2, 0xff), (256, 0xff), (257, 0xfe), (1025, 0xfb)] {
        pit.read(2, moment(tick));
        assert_eq!(pit.read(2, moment(tick)), high, "{tick}");
    }
}

#[test]
fn a_hundred_hertz_do_not_drift() {
    let mut pit = Pit::new();
    program(&mut pit, 0x34, 11_932, Nanos(0));
    // Choosing the mode raised the output.
    assert_eq!(pit.take_edges(), 1);
    let mut now = Nanos(0);
    let day = 86_400_u64;
    for _ in 0..1000 {
        now = Nanos(now.0 + day * 1_000_000);
        pit.advance(now);
    }
    let ticks = day * u64::from(FREQUENCY_HERTZ);
    assert_eq!(pit.take_edges(), (ticks - 1) / 11_932);
    assert_eq!(pit.take_edges(), 0);
}

#[test]
fn the_next_edge_is_announced_to_the_nanosecond() {
    let mut pit = Pit::new();
    program(&mut pit, 0x34, 1000, Nanos(0));
    assert_eq!(pit.next_event(Nanos(0)), Some(moment(1001)));
    // One-shot as Linux's clock event: mode 4, the edge is the end of the strobe.
    program(&mut pit, 0x38, 1000, Nanos(0));
    assert_eq!(pit.next_event(Nanos(0)), Some(moment(1002)));
    pit.advance(moment(1001));
    assert!(!pit.irq());
    pit.advance(moment(1002));
    assert_eq!(pit.take_edges(), 2);
    assert_eq!(pit.next_event(moment(1002)), None);
}

#[test]
fn a_latched_count_stays_until_it_is_read() {
    let mut pit = Pit::new();
    program(&mut pit, 0x34, 0x1234, Nanos(0));
    pit.write(CONTROL, 0x00, moment(1));
    pit.write(CONTROL, 0x00, moment(500));
    let bytes = [pit.read(0, moment(600)), pit.read(0, moment(700))];
    assert_eq!(bytes, [0x34, 0x12]);
    assert_ne!(pit.read(0, moment(700)), 0x34);
}

#[test]
fn read_back_latches_status_and_count_of_several() {
    let mut pit = Pit::new();
    program(&mut pit, 0x36, 1000, Nanos(0));
    pit.write(CONTROL, 0xc2, Nanos(0));
    // Output high, count not loaded yet, both bytes, mode 3.
    assert_eq!(pit.read(0, Nanos(0)), 0xf6);
    pit.read(0, Nanos(0));
    pit.read(0, Nanos(0));
    pit.write(CONTROL, 0xc6, moment(1));
    assert_eq!(pit.read(0, moment(1)), 0xb6);
    let count = [pit.read(0, moment(9)), pit.read(0, moment(9))];
    assert_eq!(u16::from_le_bytes(count), 1000);
    assert_eq!(pit.read(1, moment(9)) & 0x40, 0x40);
}

#[test]
fn single_bytes_are_halves() {
    let mut pit = Pit::new();
    pit.write(CONTROL, 0x14, Nanos(0));
    pit.write(0, 200, Nanos(0));
    assert_eq!(pit.read(0, moment(11)), 190);
    pit.write(CONTROL, 0x24, moment(11));
    pit.write(0, 2, moment(11));
    assert_eq!(pit.read(0, moment(12)), 2);
    assert_eq!(pit.read(0, moment(13)), 1);
}

#[test]
fn decimal_counts_wrap_at_ten_thousand() {
    let mut pit = Pit::new();
    program(&mut pit, 0x31, 0x0003, Nanos(0));
    let read = |pit: &mut Pit, tick| {
        let bytes = [pit.read(0, moment(tick)), pit.read(0, moment(tick))];
        u16::from_le_bytes(bytes)
    };
    assert_eq!(read(&mut pit, 4), 0);
    assert!(pit.irq());
    assert_eq!(read(&mut pit, 5), 0x9999);
    assert_eq!(read(&mut pit, 5 + 9_900), 0x0099);
}

#[test]
fn the_speaker_sounds_through_its_gate() {
    let mut pit = Pit::new();
    program(&mut pit, 0xb6, 4, Nanos(0));
    pit.write(SPEAKER, 0x03, Nanos(0));
    let levels: Vec<bool> = (1..9)
        .map(|tick| {
            pit.advance(moment(tick));
            pit.speaker()
        })
        .collect();
    assert_eq!(levels, [true, true, false, false, true, true, false, false]);
    pit.write(SPEAKER, 0x01, moment(9));
    assert!(!pit.speaker());
}

#[test]
fn the_refresh_bit_toggles() {
    let mut pit = Pit::new();
    let first = pit.read(SPEAKER, moment(0)) & 0x10;
    assert_ne!(pit.read(SPEAKER, moment(18)) & 0x10, first);
    assert_eq!(pit.read(SPEAKER, moment(36)) & 0x10, first);
}

#[test]
fn illegal_counts_of_one_keep_quiet() {
    for word in [0x34, 0x36] {
        let mut pit = Pit::new();
        program(&mut pit, word, 1, Nanos(0));
        pit.take_edges();
        pit.advance(Nanos(u64::MAX));
        assert_eq!(pit.take_edges(), 0);
        assert_eq!(pit.next_event(Nanos(0)), None);
    }
}

#[test]
fn time_that_runs_backwards_stands_still() {
    let mut pit = Pit::new();
    program(&mut pit, 0x34, 100, Nanos(0));
    pit.advance(Nanos(u64::MAX));
    let before = pit.save();
    pit.advance(Nanos(5));
    assert_eq!(pit.save(), before);
    assert_eq!(pit.read(5, Nanos(0)), 0xff);
    assert_eq!(pit.read(CONTROL, Nanos(0)), 0xff);
}

#[test]
fn impossible_states_are_refused_by_name() {
    let refused = |change: fn(&mut device_legacy::pit::PitState)| {
        let mut pit = Pit::new();
        program(&mut pit, 0x36, 100, Nanos(0));
        pit.advance(moment(10));
        let mut state = pit.save();
        change(&mut state);
        Pit::restore(state).expect_err("impossible").field
    };
    assert_eq!(refused(|s| s.channels[0].count = 3), "count");
    assert_eq!(refused(|s| s.channels[0].control = 0x06), "control");
    assert_eq!(refused(|s| s.channels[0].armed = true), "armed");
    assert_eq!(refused(|s| s.channels[1].gate = false), "channels");
    assert_eq!(refused(|s| s.control = 1), "channels");
    let half = |s: &mut device_legacy::pit::PitState| {
        s.channels[1].control = 0x10;
        s.channels[1].write_half = WriteHalf::High(1);
    };
    assert_eq!(refused(half), "write_half");
}
