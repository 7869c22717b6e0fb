//! The table: command lines over programs of Debian packages, and C programs of our own.
//!
//! A program in it does not fork (`conformance --audit` looks).

mod archives;
mod binary;
mod busybox;
mod c_programs;
mod closed;
mod crypto;
mod files;
mod git;
mod languages;
mod python;
mod text;
mod text_more;
mod threaded;
mod toolchain;

use crate::case::Case;

/// Every case, family by family.
pub(crate) fn all() -> Vec<Case> {
    let families = [
        text::cases,
        text_more::cases,
        binary::cases,
        files::cases,
        archives::cases,
        languages::cases,
        python::cases,
        crypto::cases,
        git::cases,
        toolchain::cases,
        busybox::cases,
        closed::cases,
        threaded::cases,
        c_programs::cases,
    ];
    families.into_iter().flat_map(|family| family()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::case::Program;

    #[test]
    fn the_table_is_as_large_as_promised() {
        let cases = all();
        let programs: BTreeSet<String> = cases
            .iter()
            .filter_map(|case| match &case.program {
                Program::Host(name) => Some(name.clone()),
                Program::C { .. } => None,
            })
            .collect();
        let lines = cases
            .iter()
            .filter(|case| matches!(case.program, Program::Host(_)))
            .count();
        assert!(lines >= 90, "{lines} command lines");
        assert!(programs.len() >= 28, "{} programs", programs.len());
    }

    #[test]
    fn names_are_unique() {
        let cases = all();
        let mut seen = BTreeSet::new();
        for case in cases {
            // As the name of a folder, too.
            let name = case.name.replace('/', "-");
            assert!(seen.insert(name), "{} stands twice", case.name);
        }
    }

    #[test]
    fn every_program_of_ours_is_there() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("programs");
        for case in all() {
            if let Program::C { name, .. } = case.program {
                assert!(folder.join(format!("{name}.c")).exists(), "{name}.c");
            }
        }
    }
}
