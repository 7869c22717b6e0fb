//! Any sequence of calls: no panic, and a chip that was saved and restored in the middle goes
//! on like one that was not.

use std::fmt::Debug;

use device_legacy::hpet::Hpet;
use device_legacy::i8042::I8042;
use device_legacy::ioapic::IoApic;
use device_legacy::lapic::{Deadline, LocalApic};
use device_legacy::pic::Pic;
use device_legacy::pit::Pit;
use device_legacy::pm_timer::{Pm1, PmTimer};
use device_legacy::rtc::Rtc;
use device_legacy::uart::Uart;
use device_legacy::{Nanos, StateError};
use proptest::prelude::*;

/// One call: its kind, an offset or line, a value, and by how much time goes on.
type Call = (u8, u16, u8, u64);

/// A chip that can be driven by calls, and shows everything after each.
trait Driven: Clone {
    type State: Clone + Debug + PartialEq;

    fn call(&mut self, kind: u8, offset: u16, value: u8, now: Nanos) -> String;
    fn save(&self) -> Self::State;
    fn restore(state: Self::State) -> Result<Self, StateError>;
}

/// What a chip with time has in common.
macro_rules! driven {
    ($chip:ty, $state:ty, |$self:ident, $offset:ident, $value:ident, $now:ident|
        $read:expr, $write:expr, $other:expr, $shown:expr) => {
        impl Driven for $chip {
            type State = $state;

            fn call(&mut self, kind: u8, $offset: u16, $value: u8, $now: Nanos) -> String {
                let $self = self;
                let result = match kind {
                    0..=3 => format!("{:?}", $read),
                    4..=7 => format!("{:?}", $write),
                    _ => format!("{:?}", $other),
                };
                format!("{result} {:?}", $shown)
            }

            fn save(&self) -> $state {
                <$chip>::save(self)
            }

            fn restore(state: $state) -> Result<Self, StateError> {
                <$chip>::restore(state)
            }
        }
    };
}

driven!(
    Uart,
    device_legacy::uart::UartState,
    |uart, offset, value, now| uart.read(offset, now),
    uart.write(offset, value, now),
    match value % 5 {
        0 => (uart.take_output(), 0),
        1 => (vec![], uart.receive(&[0, value, 255, 7], now)),
        2 => (vec![], usize::from(uart.receive_break(now))),
        3 => (vec![], {
            uart.set_modem_lines(value);
            0
        }),
        _ => (vec![], {
            uart.advance(now);
            0
        }),
    },
    (uart.irq(), uart.next_event(now), uart.room(), uart.out2())
);

driven!(
    Pic,
    device_legacy::pic::PicState,
    |pic, offset, value, _now| pic.read(offset),
    pic.write(offset, value),
    match value % 4 {
        0 => pic.acknowledge(),
        _ => {
            pic.set_line(value >> 3, value & 4 != 0);
            0
        }
    },
    pic.irq()
);

driven!(
    Pit,
    device_legacy::pit::PitState,
    |pit, offset, value, now| pit.read(offset, now),
    pit.write(offset, value, now),
    {
        pit.advance(now);
        pit.take_edges()
    },
    (pit.irq(), pit.next_event(now), pit.speaker())
);

driven!(
    Rtc,
    device_legacy::rtc::RtcState,
    |rtc, offset, value, now| rtc.read(offset, now),
    rtc.write(offset, value, now),
    match value % 4 {
        0 => rtc.set_time(u64::from(value) << 56, now),
        1 => rtc.set_byte(value, value),
        2 => rtc.set_memory_size(u64::from(value) << 56, now.0),
        _ => rtc.advance(now),
    },
    (rtc.irq(), rtc.next_event(now))
);

driven!(
    I8042,
    device_legacy::i8042::I8042State,
    |chip, offset, value, _now| chip.read(offset),
    chip.write(offset, value),
    match value % 3 {
        0 => chip.take_reset(),
        1 => chip.push_key(&[0xf0, value]),
        _ => {
            chip.advance();
            false
        }
    },
    (chip.irq(), chip.lights())
);

driven!(
    Pm1,
    device_legacy::pm_timer::Pm1State,
    |pm1, offset, value, now| pm1.read(offset, now),
    pm1.write(offset, value, now),
    match value % 3 {
        0 => pm1.take_power_off(),
        1 => {
            pm1.press_power_button();
            false
        }
        _ => {
            pm1.advance(now);
            false
        }
    },
    (pm1.irq(), pm1.next_event(now))
);

driven!(
    PmTimer,
    device_legacy::pm_timer::PmTimerState,
    |timer, offset, value, now| timer.read(offset, now),
    timer.write(offset, value.into(), now),
    (),
    ()
);

driven!(
    Hpet,
    device_legacy::hpet::HpetState,
    |hpet, offset, value, now| {
        let mut data = [0; 8];
        let length = 1 << (value % 4);
        hpet.read(offset % 0x30 * 8, &mut data[..length], now);
        data
    },
    {
        let length = 1 << (value % 4);
        let data = (u64::from(value) << (value % 8) | now.0 << 32).to_le_bytes();
        hpet.write(offset % 0x30 * 8, &data[..length], now);
    },
    {
        hpet.advance(now);
        hpet.take_edges()
    },
    (hpet.lines(), hpet.replaces_legacy(), hpet.next_event(now))
);

driven!(
    IoApic,
    device_legacy::ioapic::IoApicState,
    |apic, offset, value, now| apic.read(offset % 2 * 0x10),
    match offset % 4 {
        0 => apic.write(0, u32::from(value) % 0x48),
        1 => apic.write(0x10, now.0 as u32),
        _ => apic.write(0x10, u32::from(value) << 8 | 0x40),
    },
    match value % 4 {
        0 => apic.eoi(0x40),
        1 => apic.eoi(now.0 as u8),
        _ => apic
            .set_line(value >> 3, value & 4 != 0)
            .into_iter()
            .collect(),
    },
    ()
);

driven!(
    LocalApic,
    device_legacy::lapic::LocalApicState,
    |apic, offset, value, now| apic.read(u16::from(value) % 0x40 * 0x10 + offset / 0x4000, now),
    match offset % 8 {
        0 => apic.write(0xf0, u32::from(value) | 0x100, now),
        1 => apic.write(0x320, u32::from(value) | u32::from(value % 3) << 17, now),
        2 => apic.write(0x380, now.0 as u32, now),
        _ => apic.write(u16::from(value) % 0x40 * 0x10, now.0 as u32, now),
    },
    match value % 8 {
        0 => (None, apic.acknowledge()),
        1 => (apic.raise(value >> 6), None),
        2 => (None, {
            let deadline = Deadline {
                tsc: now.0 / 2,
                at: Nanos(now.0.wrapping_add(u64::from(value) << 20)),
            };
            apic.write_deadline(Some(deadline).filter(|_| value & 8 != 0), now);
            None
        }),
        3 => (None, {
            apic.set_on(value & 8 != 0);
            None
        }),
        4 => (None, {
            apic.advance(now);
            None
        }),
        _ => (None, {
            apic.request(value, offset & 1 != 0);
            None
        }),
    },
    (
        apic.pending(),
        apic.priority(),
        apic.next_event(now),
        apic.deadline(),
        apic.passes_external()
    )
);

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let offset = prop_oneof![20 => 0..8_u16, 1 => any::<u16>()];
    let value = prop_oneof![
        3 => any::<u8>(),
        1 => prop::sample::select(vec![0x00, 0x01, 0x03, 0x0a, 0x0b, 0x11, 0x20, 0x26, 0x30, 0x34, 0x36, 0xff]),
    ];
    let step = prop_oneof![
        3 => Just(0),
        6 => 0..2_000_000_u64,
        3 => 0..3_000_000_000_u64,
        1 => 0..100_000_000_000_000_u64,
        1 => any::<u64>(),
    ];
    prop::collection::vec((0..12_u8, offset, value, step), 1..200)
}

/// Drives a chip; after `split` calls a saved and restored twin goes on beside it.
fn drive<C: Driven>(chip: C, calls: &[Call], split: usize) {
    let (before, after) = calls.split_at(split.min(calls.len()));
    let mut chip = chip;
    let mut now = 0_u64;
    // Wrapping makes time run backwards now and then.
    for &(kind, offset, value, step) in before {
        now = now.wrapping_add(step);
        chip.call(kind, offset, value, Nanos(now));
        let state = chip.save();
        C::restore(state).expect("a state that the chip reached");
    }
    let mut twin = C::restore(chip.save()).expect("a state that the chip reached");
    assert_eq!(twin.save(), chip.save());
    for &(kind, offset, value, step) in after {
        now = now.wrapping_add(step);
        let expected = chip.call(kind, offset, value, Nanos(now));
        assert_eq!(twin.call(kind, offset, value, Nanos(now)), expected);
    }
    assert_eq!(twin.save(), chip.save());
}

/// A hostile state is refused or makes a chip that does not panic.
fn drive_hostile<C: Driven>(state: C::State, calls: &[Call]) {
    if let Ok(chip) = C::restore(state) {
        drive(chip, calls, calls.len() / 2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn uart(calls in calls(), split in 0..200_usize) {
        drive(Uart::new(), &calls, split);
    }

    #[test]
    fn pic(calls in calls(), split in 0..200_usize) {
        drive(Pic::new(), &calls, split);
    }

    #[test]
    fn pit(calls in calls(), split in 0..200_usize) {
        drive(Pit::new(), &calls, split);
    }

    #[test]
    fn rtc(calls in calls(), split in 0..200_usize, seconds in any::<u64>()) {
        drive(Rtc::new(seconds, Nanos(0)), &calls, split);
    }

    #[test]
    fn i8042(calls in calls(), split in 0..200_usize) {
        drive(I8042::new(), &calls, split);
    }

    #[test]
    fn hpet(calls in calls(), split in 0..200_usize, routes in any::<u32>()) {
        drive(Hpet::new(routes), &calls, split);
    }

    #[test]
    fn ioapic(calls in calls(), split in 0..200_usize) {
        drive(IoApic::new(), &calls, split);
    }

    #[test]
    fn lapic(calls in calls(), split in 0..200_usize, id in any::<u8>()) {
        drive(LocalApic::new(id), &calls, split);
    }

    #[test]
    fn pm(calls in calls(), split in 0..200_usize, off_type in any::<u8>()) {
        drive(Pm1::new(off_type), &calls, split);
        drive(PmTimer::new(), &calls, split);
    }

    #[test]
    fn hostile_timers(calls in calls(), counts in any::<[u16; 3]>(), bits in any::<[u8; 4]>(), clock in any::<u64>()) {
        let mut state = Pit::new().save();
        state.clock = Nanos(clock);
        for (channel, count) in state.channels.iter_mut().zip(counts) {
            let [control, flags, pins, reload] = bits;
            channel.control = control & 0x3f;
            channel.count = count;
            channel.reload = u16::from(reload);
            channel.has_reload = flags & 0x01 != 0;
            channel.null_count = flags & 0x02 != 0;
            channel.load = flags & 0x04 != 0;
            channel.running = flags & 0x08 != 0;
            channel.armed = flags & 0x10 != 0;
            channel.strobe = flags & 0xe0 == 0xe0;
            channel.odd = pins & 0x03 == 3;
            channel.output = pins & 0x04 != 0;
        }
        drive_hostile::<Pit>(state, &calls);
    }

    #[test]
    fn hostile_clocks(calls in calls(), bytes in any::<[u8; 14]>(), seconds in 0..400_000_000_000_u64, clock in any::<u64>(), left in 0..1_100_000_000_u64) {
        let mut state = Rtc::new(0, Nanos(clock)).save();
        for (cmos, byte) in state.cmos.iter_mut().zip(bytes) {
            *cmos = byte;
        }
        state.cmos[0x0a] &= 0x7f;
        state.cmos[0x0c] = 0;
        state.cmos[0x0d] = 0;
        state.seconds = seconds;
        state.next_second = Nanos(clock.saturating_add(left));
        drive_hostile::<Rtc>(state, &calls);
    }

    #[test]
    fn hostile_ports(calls in calls(), bytes in any::<[u8; 6]>(), length in 0..20_usize, clock in any::<u64>()) {
        let mut state = Uart::new().save();
        let [enable, line, modem, fifo, lines, deltas] = bytes;
        state.interrupt_enable = enable & 0x0f;
        state.line_control = line;
        state.modem_control = modem & 0x1f;
        state.divisor = u16::from_le_bytes([line, modem]);
        state.fifo_enabled = fifo & 1 != 0;
        state.trigger = 14;
        state.modem_lines = lines & 0xf0;
        state.modem_deltas = deltas & 0x0f;
        state.transmit = vec![0; length];
        state.clock = Nanos(clock);
        state.last_activity = Nanos(clock / 2);
        drive_hostile::<Uart>(state, &calls);
    }
}
