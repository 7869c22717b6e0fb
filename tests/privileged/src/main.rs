//! What a privileged x86-64 processor does: an image whose cases show it, and runs of it.
//!
//!     privileged write -o DIR                     # privileged.elf, privileged.img, cases.txt
//!     privileged run --on bochs                   # or qemu
//!     privileged run --on husk boot --kernel {elf}
//!
//! Each case prints a line, which is compared with the one of `expected.txt`; see
//! docs/privileged.md. What is missing skips everything, loudly and counted.
#![forbid(unsafe_code)]

mod runner;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use privileged::{Cases, Deviations};

use runner::{Counts, Judge, Machine};

/// RF, which QEMU does not set when it pushes the flags for a fault, and VIF and VIP, which stay in
/// its flags once they are set.
const UNKNOWN_TO_QEMU: u32 = 0x19_0000;

/// Shows what a privileged x86-64 processor does.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Writes the image as an ELF file and as a disk, and the names of the cases
    Write {
        /// Where to
        #[arg(short, value_name = "DIR")]
        output: PathBuf,
    },
    /// Runs the cases and compares
    Run(Run),
}

#[derive(Debug, Parser)]
struct Run {
    /// Only cases whose name contains this; several: any of them
    #[arg(long)]
    filter: Vec<String>,
    /// How long a machine may be silent
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    patience: u64,
    /// In the opposite order: no case may depend on another
    #[arg(long)]
    reverse: bool,
    /// Also write the lines to this file, but for cases that Bochs is known to get wrong
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// bochs, qemu, or a command that prints what the machine's serial port says; the last option
    #[arg(long, num_args = 1.., required = true, allow_hyphen_values = true, value_name = "WORD")]
    on: Vec<String>,
}

fn main() -> Result<ExitCode> {
    match Options::parse().verb {
        Verb::Write { output } => write(&output).map(|()| ExitCode::SUCCESS),
        Verb::Run(options) => run(&options),
    }
}

fn write(folder: &Path) -> Result<()> {
    let cases = Cases::all();
    let names: Vec<&str> = cases.names().collect();
    fs::create_dir_all(folder)?;
    fs::write(folder.join("privileged.elf"), cases.elf())?;
    fs::write(folder.join("privileged.img"), cases.disk())?;
    fs::write(folder.join("cases.txt"), names.join("\n") + "\n")?;
    println!("{} cases in {}", names.len(), folder.display());
    Ok(())
}

fn run(options: &Run) -> Result<ExitCode> {
    let is_wanted = |name: &str| {
        let mut filter = options.filter.iter();
        options.filter.is_empty() || filter.any(|part| name.contains(part))
    };
    let cases = Cases::all().only(is_wanted);
    let cases = if options.reverse {
        cases.reversed()
    } else {
        cases
    };
    let machine = Machine::new(&options.on);
    if !is_installed(machine.program()) {
        let count = cases.names().count();
        println!("SKIPPED: {} is not installed", machine.program());
        println!("0 passed, 0 failed, {count} skipped");
        return Ok(ExitCode::SUCCESS);
    }
    let found = runner::run(&machine, &cases, Duration::from_secs(options.patience))?;
    if let Some(file) = &options.write {
        write_lines(file, &cases, &found)?;
    }
    let counts = runner::judge(&cases, &found, &judge(&machine));
    let Counts {
        passed,
        failed,
        skipped,
    } = counts;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn judge(machine: &Machine) -> Judge {
    let (deviations, unknown_flags) = match machine {
        Machine::Bochs => (privileged::bochs(), 0),
        Machine::Qemu => (privileged::qemu(), UNKNOWN_TO_QEMU),
        Machine::Command(_) => (Deviations::default(), 0),
    };
    Judge {
        deviations,
        unknown_flags,
    }
}

fn is_installed(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok()
}

fn write_lines(file: &Path, cases: &Cases, found: &BTreeMap<String, String>) -> Result<()> {
    let (wrong, expected) = (privileged::bochs(), privileged::expected_lines());
    let line = |name: &str| match (wrong.reason(name), expected.get(name)) {
        (Some(_), Some(line)) => Some((*line).to_owned()),
        _ => found.get(name).cloned(),
    };
    let lines = cases.names().filter_map(line);
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let context = || format!("{} cannot be written", file.display());
    fs::write(file, text).with_context(context)
}
