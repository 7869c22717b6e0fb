//! The parts of a C toolchain that run as one process each.

use crate::case::{Case, in_package};
use crate::content::Content::Text;

const C: &str = "typedef unsigned long u;\nstatic u f(u n) { return n < 2 ? n : f(n - 1) + f(n - 2); }\n\
    double g(const double *x, int n) { double s = 0; for (int i = 0; i < n; i++) s += x[i] * x[i]; return s; }\n\
    int main(void) { return (int)f(20) & 127; }\n";
const ASSEMBLY: &str =
    ".globl _start\n_start: mov $60, %eax\n mov $7, %edi\n syscall\n.data\nx: .quad _start, 42\n";

pub(super) fn cases() -> Vec<Case> {
    [binutils(), compiler(), others()]
        .into_iter()
        .flatten()
        .collect()
}

fn binutils() -> Vec<Case> {
    in_package(
        "binutils",
        [
            Case::new("as", &["as", "-o", "out.o", "in.s"]).file("in.s", Text(ASSEMBLY)),
            Case::new("ld", &["ld", "-o", "out", "in.o"])
                .file("in.s", Text(ASSEMBLY))
                .prepare("as -o in.o in.s"),
            Case::new("objdump", &["objdump", "-d", "/usr/bin/env"]),
            Case::new("readelf", &["readelf", "-aW", "/usr/bin/env"]),
            Case::new("nm", &["nm", "-D", "/lib/x86_64-linux-gnu/libc.so.6"]),
            Case::new("strings", &["strings", "-n", "8", "/usr/bin/env"]),
            Case::new("size", &["size", "-A", "/usr/bin/env"]),
            Case::new("strip", &["strip", "-o", "out", "/usr/bin/env"]).ignore_files(),
            Case::new(
                "objcopy",
                &[
                    "objcopy",
                    "-O",
                    "binary",
                    "--only-section=.rodata",
                    "/usr/bin/env",
                    "out",
                ],
            )
            .ignore_files(),
            Case::new("ar", &["ar", "rcsD", "out.a", "in.o"])
                .file("in.s", Text(ASSEMBLY))
                .prepare("as -o in.o in.s"),
            Case::new(
                "cxxfilt",
                &["c++filt", "_ZNSt6vectorIiSaIiEE9push_backERKi"],
            ),
        ],
    )
}

fn compiler() -> Vec<Case> {
    const CC1: &str = "/usr/lib/gcc/x86_64-linux-gnu/12/cc1";
    in_package(
        "gcc",
        [
            Case::new("cc1", &[CC1, "-quiet", "-O2", "in.c", "-o", "out.s"]).file("in.c", Text(C)),
            Case::new(
                "cc1-vectors",
                &[
                    CC1,
                    "-quiet",
                    "-O3",
                    "-mavx2",
                    "-ffast-math",
                    "in.c",
                    "-o",
                    "-",
                ],
            )
            .file("in.c", Text(C)),
            Case::new(
                "cc1-headers",
                &[
                    CC1,
                    "-quiet",
                    "-E",
                    "-imultiarch",
                    "x86_64-linux-gnu",
                    "in.c",
                ],
            )
            .file(
                "in.c",
                Text("#include <stdio.h>\n#include <signal.h>\nint x = SIGSEGV;\n"),
            ),
            Case::new("cc1-error", &[CC1, "-quiet", "in.c", "-o", "out.s"])
                .file("in.c", Text("int main(void) { return x; }\n"))
                .fails()
                .with_stderr(),
        ],
    )
}

fn others() -> Vec<Case> {
    let mut cases = in_package(
        "nasm",
        [Case::new("elf", &["nasm", "-f", "elf64", "-o", "out.o", "in.asm"]).file(
            "in.asm",
            Text("bits 64\nglobal _start\n_start:\n%rep 50\n add rax, [rel x]\n%endrep\n ret\nsection .data\nx: dq 1.5\n"),
        )],
    );
    cases.extend(in_package(
        "gperf",
        [Case::new("words", &["gperf", "-L", "ANSI-C", "-t"]).stdin(Text(
            "struct w { char *name; int n; };\n%%\npage, 1\nring, 2\nguest, 3\nclock, 4\nvector, 5\nframe, 6\n%%\n",
        ))],
    ));
    cases.extend(in_package(
        "libxml2-utils",
        [
            Case::new("format", &["xmllint", "--format", "-"])
                .stdin(Text("<a><b c='1'>x</b><d/></a>")),
            Case::new(
                "xpath",
                &["xmllint", "--xpath", "count(//b)+sum(//b/@c)", "in"],
            )
            .file("in", Text("<a><b c='1'/><b c='41'/></a>")),
            Case::new("broken", &["xmllint", "--noout", "-"])
                .stdin(Text("<a><b></a>"))
                .fails()
                .with_stderr(),
        ],
    ));
    cases
}
