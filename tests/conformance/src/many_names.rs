//! A walk over more names than the machine can remember, or the monitor keep files open for.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::check::Outcome;
use crate::harness::Harness;
use crate::process;
use crate::scenarios::PATIENCE;
use crate::scratch::Scratch;

const FOLDERS: u32 = 40;
const FILES_EACH: u32 = 500;
/// Descriptors of the monitor, for the files it serves among others. Root's raises this limit: as an
/// ordinary user it runs out of them.
const DESCRIPTORS: &str = "ulimit -n 256; exec \"$@\"";
/// Of the machine: less than remembering all names would take.
const MEMORY: &str = "8M";

/// `find` sees all of a tree, whatever is forgotten on the way.
pub(crate) fn walk(harness: &Harness) -> Result<Outcome> {
    let scratch = Scratch::empty(harness.fresh_path(), harness.user.as_ref())?;
    for folder in 0..FOLDERS {
        let folder = scratch.path().join(folder.to_string());
        fs::create_dir(&folder)?;
        for file in 0..FILES_EACH {
            fs::write(folder.join(format!("a file with number {file}")), "")?;
        }
    }
    let mut find = Command::new("find");
    find.arg(scratch.path()).args(["-printf", "%p %y %s %i\n"]);
    let mut native = harness.command(find.get_program());
    native.args(find.get_args());
    let native = process::run(&mut native, None, harness.stretched(PATIENCE))?;
    let mut husk = harness.husk_run();
    husk.args(["--memory", MEMORY]).arg(find.get_program());
    husk.args(find.get_args());
    let mut limited = harness.command("/bin/sh");
    limited.args(["-c", DESCRIPTORS, "sh"]);
    limited.arg(husk.get_program()).args(husk.get_args());
    let husk = process::run(&mut limited, None, harness.stretched(PATIENCE))?;
    let said = String::from_utf8_lossy(&husk.stderr);
    let first = said.lines().next().unwrap_or_default();
    ensure!(husk.status == 0, "status {}: {first}", husk.status);
    ensure!(husk.stdout == native.stdout, "it sees another tree");
    let seen = native.stdout.split(|&byte| byte == b'\n').count() - 1;
    ensure!(seen == (FOLDERS * (FILES_EACH + 1) + 1) as usize, "{seen}");
    Ok(Outcome::Passed(format!("{seen} names in {MEMORY}")))
}
