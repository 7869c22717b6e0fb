//! What is known not to work yet. Each gap is run all the same: it counts as skipped, aloud, for
//! as long as it fails, and as a failure on the day it passes, so that the list stays true.

use crate::check::Outcome;

/// The name of a check, and why it fails today.
pub(crate) const KNOWN_GAPS: &[(&str, &str)] = &[];

/// What an outcome means for a check of this name.
pub(crate) fn judge(name: &str, outcome: Outcome) -> Outcome {
    judge_by(KNOWN_GAPS, name, outcome)
}

fn judge_by(gaps: &[(&str, &str)], name: &str, outcome: Outcome) -> Outcome {
    let Some((_, reason)) = gaps.iter().find(|(gap, _)| *gap == name) else {
        return outcome;
    };
    match outcome {
        Outcome::Passed(_) => {
            Outcome::Failed(format!("passes: remove it from KNOWN_GAPS ({reason})"))
        }
        Outcome::Failed(how) => Outcome::Gap(format!("{reason}; {how}")),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::check;
    use crate::options::Options;

    #[test]
    fn a_gap_is_one_only_while_it_fails() {
        let judged = |name, outcome| judge_by(&[("a", "why")], name, outcome);
        let failed = || Outcome::Failed("how".into());
        assert_eq!(judged("a", failed()), Outcome::Gap("why; how".into()));
        assert!(matches!(
            judged("a", Outcome::Passed(String::new())),
            Outcome::Failed(_)
        ));
        assert_eq!(judged("b", failed()), failed());
        let skipped = || Outcome::Skipped(String::new());
        assert_eq!(judged("a", skipped()), skipped());
    }

    #[test]
    fn every_gap_names_a_check() {
        let options = Options::parse_from(["conformance", "--include-slow"]);
        let checks = check::selected(&options);
        for (gap, _) in KNOWN_GAPS {
            assert!(checks.iter().any(|check| check.name() == *gap), "{gap}");
        }
    }
}
