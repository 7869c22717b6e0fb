//! Applets of the statically linked busybox.

use crate::case::{Case, in_package};
use crate::content::Content::{Mixed, Noise, Numbers, Text, Words};

pub(super) fn cases() -> Vec<Case> {
    [text(), files(), others()].into_iter().flatten().collect()
}

fn applet(name: &str, arguments: &[&str]) -> Case {
    Case::new(name, &[&["/bin/busybox"], arguments].concat())
}

fn text() -> Vec<Case> {
    in_package(
        "busybox-static",
        [
            applet("cat", &["cat", "in"]).file("in", Noise(500_000)),
            applet("sort", &["sort", "-n"]).stdin(Numbers(20_000)),
            applet("grep", &["grep", "-c", "ring"]).stdin(Words(20_000)),
            applet("sed", &["sed", "s/ring/RING/2"]).stdin(Words(2000)),
            applet("awk", &["awk", "{s+=$4} END {print s, s/NR, int(s/7)}"]).stdin(Words(2000)),
            applet("wc", &["wc", "in"]).file("in", Words(3000)),
            applet("tr", &["tr", "-d", "aeiou"]).stdin(Words(2000)),
            applet("uniq", &["uniq", "-c"]).stdin(Text("a\na\nb\n")),
            applet("hexdump", &["hexdump", "-C", "in"]).file("in", Noise(999)),
            applet("diff", &["diff", "a", "b"])
                .file("a", Text("1\n2\n"))
                .file("b", Text("1\n3\n"))
                .fails(),
            applet("bc", &["bc"]).stdin(Text("2^200\n")),
            applet("printf", &["printf", "%05d %s\\n", "42", "x"]),
        ],
    )
}

fn files() -> Vec<Case> {
    in_package(
        "busybox-static",
        [
            applet("ls", &["ls", "-lAn", "--full-time"])
                .prepare("mkdir a; echo 1 > b; ln -s b c; touch -hd @0 c; touch -d @0 a b"),
            applet("find", &["find", ".", "-type", "f", "-size", "+3k"]).file("in", Noise(9999)),
            applet("cp", &["cp", "-a", "a", "e"])
                .prepare("mkdir -p a/b; echo 1 > a/b/c; ln -s c a/b/d"),
            applet("mv", &["mv", "in", "out"]).file("in", Noise(10)),
            applet("rm", &["rm", "-rf", "a"]).prepare("mkdir -p a/b; echo 1 > a/b/c"),
            applet("stat", &["stat", "-c", "%a %s %F", "in"]).file("in", Noise(10)),
            applet("du", &["du", "-b", "in"])
                .file("in", Noise(1000))
                .status_only(),
            applet("dd", &["dd", "if=in", "bs=100", "count=7"]).file("in", Noise(1000)),
            applet("tar", &["tar", "-tf", "in.tar"])
                .file("in", Noise(1000))
                .prepare("tar -cf in.tar in"),
            applet("gunzip", &["gunzip", "-c", "in.gz"])
                .file("in", Mixed(90_000))
                .prepare("gzip -n in"),
            applet("touch", &["touch", "-d", "2001-02-03 04:05:06", "x"]),
        ],
    )
}

fn others() -> Vec<Case> {
    in_package(
        "busybox-static",
        [
            applet("echo", &["echo", "hello", "world"]),
            applet("true", &["true"]),
            applet("false", &["false"]).fails(),
            applet("sha256sum", &["sha256sum"]).stdin(Noise(2_000_000)),
            applet("md5sum", &["md5sum", "in"]).file("in", Noise(500_000)),
            applet("date", &["date", "-u", "-d", "@86399"]),
            applet("env", &["env", "-i", "/bin/busybox", "env"]),
            applet("id", &["id", "-u"]),
            applet("uname", &["uname", "-m"]),
            applet("seq", &["seq", "1", "3", "1000"]),
            applet("factor", &["factor", "1234567890123"]),
            applet("cal", &["cal", "2", "2024"]),
            applet("base64", &["base64", "in"]).file("in", Noise(777)),
            applet("unknown", &["juggle"]).fails().with_stderr(),
            applet("list", &["--list"]),
            applet(
                "shell",
                &[
                    "sh",
                    "-c",
                    "i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; echo $i; exit 3",
                ],
            )
            .fails(),
            applet(
                "shell-builtins",
                &[
                    "sh",
                    "-c",
                    "set -- a b c; cd /; echo $# $PWD ${1%a}x; read l; echo \"<$l>\"; kill -l 9",
                ],
            )
            .stdin(Text("line\n")),
        ],
    )
}
