//! GNU coreutils over text.

use crate::case::{Case, in_package};
use crate::content::Content::{Mixed, Noise, Numbers, Text, Words};

pub(super) fn cases() -> Vec<Case> {
    [whole(), sorting(), columns(), counting(), cutting()]
        .into_iter()
        .flatten()
        .collect()
}

fn whole() -> Vec<Case> {
    in_package(
        "coreutils",
        [
            Case::new("cat", &["cat", "a", "b"])
                .file("a", Words(100))
                .file("b", Noise(5000)),
            Case::new("cat-stdin", &["cat"]).stdin(Noise(3_000_000)),
            Case::new("cat-marks", &["cat", "-A", "-n"]).stdin(Text("a\tb\n\n\u{e9}\x01")),
            Case::new("cat-missing", &["cat", "none"])
                .fails()
                .with_stderr(),
            Case::new("cat-folder", &["cat", "/"]).fails().with_stderr(),
            Case::new("tac", &["tac", "in"]).file("in", Words(20_000)),
            Case::new("head-lines", &["head", "-n", "7", "in"]).file("in", Words(1000)),
            Case::new("head-but-last", &["head", "-c", "-100"]).stdin(Mixed(100_000)),
            Case::new("tail", &["tail", "-n", "50", "in"]).file("in", Words(100_000)),
            Case::new("tail-pipe", &["tail", "-c", "+90000"]).stdin(Mixed(100_000)),
            Case::new("tee", &["tee", "copy", "second"]).stdin(Words(500)),
            Case::new("split", &["split", "-l", "300", "in", "part-"]).file("in", Words(2000)),
            Case::new("csplit", &["csplit", "-z", "in", "/ring/", "{*}"]).file("in", Words(40)),
            Case::new(
                "dd",
                &[
                    "dd",
                    "if=in",
                    "of=out",
                    "bs=512",
                    "skip=3",
                    "seek=5",
                    "status=none",
                ],
            )
            .file("in", Noise(9000)),
            Case::new("dd-swab", &["dd", "conv=swab,ucase", "status=none"]).stdin(Mixed(5000)),
            Case::new("yes-closed", &["yes", "--help"]),
        ],
    )
}

fn sorting() -> Vec<Case> {
    in_package(
        "coreutils",
        [
            Case::new("sort", &["sort", "--parallel=1", "in"]).file("in", Words(50_000)),
            Case::new("sort-numbers", &["sort", "--parallel=1", "-n", "-u", "-r"])
                .stdin(Numbers(50_000)),
            Case::new(
                "sort-keys",
                &["sort", "--parallel=1", "-s", "-k2,2", "-k4,4n", "in"],
            )
            .file("in", Words(20_000)),
            Case::new(
                "sort-spills",
                &["sort", "--parallel=1", "-S", "1M", "-T", ".", "in"],
            )
            .file("in", Words(200_000)),
            Case::new("sort-check", &["sort", "-c", "in"])
                .file("in", Text("b\na\n"))
                .fails(),
            Case::new(
                "sort-10-million",
                &["sort", "--parallel=1", "-o", "out", "in"],
            )
            .file("in", Numbers(10_000_000))
            .slow(),
            Case::new("uniq", &["uniq", "-c", "-d"]).stdin(Text("a\na\nb\nc\nc\nc\n")),
            Case::new("comm", &["comm", "a", "b"])
                .file("a", Text("1\n2\n4\n"))
                .file("b", Text("2\n3\n4\n")),
            Case::new("join", &["join", "-a1", "-o", "0,1.2,2.2", "a", "b"])
                .file("a", Text("1 x\n2 y\n3 z\n"))
                .file("b", Text("1 q\n3 r\n")),
            Case::new("shuf", &["shuf", "--random-source=seed", "in"])
                .file("in", Words(3000))
                .file("seed", Noise(40_000)),
            Case::new("tsort", &["tsort"]).stdin(Text("a b\nb c\na c\nd a\n")),
            Case::new("ptx", &["ptx", "in"]).file("in", Words(50)),
        ],
    )
}

fn columns() -> Vec<Case> {
    in_package(
        "coreutils",
        [
            Case::new("cut-fields", &["cut", "-d", " ", "-f", "2,4", "in"]).file("in", Words(3000)),
            Case::new("cut-bytes", &["cut", "-b", "3-7,9"]).stdin(Words(3000)),
            Case::new("tr", &["tr", "a-z", "A-Z"]).stdin(Mixed(300_000)),
            Case::new("tr-squeeze", &["tr", "-cs", "a-z", "\\n"]).stdin(Words(1000)),
            Case::new("paste", &["paste", "-d", ":,", "a", "b", "a"])
                .file("a", Words(100))
                .file("b", Numbers(120)),
            Case::new("nl", &["nl", "-ba", "-w3", "in"]).file("in", Text("a\n\nb\n")),
            Case::new("fold", &["fold", "-s", "-w", "17", "in"]).file("in", Words(500)),
            Case::new("fmt", &["fmt", "-w", "50", "in"]).file("in", Words(500)),
            Case::new("pr", &["pr", "-3", "-t", "-l", "20", "in"]).file("in", Numbers(90)),
            Case::new("expand", &["expand", "-t", "3"]).stdin(Text("a\tb\n\tc\n")),
            Case::new("unexpand", &["unexpand", "-a"]).stdin(Text("a       b\n        c\n")),
        ],
    )
}

fn counting() -> Vec<Case> {
    in_package(
        "coreutils",
        [
            Case::new("wc", &["wc", "a", "b"])
                .file("a", Words(5000))
                .file("b", Mixed(12_345)),
            Case::new("wc-big", &["wc", "-l"]).stdin(Mixed(20_000_000)),
            Case::new("md5sum", &["md5sum", "a"]).file("a", Noise(1_000_000)),
            Case::new("sha1sum", &["sha1sum", "a"]).file("a", Noise(1_000_000)),
            Case::new("sha256sum", &["sha256sum"]).stdin(Noise(10_000_000)),
            Case::new("sha512sum", &["sha512sum", "--tag", "a"]).file("a", Noise(1_000_000)),
            Case::new("b2sum", &["b2sum", "a"]).file("a", Noise(1_000_000)),
            Case::new("cksum", &["cksum", "a"]).file("a", Noise(1_000_000)),
            Case::new("sum", &["sum", "-s", "a"]).file("a", Noise(1_000_000)),
            Case::new("sha256sum-check", &["sha256sum", "-c", "list"])
                .prepare("echo text > a; echo other > b; sha256sum a b > list; echo more >> b")
                .fails(),
            Case::new(
                "factor",
                &[
                    "factor",
                    "18446744073709551557",
                    "360360",
                    "1000000016000000063",
                ],
            ),
            Case::new("factor-many", &["factor"]).stdin(Numbers(3000)),
            Case::new("seq", &["seq", "-f", "%07.2f", "1", "0.25", "3000"]),
            Case::new(
                "numfmt",
                &[
                    "numfmt",
                    "--to=iec",
                    "1",
                    "2048",
                    "123456789",
                    "99999999999",
                ],
            ),
        ],
    )
}

fn cutting() -> Vec<Case> {
    in_package(
        "coreutils",
        [
            Case::new("base64", &["base64", "in"]).file("in", Noise(10_000)),
            Case::new("base64-back", &["base64", "-d", "in"])
                .prepare("head -c 5000 /usr/bin/env | base64 > in"),
            Case::new("base32", &["base32"]).stdin(Noise(1000)),
            Case::new("od", &["od", "-A", "x", "-t", "x1z", "in"]).file("in", Noise(5000)),
            Case::new("od-floats", &["od", "-t", "fD"]).stdin(Noise(800)),
            Case::new("echo", &["echo", "-e", "a\\tb\\x41\\c"]),
            Case::new(
                "printf",
                &[
                    "printf",
                    "%s|%5d|%-6.2f|%x|%q\\n",
                    "a",
                    "42",
                    "2.5",
                    "255",
                    "x y",
                ],
            ),
            Case::new("expr", &["expr", "6", "*", "7"]),
            Case::new("expr-match", &["expr", "abcdef", ":", "a\\(.*\\)e"]),
            Case::new("test-true", &["test", "-d", "/", "-a", "1", "-lt", "2"]),
            Case::new("test-false", &["test", "-e", "none"]).fails(),
            Case::new("false", &["false"]).fails(),
            Case::new("basename", &["basename", "-s", ".c", "/a/b.c", "d.c"]),
            Case::new("printenv", &["printenv", "ODD"]).env("ODD", "a b=c\u{e9}"),
            Case::new(
                "date",
                &["date", "-u", "-d", "@1234567890", "+%F %T %a %j %U"],
            ),
            Case::new("date-zone", &["date", "-d", "@1234567890"]).env("TZ", "Asia/Tokyo"),
            Case::new("sleep", &["sleep", "0.05"]),
        ],
    )
}
