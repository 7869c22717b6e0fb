//! One part of a list that several invocations share.

use std::str::FromStr;

/// The `index`th (from 0) of `count` parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    index: usize,
    count: usize,
}

impl Part {
    /// Whether the entry of this number is in it: neighbours, which cost alike, go to different
    /// parts.
    pub(crate) fn has(self, number: usize) -> bool {
        number % self.count == self.index
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(number, count)| {
            let number: usize = number.parse().ok()?;
            Some((number.checked_sub(1)?, count.parse().ok()?))
        });
        match numbers {
            Some((index, count)) if index < count => Ok(Self { index, count }),
            _ => Err(format!(
                "{text} is no part: write the second of three as 2/3"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_in_one_part() {
        let parts = ["1/3", "2/3", "3/3"].map(|text| text.parse::<Part>().expect("valid"));
        for number in 0..10 {
            assert_eq!(parts.iter().filter(|part| part.has(number)).count(), 1);
        }
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for text in ["", "1", "0/2", "3/2", "1/0", "a/b", "1/2/3", "-1/2"] {
            assert!(text.parse::<Part>().is_err(), "{text}");
        }
    }
}
