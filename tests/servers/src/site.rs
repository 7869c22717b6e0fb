//! Where a case runs: its folder, its ports, its engine; how `husk run` is put together.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::options::Options;
use serving::machine::{Machine, Start};
use serving::ports;

/// What a case has for itself.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    pub(crate) options: &'a Options,
    folder: TempDir,
    /// The same number on the host and in the machine.
    pub(crate) port: u16,
    pub(crate) second: u16,
    pub(crate) place: Place,
}

/// Where the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Native,
    /// With this many virtual CPUs.
    Machine(u32),
}

impl<'a> Site<'a> {
    pub(crate) fn new(options: &'a Options, place: Place) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("servers-").tempdir()?;
        Ok(Self {
            options,
            folder,
            port: ports::free()?,
            second: ports::free()?,
            place,
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the folder; the machine sees it as well.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Replaces `{folder}`, `{port}`, `{second}`, `{address}` and `{kept}`.
    pub(crate) fn fill(&self, text: &str) -> String {
        let address = match self.place {
            Place::Native => Ipv4Addr::LOCALHOST,
            Place::Machine(_) => Ipv4Addr::UNSPECIFIED,
        };
        text.replace("{folder}", &self.folder().to_string_lossy())
            .replace("{kept}", &self.options.folder.to_string_lossy())
            .replace("{port}", &self.port.to_string())
            .replace("{second}", &self.second.to_string())
            .replace("{address}", &address.to_string())
    }

    /// `--publish` for a port of the machine at the same port here.
    pub(crate) fn publish(port: u16) -> [String; 2] {
        ["--publish".to_owned(), format!("127.0.0.1:{port}:{port}")]
    }

    /// `husk run` with these options, or nothing natively.
    pub(crate) fn husk(&self, options: &[String]) -> Vec<String> {
        let Place::Machine(cpus) = self.place else {
            return Vec::new();
        };
        let husk = self.options.husk.to_string_lossy().into_owned();
        let mut words = vec![husk, "run".to_owned()];
        if let Some(engine) = &self.options.engine {
            words.extend(["--engine".to_owned(), engine.clone()]);
        }
        if cpus > 1 {
            words.extend(["--cpus".to_owned(), cpus.to_string()]);
        }
        words.extend_from_slice(options);
        words
    }

    /// Starts a program with both ports published, and these options of husk besides.
    ///
    /// # Errors
    /// When the host cannot.
    pub(crate) fn start(&self, options: &[&str], command: Vec<String>) -> Result<Machine> {
        let mut all: Vec<String> = Vec::new();
        all.extend(Self::publish(self.port));
        all.extend(Self::publish(self.second));
        all.extend(options.iter().map(|option| self.fill(option)));
        self.start_with(&all, command, None)
    }

    /// Starts a program in a machine with just these options, as this user.
    ///
    /// # Errors
    /// When the host cannot.
    pub(crate) fn start_with(
        &self,
        options: &[String],
        command: Vec<String>,
        user: Option<u32>,
    ) -> Result<Machine> {
        Machine::start(&Start {
            husk: self.husk(options),
            command,
            said: self.path("said"),
            user,
            patience: self.options.patience,
        })
    }
}

/// Runs a program of the host to its end, and returns what it prints.
///
/// # Errors
/// When it fails, with what it says.
pub(crate) fn run(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output();
    let output = output.with_context(|| format!("{name} does not start"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint = serving::machine::tail(&complaint);
    ensure!(
        output.status.success(),
        "{name}: {}: {complaint}",
        output.status
    );
    Ok(output.stdout)
}
