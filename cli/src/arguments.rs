//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::error::{STATUS_HUSK, say};

/// Runs programs as isolated machines.
#[derive(Debug, Parser)]
#[command(name = "husk", version, about, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a program of this host in a machine of its own
    Run(RunOptions),
    /// Show what this host can do
    Engines,
}

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineChoice {
    /// The first that runs the program fast
    Auto,
    /// The processor's hardware virtualization, by /dev/kvm
    Kvm,
    /// A sandboxed process, no privilege needed
    Paravirt,
}

/// What `husk run` takes.
#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// How the machine's processor runs
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) engine: EngineChoice,
    /// Memory of the machine, with K, M or G
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = parse_size)]
    pub(crate) memory: u64,
    /// Set a variable (NAME=VALUE) or pass one of this host's (NAME)
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<OsString>,
    /// Directory to start in
    #[arg(long, short, value_name = "DIR")]
    pub(crate) workdir: Option<PathBuf>,
    /// What the program sees as /, changes kept in memory
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// A directory of this host, changes written through (or refused, with :ro)
    #[arg(long, short, value_name = "HOST:GUEST[:ro]", value_parser = parse_volume)]
    pub(crate) volume: Vec<Volume>,
    /// Show the program's system calls on stderr, in strace's format
    #[arg(long)]
    pub(crate) trace: bool,
    /// Write measurements as JSON at the end, to stderr or a file
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub(crate) stats: Option<PathBuf>,
    /// The program, and what it is given
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "PROGRAM [ARG]"
    )]
    pub(crate) command: Vec<OsString>,
}

/// A directory of the host in the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) host: PathBuf,
    pub(crate) guest: PathBuf,
    pub(crate) read_only: bool,
}

/// Shows what clap found, with Husk's prefix and status.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        print!("{error}");
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let why = lines
        .next()
        .unwrap_or("not understood")
        .trim_start_matches("error: ")
        .to_owned();
    let hint = |line: &&str| line.starts_with("Usage:") || line.starts_with("For more");
    let details: Vec<&str> = lines.take_while(|line| !hint(line)).collect();
    let why = format!("{why} {}", details.join(" "));
    let remedy = "`husk --help` and `husk run --help` say what there is";
    say(&format!("husk: command line: {} ({remedy})", why.trim()));
    ExitCode::from(STATUS_HUSK)
}

/// A size in bytes: a number with K, M, G or T (powers of 1024).
fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.find(|letter: char| !letter.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let shift = match unit
        .to_ascii_uppercase()
        .trim_end_matches("IB")
        .trim_end_matches('B')
    {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(format!("'{unit}' is no unit (use K, M or G, as in 512M)")),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "not a size (write it as 512M)".to_owned())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "larger than any memory".to_owned())
}

fn parse_volume(text: &str) -> Result<Volume, String> {
    let usage = || "write it as HOST:GUEST or HOST:GUEST:ro".to_owned();
    let (host, rest) = text.split_once(':').ok_or_else(usage)?;
    let (guest, read_only) = match rest.split_once(':') {
        None => (rest, false),
        Some((guest, "ro")) => (guest, true),
        Some((guest, "rw")) => (guest, false),
        Some((_, mode)) => return Err(format!("'{mode}' is no mode (use ro or nothing)")),
    };
    if host.is_empty() || !guest.starts_with('/') {
        return Err(format!("{}, GUEST being an absolute path", usage()));
    }
    Ok(Volume {
        host: host.into(),
        guest: guest.into(),
        read_only,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("512M", 512 << 20),
            ("1G", 1 << 30),
            ("4096", 4096),
            ("2gib", 2 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "1X", "-1", "99999999999T"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn volumes() {
        let volume = parse_volume("/a:/b:ro").unwrap();
        assert_eq!((volume.guest, volume.read_only), ("/b".into(), true));
        assert!(parse_volume("/a").is_err());
        assert!(parse_volume("/a:b").is_err());
        assert!(parse_volume(":/b").is_err());
        assert!(parse_volume("/a:/b:rx").is_err());
    }

    #[test]
    fn everything_after_the_program_is_its_own() {
        let line = [
            "husk", "run", "--memory", "1G", "python3", "-c", "print(1)", "--trace",
        ];
        let Verb::Run(options) = Arguments::parse_from(line).verb else {
            panic!()
        };
        assert_eq!(options.command.len(), 4);
        assert!(!options.trace);
    }
}
