//! Two cascaded 8259A interrupt controllers, as in a PC (Intel 8259A data sheet, order
//! number 231468; the edge/level registers are those of Intel's PIIX and ICH chipsets).
//!
//! Offsets 0 and 1 are the master's ports, 2 and 3 the slave's, 4 and 5 the edge/level
//! control registers ELCR1 and ELCR2. Devices drive the sixteen lines with
//! [`Pic::set_line`]; [`Pic::irq`] is the INT pin of the master; a processor that takes the
//! interrupt calls [`Pic::acknowledge`], which is the pair of INTA pulses, and gets the vector.
//!
//! A line has to stay high until it is acknowledged: a request that goes away is none, and
//! acknowledging nothing yields the master's vector 7 (data sheet, "Edge and level triggered
//! modes"). The slave's INT is wired to line 2 of the master; it stands until it is
//! acknowledged, even when the slave has changed its mind, which yields the slave's vector 7.
//!
//! As in the chipsets, LTIM of ICW1 does nothing (ELCR decides), the cascade's wiring is
//! fixed (ICW3 does nothing), and there is no MCS-80 mode.

mod chip;

pub use chip::{ChipState, Expects};

use crate::{FLOATING, StateError, require};

/// Lines of the pair.
pub const LINES: u8 = 16;
/// The line of the master at which the slave is.
const CASCADE: u8 = 2;
const CASCADE_BIT: u8 = 1 << CASCADE;

/// Lines 0, 1 and 2 are always edge triggered.
const ELCR_MASTER: u8 = 0xf8;
/// Lines 8 and 13 are always edge triggered.
const ELCR_SLAVE: u8 = 0xde;

/// The state of a [`Pic`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PicState {
    /// The chip of lines 0 to 7.
    pub master: ChipState,
    /// The chip of lines 8 to 15.
    pub slave: ChipState,
    /// Level of the slave's INT pin as the master last saw it.
    pub cascade: bool,
}

/// The pair of chips.
#[derive(Clone, Debug)]
pub struct Pic {
    state: PicState,
}

impl Default for Pic {
    fn default() -> Self {
        Self::new()
    }
}

impl Pic {
    /// As after power on, with all lines low. The chips' own state is undefined then; here
    /// everything is masked until the guest initializes them.
    pub fn new() -> Self {
        Self {
            state: PicState {
                master: ChipState::new(),
                slave: ChipState::new(),
                cascade: false,
            },
        }
    }

    /// Reads a port, offset 0 to 5.
    pub fn read(&mut self, offset: u16) -> u8 {
        let value = match offset {
            0 | 1 => self.state.master.read(offset == 1, CASCADE_BIT),
            2 | 3 => self.read_slave(offset == 3),
            4 => self.state.master.level_triggered,
            5 => self.state.slave.level_triggered,
            _ => FLOATING,
        };
        self.propagate();
        value
    }

    /// Writes a port, offset 0 to 5.
    pub fn write(&mut self, offset: u16, value: u8) {
        match offset {
            0 | 1 => self.state.master.write(offset == 1, value),
            2 | 3 => self.write_slave(offset == 3, value),
            4 => self.state.master.set_level_triggered(value & ELCR_MASTER),
            5 => self.state.slave.set_level_triggered(value & ELCR_SLAVE),
            _ => {}
        }
        self.propagate();
    }

    /// Drives a line, 0 to 15. Line 2 is the cascade and others do not exist: nothing happens.
    pub fn set_line(&mut self, line: u8, level: bool) {
        match line {
            CASCADE => {}
            0..8 => self.state.master.set_line(line, level),
            8..LINES => self.state.slave.set_line(line - 8, level),
            _ => {}
        }
        self.propagate();
    }

    /// The level of the INT pin: there is a request to acknowledge.
    pub fn irq(&self) -> bool {
        self.state.master.pending(CASCADE_BIT).is_some()
    }

    /// Acknowledges the most urgent request and returns its vector; a spurious one when there
    /// is no request.
    pub fn acknowledge(&mut self) -> u8 {
        let vector = match self.state.master.acknowledge(CASCADE_BIT) {
            Some(CASCADE) => self.acknowledge_slave(),
            line => self.state.master.vector(line),
        };
        self.propagate();
        vector
    }

    /// A copy of the whole state.
    pub fn save(&self) -> PicState {
        self.state.clone()
    }

    /// A pair of chips in the state of `state`.
    ///
    /// # Errors
    /// When no chips can be in that state.
    pub fn restore(state: PicState) -> Result<Self, StateError> {
        let PicState { master, slave, .. } = &state;
        master.check("pic master", ELCR_MASTER, CASCADE_BIT)?;
        slave.check("pic slave", ELCR_SLAVE, 0)?;
        let consistent = state.cascade == slave.pending(0).is_some();
        require(
            consistent,
            "pic",
            "cascade",
            "is not what the slave requests",
        )?;
        Ok(Self { state })
    }

    fn acknowledge_slave(&mut self) -> u8 {
        self.state.cascade = false;
        let line = self.state.slave.acknowledge(0);
        self.state.slave.vector(line)
    }

    /// A poll of the slave acknowledges as well.
    fn read_slave(&mut self, second: bool) -> u8 {
        if self.state.slave.poll {
            self.state.cascade = false;
        }
        self.state.slave.read(second, 0)
    }

    /// Beginning the initialization lowers the slave's INT.
    fn write_slave(&mut self, second: bool, value: u8) {
        self.state.slave.write(second, value);
        if self.state.slave.expects == Expects::Icw2 {
            self.state.cascade = false;
        }
    }

    /// Shows the master the slave's INT: a rising edge is a request that stays.
    fn propagate(&mut self) {
        let level = self.state.slave.pending(0).is_some();
        if level && !self.state.cascade {
            self.state.master.edges |= CASCADE_BIT;
        }
        self.state.cascade = level;
    }
}
