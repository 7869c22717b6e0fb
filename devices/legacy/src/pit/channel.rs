//! One counter of an 8254.
//!
//! [`ChannelState::tick`] is one period of the clock, as the data sheet's "Mode definitions"
//! tell it; [`ChannelState::run`] does the same as many of them and skips those in which
//! the counter only counts.

use crate::{StateError, require};

/// Two-byte access: the low byte first.
const ACCESS_BOTH: u8 = 3;

/// What the next write to a counter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteHalf {
    /// The first or only byte of a count.
    First,
    /// The high byte of a count with this low byte.
    High(u8),
}

/// The state of one counter.
///
/// Counts are numbers of ticks: 0 to 65535, or 0 to 9999 when counting in BCD, and 0 stands
/// for the modulus (65536 or 10000).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelState {
    /// The last control word: access in bits 4 and 5, mode in 1 to 3, BCD in 0.
    pub control: u8,
    /// The count register: the count that was last written whole.
    pub reload: u16,
    /// The counting element.
    pub count: u16,
    /// A count was written since the control word.
    pub has_reload: bool,
    /// The count register has a count that the counting element did not load yet.
    pub null_count: bool,
    /// The next tick loads the counting element.
    pub load: bool,
    /// The counting element was loaded since the control word, and counts.
    pub running: bool,
    /// Modes 0, 1, 4 and 5: reaching zero will change the output.
    pub armed: bool,
    /// Modes 4 and 5: the output is low for the rest of this tick.
    pub strobe: bool,
    /// Mode 3: the count in use is odd.
    pub odd: bool,
    /// The gate input.
    pub gate: bool,
    /// The output.
    pub output: bool,
    /// What the next written byte is.
    pub write_half: WriteHalf,
    /// Two-byte access: the next read is of the high byte.
    pub reads_high: bool,
    /// A latched count, as it is read.
    pub latched_count: Option<u16>,
    /// A latched status.
    pub latched_status: Option<u8>,
}

impl ChannelState {
    pub(super) fn new(gate: bool) -> Self {
        Self {
            control: ACCESS_BOTH << 4,
            reload: 0,
            count: 0,
            has_reload: false,
            null_count: true,
            load: false,
            running: false,
            armed: false,
            strobe: false,
            odd: false,
            gate,
            output: false,
            write_half: WriteHalf::First,
            reads_high: false,
            latched_count: None,
            latched_status: None,
        }
    }

    /// Checks that a counter can be in this state.
    pub(super) fn check(&self) -> Result<(), StateError> {
        let check = |holds, field, reason| require(holds, "pit channel", field, reason);
        let fits = |count: u16| u32::from(count) < self.modulus();
        let one_shot = matches!(self.mode(), 0 | 1 | 4 | 5);
        check(self.control < 0x40, "control", "has more than 6 bits")?;
        check(self.access() != 0, "control", "is a latch command")?;
        check(fits(self.reload), "reload", "is no decimal count")?;
        check(fits(self.count), "count", "is no decimal count")?;
        check(
            self.has_reload || !(self.load || self.running),
            "has_reload",
            "is not set but used",
        )?;
        check(
            self.running || !(self.armed || self.strobe),
            "running",
            "is not set but has effects",
        )?;
        check(
            one_shot || !self.armed,
            "armed",
            "is set in a periodic mode",
        )?;
        check(
            !self.strobe || (matches!(self.mode(), 4 | 5) && !self.output),
            "strobe",
            "is set without a strobe",
        )?;
        check(
            self.mode() != 3 || !self.running || self.count.is_multiple_of(2),
            "count",
            "is odd in mode 3",
        )?;
        check(
            !self.odd || self.mode() == 3,
            "odd",
            "is set outside of mode 3",
        )?;
        check(
            self.write_half == WriteHalf::First || self.access() == ACCESS_BOTH,
            "write_half",
            "waits for a second byte that does not come",
        )?;
        check(
            !self.reads_high || self.access() == ACCESS_BOTH,
            "reads_high",
            "waits for a second byte that does not come",
        )
    }

    fn access(&self) -> u8 {
        self.control >> 4 & 3
    }

    /// The mode, 0 to 5; of the two spare encodings each is that without its high bit.
    fn mode(&self) -> u8 {
        match self.control >> 1 & 7 {
            mode @ 0..=5 => mode,
            mode => mode & 3,
        }
    }

    fn is_decimal(&self) -> bool {
        self.control & 1 != 0
    }

    fn modulus(&self) -> u32 {
        if self.is_decimal() { 10_000 } else { 0x1_0000 }
    }

    /// The number of ticks that a count stands for.
    fn ticks_of(&self, count: u16) -> u32 {
        if count == 0 {
            self.modulus()
        } else {
            u32::from(count)
        }
    }

    /// `count` after counting down by `ticks`, wrapping around.
    fn less(&self, count: u16, ticks: u64) -> u16 {
        let modulus = u64::from(self.modulus());
        let less = (u64::from(count) + modulus - ticks % modulus) % modulus;
        u16::try_from(less).unwrap_or(0)
    }

    /// A control word for this counter, the latch command among them.
    pub(super) fn write_control(&mut self, value: u8) {
        if value >> 4 & 3 == 0 {
            self.latch_count();
            return;
        }
        let mut fresh = Self {
            control: value & 0x3f,
            reload: self.reload,
            count: self.count,
            ..Self::new(self.gate)
        };
        fresh.reload = fresh.less(fresh.reload, 0);
        fresh.count = fresh.less(fresh.count, 0);
        fresh.output = fresh.mode() != 0;
        *self = fresh;
    }

    /// Latches the count, unless one is latched already ("Counter latch command").
    pub(super) fn latch_count(&mut self) {
        self.latched_count.get_or_insert(self.shown_count());
    }

    /// Latches the status, unless one is latched already ("Read-back command").
    pub(super) fn latch_status(&mut self) {
        let status = self.control | u8::from(self.null_count) << 6 | u8::from(self.output) << 7;
        self.latched_status.get_or_insert(status);
    }

    /// Reads the status if it is latched, else the next byte of the count.
    pub(super) fn read_count(&mut self) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let [low, high] = self
            .latched_count
            .unwrap_or_else(|| self.shown_count())
            .to_le_bytes();
        let is_high = self.reads_high || self.access() == 2;
        if self.access() == ACCESS_BOTH {
            self.reads_high = !self.reads_high;
        }
        if !self.reads_high {
            self.latched_count = None;
        }
        if is_high { high } else { low }
    }

    /// The counting element as it is read.
    fn shown_count(&self) -> u16 {
        if self.is_decimal() {
            to_bcd(self.count)
        } else {
            self.count
        }
    }

    /// The next byte of a count. In mode 0 the first of two stops the counter.
    pub(super) fn write_count(&mut self, value: u8) {
        let bytes = match (self.access(), self.write_half) {
            (1, _) => [value, 0],
            (2, _) => [0, value],
            (_, WriteHalf::High(low)) => [low, value],
            (_, WriteHalf::First) => {
                self.write_half = WriteHalf::High(value);
                if self.mode() == 0 {
                    self.stop();
                }
                return;
            }
        };
        self.write_half = WriteHalf::First;
        let raw = u16::from_le_bytes(bytes);
        self.reload = if self.is_decimal() {
            from_bcd(raw)
        } else {
            raw
        };
        self.accept_reload();
    }

    fn stop(&mut self) {
        self.running = false;
        self.armed = false;
        self.load = false;
        self.output = false;
    }

    /// A whole count was written: when it is loaded is up to the mode.
    fn accept_reload(&mut self) {
        self.has_reload = true;
        self.null_count = true;
        match self.mode() {
            0 => {
                self.output = false;
                self.armed = false;
                self.load = true;
            }
            4 => self.load = true,
            2 | 3 => self.load |= !self.running,
            _ => {}
        }
    }

    /// Sets the gate input ("Gate pin operations summary").
    pub(super) fn set_gate(&mut self, gate: bool) {
        let rises = gate && !self.gate;
        self.gate = gate;
        let periodic = matches!(self.mode(), 2 | 3);
        if rises && self.has_reload && matches!(self.mode(), 1 | 2 | 3 | 5) {
            self.load = true;
        }
        if !gate && periodic && self.has_reload {
            self.output = true;
        }
    }

    /// Whether the gate lets the counter count.
    fn is_held(&self) -> bool {
        !self.gate && !matches!(self.mode(), 1 | 5)
    }

    /// One tick of the clock.
    fn tick(&mut self) {
        if std::mem::take(&mut self.strobe) {
            self.output = true;
        }
        if self.load {
            self.load_count();
        } else if self.running && !self.is_held() {
            match self.mode() {
                2 => self.tick_rate(),
                3 => self.tick_square(),
                _ => self.tick_once(),
            }
        }
    }

    fn load_count(&mut self) {
        self.load = false;
        self.running = true;
        self.null_count = false;
        self.count = self.reload;
        match self.mode() {
            0 | 4 | 5 => self.armed = true,
            1 => {
                self.armed = true;
                self.output = false;
            }
            3 => {
                self.odd = !self.reload.is_multiple_of(2);
                self.count &= !1;
            }
            _ => {}
        }
    }

    /// Modes 0, 1, 4 and 5: reaching zero acts once, and the counter wraps around.
    fn tick_once(&mut self) {
        self.count = self.less(self.count, 1);
        if self.count == 0 && std::mem::take(&mut self.armed) {
            self.strobe = matches!(self.mode(), 4 | 5);
            self.output = !self.strobe;
        }
    }

    /// Mode 2: low while the count is 1, then again from the start. A count of 1 is not
    /// allowed; the output stays high.
    fn tick_rate(&mut self) {
        if self.count == 1 {
            self.load_count();
            self.output = true;
        } else {
            self.count = self.less(self.count, 1);
            self.output = self.count != 1;
        }
    }

    /// Mode 3: counts by two; an odd count's high half lasts one tick longer. A count of 1 is
    /// not allowed; the output stays high.
    fn tick_square(&mut self) {
        let last = if self.odd && self.output { 0 } else { 2 };
        if self.count != last {
            self.count = self.less(self.count, 2);
            return;
        }
        self.load_count();
        self.output = !self.output || self.reload == 1;
    }

    /// Runs for `ticks`; returns how often the output rose.
    pub(super) fn run(&mut self, mut ticks: u64) -> u64 {
        let mut rises = 0_u64;
        while ticks > 0 {
            if let Some(period) = self.period()
                && ticks >= period
            {
                rises += ticks / period * u64::from(self.reload != 1);
                ticks %= period;
                continue;
            }
            let quiet = self.quiet().min(ticks);
            self.skip(quiet);
            ticks -= quiet;
            if ticks > 0 {
                rises += u64::from(self.tick_rises());
                ticks -= 1;
            }
        }
        rises
    }

    /// The number of ticks until the output rises.
    pub(super) fn rise(&self) -> Option<u64> {
        /// Load, high to low, low to high: no mode needs more.
        const CHANGES: u32 = 4;
        let mut future = *self;
        let mut ticks = 0_u64;
        for _ in 0..CHANGES {
            let quiet = future.quiet();
            future.skip(quiet);
            ticks = ticks.checked_add(quiet)?.checked_add(1)?;
            if future.tick_rises() {
                return Some(ticks);
            }
        }
        None
    }

    fn tick_rises(&mut self) -> bool {
        let before = self.output;
        self.tick();
        !before && self.output
    }

    /// The period after which everything is as it was, if the counter is in a periodic mode
    /// and has settled.
    fn period(&self) -> Option<u64> {
        let settled = self.running && !self.load && !self.null_count && !self.is_held();
        let on_cycle = u32::from(self.count) <= u32::from(self.reload) || self.reload == 0;
        let periodic = matches!(self.mode(), 2 | 3) && settled && on_cycle;
        periodic.then(|| u64::from(self.ticks_of(self.reload)))
    }

    /// How many of the next ticks surely do nothing but count.
    fn quiet(&self) -> u64 {
        if self.load || self.strobe {
            return 0;
        }
        if !self.running || self.is_held() {
            return u64::MAX;
        }
        let left = u64::from(self.ticks_of(self.count));
        match self.mode() {
            2 if self.count == 1 => 0,
            2 => left - 2,
            3 if self.odd && self.output => u64::from(self.count / 2),
            3 => left / 2 - 1,
            _ if self.armed => left - 1,
            _ => u64::MAX,
        }
    }

    /// Counts down `ticks` of the [`quiet`](Self::quiet) ones.
    fn skip(&mut self, ticks: u64) {
        if !self.running || self.is_held() {
            return;
        }
        let by = if self.mode() == 3 { 2 } else { 1 };
        let modulus = u64::from(self.modulus());
        self.count = self.less(self.count, ticks % modulus * by);
    }
}

/// The number of four decimal digits; a digit above nine counts for what it is.
fn from_bcd(raw: u16) -> u16 {
    let digit = |shift: u32| raw >> shift & 0xf;
    (digit(12) * 1000 + digit(8) * 100 + digit(4) * 10 + digit(0)) % 10_000
}

/// The four decimal digits of a number below 10,000.
fn to_bcd(value: u16) -> u16 {
    let digit = |unit: u16, shift: u32| (value / unit % 10) << shift;
    digit(1000, 12) | digit(100, 8) | digit(10, 4) | digit(1, 0)
}
