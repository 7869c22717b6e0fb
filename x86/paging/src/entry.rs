//! Entries of page tables (SDM vol. 3, tables 4-4 to 4-20).

use crate::mode::{Mode, Paging};

pub(crate) const PRESENT: u64 = 1;
pub(crate) const WRITABLE: u64 = 1 << 1;
pub(crate) const USER: u64 = 1 << 2;
pub(crate) const ACCESSED: u64 = 1 << 5;
pub(crate) const DIRTY: u64 = 1 << 6;
/// In an entry that could name a table: it is a page.
pub(crate) const LARGE: u64 = 1 << 7;
pub(crate) const GLOBAL: u64 = 1 << 8;
pub(crate) const NO_EXECUTE: u64 = 1 << 63;

/// Where a walk is: a table of the mode's, by what its entries map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    /// Bits of the linear address below those that choose an entry.
    pub(crate) shift: u32,
    /// Bits that choose.
    pub(crate) index_bits: u32,
}

const fn level(shift: u32, index_bits: u32) -> Level {
    Level { shift, index_bits }
}

const BITS_32: [Level; 2] = [level(22, 10), level(12, 10)];
const PAE: [Level; 3] = [level(30, 2), level(21, 9), level(12, 9)];
const FOUR_LEVEL: [Level; 4] = [level(39, 9), level(30, 9), level(21, 9), level(12, 9)];

/// From the first table on.
pub(crate) const fn levels(mode: Mode) -> &'static [Level] {
    match mode {
        Mode::None => &[],
        Mode::Bits32 => &BITS_32,
        Mode::Pae => &PAE,
        Mode::FourLevel => &FOUR_LEVEL,
    }
}

/// Whether the four top entries of PAE paging, which have no rights and are never marked.
pub(crate) const fn is_pointer(mode: Mode, level: Level) -> bool {
    matches!(mode, Mode::Pae) && level.shift == 30
}

/// Bits `low` to `high`.
const fn bits(low: u32, high: u32) -> u64 {
    if high < low {
        return 0;
    }
    (u64::MAX >> (63 - high)) & !((1 << low) - 1)
}

impl Paging {
    /// Whether an entry is a page itself.
    pub(crate) const fn is_page(&self, level: Level, entry: u64) -> bool {
        let may_be_large = match self.mode {
            Mode::None => false,
            Mode::Bits32 => level.shift == 22 && self.page_size_extensions,
            Mode::Pae => level.shift == 21,
            Mode::FourLevel => level.shift == 21 || level.shift == 30,
        };
        level.shift == 12 || may_be_large && entry & LARGE != 0
    }

    /// The bits that must be zero in a present entry.
    pub(crate) const fn reserved(&self, level: Level, is_page: bool) -> u64 {
        let above = match self.mode {
            Mode::None => return 0,
            Mode::Bits32 => return self.reserved_32(level, is_page),
            // Between the address and bit 63 there is nothing (table 4-8 and on).
            Mode::Pae => bits(self.physical_bits, 62),
            // Bits 52 to 62 are the system's (table 4-15 and on).
            Mode::FourLevel => bits(self.physical_bits, 51),
        };
        let execute = if self.no_execute { 0 } else { NO_EXECUTE };
        if is_pointer(self.mode, level) {
            return above | NO_EXECUTE | bits(5, 8) | bits(1, 2);
        }
        let low = match level.shift {
            39 => LARGE,
            // Bit 12 is the memory type's.
            30 | 21 if is_page => bits(13, level.shift - 1),
            _ => 0,
        };
        above | execute | low
    }

    const fn reserved_32(&self, level: Level, is_page: bool) -> u64 {
        if level.shift == 22 && is_page {
            // Bits 13 to 20 are those of the address above 32, as far as there are such.
            let high = if self.physical_bits < 40 {
                self.physical_bits
            } else {
                40
            };
            return bits(21, 21) | bits(high - 32 + 13, 20);
        }
        0
    }

    /// Physical address of the table or page that an entry names.
    pub(crate) const fn address(&self, level: Level, is_page: bool, entry: u64) -> u64 {
        match self.mode {
            Mode::Bits32 if level.shift == 22 && is_page => {
                entry & bits(22, 31) | (entry & bits(13, 20)) << (32 - 13)
            }
            Mode::Bits32 => entry & bits(12, 31),
            _ => {
                let low = if is_page { level.shift } else { 12 };
                entry & bits(low, self.physical_bits - 1)
            }
        }
    }
}
