//! Waiting.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::echo;
use crate::site::Site;
use serving::clients::connect;
use serving::load::Served;

const LONG: Duration = Duration::from_secs(20);

/// Processor time of a process and its descendants, and of their children that have ended.
fn ticks(id: u32) -> Result<u64> {
    let family = vocabulary::family(id)?;
    family.into_iter().map(ticks_of_one).sum()
}

fn ticks_of_one(id: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').context("a name")?;
    // utime, stime, cutime, cstime: the 14th to 17th field, of which two are gone.
    let fields = rest.split_whitespace().skip(11).take(4);
    fields.map(|field| Ok(field.parse::<u64>()?)).sum()
}

/// A server that nobody asks takes no processor time, with and without a connection.
pub(super) fn listening(site: &Site<'_>) -> Result<Served> {
    let machine = echo(site)?;
    let _open = connect(site.port)?;
    thread::sleep(Duration::from_secs(2));
    let (started, before) = (Instant::now(), ticks(machine.id())?);
    thread::sleep(LONG);
    let used = ticks(machine.id())? - before;
    ensure!(used == 0, "{used} ticks in {LONG:?}");
    machine.end(143)?;
    Ok(Served::some(0, started).saying("0 ticks"))
}

const READ_AND_RUN: &str = "
import os, threading
threading.Thread(target=lambda: os.read(0, 1), daemon=True).start()
threading.Event().wait(0.2)
os.write(1, b'said')
os._exit(5)
";

/// A thread that waits for standard input, of which nothing comes, holds up nobody.
pub(super) fn blocked_reader(site: &Site<'_>) -> Result<Served> {
    let started = Instant::now();
    let words = ["/usr/bin/python3", "-c", READ_AND_RUN].map(str::to_owned);
    let mut machine = site.start_with(&[], words.to_vec(), None)?;
    let status = machine.wait(Duration::from_secs(10));
    let status = status.context("a thread reads standard input, and the others stand still")?;
    let said = machine.said();
    ensure!(status == 5 && said == "said", "status {status}: {said}");
    Ok(Served::some(0, started))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_time_grows() {
        let id = std::process::id();
        let before = ticks_of_one(id).expect("it runs");
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(100) {
            std::hint::black_box(0);
        }
        assert!(ticks_of_one(id).expect("it runs") > before);
    }
}
