//! Runs husk, here or in the nested environment.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// The longest that a guest may take on hardware, and emulated.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_EMULATED: Duration = Duration::from_secs(240);

/// What is run.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// By sh(1), which has husk's path in `$husk`, the engine's name in `$engine`, and how many
    /// seconds a guest may take in `$patience`.
    pub(crate) script: String,
    /// Files and folders that the script names.
    pub(crate) files: Vec<PathBuf>,
    /// It uses whatever this host has.
    pub(crate) needs_host: bool,
    /// The busybox whose shell runs the script and has the programs that it needs; without one,
    /// the host's shell does.
    pub(crate) busybox: Option<PathBuf>,
    /// How many times as long as usual it may take.
    pub(crate) length: u32,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The script's own status; `None`: it did not end in time, or a signal ended it.
    pub(crate) status: Option<i32>,
    /// Both streams.
    pub(crate) said: String,
}

/// A place to run husk.
#[derive(Debug)]
pub(crate) struct Runner {
    husk: PathBuf,
    engine: String,
    nested: Option<PathBuf>,
}

impl Runner {
    pub(crate) fn new(husk: &Path, engine: &str, nested: Option<&Path>) -> Result<Self> {
        let absolute = |path: &Path| {
            let path = std::path::absolute(path)?;
            ensure!(path.is_file(), "{} is missing: build it", path.display());
            Ok(path)
        };
        Ok(Self {
            husk: absolute(husk)?,
            engine: engine.to_owned(),
            nested: nested.map(absolute).transpose()?,
        })
    }

    pub(crate) fn engine(&self) -> &str {
        &self.engine
    }

    pub(crate) fn husk(&self) -> &Path {
        &self.husk
    }

    /// Whether husk runs in the nested environment, with nothing there but what is given.
    pub(crate) const fn is_nested(&self) -> bool {
        self.nested.is_some()
    }

    fn is_kvm(&self) -> bool {
        self.engine == "kvm"
    }

    /// Why nothing can be booted here.
    pub(crate) fn unusable(&self) -> Result<Option<String>> {
        if self.nested.is_some() {
            let qemu = vocabulary::find_program("qemu-system-x86_64");
            let missing =
                "qemu-system-x86_64 is missing: install the Debian package qemu-system-x86";
            return Ok(qemu.is_none().then(|| missing.to_owned()));
        }
        if !self.is_kvm() {
            return Ok(None);
        }
        let output = Command::new(&self.husk).arg("engines").output()?;
        let engines = String::from_utf8_lossy(&output.stdout);
        let kvm = engines.lines().find(|line| line.starts_with("kvm "));
        let kvm = kvm.context("husk engines says nothing of kvm")?;
        let works = kvm.contains(" works");
        Ok((!works).then(|| format!("{} (--nested runs it anyway)", kvm.trim())))
    }

    /// Runs it to its end. `folder` is for what it says.
    pub(crate) fn run(&self, prepared: &Prepared, folder: &Path) -> Result<Ended> {
        let mut said = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(folder.join("said"))?;
        let (mut command, patience) = self.command(prepared);
        command.stdin(Stdio::null());
        command.stdout(said.try_clone()?).stderr(said.try_clone()?);
        let child = command.spawn().context("it does not start")?;
        let status = wait(child, patience)?;
        let mut bytes = Vec::new();
        said.rewind()?;
        said.read_to_end(&mut bytes)?;
        Ok(Ended {
            status: status.and_then(|status| status.code()),
            said: String::from_utf8_lossy(&bytes).into_owned(),
        })
    }

    /// The script is the same in both places.
    fn command(&self, prepared: &Prepared) -> (Command, Duration) {
        let husk = quoted(&self.husk.to_string_lossy());
        let engine = quoted(&self.engine);
        let patience = self.patience() * prepared.length;
        let seconds = patience.as_secs().to_string();
        let script = format!(
            "husk={husk}\nengine={engine}\npatience={seconds}\n{}",
            prepared.script
        );
        let Some(xtask) = &self.nested else {
            // It also ends what a script has started, as the end of its shell would not.
            let mut command = Command::new("timeout");
            command.args(["--signal=KILL", &seconds]);
            command.args(&prepared.busybox).args(["sh", "-c", &script]);
            return (command, patience + PATIENCE);
        };
        let mut command = Command::new(xtask);
        command.arg("nested-kvm").args(["--memory", "2G"]);
        command.args(["--timeout", &seconds]);
        if prepared.needs_host {
            command.arg("--host-root");
        }
        let files = prepared.files.iter().chain([&self.husk]);
        for file in files.filter(|_| !prepared.needs_host) {
            command.arg("--file").arg(file);
        }
        let busybox = prepared.busybox.clone();
        let busybox = busybox.or_else(|| vocabulary::find_program("busybox"));
        command.arg(busybox.unwrap_or_default());
        command.args(["sh", "-c", &script]);
        (command, patience + PATIENCE)
    }

    /// How long a guest may take.
    fn patience(&self) -> Duration {
        if self.is_kvm() && !self.is_nested() {
            PATIENCE
        } else {
            PATIENCE_EMULATED
        }
    }
}

/// As one word of the shell.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Waits, but not for ever.
fn wait(mut child: Child, patience: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}
