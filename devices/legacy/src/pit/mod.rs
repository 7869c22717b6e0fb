//! 8254 interval timer (Intel 8254 data sheet, order number 231164) and port 0x61, the
//! system control port by which a PC reaches the gate and the output of channel 2.
//!
//! Offsets 0 to 2 are the channels, 3 is the control word, 4 is the system control port.
//! The timer's clock runs at 1,193,182 Hz from the origin of the machine's time: tick `n` is
//! at `n / 1,193,182` seconds exactly, however often or seldom the chip is looked at.
//!
//! Output 0 is the interrupt. A PC's interrupt controller looks at its rising edges, and
//! between two looks at the chip there may have been several, or a low pulse of one tick:
//! [`Pit::take_edges`] counts them. For each (or for all of them together) lower line 0,
//! raise it, then leave it at [`Pit::irq`]. [`Pit::next_event`] is the next rising edge.
//!
//! The gates of channels 0 and 1 are always high. Port 0x61 has no NMI sources.

mod channel;

pub use channel::{ChannelState, WriteHalf};

use crate::time::Oscillator;
use crate::{FLOATING, Nanos, StateError, require};

/// Frequency of the timer's clock.
pub const FREQUENCY_HERTZ: u32 = 1_193_182;
const CLOCK: Oscillator = Oscillator {
    hertz: FREQUENCY_HERTZ,
};

/// The control word's select bits for the read-back command.
const SELECT_READ_BACK: u8 = 3;
const READ_BACK_NO_COUNT: u8 = 0x20;
const READ_BACK_NO_STATUS: u8 = 0x10;

const CONTROL_GATE: u8 = 0x01;
const CONTROL_SPEAKER: u8 = 0x02;
const CONTROL_WRITABLE: u8 = 0x0f;
const CONTROL_REFRESH: u8 = 0x10;
const CONTROL_OUTPUT: u8 = 0x20;
/// Ticks between two toggles of the refresh bit, about 15 us.
const REFRESH_TICKS: u64 = 18;

/// The state of a [`Pit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PitState {
    /// The three channels.
    pub channels: [ChannelState; 3],
    /// The low 4 bits of port 0x61.
    pub control: u8,
    /// Rising edges of output 0 that were not taken yet.
    pub edges: u64,
    /// The latest time seen.
    pub clock: Nanos,
}

/// An 8254 and its port 0x61.
#[derive(Clone, Debug)]
pub struct Pit {
    state: PitState,
}

impl Default for Pit {
    fn default() -> Self {
        Self::new()
    }
}

impl Pit {
    /// As after power on: no channel counts, all outputs and the gate of channel 2 are low.
    pub fn new() -> Self {
        Self {
            state: PitState {
                channels: [
                    ChannelState::new(true),
                    ChannelState::new(true),
                    ChannelState::new(false),
                ],
                control: 0,
                edges: 0,
                clock: Nanos(0),
            },
        }
    }

    /// Reads offset 0 to 4. The control word cannot be read.
    pub fn read(&mut self, offset: u16, now: Nanos) -> u8 {
        self.advance(now);
        match offset {
            4 => self.read_control(),
            _ => self
                .channel(offset)
                .map_or(FLOATING, ChannelState::read_count),
        }
    }

    /// Writes offset 0 to 4.
    pub fn write(&mut self, offset: u16, value: u8, now: Nanos) {
        self.advance(now);
        let before = self.irq();
        match offset {
            3 => self.write_control_word(value),
            4 => self.write_control(value),
            _ => {
                if let Some(channel) = self.channel(offset) {
                    channel.write_count(value);
                }
            }
        }
        self.note_edges(u64::from(!before && self.irq()));
    }

    /// Lets time pass until `now`.
    pub fn advance(&mut self, now: Nanos) {
        if now <= self.state.clock {
            return;
        }
        let ticks = CLOCK.ticks(now) - CLOCK.ticks(self.state.clock);
        self.state.clock = now;
        let [first, second, third] = &mut self.state.channels;
        let edges = first.run(ticks);
        second.run(ticks);
        third.run(ticks);
        self.note_edges(edges);
    }

    /// The level of output 0, as of the latest time seen.
    pub fn irq(&self) -> bool {
        let [first, ..] = &self.state.channels;
        first.output
    }

    /// Takes the number of rising edges of output 0 since the last call.
    pub fn take_edges(&mut self) -> u64 {
        std::mem::take(&mut self.state.edges)
    }

    /// Whether the speaker is pushed: output 2, if bit 1 of port 0x61 lets it through.
    pub fn speaker(&self) -> bool {
        let [.., third] = &self.state.channels;
        third.output && self.state.control & CONTROL_SPEAKER != 0
    }

    /// The next rising edge of output 0 if nothing is written until then.
    pub fn next_event(&self, now: Nanos) -> Option<Nanos> {
        let [first, ..] = &self.state.channels;
        let ticks = CLOCK.ticks(self.state.clock).checked_add(first.rise()?)?;
        Some(CLOCK.moment(ticks)?.max(now))
    }

    /// A copy of the whole state.
    pub fn save(&self) -> PitState {
        self.state.clone()
    }

    /// A chip in the state of `state`.
    ///
    /// # Errors
    /// When no chip can be in that state.
    pub fn restore(state: PitState) -> Result<Self, StateError> {
        let [first, second, third] = &state.channels;
        for channel in [first, second, third] {
            channel.check()?;
        }
        let check = |holds, field, reason| require(holds, "pit", field, reason);
        check(
            first.gate && second.gate,
            "channels",
            "has a low gate that is always high",
        )?;
        check(
            state.control & !CONTROL_WRITABLE == 0,
            "control",
            "has more than 4 bits",
        )?;
        check(
            third.gate == (state.control & CONTROL_GATE != 0),
            "channels",
            "has a gate other than the control port says",
        )?;
        Ok(Self { state })
    }

    fn channel(&mut self, offset: u16) -> Option<&mut ChannelState> {
        self.state.channels.get_mut(usize::from(offset))
    }

    fn note_edges(&mut self, edges: u64) {
        self.state.edges = self.state.edges.saturating_add(edges);
    }

    fn write_control_word(&mut self, value: u8) {
        match value >> 6 {
            SELECT_READ_BACK => self.read_back(value),
            select => {
                if let Some(channel) = self.channel(u16::from(select)) {
                    channel.write_control(value);
                }
            }
        }
    }

    /// The read-back command: latches counts and statuses of the channels of bits 1 to 3.
    fn read_back(&mut self, value: u8) {
        for (at, channel) in self.state.channels.iter_mut().enumerate() {
            if value & (2 << at) == 0 {
                continue;
            }
            if value & READ_BACK_NO_COUNT == 0 {
                channel.latch_count();
            }
            if value & READ_BACK_NO_STATUS == 0 {
                channel.latch_status();
            }
        }
    }

    fn read_control(&self) -> u8 {
        let [.., third] = &self.state.channels;
        let refresh = CLOCK.ticks(self.state.clock) / REFRESH_TICKS % 2 == 1;
        let mut value = self.state.control;
        if refresh {
            value |= CONTROL_REFRESH;
        }
        if third.output {
            value |= CONTROL_OUTPUT;
        }
        value
    }

    fn write_control(&mut self, value: u8) {
        self.state.control = value & CONTROL_WRITABLE;
        let [.., third] = &mut self.state.channels;
        third.set_gate(value & CONTROL_GATE != 0);
    }
}
