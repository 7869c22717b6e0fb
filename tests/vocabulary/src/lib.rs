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

/// Processor time of a process and its descendants, and of their children that have ended, in
/// ticks of 10 ms.
///
/// # Errors
///
/// When one of them cannot be read, as when it ends meanwhile.
pub fn ticks(ancestor: u32) -> io::Result<u64> {
    family(ancestor)?.into_iter().map(ticks_of_one).sum()
}

fn ticks_of_one(id: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    ticks_in(&stat).ok_or_else(|| io::Error::other(format!("the line of process {id} is another")))
}

/// The sum of utime, stime, cutime and cstime: the 14th to 17th field, of which two are gone behind
/// the name.
fn ticks_in(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Option<Vec<u64>> = rest
        .split_whitespace()
        .skip(11)
        .take(4)
        .map(|field| field.parse().ok())
        .collect();
    fields
        .filter(|fields| fields.len() == 4)
        .map(|fields| fields.iter().sum())
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
    fn processor_time_is_read_behind_odd_names() {
        let line = "12 (a) b) S 7 12 12 0 -1 0 0 0 0 0 100 20 3 4 20 0";
        assert_eq!(ticks_in(line), Some(127));
        assert_eq!(ticks_in("12 (a) S 7"), None);
    }

    #[test]
    fn our_own_time_grows() {
        let id = std::process::id();
        let before = ticks_of_one(id).expect("it runs");
        let started = std::time::Instant::now();
        while started.elapsed() < std::time::Duration::from_millis(100) {
            std::hint::black_box(0);
        }
        assert!(ticks_of_one(id).expect("it runs") > before);
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
