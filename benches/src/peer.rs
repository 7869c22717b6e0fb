//! The sides that are compared, and how a command line is run on each.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;
use vocabulary::find_program;

use crate::c;
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

    /// Whether it is another project's.
    pub(crate) fn is_peer(self) -> bool {
        self == Self::Runsc
    }
}

/// What all measurements share.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) sides: Vec<Side>,
    pub(crate) folder: TempDir,
    pub(crate) husk: PathBuf,
    engine: Option<String>,
    kept: PathBuf,
    /// Without options that depend on the work, and without a verb.
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
            runsc.push("--ignore-cgroups".into());
            runsc.extend(options.runsc_arg.iter().map(OsString::from));
        }
        Ok(Self {
            sides,
            folder,
            husk,
            engine: options.engine.clone(),
            kept: std::path::absolute(&options.kept)?,
            runsc,
        })
    }

    /// Replaces `{folder}`, `{programs}` and `{kept}`.
    pub(crate) fn fill(&self, text: &str) -> String {
        text.replace("{folder}", &self.folder.path().to_string_lossy())
            .replace("{programs}", &c::programs().to_string_lossy())
            .replace("{kept}", &self.kept.to_string_lossy())
    }

    /// The command that runs `argv` on a side, by Husk with these options.
    pub(crate) fn command(&self, side: Side, husk: &[&str], argv: &[OsString]) -> Command {
        let mut words = self.words(side, husk, &["--network=none"]);
        words.extend(argv.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir("/");
        command
    }

    /// What stands before a program on a side: nothing, `husk run` with these options, or `runsc do`
    /// with these of a network.
    pub(crate) fn words(&self, side: Side, husk: &[&str], network: &[&str]) -> Vec<OsString> {
        let mut words = match side {
            Side::Native => return Vec::new(),
            Side::Husk => self.husk_words(),
            Side::Runsc => self.runsc.clone(),
        };
        match side {
            Side::Runsc => words.extend(network.iter().chain(&["do"]).map(OsString::from)),
            _ => words.extend(husk.iter().map(OsString::from)),
        }
        words
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
