//! The 8254 against a model that counts every tick and tells the output from the time since
//! the counter was loaded.

use device_legacy::Nanos;
use device_legacy::pit::{FREQUENCY_HERTZ, Pit};
use proptest::prelude::*;

/// One counter, told by its ages.
#[derive(Default)]
struct Naive {
    mode: u8,
    decimal: bool,
    /// The count that was written.
    written: Option<u32>,
    /// The count that is in use.
    used: Option<u32>,
    /// Counted ticks since it was loaded (mode 3: since the half began).
    age: u32,
    /// Mode 3: the first half.
    high_half: bool,
    /// The output reached zero in this very tick.
    strobe: bool,
    load: bool,
    gate: bool,
    output: bool,
    rises: u64,
}

impl Naive {
    fn modulus(&self) -> u32 {
        if self.decimal { 10_000 } else { 65_536 }
    }

    fn set(&mut self, output: bool) {
        self.rises += u64::from(output && !self.output);
        self.output = output;
    }

    fn control(&mut self, mode: u8, decimal: bool) {
        (self.mode, self.decimal) = (mode, decimal);
        (self.written, self.used, self.load) = (None, None, false);
        self.strobe = false;
        self.set(mode != 0);
    }

    fn write(&mut self, count: u32) {
        let count = if count == 0 { self.modulus() } else { count };
        self.written = Some(count);
        match self.mode {
            0 => {
                self.used = None;
                self.load = true;
                self.set(false);
            }
            4 => self.load = true,
            2 | 3 if self.used.is_none() => self.load = true,
            _ => {}
        }
    }

    fn set_gate(&mut self, gate: bool) {
        let rises = gate && !self.gate;
        self.gate = gate;
        if self.written.is_some() && rises && [1, 2, 3, 5].contains(&self.mode) {
            self.load = true;
        }
        if self.written.is_some() && !gate && [2, 3].contains(&self.mode) {
            self.set(true);
        }
    }

    fn tick(&mut self) {
        self.strobe = false;
        let counts = self.gate || [1, 5].contains(&self.mode);
        if self.load {
            self.load = false;
            self.used = self.written;
            self.age = 0;
            self.high_half = true;
        } else if self.used.is_some() && counts {
            self.age += 1;
            self.strobe = self.used == Some(self.age);
            self.turn();
        }
        if let Some(used) = self.used {
            self.show(used);
        } else if self.mode >= 4 {
            self.set(true);
        }
    }

    /// Begins the next cycle or half, with the count that was written last.
    fn turn(&mut self) {
        let (Some(used), written) = (self.used, self.written) else {
            return;
        };
        let half = used / 2 + if self.high_half { used % 2 } else { 0 };
        if self.mode == 2 && self.age == used {
            (self.age, self.used) = (0, written);
        } else if self.mode == 3 && self.age == half.max(1) {
            (self.age, self.used) = (0, written);
            self.high_half = !self.high_half || written == Some(1);
        }
    }

    fn show(&mut self, used: u32) {
        let counting = self.gate;
        match self.mode {
            0 => self.set(self.age >= used),
            1 => self.set(self.age >= used),
            2 if counting => self.set(self.age + 1 != used || used == 1),
            3 if counting => self.set(self.high_half),
            4 | 5 => self.set(!self.strobe),
            _ => {}
        }
    }

    /// The count as it is read; `None` if nothing was loaded.
    fn count(&self) -> Option<u32> {
        let used = self.used?;
        let (start, step) = if self.mode == 3 {
            (used & !1, 2)
        } else {
            (used, 1)
        };
        let modulus = self.modulus();
        let age = self.age * step % modulus;
        Some((start + modulus - age) % modulus)
    }
}

#[derive(Clone, Debug)]
enum Op {
    Control {
        channel: u8,
        mode: u8,
        decimal: bool,
    },
    Count {
        channel: u8,
        count: u32,
    },
    Gate(bool),
    Wait(u32),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let channel = || prop_oneof![Just(0_u8), Just(2)];
    let count = prop_oneof![6 => 1..12_u32, 2 => 0..600_u32, 1 => 0..10_000_u32];
    let wait = prop_oneof![6 => 0..30_u32, 3 => 0..3_000_u32, 1 => 0..150_000_u32];
    let op = prop_oneof![
        2 => (channel(), 0..6_u8, any::<bool>())
            .prop_map(|(channel, mode, decimal)| Op::Control { channel, mode, decimal }),
        3 => (channel(), count).prop_map(|(channel, count)| Op::Count { channel, count }),
        2 => any::<bool>().prop_map(Op::Gate),
        6 => wait.prop_map(Op::Wait),
    ];
    prop::collection::vec(op, 1..60)
}

fn moment(tick: u64) -> Nanos {
    let nanos = (u128::from(tick) * 1_000_000_000).div_ceil(u128::from(FREQUENCY_HERTZ));
    Nanos(u64::try_from(nanos).expect("the test is short"))
}

fn bcd(value: u32) -> u32 {
    [1000, 100, 10, 1]
        .into_iter()
        .fold(0, |digits, unit| (digits << 4) | (value / unit % 10))
}

/// The two models side by side.
struct Pair {
    pit: Pit,
    naive: [Naive; 3],
    tick: u64,
}

impl Pair {
    fn apply(&mut self, op: &Op) {
        let now = moment(self.tick);
        match *op {
            Op::Control {
                channel,
                mode,
                decimal,
            } => {
                let word = channel << 6 | 0x30 | mode << 1 | u8::from(decimal);
                self.pit.write(3, word, now);
                self.naive[usize::from(channel)].control(mode, decimal);
            }
            Op::Count { channel, count } => {
                let naive = &mut self.naive[usize::from(channel)];
                let raw = if naive.decimal { bcd(count) } else { count };
                self.pit.write(channel.into(), raw as u8, now);
                self.pit.write(channel.into(), (raw >> 8) as u8, now);
                naive.write(count);
            }
            Op::Gate(gate) => {
                self.pit.write(4, u8::from(gate), now);
                self.naive[2].set_gate(gate);
            }
            Op::Wait(ticks) => {
                for _ in 0..ticks {
                    self.naive.iter_mut().for_each(Naive::tick);
                }
                self.tick += u64::from(ticks);
            }
        }
    }

    fn compare(&mut self) {
        let now = moment(self.tick);
        self.pit.advance(now);
        assert_eq!(self.pit.irq(), self.naive[0].output);
        assert_eq!(
            self.pit.take_edges(),
            std::mem::take(&mut self.naive[0].rises)
        );
        assert_eq!(self.pit.read(4, now) & 0x20 != 0, self.naive[2].output);
        for channel in [0, 2_u8] {
            let naive = &self.naive[usize::from(channel)];
            let Some(count) = naive.count() else { continue };
            let shown = if naive.decimal { bcd(count) } else { count };
            self.pit.write(3, channel << 6, now);
            let low = self.pit.read(channel.into(), now);
            let high = self.pit.read(channel.into(), now);
            assert_eq!(u32::from(u16::from_le_bytes([low, high])), shown);
        }
    }

    /// The next edge comes when the chip says, and not before.
    fn compare_next_edge(&mut self) {
        let now = moment(self.tick);
        let Some(due) = self.pit.next_event(now) else {
            return;
        };
        let mut early = self.pit.clone();
        early.advance(Nanos(due.0 - 1));
        assert_eq!(early.take_edges(), 0);
        early.advance(due);
        assert_eq!(early.take_edges(), 1);
        assert!(early.irq());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_timer_does_what_counting_every_tick_does(ops in ops()) {
        let mut pair = Pair { pit: Pit::new(), naive: Default::default(), tick: 0 };
        pair.naive[0].gate = true;
        pair.naive[1].gate = true;
        for op in &ops {
            pair.apply(op);
            pair.compare();
            pair.compare_next_edge();
        }
    }
}
