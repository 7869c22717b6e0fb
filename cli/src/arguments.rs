//! The command line.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use backend_block::{Backing, Format};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::debug::DebugOptions;
use crate::determinism::DeterminismOptions;
use crate::error::{STATUS_HUSK, say};
use crate::network::NetworkOptions;

/// Longest tag of a directory (virtio 1.2, 5.11.4).
const TAG_MAX: usize = 36;

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
    /// Boot an operating system in a machine
    Boot(BootOptions),
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
    /// Every instruction interpreted, anywhere
    Emulate,
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
    /// Virtual CPUs, 1 to 64
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) cpus: u32,
    /// What the program sees as /, changes kept in memory
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// A directory of this host, changes written through (or refused, with :ro)
    #[arg(long, short, value_name = "HOST:GUEST[:ro]", value_parser = parse_volume)]
    pub(crate) volume: Vec<Volume>,
    #[command(flatten)]
    pub(crate) network: NetworkOptions,
    #[command(flatten)]
    pub(crate) debug: DebugOptions,
    #[command(flatten)]
    pub(crate) determinism: DeterminismOptions,
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

/// Which engine runs an operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BootEngine {
    /// The first that is fast, otherwise the one that interprets
    Auto,
    /// The processor's hardware virtualization, by /dev/kvm
    Kvm,
    /// Every instruction interpreted, anywhere
    Emulate,
}

/// What a guest finds below itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Below {
    /// No hypervisor that a kernel would need; KVM's clock
    None,
    /// As much of Xen as Xen itself needs as a guest; a kernel is entered by PVH. Interprets
    Xen,
}

/// What `husk boot` takes.
///
/// The first serial port is standard input and output. On a terminal Ctrl-A x ends the machine,
/// Ctrl-A Ctrl-A sends Ctrl-A.
#[derive(Debug, Args)]
pub(crate) struct BootOptions {
    /// Kernel: a Linux bzImage, an ELF file with a PVH note, or one with a Multiboot header
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: PathBuf,
    /// Initial RAM disk; may be given several times for a kernel that takes modules, as Xen does
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Vec<PathBuf>,
    /// The kernel's command line, and nothing else: say console=ttyS0 to see Linux
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        allow_hyphen_values = true
    )]
    pub(crate) append: OsString,
    /// Memory of the machine, with K, M or G
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = parse_size)]
    pub(crate) memory: u64,
    /// Virtual CPUs, 1 to 64
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) cpus: u32,
    /// How the machine's processors run
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) engine: BootEngine,
    /// What the guest finds below itself
    #[arg(long, value_enum, default_value = "none")]
    pub(crate) hypervisor: Below,
    /// End with status 123 when the guest asks for a reset, instead of starting it again
    #[arg(long)]
    pub(crate) no_reboot: bool,
    /// Where to tell of a reset: husk's own, for the process of one life
    #[arg(long, hide = true)]
    pub(crate) told: Option<u32>,
    /// A disk, raw unless said otherwise; may be given several times
    #[arg(long, value_name = "FILE[,format=raw|qcow2][,readonly][,backing=anywhere]", value_parser = parse_disk)]
    pub(crate) disk: Vec<DiskOption>,
    /// A directory of this host, for the guest to mount by its tag (virtiofs)
    #[arg(long, short, value_name = "HOST:TAG[:ro]", value_parser = parse_tagged)]
    pub(crate) volume: Vec<TaggedVolume>,
    #[command(flatten)]
    pub(crate) network: NetworkOptions,
    #[command(flatten)]
    pub(crate) debug: DebugOptions,
    #[command(flatten)]
    pub(crate) determinism: DeterminismOptions,
    /// Write measurements as JSON at the end, to stderr or a file
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub(crate) stats: Option<PathBuf>,
    /// The socket of --gdb: husk's own, for the process of one life
    #[arg(long, hide = true)]
    pub(crate) gdb_socket: Option<i32>,
}

/// An image as a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DiskOption {
    pub(crate) path: PathBuf,
    /// As it was said.
    pub(crate) format: Option<Format>,
    pub(crate) read_only: bool,
    /// Where files may be that it names.
    pub(crate) backing: Backing,
}

/// A directory of the host with a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaggedVolume {
    pub(crate) host: PathBuf,
    pub(crate) tag: String,
    pub(crate) read_only: bool,
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
        // Whoever asked may have read enough.
        let _ = write!(std::io::stdout(), "{error}");
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
    let remedy = "`husk --help` and `husk VERB --help` say what there is";
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

/// Host's part, guest's part, read-only.
fn parse_shared(text: &str, usage: impl Fn() -> String) -> Result<(&str, &str, bool), String> {
    let (host, rest) = text.split_once(':').ok_or_else(usage)?;
    match rest.split_once(':') {
        None => Ok((host, rest, false)),
        Some((guest, "ro")) => Ok((host, guest, true)),
        Some((guest, "rw")) => Ok((host, guest, false)),
        Some((_, mode)) => Err(format!("'{mode}' is no mode (use ro or nothing)")),
    }
}

fn parse_tagged(text: &str) -> Result<TaggedVolume, String> {
    let usage = || "write it as HOST:TAG or HOST:TAG:ro".to_owned();
    let (host, tag, read_only) = parse_shared(text, usage)?;
    if host.is_empty() || !(1..=TAG_MAX).contains(&tag.len()) {
        return Err(format!("{}, TAG having 1 to {TAG_MAX} bytes", usage()));
    }
    Ok(TaggedVolume {
        host: host.into(),
        tag: tag.to_owned(),
        read_only,
    })
}

fn parse_disk(text: &str) -> Result<DiskOption, String> {
    let mut parts = text.split(',');
    let path = parts.next().unwrap_or_default();
    let mut disk = DiskOption {
        path: path.into(),
        format: None,
        read_only: false,
        backing: Backing::Beside,
    };
    for part in parts {
        match part {
            "format=raw" => disk.format = Some(Format::Raw),
            "format=qcow2" => disk.format = Some(Format::Qcow2),
            "readonly" => disk.read_only = true,
            "backing=anywhere" => disk.backing = Backing::Anywhere,
            _ => {
                let known = "there are format=raw, format=qcow2, readonly and backing=anywhere";
                return Err(format!("'{part}' is nothing to say of a disk ({known})"));
            }
        }
    }
    if path.is_empty() {
        return Err("the file is missing (write it as FILE or FILE,format=qcow2)".to_owned());
    }
    Ok(disk)
}

fn parse_volume(text: &str) -> Result<Volume, String> {
    let usage = || "write it as HOST:GUEST or HOST:GUEST:ro".to_owned();
    let (host, guest, read_only) = parse_shared(text, usage)?;
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
    fn disks() {
        let disk = parse_disk("a.img,format=qcow2,readonly").unwrap();
        assert_eq!(disk.path, PathBuf::from("a.img"));
        assert_eq!((disk.format, disk.read_only), (Some(Format::Qcow2), true));
        assert_eq!(parse_disk("a").unwrap().format, None);
        for text in ["", ",readonly", "a,format=vhd", "a,ro", "a,"] {
            assert!(parse_disk(text).is_err(), "{text}");
        }
    }

    #[test]
    fn volumes_with_tags() {
        let volume = parse_tagged("/a:data:ro").unwrap();
        assert_eq!((volume.tag.as_str(), volume.read_only), ("data", true));
        let long = format!("/a:{}", "t".repeat(TAG_MAX + 1));
        for text in ["/a", "/a:", ":t", "/a:t:rx", &long] {
            assert!(parse_tagged(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_system_needs_a_kernel_and_1_to_64_processors() {
        let parse = |line: &str| Arguments::try_parse_from(line.split_whitespace());
        assert!(parse("husk boot --kernel k --append -x --cpus 64").is_ok());
        for line in [
            "husk boot",
            "husk boot k",
            "husk boot --kernel k --cpus 0",
            "husk boot --kernel k --cpus 65",
            "husk boot --kernel k --engine paravirt",
            "husk boot --kernel k --memory x",
            "husk boot --kernel k extra",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
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
