//! Programs that look at files or change them.

use crate::case::{Case, in_package};
use crate::content::Content::{Noise, Text, Words};

const TREE: &str = "mkdir -p a/b/c d; echo one > a/one; echo three > a/b/c/three; ln -s ../a d/link; \
    ln a/one d/hard; chmod 600 a/one; chmod 711 a/b; : > d/empty; touch -d @0 a/one; touch -hd @0 d/link";

pub(super) fn cases() -> Vec<Case> {
    [listing(), changing(), refusing(), find()]
        .into_iter()
        .flatten()
        .collect()
}

fn listing() -> Vec<Case> {
    in_package(
        "coreutils",
        [
            Case::new("ls", &["ls", "-lAR", "--time-style=full-iso", "."]).prepare(TREE),
            Case::new("ls-usr", &["ls", "-l", "/usr/include/linux"]).status_only(),
            Case::new("ls-many", &["ls", "-1U", "/usr/share/doc"]).status_only(),
            Case::new("ls-sorted", &["ls", "-lS", "--time-style=+%s", "/usr/bin"]),
            Case::new(
                "stat",
                &[
                    "stat",
                    "-c",
                    "%n %s %f %h %U %G %a %Y %F",
                    "a",
                    "a/one",
                    "d/link",
                ],
            )
            .prepare(TREE),
            Case::new(
                "stat-root",
                &[
                    "stat",
                    "-c",
                    "%n %s %f %h %u %g %Y",
                    "/etc/passwd",
                    "/usr/bin",
                ],
            ),
            Case::new("du", &["du", "-ab", "a"]).prepare(TREE),
            Case::new("readlink", &["readlink", "-f", "d/link/b/c/../c/three"]).prepare(TREE),
            Case::new("realpath", &["realpath", "--relative-to=a", "d/link/one"]).prepare(TREE),
            Case::new("pwd", &["pwd", "-P"]).status_only(),
            Case::new("id", &["id"]),
            Case::new("whoami", &["whoami"]),
            Case::new("uname", &["uname", "-s", "-m"]),
            Case::new("tty", &["tty"]).fails(),
        ],
    )
}

fn changing() -> Vec<Case> {
    in_package(
        "coreutils",
        [
            Case::new("cp", &["cp", "-a", "a", "d", "copy"])
                .prepare("mkdir -p a/b d copy; echo 1 > a/b/f; ln -s f a/b/l"),
            Case::new("cp-sparse", &["cp", "--sparse=always", "in", "out"])
                .prepare("truncate -s 5M in; echo end >> in"),
            Case::new("mv", &["mv", "-v", "a", "e"]).prepare(TREE),
            Case::new("rm", &["rm", "-rv", "a"]).prepare("mkdir -p a/b; : > a/b/c"),
            Case::new("mkdir", &["mkdir", "-p", "-m", "750", "x/y/z"]),
            Case::new("rmdir", &["rmdir", "-p", "x/y"]).prepare("mkdir -p x/y"),
            Case::new("ln", &["ln", "-sfn", "target", "link"]).prepare("ln -s old link"),
            Case::new("link", &["ln", "in", "second"]).file("in", Text("x")),
            Case::new("touch", &["touch", "-d", "2020-02-02 02:02:02", "made"]),
            Case::new("chmod", &["chmod", "-Rv", "u=rwX,g=r,o=", "a"])
                .prepare("mkdir a; echo > a/f; chmod 700 a"),
            Case::new("truncate", &["truncate", "-s", "%4096", "in"]).file("in", Noise(5000)),
            Case::new("install", &["install", "-D", "-m", "711", "in", "x/y/out"])
                .file("in", Noise(99)),
            Case::new("mktemp", &["mktemp", "-p", ".", "x.XXXXXX"]).status_only(),
            Case::new("mkfifo", &["mkfifo", "-m", "600", "pipe"]),
            Case::new("sync", &["sync", "in"]).file("in", Noise(9000)),
            Case::new(
                "shred",
                &["shred", "-n1", "-z", "--random-source=seed", "in"],
            )
            .file("in", Words(100))
            .file("seed", Noise(90_000)),
        ],
    )
}

fn refusing() -> Vec<Case> {
    in_package(
        "coreutils",
        [
            Case::new("rmdir-full", &["rmdir", "a"])
                .prepare("mkdir -p a/b")
                .fails()
                .with_stderr(),
            Case::new("mkdir-twice", &["mkdir", "a"])
                .prepare("mkdir a")
                .fails()
                .with_stderr(),
            Case::new("rm-missing", &["rm", "none"])
                .fails()
                .with_stderr(),
            Case::new("mv-into-itself", &["mv", "a", "a/b"])
                .prepare("mkdir -p a/b")
                .fails()
                .with_stderr(),
            Case::new("ln-exists", &["ln", "in", "in"])
                .file("in", Text(""))
                .fails()
                .with_stderr(),
            Case::new("cat-loop", &["cat", "loop"])
                .prepare("ln -s loop loop")
                .fails()
                .with_stderr(),
            Case::new("ls-not-a-folder", &["ls", "in/x"])
                .file("in", Text(""))
                .fails()
                .with_stderr(),
            Case::new("chmod-missing", &["chmod", "7", "none"])
                .fails()
                .with_stderr(),
        ],
    )
}

fn find() -> Vec<Case> {
    in_package(
        "findutils",
        [
            Case::new("kinds", &["find", ".", "-printf", "%y %m %s %P -> %l\\n"])
                .prepare("mkdir a; echo 1 > a/b; ln -s b a/c; chmod 700 a"),
            Case::new(
                "names",
                &[
                    "find",
                    "/usr/share/perl5",
                    "-name",
                    "*.pm",
                    "-newermt",
                    "1990-01-01",
                ],
            )
            .status_only(),
            Case::new(
                "deep",
                &["find", "-L", "x", "-type", "f", "-size", "+1c", "-print0"],
            )
            .prepare("mkdir -p x/1/2/3/4/5/6/7/8; echo abc > x/1/2/3/4/5/6/7/8/f"),
            Case::new("delete", &["find", "a", "-depth", "-empty", "-delete"])
                .prepare("mkdir -p a/b/c a/d; echo 1 > a/d/e"),
        ],
    )
}
