//! Debian's kernels, fetched as packages once and unpacked.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::initrd;

/// A kernel to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// The one for clouds, as a bzImage.
    Cloud,
    /// The same, uncompressed: entered by PVH.
    CloudElf,
    /// The one for all machines, as a bzImage.
    Generic,
}

/// Where the kernels are.
#[derive(Debug)]
pub(crate) struct Kernels {
    folder: PathBuf,
}

impl Kernels {
    pub(crate) fn new(folder: &Path) -> Self {
        let folder = folder.to_owned();
        Self { folder }
    }

    /// The file of a kernel.
    pub(crate) fn image(&self, kernel: Kernel) -> Result<PathBuf> {
        let tree = self.tree(kernel)?;
        let image = find(&tree.join("boot"), "vmlinuz-").context("the package has no kernel")?;
        match kernel {
            Kernel::CloudElf => unpacked(&image),
            _ => Ok(image),
        }
    }

    /// The files of its modules.
    pub(crate) fn modules(&self, kernel: Kernel, names: &[&str]) -> Result<Vec<PathBuf>> {
        let tree = self.tree(kernel)?.join("lib/modules");
        let of = |name: &&str| {
            let found = initrd::module(&tree, name);
            found.with_context(|| format!("the kernel's package has no module {name}"))
        };
        names.iter().map(of).collect()
    }

    /// The unpacked package.
    fn tree(&self, kernel: Kernel) -> Result<PathBuf> {
        let meta = match kernel {
            Kernel::Cloud | Kernel::CloudElf => "linux-image-cloud-amd64",
            Kernel::Generic => "linux-image-amd64",
        };
        let place = self.folder.join(meta);
        if !place.is_dir() {
            fetch(meta, &self.folder, &place)?;
        }
        Ok(place)
    }
}

fn fetch(meta: &str, folder: &Path, place: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let description = output("apt-cache", &["show", "--no-all-versions", meta], folder)?;
    let package = needed_by(&description);
    let package = package.with_context(|| format!("apt knows no {meta}: run apt-get update"))?;
    let scratch = tempfile::tempdir_in(folder)?;
    output("apt-get", &["download", &package], scratch.path())?;
    let file = find(scratch.path(), "linux-image-").context("apt-get left no package")?;
    let tree = scratch.path().join("tree");
    let names = [file, tree.clone()].map(|path| path.to_string_lossy().into_owned());
    output("dpkg-deb", &["-x", &names[0], &names[1]], folder)?;
    std::fs::rename(tree, place)?;
    Ok(())
}

/// The package on which the one described depends.
fn needed_by(description: &str) -> Option<String> {
    let mut lines = description.lines();
    let needed = lines.find_map(|line| line.strip_prefix("Depends: "))?;
    let mut names = needed.split([',', '|', ' ']);
    let name = names.find(|name| name.starts_with("linux-image-"))?;
    Some(name.to_owned())
}

fn output(program: &str, arguments: &[&str], folder: &Path) -> Result<String> {
    let mut command = Command::new(program);
    let done = command.args(arguments).current_dir(folder).output();
    let done = done.with_context(|| format!("{program} is missing"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(
        done.status.success(),
        "{program} {}: {}",
        arguments.join(" "),
        said.lines().last().unwrap_or_default()
    );
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn find(folder: &Path, beginning: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let wanted = |entry: &std::fs::DirEntry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with(beginning)
    };
    entries.into_iter().find(wanted).map(|entry| entry.path())
}

/// The ELF file in a bzImage, beside it. What follows the compressed bytes makes lz4 fail at the
/// end, when all of it is out.
fn unpacked(image: &Path) -> Result<PathBuf> {
    const LZ4: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
    let to = image.with_file_name("vmlinux");
    if to.is_file() {
        return Ok(to);
    }
    let bytes = std::fs::read(image)?;
    let start = bytes.windows(4).position(|window| window == LZ4);
    let start = start.context("the kernel is not compressed by lz4")?;
    let packed = image.with_file_name("vmlinux.lz4");
    std::fs::write(&packed, bytes.get(start..).unwrap_or_default())?;
    let mut command = Command::new("lz4");
    command.args(["-d", "-c"]).arg(&packed);
    command.stderr(Stdio::null()).stdout(Stdio::piped());
    let done = command
        .output()
        .context("lz4 is missing: install the Debian package lz4")?;
    if !done.stdout.starts_with(b"\x7fELF") {
        bail!("lz4 cannot unpack the kernel");
    }
    std::fs::write(&to, done.stdout)?;
    Ok(to)
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
