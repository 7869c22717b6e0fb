//! The event timer: its registers are wide, and its interrupts go to several lines.

use std::sync::Arc;

use device_legacy::hpet::{Hpet, REPLACED_PIT, REPLACED_RTC};
use machine_bus::{InterruptLine, Nanos};

use crate::attached::Chip;
use crate::places::HPET_INPUTS;
use crate::wire::Replaceable;

/// A timer block and what it is wired to.
pub(crate) struct EventTimer {
    chip: Hpet,
    /// The I/O APIC's inputs, by number.
    inputs: Vec<(u32, Arc<dyn InterruptLine>)>,
    /// Where the interval timer and the clock are, which it may replace.
    replaced: [Arc<Replaceable>; 2],
}

impl EventTimer {
    /// A block as after reset. `line` makes the wire of an interrupt; `pit` and `rtc` are those of
    /// the devices that it may replace.
    pub(crate) fn new(
        line: impl Fn(u32) -> Arc<dyn InterruptLine>,
        pit: Arc<Replaceable>,
        rtc: Arc<Replaceable>,
    ) -> Self {
        let mut inputs = vec![(REPLACED_PIT, pit.second()), (REPLACED_RTC, rtc.second())];
        inputs.extend(HPET_INPUTS.map(|input| (input, line(input))));
        let routes = HPET_INPUTS
            .iter()
            .fold(0, |routes, input| routes | 1 << input);
        Self {
            chip: Hpet::new(routes),
            inputs,
            replaced: [pit, rtc],
        }
    }
}

impl Chip for EventTimer {
    fn read(&mut self, offset: u16, now: Nanos) -> u8 {
        let mut data = [0];
        self.chip.read(offset, &mut data, now);
        let [byte] = data;
        byte
    }

    fn write(&mut self, offset: u16, value: u8, now: Nanos) {
        self.chip.write(offset, &[value], now);
    }

    fn read_all(&mut self, offset: u16, data: &mut [u8], now: Nanos) {
        self.chip.read(offset, data, now);
    }

    /// An access is one: what a write sets off must not happen once for each of its bytes.
    fn write_all(&mut self, offset: u16, data: &[u8], now: Nanos) {
        self.chip.write(offset, data, now);
    }

    fn advance(&mut self, now: Nanos) {
        self.chip.advance(now);
    }

    /// It has lines of its own instead of one.
    fn settle(&mut self, _: &dyn InterruptLine, _: Nanos) {
        let replaces = self.chip.replaces_legacy();
        for line in &self.replaced {
            line.replace(replaces);
        }
        let (edges, levels) = (self.chip.take_edges(), self.chip.lines());
        for (input, line) in &self.inputs {
            if edges >> input & 1 != 0 {
                line.set(false);
                line.set(true);
            }
            line.set(levels >> input & 1 != 0);
        }
    }

    fn next_event(&self, now: Nanos) -> Option<Nanos> {
        self.chip.next_event(now)
    }
}
