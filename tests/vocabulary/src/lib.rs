//! What the tests and the benchmarks say about the host: its programs and its processes.
//!
//! No part of the product; knows nothing of Husk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where programs of the host are looked for, whatever the caller's `PATH` is.
pub const PROGRAM_FOLDERS: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// A program of the host by name or, when it holds a slash, by path.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    PROGRAM_FOLDERS
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
}

/// A process and all its descendants, the deepest last.
///
/// # Errors
///
/// When `/proc` cannot be listed. A process that ends meanwhile is left out.
pub fn family(ancestor: u32) -> io::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(id) = entry?.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else {
            continue;
        };
        parents.push((id, parent_in(&stat)));
    }
    let mut family = vec![ancestor];
    let mut at = 0;
    while let Some(&older) = family.get(at) {
        family.extend(
            parents
                .iter()
                .filter(|(_, p)| *p == Some(older))
                .map(|(id, _)| *id),
        );
        at += 1;
    }
    Ok(family)
}

/// The parent's id in a line of `/proc/ID/stat`, whose second field may hold anything.
fn parent_in(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_parent_is_found_behind_odd_names() {
        assert_eq!(parent_in("12 (a) b) S 7 12 12"), Some(7));
        assert_eq!(parent_in("12"), None);
    }

    #[test]
    fn own_children_are_found() {
        let mut child = Command::new("/bin/sleep")
            .arg("30")
            .spawn()
            .expect("sleep starts");
        let family = family(std::process::id()).expect("/proc can be read");
        assert_eq!(family[0], std::process::id());
        assert!(family.contains(&child.id()));
        child.kill().expect("it runs");
        child.wait().expect("it ended");
    }

    #[test]
    fn programs_are_found_by_name_and_by_path() {
        assert!(find_program("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(find_program("/bin/sh"), Some(PathBuf::from("/bin/sh")));
        assert_eq!(find_program("no-such-program"), None);
    }
}
