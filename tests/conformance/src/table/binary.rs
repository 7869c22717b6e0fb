//! Programs over numbers and bytes.

use crate::case::{Case, in_package};
use crate::content::Content::{Mixed, Noise, Numbers, Text};

pub(super) fn cases() -> Vec<Case> {
    [calculators(), dumps(), libc()]
        .into_iter()
        .flatten()
        .collect()
}

fn calculators() -> Vec<Case> {
    let mut cases = in_package(
        "bc",
        [
            Case::new("pi", &["bc", "-l"]).stdin(Text("scale=300; 4*a(1)\n2^521-1\n")),
            Case::new("loops", &["bc"]).stdin(Text(
                "define f(n) { if (n < 2) return n; return f(n-1)+f(n-2); }\nf(18)\nsqrt(2)\n",
            )),
        ],
    );
    cases.extend(in_package(
        "dc",
        [Case::new(
            "stack",
            &["dc", "-e", "20k 2v p 16o 255 p [la1+dsap10>x]sx 0sa lxx"],
        )],
    ));
    cases
}

fn dumps() -> Vec<Case> {
    let mut cases = in_package(
        "xxd",
        [
            Case::new("dump", &["xxd", "-g4", "in"]).file("in", Noise(3000)),
            Case::new("back", &["xxd", "-r", "-p"]).stdin(Text("48 75 73 6b\n0a\n")),
            Case::new("c", &["xxd", "-i", "in"]).file("in", Noise(100)),
        ],
    );
    cases.extend(in_package(
        "file",
        [
            Case::new("program", &["file", "-b", "/usr/bin/env"]),
            Case::new("kinds", &["file", "a", "b", "c", "d"])
                .file("a", Text("#!/bin/sh\necho\n"))
                .file("b", Noise(200))
                .prepare("gzip -nc a > c; ln -s a d"),
        ],
    ));
    cases.extend(in_package(
        "qpdf",
        [Case::new("zlib-flate", &["zlib-flate", "-compress=6"]).stdin(Mixed(200_000))],
    ));
    cases
}

fn libc() -> Vec<Case> {
    in_package(
        "libc-bin",
        [
            Case::new("iconv", &["iconv", "-f", "UTF-8", "-t", "UTF-16LE"])
                .stdin(Text("gr\u{fc}n \u{20ac} \u{1f600}\n")),
            Case::new("getconf", &["getconf", "PAGE_SIZE"]),
            Case::new("locale", &["locale"]),
            Case::new(
                "loader-list",
                &["/lib64/ld-linux-x86-64.so.2", "--list", "/usr/bin/env"],
            )
            .status_only(),
            Case::new(
                "loader-runs",
                &["/lib64/ld-linux-x86-64.so.2", "/usr/bin/wc", "-l"],
            )
            .stdin(Numbers(77)),
            Case::new(
                "loader-verify",
                &["/lib64/ld-linux-x86-64.so.2", "--verify", "/usr/bin/wc"],
            ),
        ],
    )
}
