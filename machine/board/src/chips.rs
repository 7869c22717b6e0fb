//! What is special about each chip: how it interrupts, and what it asks of the outside.

use std::sync::Arc;

use device_legacy::debug_exit::DebugExit;
use device_legacy::i8042::I8042;
use device_legacy::pit::Pit;
use device_legacy::pm_timer::{Pm1, PmTimer};
use device_legacy::rtc::Rtc;
use machine_bus::{InterruptLine, Nanos};

use crate::attached::Chip;
use crate::ends::{Ending, Ends};

impl Chip for Pit {
    fn read(&mut self, offset: u16, now: Nanos) -> u8 {
        Self::read(self, offset, now)
    }

    fn write(&mut self, offset: u16, value: u8, now: Nanos) {
        Self::write(self, offset, value, now);
    }

    fn advance(&mut self, now: Nanos) {
        Self::advance(self, now);
    }

    /// Several edges that nobody saw are one interrupt, as with a processor that had them off.
    fn settle(&mut self, line: &dyn InterruptLine, _: Nanos) {
        if self.take_edges() > 0 {
            line.set(false);
            line.set(true);
        }
        line.set(self.irq());
    }

    fn next_event(&self, now: Nanos) -> Option<Nanos> {
        Self::next_event(self, now)
    }
}

impl Chip for Rtc {
    fn read(&mut self, offset: u16, now: Nanos) -> u8 {
        Self::read(self, offset, now)
    }

    fn write(&mut self, offset: u16, value: u8, now: Nanos) {
        Self::write(self, offset, value, now);
    }

    fn advance(&mut self, now: Nanos) {
        Self::advance(self, now);
    }

    fn settle(&mut self, line: &dyn InterruptLine, _: Nanos) {
        line.set(self.irq());
    }

    fn next_event(&self, now: Nanos) -> Option<Nanos> {
        Self::next_event(self, now)
    }
}

/// The keyboard controller, whose reset pulse ends the machine.
pub(crate) struct Keyboard {
    pub(crate) chip: I8042,
    pub(crate) ends: Arc<Ends>,
}

impl Chip for Keyboard {
    fn read(&mut self, offset: u16, _: Nanos) -> u8 {
        self.chip.read(offset)
    }

    fn write(&mut self, offset: u16, value: u8, _: Nanos) {
        self.chip.write(offset, value);
    }

    /// Software counts on an edge for each byte.
    fn settle(&mut self, line: &dyn InterruptLine, _: Nanos) {
        line.set(self.chip.irq());
        self.chip.advance();
        line.set(self.chip.irq());
        if self.chip.take_reset() {
            self.ends.note(Ending::Reset);
        }
    }
}

/// Power management, which can power off.
pub(crate) struct PowerManagement {
    pub(crate) chip: Pm1,
    pub(crate) ends: Arc<Ends>,
}

impl Chip for PowerManagement {
    fn read(&mut self, offset: u16, now: Nanos) -> u8 {
        self.chip.read(offset, now)
    }

    fn write(&mut self, offset: u16, value: u8, now: Nanos) {
        self.chip.write(offset, value, now);
    }

    fn advance(&mut self, now: Nanos) {
        self.chip.advance(now);
    }

    fn settle(&mut self, line: &dyn InterruptLine, _: Nanos) {
        line.set(self.chip.irq());
        if self.chip.take_power_off() {
            self.ends.note(Ending::PowerOff);
        }
    }

    fn next_event(&self, now: Nanos) -> Option<Nanos> {
        self.chip.next_event(now)
    }
}

impl Chip for PmTimer {
    fn read(&mut self, offset: u16, now: Nanos) -> u8 {
        let bytes = Self::read(self, 0, now).to_le_bytes();
        bytes.get(usize::from(offset)).copied().unwrap_or(0xff)
    }

    fn write(&mut self, _: u16, _: u8, _: Nanos) {}

    fn settle(&mut self, _: &dyn InterruptLine, _: Nanos) {}
}

/// The port that ends the machine.
pub(crate) struct ExitPort {
    pub(crate) chip: DebugExit,
    pub(crate) ends: Arc<Ends>,
}

impl Chip for ExitPort {
    fn read(&mut self, offset: u16, _: Nanos) -> u8 {
        self.chip.read(offset)
    }

    fn write(&mut self, offset: u16, value: u8, _: Nanos) {
        self.chip.write(offset, value);
    }

    fn settle(&mut self, _: &dyn InterruptLine, _: Nanos) {
        if let Some(status) = self.chip.take_exit() {
            self.ends.note(Ending::Exit(status));
        }
    }
}
