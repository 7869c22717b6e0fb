//! Files of the host that a program maps while others change them, and more of them than a cell has
//! descriptors for: natively and in a machine.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::check::Outcome;
use crate::harness::Harness;
use crate::process;
use crate::scenarios::PATIENCE;
use crate::scratch::{Scratch, open_to_all};

/// As long as the program believes.
const LENGTH: u64 = 81_920;
/// Where a file says which one it is.
const MARK: u64 = 70_000;
/// More than a cell may have descriptors.
const MANY: u32 = 1_100;

const _: () = assert!(MANY as u64 > guest_abi::cell::DESCRIPTORS_MAX);

/// A file is cut short while a program has it mapped: what is gone is a bus error for the program and
/// a bad address for a system call, and the machine goes on. By KVM it has its copy.
pub(crate) fn cut_while_mapped(harness: &Harness) -> Result<Outcome> {
    let program = program(harness)?;
    let scratch = Scratch::empty(harness.fresh_path(), harness.user.as_ref())?;
    let file = scratch.path().join("file");
    let said = |command: Command| -> Result<String> {
        fs::write(&file, vec![b'.'; LENGTH as usize])?;
        open_to_all(&file, harness.user.as_ref())?;
        let mut bounded = Command::new("/usr/bin/timeout");
        bounded
            .args(["-s", "KILL", "60"])
            .arg(command.get_program());
        bounded.args(command.get_args()).arg(&program);
        cut_during(bounded.arg("cut").arg(&file), &file)
    };
    let native = said(harness.command("/usr/bin/env"))?;
    let machine = said(harness.husk_run())?;
    // A machine that does not share the host's page cache has what was there when it looked first.
    let copied = native.replace("got is 7", "got is 1046");
    let copied = copied.replace("100) = -1 EFAULT", "100) = 100");
    if machine == copied && harness.engine() != "paravirt" {
        return Ok(Outcome::Passed("this machine has a copy".into()));
    }
    ensure!(machine == native, "natively {native:?}, here {machine:?}");
    ensure!(
        native.contains("got is 7"),
        "natively no bus error: {native}"
    );
    Ok(Outcome::Passed("a bus error and a bad address".into()))
}

/// Runs a program that maps the file, cuts it once it is mapped; what the program said.
fn cut_during(command: &mut Command, file: &Path) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut answers = BufReader::new(child.stdout.take().context("stdout is a pipe")?);
    let mut said = String::new();
    while !said.ends_with("mapped\n") {
        let length = answers.read_line(&mut said)?;
        ensure!(length > 0, "it ended before it had mapped: {said}");
    }
    OpenOptions::new().write(true).open(file)?.set_len(4096)?;
    child
        .stdin
        .take()
        .context("stdin is a pipe")?
        .write_all(b"go\n")?;
    while answers.read_line(&mut said)? > 0 {}
    let status = child.wait()?;
    ensure!(status.success(), "{status}: {said}");
    Ok(said)
}

/// More files mapped at once than a cell may have descriptors: the rest is copied.
pub(crate) fn more_than_descriptors(harness: &Harness) -> Result<Outcome> {
    let program = program(harness)?;
    let scratch = Scratch::empty(harness.fresh_path(), harness.user.as_ref())?;
    for number in 0..MANY {
        let path = scratch.path().join(number.to_string());
        let file = fs::File::create(&path)?;
        let mark = [(number % 251) as u8, (number / 251) as u8];
        file.write_all_at(&mark, MARK)?;
        file.set_len(LENGTH)?;
        open_to_all(&path, harness.user.as_ref())?;
    }
    let mut command = harness.husk_run();
    command.arg(&program).arg("many").arg(scratch.path());
    command.arg(MANY.to_string());
    let run = process::run(&mut command, None, harness.stretched(PATIENCE))?;
    let said = String::from_utf8_lossy(&run.stdout);
    let complaint = String::from_utf8_lossy(&run.stderr);
    ensure!(
        said == "wrong is 0\n",
        "status {}: {said}{complaint}",
        run.status
    );
    Ok(Outcome::Passed(format!("{MANY} files, twice")))
}

fn program(harness: &Harness) -> Result<std::path::PathBuf> {
    let user = harness.user.as_ref();
    harness.compiler.build("file_of_others", &["-static"], user)
}
