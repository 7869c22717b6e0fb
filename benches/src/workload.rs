//! The table of workloads.

use std::ffi::OsString;

use anyhow::{Context, Result};
use vocabulary::find_program;

use crate::c;
use crate::peer::Bench;

/// What is run and whose clock counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A C program of ours that prints `time_ns N`.
    Own(&'static str),
    /// The same, by a program of the host.
    Host(&'static [&'static str]),
    /// A C program of ours, from its start to its exit.
    OwnWhole(&'static str),
    /// A program of the host, from its start to its exit.
    HostWhole(&'static [&'static str]),
    /// A program of the host that copies a gigabyte from pipe to pipe, from the first byte of its
    /// output to the last.
    Stream(&'static [&'static str]),
}

/// One line of the report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

impl Workload {
    /// The command line; an error when its program is not to be had.
    pub(crate) fn argv(&self, bench: &Bench) -> Result<Vec<OsString>> {
        match self.kind {
            Kind::Own(name) | Kind::OwnWhole(name) => {
                Ok(vec![c::build(bench.folder.path(), name)?.into_os_string()])
            }
            Kind::Host(argv) | Kind::HostWhole(argv) | Kind::Stream(argv) => {
                let missing = || format!("{} is not installed", argv[0]);
                let program = find_program(argv[0]).with_context(missing)?;
                let rest = argv[1..].iter().map(OsString::from);
                Ok([program.into_os_string()].into_iter().chain(rest).collect())
            }
        }
    }
}

const DICTIONARY: &str = "import time; t = time.perf_counter_ns(); \
    d = {i: str(i) for i in range(1000000)}; print('time_ns', time.perf_counter_ns() - t)";

/// Every workload, in the order of the report.
pub(crate) fn all() -> Vec<Workload> {
    let own = [
        "integer",
        "sha256",
        "floating",
        "sse2",
        "avx2",
        "chase",
        "indirect",
        "calls",
        "memcpy",
        "getppid",
        "pread",
        "faults",
        "small_faults",
    ];
    let work = |name, kind| Workload { name, kind };
    let mut all: Vec<Workload> = own
        .into_iter()
        .map(|name| work(name, Kind::Own(name)))
        .collect();
    all.extend([
        work("python-dict", Kind::Host(&["python3", "-c", DICTIONARY])),
        work("cat-gigabyte", Kind::Stream(&["cat"])),
        work("python-pass", Kind::HostWhole(&["python3", "-c", "pass"])),
        work("hello", Kind::OwnWhole("hello")),
    ]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_of_ours_is_there() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("programs");
        for work in all() {
            if let Kind::Own(name) | Kind::OwnWhole(name) = work.kind {
                assert!(folder.join(format!("{name}.c")).exists(), "{name}.c");
            }
        }
    }
}
