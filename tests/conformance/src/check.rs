//! What can be run and counted: a compared case, a bad input, or a scenario.

use std::path::Path;

use anyhow::Result;

use crate::badinput::{self, BadInput};
use crate::case::{Case, Program};
use crate::compare::{self, Side};
use crate::gaps;
use crate::harness::{Harness, How};
use crate::options::Options;
use crate::scenarios::{self, Scenario};
use crate::table;

/// One counted line of the report.
#[derive(Debug)]
pub(crate) enum Check {
    Case(Box<Case>),
    BadInput(BadInput),
    Scenario(Scenario),
}

/// How a check came out, with a remark.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed(String),
    Failed(String),
    Skipped(String),
    /// Failed, as [`gaps`] says it would.
    Gap(String),
}

impl Check {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Case(case) => &case.name,
            Self::BadInput(bad) => bad.name,
            Self::Scenario(scenario) => scenario.name,
        }
    }

    fn is_slow(&self) -> bool {
        matches!(self, Self::Case(case) if case.slow)
    }

    /// Runs it. An error of the harness itself is a failure of the check, expected or not.
    pub(crate) fn run(&self, harness: &Harness) -> Outcome {
        if harness.leaves_out(self.name()) {
            return Outcome::Skipped("left out on the command line".into());
        }
        let outcome = match self {
            Self::Case(case) => run_case(harness, case),
            Self::BadInput(bad) => bad.run(harness),
            Self::Scenario(scenario) => (scenario.run)(harness),
        };
        let outcome = outcome.unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        gaps::judge(self.name(), outcome)
    }
}

impl Check {
    /// Runs a case natively and keeps what it did; of other checks, builds the C program.
    pub(crate) fn record(&self, harness: &Harness) -> Outcome {
        let done = match self {
            Self::Case(case) => record_case(harness, case),
            Self::BadInput(bad) => bad.build(harness).map(|_| none_kept()),
            Self::Scenario(_) => scenarios::build(harness).map(|_| none_kept()),
        };
        done.unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")))
    }
}

fn none_kept() -> Outcome {
    Outcome::Skipped("has no native run".into())
}

/// All checks that the options ask for, in the order of the tables.
pub(crate) fn selected(options: &Options) -> Vec<Check> {
    let cases = table::all()
        .into_iter()
        .map(|case| Check::Case(Box::new(case)));
    let bad = badinput::all().into_iter().map(Check::BadInput);
    let scenarios = scenarios::all().into_iter().map(Check::Scenario);
    cases
        .chain(bad)
        .chain(scenarios)
        .filter(|check| options.include_slow || !check.is_slow())
        .filter(|check| options.wants(check.name()))
        .enumerate()
        .filter(|(number, _)| options.part.is_none_or(|part| part.has(*number)))
        .map(|(_, check)| check)
        .collect()
}

fn record_case(harness: &Harness, case: &Case) -> Result<Outcome> {
    let Some(program) = harness.locate(&case.program)? else {
        return Ok(Outcome::Skipped(missing(case)));
    };
    let native = harness.run(case, &harness.path_for(case), How::Native(&program))?;
    if let Some(broken) = broken_oracle(case, &native.run) {
        return Ok(Outcome::Failed(broken));
    }
    harness.keep_run(case, &native)?;
    Ok(Outcome::Passed(format!(
        "native {:.1?}",
        native.run.elapsed
    )))
}

fn run_case(harness: &Harness, case: &Case) -> Result<Outcome> {
    let Some(program) = harness.locate(&case.program)? else {
        return Ok(Outcome::Skipped(missing(case)));
    };
    let path = harness.path_for(case);
    let Some(recorded) = harness.recorded(case)? else {
        let outcome = run_beside(harness, case, &program)?;
        return match outcome {
            Outcome::Failed(why) if case.about_time => {
                println!("again {}: {why}", case.name);
                run_beside(harness, case, &program)
            }
            outcome => Ok(outcome),
        };
    };
    let machine = harness.run(case, &path, How::Machine(&program))?;
    let outcome = judge(case, "recorded", &recorded, &machine);
    if machine.run.timed_out || matches!(outcome, Outcome::Passed(_)) {
        return Ok(outcome);
    }
    // What the program shows may depend on the kernel or its file systems: then the native run
    // on this one counts.
    let native = harness.run(case, &path, How::Native(&program))?;
    Ok(judge(case, "native", &native, &machine))
}

/// Natively and in a machine, one after the other.
fn run_beside(harness: &Harness, case: &Case, program: &Path) -> Result<Outcome> {
    let path = harness.path_for(case);
    let native = harness.run(case, &path, How::Native(program))?;
    if let Some(broken) = broken_oracle(case, &native.run) {
        return Ok(Outcome::Failed(broken));
    }
    let machine = harness.run(case, &path, How::Machine(program))?;
    Ok(judge(case, "native", &native, &machine))
}

fn judge(case: &Case, oracle: &str, native: &Side, machine: &Side) -> Outcome {
    let times = format!(
        "{oracle} {:.1?}, husk {:.1?}",
        native.run.elapsed, machine.run.elapsed
    );
    match compare::difference(native, machine, case.compares) {
        None => Outcome::Passed(times),
        Some(difference) => Outcome::Failed(difference),
    }
}

/// Why the native run is no oracle: the host does not do what the table says.
pub(crate) fn broken_oracle(case: &Case, native: &crate::process::Run) -> Option<String> {
    if native.timed_out {
        return Some(format!(
            "the native run does not end within {:.0?}",
            native.elapsed
        ));
    }
    if case.fails == (native.status != 0) {
        return None;
    }
    let said = String::from_utf8_lossy(&native.stderr);
    Some(format!(
        "the native run ends with status {}: {}",
        native.status,
        said.trim()
    ))
}

fn missing(case: &Case) -> String {
    match &case.program {
        Program::Host(name) => format!("no {name} here (Debian package {})", case.package),
        Program::C { name, .. } => format!("{name}.c was not built"),
    }
}
