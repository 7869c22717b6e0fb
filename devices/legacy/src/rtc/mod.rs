//! MC146818 real-time clock with 128 bytes of CMOS memory (Motorola MC146818 data sheet; the
//! century byte is where the FADT of ACPI says, 0x32, and firmware's memory sizes are where
//! IBM's AT and its successors put them).
//!
//! Offset 0 selects a byte (bit 7 is the NMI mask of the PC, ignored), offset 1 is the byte.
//! [`Rtc::irq`] is the IRQ pin, which reading status C lowers.
//!
//! The chip counts seconds by the machine's time from the calendar time that it is
//! given ([`Rtc::new`], [`Rtc::set_time`]) or that the guest sets. An update takes no
//! time; "update in progress" announces it for the 244 us before, in which the time can
//! still be read. Daylight saving is ignored, there is no square wave pin, and the oscillator
//! runs with the divider of a PC (`010`) only; all other dividers hold it in reset.

mod calendar;
mod registers;

use calendar::Moment;
use registers::{
    A_DIVIDER, A_DIVIDER_PC, A_RATE, A_UPDATE_IN_PROGRESS, B_24_HOURS, B_ALARM, B_BINARY,
    B_PERIODIC, B_SET, B_UPDATE, C_ALARM, C_PERIODIC, C_REQUEST, C_UPDATE, D_VALID, Format,
};

use crate::time::Elapsing;
use crate::{FLOATING, Nanos, StateError, require};

/// Bytes of CMOS memory, those of the clock included.
pub const CMOS_SIZE: usize = 128;

const SECOND: u64 = 1_000_000_000;
/// The first update after the divider's reset is half a second later.
const HALF_SECOND: u64 = SECOND / 2;
/// How long before an update it is announced.
const ANNOUNCED: u64 = 244_000;
/// Periods of the oscillator per second.
const OSCILLATOR_HERTZ: u128 = 32_768;

const ALARM_SECOND: u8 = 0x01;
const ALARM_MINUTE: u8 = 0x03;
const ALARM_HOUR: u8 = 0x05;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
const STATUS_C: u8 = 0x0c;
const STATUS_D: u8 = 0x0d;

/// The state of an [`Rtc`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtcState {
    /// The bytes as the guest reads them. Those of the time count only while bit 7 of status
    /// B stops the clock. Statuses A and B are in their places without bit 7 of A; C and D
    /// are zero.
    pub cmos: [u8; CMOS_SIZE],
    /// The byte that offset 1 is, below 128.
    pub index: u8,
    /// Flags of status C: 0x40 periodic, 0x20 alarm, 0x10 update.
    pub flags: u8,
    /// Calendar time: seconds since January 1st of year 0, below 10,000 years.
    pub seconds: u64,
    /// Days by which the guest's day of the week is ahead of the calendar's, below 7.
    pub weekday_ahead: u8,
    /// When the present second ends, after [`Self::clock`] and within a second; does
    /// not count while the oscillator is held.
    pub next_second: Nanos,
    /// The latest time seen.
    pub clock: Nanos,
}

/// A real-time clock.
#[derive(Clone, Debug)]
pub struct Rtc {
    state: RtcState,
}

impl Rtc {
    /// As firmware leaves it: running, 24 hours, BCD, no interrupts, 1024 Hz chosen.
    /// `unix_seconds` since 1970 UTC is the time at `now`.
    pub fn new(unix_seconds: u64, now: Nanos) -> Self {
        let mut cmos = [0; CMOS_SIZE];
        *byte(&mut cmos, STATUS_A) = A_DIVIDER_PC | 6;
        *byte(&mut cmos, STATUS_B) = B_24_HOURS;
        Self {
            state: RtcState {
                cmos,
                index: 0,
                flags: 0,
                seconds: calendar::from_unix(unix_seconds),
                weekday_ahead: 0,
                next_second: Nanos(now.0.saturating_add(SECOND)),
                clock: now,
            },
        }
    }

    /// Sets the calendar to `unix_seconds` since 1970 UTC, as when a machine goes on after a
    /// pause. Without effect while the guest is setting it.
    pub fn set_time(&mut self, unix_seconds: u64, now: Nanos) {
        self.advance(now);
        self.state.seconds = calendar::from_unix(unix_seconds);
    }

    /// Stores the size of the machine's memory where firmware looks for it: `below_4g` bytes
    /// from address zero (0x15-0x18, 0x30, 0x31, 0x34, 0x35) and `above_4g` from 4 GiB on
    /// (0x5b-0x5d). What is too large is stored as the most that fits.
    pub fn set_memory_size(&mut self, below_4g: u64, above_4g: u64) {
        let words = |bytes: u64, skip: u64, unit: u64, most: u64| {
            (bytes.saturating_sub(skip) / unit).min(most).to_le_bytes()
        };
        let [base_low, base_high, ..] = words(below_4g, 0, 1 << 10, 640);
        let [first_low, first_high, ..] = words(below_4g, 1 << 20, 1 << 10, 0xffff);
        let [low, high, ..] = words(below_4g, 16 << 20, 64 << 10, 0xffff);
        let [above_0, above_1, above_2, ..] = words(above_4g, 0, 64 << 10, 0xff_ffff);
        for (index, value) in [
            (0x15, base_low),
            (0x16, base_high),
            (0x17, first_low),
            (0x18, first_high),
            (0x30, first_low),
            (0x31, first_high),
            (0x34, low),
            (0x35, high),
            (0x5b, above_0),
            (0x5c, above_1),
            (0x5d, above_2),
        ] {
            self.set_byte(index, value);
        }
    }

    /// Stores a byte of CMOS memory that is not the clock's; others are left alone.
    pub fn set_byte(&mut self, index: u8, value: u8) {
        if usize::from(index) < CMOS_SIZE && index > STATUS_D && !registers::is_time(index) {
            *byte(&mut self.state.cmos, index) = value;
        }
    }

    /// Reads offset 1, the selected byte. Offset 0 cannot be read.
    pub fn read(&mut self, offset: u16, now: Nanos) -> u8 {
        self.advance(now);
        if offset != 1 {
            return FLOATING;
        }
        match self.state.index {
            STATUS_A => self.status_a() | self.update_in_progress(),
            STATUS_C => self.read_status_c(),
            STATUS_D => D_VALID,
            index if registers::is_time(index) => self.time_byte(index),
            index => self.cmos(index),
        }
    }

    /// Writes offset 0, the selection, or 1, the selected byte.
    pub fn write(&mut self, offset: u16, value: u8, now: Nanos) {
        self.advance(now);
        match (offset, self.state.index) {
            (0, _) => self.state.index = value & 0x7f,
            (1, STATUS_A) => self.write_status_a(value),
            (1, STATUS_B) => self.write_status_b(value),
            (1, STATUS_C | STATUS_D) => {}
            (1, index) if registers::is_time(index) => self.write_time_byte(index, value),
            (1, index) => *byte(&mut self.state.cmos, index) = value,
            _ => {}
        }
    }

    /// Lets time pass until `now`.
    pub fn advance(&mut self, now: Nanos) {
        if now <= self.state.clock {
            return;
        }
        let before = self.state.clock;
        self.state.clock = now;
        if !self.oscillates() {
            return;
        }
        self.note_periods(before, now);
        if now >= self.state.next_second {
            let late = now.since(self.state.next_second);
            let seconds = late / SECOND + 1;
            let end = now.0.saturating_add(SECOND - late % SECOND);
            self.state.next_second = Nanos(end);
            self.update(seconds);
        }
    }

    /// The level of the IRQ pin (inverted: the chip's is active low), as of the latest time
    /// seen.
    pub fn irq(&self) -> bool {
        self.state.flags & self.status_b() != 0
    }

    /// When an enabled interrupt will next be requested that is not requested now.
    pub fn next_event(&self, now: Nanos) -> Option<Nanos> {
        let wanted = self.status_b() & !self.state.flags;
        if !self.oscillates() {
            return None;
        }
        let wants = |flag| wanted & flag != 0;
        let runs = self.status_b() & B_SET == 0;
        let update = wants(B_UPDATE) && runs;
        let update = update.then_some(self.state.next_second);
        let alarm = (wants(B_ALARM) && runs)
            .then(|| self.next_alarm())
            .flatten();
        let period = wants(B_PERIODIC).then(|| self.next_period()).flatten();
        let next = [update, alarm, period].into_iter().flatten().min()?;
        Some(next.max(now))
    }

    /// A copy of the whole state.
    pub fn save(&self) -> RtcState {
        self.state.clone()
    }

    /// A chip in the state of `state`.
    ///
    /// # Errors
    /// When no chip can be in that state.
    pub fn restore(state: RtcState) -> Result<Self, StateError> {
        let check = |holds, field, reason| require(holds, "rtc", field, reason);
        let chip = Self { state };
        let state = &chip.state;
        check(
            chip.status_a() & A_UPDATE_IN_PROGRESS == 0,
            "cmos",
            "has an update in progress",
        )?;
        check(
            chip.cmos(STATUS_C) == 0 && chip.cmos(STATUS_D) == 0,
            "cmos",
            "has flags in statuses C or D",
        )?;
        check(
            usize::from(state.index) < CMOS_SIZE,
            "index",
            "is past the memory",
        )?;
        check(
            state.flags & !(C_PERIODIC | C_ALARM | C_UPDATE) == 0,
            "flags",
            "has other than the three flags",
        )?;
        check(
            state.seconds < calendar::SPAN,
            "seconds",
            "is past the calendar",
        )?;
        check(state.weekday_ahead < 7, "weekday_ahead", "is over a week")?;
        let left = state.next_second.since(state.clock);
        let is_ahead = left > 0 || state.next_second == Nanos(u64::MAX);
        check(
            !chip.oscillates() || (is_ahead && left <= SECOND),
            "next_second",
            "is not within the second after the clock",
        )?;
        Ok(chip)
    }

    fn cmos(&self, index: u8) -> u8 {
        let byte = self.state.cmos.get(usize::from(index));
        byte.copied().unwrap_or(FLOATING)
    }

    fn status_a(&self) -> u8 {
        self.cmos(STATUS_A)
    }

    fn status_b(&self) -> u8 {
        self.cmos(STATUS_B)
    }

    fn format(&self) -> Format {
        Format {
            binary: self.status_b() & B_BINARY != 0,
            hours_24: self.status_b() & B_24_HOURS != 0,
        }
    }

    fn oscillates(&self) -> bool {
        self.status_a() & A_DIVIDER == A_DIVIDER_PC
    }

    fn update_in_progress(&self) -> u8 {
        let counts = self.oscillates() && self.status_b() & B_SET == 0;
        let is_near = self.state.next_second.since(self.state.clock) <= ANNOUNCED;
        if counts && is_near {
            A_UPDATE_IN_PROGRESS
        } else {
            0
        }
    }

    fn read_status_c(&mut self) -> u8 {
        let request = if self.irq() { C_REQUEST } else { 0 };
        request | std::mem::take(&mut self.state.flags)
    }

    /// Releasing the divider from its reset begins a second in its middle ("Divider control").
    fn write_status_a(&mut self, value: u8) {
        let oscillated = self.oscillates();
        *byte(&mut self.state.cmos, STATUS_A) = value & !A_UPDATE_IN_PROGRESS;
        if self.oscillates() && !oscillated {
            self.state.next_second = Nanos(self.state.clock.0.saturating_add(HALF_SECOND));
        }
    }

    /// Stopping the updates (SET) shows the time in the memory and disables their interrupt;
    /// starting them takes it from there.
    fn write_status_b(&mut self, value: u8) {
        let was_set = self.status_b() & B_SET != 0;
        let sets = value & B_SET != 0;
        if sets && !was_set {
            self.show_time();
        }
        let kept = if sets { value & !B_UPDATE } else { value };
        *byte(&mut self.state.cmos, STATUS_B) = kept;
        if was_set && !sets {
            self.take_time();
        }
    }

    /// Writes the calendar into the bytes of the time, in the format of now.
    fn show_time(&mut self) {
        let shown = self.shown();
        for index in registers::TIME {
            if let Some(value) = shown.byte(index, self.format()) {
                *byte(&mut self.state.cmos, index) = value;
            }
        }
    }

    /// Sets the calendar from the bytes of the time, in the format of now.
    fn take_time(&mut self) {
        let mut shown = self.shown();
        for index in registers::TIME {
            shown.set(index, self.cmos(index), self.format());
        }
        self.set_shown(shown);
    }

    fn shown(&self) -> registers::Shown {
        let day = calendar::weekday(self.state.seconds);
        registers::Shown {
            moment: Moment::of(self.state.seconds),
            weekday: (day + self.state.weekday_ahead) % 7,
        }
    }

    fn set_shown(&mut self, shown: registers::Shown) {
        self.state.seconds = shown.moment.seconds();
        let day = calendar::weekday(self.state.seconds);
        self.state.weekday_ahead = (shown.weekday % 7 + 7 - day) % 7;
    }

    fn time_byte(&self, index: u8) -> u8 {
        if self.status_b() & B_SET != 0 {
            return self.cmos(index);
        }
        let shown = self.shown().byte(index, self.format());
        shown.unwrap_or(FLOATING)
    }

    fn write_time_byte(&mut self, index: u8, value: u8) {
        if self.status_b() & B_SET != 0 {
            *byte(&mut self.state.cmos, index) = value;
            return;
        }
        let mut shown = self.shown();
        shown.set(index, value, self.format());
        self.set_shown(shown);
    }

    /// Some seconds have ended.
    fn update(&mut self, seconds: u64) {
        if self.status_b() & B_SET != 0 {
            return;
        }
        self.state.flags |= C_UPDATE;
        if self.until_alarm().is_some_and(|until| until <= seconds) {
            self.state.flags |= C_ALARM;
        }
        self.state.seconds = (self.state.seconds + seconds % calendar::SPAN) % calendar::SPAN;
    }

    /// Seconds until the alarm's next match, 1 to 86,400; `None` if no time matches.
    fn until_alarm(&self) -> Option<u64> {
        let [second, minute, hour] =
            [ALARM_SECOND, ALARM_MINUTE, ALARM_HOUR].map(|index| self.cmos(index));
        self.format()
            .next_match(self.state.seconds % 86_400, [hour, minute, second])
    }

    fn next_alarm(&self) -> Option<Nanos> {
        let more = (self.until_alarm()? - 1) * SECOND;
        self.state.next_second.checked_add(more)
    }

    /// Oscillator periods between two periodic interrupts, a power of two; the two fastest
    /// rates of the divider stand for slower ones ("Periodic interrupt rate").
    fn period(&self) -> Option<u128> {
        match self.status_a() & A_RATE {
            0 => None,
            rate @ 1..=2 => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }

    /// Nanoseconds of the present second that have passed at `now`, which may lie beyond it.
    fn elapsed_of_second(&self, now: Nanos) -> u128 {
        let ends = u128::from(self.state.next_second.0);
        (u128::from(now.0) + u128::from(SECOND)).saturating_sub(ends)
    }

    /// Sets the periodic flag if a period ended after `before`.
    fn note_periods(&mut self, before: Nanos, now: Nanos) {
        let Some(period) = self.period() else {
            return;
        };
        let count = |nanos: u128| nanos * OSCILLATOR_HERTZ / u128::from(SECOND) / period;
        if count(self.elapsed_of_second(before)) != count(self.elapsed_of_second(now)) {
            self.state.flags |= C_PERIODIC;
        }
    }

    fn next_period(&self) -> Option<Nanos> {
        let period = self.period()?;
        let second = u128::from(SECOND);
        let into = self.elapsed_of_second(self.state.clock);
        let count = into * OSCILLATOR_HERTZ / second / period + 1;
        let due = (count * period * second).div_ceil(OSCILLATOR_HERTZ);
        let left = u64::try_from(due.saturating_sub(into)).ok()?;
        self.state.clock.checked_add(left)
    }
}

/// A byte of the memory, by an index below its size.
fn byte(cmos: &mut [u8; CMOS_SIZE], index: u8) -> &mut u8 {
    let [first, rest @ ..] = cmos;
    match usize::from(index & 0x7f) {
        0 => first,
        at => rest.get_mut(at - 1).unwrap_or(first),
    }
}
