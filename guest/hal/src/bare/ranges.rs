//! Ranges of physical addresses.

/// A range of physical addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Calls `part` with what of `whole` is in none of `taken`, which is sorted here.
pub(super) fn without(whole: Range, taken: &mut [Range], mut part: impl FnMut(Range)) {
    taken.sort_unstable_by_key(|range| range.start);
    let mut start = whole.start;
    for range in taken.iter().filter(|range| range.start < range.end) {
        let end = range.start.min(whole.end);
        if start < end {
            part(Range { start, end });
        }
        start = start.max(range.end);
    }
    let end = whole.end;
    if start < end {
        part(Range { start, end });
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn check(whole: (u64, u64), taken: &[(u64, u64)], expected: &[(u64, u64)]) {
        let range = |&(start, end): &(u64, u64)| Range { start, end };
        let mut taken: Vec<Range> = taken.iter().map(range).collect();
        let mut found = Vec::new();
        without(range(&whole), &mut taken, |part| {
            found.push((part.start, part.end))
        });
        assert_eq!(found, expected, "{whole:?} without {taken:?}");
    }

    #[test]
    fn what_is_taken_is_left_out_whatever_the_order() {
        check((0, 100), &[], &[(0, 100)]);
        check(
            (0, 100),
            &[(50, 60), (10, 20)],
            &[(0, 10), (20, 50), (60, 100)],
        );
        check((0, 100), &[(0, 10), (5, 30), (90, 100)], &[(30, 90)]);
        check((50, 100), &[(0, 10), (40, 60), (95, 200)], &[(60, 95)]);
        check((50, 100), &[(0, 200)], &[]);
        check((50, 100), &[(70, 70), (200, 300)], &[(50, 100)]);
    }
}
