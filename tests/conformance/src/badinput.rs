//! Wrong inputs: each has its exit status, and a sentence that names the thing and the remedy.
//!
//! These run under Husk only. Each is a shell script that works in an empty scratch folder and
//! calls `husk`, a function for `husk run` with the chosen engine.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::check::Outcome;
use crate::harness::Harness;
use crate::process::{self, Run};
use crate::scratch::Scratch;

/// Something wrong, and the answer to it.
#[derive(Debug)]
pub(crate) struct BadInput {
    pub(crate) name: &'static str,
    script: &'static str,
    /// Any of these.
    statuses: &'static [i32],
    /// Standard error holds each of these, in whatever case; `a|b` is either.
    says: &'static [&'static str],
    speaks: Speaks,
    /// A C program that the script finds as `$PROGRAM`.
    program: &'static str,
}

/// Who speaks on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    /// Husk does: `husk: what: why (remedy)`.
    Husk,
    /// The program does, or nobody.
    Program,
}

const TIMEOUT: Duration = Duration::from_secs(60);

const PRELUDE: &str = "set -u; \
    husk() { exec \"$HUSK\" run ${ENGINE:+--engine \"$ENGINE\"} \"$@\"; }; ";

impl BadInput {
    const fn program(mut self, program: &'static str) -> Self {
        self.program = program;
        self
    }

    /// Runs the script and judges the answer.
    pub(crate) fn run(&self, harness: &Harness) -> Result<Outcome> {
        let scratch = Scratch::empty(harness.fresh_path(), harness.user.as_ref())?;
        let mut command = harness.command("/bin/bash");
        command.arg("-c").arg(format!("{PRELUDE}{}", self.script));
        command
            .env("HUSK", &harness.husk)
            .env("ENGINE", harness.engine());
        command.current_dir(scratch.path());
        if let Some(program) = self.build(harness)? {
            command.env("PROGRAM", program);
        }
        let run = process::run(&mut command, None, harness.stretched(TIMEOUT))?;
        Ok(match self.complaint(&run) {
            None => Outcome::Passed(format!("{:.1?}", run.elapsed)),
            Some(complaint) => Outcome::Failed(complaint),
        })
    }

    /// Builds the C program, if there is one.
    pub(crate) fn build(&self, harness: &Harness) -> Result<Option<PathBuf>> {
        let build = |program| {
            let user = harness.user.as_ref();
            harness.compiler.build(program, &["-static"], user)
        };
        let program = Some(self.program).filter(|program| !program.is_empty());
        program.map(build).transpose()
    }

    fn complaint(&self, run: &Run) -> Option<String> {
        let said = String::from_utf8_lossy(&run.stderr);
        let shown = said.trim().escape_debug();
        if run.timed_out {
            return Some(format!(
                "no end after {:.0?}; it says: {shown}",
                run.elapsed
            ));
        }
        if !self.statuses.contains(&run.status) {
            let (found, wanted) = (run.status, self.statuses);
            return Some(format!(
                "status {found}, not one of {wanted:?}; it says: {shown}"
            ));
        }
        if self.speaks == Speaks::Husk && !said.lines().any(is_sentence) {
            return Some(format!("no `husk: what: why (remedy)` in: {shown}"));
        }
        let lower = said.to_lowercase();
        let lacks = |wanted: &&&str| !wanted.split('|').any(|word| lower.contains(word));
        self.says
            .iter()
            .find(lacks)
            .map(|wanted| format!("no \"{wanted}\" in: {shown}"))
    }
}

/// Whether a line has the form `husk: what: why (remedy)`.
fn is_sentence(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("husk: ") else {
        return false;
    };
    rest.contains(": ") && rest.contains(" (") && rest.trim_end().ends_with(')')
}

const fn wrong(
    name: &'static str,
    script: &'static str,
    statuses: &'static [i32],
    says: &'static [&'static str],
) -> BadInput {
    BadInput {
        name,
        script,
        statuses,
        says,
        speaks: Speaks::Husk,
        program: "",
    }
}

const fn lived(
    name: &'static str,
    script: &'static str,
    statuses: &'static [i32],
    says: &'static [&'static str],
) -> BadInput {
    BadInput {
        name,
        script,
        statuses,
        says,
        speaks: Speaks::Program,
        program: "",
    }
}

/// The whole table.
pub(crate) fn all() -> Vec<BadInput> {
    [
        programs(),
        elf_files(),
        memory(),
        options(),
        streams(),
        hosts(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn programs() -> Vec<BadInput> {
    vec![
        wrong(
            "bad/missing-path",
            "husk ./no-such-program",
            &[127],
            &["no-such-program"],
        ),
        wrong(
            "bad/missing-name",
            "husk no-such-program",
            &[127],
            &["no-such-program"],
        ),
        wrong(
            "bad/missing-folder",
            "husk ./no/such/folder/program",
            &[127],
            &["no/such/folder"],
        ),
        wrong(
            "bad/no-permission",
            "cp /bin/true plain; chmod 644 plain; husk ./plain",
            &[126],
            &["plain", "permission|executable"],
        ),
        wrong(
            "bad/directory",
            "mkdir folder; husk ./folder",
            &[126],
            &["folder", "directory|must be a file"],
        ),
        wrong(
            "bad/missing-interpreter",
            "printf '#!/no/such/interpreter\\n' > script; chmod +x script; husk ./script",
            &[127],
            &["/no/such/interpreter"],
        ),
        wrong(
            "bad/missing-loader",
            "sed 's/ld-linux-x86-64.so.2/ld-linux-x86-64.so.9/' /bin/true > odd; chmod +x odd; \
             husk ./odd",
            &[127],
            &["ld-linux-x86-64.so.9"],
        ),
        lived(
            "bad/missing-library",
            "sed 's/libc.so.6/libc.so.9/' /bin/true > odd; chmod +x odd; husk $PWD/odd",
            &[127],
            &["libc.so.9"],
        ),
        wrong(
            "bad/link-loop",
            "ln -s loop loop; husk ./loop",
            &[126, 127],
            &["loop"],
        ),
        wrong(
            "bad/pipe",
            "mkfifo pipe; chmod +x pipe; husk ./pipe",
            &[126],
            &["pipe"],
        ),
        wrong("bad/device", "husk /dev/null", &[126], &["/dev/null"]),
    ]
}

fn elf_files() -> Vec<BadInput> {
    vec![
        wrong(
            "bad/text-file",
            "echo hello > notes; chmod +x notes; husk ./notes",
            &[126],
            &["notes", "elf|format|script"],
        ),
        wrong(
            "bad/empty-file",
            "touch empty; chmod +x empty; husk ./empty",
            &[126],
            &["empty"],
        ),
        wrong(
            "bad/32-bit",
            "{ printf '\\177ELF\\1\\1\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\2\\0\\3\\0\\1\\0\\0\\0'; \
             head -c 4096 /dev/zero; } > odd; chmod +x odd; husk ./odd",
            &[126],
            &["odd", "32-bit|32 bit|i386"],
        ),
        wrong(
            "bad/arm",
            "{ printf '\\177ELF\\2\\1\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\2\\0\\267\\0\\1\\0\\0\\0'; \
             head -c 4096 /dev/zero; } > odd; chmod +x odd; husk ./odd",
            &[126],
            &["odd", "arm|aarch64"],
        ),
        wrong(
            "bad/truncated-header",
            "head -c 40 /bin/true > odd; chmod +x odd; husk ./odd",
            &[126],
            &["odd"],
        ),
        wrong(
            "bad/truncated-segments",
            "head -c 5000 /bin/ls > odd; chmod +x odd; husk ./odd",
            &[126],
            &["odd"],
        ),
        wrong(
            "bad/object-file",
            "echo .globl f | as -o odd -; chmod +x odd; husk ./odd",
            &[126],
            &["odd"],
        ),
    ]
}

fn memory() -> Vec<BadInput> {
    vec![
        wrong(
            "bad/memory-too-small",
            "husk --memory 1M /bin/true",
            &[125],
            &["memory"],
        ),
        wrong(
            "bad/memory-zero",
            "husk --memory 0 /bin/true",
            &[125],
            &["memory"],
        ),
        wrong(
            "bad/memory-beyond-host",
            "husk --memory 900000G /bin/true",
            &[125],
            &["memory"],
        ),
        wrong(
            "bad/memory-no-number",
            "husk --memory much /bin/true",
            &[125],
            &["much"],
        ),
        wrong(
            "bad/memory-overflow",
            "husk --memory 99999999999999999999G /bin/true",
            &[125],
            &[],
        ),
        wrong(
            "bad/out-of-memory",
            "husk --memory 128M \"$PROGRAM\"",
            &[137],
            &["out of memory", "128"],
        )
        .program("eat_memory"),
    ]
}

fn options() -> Vec<BadInput> {
    vec![
        wrong(
            "bad/volume-missing",
            "husk --volume $PWD/no-such-folder:/data /bin/true",
            &[125],
            &["no-such-folder"],
        ),
        wrong(
            "bad/volume-form",
            "husk --volume nonsense /bin/true",
            &[125],
            &["nonsense"],
        ),
        wrong(
            "bad/volume-relative",
            "husk --volume $PWD:data /bin/true",
            &[125],
            &["data"],
        ),
        wrong(
            "bad/volume-mode",
            "husk --volume $PWD:/data:rx /bin/true",
            &[125],
            &["rx"],
        ),
        wrong(
            "bad/root-missing",
            "husk --root $PWD/no-root /bin/true",
            &[125],
            &["no-root"],
        ),
        wrong(
            "bad/file-size-limit",
            "unshare -Ur sh -c 'ulimit -f 1000; exec \"$HUSK\" run /bin/true'",
            &[125],
            &["limit of the file size", "ulimit"],
        ),
        wrong(
            "bad/workdir-missing",
            "husk --workdir /no/such /bin/pwd",
            &[125],
            &["/no/such"],
        ),
        wrong(
            "bad/env-form",
            "husk --env =value /bin/true",
            &[125],
            &["=value"],
        ),
        wrong(
            "bad/engine",
            "ENGINE=; husk --engine steam /bin/true",
            &[125],
            &["steam", "paravirt"],
        ),
        wrong("bad/no-program", "husk", &[125], &["program"]),
        wrong(
            "bad/option",
            "husk --no-such-option /bin/true",
            &[125],
            &["--no-such-option"],
        ),
        wrong("bad/verb", "exec \"$HUSK\" juggle", &[125], &["juggle"]),
    ]
}

fn streams() -> Vec<BadInput> {
    vec![
        lived(
            "bad/stdin-closed",
            "husk /bin/cat <&-",
            &[1],
            &["bad file descriptor"],
        ),
        lived(
            "bad/stdout-closed",
            "husk /bin/echo text >&-",
            &[1],
            &["bad file descriptor"],
        ),
        // The first file that the program opens gets the number of the one that was closed.
        lived(
            "bad/stdin-and-stdout-closed",
            "husk /usr/bin/python3 -c 'import os; os.write(2, b\"number %d\" % os.open(\"/\", 0))' <&- >&-",
            &[0],
            &["number 0"],
        ),
        lived("bad/all-closed", "husk /bin/true <&- >&- 2>&-", &[0], &[]),
        // As under `nohup`: what whoever started husk ignores, the program ignores.
        lived(
            "bad/signals-ignored",
            "trap '' HUP TERM; husk /usr/bin/python3 -c 'import os, signal as s; os.kill(1, s.SIGTERM); \
             os.write(2, b\"%d %d %d\" % tuple(s.getsignal(n) == s.SIG_IGN for n in (1, 15, 12)))'",
            &[0],
            &["1 1 0"],
        ),
        lived(
            "bad/stdout-full",
            "husk /bin/echo text > /dev/full",
            &[1],
            &["no space left"],
        ),
        lived(
            "bad/stdout-gone",
            "husk /usr/bin/yes | head -n 1 > /dev/null; exit ${PIPESTATUS[0]}",
            &[141],
            &[],
        ),
        lived(
            "bad/stderr-full",
            "husk ./no-such-program 2> /dev/full",
            &[127],
            &[],
        ),
        lived(
            "bad/stdin-folder",
            "husk /bin/cat < /",
            &[1],
            &["is a directory"],
        ),
    ]
}

fn hosts() -> Vec<BadInput> {
    vec![
        lived(
            "bad/unknown-call",
            "husk \"$PROGRAM\"",
            &[9],
            &["perf_event_open"],
        )
        .program("odd_call"),
        // The paravirt engine's affair: a machine of KVM's needs none.
        lived(
            "bad/no-user-namespaces",
            "unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv \
             --bounding-set=-all --inh-caps=-all sh -c \"$HUSK run --engine paravirt /bin/true && $HUSK engines >&2\"'",
            &[0],
            &["husk: isolation: this host refuses: user", "missing user"],
        ),
        // Who may mount but not make a namespace for users keeps their root.
        lived(
            "bad/no-user-namespaces-but-privilege",
            "unshare -Urm sh -c 'echo 0 > /proc/sys/user/max_user_namespaces; \
             $HUSK run --engine paravirt /bin/true && ls /bin/true'",
            &[0],
            &["husk: isolation: this host refuses: user"],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: i32, stderr: &str) -> Run {
        let (stdout, stderr) = (Vec::new(), stderr.into());
        Run {
            status,
            stdout,
            stderr,
            elapsed: Duration::ZERO,
            timed_out: false,
        }
    }

    #[test]
    fn a_good_answer_passes_and_each_flaw_is_found() {
        let bad = wrong("bad/x", "", &[126], &["thing", "arm|aarch64"]);
        let good = "husk: thing: built for AArch64 (build it for x86-64)";
        assert_eq!(bad.complaint(&answer(126, good)), None);
        for (status, stderr) in [
            (125, good),
            (126, "husk: thing: built for AArch64"),
            (126, "thing: built for AArch64 (build it for x86-64)"),
            (126, "husk: thing: unknown (build it for x86-64)"),
            (126, ""),
        ] {
            assert!(
                bad.complaint(&answer(status, stderr)).is_some(),
                "{status} {stderr}"
            );
        }
    }

    #[test]
    fn a_program_may_speak_for_itself() {
        let bad = lived("bad/x", "", &[1], &["no space"]);
        assert_eq!(bad.complaint(&answer(1, "echo: No space left")), None);
        assert!(bad.complaint(&answer(0, "echo: No space left")).is_some());
    }
}
