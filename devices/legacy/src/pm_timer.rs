//! The fixed hardware of ACPI: power management timer and PM1 registers (ACPI 6.5, 4.8.3).
//!
//! [`PmTimer`] is the free-running counter of 3.579545 MHz, 32 bits wide. [`Pm1`] has the
//! event and control blocks: offsets 0 and 1 are PM1_STS, 2 and 3 PM1_EN, 4 and 5 PM1_CNT, low
//! bytes first; a wider access is one of its bytes each. [`Pm1::irq`] is the SCI.
//!
//! The machine is always in ACPI mode: SCI_EN is set, and there is no SMI command port. Of
//! the sleep states there is only S5, off; asking for another does nothing.

use crate::time::Oscillator;
use crate::{FLOATING, Nanos, StateError, require};

/// Frequency of the timer (4.8.3.3).
pub const FREQUENCY_HERTZ: u32 = 3_579_545;
const CLOCK: Oscillator = Oscillator {
    hertz: FREQUENCY_HERTZ,
};
/// Ticks between two changes of the timer's highest bit.
const HALF_TURN: u64 = 1 << 31;

const TIMER: u16 = 1 << 0;
const POWER_BUTTON: u16 = 1 << 8;
const SLEEP_BUTTON: u16 = 1 << 9;
/// The events that exist.
const EVENTS: u16 = TIMER | POWER_BUTTON | SLEEP_BUTTON;
/// PM1_EN also keeps the global lock's and the clock's bits.
const ENABLES: u16 = EVENTS | 1 << 5 | 1 << 10;

const SCI_ENABLED: u16 = 1 << 0;
const BUS_MASTER_RELOAD: u16 = 1 << 1;
const SLEEP_TYPE_SHIFT: u32 = 10;
const SLEEP_TYPE: u16 = 7 << SLEEP_TYPE_SHIFT;
const SLEEP_ENABLE: u16 = 1 << 13;

/// The state of a [`PmTimer`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PmTimerState {
    /// The latest time seen.
    pub clock: Nanos,
}

/// The power management timer. It interrupts through [`Pm1`].
#[derive(Clone, Debug, Default)]
pub struct PmTimer {
    state: PmTimerState,
}

impl PmTimer {
    /// A timer that is zero at the origin of time.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the counter, at offset 0 only.
    pub fn read(&mut self, offset: u16, now: Nanos) -> u32 {
        self.state.clock = self.state.clock.max(now);
        if offset != 0 {
            return u32::MAX;
        }
        // The counter is the low 32 bits: it wraps.
        CLOCK.ticks(self.state.clock) as u32
    }

    /// The counter cannot be written.
    pub fn write(&mut self, _offset: u16, _value: u32, now: Nanos) {
        self.state.clock = self.state.clock.max(now);
    }

    /// A copy of the whole state.
    pub fn save(&self) -> PmTimerState {
        self.state.clone()
    }

    /// A timer in the state of `state`.
    ///
    /// # Errors
    /// None: every state is possible. The signature is that of every chip.
    pub fn restore(state: PmTimerState) -> Result<Self, StateError> {
        Ok(Self { state })
    }
}

/// The state of a [`Pm1`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pm1State {
    /// PM1_STS.
    pub status: u16,
    /// PM1_EN.
    pub enable: u16,
    /// PM1_CNT without what only writes have.
    pub control: u16,
    /// SLP_TYP of S5 in the machine's tables, 3 bits.
    pub off_type: u8,
    /// The guest asked to be powered off, which was not taken yet.
    pub power_off: bool,
    /// The latest time seen.
    pub clock: Nanos,
}

/// The PM1 event and control blocks.
#[derive(Clone, Debug)]
pub struct Pm1 {
    state: Pm1State,
}

impl Pm1 {
    /// As after power on. `off_type`: the value of SLP_TYP that means S5, as the machine's
    /// `\_S5` object says; 3 bits.
    pub fn new(off_type: u8) -> Self {
        Self {
            state: Pm1State {
                status: 0,
                enable: 0,
                control: SCI_ENABLED,
                off_type: off_type & 7,
                power_off: false,
                clock: Nanos(0),
            },
        }
    }

    /// Reads a byte, offset 0 to 5.
    pub fn read(&mut self, offset: u16, now: Nanos) -> u8 {
        self.advance(now);
        let register = match offset {
            0 | 1 => self.state.status,
            2 | 3 => self.state.enable,
            4 | 5 => self.state.control,
            _ => return FLOATING,
        };
        let [low, high] = register.to_le_bytes();
        if offset.is_multiple_of(2) { low } else { high }
    }

    /// Writes a byte, offset 0 to 5. A set bit clears an event.
    pub fn write(&mut self, offset: u16, value: u8, now: Nanos) {
        self.advance(now);
        let shift = u32::from(offset % 2) * 8;
        let bits = u16::from(value) << shift;
        let kept = !(0xff << shift);
        match offset {
            0 | 1 => self.state.status &= !bits,
            2 | 3 => self.state.enable = (self.state.enable & kept | bits) & ENABLES,
            4 | 5 => self.write_control(self.state.control & kept | bits),
            _ => {}
        }
    }

    /// Lets time pass until `now`: a change of the timer's highest bit is an event.
    pub fn advance(&mut self, now: Nanos) {
        if now <= self.state.clock {
            return;
        }
        let turns = |at| CLOCK.ticks(at) / HALF_TURN;
        if turns(now) != turns(self.state.clock) {
            self.state.status |= TIMER;
        }
        self.state.clock = now;
    }

    /// The level of the SCI, as of the latest time seen.
    pub fn irq(&self) -> bool {
        self.state.status & self.state.enable != 0
    }

    /// When the timer will next raise an event that interrupts.
    pub fn next_event(&self, now: Nanos) -> Option<Nanos> {
        if self.state.enable & !self.state.status & TIMER == 0 {
            return None;
        }
        let turns = CLOCK.ticks(self.state.clock) / HALF_TURN;
        let ticks = turns.checked_add(1)?.checked_mul(HALF_TURN)?;
        Some(CLOCK.moment(ticks)?.max(now))
    }

    /// Someone pressed the power button.
    pub fn press_power_button(&mut self) {
        self.state.status |= POWER_BUTTON;
    }

    /// Someone pressed the sleep button.
    pub fn press_sleep_button(&mut self) {
        self.state.status |= SLEEP_BUTTON;
    }

    /// Takes the guest's wish to be powered off.
    pub fn take_power_off(&mut self) -> bool {
        std::mem::take(&mut self.state.power_off)
    }

    /// A copy of the whole state.
    pub fn save(&self) -> Pm1State {
        self.state.clone()
    }

    /// The registers in the state of `state`.
    ///
    /// # Errors
    /// When they cannot be in that state.
    pub fn restore(state: Pm1State) -> Result<Self, StateError> {
        let check = |holds, field, reason| require(holds, "pm1", field, reason);
        let control = SCI_ENABLED | BUS_MASTER_RELOAD | SLEEP_TYPE;
        check(
            state.status & !EVENTS == 0,
            "status",
            "has events that do not exist",
        )?;
        check(
            state.enable & !ENABLES == 0,
            "enable",
            "has events that do not exist",
        )?;
        check(
            state.control & !control == 0,
            "control",
            "has bits that only writes have",
        )?;
        check(
            state.control & SCI_ENABLED != 0,
            "control",
            "is not in ACPI mode",
        )?;
        check(state.off_type < 8, "off_type", "has more than 3 bits")?;
        Ok(Self { state })
    }

    /// PM1_CNT (4.8.3.2.1). SLP_EN acts when it is written and reads as zero.
    fn write_control(&mut self, value: u16) {
        self.state.control = value & (BUS_MASTER_RELOAD | SLEEP_TYPE) | SCI_ENABLED;
        let sleep_type = (value & SLEEP_TYPE) >> SLEEP_TYPE_SHIFT;
        if value & SLEEP_ENABLE != 0 && sleep_type == u16::from(self.state.off_type) {
            self.state.power_off = true;
        }
    }
}
