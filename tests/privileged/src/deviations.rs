//! Cases in which a machine is known not to do what the manuals say.
//!
//! A file has two kinds of lines: `CLASS: REASON` says why, and `  CASE...` below it which.

use std::collections::BTreeMap;

/// The cases that a machine is known to get wrong.
#[derive(Clone, Debug, Default)]
pub struct Deviations {
    reasons: BTreeMap<String, String>,
}

impl Deviations {
    fn parse(text: &str) -> Self {
        let mut deviations = Self::default();
        let mut reason = "";
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            match line.strip_prefix("  ") {
                Some(names) => deviations.add(names, reason),
                None => reason = line,
            }
        }
        deviations
    }

    fn add(&mut self, names: &str, reason: &str) {
        for name in names.split_whitespace() {
            self.reasons.insert(name.to_owned(), reason.to_owned());
        }
    }

    /// Why a case deviates, if it is known to.
    #[must_use]
    pub fn reason(&self, name: &str) -> Option<&str> {
        self.reasons.get(name).map(String::as_str)
    }

    /// The names of the cases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.reasons.keys().map(String::as_str)
    }
}

/// What Bochs 2.7 gets wrong.
#[must_use]
pub fn bochs() -> Deviations {
    Deviations::parse(include_str!("../deviations/bochs.txt"))
}

/// What QEMU 7.2's emulation gets wrong.
#[must_use]
pub fn qemu() -> Deviations {
    Deviations::parse(include_str!("../deviations/qemu.txt"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_stands_above_its_cases() {
        let deviations = Deviations::parse("# comment\nlimits: none\n  a b\n  c\nother: x\n  d\n");
        assert_eq!(deviations.reason("c"), Some("limits: none"));
        assert_eq!(deviations.reason("d"), Some("other: x"));
        assert_eq!(deviations.reason("e"), None);
    }
}
