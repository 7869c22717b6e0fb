//! Virtual machines and runtimes under mixed load that checks itself: garbage, code that is
//! compiled while it runs, faults that are meant, signals, threads that come and go.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::programs;
use crate::site::{Site, run};
use serving::load::Served;
use serving::machine::{Machine, tail};

/// Seconds of load, and of the longer version.
const SHORT: u64 = 8;
const LONG: u64 = 600;

/// Runs a program to its end in a machine, with two virtual CPUs unless another engine is asked for: its arguments, and
/// the seconds of load behind them.
fn load(site: &Site<'_>, options: &[&str], mut words: Vec<String>) -> Result<Served> {
    let seconds = if site.options.slow { LONG } else { SHORT };
    words.push(seconds.to_string());
    let mut all = vec!["--memory", "2G"];
    if site.options.engine.is_none() {
        all.extend(["--engine", "paravirt", "--cpus", "2"]);
    }
    all.extend_from_slice(options);
    let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
    let started = Instant::now();
    let mut machine: Machine = site.start_with(&all, words, None)?;
    let status = machine.wait(Duration::from_secs(2 * seconds + 60))?;
    let said = machine.said();
    let rounds = said.lines().find_map(|line| line.strip_prefix("rounds "));
    ensure!(status == 0, "status {status}: {}", tail(&said));
    let rounds = rounds.with_context(|| format!("no rounds: {}", tail(&said)))?;
    ensure!(rounds != "0", "not a single round");
    Ok(Served::some(0, started).saying(format!("{rounds} rounds")))
}

fn churn(site: &Site<'_>, collector: &str) -> Result<Served> {
    programs::java("Churn", "/", site.folder())?;
    let words = ["java", collector, "-Xmx512m", "-cp", "{folder}", "Churn"];
    load(site, &[], words.map(|word| site.fill(word)).to_vec())
}

pub(super) fn serial(site: &Site<'_>) -> Result<Served> {
    churn(site, "-XX:+UseSerialGC")
}

pub(super) fn parallel(site: &Site<'_>) -> Result<Served> {
    churn(site, "-XX:+UseParallelGC")
}

pub(super) fn g1(site: &Site<'_>) -> Result<Served> {
    churn(site, "-XX:+UseG1GC")
}

pub(super) fn shenandoah(site: &Site<'_>) -> Result<Served> {
    churn(site, "-XX:+UseShenandoahGC")
}

pub(super) fn z(site: &Site<'_>) -> Result<Served> {
    churn(site, "-XX:+UseZGC")
}

/// Go's runtime on two processors.
pub(super) fn go(site: &Site<'_>) -> Result<Served> {
    let program = site.path("stress");
    let mut compiler = Command::new("go");
    compiler.args(["build", "-o"]).arg(&program);
    compiler.arg(programs::source("stress.go"));
    compiler.env("GOCACHE", site.path("cache"));
    compiler.envs([
        ("GO111MODULE", "off"),
        ("CGO_ENABLED", "0"),
        ("GOTOOLCHAIN", "local"),
    ]);
    run(&mut compiler)?;
    let words = vec![program.to_string_lossy().into_owned()];
    load(site, &["--env", "GOMAXPROCS=2"], words)
}
