//! Waiting.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::echo;
use crate::site::Site;
use serving::clients::connect;
use serving::load::Served;

const LONG: Duration = Duration::from_secs(20);

/// A server that nobody asks takes no processor time, with and without a connection.
pub(super) fn listening(site: &Site<'_>) -> Result<Served> {
    let machine = echo(site)?;
    let _open = connect(site.port)?;
    thread::sleep(Duration::from_secs(2));
    let (started, before) = (Instant::now(), vocabulary::ticks(machine.id())?);
    thread::sleep(LONG);
    let used = vocabulary::ticks(machine.id())? - before;
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
