//! How long a Spring Boot application with its Tomcat takes to start, as it says itself.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serving::clients::http::{self, Body, Request};

use crate::measure::add;
use crate::options::Options;
use crate::peer::Bench;
use crate::place::{self, Place, Server};
use crate::row::{Missing, Promise, Row, Unit, median};

pub(crate) const NAME: &str = "spring-boot-start";
/// Java compiles beside what it runs: with as many processors as it has natively.
const CPUS: u32 = 2;
const JAR: &str = "{kept}/spring-boot/java/ov-rest.jar";
/// `Started OpenValidationApplication in 2.589 seconds (JVM running for 2.981)`
const SAYS: (&str, &str) = (": Started OpenValidationApplication in ", " seconds");

const SERVER: Server = Server {
    words: &[
        "java",
        "-jar",
        JAR,
        "--server.address={address}",
        "--server.port={port}",
    ],
    files: &[],
    prepare: |bench| {
        let jar = bench.fill(JAR);
        let remedy = "`cargo run --release -p servers -- --filter spring-boot` fetches it";
        let missing = || Missing(format!("{jar} is missing: {remedy}"));
        ensure!(Path::new(&jar).exists(), missing());
        Ok(())
    },
    ready: |port| {
        let request = Request::get("/v2/api-docs");
        http::ask(None, port, &request, Body::Has("swagger")).map(drop)
    },
    has_peer: true,
};

/// Starts it on each side in turn.
pub(crate) fn row(bench: &Bench, options: &Options) -> Row {
    eprintln!("{NAME} ...");
    let row = Row::new(NAME, Unit::Time, Some(Promise::RatioAtMost(1.2)));
    if let Err(error) = place::prepare(bench, &SERVER) {
        return row.without(&error);
    }
    let mut times: Vec<_> = bench.sides.iter().map(|_| Ok(Vec::new())).collect();
    for _ in 0..options.runs {
        for (side, times) in bench.sides.iter().zip(&mut times) {
            add(times, || {
                let place = Place::start(bench, CPUS, &SERVER, *side)?;
                let time = own_time(&place.said());
                place.end()?;
                time
            });
        }
    }
    let medians = times.into_iter().map(|times| times.map(median));
    Row {
        medians: bench.sides.iter().copied().zip(medians).collect(),
        ..row
    }
}

/// In nanoseconds.
fn own_time(said: &str) -> Result<u64> {
    let (_, rest) = said.split_once(SAYS.0).context("it says no time")?;
    let (seconds, _) = rest.split_once(SAYS.1).context("it says no time")?;
    let seconds: f64 = seconds.parse().context("its time is no number")?;
    Ok((seconds * 1e9) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_says_its_time() {
        let said = "x: Started OpenValidationApplication in 2.589 seconds (JVM running for 3)\n";
        assert_eq!(own_time(said).expect("it is there"), 2_589_000_000);
        assert!(own_time("Started").is_err());
    }
}
