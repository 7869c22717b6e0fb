//! Programs over text from other packages.

use crate::case::{Case, in_package};
use crate::content::Content::{Numbers, Text, Words};

const PEOPLE: &str = "[{\"name\":\"Ada\",\"age\":36,\"tags\":[\"x\",\"y\"]},\
    {\"name\":\"Bob\",\"age\":7.5,\"tags\":[]},{\"name\":\"\\u00c9va\",\"age\":null,\"tags\":[\"y\"]}]";

pub(super) fn cases() -> Vec<Case> {
    [grep(), sed(), awk(), jq(), diff(), m4(), columns()]
        .into_iter()
        .flatten()
        .collect()
}

fn grep() -> Vec<Case> {
    in_package(
        "grep",
        [
            Case::new("fixed", &["grep", "-c", "ring", "in"]).file("in", Words(50_000)),
            Case::new("extended", &["grep", "-nE", "^(page|ring) .*(1|2)+$", "in"])
                .file("in", Words(5000)),
            Case::new(
                "perl",
                &["grep", "-oP", "(?<=husk )\\w+(?= \\w+ \\d)", "in"],
            )
            .file("in", Words(5000)),
            Case::new("back-reference", &["grep", "-E", "(.)\\1.*(.)\\2", "in"])
                .file("in", Words(2000)),
            Case::new("none", &["grep", "nothing like this", "in"])
                .file("in", Words(10))
                .fails(),
            Case::new("tree", &["grep", "-rlc", "word", "."])
                .prepare("mkdir -p a/b; echo word > a/b/c; echo other > a/d; echo word > e"),
        ],
    )
}

fn sed() -> Vec<Case> {
    in_package(
        "sed",
        [
            Case::new(
                "replace",
                &["sed", "-E", "s/([a-z]+) ([a-z]+)/\\2-\\U\\1/g", "in"],
            )
            .file("in", Words(3000)),
            Case::new("hold", &["sed", "-n", "1!G;h;$p", "in"]).file("in", Words(200)),
            Case::new("in-place", &["sed", "-i.bak", "/page/d", "in"]).file("in", Words(500)),
        ],
    )
}

fn awk() -> Vec<Case> {
    let mut cases = in_package(
        "gawk",
        [
            Case::new(
                "sums",
                &[
                    "gawk",
                    "{s[$1]+=$4} END {n=asorti(s,k); for(i=1;i<=n;i++) print k[i],s[k[i]]}",
                    "in",
                ],
            )
            .file("in", Words(20_000)),
            Case::new(
                "floats",
                &[
                    "gawk",
                    "BEGIN {for(i=0;i<50;i++) printf \"%.15g %.3e\\n\", sin(i)*exp(i), sqrt(i)}",
                ],
            ),
            Case::new(
                "strings",
                &[
                    "gawk",
                    "{print length($0), toupper(substr($2,2)), gensub(/(.)a/,\"<\\\\1>\",\"g\")}",
                ],
            )
            .stdin(Words(1000)),
            Case::new(
                "time",
                &["gawk", "BEGIN {print strftime(\"%c\", 86400*365, 1)}"],
            ),
        ],
    );
    cases.extend(in_package(
        "mawk",
        [Case::new(
            "count",
            &["mawk", "{n[$2]++} END {print n[\"ring\"]+0, NR, NF}", "in"],
        )
        .file("in", Words(20_000))],
    ));
    cases
}

fn jq() -> Vec<Case> {
    in_package(
        "jq",
        [
            Case::new("pretty", &["jq", "-S", "."]).stdin(Text(PEOPLE)),
            Case::new("query", &["jq", "-c", "map(select(.age != null)) | group_by(.tags|length) | .[] | {n: length, names: map(.name)}"])
                .stdin(Text(PEOPLE)),
            Case::new("regex", &["jq", "-r", ".[] | .name | test(\"^\\\\w{3}$\")"]).stdin(Text(PEOPLE)),
            Case::new("numbers", &["jq", "-s", "add, length, (map(. % 7) | unique)", "in"])
                .file("in", Numbers(5000)),
            Case::new("broken", &["jq", "."]).stdin(Text("{\"a\": ")).fails().with_stderr(),
        ],
    )
}

fn diff() -> Vec<Case> {
    let mut cases = in_package(
        "diffutils",
        [
            Case::new(
                "unified",
                &["diff", "-u", "--label", "a", "--label", "b", "a", "b"],
            )
            .file("a", Words(500))
            .prepare("sed '10d;20s/.*/changed/' a > b")
            .fails(),
            Case::new("folders", &["diff", "-r", "x", "y"])
                .prepare("mkdir x y; echo 1 > x/a; echo 2 > y/a; echo 3 > y/b")
                .fails(),
            Case::new("cmp", &["cmp", "-l", "a", "b"])
                .file("a", Words(50))
                .prepare("tr r s < a > b")
                .fails(),
            Case::new("diff3", &["diff3", "--version"]),
        ],
    );
    cases.extend(in_package(
        "patch",
        [Case::new("apply", &["patch", "-p0", "-i", "change"])
            .file("a", Words(300))
            .prepare("sed '5d;200a new' a > b; diff -u --label a --label a a b > change || test $? = 1; rm b")],
    ));
    cases
}

fn m4() -> Vec<Case> {
    in_package(
        "m4",
        [
            Case::new("recursion", &["m4"]).stdin(Text(
                "define(`f',`ifelse($1,0,1,`eval($1*f(decr($1)))')')f(10)\nlen(translit(`abc',`b'))\n",
            )),
            Case::new("diversions", &["m4", "-DX=7"])
                .stdin(Text("divert(2)two X\ndivert(1)one\ndivert`'zero\n")),
        ],
    )
}

fn columns() -> Vec<Case> {
    let mut cases = in_package(
        "bsdextrautils",
        [
            Case::new("column", &["column", "-t", "-s", " ", "in"]).file("in", Words(100)),
            Case::new("hexdump", &["hexdump", "-C", "in"]).file("in", Words(100)),
            Case::new("look", &["look", "ri", "in"]).file("in", Text("page\nrice\nring\n")),
        ],
    );
    cases.extend(in_package(
        "ncal",
        [Case::new("cal", &["cal", "9", "1752"])],
    ));
    cases.extend(in_package(
        "util-linux",
        [
            Case::new("rev", &["rev"]).stdin(Words(1000)),
            Case::new(
                "getopt",
                &[
                    "getopt", "-o", "ab:", "-l", "long:", "--", "-a", "-bx", "--long=q", "r",
                ],
            ),
        ],
    ));
    cases
}
