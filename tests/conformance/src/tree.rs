//! What a folder holds, in a form that can be compared.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;

/// Path below the folder, and a line that describes what is there.
pub(crate) type Tree = BTreeMap<String, String>;

/// Reads the whole folder.
pub(crate) fn read(folder: &Path) -> Result<Tree> {
    let mut tree = Tree::new();
    collect(folder, folder, &mut tree)?;
    Ok(tree)
}

/// The first difference, in words.
pub(crate) fn difference(native: &Tree, machine: &Tree) -> Option<String> {
    let mut names: Vec<&String> = native.keys().chain(machine.keys()).collect();
    names.sort();
    let name = names
        .into_iter()
        .find(|name| native.get(*name) != machine.get(*name))?;
    let side = |tree: &Tree| {
        tree.get(name)
            .cloned()
            .unwrap_or_else(|| "nothing".to_string())
    };
    Some(format!(
        "file {name}: native has {}, husk has {}",
        side(native),
        side(machine)
    ))
}

fn collect(root: &Path, folder: &Path, tree: &mut Tree) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let kind = fs::symlink_metadata(&path)?.file_type();
        let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
        tree.insert(name, describe(&path)?);
        if kind.is_dir() {
            collect(root, &path, tree)?;
        }
    }
    Ok(())
}

fn describe(path: &Path) -> Result<String> {
    let metadata = fs::symlink_metadata(path)?;
    let mode = metadata.permissions().mode() & 0o7777;
    let kind = metadata.file_type();
    Ok(if kind.is_symlink() {
        format!("a link to {}", fs::read_link(path)?.display())
    } else if kind.is_dir() {
        format!("a folder, mode {mode:o}")
    } else if kind.is_file() {
        format!(
            "{} bytes, mode {mode:o}, digest {:016x}",
            metadata.len(),
            digest(path)?
        )
    } else {
        format!("a special file, mode {mode:o}")
    })
}

fn digest(path: &Path) -> Result<u64> {
    let mut file = File::open(path)?;
    let mut hasher = DefaultHasher::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        // Digests must not depend on how the reads fall: hash whole buffers only.
        let length = read_fully(&mut file, &mut buffer)?;
        hasher.write(&buffer[..length]);
        if length < buffer.len() {
            return Ok(hasher.finish());
        }
    }
}

fn read_fully(file: &mut File, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            length => filled += length,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_a_new_and_a_missing_file_are_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a");
        fs::write(&file, "one").expect("written");
        let before = read(folder.path()).expect("read");
        assert_eq!(difference(&before, &before), None);
        fs::write(&file, "two").expect("written");
        let changed = read(folder.path()).expect("read");
        assert!(difference(&before, &changed).is_some_and(|text| text.starts_with("file a:")));
        fs::remove_file(&file).expect("removed");
        let gone = read(folder.path()).expect("read");
        assert!(difference(&before, &gone).is_some_and(|text| text.ends_with("husk has nothing")));
        assert!(difference(&gone, &before).is_some_and(|text| text.contains("native has nothing")));
    }
}
