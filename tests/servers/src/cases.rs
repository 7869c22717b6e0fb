//! Every case by name: chosen, run a few at a time, counted.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Result;

use crate::needs::{Need, missing};
use crate::options::Options;
use crate::scenarios::{SCENARIOS, Scenario};
use crate::server::Server;
use crate::site::{Place, Site};
use crate::table::SERVERS;
use serving::load::Served;

/// One line of the report.
#[derive(Debug)]
pub(crate) enum Case {
    Server(&'static Server, u32),
    Scenario(&'static Scenario),
}

impl Case {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Server(server, cpus) => format!("server/{}-{cpus}", server.name),
            Self::Scenario(scenario) => scenario.name.to_owned(),
        }
    }

    const fn needs(&self) -> &'static [Need] {
        match self {
            Self::Server(server, _) => server.needs,
            Self::Scenario(scenario) => scenario.needs,
        }
    }

    fn run(&self, options: &Options) -> Outcome {
        if let Some(why) = self.unusable(options) {
            return Outcome::Skipped(why);
        }
        match self.measure(options) {
            Ok(served) => Outcome::Passed(served),
            Err(error) => match error.downcast_ref::<Missing>() {
                Some(Missing(why)) => Outcome::Skipped(why.clone()),
                None => Outcome::Failed(format!("{error:#}")),
            },
        }
    }

    fn unusable(&self, options: &Options) -> Option<String> {
        missing(self.needs(), &options.folder)
    }

    fn measure(&self, options: &Options) -> Result<Served> {
        match self {
            Self::Server(server, _) if options.audit => {
                server.measure(&Site::new(options, Place::Native)?)
            }
            Self::Server(server, cpus) => {
                server.measure(&Site::new(options, Place::Machine(*cpus))?)
            }
            Self::Scenario(scenario) => (scenario.run)(&Site::new(options, Place::Machine(1))?),
        }
    }
}

/// What this host lacks, found out in the middle of a case.
#[derive(Debug)]
pub(crate) struct Missing(pub(crate) String);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

#[derive(Debug)]
enum Outcome {
    Passed(Served),
    Failed(String),
    Skipped(String),
}

/// Those that the options ask for.
pub(crate) fn selected(options: &Options) -> Vec<Case> {
    let servers = SERVERS.iter().flat_map(|server| {
        let cpus = options.cpus().iter();
        cpus.map(move |&cpus| Case::Server(server, cpus))
    });
    let scenarios = SCENARIOS.iter().filter(|_| !options.audit);
    let scenarios = scenarios.map(Case::Scenario);
    let all = scenarios.chain(servers);
    all.filter(|case| options.wants(&case.name())).collect()
}

#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    skipped: usize,
    failed: Vec<String>,
}

/// Whether nothing failed.
pub(crate) fn run_all(options: &Options, cases: &[Case]) -> bool {
    let tally = Mutex::new(Tally::default());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = case.run(options);
                    let mut tally = tally.lock().expect("no worker panics");
                    tally.add(&case.name(), &outcome);
                }
            });
        }
    });
    let Tally {
        passed,
        skipped,
        failed,
    } = tally.into_inner().expect("no worker panics");
    for name in &failed {
        println!("failed: {name}");
    }
    let failed = failed.len();
    println!("servers: {passed} passed, {failed} failed, {skipped} skipped");
    failed == 0
}

impl Tally {
    fn add(&mut self, name: &str, outcome: &Outcome) {
        match outcome {
            Outcome::Passed(served) => {
                self.passed += 1;
                println!("ok      {name}  ({})", remark(served));
            }
            Outcome::Failed(why) => {
                self.failed.push(name.to_owned());
                println!("FAILED  {name}: {why}");
            }
            Outcome::Skipped(why) => {
                self.skipped += 1;
                println!("SKIPPED {name}: {why}");
            }
        }
    }
}

fn remark(served: &Served) -> String {
    let (requests, rate) = (served.requests, served.rate());
    let seconds = served.elapsed.as_secs_f64();
    let figures = match requests {
        0 => format!("{seconds:.1} s"),
        _ => format!("{requests} requests in {seconds:.1} s, {rate:.0}/s"),
    };
    [figures.as_str(), served.remark.as_str()]
        .join("; ")
        .trim_end_matches("; ")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_filters_choose() {
        let all = selected(&Options::parse_from(["servers"]));
        let names: BTreeSet<_> = all.iter().map(Case::name).collect();
        assert_eq!(names.len(), all.len());
        let line = ["servers", "--filter", "server/redis", "--cpus", "2"];
        let some = selected(&Options::parse_from(line));
        let names: Vec<_> = some.iter().map(Case::name).collect();
        assert_eq!(names, ["server/redis-2"]);
    }
}
