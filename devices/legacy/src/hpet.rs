//! High precision event timer: one block with three timers (IA-PC HPET Specification 1.0a).
//!
//! Registers are 64 bits wide; any access inside of one is a part of it. The counter runs at
//! 100 MHz while it is enabled. All timers are 64 bits wide, may be periodic, and can be
//! routed to the inputs of the I/O APIC that the board names. There is no delivery by message.
//! With legacy replacement ([`Hpet::replaces_legacy`]) the first timer has the 8254's place, which
//! is input [`REPLACED_PIT`], and the second one the clock's, [`REPLACED_RTC`].
//!
//! A timer in level mode drives its input as [`Hpet::lines`] says; one in edge mode leaves
//! rising edges in [`Hpet::take_edges`]. A write to a periodic timer's comparator sets the
//! period; with "value set" in its configuration, it sets the comparator as well.

use crate::time::Elapsing;
use crate::{Nanos, StateError, require};

/// Timers of the block.
pub const TIMERS: usize = 3;
/// Nanoseconds between two counts.
pub const PERIOD_NANOS: u64 = 10;
const PERIOD_FEMTOSECONDS: u64 = PERIOD_NANOS * 1_000_000;

/// The input of the I/O APIC at which a PC has its 8254.
pub const REPLACED_PIT: u32 = 2;
/// The input of the I/O APIC at which a PC has its clock.
pub const REPLACED_RTC: u32 = 8;
/// The lower half of the capabilities, by which tables tell blocks apart.
pub const BLOCK: u32 = CAPABILITIES as u32;

const CAPABILITIES: u64 = PERIOD_FEMTOSECONDS << 32
    | 0x8086 << 16
    /* legacy replacement */
    | 1 << 15
    /* 64 bits wide */
    | 1 << 13
    | (TIMERS as u64 - 1) << 8
    /* revision */
    | 1;

const ENABLE: u64 = 1;
const LEGACY: u64 = 1 << 1;

const TIMER_LEVEL: u64 = 1 << 1;
const TIMER_ENABLE: u64 = 1 << 2;
const TIMER_PERIODIC: u64 = 1 << 3;
const TIMER_CAN_BE_PERIODIC: u64 = 1 << 4;
const TIMER_64_BITS: u64 = 1 << 5;
const TIMER_SET_VALUE: u64 = 1 << 6;
const TIMER_32_BIT_MODE: u64 = 1 << 8;
const TIMER_ROUTE_SHIFT: u32 = 9;
const TIMER_ROUTE: u64 = 0x1f << TIMER_ROUTE_SHIFT;
const TIMER_WRITABLE: u64 =
    TIMER_LEVEL | TIMER_ENABLE | TIMER_PERIODIC | TIMER_SET_VALUE | TIMER_32_BIT_MODE | TIMER_ROUTE;

/// The state of a timer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimerState {
    /// What can be written of its configuration.
    pub config: u64,
    /// The comparator.
    pub comparator: u64,
    /// What is added to the comparator when a periodic timer fires.
    pub period: u64,
}

/// The state of an [`Hpet`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HpetState {
    /// The counter is running.
    pub enabled: bool,
    /// The first two timers are to have the places of 8254 and clock.
    pub legacy: bool,
    /// The counter at [`Self::since`].
    pub counter: u64,
    /// When the counter had that value; not after [`Self::clock`].
    pub since: Nanos,
    /// Level triggered timers that fired, bit 0 the first.
    pub status: u64,
    /// The timers.
    pub timers: [TimerState; TIMERS],
    /// Inputs of the interrupt controller that timers can be routed to.
    pub routes: u32,
    /// Inputs at which an edge was not taken yet.
    pub edges: u32,
    /// The latest time seen.
    pub clock: Nanos,
}

impl TimerState {
    fn mask(&self) -> u64 {
        if self.config & TIMER_32_BIT_MODE != 0 {
            u32::MAX.into()
        } else {
            u64::MAX
        }
    }

    fn input(&self) -> u32 {
        1 << ((self.config & TIMER_ROUTE) >> TIMER_ROUTE_SHIFT)
    }

    fn has(&self, bit: u64) -> bool {
        self.config & bit != 0
    }

    /// Counts from `counter` until the comparator is reached; a full turn if it is now.
    fn distance(&self, counter: u64) -> u64 {
        let distance = self.comparator.wrapping_sub(counter) & self.mask();
        if distance == 0 { self.mask() } else { distance }
    }

    /// The counter went from `counter` on by `elapsed`: whether the timer fires. However
    /// many periods have passed, it fires once.
    fn run(&mut self, counter: u64, elapsed: u64) -> bool {
        let distance = self.distance(counter);
        if elapsed < distance {
            return false;
        }
        if self.has(TIMER_PERIODIC) && self.period != 0 {
            let periods = (elapsed - distance) / self.period + 1;
            let ahead = self.period.wrapping_mul(periods);
            self.comparator = self.comparator.wrapping_add(ahead) & self.mask();
        }
        true
    }

    fn write_config(&mut self, value: u64, mask: u64, routes: u32) {
        let mask = mask & TIMER_WRITABLE;
        let before = self.config & TIMER_ROUTE;
        self.config = self.config & !mask | value & mask;
        // A route that the board does not have does not stick.
        if self.input() & routes == 0 {
            self.config = self.config & !TIMER_ROUTE | before;
        }
        self.comparator &= self.mask();
        self.period &= self.mask();
    }

    fn write_comparator(&mut self, value: u64, mask: u64) {
        let (mask, all) = (mask & self.mask(), self.mask());
        let merge = |before: u64| (before & !mask | value & mask) & all;
        let periodic = self.has(TIMER_PERIODIC);
        if !periodic || self.has(TIMER_SET_VALUE) {
            self.comparator = merge(self.comparator);
        }
        if periodic {
            self.period = merge(self.period);
        }
        self.config &= !TIMER_SET_VALUE;
    }
}

/// A timer block.
#[derive(Clone, Debug)]
pub struct Hpet {
    state: HpetState,
}

impl Hpet {
    /// As after reset. `routes`: the inputs of the interrupt controller that timers can be
    /// routed to, bit 0 the first.
    pub fn new(routes: u32) -> Self {
        let route = u64::from(routes.trailing_zeros() % 32) << TIMER_ROUTE_SHIFT;
        let timer = TimerState {
            config: route,
            comparator: u64::MAX,
            period: 0,
        };
        Self {
            state: HpetState {
                enabled: false,
                legacy: false,
                counter: 0,
                since: Nanos(0),
                status: 0,
                timers: [timer; TIMERS],
                routes,
                edges: 0,
                clock: Nanos(0),
            },
        }
    }

    /// Reads what is at `offset`; registers that do not exist are zero.
    pub fn read(&mut self, offset: u16, data: &mut [u8], now: Nanos) {
        self.advance(now);
        for (at, byte) in (offset..=u16::MAX).zip(data.iter_mut()) {
            let register = self.register(at & !7).to_le_bytes();
            *byte = register.get(usize::from(at & 7)).copied().unwrap_or(0);
        }
    }

    /// Writes what is at `offset`; of an access that crosses a border the first part counts.
    pub fn write(&mut self, offset: u16, data: &[u8], now: Nanos) {
        self.advance(now);
        let shift = 8 * u32::from(offset & 7);
        let (mut value, mut mask) = (0, 0);
        for (byte, at) in data.iter().zip((shift..64).step_by(8)) {
            value |= u64::from(*byte) << at;
            mask |= 0xff << at;
        }
        self.write_register(offset & !7, value, mask);
    }

    /// Lets time pass until `now`.
    pub fn advance(&mut self, now: Nanos) {
        if now <= self.state.clock {
            return;
        }
        let before = self.counter();
        self.state.clock = now;
        if !self.state.enabled {
            return;
        }
        let counter = self.counter();
        let elapsed = counter.wrapping_sub(before);
        let replaces = self.replaces_legacy();
        for (number, timer) in self.state.timers.iter_mut().enumerate() {
            if !timer.run(before, elapsed) || !timer.has(TIMER_ENABLE) {
                continue;
            }
            if timer.has(TIMER_LEVEL) {
                self.state.status |= 1 << number;
            } else {
                self.state.edges |= input(replaces, number, timer);
            }
        }
    }

    /// The inputs that level triggered timers hold high.
    pub fn lines(&self) -> u32 {
        let timers = self.state.timers.iter().enumerate();
        let high = timers.filter(|(number, timer)| {
            self.state.status >> number & 1 != 0
                && timer.has(TIMER_ENABLE)
                && timer.has(TIMER_LEVEL)
        });
        let replaces = self.replaces_legacy();
        high.fold(0, |lines, (number, timer)| {
            lines | input(replaces, number, timer)
        })
    }

    /// Whether 8254 and clock are cut off from their inputs (2.3.5, "LEG_RT_CNF").
    pub fn replaces_legacy(&self) -> bool {
        self.state.enabled && self.state.legacy
    }

    /// Takes the inputs at which edge triggered timers have fired since the last call.
    pub fn take_edges(&mut self) -> u32 {
        std::mem::take(&mut self.state.edges)
    }

    /// When the next timer will fire that interrupts.
    pub fn next_event(&self, now: Nanos) -> Option<Nanos> {
        if !self.state.enabled {
            return None;
        }
        let counter = self.counter();
        let timers = self
            .state
            .timers
            .iter()
            .filter(|timer| timer.has(TIMER_ENABLE));
        let counts = timers.map(|timer| timer.distance(counter)).min()?;
        let done = counter.wrapping_sub(self.state.counter);
        let nanos = done.checked_add(counts)?.checked_mul(PERIOD_NANOS)?;
        Some(self.state.since.checked_add(nanos)?.max(now))
    }

    /// A copy of the whole state.
    pub fn save(&self) -> HpetState {
        self.state.clone()
    }

    /// A block in the state of `state`.
    ///
    /// # Errors
    /// When no block can be in that state.
    pub fn restore(state: HpetState) -> Result<Self, StateError> {
        let check = |holds, field, reason| require(holds, "hpet", field, reason);
        check(state.since <= state.clock, "since", "is in the future")?;
        check(
            state.status >> TIMERS == 0,
            "status",
            "has more than 3 timers",
        )?;
        for timer in &state.timers {
            let known = timer.config & !TIMER_WRITABLE == 0;
            check(known, "timers", "has configuration bits that do not exist")?;
            let fits = (timer.comparator | timer.period) & !timer.mask() == 0;
            check(fits, "timers", "has more than 32 bits in 32-bit mode")?;
        }
        Ok(Self { state })
    }

    fn counter(&self) -> u64 {
        let nanos = if self.state.enabled {
            self.state.clock.since(self.state.since)
        } else {
            0
        };
        self.state.counter.wrapping_add(nanos / PERIOD_NANOS)
    }

    fn register(&self, offset: u16) -> u64 {
        match offset {
            0x00 => CAPABILITIES,
            0x10 => u64::from(self.state.enabled) | u64::from(self.state.legacy) << 1,
            0x20 => self.state.status,
            0xf0 => self.counter(),
            _ => {
                let Some((timer, register)) = timer_of(offset) else {
                    return 0;
                };
                let Some(timer) = self.state.timers.get(timer) else {
                    return 0;
                };
                let fixed = TIMER_CAN_BE_PERIODIC | TIMER_64_BITS;
                match register {
                    0x00 => timer.config | fixed | u64::from(self.state.routes) << 32,
                    0x08 => timer.comparator,
                    _ => 0,
                }
            }
        }
    }

    fn write_register(&mut self, offset: u16, value: u64, mask: u64) {
        match offset {
            0x10 if mask & ENABLE != 0 => {
                self.state.legacy = value & LEGACY != 0;
                self.set_enabled(value & ENABLE != 0);
            }
            0x20 => self.state.status &= !(value & mask),
            0xf0 => {
                let merged = self.counter() & !mask | value & mask;
                self.state.counter = merged;
                self.state.since = self.state.clock;
            }
            _ => {
                let routes = self.state.routes;
                let Some((timer, register)) = timer_of(offset) else {
                    return;
                };
                let Some(timer) = self.state.timers.get_mut(timer) else {
                    return;
                };
                match register {
                    0x00 => timer.write_config(value, mask, routes),
                    0x08 => timer.write_comparator(value, mask),
                    _ => {}
                }
            }
        }
    }

    fn set_enabled(&mut self, enabled: bool) {
        self.state.counter = self.counter();
        self.state.since = self.state.clock;
        self.state.enabled = enabled;
    }
}

/// The input at which a timer interrupts, as a bit.
fn input(replaces_legacy: bool, number: usize, timer: &TimerState) -> u32 {
    match number {
        0 if replaces_legacy => 1 << REPLACED_PIT,
        1 if replaces_legacy => 1 << REPLACED_RTC,
        _ => timer.input(),
    }
}

/// The timer whose registers an offset is among, and where.
fn timer_of(offset: u16) -> Option<(usize, u16)> {
    let at = offset.checked_sub(0x100)?;
    Some((usize::from(at / 0x20), at % 0x20))
}
