//! Writes cpio archives in the `newc` format, as Linux unpacks them into its first file system.
//!
//! The format is described in the kernel's documentation, "initramfs buffer format". Several
//! archives may follow each other; what a later one holds replaces what stands in an earlier one.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const HEADER_LENGTH: usize = 110;
/// The kernel skips longer names without a word.
const LONGEST_NAME: usize = 4096;
/// The end is rounded up to this, as by other writers of the format.
const BLOCK: usize = 512;

/// An archive that is being written. Everything in it belongs to root.
pub(crate) struct Archive<W> {
    out: W,
    length: usize,
    entries: u32,
    folders: BTreeSet<PathBuf>,
}

impl<W: Write> Archive<W> {
    /// Starts an archive.
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            length: 0,
            entries: 0,
            folders: BTreeSet::new(),
        }
    }

    /// Says that an earlier archive already has this folder.
    pub(crate) fn know_folder(&mut self, path: &Path) {
        self.folders.insert(relative(path).to_path_buf());
    }

    /// Adds a folder, and those above it where they are missing.
    pub(crate) fn folder(&mut self, path: &Path, permissions: u32) -> Result<()> {
        self.folders_above(path)?;
        if self.folders.insert(relative(path).to_path_buf()) {
            self.entry(path, FOLDER | permissions, &[])?;
        }
        Ok(())
    }

    /// Adds a file of at most 4 GiB, and the folders above it where they are missing.
    pub(crate) fn file(&mut self, path: &Path, permissions: u32, contents: &[u8]) -> Result<()> {
        self.folders_above(path)?;
        self.entry(path, FILE | permissions, contents)
    }

    /// Adds a symbolic link, and the folders above it where they are missing.
    pub(crate) fn link(&mut self, path: &Path, target: &Path) -> Result<()> {
        self.folders_above(path)?;
        self.entry(path, LINK | 0o777, target.as_os_str().as_bytes())
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> Result<W> {
        self.entry(Path::new("TRAILER!!!"), 0, &[])?;
        self.pad_to(BLOCK)?;
        Ok(self.out)
    }

    fn folders_above(&mut self, path: &Path) -> Result<()> {
        let above = relative(path).ancestors().skip(1);
        let missing = above.filter(|folder| !self.folders.contains(*folder));
        let mut missing: Vec<&Path> = missing.filter(|f| !f.as_os_str().is_empty()).collect();
        missing.reverse();
        for folder in missing {
            self.folders.insert(folder.to_path_buf());
            self.entry(folder, FOLDER | 0o755, &[])?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, mode: u32, contents: &[u8]) -> Result<()> {
        let name = relative(path).as_os_str().as_bytes();
        let shown = path.display();
        ensure!(
            (1..LONGEST_NAME).contains(&name.len()),
            "{shown}: no name for an archive"
        );
        let size = u32::try_from(contents.len());
        let size = size.with_context(|| format!("{shown} has more than 4 GiB"))?;
        self.entries += 1;
        let header = header(self.entries, mode, size, name.len() + 1);
        self.put(header.as_bytes())?;
        self.put(name)?;
        self.put(&[0])?;
        self.pad_to(4)?;
        self.put(contents)?;
        self.pad_to(4)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.length += bytes.len();
        self.out
            .write_all(bytes)
            .context("an archive cannot be written")
    }

    fn pad_to(&mut self, unit: usize) -> Result<()> {
        let missing = self.length.next_multiple_of(unit) - self.length;
        self.put(&vec![0; missing])
    }
}

/// Names in an archive have no leading slash.
fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// The magic number and 13 fields: inode, mode, owner, group, links, time, size, the numbers of
/// two devices, the length of the name with its zero, and a check sum that this format leaves 0.
fn header(inode: u32, mode: u32, size: u32, name_length: usize) -> String {
    let header = format!(
        "070701{inode:08x}{mode:08x}{zero:08x}{zero:08x}{links:08x}{zero:08x}{size:08x}\
         {zero:08x}{zero:08x}{zero:08x}{zero:08x}{name_length:08x}{zero:08x}",
        zero = 0,
        links = 1,
    );
    debug_assert_eq!(header.len(), HEADER_LENGTH);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an entry holds: its name, mode and contents.
    type Entry = (String, u32, Vec<u8>);

    fn number(bytes: &[u8], field: usize) -> u32 {
        let text = std::str::from_utf8(&bytes[6 + field * 8..14 + field * 8]).expect("digits");
        u32::from_str_radix(text, 16).expect("hexadecimal")
    }

    /// Reads an archive by the format's own rules.
    fn read(archive: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut at = 0;
        loop {
            let header = &archive[at..at + HEADER_LENGTH];
            assert_eq!(&header[..6], b"070701");
            let (mode, size) = (number(header, 1), number(header, 6) as usize);
            let name_end = at + HEADER_LENGTH + number(header, 11) as usize;
            let name = &archive[at + HEADER_LENGTH..name_end];
            assert_eq!(name.last(), Some(&0));
            let name = String::from_utf8(name[..name.len() - 1].to_vec()).expect("UTF-8");
            let start = name_end.next_multiple_of(4);
            if name == "TRAILER!!!" {
                assert!(archive[start..].iter().all(|byte| *byte == 0));
                return entries;
            }
            entries.push((name, mode, archive[start..start + size].to_vec()));
            at = (start + size).next_multiple_of(4);
        }
    }

    fn written(write: impl FnOnce(&mut Archive<Vec<u8>>) -> Result<()>) -> Vec<u8> {
        let mut archive = Archive::new(Vec::new());
        write(&mut archive).expect("writable");
        archive.finish().expect("writable")
    }

    #[test]
    fn entries_of_every_length_are_read_back() {
        for length in 0..9 {
            let name = "n".repeat(length + 1);
            let contents = vec![7; length];
            let bytes = written(|archive| archive.file(Path::new(&name), 0o640, &contents));
            assert_eq!(read(&bytes), [(name, FILE | 0o640, contents)]);
            assert_eq!(bytes.len() % BLOCK, 0);
        }
    }

    #[test]
    fn folders_stand_once_and_before_what_is_in_them() {
        let bytes = written(|archive| {
            archive.folder(Path::new("/tmp"), 0o1777)?;
            archive.file(Path::new("/a/b/c"), 0o755, b"x")?;
            archive.link(Path::new("/a/b/d"), Path::new("c"))?;
            archive.file(Path::new("/tmp/e"), 0o600, b"")
        });
        let found = read(&bytes);
        let found: Vec<_> = found.iter().map(|(n, m, _)| (n.as_str(), *m)).collect();
        let expected = [
            ("tmp", FOLDER | 0o1777),
            ("a", FOLDER | 0o755),
            ("a/b", FOLDER | 0o755),
            ("a/b/c", FILE | 0o755),
            ("a/b/d", LINK | 0o777),
            ("tmp/e", FILE | 0o600),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn folders_of_an_earlier_archive_are_left_alone() {
        let bytes = written(|archive| {
            archive.know_folder(Path::new("/tmp"));
            archive.file(Path::new("/tmp/a/b"), 0o600, b"")
        });
        let names: Vec<_> = read(&bytes).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["tmp/a", "tmp/a/b"]);
    }

    #[test]
    fn a_name_that_the_kernel_would_skip_is_refused() {
        let mut archive = Archive::new(Vec::new());
        let name = "n".repeat(LONGEST_NAME);
        assert!(archive.file(Path::new(&name), 0o600, b"").is_err());
        assert!(archive.file(Path::new("/"), 0o600, b"").is_err());
    }
}
