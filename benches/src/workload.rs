//! The table of workloads.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use vocabulary::find_program;

use crate::c;
use crate::options::Group;
use crate::peer::Bench;
use crate::place::MEMORY;
use crate::row::{Missing, Promise};

/// What is run and whose clock counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A C program of ours that prints `time_ns N`, with its arguments.
    Own(&'static [&'static str]),
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

/// One line of the report. In the words of a command line, `{folder}` is the benchmark's folder,
/// `{programs}` that of its sources and `{kept}` that of what comes from npm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) group: Group,
    pub(crate) kind: Kind,
    /// What `husk run` is told besides.
    pub(crate) husk: &'static [&'static str],
    pub(crate) promise: Option<Promise>,
    /// How often it is measured at least: a start takes milliseconds, of which a busy host can double
    /// any few.
    pub(crate) runs_min: usize,
    /// What must be made before.
    prepare: fn(&Bench) -> Result<()>,
}

impl Workload {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            group: Group::Plain,
            kind,
            husk: &[],
            promise: None,
            runs_min: if matches!(kind, Kind::OwnWhole(_)) {
                60
            } else {
                1
            },
            prepare: |_| Ok(()),
        }
    }

    /// A hand-over between two threads.
    const fn hand_over(name: &'static str, words: &'static [&'static str], most: f64) -> Self {
        Self {
            group: Group::HandOver,
            promise: Some(Promise::RatioAtMost(most)),
            ..Self::new(name, Kind::Own(words))
        }
    }

    /// A language's program.
    const fn runtime(name: &'static str, kind: Kind) -> Self {
        Self {
            group: Group::Runtimes,
            husk: &["--memory", MEMORY],
            ..Self::new(name, kind)
        }
    }

    /// A program in Java, from `programs`.
    const fn java(name: &'static str, kind: Kind, prepare: fn(&Bench) -> Result<()>) -> Self {
        Self {
            prepare,
            ..Self::runtime(name, kind)
        }
    }

    const fn promising(mut self, promise: Promise) -> Self {
        self.promise = Some(promise);
        self
    }

    /// The command line, when all that it needs is made; [`Missing`] when its program is not to be
    /// had.
    pub(crate) fn argv(&self, bench: &Bench) -> Result<Vec<OsString>> {
        match self.kind {
            Kind::Own(words) => {
                let program = c::build(bench.folder.path(), words[0])?.into_os_string();
                Ok(with(program, &words[1..]))
            }
            Kind::OwnWhole(name) => Ok(vec![c::build(bench.folder.path(), name)?.into()]),
            Kind::Host(words) | Kind::HostWhole(words) | Kind::Stream(words) => {
                let words: Vec<String> = words.iter().map(|word| bench.fill(word)).collect();
                let program = found(&words[0])?.into_os_string();
                (self.prepare)(bench)?;
                Ok(with(program, &words[1..]))
            }
        }
    }
}

fn with(program: OsString, rest: &[impl AsRef<str>]) -> Vec<OsString> {
    let rest = rest.iter().map(|word| word.as_ref().into());
    [program].into_iter().chain(rest).collect()
}

/// Where a program of the host lies.
///
/// # Errors
/// [`Missing`], with the Debian package that has it.
pub(crate) fn found(program: &str) -> Result<PathBuf> {
    let missing = || {
        let name = Path::new(program).file_name().unwrap_or_default();
        let remedy = match &*name.to_string_lossy() {
            "esbuild" => "`cargo run --release -p servers -- --filter esbuild` fetches it".into(),
            name => format!("install the Debian package {}", package(name)),
        };
        Missing(format!("{program} is missing: {remedy}"))
    };
    Ok(find_program(program).ok_or_else(missing)?)
}

/// The Debian package that has a program.
fn package(program: &str) -> &str {
    match program {
        "cat" => "coreutils",
        "cc" => "gcc",
        "java" => "openjdk-17-jre-headless",
        "javac" => "openjdk-17-jdk-headless",
        "nginx" => "nginx-light",
        "node" => "nodejs",
        other => other,
    }
}

/// Compiles a program in Java.
///
/// # Errors
/// [`Missing`] when there is no compiler.
pub(crate) fn compile_java(bench: &Bench, name: &str) -> Result<()> {
    let compiler = found("javac")?;
    let source = c::programs().join(format!("{name}.java"));
    let mut command = Command::new(compiler);
    command.arg("-d").arg(bench.folder.path()).arg(source);
    let output = command.output().context("javac does not start")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{name}.java does not compile: {complaint}"
    );
    Ok(())
}

/// Modules of one program, each of which uses two others.
const MODULES: usize = 3000;

/// Something to bundle.
fn make_modules(bench: &Bench) -> Result<()> {
    let folder = bench.folder.path().join("modules");
    fs::create_dir_all(&folder)?;
    for number in 0..MODULES {
        fs::write(folder.join(format!("{number}.js")), module(number))?;
    }
    Ok(())
}

fn module(number: usize) -> String {
    let used = [2 * number + 1, 2 * number + 2].map(|used| (used < MODULES).then_some(used));
    let used: Vec<usize> = used.into_iter().flatten().collect();
    let imports = used
        .iter()
        .map(|used| format!("import {{ value as of{used} }} from './{used}.js';\n"));
    let sum: String = used.iter().map(|used| format!(" + of{used}")).collect();
    let methods = (0..20).map(|method| {
        format!(
            "  method{method}(first, second) {{ \
             return first > second ? `${{first}}:{number}` : [...second, {method}]; }}\n"
        )
    });
    let (imports, methods): (String, String) = (imports.collect(), methods.collect());
    format!(
        "{imports}export class Module{number} {{\n{methods}}}\n\
         export const value = {number}{sum};\nconsole.log(new Module{number}(), value);\n"
    )
}

const DICTIONARY: &str = "import time; t = time.perf_counter_ns(); \
    d = {i: str(i) for i in range(1000000)}; print('time_ns', time.perf_counter_ns() - t)";

/// Every workload, in the order of the report.
pub(crate) fn all() -> Vec<Workload> {
    [plain(), hand_overs(), runtimes()].concat()
}

fn plain() -> Vec<Workload> {
    const OWN: [(&str, &[&str]); 13] = [
        ("integer", &["integer"]),
        ("sha256", &["sha256"]),
        ("floating", &["floating"]),
        ("sse2", &["sse2"]),
        ("avx2", &["avx2"]),
        ("chase", &["chase"]),
        ("indirect", &["indirect"]),
        ("calls", &["calls"]),
        ("memcpy", &["memcpy"]),
        ("getppid", &["getppid"]),
        ("pread", &["pread"]),
        ("faults", &["faults"]),
        ("small_faults", &["small_faults"]),
    ];
    let own = OWN.map(|(name, words)| Workload::new(name, Kind::Own(words)));
    let host = [
        Workload::new("python-dict", Kind::Host(&["python3", "-c", DICTIONARY])),
        Workload::new("cat-gigabyte", Kind::Stream(&["cat"])),
        Workload::new("python-pass", Kind::HostWhole(&["python3", "-c", "pass"])),
        Workload::new("hello", Kind::OwnWhole("hello")),
    ];
    own.into_iter().chain(host).collect()
}

/// Each twice: as the host's scheduler places the two threads, and both on one processor.
fn hand_overs() -> Vec<Workload> {
    vec![
        Workload::hand_over("tcp-ping-pong", &["handover_tcp"], 0.5),
        Workload::hand_over("tcp-ping-pong-1", &["handover_tcp", "one"], 0.5),
        Workload::hand_over("futex-ping-pong", &["handover_futex"], 0.5),
        Workload::hand_over("futex-ping-pong-1", &["handover_futex", "one"], 0.5),
        Workload::hand_over("pipe-ping-pong", &["handover_pipe"], 0.5),
        Workload::hand_over("pipe-ping-pong-1", &["handover_pipe", "one"], 0.5),
    ]
}

/// Of code that is compiled while it runs, and of an interpreter.
const COMPUTE: Promise = Promise::RatioAtMost(1.03);

/// On as many virtual CPUs as a small host has.
const TWO: &[&str] = &["--memory", MEMORY, "--cpus", "2"];

fn runtimes() -> Vec<Workload> {
    const GARBAGE: &[&str] = &[
        "java",
        "-XX:+UseSerialGC",
        "-Xmx384m",
        "-cp",
        "{folder}",
        "Garbage",
    ];
    const GARBAGE_BY_TWO: &[&str] = &[
        "java",
        "-XX:+UseG1GC",
        "-Xmx384m",
        "-cp",
        "{folder}",
        "Garbage",
    ];
    const BUNDLE: &[&str] = &[
        "{kept}/esbuild/bin/esbuild",
        "--bundle",
        "--log-level=warning",
        "--outfile={folder}/bundle.js",
        "{folder}/modules/0.js",
    ];
    let garbage = |bench: &Bench| compile_java(bench, "Garbage");
    vec![
        // Java compiles beside what it runs: with as many processors as it has natively.
        Workload {
            husk: TWO,
            runs_min: 20,
            ..Workload::java(
                "java-hello",
                Kind::HostWhole(&["java", "-cp", "{folder}", "Hello"]),
                |bench| compile_java(bench, "Hello"),
            )
        }
        .promising(Promise::RatioAtMost(1.6)),
        Workload {
            husk: TWO,
            ..Workload::java(
                "java-compute",
                Kind::Host(&["java", "-cp", "{folder}", "Compute"]),
                |bench| compile_java(bench, "Compute"),
            )
        }
        .promising(COMPUTE),
        Workload::java("java-garbage", Kind::Host(GARBAGE), garbage),
        Workload {
            husk: TWO,
            ..Workload::java("java-garbage-2", Kind::Host(GARBAGE_BY_TWO), garbage)
        },
        Workload::runtime(
            "node-compute",
            Kind::Host(&["node", "{programs}/compute.js"]),
        )
        .promising(COMPUTE),
        Workload::runtime(
            "python-compute",
            Kind::Host(&["python3", "{programs}/compute.py"]),
        )
        .promising(COMPUTE),
        Workload {
            prepare: make_modules,
            ..Workload::runtime("esbuild-bundle", Kind::HostWhole(BUNDLE))
        },
        Workload {
            prepare: make_modules,
            husk: TWO,
            ..Workload::runtime("esbuild-bundle-2", Kind::HostWhole(BUNDLE))
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_program_of_ours_is_there() {
        for work in all() {
            if let Kind::Own(&[name, ..]) | Kind::OwnWhole(name) = work.kind {
                assert!(c::programs().join(format!("{name}.c")).exists(), "{name}.c");
            }
        }
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = all().iter().map(|work| work.name).collect();
        assert_eq!(names.len(), all().len());
    }

    #[test]
    fn modules_use_only_those_that_are_there() {
        assert!(module(0).starts_with("import { value as of1 } from './1.js';\n"));
        assert!(module(0).contains("value = 0 + of1 + of2;"));
        assert!(!module(MODULES - 1).contains("import"));
    }

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let error = found("/no/such/nginx").expect_err("it is not there");
        assert!(error.is::<Missing>());
        assert!(error.to_string().ends_with("nginx-light"), "{error}");
    }
}
