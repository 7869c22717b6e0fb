//! A wire that loses, doubles, delays and damages frames, between the machine's TCP and the host's.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::cases::Missing;
use crate::programs;
use crate::site::{Site, run};
use serving::load::Served;

/// What the wire does, and how many bytes each of four connections sends and gets back where it
/// does so with one frame in a hundred, and with ten.
const KINDS: [(&str, u32, u32); 5] = [
    ("loss", 4_000_000, 500_000),
    ("duplication", 4_000_000, 500_000),
    ("reordering", 4_000_000, 500_000),
    ("corruption", 4_000_000, 500_000),
    ("all", 2_000_000, 100_000),
];

pub(super) fn one_percent(site: &Site<'_>) -> Result<Served> {
    faults(site, 1, |(_, few, _)| few)
}

pub(super) fn ten_percent(site: &Site<'_>) -> Result<Served> {
    faults(site, 10, |(_, _, many)| many)
}

/// Refuses where there can be no tap interface.
pub(super) fn want_tap() -> Result<()> {
    let mut probe = Command::new("unshare");
    probe.args([
        "--net", "--mount", "ip", "tuntap", "add", "probe", "mode", "tap",
    ]);
    if run(&mut probe).is_err() {
        let why = "a namespace with a tap interface takes root and /dev/net/tun";
        return Err(Missing(why.to_owned()).into());
    }
    Ok(())
}

fn faults(
    site: &Site<'_>,
    percent: u32,
    bytes: impl Fn((&str, u32, u32)) -> u32,
) -> Result<Served> {
    want_tap()?;
    let server = programs::c("peer", site.folder())?;
    let started = Instant::now();
    let mut said = Vec::new();
    for kind in KINDS {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "/usr/bin/python3"]);
        command.arg(programs::source("faults.py")).arg(kind.0);
        command.args([percent.to_string(), bytes(kind).to_string()]);
        command
            .args(site.husk(&[]))
            .arg("--")
            .arg(&server)
            .arg("echo");
        let printed = run(&mut command);
        let printed = printed.with_context(|| format!("{}, {percent} in a hundred", kind.0))?;
        let printed = String::from_utf8_lossy(&printed);
        said.push(format!("{}: {}", kind.0, printed.trim()));
    }
    Ok(Served::some(0, started).saying(said.join("; ")))
}
