//! What the command line asks for.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// A file or folder of the host, and its absolute path in the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) host: PathBuf,
    pub(crate) guest: PathBuf,
}

/// One run of one program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// As QEMU takes it: digits and `M` or `G`.
    pub(crate) memory: String,
    pub(crate) cpus: u8,
    pub(crate) timeout: Duration,
    pub(crate) files: Vec<Copied>,
    /// The machine's root is the host's, with changes in memory.
    pub(crate) host_root: bool,
    /// Words for the kernel's command line.
    pub(crate) append: String,
    /// A path of the host.
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
}

impl Options {
    /// Reads the arguments; what follows the program is the program's own.
    ///
    /// # Errors
    /// Says which argument is wrong.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self {
            memory: "1G".to_string(),
            cpus: 1,
            timeout: Duration::from_secs(120),
            files: Vec::new(),
            host_root: false,
            append: String::new(),
            program: PathBuf::new(),
            arguments: Vec::new(),
        };
        let mut rest = arguments.iter();
        let mut word = rest.next();
        while let Some(option) = word.filter(|word| word.starts_with("--") && *word != "--") {
            if option == "--host-root" {
                options.host_root = true;
            } else {
                let value = rest.next();
                let value = value.with_context(|| format!("{option} needs a value"))?;
                options.set(option, value)?;
            }
            word = rest.next();
        }
        let program = word.filter(|word| *word != "--").or_else(|| rest.next());
        options.program = program.context("no program is named")?.into();
        options.arguments = rest.cloned().collect();
        Ok(options)
    }

    fn set(&mut self, option: &str, value: &str) -> Result<()> {
        match option {
            "--memory" => self.memory = memory(value)?,
            "--cpus" => self.cpus = cpus(value)?,
            "--timeout" => self.timeout = timeout(value)?,
            "--file" => self.files.push(copied(value)?),
            "--append" => value.clone_into(&mut self.append),
            _ => bail!("{option} is no option"),
        }
        Ok(())
    }
}

fn memory(value: &str) -> Result<String> {
    let digits = value.strip_suffix(['M', 'G']).unwrap_or_default();
    let is_size = digits.bytes().all(|byte| byte.is_ascii_digit())
        && digits.parse::<u16>().is_ok_and(|size| size > 0);
    ensure!(is_size, "{value} is no size: write it as 512M or 2G");
    Ok(value.to_string())
}

fn cpus(value: &str) -> Result<u8> {
    let count = value
        .parse::<u8>()
        .ok()
        .filter(|count| (1..=64).contains(count));
    count.with_context(|| format!("{value} is no number of processors: 1 to 64"))
}

fn timeout(value: &str) -> Result<Duration> {
    let seconds = value.parse::<u32>().ok().filter(|seconds| *seconds > 0);
    let seconds = seconds.with_context(|| format!("{value} is no number of seconds"))?;
    Ok(Duration::from_secs(seconds.into()))
}

fn copied(value: &str) -> Result<Copied> {
    let (host, guest) = match value.split_once(':') {
        Some((host, guest)) => (PathBuf::from(host), PathBuf::from(guest)),
        None => (PathBuf::from(value), place_of(Path::new(value))?),
    };
    ensure!(!host.as_os_str().is_empty(), "{value} names no file");
    check_place(&guest)?;
    Ok(Copied { host, guest })
}

/// The absolute path of a file, with its own name even when that is a link.
fn place_of(path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let place = match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) => parent.canonicalize().map(|parent| parent.join(name)),
        _ => absolute.canonicalize(),
    };
    place.with_context(|| format!("{} cannot be read", path.display()))
}

/// A place is absolute, without `..`, and not below what is mounted over.
fn check_place(place: &Path) -> Result<()> {
    let shown = place.display();
    let mut parts = place.components();
    ensure!(
        parts.next() == Some(Component::RootDir),
        "{shown} is not absolute"
    );
    let first = parts.next();
    ensure!(
        first.into_iter().chain(parts).all(is_name),
        "{shown} has .. in it"
    );
    let first = first.context("a file cannot replace /")?.as_os_str();
    let hidden = ["dev", "proc", "sys"];
    ensure!(
        !hidden.iter().any(|folder| first == *folder),
        "{shown} would be hidden by what is mounted there"
    );
    Ok(())
}

fn is_name(part: Component<'_>) -> bool {
    matches!(part, Component::Normal(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        Options::parse(&words)
    }

    #[test]
    fn a_program_alone_gets_the_defaults() {
        let options = parse("prog").expect("valid");
        assert_eq!(options.memory, "1G");
        assert_eq!(options.timeout, Duration::from_secs(120));
        assert_eq!(options.program, Path::new("prog"));
        assert!(options.files.is_empty() && options.arguments.is_empty());
        assert_eq!((options.cpus, options.host_root), (1, false));
    }

    #[test]
    fn options_stand_before_the_program_and_the_rest_is_its_own() {
        let options =
            parse("--memory 512M --file a:/b --file /c:/d/e --timeout 5 prog --memory -- x");
        let options = options.expect("valid");
        assert_eq!(options.memory, "512M");
        assert_eq!(options.timeout, Duration::from_secs(5));
        let places: Vec<_> = options.files.iter().map(|f| f.guest.as_path()).collect();
        assert_eq!(places, [Path::new("/b"), Path::new("/d/e")]);
        assert_eq!(options.arguments, ["--memory", "--", "x"]);
    }

    #[test]
    fn the_host_s_root_is_asked_for_without_a_value() {
        let options = parse("--cpus 2 --host-root prog --host-root").expect("valid");
        assert_eq!((options.cpus, options.host_root), (2, true));
        assert_eq!(options.program, Path::new("prog"));
        assert_eq!(options.arguments, ["--host-root"]);
    }

    #[test]
    fn words_for_the_kernel_are_one_argument() {
        let options = parse("--append tsc_early_khz=1000000 prog").expect("valid");
        assert_eq!(options.append, "tsc_early_khz=1000000");
        assert_eq!(parse("prog").expect("valid").append, "");
    }

    #[test]
    fn two_dashes_end_the_options() {
        let options = parse("--timeout 5 -- --prog --").expect("valid");
        assert_eq!(options.program, Path::new("--prog"));
        assert_eq!(options.arguments, ["--"]);
    }

    #[test]
    fn a_file_without_a_place_keeps_its_own() {
        let options = parse("--file Cargo.toml prog").expect("valid");
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert_eq!(
            options.files[0].guest.canonicalize().ok(),
            own.canonicalize().ok()
        );
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for line in [
            "",
            "--",
            "--memory",
            "--memory 1G",
            "--unknown 1 prog",
            "--memory 1 prog",
            "--memory G prog",
            "--memory 0G prog",
            "--memory +1G prog",
            "--memory 1G,slots=2 prog",
            "--host-root",
            "--cpus 0 prog",
            "--cpus 65 prog",
            "--cpus two prog",
            "--timeout 0 prog",
            "--timeout soon prog",
            "--file a:b prog",
            "--file a: prog",
            "--file :/b prog",
            "--file a:/ prog",
            "--file a:/b/../../c prog",
            "--file a:/proc/x prog",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
