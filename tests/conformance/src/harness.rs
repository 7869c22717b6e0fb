//! Everything that the checks share: where Husk is, how to call it, where to work.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;
use vocabulary::find_program;

use crate::c::Compiler;
use crate::case::{Case, Program};
use crate::compare::Side;
use crate::options::Options;
use crate::process;
use crate::record::{self, Record};
use crate::scratch::{Scratch, User};
use crate::tree;

/// What every run's environment holds, whatever the caller's was.
pub(crate) const ENVIRONMENT: [(&str, &str); 6] = [
    ("PATH", "/usr/bin:/bin:/usr/sbin:/sbin"),
    ("LANG", "C.UTF-8"),
    ("TZ", "UTC"),
    ("TERM", "dumb"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
    ("PYTHONHASHSEED", "0"),
];

/// The shared state of one invocation.
#[derive(Debug)]
pub(crate) struct Harness {
    pub(crate) husk: PathBuf,
    pub(crate) user: Option<User>,
    pub(crate) compiler: Compiler,
    engine: Option<String>,
    limit: Option<Duration>,
    left_out: Vec<String>,
    patience: u32,
    record: Option<Record>,
    is_recording: bool,
    base: TempDir,
    next: AtomicUsize,
}

impl Harness {
    /// Makes the folder to work in. As another user, the command under test is copied there, so
    /// that this user can reach it.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let against = options.against.as_deref().map(Record::open).transpose()?;
        let base = against
            .as_ref()
            .map_or_else(record::new_base, Record::base)?;
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755))?;
        let user = options.as_user.as_deref().map(User::named).transpose()?;
        let husk = if options.audit || options.record.is_some() {
            PathBuf::new()
        } else {
            find_husk(&options.husk)?
        };
        let husk = match &user {
            Some(_) if !options.audit => copy_into(&husk, base.path())?,
            _ => husk,
        };
        let programs = base.path().join("programs");
        fs::create_dir(&programs)?;
        fs::set_permissions(&programs, fs::Permissions::from_mode(0o755))?;
        if let Some(against) = &against {
            against.restore_programs(&programs)?;
        }
        let compiler = Compiler::new(programs);
        let recording = options.record.as_deref();
        let recording = recording.map(|folder| Record::create(folder, base.path()));
        Ok(Self {
            husk,
            user,
            compiler,
            engine: options.engine.clone(),
            limit: options.limit.map(Duration::from_secs),
            left_out: options.leave_out.clone(),
            patience: options.patience,
            is_recording: recording.is_some(),
            record: recording.transpose()?.or(against),
            base,
            next: AtomicUsize::new(0),
        })
    }

    /// A path for a scratch folder that nobody else uses.
    pub(crate) fn fresh_path(&self) -> PathBuf {
        self.base
            .path()
            .join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Whether a check of this name is to be skipped.
    pub(crate) fn leaves_out(&self, name: &str) -> bool {
        self.left_out.iter().any(|part| name.contains(part))
    }

    /// A path for the scratch folder of a case: the same one in every invocation.
    pub(crate) fn path_for(&self, case: &Case) -> PathBuf {
        self.base.path().join(case.name.replace('/', "-"))
    }

    /// How the case ran natively when the record was made, if it is in one.
    pub(crate) fn recorded(&self, case: &Case) -> Result<Option<Side>> {
        let record = self.record.as_ref().filter(|_| !self.is_recording);
        record.map_or(Ok(None), |record| record.read(&case.name))
    }

    /// Keeps a native run in the record.
    pub(crate) fn keep_run(&self, case: &Case, side: &Side) -> Result<()> {
        let record = self.record.as_ref().filter(|_| self.is_recording);
        record.map_or(Ok(()), |record| record.write(&case.name, side))
    }

    /// Completes the record; passes on whether all went well.
    pub(crate) fn keep(&self, passed: bool) -> Result<bool> {
        if let Some(record) = &self.record {
            record.keep_programs(self.compiler.folder())?;
        }
        Ok(passed)
    }

    /// The program of a case as a path, or `None` when the host does not have it.
    pub(crate) fn locate(&self, program: &Program) -> Result<Option<PathBuf>> {
        match program {
            // One of the case's own files; it is there once the scratch folder is.
            Program::Host(name) if name.starts_with("./") => Ok(Some(PathBuf::from(name))),
            Program::Host(name) => Ok(find_program(name)),
            Program::C { name, flags } => self
                .compiler
                .build(name, flags, self.user.as_ref())
                .map(Some),
        }
    }

    /// Runs a case in a fresh folder at `path`.
    pub(crate) fn run(&self, case: &Case, path: &Path, how: How<'_>) -> Result<Side> {
        let scratch = Scratch::new(path.to_path_buf(), case, self.user.as_ref())?;
        let mut command = match how {
            How::Native(program) => self.native(program, case),
            How::Machine(program) => self.machine(program, case, path),
            How::Traced(program, log) => self.traced(program, log, case),
        };
        command.current_dir(path);
        let run = process::run(&mut command, case.stdin.as_ref(), self.patience(case))?;
        let tree = if case.compares.files {
            tree::read(scratch.path())?
        } else {
            tree::Tree::new()
        };
        Ok(Side { run, tree })
    }

    /// How long a run of this case may take.
    fn patience(&self, case: &Case) -> Duration {
        let timeout = self.stretched(case.timeout);
        match self.limit {
            Some(limit) if !case.slow => limit.min(timeout),
            _ => timeout,
        }
    }

    /// A time limit on the machine at hand.
    pub(crate) fn stretched(&self, limit: Duration) -> Duration {
        limit * self.patience
    }

    /// `husk run` with the engine that was asked for.
    pub(crate) fn husk_run(&self) -> Command {
        let mut command = self.command(&self.husk);
        command.arg("run");
        if let Some(engine) = &self.engine {
            command.args(["--engine", engine]);
        }
        command
    }

    /// The engine that was asked for, or nothing.
    pub(crate) fn engine(&self) -> &str {
        self.engine.as_deref().unwrap_or_default()
    }

    /// A native command in the usual environment and as the usual user.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(ENVIRONMENT)
            .env("HOME", self.base.path());
        command.current_dir(self.base.path());
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    fn native(&self, program: &Path, case: &Case) -> Command {
        let mut command = self.command(program);
        command.args(&case.arguments).envs(case.env.iter().copied());
        command
    }

    fn traced(&self, program: &Path, log: &Path, case: &Case) -> Command {
        let mut command = self.command("/usr/bin/strace");
        command.args([
            "-f",
            "-qq",
            "-e",
            "trace=clone,clone3,fork,vfork",
            "-e",
            "signal=none",
        ]);
        command.arg("-o").arg(log).arg(program);
        command.args(&case.arguments).envs(case.env.iter().copied());
        command
    }

    fn machine(&self, program: &Path, case: &Case, folder: &Path) -> Command {
        let mut command = self.husk_run();
        command
            .arg("--volume")
            .arg(format!("{0}:{0}", folder.display()));
        command.arg("--workdir").arg(folder);
        if case.cpus > 1 {
            command.arg("--cpus").arg(case.cpus.to_string());
        }
        let home = self.base.path().display().to_string();
        let environment = ENVIRONMENT.iter().chain(&case.env).copied();
        for (key, value) in environment.chain([("HOME", home.as_str())]) {
            command.arg("--env").arg(format!("{key}={value}"));
        }
        command.arg(program).args(&case.arguments);
        command
    }
}

/// Where and how a case runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How<'a> {
    /// As any program of the host.
    Native(&'a Path),
    /// Under `husk run`.
    Machine(&'a Path),
    /// Natively under strace, with its log here.
    Traced(&'a Path, &'a Path),
}

fn find_husk(path: &Path) -> Result<PathBuf> {
    let missing = || {
        format!(
            "no {}: run `cargo build --release` first, or say --husk PATH",
            path.display()
        )
    };
    fs::canonicalize(path).with_context(missing)
}

fn copy_into(husk: &Path, folder: &Path) -> Result<PathBuf> {
    let copy = folder.join("husk");
    fs::copy(husk, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    Ok(copy)
}
