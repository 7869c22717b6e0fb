//! The sides that are compared, and how a command line is run on each.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;
use vocabulary::find_program;

use crate::options::Options;

/// Where a command line runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Native,
    Husk,
    Runsc,
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Husk => "husk",
            Self::Runsc => "runsc",
        }
    }
}

/// What all measurements share.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) sides: Vec<Side>,
    pub(crate) folder: TempDir,
    husk: PathBuf,
    engine: Option<String>,
    runsc: Vec<OsString>,
}

impl Bench {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let missing = || {
            let path = options.husk.display();
            format!("no {path}: run `cargo build --release` first, or say --husk PATH")
        };
        let husk = fs::canonicalize(&options.husk).with_context(missing)?;
        let folder = tempfile::Builder::new().prefix("husk-benches-").tempdir()?;
        let mut sides = vec![Side::Native, Side::Husk];
        let mut runsc = Vec::new();
        if let Some(program) = find_program("runsc").filter(|_| !options.no_peer) {
            sides.push(Side::Runsc);
            runsc.push(program.into_os_string());
            runsc.extend(["--network=none", "--ignore-cgroups"].map(OsString::from));
            runsc.extend(options.runsc_arg.iter().map(OsString::from));
        }
        Ok(Self {
            sides,
            folder,
            husk,
            engine: options.engine.clone(),
            runsc,
        })
    }

    /// The command that runs `argv` on a side.
    pub(crate) fn command(&self, side: Side, argv: &[OsString]) -> Command {
        let mut words: Vec<OsString> = match side {
            Side::Native => Vec::new(),
            Side::Husk => self.husk_words(),
            Side::Runsc => self.runsc.iter().cloned().chain(["do".into()]).collect(),
        };
        words.extend(argv.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir("/");
        command
    }

    /// `husk run` with more options in front of the program.
    pub(crate) fn husk(&self, options: &[String], argv: &[OsString]) -> Command {
        let words = self.husk_words();
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .args(options)
            .args(argv)
            .current_dir("/");
        command
    }

    fn husk_words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![self.husk.clone().into(), "run".into()];
        if let Some(engine) = &self.engine {
            words.extend(["--engine".into(), engine.into()]);
        }
        words
    }
}
