//! Dates of the Gregorian calendar, years 0 to 9999, which repeat.

const SECONDS_PER_DAY: u64 = 86_400;
/// Days of 400 years.
const CYCLE_DAYS: u64 = 146_097;
/// Days from year 0 to 1970.
const DAYS_TO_1970: u64 = 719_528;
/// Seconds of 10,000 years, after which the calendar repeats.
pub(super) const SPAN: u64 = 25 * CYCLE_DAYS * SECONDS_PER_DAY;

/// A moment in the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// 0 to 9999.
    pub(super) year: u16,
    /// 1 to 12.
    pub(super) month: u8,
    /// 1 to 31.
    pub(super) day: u8,
    /// 0 to 23.
    pub(super) hour: u8,
    /// 0 to 59.
    pub(super) minute: u8,
    /// 0 to 59.
    pub(super) second: u8,
}

/// Seconds since year 0 from those since 1970.
pub(super) fn from_unix(seconds: u64) -> u64 {
    (seconds % SPAN + DAYS_TO_1970 * SECONDS_PER_DAY) % SPAN
}

/// Day of the week, 0 for Sunday.
pub(super) fn weekday(seconds: u64) -> u8 {
    // January 1st of year 0 was a Saturday.
    narrow((seconds / SECONDS_PER_DAY + 6) % 7)
}

impl Moment {
    /// From seconds since year 0.
    pub(super) fn of(seconds: u64) -> Self {
        let seconds = seconds % SPAN;
        let days = seconds / SECONDS_PER_DAY;
        let year = year_of(days);
        let mut day = days - days_before(year);
        let mut month = 1;
        while day >= days_of_month(year, month) {
            day -= days_of_month(year, month);
            month += 1;
        }
        Self {
            year: u16::try_from(year).unwrap_or(0),
            month,
            day: narrow(day + 1),
            hour: narrow(seconds / 3600 % 24),
            minute: narrow(seconds / 60 % 60),
            second: narrow(seconds % 60),
        }
    }

    /// Seconds since year 0. What is too large or small for its place counts as the
    /// nearest that fits.
    pub(super) fn seconds(self) -> u64 {
        let year = u64::from(self.year.min(9999));
        let month = self.month.clamp(1, 12);
        let day = u64::from(self.day).clamp(1, days_of_month(year, month));
        let before: u64 = (1..month).map(|month| days_of_month(year, month)).sum();
        let days = days_before(year) + before + day - 1;
        let hour = u64::from(self.hour.min(23));
        let minute = u64::from(self.minute.min(59));
        days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + u64::from(self.second.min(59))
    }
}

/// Days before January 1st of a year.
fn days_before(year: u64) -> u64 {
    365 * year + year.div_ceil(4) - year.div_ceil(100) + year.div_ceil(400)
}

fn year_of(days: u64) -> u64 {
    let guess = days * 400 / CYCLE_DAYS;
    if days < days_before(guess) {
        guess.saturating_sub(1)
    } else if days >= days_before(guess + 1) {
        guess + 1
    } else {
        guess
    }
}

fn days_of_month(year: u64, month: u8) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// For numbers that fit by construction.
fn narrow(value: u64) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_the_calendar_is_its_own_and_follows_the_one_before() {
        let mut before = Moment::of(SPAN - 1);
        for day in 0..SPAN / SECONDS_PER_DAY {
            let moment = Moment::of(day * SECONDS_PER_DAY);
            assert_eq!(moment.seconds(), day * SECONDS_PER_DAY);
            let next_day = moment.day == before.day + 1 && moment.month == before.month;
            let next_month = moment.day == 1 && moment.month == before.month % 12 + 1;
            assert!(next_day || next_month, "{before:?} {moment:?}");
            before = moment;
        }
        assert_eq!((before.year, before.month, before.day), (9999, 12, 31));
    }

    #[test]
    fn known_dates_are_right() {
        let check = |unix, date: (u16, u8, u8), day| {
            let seconds = from_unix(unix);
            let moment = Moment::of(seconds);
            assert_eq!((moment.year, moment.month, moment.day), date);
            assert_eq!(weekday(seconds), day);
        };
        check(0, (1970, 1, 1), 4);
        check(951_782_400, (2000, 2, 29), 2);
        check(1_709_164_800, (2024, 2, 29), 4);
        check(4_107_542_400, (2100, 3, 1), 1);
    }

    #[test]
    fn what_is_out_of_range_counts_as_the_nearest() {
        let wild = Moment {
            year: u16::MAX,
            month: 255,
            day: 0,
            hour: 200,
            minute: 99,
            second: 60,
        };
        let tame = Moment::of(wild.seconds());
        assert_eq!((tame.year, tame.month, tame.day), (9999, 12, 1));
        assert_eq!((tame.hour, tame.minute, tame.second), (23, 59, 59));
    }
}
