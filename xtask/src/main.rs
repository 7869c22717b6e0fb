//! The project's own chores.
//!
//! `cargo xtask tidy` checks the rules that no compiler checks (see [`tidy`]); `cargo test` runs
//! the same check. `cargo xtask kernel-check` looks at the kernel that the last build made (see
//! [`kernel`]). Nothing here is part of the product.

mod kernel;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo xtask tidy | kernel-check [FILE]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["tidy"] => tidy(),
        ["kernel-check"] => kernel::check_built(None),
        ["kernel-check", file] => kernel::check_built(Some(file.as_ref())),
        _ => bail!("{USAGE}"),
    }
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
