//! A server on one side: natively, in a machine with its port published, or under runsc.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serving::machine::{Machine, Start};
use serving::ports;

use crate::peer::{Bench, Side};
use crate::workload::found;

/// From this size on Java takes the collector that it takes on this host natively.
pub(crate) const MEMORY: &str = "2G";

/// How a server is started. In its words and files, `{site}` is a folder of its own, `{address}` and
/// `{port}` say where it shall listen, and [`Bench::fill`] replaces the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    pub(crate) words: &'static [&'static str],
    /// In its folder.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// What must be made before.
    pub(crate) prepare: fn(&Bench) -> Result<()>,
    /// Succeeds when it answers at a port.
    pub(crate) ready: fn(u16) -> Result<()>,
    /// Whether it is compared with gVisor, too.
    pub(crate) has_peer: bool,
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) side: Side,
    pub(crate) port: u16,
    machine: Machine,
}

/// Starts a server on each side; they run at the same time, and are asked in turn.
///
/// # Errors
/// When something is missing, or it does not answer natively or under Husk.
pub(crate) fn all(bench: &Bench, cpus: u32, server: &Server) -> Result<Vec<Place>> {
    prepare(bench, server)?;
    let mut places = Vec::new();
    for &side in &bench.sides {
        if side.is_peer() && !server.has_peer {
            continue;
        }
        let place = Place::start(bench, cpus, server, side);
        match place.with_context(|| format!("under {}", side.name())) {
            Ok(place) => places.push(place),
            Err(error) if side.is_peer() => eprintln!("SKIPPED {}: {error:#}", side.name()),
            Err(error) => return Err(error),
        }
    }
    Ok(places)
}

/// Makes what a server needs.
///
/// # Errors
/// When something is missing.
pub(crate) fn prepare(bench: &Bench, server: &Server) -> Result<()> {
    (server.prepare)(bench)?;
    found(&bench.fill(server.words[0])).map(drop)
}

impl Place {
    /// Starts a server on one side, with this many virtual CPUs.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn start(bench: &Bench, cpus: u32, server: &Server, side: Side) -> Result<Self> {
        let port = ports::free()?;
        let site = bench.folder.path().join(format!("{}-{port}", side.name()));
        fs::create_dir_all(&site)?;
        let address = match side {
            Side::Husk => Ipv4Addr::UNSPECIFIED,
            Side::Native | Side::Runsc => Ipv4Addr::LOCALHOST,
        };
        let fill = |text: &str| {
            bench
                .fill(text)
                .replace("{site}", &site.to_string_lossy())
                .replace("{address}", &address.to_string())
                .replace("{port}", &port.to_string())
        };
        for (name, text) in server.files {
            fs::write(site.join(name), fill(text))?;
        }
        let mut command: Vec<String> = server.words.iter().map(|word| fill(word)).collect();
        command[0] = text(found(&command[0])?);
        let mut machine = Machine::start(&Start {
            husk: before(bench, cpus, side, port),
            command,
            said: site.join("said"),
            user: None,
            patience: 1,
        })?;
        machine.wait_ready(|| (server.ready)(port))?;
        Ok(Self {
            side,
            port,
            machine,
        })
    }

    /// Processor time of all its processes, in ticks.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn ticks(&self) -> Result<u64> {
        Ok(vocabulary::ticks(self.machine.id())?)
    }

    /// What it said so far.
    pub(crate) fn said(&self) -> String {
        self.machine.said()
    }

    /// Ends it; a peer need not obey.
    ///
    /// # Errors
    /// When it has ended by itself, or does not end.
    pub(crate) fn end(mut self) -> Result<()> {
        match self.machine.stop() {
            Err(error) if !self.side.is_peer() => Err(error.context(self.side.name())),
            _ => Ok(()),
        }
    }
}

/// The words before the program's.
fn before(bench: &Bench, cpus: u32, side: Side, port: u16) -> Vec<String> {
    let publish = format!("127.0.0.1:{port}:{port}");
    let cpus = cpus.to_string();
    let husk = ["--memory", MEMORY, "--cpus", &cpus, "--publish", &publish];
    // With privilege, `runsc do` wants to make an interface, with iptables.
    let words = bench.words(side, &husk, &["--rootless", "--network=host"]);
    words.into_iter().map(text).collect()
}

fn text(word: impl Into<PathBuf>) -> String {
    word.into().to_string_lossy().into_owned()
}
