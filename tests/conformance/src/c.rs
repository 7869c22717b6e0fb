//! Builds the C programs of `programs/`, each variant once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::scratch::{User, open_to_all};

/// The compiler, and what it has made so far.
#[derive(Debug)]
pub(crate) struct Compiler {
    folder: PathBuf,
    built: Mutex<HashMap<String, PathBuf>>,
}

impl Compiler {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            built: Mutex::default(),
        }
    }

    /// Where the programs are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The program built with these flags; one that is there already will do.
    pub(crate) fn build(&self, name: &str, flags: &[&str], user: Option<&User>) -> Result<PathBuf> {
        let key = format!("{name}{}", flags.concat().replace(['/', '='], "_"));
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = built.get(&key) {
            return Ok(program.clone());
        }
        let program = self.folder.join(&key);
        if !program.exists() {
            compile(name, flags, &program)?;
        }
        open_to_all(&program, user)?;
        built.insert(key, program.clone());
        Ok(program)
    }
}

/// The programs do wrong things on purpose: the compiler shall neither warn of them nor use them.
const FLAGS: [&str; 8] = [
    "-pthread",
    "-O1",
    "-g0",
    "-w",
    "-fno-stack-protector",
    "-fno-strict-aliasing",
    "-fno-delete-null-pointer-checks",
    "-fwrapv",
];

fn compile(name: &str, flags: &[&str], output: &Path) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("programs")
        .join(format!("{name}.c"));
    let result = Command::new("cc")
        .args(FLAGS)
        .arg("-o")
        .args([output, &source])
        .args(flags)
        .output()
        .context("cc does not start: install gcc and libc6-dev")?;
    let complaint = String::from_utf8_lossy(&result.stderr);
    ensure!(
        result.status.success(),
        "{name}.c does not compile: {complaint}"
    );
    Ok(())
}
