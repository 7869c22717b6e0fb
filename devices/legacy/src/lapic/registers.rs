//! The registers of the page (SDM vol. 3, table 11-1), and what writing them asks for.

use machine_bus::Message;

use super::{LocalApic, LocalApicState, VECTOR_MIN, timer};
use crate::{Nanos, StateError, require};

/// Entries of the local vector table, from the timer's register on.
pub(super) const LVT_COUNT: usize = 6;
pub(super) const LVT_TIMER: usize = 0;
pub(super) const LVT_LINT0: usize = 3;
pub(super) const LVT_ERROR: usize = 5;
pub(super) const LVT_MASKED: u32 = 1 << 16;
/// What can be written of each entry (figure 11-8).
const LVT_WRITABLE: [u32; LVT_COUNT] = [0x7_00ff, 0x1_07ff, 0x1_07ff, 0x1_a7ff, 0x1_a7ff, 0x1_00ff];

/// Integrated APIC, six entries.
const VERSION: u32 = 0x14 | (LVT_COUNT as u32 - 1) << 16;
pub(super) const SVR_ENABLED: u32 = 1 << 8;
const SVR_WRITABLE: u32 = 0x3ff;
/// The model that the destination format's high 4 bits name as flat.
pub(super) const DFR_FLAT: u32 = 0xf;

/// Bits of the error status (11.5.3).
pub(super) const ERROR_SEND_VECTOR: u8 = 1 << 5;
pub(super) const ERROR_RECEIVE_VECTOR: u8 = 1 << 6;
pub(super) const ERROR_REGISTER: u8 = 1 << 7;

const ICR_LOGICAL: u64 = 1 << 11;
const ICR_ASSERT: u64 = 1 << 14;
const ICR_LEVEL: u64 = 1 << 15;
const ICR_WRITABLE: u32 = 0x000c_cfff;

/// Where messages to local APICs go, and the bits of the address that say to which.
const MESSAGE_BASE: u64 = 0xfee0_0000;
const MESSAGE_ADDRESS: u64 = 0x000f_ffff;
const MESSAGE_LOGICAL: u64 = 1 << 2;

/// How an interrupt is delivered (11.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The vector says which.
    Fixed,
    /// As fixed, to the one of the destinations with the lowest priority.
    LowestPriority,
    /// System management.
    Smi,
    /// Not maskable.
    Nmi,
    /// The processor is reset and waits.
    Init,
    /// A waiting processor starts at page `vector`.
    StartUp,
    /// The vector comes from the interrupt controllers of a PC.
    External,
}

impl Mode {
    /// The mode of 3 bits; one of them is reserved.
    pub fn from_bits(bits: u32) -> Option<Self> {
        Some(match bits {
            0 => Self::Fixed,
            1 => Self::LowestPriority,
            2 => Self::Smi,
            4 => Self::Nmi,
            5 => Self::Init,
            6 => Self::StartUp,
            7 => Self::External,
            _ => return None,
        })
    }
}

/// For which processors an interrupt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Those that this identity means, as [`LocalApic::is_meant`] says.
    Named {
        /// The identity, or a set of logical ones.
        id: u8,
        /// Which of the two.
        logical: bool,
    },
    /// All of them.
    All,
    /// All but the sender.
    Others,
}

/// An interrupt for processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipi {
    /// How.
    pub mode: Mode,
    /// Which, or where to start.
    pub vector: u8,
    /// It is level triggered: who sent it wants to hear of its end.
    pub level: bool,
    /// For whom.
    pub destination: Destination,
}

impl Ipi {
    /// What a message means (11.11). `None` for one that no local APIC understands: another
    /// address, or a mode that does not exist.
    pub fn from_message(message: Message) -> Option<Self> {
        if message.address & !MESSAGE_ADDRESS != MESSAGE_BASE {
            return None;
        }
        Some(Self {
            mode: Mode::from_bits(message.data >> 8 & 7)?,
            vector: message.data as u8,
            level: u64::from(message.data) & ICR_LEVEL != 0,
            destination: Destination::Named {
                id: (message.address >> 12) as u8,
                logical: message.address & MESSAGE_LOGICAL != 0,
            },
        })
    }
}

/// What a write asks of the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this to processors.
    Send(Ipi),
    /// The interrupt of this level triggered vector has ended; the I/O APIC must hear of it.
    End(u8),
}

impl LocalApic {
    /// Reads the register at `offset`.
    pub fn read(&mut self, offset: u16, now: Nanos) -> u32 {
        self.advance(now);
        let state = &self.state;
        match offset {
            0x020 => u32::from(state.id) << 24,
            0x030 => VERSION,
            0x080 => state.task_priority.into(),
            0x090 | 0x0a0 => self.priority().into(),
            0x0b0 => 0,
            0x0d0 => u32::from(state.logical) << 24,
            0x0e0 => state.format,
            0x0f0 => state.spurious,
            0x100..=0x170 => word(&state.in_service.words, offset - 0x100),
            0x180..=0x1f0 => word(&state.level.words, offset - 0x180),
            0x200..=0x270 => word(&state.requested.words, offset - 0x200),
            0x280 => state.errors.into(),
            0x300 => state.command as u32,
            0x310 => (state.command >> 32) as u32,
            0x320..=0x370 => word(&state.table, offset - 0x320),
            0x380 => state.initial_count,
            0x390 => self.current_count(),
            0x3e0 => state.divide,
            _ => {
                self.note_error(ERROR_REGISTER);
                0
            }
        }
    }

    /// Writes the register at `offset`; what that asks of the outside.
    #[must_use]
    pub fn write(&mut self, offset: u16, value: u32, now: Nanos) -> Option<Action> {
        self.advance(now);
        match offset {
            0x080 => self.state.task_priority = value as u8,
            0x0b0 => return self.end_of_interrupt().map(Action::End),
            0x0d0 => self.state.logical = (value >> 24) as u8,
            0x0e0 => self.state.format = value | 0x0fff_ffff,
            0x0f0 => self.write_spurious(value),
            0x280 => self.state.errors = std::mem::take(&mut self.state.new_errors),
            0x300 => return self.write_command(value),
            0x310 => {
                let low = self.state.command & u64::from(u32::MAX);
                self.state.command = low | u64::from(value & 0xff00_0000) << 32;
            }
            0x320..=0x370 if offset & 0xf == 0 => self.write_table(offset - 0x320, value),
            0x380 => self.write_initial_count(value),
            0x3e0 => self.write_divide(value),
            // The identity is the machine's, and the others can only be read.
            0x020 | 0x030 | 0x090 | 0x0a0 | 0x100..=0x27f | 0x390 => {}
            _ => self.note_error(ERROR_REGISTER),
        }
        None
    }

    /// The vector whose end the I/O APIC must hear of.
    fn end_of_interrupt(&mut self) -> Option<u8> {
        let vector = self.state.in_service.highest()?;
        self.state.in_service.set(vector, false);
        self.state.level.has(vector).then_some(vector)
    }

    /// Disabling masks the local vector table (11.4.7.2).
    fn write_spurious(&mut self, value: u32) {
        self.state.spurious = value & SVR_WRITABLE;
        if value & SVR_ENABLED == 0 {
            for entry in &mut self.state.table {
                *entry |= LVT_MASKED;
            }
        }
    }

    fn write_table(&mut self, offset: u16, value: u32) {
        let at = usize::from(offset / 0x10);
        let masked = if self.state.spurious & SVR_ENABLED == 0 {
            LVT_MASKED
        } else {
            0
        };
        let writable = LVT_WRITABLE.get(at).copied().unwrap_or(0);
        let value = value & writable | masked;
        let before = self.state.table.get(at).copied().unwrap_or(0);
        if let Some(entry) = self.state.table.get_mut(at) {
            *entry = value;
        }
        if at == LVT_TIMER {
            self.timer_mode_changed(before, value);
        }
    }

    /// Interrupt command (11.6.1). One to itself needs nobody else.
    fn write_command(&mut self, value: u32) -> Option<Action> {
        let high = self.state.command & !u64::from(u32::MAX);
        self.state.command = high | u64::from(value & ICR_WRITABLE);
        let (command, vector) = (self.state.command, value as u8);
        let mode = Mode::from_bits(value >> 8 & 7)?;
        let fixed = matches!(mode, Mode::Fixed | Mode::LowestPriority);
        if fixed && vector < VECTOR_MIN {
            self.note_error(ERROR_SEND_VECTOR);
            return None;
        }
        // INIT level de-assert only matters to processors of long ago.
        let deassert = command & (ICR_ASSERT | ICR_LEVEL) == ICR_LEVEL;
        if mode == Mode::External || (mode == Mode::Init && deassert) {
            return None;
        }
        let destination = match value >> 18 & 3 {
            0 => Destination::Named {
                id: (command >> 56) as u8,
                logical: command & ICR_LOGICAL != 0,
            },
            1 => {
                if fixed {
                    self.request(vector, false);
                }
                return None;
            }
            2 => Destination::All,
            _ => Destination::Others,
        };
        Some(Action::Send(Ipi {
            mode,
            vector,
            level: false,
            destination,
        }))
    }
}

/// Checks the registers of a state.
pub(super) fn check(state: &LocalApicState) -> Result<(), StateError> {
    let check = |holds, field, reason| require(holds, "lapic", field, reason);
    let table = state.table.iter().zip(LVT_WRITABLE);
    let known = table
        .into_iter()
        .all(|(entry, writable)| entry & !writable == 0);
    check(known, "table", "has bits that do not exist")?;
    let enabled = state.spurious & SVR_ENABLED != 0;
    let masked = state.table.iter().all(|entry| entry & LVT_MASKED != 0);
    check(
        enabled || masked,
        "table",
        "is not masked by a disabled chip",
    )?;
    check(
        state.spurious & !SVR_WRITABLE == 0,
        "spurious",
        "has bits that do not exist",
    )?;
    check(
        state.format | 0xf000_0000 == u32::MAX,
        "format",
        "has bits that do not exist",
    )?;
    let command = u64::from(ICR_WRITABLE) | 0xff << 56;
    check(
        state.command & !command == 0,
        "command",
        "has bits that do not exist",
    )?;
    timer::check(state)
}

/// The word at an offset in steps of 16; between them there is nothing.
fn word(words: &[u32], offset: u16) -> u32 {
    let word = words
        .get(usize::from(offset / 0x10))
        .filter(|_| offset & 0xf == 0);
    word.copied().unwrap_or(0)
}
