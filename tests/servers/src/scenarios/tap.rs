//! A machine on an interface of this host.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use super::faults::want_tap;
use crate::programs;
use crate::site::{Site, run};
use serving::load::Served;

/// At a place that the command line says, by both families and out by its gateway.
pub(super) fn said(site: &Site<'_>) -> Result<Served> {
    want_tap()?;
    let server = programs::c("peer", site.folder())?;
    let started = Instant::now();
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "/usr/bin/python3"]);
    command.arg(programs::source("tap.py")).args(site.husk(&[]));
    command.arg("--").arg(&server).arg("echo");
    let printed = run(&mut command)?;
    let printed = String::from_utf8_lossy(&printed);
    Ok(Served::some(0, started).saying(printed.trim().to_owned()))
}
