//! Makes the nested environment from Debian packages: a kernel, and a file system with busybox
//! and modules: KVM, and what reads the host's files. Made once for each version of the kernel's
//! package.

use std::fs;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::cpio::Archive;
use super::modules::{self, Module};
use super::scratch::Scratch;
use super::{bzimage, files, tools, unpack};

/// Depends on the current kernel's package.
const META_PACKAGE: &str = "linux-image-cloud-amd64";
/// Counts what is made of a package, so that what an earlier version of this made is not taken.
const LAYOUT: &str = "_2";

/// A folder of modules, and those that are in it, with what they need.
const MODULES: &[(&str, &[&str])] = &[
    ("modules/kvm", &["kvm-amd"]),
    ("modules/host", &["virtio-pci", "virtiofs", "overlay"]),
];

/// The folders of the base file system, and their permissions.
pub(crate) const FOLDERS: &[(&str, u32)] = &[
    ("bin", 0o755),
    ("dev", 0o755),
    ("modules", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("sys", 0o555),
    ("tmp", 0o1777),
];

/// The environment's two files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// The uncompressed kernel.
    pub(crate) kernel: PathBuf,
    /// A cpio archive.
    pub(crate) base: PathBuf,
}

impl Image {
    fn in_folder(folder: &Path) -> Self {
        Self {
            kernel: folder.join("vmlinux"),
            base: folder.join("base.cpio"),
        }
    }
}

/// The environment for the current version of the kernel's package, made now unless it is below
/// `folder` already. Without a list of packages the last one made will do.
///
/// # Errors
/// Says which program or package is missing or failed.
pub(crate) fn current(folder: &Path) -> Result<Image> {
    let package = match Package::current() {
        Ok(package) => package,
        Err(error) => return last_made(folder).ok_or(error),
    };
    let place = folder.join(package.key());
    if !place.is_dir() {
        build(&package, folder, &place)?;
    }
    Ok(Image::in_folder(&place))
}

fn last_made(folder: &Path) -> Option<Image> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let made = entries.filter(|entry| is_made(entry.file_name().as_encoded_bytes()));
    let made = made.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry)));
    let newest = made.max_by_key(|(modified, _)| *modified)?;
    Some(Image::in_folder(&newest.1.path()))
}

/// Whether a folder of this name is finished, and as we would make it.
fn is_made(name: &[u8]) -> bool {
    !name.starts_with(b".") && name.ends_with(LAYOUT.as_bytes())
}

/// A package of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Package {
    name: String,
    version: String,
}

impl Package {
    fn current() -> Result<Self> {
        let description = ["show", "--no-all-versions", META_PACKAGE];
        let description = tools::output("apt-cache", &description, Path::new("."));
        let unknown = || format!("apt knows no package {META_PACKAGE}: run apt-get update first");
        Self::needed_by(&description.with_context(unknown)?).with_context(unknown)
    }

    /// Reads the description of the package that depends on it.
    fn needed_by(description: &str) -> Option<Self> {
        let field = |key| description.lines().find_map(|line| line.strip_prefix(key));
        let needed = field("Depends: ")?.split([',', '|']).map(str::trim);
        let needed = needed.filter_map(|needed| needed.split([' ', ':']).next());
        let name = needed
            .into_iter()
            .find(|name| name.starts_with("linux-image-"))?;
        Some(Self {
            name: name.to_string(),
            version: field("Version: ")?.trim().to_string(),
        })
    }

    /// A file name for what we make of this version and nothing else.
    fn key(&self) -> String {
        let key = format!("{}_{}{LAYOUT}", self.name, self.version);
        key.replace(
            |c: char| !c.is_ascii_alphanumeric() && !"._+~-".contains(c),
            "_",
        )
    }
}

fn build(package: &Package, folder: &Path, place: &Path) -> Result<()> {
    tools::require(tools::TO_BUILD)?;
    let busybox = static_busybox()?;
    let scratch = Scratch::new(folder, "build")?;
    let tree = fetch(package, &scratch)?;
    let made = scratch.path().join("made");
    fs::create_dir(&made)?;
    let image = Image::in_folder(&made);
    write_kernel(&tree, &image.kernel)?;
    write_base(&tree, &busybox, &image.base)?;
    let moved = fs::rename(&made, place);
    // Another process may have been faster; its result is the same.
    ensure!(
        place.is_dir(),
        "{} cannot be made: {moved:?}",
        place.display()
    );
    Ok(())
}

fn static_busybox() -> Result<PathBuf> {
    let busybox = tools::find("busybox").context("busybox has vanished")?;
    let libraries = files::libraries(&busybox)?;
    ensure!(
        libraries.is_empty(),
        "busybox needs shared libraries: install the Debian package busybox-static"
    );
    Ok(busybox)
}

/// Downloads and unpacks the package; returns the folder that holds its files.
fn fetch(package: &Package, scratch: &Scratch) -> Result<PathBuf> {
    let exact = format!("{}={}", package.name, package.version);
    tools::output("apt-get", &["download", &exact], scratch.path())
        .with_context(|| format!("{exact} cannot be downloaded; run apt-get update first"))?;
    let file = find_below(scratch.path(), |name| name.ends_with(".deb"))
        .context("apt-get download left no package")?;
    let tree = scratch.path().join("tree");
    let arguments = [Path::new("-x"), &file, &tree].map(|path| path.to_string_lossy());
    let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    tools::output("dpkg-deb", &arguments, scratch.path())?;
    Ok(tree)
}

fn find_below(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let wanted = |entry: &fs::DirEntry| is_wanted(&entry.file_name().to_string_lossy());
    entries.into_iter().find(wanted).map(|entry| entry.path())
}

fn write_kernel(tree: &Path, to: &Path) -> Result<()> {
    let file = find_below(&tree.join("boot"), |name| name.starts_with("vmlinuz-"));
    let image = fs::read(file.context("the package has no kernel")?)?;
    let payload = bzimage::payload(&image)?;
    let kernel = unpack::elf(payload.compressed).context("the kernel cannot be unpacked")?;
    ensure!(
        kernel.len() == payload.unpacked_length as usize,
        "the unpacked kernel has {} bytes, not {}",
        kernel.len(),
        payload.unpacked_length
    );
    fs::write(to, kernel).context("the kernel cannot be written")
}

fn write_base(tree: &Path, busybox: &Path, to: &Path) -> Result<()> {
    let mut archive = Archive::new(BufWriter::new(File::create(to)?));
    for (folder, permissions) in FOLDERS {
        archive.folder(Path::new(folder), *permissions)?;
    }
    add_busybox(&mut archive, busybox)?;
    for (folder, names) in MODULES {
        let modules = modules::with_dependencies(tree, names)?;
        for (number, module) in modules.iter().enumerate() {
            let path = format!("{folder}/{number:02}-{}.ko", module.name);
            archive.file(Path::new(&path), 0o644, &stripped(module, tree)?)?;
        }
    }
    archive.finish()?.flush()?;
    Ok(())
}

fn add_busybox<W: Write>(archive: &mut Archive<W>, busybox: &Path) -> Result<()> {
    archive.file(Path::new("bin/busybox"), 0o755, &fs::read(busybox)?)?;
    let program = busybox.to_string_lossy();
    let applets = tools::output(&program, &["--list"], Path::new("/"))?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        archive.link(&Path::new("bin").join(applet), Path::new("busybox"))?;
    }
    Ok(())
}

/// The module without what only a debugger reads.
fn stripped(module: &Module, folder: &Path) -> Result<Vec<u8>> {
    let path = folder.join(&module.name);
    fs::write(&path, &module.bytes)?;
    tools::output("strip", &["--strip-debug", &module.name], folder)?;
    Ok(fs::read(&path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_kernel_is_the_one_that_is_depended_on() {
        let description = "Package: linux-image-cloud-amd64\nVersion: 6.1.2-3+b1\n\
                           Depends: kmod, linux-image-6.1.0-5-cloud-amd64 (= 6.1.2-3)\n";
        let package = Package::needed_by(description).expect("named");
        assert_eq!(package.name, "linux-image-6.1.0-5-cloud-amd64");
        assert_eq!(
            package.key(),
            "linux-image-6.1.0-5-cloud-amd64_6.1.2-3+b1_2"
        );
        assert_eq!(Package::needed_by("Version: 1\n"), None);
        assert_eq!(Package::needed_by("Depends: kmod\nVersion: 1\n"), None);
        assert_eq!(Package::needed_by(""), None);
    }

    #[test]
    fn a_key_is_one_file_name() {
        let name = "../linux".to_string();
        let version = "1:2/3".to_string();
        assert_eq!(Package { name, version }.key(), ".._linux_1_2_3_2");
    }

    #[test]
    fn the_last_one_made_is_no_unfinished_or_older_one() {
        let folder = Scratch::new(&std::env::temp_dir(), "image").expect("writable");
        fs::create_dir(folder.path().join(".build-1-0")).expect("writable");
        assert_eq!(last_made(folder.path()), None);
        fs::create_dir(folder.path().join("linux-image-1")).expect("writable");
        assert_eq!(last_made(folder.path()), None, "an earlier layout");
        let made = folder.path().join(format!("linux-image-1{LAYOUT}"));
        fs::create_dir(&made).expect("writable");
        assert_eq!(last_made(folder.path()), Some(Image::in_folder(&made)));
    }
}
