//! A line of the report: what was measured on each side, what was promised, what came of it.

use std::fmt;

use anyhow::Result;

use crate::peer::Side;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Nanoseconds.
    Time,
    /// Requests a second.
    Requests,
    /// Bits a second.
    Bits,
    /// Processor time, in ticks of 10 ms.
    Ticks,
}

/// What the project promises of a line: of Husk's figure, or of its ratio to the native one. It is
/// shown beside the figure; nothing fails by it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Promise {
    RatioAtMost(f64),
    RatioAtLeast(f64),
    AtLeast(u64),
    AtMost(u64),
}

/// The medians of one line, by side.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) promise: Option<Promise>,
    /// Why there are none: something is missing on this host.
    pub(crate) skipped: Option<String>,
    pub(crate) medians: Vec<(Side, Result<u64>)>,
}

/// What this host lacks.
#[derive(Debug)]
pub(crate) struct Missing(pub(crate) String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

impl Row {
    /// Without figures yet.
    pub(crate) fn new(name: &'static str, unit: Unit, promise: Option<Promise>) -> Self {
        Self {
            name,
            unit,
            promise,
            skipped: None,
            medians: Vec::new(),
        }
    }

    /// There are none: because something is missing, or because something failed before.
    pub(crate) fn without(mut self, error: &anyhow::Error) -> Self {
        let name = self.name;
        if error.is::<Missing>() {
            eprintln!("SKIPPED {name}: {error:#}");
            self.skipped = Some(format!("{error:#}"));
        } else {
            eprintln!("FAILED  {name}: {error:#}");
            let error = anyhow::anyhow!("{error:#}");
            self.medians = vec![(Side::Husk, Err(error))];
        }
        self
    }

    pub(crate) fn median(&self, side: Side) -> Option<u64> {
        self.medians
            .iter()
            .find(|(of, _)| *of == side)?
            .1
            .as_ref()
            .ok()
            .copied()
    }

    /// How many times the native figure it is.
    pub(crate) fn ratio(&self, side: Side) -> Option<f64> {
        if self.unit == Unit::Ticks {
            return None;
        }
        Some(as_float(self.median(side)?) / as_float(self.median(Side::Native)?.max(1)))
    }

    /// Whether something failed natively or under Husk; a peer may.
    pub(crate) fn has_failed(&self) -> bool {
        let failed = |(side, median): &(Side, Result<u64>)| !side.is_peer() && median.is_err();
        self.medians.iter().any(failed)
    }

    /// Whether Husk's figures are as promised, if there are any and something is.
    pub(crate) fn is_kept(&self) -> Option<bool> {
        Some(match self.promise? {
            Promise::RatioAtMost(bound) => self.ratio(Side::Husk)? <= bound,
            Promise::RatioAtLeast(bound) => self.ratio(Side::Husk)? >= bound,
            Promise::AtLeast(bound) => self.median(Side::Husk)? >= bound,
            Promise::AtMost(bound) => self.median(Side::Husk)? <= bound,
        })
    }
}

impl Unit {
    /// The end of a key of the report in JSON.
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::Time => "ns",
            Self::Requests => "requests_per_second",
            Self::Bits => "bits_per_second",
            Self::Ticks => "ticks",
        }
    }

    /// A figure as people read it.
    pub(crate) fn show(self, figure: u64) -> String {
        match self {
            Self::Time => show_time(figure),
            Self::Requests => format!("{figure} /s"),
            Self::Bits => format!("{:.2} Gb/s", as_float(figure) / 1e9),
            Self::Ticks => format!("{figure} ticks"),
        }
    }
}

impl Promise {
    /// In words, with figures in this unit.
    pub(crate) fn show(self, unit: Unit) -> String {
        match self {
            Self::RatioAtMost(bound) => format!("x <= {bound:.2}"),
            Self::RatioAtLeast(bound) => format!("x >= {bound:.2}"),
            Self::AtLeast(bound) => format!(">= {}", unit.show(bound)),
            Self::AtMost(bound) => format!("<= {}", unit.show(bound)),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures of a benchmark lie far below 2^52"
)]
pub(crate) fn as_float(number: u64) -> f64 {
    number as f64
}

/// The middle value; of an even number, the lower of the two.
pub(crate) fn median(mut figures: Vec<u64>) -> u64 {
    figures.sort_unstable();
    figures
        .get(figures.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(0)
}

/// A time in the unit that suits it.
fn show_time(nanoseconds: u64) -> String {
    let time = as_float(nanoseconds);
    match nanoseconds {
        0..10_000 => format!("{nanoseconds} ns"),
        10_000..10_000_000 => format!("{:.2} us", time / 1e3),
        10_000_000.. => format!("{:.2} ms", time / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    fn row(unit: Unit, promise: Promise, native: u64, husk: u64) -> Row {
        Row {
            medians: vec![(Side::Native, Ok(native)), (Side::Husk, Ok(husk))],
            ..Row::new("x", unit, Some(promise))
        }
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![5, 1, 9]), 5);
        assert_eq!(median(vec![4, 1, 9, 5]), 4);
        assert_eq!(median(Vec::new()), 0);
    }

    #[test]
    fn a_ratio_needs_both_sides() {
        let row = row(Unit::Time, Promise::RatioAtMost(1.4), 100, 150);
        assert_eq!(row.ratio(Side::Husk), Some(1.5));
        assert_eq!(row.ratio(Side::Runsc), None);
    }

    #[test]
    fn promises_are_of_ratios_or_of_figures() {
        for (unit, promise, native, husk, kept) in [
            (Unit::Time, Promise::RatioAtMost(1.5), 100, 150, true),
            (Unit::Time, Promise::RatioAtMost(1.5), 100, 151, false),
            (Unit::Requests, Promise::RatioAtLeast(0.5), 100, 50, true),
            (Unit::Requests, Promise::RatioAtLeast(0.5), 100, 49, false),
            (Unit::Bits, Promise::AtLeast(7), 100, 7, true),
            (Unit::Ticks, Promise::AtMost(0), 0, 1, false),
        ] {
            let row = row(unit, promise, native, husk);
            assert_eq!(row.is_kept(), Some(kept), "{row:?}");
        }
    }

    #[test]
    fn a_peer_may_fail_and_what_is_missing_is_no_failure() {
        let with = |side| Row {
            medians: vec![(side, Err(anyhow!("broken")))],
            ..Row::new("x", Unit::Time, None)
        };
        assert!(!with(Side::Runsc).has_failed());
        assert!(with(Side::Native).has_failed());
        let row = Row::new("x", Unit::Time, None);
        let missing = row.without(&Missing("no such program".into()).into());
        assert!(!missing.has_failed() && missing.skipped.is_some());
        let row = Row::new("x", Unit::Time, None);
        assert!(row.without(&anyhow!("broken")).has_failed());
    }

    #[test]
    fn figures_are_shown_in_their_unit() {
        assert_eq!(Unit::Time.show(124), "124 ns");
        assert_eq!(Unit::Time.show(12_340), "12.34 us");
        assert_eq!(Unit::Time.show(123_400_000), "123.40 ms");
        assert_eq!(Unit::Requests.show(1234), "1234 /s");
        assert_eq!(Unit::Bits.show(5_120_000_000), "5.12 Gb/s");
        assert_eq!(Promise::AtMost(0).show(Unit::Ticks), "<= 0 ticks");
    }
}
