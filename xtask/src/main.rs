//! The project's own chores.
//!
//! `cargo xtask tidy` checks the rules that no compiler checks (see [`tidy`]); `cargo test` runs
//! the same check. `cargo xtask kernel-check` looks at the kernel that the last build made (see
//! [`kernel`]), `cargo xtask operations-check` at the interpreter's operations (see [`operations`]).
//! `cargo xtask nested-kvm` runs a program where it finds a real `/dev/kvm` (see
//! [`nested`]). Nothing here is part of the product.

mod kernel;
mod nested;
mod operations;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo xtask tidy | kernel-check [FILE] | operations-check [FILE] | nested-kvm [OPTION]... PROGRAM";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<ExitCode> {
    if let Some(("nested-kvm", rest)) = arguments.split_first().map(|(a, b)| (a.as_str(), b)) {
        return Ok(nested::command(rest));
    }
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["tidy"] => tidy()?,
        ["kernel-check"] => kernel::check_built(None)?,
        ["kernel-check", file] => kernel::check_built(Some(file.as_ref()))?,
        ["operations-check"] => operations::check(None)?,
        ["operations-check", file] => operations::check(Some(file.as_ref()))?,
        _ => bail!("{USAGE}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn tidy() -> Result<()> {
    let findings = tidy::check(&workspace::Workspace::load()?)?;
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    println!("tidy: no findings");
    Ok(())
}
