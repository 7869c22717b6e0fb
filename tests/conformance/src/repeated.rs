//! `--deterministic`: runs of the same are the same to the bit.

use std::thread;

use anyhow::{Context, Result, ensure};
use vocabulary::find_program;

use crate::check::Outcome;
use crate::content::Content;
use crate::harness::Harness;
use crate::process::{self, Run};
use crate::scenarios::PATIENCE;
use crate::scratch::Scratch;

/// Time, random numbers, addresses, threads that sleep and hand over, files of the host.
const SCRIPT: &str = "
import os, queue, random, sys, threading, time
print(time.time(), time.monotonic(), random.random(), os.urandom(8).hex(), id(object()), hash('text'))
seen, done = [], queue.Queue()
def work(number):
    for step in range(100):
        seen.append((number, step, time.monotonic_ns()))
        if step % 20 == 0:
            time.sleep(random.random() / 1000)
    done.put(number)
threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print([done.get() for _ in threads], hash(tuple(seen)))
print(os.listdir('/usr'), os.stat('/etc/passwd'), os.fstat(1).st_ino)
print(len(sys.stdin.read()))
";

/// Longer than a pipe holds.
const INPUT: Content = Content::Words(50_000);

/// Runs it on two virtual CPUs twice beside each other, and once more with another seed.
pub(crate) fn programs(harness: &Harness) -> Result<Outcome> {
    let Some(python) = find_program("python3") else {
        return Ok(Outcome::Skipped("no python3 here".into()));
    };
    let scratch = Scratch::empty(harness.fresh_path(), harness.user.as_ref())?;
    let run = |name: &str, options: &[&str]| -> Result<(Run, String)> {
        let file = scratch.path().join(name);
        let mut command = harness.command(&harness.husk);
        command.args(["run", "--engine", "emulate", "--deterministic"]);
        command.args(["--cpus", "2", "--workdir", "/"]);
        command.arg(format!("--stats={}", file.display()));
        command.args(options).arg(&python).args(["-c", SCRIPT]);
        let input = Some(&INPUT);
        let run = process::run(&mut command, input, harness.stretched(3 * PATIENCE))?;
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        ensure!(run.status == 0, "{name}: status {}: {said}", run.status);
        Ok((run, state(&std::fs::read_to_string(file)?)?))
    };
    let runs = thread::scope(|scope| {
        let one = scope.spawn(|| run("one", &[]));
        let two = scope.spawn(|| run("two", &[]));
        [one, two].map(|thread| thread.join().expect("a run does not panic"))
    });
    let [one, two] = runs;
    let ((one, state), (two, same)) = (one?, two?);
    ensure!(one.stdout == two.stdout, "two runs say different things");
    ensure!(state == same, "two runs end as {state} and {same}");
    let (other, different) = run("other", &["--seed", "1"])?;
    ensure!(other.stdout != one.stdout, "another seed changes nothing");
    ensure!(state != different, "another seed ends as the first");
    Ok(Outcome::Passed(state))
}

/// What the measurements say of the end.
fn state(stats: &str) -> Result<String> {
    let is_meant = |line: &&str| {
        let names = ["\"instructions\"", "\"virtual_ns\"", "\"state_sha256\""];
        names.iter().any(|name| line.contains(name))
    };
    let lines: Vec<_> = stats.lines().map(str::trim).filter(is_meant).collect();
    let all = (lines.len() == 3).then(|| lines.join(" "));
    all.context("the measurements do not say how it ended")
}
