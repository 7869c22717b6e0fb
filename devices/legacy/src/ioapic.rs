//! I/O APIC with 24 inputs (Intel 82093AA data sheet, order number 290566).
//!
//! Offset 0x00 selects a register, offset 0x10 is that register; both are 32 bits wide.
//! Devices drive the inputs with [`IoApic::set_line`]. What has to be sent to local
//! APICs is returned as a [`Message`]; a local APIC's end of interrupt for a level triggered
//! vector comes back by [`IoApic::eoi`].
//!
//! A line that is high asks for service, whatever its entry says about polarity: lines carry
//! requests, not voltages. An edge at a masked input is lost. An input that is changed to
//! edge triggered forgets that it waits for an end of interrupt, which is how systems end
//! one without a broadcast.

use machine_bus::{Message, MessageTarget};

use crate::{StateError, require};

/// Inputs.
pub const INPUTS: u8 = 24;

const REGISTER_SELECT: u16 = 0x00;
const REGISTER_WINDOW: u16 = 0x10;
const INDEX_ID: u8 = 0;
const INDEX_VERSION: u8 = 1;
const INDEX_ARBITRATION: u8 = 2;
const INDEX_TABLE: u8 = 0x10;
const VERSION: u32 = 0x11 | (INPUTS as u32 - 1) << 16;
const ID_SHIFT: u32 = 24;
const ID_BITS: u8 = 0x0f;

const VECTOR: u64 = 0xff;
const MODE_SHIFT: u32 = 8;
const MODE_LOWEST_PRIORITY: u64 = 1;
const LOGICAL: u64 = 1 << 11;
const DELIVERY_STATUS: u64 = 1 << 12;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
const DESTINATION_SHIFT: u32 = 56;
/// What a guest can write of an entry.
const WRITABLE: u64 = 0xff00_0000_0001_ffff & !(DELIVERY_STATUS | REMOTE_IRR);

/// Where messages to local APICs go (SDM vol. 3, 11.11.1).
const MESSAGE_BASE: u64 = 0xfee0_0000;
const MESSAGE_HINT: u64 = 1 << 3;
const MESSAGE_LOGICAL: u64 = 1 << 2;
const MESSAGE_ASSERT: u32 = 1 << 14;
const MESSAGE_LEVEL: u32 = 1 << 15;

/// The state of an [`IoApic`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoApicState {
    /// IOREGSEL.
    pub select: u8,
    /// Its identity, 4 bits.
    pub id: u8,
    /// The redirection table.
    pub entries: [u64; INPUTS as usize],
    /// Levels of the inputs, bit 0 the first.
    pub lines: u32,
}

/// An I/O APIC.
#[derive(Clone, Debug)]
pub struct IoApic {
    state: IoApicState,
}

impl Default for IoApic {
    fn default() -> Self {
        Self::new()
    }
}

impl IoApic {
    /// As after reset: all inputs masked, all lines low.
    pub fn new() -> Self {
        Self {
            state: IoApicState {
                select: 0,
                id: 0,
                entries: [MASKED; INPUTS as usize],
                lines: 0,
            },
        }
    }

    /// Reads the register at `offset`.
    pub fn read(&mut self, offset: u16) -> u32 {
        match offset {
            REGISTER_SELECT => self.state.select.into(),
            REGISTER_WINDOW => self.read_window(),
            _ => 0,
        }
    }

    /// Writes the register at `offset`; what has to be sent now.
    #[must_use]
    pub fn write(&mut self, offset: u16, value: u32) -> Option<Message> {
        match offset {
            REGISTER_SELECT => self.state.select = value as u8,
            REGISTER_WINDOW => return self.write_window(value),
            _ => {}
        }
        None
    }

    /// Drives an input, 0 to 23; what has to be sent now. Others do not exist.
    #[must_use]
    pub fn set_line(&mut self, line: u8, level: bool) -> Option<Message> {
        let bit = 1_u32.checked_shl(line.into()).filter(|_| line < INPUTS)?;
        let rises = level && self.state.lines & bit == 0;
        if level {
            self.state.lines |= bit;
        } else {
            self.state.lines &= !bit;
        }
        let entry = self.state.entries.get(usize::from(line))?;
        match entry & LEVEL != 0 {
            true => self.service_level(line),
            false => (rises && entry & MASKED == 0).then(|| message(*entry)),
        }
    }

    /// A local APIC has ended the interrupt of a level triggered vector; what has to be sent
    /// now, since inputs that are still high ask again.
    #[must_use]
    pub fn eoi(&mut self, vector: u8) -> Vec<Message> {
        let waits = |entry: &u64| {
            entry & (LEVEL | REMOTE_IRR) == LEVEL | REMOTE_IRR
                && entry & VECTOR == u64::from(vector)
        };
        let mut messages = Vec::new();
        for line in 0..INPUTS {
            if let Some(entry) = self
                .state
                .entries
                .get_mut(usize::from(line))
                .filter(|e| waits(e))
            {
                *entry &= !REMOTE_IRR;
                messages.extend(self.service_level(line));
            }
        }
        messages
    }

    /// Drives an input and delivers what has to be sent.
    pub fn drive(&mut self, line: u8, level: bool, target: &dyn MessageTarget) {
        if let Some(message) = self.set_line(line, level) {
            target.send(message);
        }
    }

    /// A copy of the whole state.
    pub fn save(&self) -> IoApicState {
        self.state.clone()
    }

    /// A chip in the state of `state`.
    ///
    /// # Errors
    /// When no chip can be in that state.
    pub fn restore(state: IoApicState) -> Result<Self, StateError> {
        let check = |holds, field, reason| require(holds, "ioapic", field, reason);
        check(state.id & !ID_BITS == 0, "id", "has more than 4 bits")?;
        check(state.lines >> INPUTS == 0, "lines", "has more than 24")?;
        let known = state
            .entries
            .iter()
            .all(|entry| entry & !(WRITABLE | REMOTE_IRR) == 0);
        check(known, "entries", "has bits that do not exist")?;
        let waits = |entry: &u64| entry & (REMOTE_IRR | LEVEL) == REMOTE_IRR;
        let waits = state.entries.iter().any(waits);
        check(!waits, "entries", "waits for the end of an edge")?;
        let (chip, mut silent) = (Self { state }, true);
        for line in 0..INPUTS {
            silent &= chip.clone().service_level(line).is_none();
        }
        check(silent, "lines", "has a request that was not sent")?;
        Ok(chip)
    }

    /// Sends a level triggered request that waits for nothing.
    fn service_level(&mut self, line: u8) -> Option<Message> {
        let high = self.state.lines >> line & 1 != 0;
        let entry = self.state.entries.get_mut(usize::from(line))?;
        if !high || *entry & LEVEL == 0 || *entry & (MASKED | REMOTE_IRR) != 0 {
            return None;
        }
        *entry |= REMOTE_IRR;
        Some(message(*entry))
    }

    fn read_window(&self) -> u32 {
        match self.state.select {
            INDEX_ID | INDEX_ARBITRATION => u32::from(self.state.id) << ID_SHIFT,
            INDEX_VERSION => VERSION,
            select => {
                let (line, high) = table_index(select);
                let entry = line.and_then(|line| self.state.entries.get(usize::from(line)));
                let entry = entry.copied().unwrap_or(0);
                (if high { entry >> 32 } else { entry }) as u32
            }
        }
    }

    fn write_window(&mut self, value: u32) -> Option<Message> {
        if self.state.select == INDEX_ID {
            self.state.id = (value >> ID_SHIFT) as u8 & ID_BITS;
            return None;
        }
        let (line, high) = table_index(self.state.select);
        let line = line?;
        let entry = self.state.entries.get_mut(usize::from(line))?;
        let shift = if high { 32 } else { 0 };
        let mask = WRITABLE & u64::from(u32::MAX) << shift;
        *entry = *entry & !mask | u64::from(value) << shift & mask;
        if *entry & LEVEL == 0 {
            *entry &= !REMOTE_IRR;
        }
        self.service_level(line)
    }
}

/// The input that a register of the table belongs to, and whether it is the high half.
fn table_index(select: u8) -> (Option<u8>, bool) {
    let at = select.checked_sub(INDEX_TABLE);
    (
        at.map(|at| at / 2).filter(|&line| line < INPUTS),
        select & 1 != 0,
    )
}

/// What an entry sends.
fn message(entry: u64) -> Message {
    let mode = entry >> MODE_SHIFT & 7;
    let destination = entry >> DESTINATION_SHIFT;
    let hint = if mode == MODE_LOWEST_PRIORITY {
        MESSAGE_HINT
    } else {
        0
    };
    let logical = if entry & LOGICAL != 0 {
        MESSAGE_LOGICAL
    } else {
        0
    };
    let level = if entry & LEVEL != 0 { MESSAGE_LEVEL } else { 0 };
    Message {
        address: MESSAGE_BASE | destination << 12 | hint | logical,
        data: (entry & 0x7ff) as u32 | MESSAGE_ASSERT | level,
    }
}
