//! The harness itself, tried on stand-ins for Husk: an honest one that runs the program natively,
//! and dishonest ones that must be found out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// `husk run`, as far as the harness uses it, by running the program on the host. `$FLAW` is
/// put before the program starts.
const HONEST: &str = r#"#!/bin/bash
[ "$1" = run ] || exit 125
shift
while :; do
    case "$1" in
        --workdir) cd "$2"; shift 2 ;;
        --env) export "$2"; shift 2 ;;
        --volume|--engine|--memory|--root) shift 2 ;;
        --stats=*) echo '{"time": {"first_instruction_us": 1}}' > "${1#*=}"; shift ;;
        -*) echo "husk: $1: unknown (see husk run --help)" >&2; exit 125 ;;
        *) break ;;
    esac
done
FLAW
# What whoever runs the tests ignores is no affair of the program.
exec env --default-signal=INT,TERM "$@"
"#;

struct FakeHusk {
    _folder: TempDir,
    path: PathBuf,
}

impl FakeHusk {
    fn with_flaw(flaw: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("husk");
        fs::write(&path, HONEST.replace("FLAW", flaw)).expect("the script is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it may run");
        Self {
            _folder: folder,
            path,
        }
    }

    /// Runs the harness on the checks of these names; returns its output and whether all passed.
    fn judged(&self, filters: &[&str]) -> (String, bool) {
        judge(&self.path, filters)
    }
}

fn judge(husk: &Path, filters: &[&str]) -> (String, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
    command.arg("--husk").arg(husk);
    for filter in filters {
        command.args(["--filter", filter]);
    }
    let output = command.output().expect("the harness starts");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (said.into_owned(), output.status.success())
}

#[test]
fn an_honest_husk_passes() {
    let names = [
        "coreutils/tac",
        "coreutils/cp-sparse",
        "coreutils/printenv",
        "c/hello/pie",
        "c/start/",
    ];
    let (said, passed) = FakeHusk::with_flaw("").judged(&names);
    assert!(passed, "{said}");
    assert!(
        said.ends_with("conformance: 8 passed, 0 failed, 0 skipped\n"),
        "{said}"
    );
}

#[test]
fn an_ended_program_keeps_its_status() {
    let (said, passed) = FakeHusk::with_flaw("").judged(&["c/end-"]);
    assert!(passed, "{said}");
}

#[test]
fn other_output_is_found() {
    let (said, passed) = FakeHusk::with_flaw("echo more").judged(&["coreutils/tac"]);
    assert!(!passed);
    assert!(
        said.contains("FAIL  coreutils/tac: stdout differs in line 1, byte 0"),
        "{said}"
    );
    assert!(
        said.ends_with("conformance: 0 passed, 1 failed, 0 skipped\n"),
        "{said}"
    );
}

#[test]
fn another_status_is_found() {
    let (said, passed) = FakeHusk::with_flaw("\"$@\"; exit 9").judged(&["coreutils/tac"]);
    assert!(!passed);
    assert!(said.contains("status: native 0, husk 9"), "{said}");
}

#[test]
fn a_file_left_behind_is_found() {
    let (said, passed) = FakeHusk::with_flaw("touch left").judged(&["coreutils/tac"]);
    assert!(!passed);
    assert!(said.contains("file left: native has nothing"), "{said}");
}

#[test]
fn standard_error_counts_where_it_is_marked() {
    let husk = FakeHusk::with_flaw("echo noise >&2");
    assert!(husk.judged(&["coreutils/tac"]).1);
    let (said, passed) = husk.judged(&["coreutils/cat-missing"]);
    assert!(!passed);
    assert!(said.contains("stderr differs"), "{said}");
}

#[test]
fn a_bad_input_that_is_not_explained_is_found() {
    let (said, passed) = FakeHusk::with_flaw("").judged(&["bad/missing-path", "bad/option"]);
    assert!(!passed);
    assert!(
        said.contains("FAIL  bad/missing-path: no `husk: what: why (remedy)`"),
        "{said}"
    );
    assert!(said.contains("ok    bad/option"), "{said}");
}

#[test]
fn a_leak_to_the_host_is_found() {
    let (said, passed) = FakeHusk::with_flaw("").judged(&["scenario/root-is-not-written"]);
    assert!(!passed);
    assert!(said.contains("the host has the file"), "{said}");
}

#[test]
fn signals_and_kills_are_tried() {
    let names = [
        "scenario/sigterm",
        "scenario/sigint",
        "scenario/neighbour",
        "killed-monitor",
    ];
    let (said, passed) = FakeHusk::with_flaw("").judged(&names);
    assert!(passed, "{said}");
}

#[test]
fn a_missing_husk_is_named() {
    let (said, passed) = judge(Path::new("/no/such/husk"), &["coreutils/tac"]);
    assert!(!passed);
    assert!(said.contains("no /no/such/husk"), "{said}");
}

#[test]
fn a_record_takes_the_native_run_s_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let record = folder.path().join("record");
    let names = [
        "coreutils/pwd",
        "coreutils/tac",
        "c/hello/pie",
        "c/end-exit-7/pie",
    ];
    let conformance = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
        command.args(arguments).arg(&record);
        names.iter().for_each(|name| {
            command.args(["--filter", name]);
        });
        let output = command.output().expect("the harness starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = conformance(&["--record"]);
    assert!(
        said.ends_with("conformance: 4 native runs recorded\n"),
        "{said}"
    );
    let honest = FakeHusk::with_flaw("");
    let husk = honest.path.to_str().expect("UTF-8");
    let said = conformance(&["--husk", husk, "--against"]);
    assert!(said.ends_with("4 passed, 0 failed, 0 skipped\n"), "{said}");
    assert_eq!(said.matches("(recorded ").count(), 4, "{said}");
    // What is not in the record is run natively, as is what the record does not settle.
    let runs = record.join("runs");
    fs::remove_dir_all(runs.join("coreutils-tac")).expect("recorded");
    fs::write(runs.join("c-hello-pie/stdout"), "another kernel").expect("recorded");
    let said = conformance(&["--husk", husk, "--against"]);
    assert!(said.ends_with("4 passed, 0 failed, 0 skipped\n"), "{said}");
    assert_eq!(said.matches("(native ").count(), 2, "{said}");
    let flawed = FakeHusk::with_flaw("echo more");
    let husk = flawed.path.to_str().expect("UTF-8");
    let said = conformance(&["--husk", husk, "--against"]);
    assert!(said.contains("FAIL  c/hello/pie: stdout differs"), "{said}");
}

#[test]
fn what_is_left_out_is_counted() {
    let honest = FakeHusk::with_flaw("");
    let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
    command.arg("--husk").arg(&honest.path);
    command.args([
        "--filter",
        "coreutils/tac",
        "--filter",
        "coreutils/printenv",
    ]);
    let output = command.args(["--leave-out", "/tac"]).output();
    let said = output.expect("the harness starts").stdout;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("skip  coreutils/tac: left out"), "{said}");
    assert!(said.ends_with("1 passed, 0 failed, 1 skipped\n"), "{said}");
}
