//! Assembles the guests: a program for our kernel, and a 32-bit kernel.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Sources, and what the C compiler is told beside `-nostdlib -static`.
const GUESTS: [(&str, &[&str]); 2] = [
    ("programs/hello.s", &[]),
    (
        "kernels/protected.s",
        &[
            "-m32",
            "-Wl,-T,kernels/protected.ld",
            "-Wl,--build-id=none",
            "-Wl,-N",
            "-Wl,--no-warn-rwx-segments",
        ],
    ),
];

fn main() {
    let output = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo says where"));
    println!("cargo::rerun-if-changed=kernels");
    println!("cargo::rerun-if-changed=programs");
    for (source, options) in GUESTS {
        assemble(Path::new(source), options, &output);
    }
}

fn assemble(source: &Path, options: &[&str], output: &Path) {
    let name = source.file_stem().expect("it has a name");
    let mut command = Command::new("cc");
    command.args(["-nostdlib", "-static", "-no-pie", "-Wl,-z,noexecstack"]);
    command
        .args(options)
        .arg("-o")
        .arg(output.join(name))
        .arg(source);
    let status = command.status().expect("cc starts: install gcc");
    assert!(status.success(), "{} cannot be assembled", source.display());
}
