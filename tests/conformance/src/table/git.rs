//! Git's read-only commands that run in one process, over a repository that is made on the spot.

use crate::case::{Case, in_package};

const REPOSITORY: &str = "
    export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=C
    export GIT_COMMITTER_EMAIL=c@example.org GIT_CONFIG_GLOBAL=/dev/null
    git init -q -b main .
    i=0
    while [ $i -lt 12 ]; do
        export GIT_AUTHOR_DATE=\"$((1000000000 + i)) +0000\" GIT_COMMITTER_DATE=\"$((1000000000 + i)) +0000\"
        mkdir -p d$((i % 3)); seq $i $((i + 40)) > d$((i % 3))/f$i; echo line $i >> log
        git add -A; git commit -q -m \"commit $i\"; i=$((i + 1))
    done
    git tag -a -m tag v1 HEAD~3; git branch side HEAD~5; git repack -q -a -d; echo changed >> log
";

pub(super) fn cases() -> Vec<Case> {
    in_package(
        "git",
        [
            git("log", &["log", "--stat", "--date=iso"]),
            git("log-patch", &["log", "-p", "--reverse", "--", "log"]),
            git(
                "log-graph",
                &["log", "--graph", "--oneline", "--all", "--decorate"],
            ),
            git("fsck", &["fsck", "--full", "--no-progress"]),
            git("cat-file", &["cat-file", "-p", "HEAD~4^{tree}"]),
            git(
                "cat-file-batch",
                &["cat-file", "--batch-check", "--batch-all-objects"],
            ),
            git("rev-list", &["rev-list", "--objects", "--all"]),
            git("diff", &["diff"]).ignore_files(),
            git("diff-commits", &["diff", "--stat", "v1", "HEAD"]),
            git("blame", &["blame", "-s", "v1", "--", "log"]),
            git("ls-files", &["ls-files", "-s"]),
            git("ls-tree", &["ls-tree", "-r", "-l", "HEAD"]),
            git("show", &["show", "v1"]),
            git("grep", &["grep", "--threads=1", "-n", "37", "HEAD"]),
            git("status", &["status", "--porcelain=v2", "--branch"]).ignore_files(),
            git("hash-object", &["hash-object", "-w", "log"]),
            git("archive", &["archive", "--format=tar", "HEAD"]),
            git("describe", &["describe", "--long", "HEAD"]),
            git("verify-pack", &["count-objects", "-v"]).status_only(),
            git("init", &["init", "-q", "new"]).ignore_files(),
            git("no-revision", &["rev-parse", "none"])
                .fails()
                .with_stderr(),
        ],
    )
}

fn git(name: &str, arguments: &[&str]) -> Case {
    // Without the last two, `fsck` has other git processes look at files that are not there.
    const COMMON: [&str; 8] = [
        "git",
        "--no-pager",
        "-c",
        "safe.directory=*",
        "-c",
        "core.commitGraph=false",
        "-c",
        "core.multiPackIndex=false",
    ];
    // The index and new objects carry times and inode numbers of the run.
    Case::new(name, &[&COMMON, arguments].concat())
        .prepare(REPOSITORY)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .ignore_files()
}
