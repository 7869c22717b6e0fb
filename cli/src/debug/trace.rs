//! `--trace-instructions`: a line an instruction on stderr.

use std::io::Write as _;
use std::ops::RangeInclusive;

use engine_contract::{Tracer, VcpuId};
use x86_state::CpuState;

/// Linear addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ranges(pub(super) Vec<RangeInclusive<u64>>);

pub(super) fn parse(text: &str) -> Result<Ranges, String> {
    if text == "all" {
        return Ok(Ranges(vec![0..=u64::MAX]));
    }
    text.split(',')
        .map(range)
        .collect::<Result<_, _>>()
        .map(Ranges)
}

fn range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let usage = || format!("'{text}' is no range (write it as 100000-1fffff, or all)");
    let (start, end) = text.split_once('-').ok_or_else(usage)?;
    let number = |text: &str| {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(digits, 16).ok();
        number.filter(|_| is_plain).ok_or_else(usage)
    };
    let (start, end) = (number(start)?, number(end)?);
    if start > end {
        return Err(usage());
    }
    Ok(start..=end)
}

/// Prints what is told.
pub(super) struct Printer;

impl Tracer for Printer {
    fn executed(&self, vcpu: VcpuId, before: &CpuState, after: &CpuState, code: &[u8]) {
        let line = x86_listing::executed(before, after, code);
        // Nobody may read it.
        let _ = writeln!(std::io::stderr().lock(), "{} {line}", vcpu.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_hexadecimal_and_have_both_ends() {
        let check = |text, ranges: &[RangeInclusive<u64>]| {
            assert_eq!(parse(text), Ok(Ranges(ranges.to_vec())), "{text}");
        };
        check("all", &[0..=u64::MAX]);
        check("1000-1fff", &[0x1000..=0x1fff]);
        check("0x7c00-0x7c00,a-f", &[0x7c00..=0x7c00, 0xa..=0xf]);
        for text in [
            "",
            "1000",
            "2-1",
            "-1",
            "1-",
            "g-h",
            "1-2,",
            "+1-2",
            "1-10000000000000000",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
