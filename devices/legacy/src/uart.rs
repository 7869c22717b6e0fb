//! 16550A serial port (National Semiconductor PC16550D data sheet, chapter "Registers";
//! quoted names below are its sections).
//!
//! Bytes that the guest sends wait in the transmit FIFO until [`Uart::take_output`];
//! until then the transmitter is not empty, which is the back-pressure on the guest. Bytes
//! for the guest are offered with [`Uart::receive`], which says how many had room. Every
//! byte is data, `0` included.
//!
//! Time serves the character timeout only: a byte takes no time on the line.
//! [`Uart::irq`] is the INTR pin; that a PC lets it through only while OUT2 is set is wiring
//! of the board, for which there is [`Uart::out2`].

use std::collections::VecDeque;

use crate::time::Elapsing;
use crate::{FLOATING, Nanos, StateError, require};

/// Bytes that a FIFO holds.
pub const FIFO_SIZE: usize = 16;

const IER_RECEIVED_DATA: u8 = 0x01;
const IER_TRANSMIT_EMPTY: u8 = 0x02;
const IER_LINE_STATUS: u8 = 0x04;
const IER_MODEM_STATUS: u8 = 0x08;
const IER_BITS: u8 = 0x0f;

const IIR_NONE: u8 = 0x01;
const IIR_FIFO: u8 = 0xc0;

const FCR_ENABLE: u8 = 0x01;
const FCR_CLEAR_RECEIVED: u8 = 0x02;
const FCR_CLEAR_TRANSMIT: u8 = 0x04;

const LCR_EXTRA_STOP: u8 = 0x04;
const LCR_PARITY: u8 = 0x08;
const LCR_DLAB: u8 = 0x80;

const MCR_DTR: u8 = 0x01;
const MCR_RTS: u8 = 0x02;
const MCR_OUT1: u8 = 0x04;
const MCR_OUT2: u8 = 0x08;
const MCR_LOOPBACK: u8 = 0x10;
const MCR_BITS: u8 = 0x1f;

const LSR_DATA_READY: u8 = 0x01;
const LSR_OVERRUN: u8 = 0x02;
const LSR_BREAK: u8 = 0x10;
const LSR_TRANSMIT_EMPTY: u8 = 0x60;
const LSR_FIFO_ERROR: u8 = 0x80;

/// Modem line "clear to send" of [`Uart::set_modem_lines`].
pub const LINE_CTS: u8 = 0x10;
/// Modem line "data set ready".
pub const LINE_DSR: u8 = 0x20;
/// Modem line "ring indicator".
pub const LINE_RI: u8 = 0x40;
/// Modem line "data carrier detect".
pub const LINE_DCD: u8 = 0x80;
const LINES: u8 = 0xf0;

/// The baud generator's clock.
const CLOCK_HERTZ: u64 = 1_843_200;
/// Periods of the clock per bit and unit of the divisor.
const CLOCKS_PER_BIT: u64 = 16;

/// A byte that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The byte; zero for a break.
    pub byte: u8,
    /// It stands for a break of which the guest has not heard yet.
    pub is_break: bool,
}

/// The state of a [`Uart`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UartState {
    /// IER, 4 bits.
    pub interrupt_enable: u8,
    /// LCR.
    pub line_control: u8,
    /// MCR, 5 bits.
    pub modem_control: u8,
    /// SCR.
    pub scratch: u8,
    /// DLL and DLM.
    pub divisor: u16,
    /// Bit 0 of FCR.
    pub fifo_enabled: bool,
    /// Bytes at which received data interrupt: 1, 4, 8 or 14.
    pub trigger: u8,
    /// Oldest first; at most 16, without FIFO at most 1.
    pub received: VecDeque<Received>,
    /// Not taken yet, oldest first; at most 16, without FIFO at most 1.
    pub transmit: Vec<u8>,
    /// A received byte was lost.
    pub overrun: bool,
    /// The transmitter became empty, of which the guest has not heard yet.
    pub transmit_empty: bool,
    /// Input pins, in the high half as in MSR.
    pub modem_lines: u8,
    /// Low half of MSR: what changed.
    pub modem_deltas: u8,
    /// When a byte was last received or read.
    pub last_activity: Nanos,
    /// The latest time seen.
    pub clock: Nanos,
}

/// What interrupts, most urgent first ("Interrupt Identification Register").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    LineStatus = 0x06,
    ReceivedData = 0x04,
    CharacterTimeout = 0x0c,
    TransmitEmpty = 0x02,
    ModemStatus = 0x00,
}

/// A 16550A.
#[derive(Clone, Debug)]
pub struct Uart {
    state: UartState,
}

impl Default for Uart {
    fn default() -> Self {
        Self::new()
    }
}

impl Uart {
    /// As after master reset, with a peer that is ready: CTS, DSR and DCD set.
    pub fn new() -> Self {
        Self {
            state: UartState {
                interrupt_enable: 0,
                line_control: 0,
                modem_control: 0,
                scratch: 0,
                divisor: 12,
                fifo_enabled: false,
                trigger: 1,
                received: VecDeque::new(),
                transmit: Vec::new(),
                overrun: false,
                transmit_empty: false,
                modem_lines: LINE_CTS | LINE_DSR | LINE_DCD,
                modem_deltas: 0,
                last_activity: Nanos(0),
                clock: Nanos(0),
            },
        }
    }

    /// Reads the register at `offset`, 0 to 7.
    pub fn read(&mut self, offset: u16, now: Nanos) -> u8 {
        self.advance(now);
        let [divisor_low, divisor_high] = self.state.divisor.to_le_bytes();
        match offset {
            0 if self.divisor_access() => divisor_low,
            1 if self.divisor_access() => divisor_high,
            0 => self.read_received(),
            1 => self.state.interrupt_enable,
            2 => self.read_identification(),
            3 => self.state.line_control,
            4 => self.state.modem_control,
            5 => self.read_line_status(),
            6 => self.read_modem_status(),
            7 => self.state.scratch,
            _ => FLOATING,
        }
    }

    /// Writes the register at `offset`, 0 to 7.
    pub fn write(&mut self, offset: u16, value: u8, now: Nanos) {
        self.advance(now);
        let [low, high] = self.state.divisor.to_le_bytes();
        match offset {
            0 if self.divisor_access() => self.state.divisor = u16::from_le_bytes([value, high]),
            1 if self.divisor_access() => self.state.divisor = u16::from_le_bytes([low, value]),
            0 => self.write_transmit(value),
            1 => self.write_interrupt_enable(value),
            2 => self.write_fifo_control(value),
            3 => self.state.line_control = value,
            4 => self.write_modem_control(value),
            7 => self.state.scratch = value,
            _ => {}
        }
    }

    /// Lets time pass until `now`.
    pub fn advance(&mut self, now: Nanos) {
        self.state.clock = self.state.clock.max(now);
    }

    /// The level of the INTR pin, as of the latest time seen.
    pub fn irq(&self) -> bool {
        self.source().is_some()
    }

    /// The OUT2 pin, which gates the interrupt on a PC. Not set during loopback.
    pub fn out2(&self) -> bool {
        !self.loopback() && self.state.modem_control & MCR_OUT2 != 0
    }

    /// The RTS pin: the guest is ready to receive. Not set during loopback.
    pub fn rts(&self) -> bool {
        !self.loopback() && self.state.modem_control & MCR_RTS != 0
    }

    /// When the interrupt may rise by itself: at the character timeout.
    pub fn next_event(&self, now: Nanos) -> Option<Nanos> {
        let enabled = self.state.interrupt_enable & IER_RECEIVED_DATA != 0;
        let waiting = self.state.fifo_enabled && !self.state.received.is_empty();
        if !enabled || !waiting || self.triggered() || self.timed_out() {
            return None;
        }
        let due = self.state.last_activity.checked_add(self.timeout())?;
        Some(due.max(now))
    }

    /// How many bytes [`Uart::receive`] takes now; none during loopback.
    pub fn room(&self) -> usize {
        if self.loopback() {
            return 0;
        }
        self.depth().saturating_sub(self.state.received.len())
    }

    /// Receives from the line as many bytes as there is room for; returns their number.
    /// Offer the rest again when the guest has read some.
    pub fn receive(&mut self, bytes: &[u8], now: Nanos) -> usize {
        self.advance(now);
        let taken = self.room().min(bytes.len());
        for &byte in bytes.iter().take(taken) {
            self.accept(Received {
                byte,
                is_break: false,
            });
        }
        taken
    }

    /// Receives a break; returns whether there was room for it.
    pub fn receive_break(&mut self, now: Nanos) -> bool {
        self.advance(now);
        let fits = self.room() > 0;
        if fits {
            self.accept(Received {
                byte: 0,
                is_break: true,
            });
        }
        fits
    }

    /// Takes what the guest has sent, oldest first; the transmitter is empty then.
    pub fn take_output(&mut self) -> Vec<u8> {
        if !self.state.transmit.is_empty() {
            self.state.transmit_empty = true;
        }
        std::mem::take(&mut self.state.transmit)
    }

    /// Sets the modem's lines, a sum of `LINE_*`; other bits do not matter.
    pub fn set_modem_lines(&mut self, lines: u8) {
        let before = self.effective_lines();
        self.state.modem_lines = lines & LINES;
        self.note_lines(before);
    }

    /// A copy of the whole state.
    pub fn save(&self) -> UartState {
        self.state.clone()
    }

    /// A chip in the state of `state`.
    ///
    /// # Errors
    /// When no chip can be in that state.
    pub fn restore(state: UartState) -> Result<Self, StateError> {
        let check = |holds, field, reason| require(holds, "uart", field, reason);
        let depth = if state.fifo_enabled { FIFO_SIZE } else { 1 };
        check(
            state.interrupt_enable & !IER_BITS == 0,
            "interrupt_enable",
            "has more than 4 bits",
        )?;
        check(
            state.modem_control & !MCR_BITS == 0,
            "modem_control",
            "has more than 5 bits",
        )?;
        check(
            [1, 4, 8, 14].contains(&state.trigger),
            "trigger",
            "is none of the chip's levels",
        )?;
        check(
            state.received.len() <= depth,
            "received",
            "is longer than the FIFO",
        )?;
        check(
            state.transmit.len() <= depth,
            "transmit",
            "is longer than the FIFO",
        )?;
        check(
            !state.transmit_empty || state.transmit.is_empty(),
            "transmit_empty",
            "is set with bytes to send",
        )?;
        check(
            state.received.iter().all(|r| !r.is_break || r.byte == 0),
            "received",
            "has a break that is not zero",
        )?;
        check(
            state.modem_lines & !LINES == 0,
            "modem_lines",
            "has bits in the low half",
        )?;
        check(
            state.modem_deltas & LINES == 0,
            "modem_deltas",
            "has bits in the high half",
        )?;
        check(
            state.last_activity <= state.clock,
            "last_activity",
            "is in the future",
        )?;
        Ok(Self { state })
    }

    fn divisor_access(&self) -> bool {
        self.state.line_control & LCR_DLAB != 0
    }

    fn loopback(&self) -> bool {
        self.state.modem_control & MCR_LOOPBACK != 0
    }

    fn depth(&self) -> usize {
        if self.state.fifo_enabled {
            FIFO_SIZE
        } else {
            1
        }
    }

    /// Four character times in nanoseconds ("FIFO Interrupt Mode Operation"). A divisor of
    /// zero is undefined; it counts as one.
    fn timeout(&self) -> u64 {
        let control = self.state.line_control;
        let bits = 7
            + u64::from(control & 3)
            + u64::from(control & LCR_EXTRA_STOP != 0)
            + u64::from(control & LCR_PARITY != 0);
        let clocks = bits * CLOCKS_PER_BIT * u64::from(self.state.divisor.max(1));
        4 * clocks * 1_000_000_000 / CLOCK_HERTZ
    }

    fn triggered(&self) -> bool {
        let level = if self.state.fifo_enabled {
            usize::from(self.state.trigger)
        } else {
            1
        };
        self.state.received.len() >= level
    }

    fn timed_out(&self) -> bool {
        self.state.fifo_enabled
            && !self.state.received.is_empty()
            && self.state.clock.since(self.state.last_activity) >= self.timeout()
    }

    fn break_at_front(&self) -> bool {
        self.state.received.front().is_some_and(|r| r.is_break)
    }

    /// The most urgent of the enabled sources that want to interrupt.
    fn source(&self) -> Option<Source> {
        let enabled = |bit| self.state.interrupt_enable & bit != 0;
        if enabled(IER_LINE_STATUS) && (self.state.overrun || self.break_at_front()) {
            Some(Source::LineStatus)
        } else if enabled(IER_RECEIVED_DATA) && self.triggered() {
            Some(Source::ReceivedData)
        } else if enabled(IER_RECEIVED_DATA) && self.timed_out() {
            Some(Source::CharacterTimeout)
        } else if enabled(IER_TRANSMIT_EMPTY) && self.state.transmit_empty {
            Some(Source::TransmitEmpty)
        } else if enabled(IER_MODEM_STATUS) && self.state.modem_deltas != 0 {
            Some(Source::ModemStatus)
        } else {
            None
        }
    }

    fn accept(&mut self, received: Received) {
        self.state.received.push_back(received);
        self.state.last_activity = self.state.clock;
    }

    fn read_received(&mut self) -> u8 {
        let Some(received) = self.state.received.pop_front() else {
            return 0;
        };
        self.state.last_activity = self.state.clock;
        received.byte
    }

    /// IIR. Reading it takes notice of an empty transmitter, if that is shown.
    fn read_identification(&mut self) -> u8 {
        let source = self.source();
        if source == Some(Source::TransmitEmpty) {
            self.state.transmit_empty = false;
        }
        let fifo = if self.state.fifo_enabled { IIR_FIFO } else { 0 };
        fifo | source.map_or(IIR_NONE, |source| source as u8)
    }

    /// LSR. Reading it clears the errors it shows.
    fn read_line_status(&mut self) -> u8 {
        let in_fifo = self.state.fifo_enabled && self.state.received.iter().any(|r| r.is_break);
        let flags = [
            (!self.state.received.is_empty(), LSR_DATA_READY),
            (self.state.overrun, LSR_OVERRUN),
            (self.break_at_front(), LSR_BREAK),
            (self.state.transmit.is_empty(), LSR_TRANSMIT_EMPTY),
            (in_fifo, LSR_FIFO_ERROR),
        ];
        self.state.overrun = false;
        if let Some(front) = self.state.received.front_mut() {
            front.is_break = false;
        }
        sum_of(flags)
    }

    /// MSR. Reading it clears the deltas.
    fn read_modem_status(&mut self) -> u8 {
        self.effective_lines() | std::mem::take(&mut self.state.modem_deltas)
    }

    fn write_transmit(&mut self, byte: u8) {
        if self.loopback() {
            self.loop_back(byte);
        } else if self.state.transmit.len() < self.depth() {
            self.state.transmit_empty = false;
            self.state.transmit.push(byte);
        }
    }

    /// A byte sent in loopback mode is received at once; one too many is an overrun: the
    /// receiver's only byte is replaced, a full FIFO stays ("Line Status Register", bit 1).
    fn loop_back(&mut self, byte: u8) {
        self.state.transmit_empty |= self.state.transmit.is_empty();
        if self.state.received.len() >= self.depth() {
            self.state.overrun = true;
            if self.state.fifo_enabled {
                return;
            }
            self.state.received.clear();
        }
        self.accept(Received {
            byte,
            is_break: false,
        });
    }

    /// IER. Enabling the transmitter's interrupt while it is empty interrupts, which
    /// drivers rely on to begin sending.
    fn write_interrupt_enable(&mut self, value: u8) {
        let rising = value & !self.state.interrupt_enable;
        self.state.interrupt_enable = value & IER_BITS;
        if rising & IER_TRANSMIT_EMPTY != 0 && self.state.transmit.is_empty() {
            self.state.transmit_empty = true;
        }
    }

    /// FCR. Switching the FIFOs on or off clears them; the other bits count only
    /// together with the enabling one.
    fn write_fifo_control(&mut self, value: u8) {
        let enable = value & FCR_ENABLE != 0;
        let switched = enable != self.state.fifo_enabled;
        self.state.fifo_enabled = enable;
        if switched || (enable && value & FCR_CLEAR_RECEIVED != 0) {
            self.state.received.clear();
        }
        if switched || (enable && value & FCR_CLEAR_TRANSMIT != 0) {
            self.take_output();
        }
        if enable {
            self.state.trigger = match value >> 6 {
                0 => 1,
                1 => 4,
                2 => 8,
                _ => 14,
            };
        }
    }

    fn write_modem_control(&mut self, value: u8) {
        let before = self.effective_lines();
        self.state.modem_control = value & MCR_BITS;
        self.note_lines(before);
    }

    /// The modem's lines as MSR shows them: in loopback the outputs of MCR ("Modem Control Register", bit 4).
    fn effective_lines(&self) -> u8 {
        if !self.loopback() {
            return self.state.modem_lines;
        }
        let set = |bit| self.state.modem_control & bit != 0;
        sum_of([
            (set(MCR_RTS), LINE_CTS),
            (set(MCR_DTR), LINE_DSR),
            (set(MCR_OUT1), LINE_RI),
            (set(MCR_OUT2), LINE_DCD),
        ])
    }

    /// Notes what changed since `before`; of the ring indicator only its end ("Modem Status
    /// Register", bit 2).
    fn note_lines(&mut self, before: u8) {
        let after = self.effective_lines();
        let changed = (before ^ after) & !(after & LINE_RI);
        self.state.modem_deltas |= changed >> 4;
    }
}

/// The sum of the bits whose condition holds.
fn sum_of<const N: usize>(flags: [(bool, u8); N]) -> u8 {
    flags
        .into_iter()
        .filter(|&(holds, _)| holds)
        .fold(0, |sum, (_, bit)| sum | bit)
}
