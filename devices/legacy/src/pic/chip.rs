//! One 8259A.

use crate::{StateError, require};

const ICW1: u8 = 0x10;
const ICW1_NEEDS_ICW4: u8 = 0x01;
const ICW1_SINGLE: u8 = 0x02;
const ICW4_AUTO_EOI: u8 = 0x02;
const ICW4_SPECIAL_FULLY_NESTED: u8 = 0x10;

const OCW3: u8 = 0x08;
const OCW3_READ_IN_SERVICE: u8 = 0x01;
const OCW3_READ: u8 = 0x02;
const OCW3_POLL: u8 = 0x04;
const OCW3_SPECIAL_MASK: u8 = 0x20;
const OCW3_SET_SPECIAL_MASK: u8 = 0x40;

/// Bit 7 of a poll's answer: there was a request.
const POLL_REQUEST: u8 = 0x80;
/// The line whose vector an acknowledge without request yields.
const SPURIOUS_LINE: u8 = 7;

/// What a chip takes the next write to its second port for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expects {
    /// OCW1, the mask: the chip is initialized.
    Mask,
    /// ICW2, the vectors.
    Icw2,
    /// ICW3, the cascade.
    Icw3,
    /// ICW4, the modes.
    Icw4,
}

/// The state of one of the two chips.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChipState {
    /// Levels of the lines, bit 0 the first; the master's line 2 is always 0 here.
    pub lines: u8,
    /// Requests of edge triggered lines that were not acknowledged yet.
    pub edges: u8,
    /// ELCR: lines that are level triggered.
    pub level_triggered: u8,
    /// ISR: lines in service.
    pub in_service: u8,
    /// IMR: lines that are masked.
    pub mask: u8,
    /// Vector of line 0, a multiple of 8.
    pub vector_base: u8,
    /// The line of lowest priority, below 8; the one after it has the highest.
    pub lowest: u8,
    /// What the next write to the second port is.
    pub expects: Expects,
    /// ICW1 said that there is no ICW3.
    pub single: bool,
    /// ICW1 said that there is an ICW4.
    pub needs_icw4: bool,
    /// An acknowledge is its own end of interrupt.
    pub auto_eoi: bool,
    /// With [`Self::auto_eoi`]: it also rotates the priorities.
    pub rotate_on_auto_eoi: bool,
    /// Special fully nested mode.
    pub special_fully_nested: bool,
    /// Special mask mode.
    pub special_mask: bool,
    /// The first port reads ISR, not IRR.
    pub reads_in_service: bool,
    /// The next read is a poll.
    pub poll: bool,
}

impl ChipState {
    pub(super) fn new() -> Self {
        Self {
            lines: 0,
            edges: 0,
            level_triggered: 0,
            in_service: 0,
            mask: 0xff,
            vector_base: 0,
            lowest: 7,
            expects: Expects::Mask,
            single: false,
            needs_icw4: false,
            auto_eoi: false,
            rotate_on_auto_eoi: false,
            special_fully_nested: false,
            special_mask: false,
            reads_in_service: false,
            poll: false,
        }
    }

    /// Checks that a chip can be in this state. `cascade`: the line of the other chip.
    pub(super) fn check(
        &self,
        chip: &'static str,
        elcr: u8,
        cascade: u8,
    ) -> Result<(), StateError> {
        let check = |holds, field, reason| require(holds, chip, field, reason);
        let stale = self.edges & !cascade & (self.level_triggered | !self.lines);
        check(
            self.lines & cascade == 0,
            "lines",
            "drives the cascade's line",
        )?;
        check(
            self.level_triggered & !elcr == 0,
            "level_triggered",
            "has a line that is always edge triggered",
        )?;
        check(
            stale == 0,
            "edges",
            "has a line that is low or level triggered",
        )?;
        check(self.lowest < 8, "lowest", "is no line")?;
        check(
            self.vector_base.is_multiple_of(8),
            "vector_base",
            "is no multiple of 8",
        )
    }

    pub(super) fn set_line(&mut self, line: u8, level: bool) {
        let bit = bit_of(line);
        let rises = level && self.lines & bit == 0;
        if rises && self.level_triggered & bit == 0 {
            self.edges |= bit;
        }
        if level {
            self.lines |= bit;
        } else {
            self.lines &= !bit;
            self.edges &= !bit;
        }
    }

    pub(super) fn set_level_triggered(&mut self, lines: u8) {
        self.level_triggered = lines;
        self.edges &= !lines;
    }

    /// IRR.
    fn requests(&self) -> u8 {
        self.edges | (self.lines & self.level_triggered)
    }

    /// The line to acknowledge next. A line in service holds back itself and those of lower
    /// priority; not, in special mask mode, when it is masked; nor, in special fully
    /// nested mode, when it is the `cascade`.
    pub(super) fn pending(&self, cascade: u8) -> Option<u8> {
        if self.expects != Expects::Mask {
            return None;
        }
        let requests = self.requests() & !self.mask;
        let mut holding = self.in_service;
        if self.special_mask {
            holding &= !self.mask;
        }
        if self.special_fully_nested {
            holding &= !cascade;
        }
        let line = self.first_of(requests | holding)?;
        (holding & bit_of(line) == 0).then_some(line)
    }

    /// The line of highest priority among `lines`.
    fn first_of(&self, lines: u8) -> Option<u8> {
        (1..=8)
            .map(|rank| self.lowest.wrapping_add(rank) & 7)
            .find(|&line| lines & bit_of(line) != 0)
    }

    /// Takes the pending request into service.
    pub(super) fn acknowledge(&mut self, cascade: u8) -> Option<u8> {
        let line = self.pending(cascade)?;
        self.edges &= !bit_of(line);
        if !self.auto_eoi {
            self.in_service |= bit_of(line);
        } else if self.rotate_on_auto_eoi {
            self.lowest = line;
        }
        Some(line)
    }

    /// The vector of a line that was acknowledged.
    pub(super) fn vector(&self, line: Option<u8>) -> u8 {
        self.vector_base | line.unwrap_or(SPURIOUS_LINE)
    }

    /// Reads one of the two ports. A poll acknowledges ("Poll command").
    pub(super) fn read(&mut self, second: bool, cascade: u8) -> u8 {
        if std::mem::take(&mut self.poll) {
            let line = self.acknowledge(cascade);
            return line.map_or(0, |line| POLL_REQUEST | line);
        }
        match (second, self.reads_in_service) {
            (true, _) => self.mask,
            (false, true) => self.in_service,
            (false, false) => self.requests(),
        }
    }

    pub(super) fn write(&mut self, second: bool, value: u8) {
        if second {
            self.write_second(value);
        } else if value & ICW1 != 0 {
            self.initialize(value);
        } else if value & OCW3 != 0 {
            self.write_ocw3(value);
        } else {
            self.write_ocw2(value >> 5, value & 7);
        }
    }

    /// ICW1 ("Initialization command words"): forgets all but the lines, ELCR and base.
    fn initialize(&mut self, value: u8) {
        *self = Self {
            lines: self.lines,
            level_triggered: self.level_triggered,
            vector_base: self.vector_base,
            mask: 0,
            expects: Expects::Icw2,
            single: value & ICW1_SINGLE != 0,
            needs_icw4: value & ICW1_NEEDS_ICW4 != 0,
            ..Self::new()
        };
    }

    fn write_second(&mut self, value: u8) {
        let after_icw3 = if self.needs_icw4 {
            Expects::Icw4
        } else {
            Expects::Mask
        };
        self.expects = match self.expects {
            Expects::Mask => {
                self.mask = value;
                Expects::Mask
            }
            Expects::Icw2 => {
                self.vector_base = value & 0xf8;
                if self.single {
                    after_icw3
                } else {
                    Expects::Icw3
                }
            }
            Expects::Icw3 => after_icw3,
            Expects::Icw4 => {
                self.auto_eoi = value & ICW4_AUTO_EOI != 0;
                self.special_fully_nested = value & ICW4_SPECIAL_FULLY_NESTED != 0;
                Expects::Mask
            }
        };
    }

    /// OCW2: ends of interrupt and rotation of priorities.
    fn write_ocw2(&mut self, command: u8, line: u8) {
        match command {
            0b000 => self.rotate_on_auto_eoi = false,
            0b100 => self.rotate_on_auto_eoi = true,
            0b001 => self.end_first(false),
            0b101 => self.end_first(true),
            0b011 => self.in_service &= !bit_of(line),
            0b110 => self.lowest = line,
            0b111 => {
                self.in_service &= !bit_of(line);
                self.lowest = line;
            }
            _ => {}
        }
    }

    /// Non-specific end of interrupt. In special mask mode it does not see masked lines
    /// ("Special mask mode").
    fn end_first(&mut self, rotate: bool) {
        let hidden = if self.special_mask { self.mask } else { 0 };
        let Some(line) = self.first_of(self.in_service & !hidden) else {
            return;
        };
        self.in_service &= !bit_of(line);
        if rotate {
            self.lowest = line;
        }
    }

    fn write_ocw3(&mut self, value: u8) {
        if value & OCW3_SET_SPECIAL_MASK != 0 {
            self.special_mask = value & OCW3_SPECIAL_MASK != 0;
        }
        self.poll = value & OCW3_POLL != 0;
        if !self.poll && value & OCW3_READ != 0 {
            self.reads_in_service = value & OCW3_READ_IN_SERVICE != 0;
        }
    }
}

fn bit_of(line: u8) -> u8 {
    1 << (line & 7)
}
