//! Wrong command lines: each ends with 125 and one sentence. They need no KVM: what is wrong is
//! found before a machine is made.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::judge::Outcome;
use crate::tiny;

const STATUS: i32 = 125;

/// Behind `husk boot`, in a folder with a `kernel`, a `large` file, an `empty` one, a `text`, a
/// `qcow2` and a `folder`; and what must be said of it.
pub(crate) const TABLE: &[(&str, &[&str])] = &[
    ("", &["--kernel"]),
    ("--kernel none", &["none", "check the path"]),
    ("--kernel folder", &["no regular file"]),
    ("--kernel empty", &["empty"]),
    ("--kernel text", &["unknown kind", "bzImage"]),
    ("--kernel kernel --initrd none", &["--initrd none"]),
    ("--kernel kernel --initrd empty", &["empty"]),
    (
        "--kernel kernel --memory 2M --initrd large",
        &["--initrd large", "--memory"],
    ),
    ("--kernel kernel --memory 1K", &["too little"]),
    ("--kernel kernel --memory 9000T", &["--memory"]),
    ("--kernel kernel --memory much", &["--memory"]),
    ("--kernel kernel --cpus 0", &["1..=64"]),
    ("--kernel kernel --cpus 65", &["1..=64"]),
    ("--kernel kernel --engine paravirt", &["auto", "kvm"]),
    ("--kernel kernel --disk none", &["none", "exist"]),
    ("--kernel kernel --disk folder", &["directory"]),
    ("--kernel kernel --disk empty", &["empty"]),
    ("--kernel kernel --disk qcow2", &["format=qcow2"]),
    ("--kernel kernel --disk text,format=vhd", &["format=raw"]),
    ("--kernel kernel --volume none:tag", &["none"]),
    ("--kernel kernel --volume folder", &["HOST:TAG"]),
    ("--kernel kernel --no-such-option", &["--no-such-option"]),
    ("kernel", &["kernel"]),
];

/// Tries one.
pub(crate) fn run(husk: &Path, arguments: &str, says: &[&str]) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    fill(folder.path())?;
    let mut command = Command::new(husk);
    command.arg("boot").args(arguments.split_whitespace());
    command.current_dir(folder.path()).stdin(Stdio::null());
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let is_sentence = said.starts_with("husk: ") && said.lines().count() == 1;
    let says_all = says.iter().all(|part| said.contains(part));
    if output.status.code() == Some(STATUS) && is_sentence && says_all {
        return Ok(Outcome::Passed);
    }
    let status = output.status;
    Ok(Outcome::Failed(format!("{status}, and it says:\n{said}")))
}

fn fill(folder: &Path) -> Result<()> {
    std::fs::write(folder.join("kernel"), tiny::kernel(&[0xf4]))?;
    std::fs::write(folder.join("large"), vec![1; 4 << 20])?;
    std::fs::write(folder.join("empty"), "")?;
    std::fs::write(folder.join("text"), "a text ".repeat(1000))?;
    std::fs::write(folder.join("qcow2"), [&b"QFI\xfb"[..], &[0; 1020]].concat())?;
    Ok(std::fs::create_dir(folder.join("folder"))?)
}
