//! Debian's packages, fetched with apt once and unpacked.
//!
//! Those of another architecture come by lists that are kept beside them, so that the host's own
//! apt stays as it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Error, Result, ensure};

/// Whose packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Architecture {
    /// The host's.
    Host,
    /// 32-bit PCs'.
    I386,
}

/// Where the packages are.
#[derive(Debug)]
pub(crate) struct Packages {
    folder: PathBuf,
}

impl Packages {
    pub(crate) fn new(folder: &Path) -> Self {
        let folder = folder.to_owned();
        Self { folder }
    }

    /// The unpacked package. For a kernel without a version, the one on which it depends.
    ///
    /// # Errors
    /// When apt does not know it, or it cannot be fetched.
    pub(crate) fn tree(&self, name: &str, architecture: Architecture) -> Result<PathBuf> {
        // A kernel's name says what it is for.
        let place = match architecture {
            Architecture::I386 if !name.starts_with(KERNEL) => format!("{name}-i386"),
            _ => name.to_owned(),
        };
        let place = self.folder.join(place);
        if !place.is_dir() {
            std::fs::create_dir_all(&self.folder)?;
            let apt = self.apt(architecture)?;
            let fetched = apt.fetch(name, &place);
            fetched.or_else(|error| apt.fetch_by_new_lists(name, &place, error))?;
        }
        Ok(place)
    }

    fn apt(&self, architecture: Architecture) -> Result<Apt> {
        let folder = std::path::absolute(&self.folder)?;
        match architecture {
            Architecture::Host => Ok(Apt {
                folder,
                options: Vec::new(),
            }),
            Architecture::I386 => Apt::of(folder, "i386"),
        }
    }
}

/// What the names of kernels' packages begin with.
const KERNEL: &str = "linux-image-";

/// apt, told whose packages it is about.
struct Apt {
    /// Where packages are unpacked.
    folder: PathBuf,
    options: Vec<String>,
}

impl Apt {
    /// With lists of its own, from the host's sources.
    fn of(folder: PathBuf, architecture: &str) -> Result<Self> {
        let own = folder.join(format!("apt-{architecture}"));
        for part in ["state/lists/partial", "cache/archives/partial"] {
            std::fs::create_dir_all(own.join(part))?;
        }
        let status = own.join("status");
        std::fs::write(&status, "")?;
        let own = own.display();
        let options = [
            format!("APT::Architecture={architecture}"),
            format!("APT::Architectures::={architecture}"),
            format!("Dir::State={own}/state"),
            format!("Dir::State::status={}", status.display()),
            format!("Dir::Cache={own}/cache"),
            // Its unprivileged user may not write here.
            "APT::Sandbox::User=root".to_owned(),
        ];
        let options = options.map(|option| ["-o".to_owned(), option]);
        let options = options.concat();
        Ok(Self { folder, options })
    }

    /// Once more, where the lists are its own: there are none yet, or they are old.
    fn fetch_by_new_lists(&self, name: &str, place: &Path, error: Error) -> Result<()> {
        if self.options.is_empty() {
            return Err(error);
        }
        // A source without this architecture, or one that fails, does not matter here: whether the
        // package is known is seen next.
        let _ = self.run("apt-get", &["update"]);
        self.fetch(name, place)
    }

    /// Fetches a package and unpacks it at `place`.
    fn fetch(&self, name: &str, place: &Path) -> Result<()> {
        let description = self.run("apt-cache", &["show", "--no-all-versions", name])?;
        let package = match needed_by(&description) {
            Some(kernel) if name.starts_with(KERNEL) => kernel,
            _ => name.to_owned(),
        };
        let scratch = tempfile::tempdir_in(&self.folder)?;
        self.run_in(scratch.path(), "apt-get", &["download", &package])?;
        let file = find(scratch.path(), &package).context("apt-get left no package")?;
        let tree = scratch.path().join("tree");
        let names = [file, tree.clone()].map(|path| path.to_string_lossy().into_owned());
        output(Command::new("dpkg-deb").args(["-x", &names[0], &names[1]]))?;
        std::fs::rename(tree, place)?;
        Ok(())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        self.run_in(&self.folder, program, arguments)
    }

    fn run_in(&self, folder: &Path, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(program);
        command.args(&self.options).args(arguments);
        let said = output(command.current_dir(folder));
        said.with_context(|| format!("{program} {}", arguments.join(" ")))
    }
}

/// The kernel's package on which the one described depends.
fn needed_by(description: &str) -> Option<String> {
    let mut lines = description.lines();
    let needed = lines.find_map(|line| line.strip_prefix("Depends: "))?;
    let mut names = needed.split([',', '|', ' ']);
    let name = names.find(|name| name.starts_with(KERNEL))?;
    Some(name.to_owned())
}

fn output(command: &mut Command) -> Result<String> {
    let done = command.output().context("it is missing")?;
    let said = String::from_utf8_lossy(&done.stderr);
    let last = said.lines().last().unwrap_or_default();
    ensure!(done.status.success(), "{last}");
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// What lies in a folder, by the beginning of its name.
pub(crate) fn find(folder: &Path, beginning: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let wanted = |entry: &std::fs::DirEntry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with(beginning)
    };
    entries.into_iter().find(wanted).map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_package_is_the_one_needed() {
        let description =
            "Package: linux-image-amd64\nDepends: linux-image-6.1.0-9-amd64 (= 6.1)\n";
        let expected = Some("linux-image-6.1.0-9-amd64".to_owned());
        assert_eq!(needed_by(description), expected);
        assert_eq!(needed_by("Package: x\n"), None);
    }
}
