//! The check of the built kernel: small, and without a single SSE register.
//!
//! The kernel never saves floating-point state on entry, so one `xmm` instruction in it would
//! corrupt a program's registers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace;

const NAME: &str = "husk-kernel";
const LARGEST: u64 = 1 << 20;

/// Checks the given kernel, or the newest one below the target folder.
pub(crate) fn check_built(file: Option<&Path>) -> Result<()> {
    let kernel = match file {
        Some(file) => file.to_path_buf(),
        None => newest_below(&workspace::target_folder()?)?,
    };
    let size = stripped_size(&kernel)?;
    let listing = run(
        "objdump",
        &["-d", "--no-show-raw-insn", path_text(&kernel)?],
    )?;
    let complaints = complaints(size, &listing);
    for complaint in &complaints {
        println!("{}: {complaint}", kernel.display());
    }
    if !complaints.is_empty() {
        bail!("the kernel breaks {} of its promises", complaints.len());
    }
    println!(
        "{}: {size} bytes stripped, no xmm instruction",
        kernel.display()
    );
    Ok(())
}

/// What is wrong with a kernel of this size and disassembly.
fn complaints(stripped_size: u64, listing: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if stripped_size > LARGEST {
        complaints.push(format!(
            "{stripped_size} bytes stripped; at most {LARGEST} are allowed"
        ));
    }
    let vector = listing.lines().filter(|line| line.contains("%xmm")).count();
    if vector > 0 {
        complaints.push(format!("{vector} instructions use xmm registers"));
    }
    if !listing.contains(">:") {
        complaints.push("its disassembly holds no code: wrong file?".to_string());
    }
    complaints
}

fn newest_below(folder: &Path) -> Result<PathBuf> {
    let mut found = Vec::new();
    collect(folder, &mut found)
        .with_context(|| format!("{} cannot be searched", folder.display()))?;
    let newest = found.into_iter().max_by_key(|(modified, _)| *modified);
    let missing = || format!("no {NAME} below {}: build husk first", folder.display());
    Ok(newest.with_context(missing)?.1)
}

fn collect(folder: &Path, found: &mut Vec<(SystemTime, PathBuf)>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), found)?;
        } else if kind.is_file() && entry.file_name() == NAME {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    Ok(())
}

fn stripped_size(kernel: &Path) -> Result<u64> {
    let copy = std::env::temp_dir().join(format!("{NAME}.{}", std::process::id()));
    run("strip", &["-o", path_text(&copy)?, path_text(kernel)?])?;
    let size = fs::metadata(&copy)?.len();
    fs::remove_file(&copy)?;
    Ok(size)
}

fn path_text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("{program} does not start: install binutils"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} failed: {complaint}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: &str = "0000000000001000 <_start>:\n    1000:\tret\n";

    #[test]
    fn a_small_kernel_without_sse_passes() {
        assert!(complaints(LARGEST, CLEAN).is_empty());
    }

    #[test]
    fn size_registers_and_emptiness_are_found() {
        assert_eq!(complaints(LARGEST + 1, CLEAN).len(), 1);
        let dirty = format!("{CLEAN}    1001:\tmovaps %xmm0,(%rdi)\n");
        assert_eq!(complaints(1, &dirty).len(), 1);
        assert_eq!(complaints(1, "").len(), 1);
    }
}
