//! A test kernel whose cases show what a privileged x86-64 processor does.
//!
//! The image runs on any machine with a serial port and prints a line per case: how it ended, what
//! became of registers, and words of memory. `expected` has the lines of a processor as the manuals
//! describe it. See docs/privileged.md.
//!
//! * `families`: the cases, a file per family. `case`: what a case is.
//! * `runtime`: the test kernel. `layout`, `tables`, `task`, `descriptor`: what lies in its memory.
//! * `record`: a case as the test kernel reads it. `image`, `elf`, `disk`: the files.
//! * `compare`: how lines differ. `deviations`: what is known to differ, and why.
#![forbid(unsafe_code)]

mod case;
mod compare;
mod descriptor;
mod deviations;
mod disk;
mod elf;
mod families;
mod image;
mod layout;
mod record;
mod runtime;
mod tables;
mod task;

pub use compare::{Difference, Lines, differences};
pub use deviations::{Deviations, bochs, qemu};

use std::collections::BTreeMap;

use case::Case;

/// What the test kernel prints before the first case.
pub const START: &str = "privileged: start";
/// What it prints after the last one.
pub const END: &str = "privileged: end";

/// The image with all cases as an ELF file with a PVH note.
///
/// # Panics
/// When the test kernel cannot be assembled, which the tests of this crate exclude.
#[must_use]
pub fn image() -> Vec<u8> {
    Cases::all().elf()
}

/// The lines that a processor as the manuals describe it prints, without the start and the end.
#[must_use]
pub fn expected() -> &'static str {
    include_str!("../expected.txt")
}

/// The same by the cases' names.
#[must_use]
pub fn expected_lines() -> BTreeMap<&'static str, &'static str> {
    let lines = expected().lines();
    lines
        .filter_map(|line| Some((line.split(' ').next()?, line)))
        .collect()
}

/// Cases that are to be in an image.
#[derive(Clone, Debug)]
pub struct Cases(Vec<Case>);

impl Cases {
    /// All there are.
    #[must_use]
    pub fn all() -> Self {
        Self(families::all())
    }

    /// Those of them whose names `wanted` accepts.
    #[must_use]
    pub fn only(mut self, wanted: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|case| wanted(&case.name));
        self
    }

    /// Those of them after the one of this name.
    #[must_use]
    pub fn after(mut self, name: &str) -> Self {
        let end = self.0.iter().position(|case| case.name == name);
        self.0.drain(..end.map_or(0, |index| index + 1));
        self
    }

    /// The same in the opposite order.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.0.reverse();
        self
    }

    /// Their names, in the order in which they run.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|case| case.name.as_str())
    }

    /// The image as an ELF file with a PVH note.
    ///
    /// # Panics
    /// When the test kernel cannot be assembled.
    #[must_use]
    pub fn elf(&self) -> Vec<u8> {
        elf::file(&self.raw())
    }

    /// The image as a disk that a BIOS starts.
    ///
    /// # Panics
    /// When the test kernel cannot be assembled.
    #[must_use]
    pub fn disk(&self) -> Vec<u8> {
        disk::file(&self.raw()).expect("the boot sector can be assembled")
    }

    fn raw(&self) -> Vec<u8> {
        image::build(&self.0).expect("the test kernel can be assembled")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_have_no_space() {
        let cases = Cases::all();
        let names: BTreeSet<&str> = cases.names().collect();
        let mut seen = BTreeSet::new();
        let twice: Vec<&str> = cases.names().filter(|name| !seen.insert(*name)).collect();
        assert!(twice.is_empty(), "{twice:?}");
        assert!(names.iter().all(|name| !name.contains([' ', '='])));
    }

    #[test]
    fn the_files_can_be_made() {
        assert!(!image().is_empty());
        assert!(!Cases::all().disk().is_empty());
    }

    #[test]
    fn every_case_has_an_expected_line_in_its_place() {
        let cases = Cases::all();
        let lines = expected().lines().map(|line| line.split(' ').next());
        assert!(lines.eq(cases.names().map(Some)));
    }

    #[test]
    fn deviations_name_existing_cases() {
        let cases = Cases::all();
        let names: BTreeSet<&str> = cases.names().collect();
        for deviations in [bochs(), qemu()] {
            let unknown: Vec<&str> = deviations
                .names()
                .filter(|name| !names.contains(name))
                .collect();
            assert!(unknown.is_empty(), "{unknown:?}");
        }
    }

    #[test]
    fn the_rest_after_a_case_starts_with_the_next_one() {
        let cases = Cases::all();
        let names: Vec<&str> = cases.names().take(2).collect();
        let rest = cases.clone().after(names[0]);
        assert_eq!(rest.names().next(), Some(names[1]));
    }
}
