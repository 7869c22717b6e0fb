//! The clock's registers: bits of the statuses, and how a time is written in bytes.

use super::calendar::Moment;

pub(super) const A_UPDATE_IN_PROGRESS: u8 = 0x80;
pub(super) const A_DIVIDER: u8 = 0x70;
pub(super) const A_DIVIDER_PC: u8 = 0x20;
pub(super) const A_RATE: u8 = 0x0f;

pub(super) const B_SET: u8 = 0x80;
pub(super) const B_PERIODIC: u8 = C_PERIODIC;
pub(super) const B_ALARM: u8 = C_ALARM;
pub(super) const B_UPDATE: u8 = C_UPDATE;
pub(super) const B_BINARY: u8 = 0x04;
pub(super) const B_24_HOURS: u8 = 0x02;

pub(super) const C_REQUEST: u8 = 0x80;
pub(super) const C_PERIODIC: u8 = 0x40;
pub(super) const C_ALARM: u8 = 0x20;
pub(super) const C_UPDATE: u8 = 0x10;

pub(super) const D_VALID: u8 = 0x80;

const SECOND: u8 = 0x00;
const MINUTE: u8 = 0x02;
const HOUR: u8 = 0x04;
const WEEKDAY: u8 = 0x06;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const CENTURY: u8 = 0x32;

/// The bytes that are the time.
pub(super) const TIME: [u8; 8] = [SECOND, MINUTE, HOUR, WEEKDAY, DAY, MONTH, YEAR, CENTURY];

/// Bit of the hours: afternoon, when there are twelve.
const AFTERNOON: u8 = 0x80;
/// Alarm bytes from here on match everything ("Alarm").
const ANY: u8 = 0xc0;

/// Whether a byte is one of the time.
pub(super) fn is_time(index: u8) -> bool {
    TIME.contains(&index)
}

/// How numbers are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    /// Binary, not BCD.
    pub(super) binary: bool,
    /// Hours 0 to 23, not 1 to 12 with a bit for the afternoon.
    pub(super) hours_24: bool,
}

impl Format {
    /// Writes a number below 100.
    fn encode(self, value: u8) -> u8 {
        if self.binary {
            value
        } else {
            (value / 10 % 10) << 4 | (value % 10)
        }
    }

    /// Reads a number; digits that are none count for what they are.
    fn decode(self, byte: u8) -> u8 {
        if self.binary {
            byte
        } else {
            (byte >> 4) * 10 + (byte & 0xf)
        }
    }

    fn encode_hour(self, hour: u8) -> u8 {
        if self.hours_24 {
            return self.encode(hour);
        }
        let afternoon = if hour >= 12 { AFTERNOON } else { 0 };
        let hour = match hour % 12 {
            0 => 12,
            hour => hour,
        };
        self.encode(hour) | afternoon
    }

    fn decode_hour(self, byte: u8) -> u8 {
        if self.hours_24 {
            return self.decode(byte);
        }
        let afternoon = if byte & AFTERNOON != 0 { 12 } else { 0 };
        self.decode(byte & !AFTERNOON) % 12 + afternoon
    }

    /// Seconds from the second `of_day` until the next one at which the alarm's hour,
    /// minute and second match, 1 to 86,400.
    pub(super) fn next_match(self, of_day: u64, [hour, minute, second]: [u8; 3]) -> Option<u64> {
        let matches = |alarm: u8, byte: u8| alarm >= ANY || alarm == byte;
        let narrow = |value: u64| u8::try_from(value).unwrap_or(0);
        let mut until = 1;
        while until <= 86_400 {
            let at = (of_day + until) % 86_400;
            let (at_hour, at_minute) = (narrow(at / 3600), narrow(at / 60 % 60));
            if !matches(hour, self.encode_hour(at_hour)) {
                until += 3600 - at % 3600;
            } else if !matches(minute, self.encode(at_minute)) {
                until += 60 - at % 60;
            } else if !matches(second, self.encode(narrow(at % 60))) {
                until += 1;
            } else {
                return Some(until);
            }
        }
        None
    }
}

/// A time as the registers show it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) moment: Moment,
    /// 0 for Sunday to 6.
    pub(super) weekday: u8,
}

impl Shown {
    /// The byte at `index`; `None` if it is none of the time.
    pub(super) fn byte(&self, index: u8, format: Format) -> Option<u8> {
        let part = |year: u16| u8::try_from(year).unwrap_or(0);
        let value = match index {
            SECOND => self.moment.second,
            MINUTE => self.moment.minute,
            HOUR => return Some(format.encode_hour(self.moment.hour)),
            WEEKDAY => self.weekday + 1,
            DAY => self.moment.day,
            MONTH => self.moment.month,
            YEAR => part(self.moment.year % 100),
            CENTURY => part(self.moment.year / 100),
            _ => return None,
        };
        Some(format.encode(value))
    }

    /// Sets the byte at `index`, if it is one of the time.
    pub(super) fn set(&mut self, index: u8, byte: u8, format: Format) {
        let value = format.decode(byte);
        let (year, part) = (self.moment.year, u16::from(value.min(99)));
        match index {
            SECOND => self.moment.second = value,
            MINUTE => self.moment.minute = value,
            HOUR => self.moment.hour = format.decode_hour(byte),
            WEEKDAY => self.weekday = value.clamp(1, 7) - 1,
            DAY => self.moment.day = value,
            MONTH => self.moment.month = value,
            YEAR => self.moment.year = year / 100 * 100 + part,
            CENTURY => self.moment.year = year % 100 + part * 100,
            _ => {}
        }
    }
}
