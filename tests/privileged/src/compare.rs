//! How the lines of two runs differ.

use std::collections::BTreeMap;
use std::fmt;

use crate::{END, START};

/// Flags that a processor may be known to keep differently, such as RF.
const FLAGS: &str = "fl";

/// The lines of a run, by case; what is no line of a case is left out.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    lines: BTreeMap<String, String>,
    ended: bool,
}

impl Lines {
    /// Takes what a machine printed, perhaps not all of it.
    #[must_use]
    pub fn parse(output: &str) -> Self {
        let mut lines = Self::default();
        let start = output
            .find(START)
            .map_or(output.len(), |at| at + START.len());
        for line in output[start..].split_inclusive('\n') {
            lines.take(line);
        }
        lines
    }

    fn take(&mut self, line: &str) {
        let text = line.trim_end();
        let name = text.split(' ').next().unwrap_or_default();
        if text == END {
            self.ended = true;
        } else if line.ends_with('\n') && text.contains(" v=") {
            self.lines.insert(name.to_owned(), text.to_owned());
        }
    }

    /// The whole line of a case that ended.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&str> {
        self.lines.get(name).map(String::as_str)
    }

    /// Whether all cases have been run.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.ended
    }
}

/// One field of a case that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    field: String,
    expected: Option<String>,
    found: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<String>| value.clone().unwrap_or("nothing".into());
        let (expected, found) = (text(&self.expected), text(&self.found));
        write!(f, "{}: expected {expected}, found {found}", self.field)
    }
}

/// The fields in which two lines differ; of the flags those in `unknown` do not count.
#[must_use]
pub fn differences(expected: &str, found: &str, unknown: u32) -> Vec<Difference> {
    let (expected, found) = (fields(expected, unknown), fields(found, unknown));
    let mut names: Vec<&String> = expected.keys().collect();
    names.extend(found.keys().filter(|name| !expected.contains_key(*name)));
    let differing = names
        .into_iter()
        .filter(|name| expected.get(*name) != found.get(*name));
    let difference = |name: &String| Difference {
        field: name.clone(),
        expected: expected.get(name).cloned(),
        found: found.get(name).cloned(),
    };
    differing.map(difference).collect()
}

/// A line's fields by name; memory and model-specific registers by their addresses.
fn fields(line: &str, unknown: u32) -> BTreeMap<String, String> {
    let words = line.split(' ').skip(1).filter(|word| !word.is_empty());
    let field = |word: &str| {
        let separator = if word.contains(':') { ':' } else { '=' };
        let (name, value) = word.split_once(separator).unwrap_or((word, ""));
        let value = if name == FLAGS {
            masked(value, unknown)
        } else {
            value.into()
        };
        (name.to_owned(), value)
    };
    words.map(field).collect()
}

fn masked(value: &str, unknown: u32) -> String {
    match u64::from_str_radix(value, 16) {
        Ok(flags) => format!("{:x}", flags & !u64::from(unknown)),
        Err(_) => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &str, found: &str, texts: &[&str]) {
        let differences = differences(expected, found, 0x1_0000);
        let found: Vec<String> = differences.iter().map(Difference::to_string).collect();
        assert_eq!(found, texts);
    }

    #[test]
    fn a_field_that_differs_is_named() {
        check("a v=d ip=2", "a v=e ip=2", &["v: expected d, found e"]);
        check("a v=d", "a v=d ax=1", &["ax: expected nothing, found 1"]);
        check(
            "a at=5000:1:2",
            "a at=5000:1:3",
            &["at=5000: expected 1:2, found 1:3"],
        );
    }

    #[test]
    fn unknown_flags_do_not_count() {
        check("a fl=10002", "a fl=2", &[]);
        check("a fl=10002", "a fl=3", &["fl: expected 2, found 3"]);
    }

    #[test]
    fn what_a_machine_said_before_does_not_count() {
        let lines = Lines::parse("BIOS v=1\nprivileged: start\na v=1\nb v=2\nc");
        assert_eq!(lines.of("a"), Some("a v=1"));
        assert_eq!(lines.of("BIOS"), None);
        assert_eq!(lines.of("c"), None);
        assert!(!lines.ended());
        assert!(Lines::parse("privileged: start\nprivileged: end\n").ended());
    }
}
