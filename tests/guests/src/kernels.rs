//! Debian's kernels and their modules.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::initrd;
use crate::packages::{Architecture, Packages, find};

/// A kernel to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// The one for clouds, as a bzImage.
    Cloud,
    /// The same, uncompressed: entered by PVH.
    CloudElf,
    /// The one for all machines, as a bzImage.
    Generic,
    /// The one for 32-bit machines, with page tables of three levels.
    Pae,
    /// The one for the oldest machines, with page tables of two levels.
    NoPae,
}

impl Kernel {
    const fn package(self) -> &'static str {
        match self {
            Self::Cloud | Self::CloudElf => "linux-image-cloud-amd64",
            Self::Generic => "linux-image-amd64",
            Self::Pae => "linux-image-686-pae",
            Self::NoPae => "linux-image-686",
        }
    }

    const fn architecture(self) -> Architecture {
        match self {
            Self::Cloud | Self::CloudElf | Self::Generic => Architecture::Host,
            Self::Pae | Self::NoPae => Architecture::I386,
        }
    }
}

/// Where the kernels are.
#[derive(Debug)]
pub(crate) struct Kernels {
    packages: Packages,
}

impl Kernels {
    pub(crate) fn new(folder: &Path) -> Self {
        let packages = Packages::new(folder);
        Self { packages }
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

    /// A static busybox that runs on this kernel.
    pub(crate) fn busybox(&self, kernel: Kernel) -> Result<PathBuf> {
        let tree = self.packages.tree("busybox-static", kernel.architecture());
        let program = std::path::absolute(tree?.join("bin/busybox"))?;
        ensure!(program.is_file(), "busybox-static has no bin/busybox");
        Ok(program)
    }

    /// Packages of whatever else is booted.
    pub(crate) const fn packages(&self) -> &Packages {
        &self.packages
    }

    /// The unpacked package.
    fn tree(&self, kernel: Kernel) -> Result<PathBuf> {
        self.packages.tree(kernel.package(), kernel.architecture())
    }
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
